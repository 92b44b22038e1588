"""Runs as a recording holds them, written by hand, so that what they show is known beforehand."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ATTEMPTS = 100  # per evaluation, so that a success rate of whole hundredths is exact


def row(passed: bool | None, **cells: Any) -> dict[str, Any]:
    """A row of a recording; None broke."""
    reward = None if passed is None else float(passed)
    outcome = None if passed is None else "passed" if passed else "wrong"
    error = "SandboxError: the wall has a hole" if passed is None else ""
    told = {"phase": "train", "generations": 0, "group": 0, "task": "t", "actions": ["a"], "reward": reward}
    told |= {"outcome": outcome, "passed": bool(passed), "feedback": "", "reveals_answer": False, "peer": False}
    return told | {"tokens": None, "error": error} | cells


def evaluation(generations: int, rate: float, attempts: int = ATTEMPTS, broken: int = 0) -> list[dict[str, Any]]:
    """The rows of one evaluation, of which a share of exactly `rate` passes."""
    passed = [number < round(rate * attempts) for number in range(attempts)]
    told: list[bool | None] = [*passed, *[None] * broken]
    return [row(each, phase="test", generations=generations, task=f"t/{n}") for n, each in enumerate(told)]


def training(start: int, passed: Sequence[bool | None], tokens: int | None = None) -> list[dict[str, Any]]:
    """The rows of one round of training."""
    return [row(each, generations=start, group=start, task=f"t/{n}", tokens=tokens) for n, each in enumerate(passed)]


def write_run(
    folder: Path,
    rows: Iterable[dict[str, Any]],
    told: dict[str, Any] | None = None,
    ticks: Iterable[tuple[str, int, float]] = (),
    phases: dict[str, Any] | None = None,
) -> Path:
    """Write a recording, of ticks (phase, generations, seconds)."""
    folder.mkdir(parents=True)
    lines = [json.dumps(each) + "\n" for each in rows]
    (folder / "attempts.jsonl").write_text("".join(lines))
    clock = [{"phase": phase, "generations": at, "seconds": seconds} for phase, at, seconds in ticks]
    (folder / "clock.jsonl").write_text("".join(json.dumps(each) + "\n" for each in clock))
    (folder / "recording.json").write_text(json.dumps({"told": told or {}, "phases": phases or {}}))
    return folder


def write_learner(
    folder: Path,
    rate: Callable[[float], float],
    *,
    algorithm: str = "sdpo",
    seed: int = 0,
    every: int = 100,
    end: int = 1000,
    seconds: float | None = 0.5,
    **told: Any,
) -> Path:
    """Write a run whose evaluations pass at ``rate(generations)``, every so many generations up to the end.

    `seconds` is what a generation takes; None for a run without a clock.
    """
    points = range(0, end + 1, every)
    rows = [each for at in points for each in evaluation(at, rate(at))]
    run = write_run(
        folder,
        rows,
        {"algorithm": algorithm, "seed": seed, **told},
        () if seconds is None else [("test", at, at * seconds) for at in points],
    )
    if seconds is None:
        (run / "clock.jsonl").unlink()
    return run


def ramp(until: float, top: float = 1.0) -> Callable[[float], float]:
    """A success rate that rises straight from 0 to `top`, which it reaches after `until` generations."""
    return lambda generations: top * min(1.0, generations / until)


def logistic(middle: float, width: float, top: float) -> Callable[[float], float]:
    """A success rate that rises in the shape of an S."""
    return lambda generations: top / (1 + math.exp((middle - generations) / width))
