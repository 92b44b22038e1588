"""How one run learned: its curve of success, read from its rows. Numbers only."""

import glob
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from sdpo_envs.bench.intervals import Floats, area
from sdpo_envs.errors import SettingError
from sdpo_envs.record.row import ATTEMPTS, CLOCK, RECORDING, TRAIN, Row, Tick, clock, rows, told

_TENTHS = 10  # response length is told of the first and of the last tenth of a run
_ROUNDING = 1e-9
_FILES = (".jsonl", ".parquet")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a run is, and whose it is.

    Attributes:
        path: The folder of a recording, or a file of rows.
        algorithm: As told, else the name of the folder above.
        seed: As told, else the name of the folder or file.
        told: What was told when it was recorded.
    """

    path: Path
    algorithm: str
    seed: str
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class LearningCurve:
    """The success rate of one run, evaluation after evaluation.

    Attributes:
        source: Where it was read.
        phase: Whose attempts it is of.
        generations: At each point, the training attempts made before; it rises.
        success: The share of the judged attempts that passed, in [0, 1].
        seconds: At each point, the seconds of work before; NaN without a clock.
        attempts: Rows of the phase.
        broken: How many of them nobody could judge; these are left out.
        tokens: Mean length of an action in the first and in the last tenth of training; NaN where not told.
    """

    source: Source
    phase: str
    generations: Floats
    success: Floats
    seconds: Floats
    attempts: int
    broken: int
    tokens: tuple[float, float]

    def final(self, last: int) -> float:
        """Return the mean success of the `last` evaluations, or of all if there are fewer."""
        return float(self.success[-last:].mean())

    def area(self, start: float, end: float) -> float:
        """Return the mean height of the curve between two numbers of generations."""
        return area(self.generations, self.success, start, end)

    def until(self, level: float) -> tuple[float, float]:
        """Return the generations and the seconds until `level` was reached: infinite if never, 0 if from the start.

        What reaches it is the mean of three neighbouring points (of two at the end; the first, before anything is
        learned, stands for itself); between points the line is straight. Seconds are NaN without a clock.
        """
        smooth = _smoothed(self.success)
        reached = np.flatnonzero(smooth >= level - _ROUNDING)
        if not len(reached) or reached[0] == 0:
            edge = 0.0 if len(reached) else math.inf
            return edge, math.nan if np.isnan(self.seconds).any() else edge
        after = int(reached[0])
        share = min(1.0, (level - smooth[after - 1]) / (smooth[after] - smooth[after - 1]))
        generations, seconds = (
            float(axis[after - 1] + share * (axis[after] - axis[after - 1]))
            for axis in (self.generations, self.seconds)
        )
        return generations, seconds


def find_runs(runs: str | Path | Sequence[str | Path] | Mapping[str, Any]) -> list[Source]:
    """Return every run that is meant, in order of algorithm and seed.

    Args:
        runs: Recordings, files of rows, folders that hold some anywhere below, or patterns with ``*``; or algorithm to
            such ones, where the folders' names do not tell.

    Raises:
        SettingError: nothing is there, or two runs are of one algorithm and one seed.
    """
    if isinstance(runs, Mapping):
        sources = [
            Source(each.path, name, each.seed, each.told)
            for name, some in runs.items()
            for each in map(_source, _paths(some))
        ]
    else:
        sources = [_source(path) for path in _paths(runs)]
    seen: dict[tuple[str, str], Path] = {}
    for each in sources:
        other = seen.setdefault((each.algorithm, each.seed), each.path)
        if other != each.path:
            raise SettingError(
                f"{other} and {each.path} are both {each.algorithm!r} with the seed {each.seed!r}. Tell the algorithm "
                "and seed of each recording, lay them out as <algorithm>/<seed>, or name one of them."
            )
    return sorted(sources, key=lambda each: (each.algorithm, natural(each.seed)))


def learning_curve(source: Source, phase: str, bins: int) -> LearningCurve | None:
    """Read a run, and return its curve; None if not one attempt was judged.

    Args:
        source: The run.
        phase: Whose attempts to take. If the run has none of these, its training attempts in `bins` of equal size.
        bins: Points of a curve of training.

    Raises:
        RecordError: a row is not as it should be; the message names its place.
    """
    every = rows(source.path)
    ticks = clock(source.path) if (source.path / CLOCK).exists() else []
    chosen = [row for row in every if row.phase == phase]
    train = [row for row in every if row.phase == TRAIN]
    tested = bool(chosen) and phase != TRAIN
    points = _evaluations(chosen) if tested else _bins(train, bins)
    if not len(points[0]):
        return None
    generations, success = points
    kind = phase if tested else TRAIN
    taken = chosen if tested else train
    broken = sum(row.broken for row in taken)
    seconds = _seconds(ticks, kind, generations, len(train))
    return LearningCurve(source, kind, generations, success, seconds, len(taken), broken, _tokens(train or taken))


def _evaluations(chosen: Sequence[Row]) -> tuple[Floats, Floats]:
    """Return one point for all judged attempts at one number of generations."""
    judged = [row for row in chosen if not row.broken]
    places, which = np.unique(np.array([row.generations for row in judged], np.float64), return_inverse=True)
    passed = np.array([row.passed for row in judged], np.float64)
    return places, np.bincount(which, passed) / np.bincount(which) if len(judged) else passed


def _bins(train: Sequence[Row], bins: int) -> tuple[Floats, Floats]:
    """Return one point for each bin of attempts in order, at its middle."""
    judged = np.array([not row.broken for row in train])
    passed = np.array([row.passed for row in train], np.float64)
    edges = np.unique(np.linspace(0, len(train), bins + 1).round().astype(int))
    kept = [(low, high) for low, high in pairwise(edges) if judged[low:high].any()]
    middles = np.array([(low + high) / 2 for low, high in kept])
    return middles, np.array([passed[low:high][judged[low:high]].mean() for low, high in kept])


def _seconds(ticks: Sequence[Tick], phase: str, generations: Floats, trained: int) -> Floats:
    """Return the seconds of work before each point.

    A clock tells the seconds when a round was written, and the generations before it: of an evaluation that is the
    point itself, of a round of training the point at its end, where the next one begins.
    """
    own = [tick for tick in ticks if tick.phase == phase]
    if not own:
        return np.full(len(generations), np.nan)
    starts, first = np.unique(np.array([tick.generations for tick in own], np.float64), return_index=True)
    told = np.array([own[index].seconds for index in first])
    if phase != TRAIN:
        return np.asarray(np.interp(generations, starts, told))
    return np.asarray(np.interp(generations, [0.0, *starts[1:], trained], [0.0, *told]))


def _tokens(train: Sequence[Row]) -> tuple[float, float]:
    told = [row.tokens for row in train if row.tokens is not None]
    if not told:
        return math.nan, math.nan
    part = max(1, len(told) // _TENTHS)
    return float(np.mean(told[:part])), float(np.mean(told[-part:]))


def _smoothed(success: Floats) -> Floats:
    """Return the mean of each point and its neighbours, but for the first."""
    smooth = [np.mean(success[place - 1 : place + 2]) for place in range(1, len(success))]
    return np.array([success[0], *smooth])


def _paths(runs: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return each run that is named, once."""
    found: dict[Path, Path] = {}
    for pattern in [runs] if isinstance(runs, str | os.PathLike) else runs:
        named = [Path(pattern)] if Path(pattern).exists() else map(Path, glob.glob(str(pattern), recursive=True))
        here = sorted(run for path in named for run in _below(path))
        if not here:
            raise SettingError(
                f"There is no run at {str(pattern)!r}; name a folder that holds attempts.jsonl, a folder above some, a "
                "file of rows (.jsonl, .parquet), or a pattern of these."
            )
        found |= {run.resolve(): run for run in here}
    return list(found.values())


def _below(path: Path) -> list[Path]:
    """Return the run at `path`, or those in the folders below it."""
    if path.name in (ATTEMPTS, CLOCK):
        return [path.parent]
    if path.is_file():
        return [path] if path.suffix in _FILES else []
    return [path] if (path / ATTEMPTS).exists() else [file.parent for file in path.rglob(ATTEMPTS)]


def _source(path: Path) -> Source:
    facts = told(path) if (path / RECORDING).exists() else {}
    whole = path.resolve()
    algorithm = str(facts.get("algorithm", whole.parent.name))
    return Source(path, algorithm, str(facts.get("seed", whole.stem if path.is_file() else whole.name)), facts)


def natural(seed: str) -> tuple[float, str]:
    """Return a key that sorts numbers as numbers, and before words."""
    return (int(seed) if seed.isdecimal() else math.inf, seed)
