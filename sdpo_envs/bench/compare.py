"""Compares runs: what each algorithm reached over its seeds, what was told of it, and what a reader should know."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdpo_envs.bench.intervals import Bootstrap
from sdpo_envs.bench.learning import LearningCurve, Source, find_runs, learning_curve, natural
from sdpo_envs.bench.play import name_of
from sdpo_envs.bench.standing import FULL, Standing, full, standing
from sdpo_envs.errors import SettingError, choose, within
from sdpo_envs.record.row import RECORDING, worlds

LEVELS = (0.5, 0.7, 0.9)
"""The success rates whose reaching is timed."""
_FEW = 5  # seeds below which an interval is too narrow


@dataclass(frozen=True, slots=True)
class Fact:
    """What was told of runs: the same of all of them, or what it is for an algorithm.

    Attributes:
        name: What was told, such as ``"learning_rate"``.
        value: As text; several, if seeds differ; ``"-"`` where it was not told.
        algorithm: Whose it is; ``""`` where all have the same.
    """

    name: str
    value: str
    algorithm: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """What several algorithms reached, side by side.

    Attributes:
        standings: One per algorithm: the baseline, then the others by name.
        baseline: The algorithm beside which the others stand; None for none.
        phase: Whose attempts were asked for.
        last: Evaluations that make up the final success.
        span: The generations between which areas are taken.
        how: Intervals were drawn.
        facts: What was told of the runs.
        notes: What a reader should know of missing data, a sentence each.
    """

    standings: tuple[Standing, ...]
    baseline: str | None
    phase: str
    last: int
    span: tuple[float, float]
    how: Bootstrap
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        algorithms = ", ".join(f"{each.algorithm} ({len(each.runs)} runs)" for each in self.standings)
        return f"<Comparison of {algorithms}; baseline {self.baseline}>"

    def _repr_html_(self) -> str:
        from sdpo_envs.bench.page import fragment  # only a notebook asks

        return fragment(self)


def compare(
    runs: str | Path | Sequence[str | Path] | Mapping[str, Any],
    *,
    baseline: str | None = None,
    levels: Sequence[float] = LEVELS,
    phase: str = "test",
    last: int = 3,
    bins: int = 20,
    how: Bootstrap | None = None,
) -> Comparison:
    """Read recorded runs, and return what each algorithm reached over its seeds.

    Whose a run is, its ``"algorithm"`` and ``"seed"``, was told when it was recorded, or else stands in the names of
    its folders, ``<algorithm>/<seed>``. Seeds of one name are paired. What is missing is named in the notes:

    - a run without attempts of `phase` is drawn by its training attempts, in `bins` of equal size;
    - an attempt that broke is left out, and so is a run without any judged attempt;
    - a run that ends early counts as far as it goes, but has no final success, no best and no area;
    - what was never reached takes infinitely long: then medians are told instead of means.

    Args:
        runs: Recordings, files of rows, folders above some, or patterns with ``*``; or algorithm to such ones.
        baseline: An algorithm to compare the others with.
        levels: Success rates in [0, 1] whose reaching is timed.
        phase: Whose attempts to take.
        last: Evaluations that make up the final success, at least 1.
        bins: Points of a curve of training, at least 1.
        how: Intervals are drawn; None for 95 % of 2000 draws.

    Raises:
        SettingError: there are no runs, none has a judged attempt, two are of one algorithm and one seed, there is no
            such baseline, or a number is out of range.
        RecordError: a row is not as it should be; the message names its place.
    """
    how = how or Bootstrap()
    for level in levels:
        within("levels", level, 0, 1)
    within("last", last, 1)
    within("bins", bins, 1)
    sources = find_runs(runs)
    groups = _read(sources, phase, bins)
    base = None if baseline is None else groups[choose("baseline", baseline, groups)]
    span = _span(groups.values())
    return Comparison(
        standings=tuple(standing(groups[name], base, levels, last, span, how) for name in _order(groups, baseline)),
        baseline=baseline,
        phase=phase,
        last=last,
        span=span,
        how=how,
        facts=tuple(facts([curve.source for group in groups.values() for curve in group])),
        notes=tuple(notes(sources, groups, baseline, phase, last)),
    )


def facts(sources: Sequence[Source]) -> list[Fact]:
    """Return what was told of all runs alike, then what differs, algorithm by algorithm."""
    told = [dict(source.told) | _worlds(source.path) for source in sources]
    names = [
        name for name in dict.fromkeys(name for each in told for name in each) if name not in ("algorithm", "seed")
    ]
    alike, apart = [], []
    for name in names:
        values = [_text(each.get(name)) for each in told]
        if len(set(values)) == 1:
            alike.append(Fact(name, values[0]))
            continue
        by_algorithm: dict[str, dict[str, None]] = {}
        for source, value in zip(sources, values, strict=True):
            by_algorithm.setdefault(source.algorithm, {})[value] = None
        apart += [Fact(name, ", ".join(some), algorithm) for algorithm, some in by_algorithm.items()]
    return alike + apart


def notes(
    sources: Sequence[Source],
    groups: Mapping[str, Sequence[LearningCurve]],
    baseline: str | None,
    phase: str,
    last: int,
) -> Iterator[str]:
    """Say what a reader should know of missing data."""
    read = {curve.source.path for group in groups.values() for curve in group}
    for source in sources:
        if source.path not in read:
            yield f"{_called(source)} holds no attempt that was judged, and is left out."
    places: dict[str, list[str]] = {}  # what is missing, and where
    for name, group in groups.items():
        for lacking, missing in _missing(group, phase, last):
            places.setdefault(missing, []).append(f"{name}, {_seeds(lacking)}")
    yield from (f"{'; '.join(where)}: {missing}" for missing, where in places.items())
    ends = {name: float(np.median([run.generations[-1] for run in group])) for name, group in groups.items()}
    if min(ends.values()) < FULL * max(ends.values()):
        told = ", ".join(f"{name} {end:,.0f}" for name, end in ends.items())
        yield f"Algorithms made different numbers of generations, {told}: each final success is at the algorithm's end."
    for name, group in groups.items() if baseline is not None else ():
        seeds, others = ({run.source.seed for run in some} for some in (group, groups[baseline or ""]))
        if alone := sorted(seeds ^ others, key=natural):
            left = "what is paired by seed leaves them out"
            yield f"{name} and {baseline} do not share {_seeds(alone)}: {left}."


def _read(sources: Sequence[Source], phase: str, bins: int) -> dict[str, list[LearningCurve]]:
    """Return the curves of each algorithm."""
    groups: dict[str, list[LearningCurve]] = {}
    for curve in (learning_curve(source, phase, bins) for source in sources):
        if curve is not None:
            groups.setdefault(curve.source.algorithm, []).append(curve)
    if not groups:
        raise SettingError(
            f"None of the {len(sources)} runs holds an attempt that was judged; there is nothing to tell."
        )
    return groups


def _order(groups: Iterable[str], baseline: str | None) -> list[str]:
    return sorted(groups, key=lambda name: (name != baseline, name))


def _span(groups: Iterable[Sequence[LearningCurve]]) -> tuple[float, float]:
    """Return the generations that every run spans, but for short ones."""
    whole = [run.generations for group in groups for run in full(group)]
    start = max(float(generations[0]) for generations in whole)
    return start, max(start, min(float(generations[-1]) for generations in whole))


def _missing(group: Sequence[LearningCurve], phase: str, last: int) -> Iterator[tuple[list[str], str]]:
    """Say what the runs of an algorithm lack: the seeds, and what."""
    whole = full(group)
    broken, made = sum(run.broken for run in group), sum(run.attempts for run in group)
    lacking = {
        f"no attempts of the phase {phase!r}, so the curve is of training, and tells how well its tasks are solved.": [
            run for run in group if run.phase != phase
        ],
        f"{broken:,} of all {made:,} attempts broke, and are left out.": [run for run in group if run.broken],
        "ends early, and so has no final success, no best and no area.": [run for run in group if run not in whole],
        f"fewer than {last} evaluations; the final success is the mean of all.": [
            run for run in whole if len(run.success) < last
        ],
        "no clock, so nothing against seconds.": [run for run in group if np.isnan(run.seconds).any()],
        f"fewer than {_FEW} seeds, over which an interval is narrower than it says.": (
            group if len(group) < _FEW else []
        ),
    }
    for missing, runs in lacking.items():
        if runs:
            yield [run.source.seed for run in runs], missing


def _worlds(path: Path) -> dict[str, Any]:
    """Return the environment of each phase, with its settings, as facts."""
    if not (path / RECORDING).exists():
        return {}
    return {
        f"{phase} environment": name_of(world.env or "by hand", world.settings) for phase, world in worlds(path).items()
    }


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _called(source: Source) -> str:
    return f"{source.algorithm}, seed {source.seed},"


def _seeds(seeds: Sequence[str]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}"
