"""A comparison for people: tables in the terminal, numbers in files, a page and a picture, by the extra ``bench``."""

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sdpo_envs.bench.cell import NOTHING, count, needed, rate, ratio, target, tokens
from sdpo_envs.bench.compare import Comparison
from sdpo_envs.bench.intervals import Estimate
from sdpo_envs.bench.page import page
from sdpo_envs.bench.standing import Reach, Standing
from sdpo_envs.errors import require

Values = Sequence[str | float]
SUMMARY = ("algorithm", "quantity", "of", "value", "low", "high", "seeds")
"""What stands in a row of `summary`."""


def tables(found: Comparison) -> list[Any]:
    """Return tables for rich: what was reached, and how soon.

    Raises:
        MissingExtra: rich is not installed.
    """
    table = require("rich.table", "bench").Table
    beside = found.baseline is not None
    reached = table("algorithm", "seeds", "final success", "best", "area", title="What was reached")
    for head in (f"beside {found.baseline}", "chance of a better end") if beside else ():
        reached.add_column(_plain(head))
    reached.add_column("tokens")
    soon = table("algorithm", title="How soon: generations, and how many times fewer than the baseline")
    for reach in found.standings[0].reaches:
        soon.add_column(_plain(target(reach, found.baseline)))
    for each in found.standings:
        numbers = [rate(each.final), rate(each.best), rate(each.area)]
        numbers += [rate(each.difference, sign=True), rate(each.improvement)] if beside else []
        reached.add_row(*map(_plain, [each.algorithm, str(len(each.runs)), *numbers, tokens(*each.tokens)]))
        soon.add_row(_plain(each.algorithm), *(_plain(_needed(reach)) for reach in each.reaches))
    return [reached, soon]


def show(found: Comparison) -> None:
    """Print the tables, and the notes; wide enough for a table where no terminal says how wide it is.

    Raises:
        MissingExtra: rich is not installed.
    """
    make = require("rich.console", "bench").Console
    console = make() if make().is_terminal else make(width=140)
    for table in tables(found):
        console.print(table)
    for note in found.notes:
        console.print(_plain(f"- {note}"))


def save(found: Comparison, folder: str | Path, *, title: str = "Comparison", command: str = "") -> None:
    """Write ``summary.csv``, ``curves.csv``, ``report.html`` and ``curves.png`` into a folder.

    Args:
        found: What was compared.
        folder: Made if it is not there; files of these names are replaced.
        title: Of the page.
        command: What makes the page again, if there is such a command.

    Raises:
        MissingExtra: matplotlib is not installed; all but the picture is written by then.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "summary.csv", SUMMARY, summary(found))
    heads = ("algorithm", "statistic", "axis", "x", "value", "low", "high", "seeds")
    _write(folder / "curves.csv", heads, _curves(found))
    (folder / "report.html").write_text(page(found, title=title, command=command), encoding="utf-8")
    _picture(found, folder / "curves.png")


def _needed(reach: Reach) -> str:
    generations, faster = needed(reach.generations, count), ratio(reach.generations.speedup, brief=True)
    return generations if faster == NOTHING else f"{generations}\n{faster}"


def _plain(text: str) -> Any:
    """Return text in which rich sees no mark-up."""
    return require("rich.text", "bench").Text(text)


def summary(found: Comparison) -> Iterator[Values]:
    """Yield every number of the tables in a row of its own, with ``""`` for what is not known."""
    for each in found.standings:
        seeds = len(each.full)
        for name in ("final", "final_iqm", "best", "area", "difference", "improvement"):
            yield each.algorithm, name, "", *_ends(getattr(each, name)), seeds
        for run, final in zip(each.full, each.finals.tolist(), strict=True):
            yield each.algorithm, "final of a seed", run.source.seed, final, "", "", 1
        for which, length in zip(("start", "end"), each.tokens, strict=True):
            yield each.algorithm, "tokens", which, _known(length), "", "", len(each.runs)
        yield from _soon(found, each)


def _soon(found: Comparison, each: Standing) -> Iterator[Values]:
    for reach in each.reaches:
        goal, seeds = target(reach, found.baseline), len(reach.seeds)
        yield each.algorithm, "seeds that never got there", goal, reach.generations.never, "", "", seeds
        for unit, need in (("generations", reach.generations), ("seconds", reach.seconds)):
            statistic = "median" if need.never else "mean"
            yield each.algorithm, f"{unit} needed, {statistic}", goal, *_ends(need.typical), seeds
            if need.speedup is not None:
                paired, bounds = len(need.speedup.seeds), Estimate(math.nan, *need.speedup.median)
                yield each.algorithm, f"speed-up in {unit}", goal, *_ends(need.speedup.geometric), paired
                yield each.algorithm, f"bounds of the median speed-up in {unit}", goal, *_ends(bounds), paired


def _curves(found: Comparison) -> Iterator[Values]:
    for each in found.standings:
        for statistic, axis, band in (
            ("iqm", "generations", each.by_generations),
            ("iqm", "seconds", each.by_seconds),
            ("mean", "generations", each.mean_by_generations),
            ("mean", "seconds", each.mean_by_seconds),
        ):
            points = zip(band.x, band.value, band.low, band.high, band.runs, strict=True)
            for x, value, low, high, runs in points:
                yield each.algorithm, statistic, axis, float(x), float(value), float(low), float(high), int(runs)
        for run in each.runs:
            for x, value in zip(run.generations, run.success, strict=True):
                yield each.algorithm, f"seed {run.source.seed}", "generations", float(x), float(value), "", "", 1


def _ends(estimate: Estimate) -> tuple[str | float, ...]:
    return _known(estimate.value), _known(estimate.low), _known(estimate.high)


def _known(number: float) -> str | float:
    return "" if math.isnan(number) else number


def _write(path: Path, heads: Sequence[str], lines: Iterable[Values]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(heads)
        writer.writerows(lines)


def _picture(found: Comparison, path: Path) -> None:
    require("matplotlib", "bench").use("Agg")
    pyplot = require("matplotlib.pyplot", "bench")
    figure, panes = pyplot.subplots(1, 2, figsize=(12, 4.5), sharey=True, layout="constrained")
    for pane, axis in zip(panes, ("generations", "seconds"), strict=True):
        others = 0
        for each in found.standings:
            band = each.by_generations if axis == "generations" else each.by_seconds
            base = each.algorithm == found.baseline
            shade = "0.45" if base else f"C{others}"
            others += not base
            if len(band.x):
                pane.plot(band.x, band.value, ".-", color=shade, label=each.algorithm.replace("$", r"\$"))
                pane.fill_between(band.x, band.low, band.high, color=shade, alpha=0.15, linewidth=0)
        pane.set(xlabel=axis if axis == "generations" else "seconds of work", ylim=(0, 1.02))
        pane.spines[["top", "right"]].set_visible(False)
        pane.grid(alpha=0.3)
    panes[0].set(ylabel=f"success rate, IQM over seeds, {found.how.confidence:.0%} interval")
    panes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
