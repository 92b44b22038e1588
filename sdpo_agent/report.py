"""What was measured, for people: tables in the terminal, pictures, and JSON. Needs the extra ``bench`` for pictures."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from sdpo_agent.curves import Curve, attempts_until
from sdpo_agent.probe import PARTS, Lift, TaskProbe, mean_with_interval
from sdpo_envs.errors import require


def probe_table(found: Sequence[TaskProbe]) -> Table:
    """Return a row for the policy and one per teacher input: means over tasks with 95 % intervals."""
    table = Table("read by the teacher", "on", "accuracy", "lift", "gap, nats/token", "size", title="Probe")
    table.add_row("(the question alone)", "", _interval([task.accuracy for task in found]), "", "", "")
    for name in found[0].lifts if found else ():
        lifts = [task.lifts[name] for task in found]
        table.add_row(
            name,
            f"{np.mean([lift.shown for lift in lifts]):.0%}",
            _interval([lift.accuracy for lift in lifts]),
            _interval([lift.lift for lift in lifts], sign=True),
            _interval([lift.gap for lift in lifts], sign=True),
            _interval([lift.gap_size for lift in lifts]),
        )
    reveals = [task.reveals_answer for task in found if task.reveals_answer is not None]
    share = f"{np.mean(reveals):.0%} of the feedback on failures gives away the answer" if reveals else "No feedback"
    table.caption = f"{len(found)} tasks, {sum(task.attempts for task in found)} attempts. {share}."
    return table


def save_probe(found: Sequence[TaskProbe], folder: Path) -> None:
    """Write ``probe.json`` and ``probe.png``: what was found on each task, and the gap along the action."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = _without_nan([asdict(task) for task in found])
    (folder / "probe.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    pyplot = _pyplot()
    figure, (bars, lines) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    names = list(found[0].lifts) if found else []
    for position, name in enumerate(["the question alone", *names]):
        values = [task.accuracy if not position else task.lifts[name].accuracy for task in found]
        mean, low, high = mean_with_interval([value for value in values if value is not None])
        bars.barh(position, mean, xerr=[[mean - low], [high - mean]], color="0.6" if not position else "C0")
    bars.set_yticks(range(len(names) + 1), ["the question alone", *names])
    bars.invert_yaxis()
    bars.set(xlabel="accuracy, mean over tasks, 95 % interval", xlim=(0, 1.02))
    for name in names:
        lines.plot((np.arange(PARTS) + 0.5) / PARTS, _profile([task.lifts[name] for task in found]), ".-", label=name)
    lines.axhline(0, color="0.7", linewidth=1)
    lines.set(xlabel="place in the failed action", ylabel="log teacher - log student, nats per token")
    if names:
        lines.legend(fontsize="small")
    figure.savefig(folder / "probe.png", dpi=150)
    pyplot.close(figure)


def discovery_table(curves: Mapping[str, Curve], runs: Mapping[str, int]) -> Table:
    """Return a row per strategy: discovery@k at a few k, and the attempts until a half and nine tenths are discovered.

    The interval of attempts is where those of discovery@k reach as much.
    """
    budget = len(next(iter(curves.values())).mean)
    marks = sorted({max(1, round(budget * share)) for share in (1 / 16, 1 / 4, 1)})
    levels = (0.5, 0.9)
    heads = (*(f"discovery@{k}" for k in marks), *(f"attempts until {level}" for level in levels))
    table = Table("strategy", "runs", *heads, title="Discovery")
    for name, curve in curves.items():
        shown = [f"{curve.mean[k - 1]:.2f} [{curve.low[k - 1]:.2f}, {curve.high[k - 1]:.2f}]" for k in marks]
        table.add_row(name, str(runs[name]), *shown, *(_until(curve, level) for level in levels))
    return table


def save_discovery(curves: Mapping[str, Curve], folder: Path) -> None:
    """Write ``discovery.json`` and ``discovery.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {name: {part: getattr(curve, part).tolist() for part in curve.__slots__} for name, curve in curves.items()}
    (folder / "discovery.json").write_text(json.dumps(rows) + "\n", encoding="utf-8")
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, curve in curves.items():
        k = np.arange(1, len(curve.mean) + 1)
        axes.plot(k, curve.mean, label=name)
        axes.fill_between(k, curve.low, curve.high, alpha=0.2)
    axes.set(xlabel="attempts k", ylabel="discovery@k, 90 % interval", ylim=(0, 1.02), xscale="log")
    axes.legend()
    figure.savefig(folder / "discovery.png", dpi=150)
    pyplot.close(figure)


def _pyplot() -> Any:
    require("matplotlib", "bench").use("Agg")
    return require("matplotlib.pyplot", "bench")


def _until(curve: Curve, level: float) -> str:
    reached = [attempts_until(line, level) for line in (curve.mean, curve.high, curve.low)]
    value, low, high = (f"{k:.0f}" if math.isfinite(k) else f"> {len(curve.mean)}" for k in reached)
    return value if math.isinf(reached[1]) else f"{value} [{low}, {high}]"


def _interval(values: Sequence[float | None], *, sign: bool = False) -> str:
    known = [value for value in values if value is not None]
    mean, low, high = mean_with_interval(known)
    form = "+.3f" if sign else ".3f"
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]" if known else ""


def _profile(lifts: Sequence[Lift]) -> list[float]:
    known = np.array([lift.profile for lift in lifts if lift.profile]).reshape(-1, PARTS)
    counts = (~np.isnan(known)).sum(axis=0)
    means: list[float] = np.where(counts, np.nansum(known, axis=0) / np.maximum(1, counts), np.nan).tolist()
    return means


def _without_nan(value: Any) -> Any:
    """Replace NaN, which JSON does not know, by None."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
