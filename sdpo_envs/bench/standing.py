"""What one algorithm reached over its seeds, and how that stands beside the baseline. Numbers only."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sdpo_envs.bench.intervals import (
    UNKNOWN,
    Bootstrap,
    Estimate,
    Floats,
    Statistic,
    geometric_mean,
    improvement,
    iqm,
    mean,
    median,
    paired_difference,
)
from sdpo_envs.bench.learning import LearningCurve

FULL = 0.9
"""A run that ends before this share of what its algorithm's runs make in the median is short."""
_POINTS = 200  # most points of a band


@dataclass(frozen=True, slots=True)
class Band:
    """A curve over seeds with its interval.

    Attributes:
        x: Generations or seconds; it rises.
        value: At each x that the curve of every whole run spans, over the seeds that are there. Between its points a
            seed's curve is straight.
        low: Lower end of the interval.
        high: Upper end.
        runs: How many seeds that are, at each x.
    """

    x: Floats
    value: Floats
    low: Floats
    high: Floats
    runs: Floats


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times less an algorithm needed than the baseline, by seed.

    A ratio is known exactly where both reached the level. Where one did not within its run, it has only one known end:
    at most (what the baseline needed / all that the algorithm made), or at least (all that the baseline made / what
    the algorithm needed). Where neither did, or one was there from the start, nothing is known.

    Attributes:
        seeds: That both have.
        low: What the ratio of each is at least.
        high: What it is at most.
        geometric: The geometric mean, if every ratio is exact, else unknown.
        median: What the median is at least and at most.
    """

    seeds: tuple[str, ...]
    low: Floats
    high: Floats
    geometric: Estimate
    median: tuple[float, float]

    @property
    def censored(self) -> int:
        """How many ratios are not known exactly."""
        return int((self.low != self.high).sum())


@dataclass(frozen=True, slots=True)
class Need:
    """What it took to reach a level, in generations or in seconds of work.

    Attributes:
        by_seed: What each seed needed; infinite where it never got there, NaN without a clock.
        typical: The mean with its interval; where a seed never got there, the median.
        speedup: Beside the baseline; None for the baseline itself, and where it cannot be told.
    """

    by_seed: Floats
    typical: Estimate
    speedup: Speedup | None

    @property
    def never(self) -> int:
        """How many seeds never got there."""
        return int(np.isinf(self.by_seed).sum())


@dataclass(frozen=True, slots=True)
class Reach:
    """When a level was reached.

    Attributes:
        level: A success rate; None for the baseline's final one of the same seed.
        seeds: Those that have such a level.
        generations: What it took of training attempts.
        seconds: What it took of time.
    """

    level: float | None
    seeds: tuple[str, ...]
    generations: Need
    seconds: Need


@dataclass(frozen=True, slots=True)
class Standing:
    """What one algorithm reached.

    Attributes:
        algorithm: Its name.
        runs: The curve of each seed, in order.
        full: The same without short ones, which have no final success, best or area.
        finals: The final success of each of `full`.
        by_generations: The interquartile mean over seeds.
        by_seconds: The same against seconds of work; empty without clocks.
        mean_by_generations: The mean over seeds.
        mean_by_seconds: The same against seconds of work; empty without clocks.
        area: Mean height of the curves over the generations that all algorithms made.
        final: Mean over seeds of the final success.
        final_iqm: Interquartile mean of it.
        best: Mean over seeds of the best evaluation, which luck flatters.
        reaches: When each level was reached.
        improvement: Probability that a seed ends better than one of the baseline's; unknown for the baseline.
        difference: Final success less the baseline's of the same seed; unknown for the baseline.
        tokens: Mean length of an action at the start and at the end, NaN where not told.
    """

    algorithm: str
    runs: tuple[LearningCurve, ...]
    full: tuple[LearningCurve, ...]
    finals: Floats
    by_generations: Band
    by_seconds: Band
    mean_by_generations: Band
    mean_by_seconds: Band
    area: Estimate
    final: Estimate
    final_iqm: Estimate
    best: Estimate
    reaches: tuple[Reach, ...]
    improvement: Estimate
    difference: Estimate
    tokens: tuple[float, float]

    @property
    def seeds(self) -> tuple[str, ...]:
        """The seeds, in order."""
        return tuple(run.source.seed for run in self.runs)


def standing(
    runs: Sequence[LearningCurve],
    base: Sequence[LearningCurve] | None,
    levels: Sequence[float],
    last: int,
    span: tuple[float, float],
    how: Bootstrap,
) -> Standing:
    """Return what one algorithm reached.

    Args:
        runs: One per seed, at least one.
        base: Those of the baseline, which may be the same; None without one.
        levels: Success rates to reach.
        last: Evaluations that make up the final success.
        span: The generations between which the area is taken.
        how: Intervals are drawn.
    """
    whole = full(runs)
    finals = _final(whole, last)
    others = full(base) if base is not None and base is not runs else []
    ours, theirs = _paired(whole, others)
    tokens = np.array([run.tokens for run in runs]).mean(axis=0)
    return Standing(
        algorithm=runs[0].source.algorithm,
        runs=tuple(runs),
        full=tuple(whole),
        finals=finals,
        by_generations=band(runs, "generations", iqm, how),
        by_seconds=band(runs, "seconds", iqm, how),
        mean_by_generations=band(runs, "generations", mean, how),
        mean_by_seconds=band(runs, "seconds", mean, how),
        area=_over_seeds(mean, _each(whole, lambda run: run.area(*span)), how),
        final=_over_seeds(mean, finals, how),
        final_iqm=_over_seeds(iqm, finals, how),
        best=_over_seeds(mean, _each(whole, lambda run: float(run.success.max())), how),
        reaches=tuple(_reach(runs, base, level, last, how) for level in [*levels, *([] if base is None else [None])]),
        improvement=how.estimate(improvement, finals[:, None], _final(others, last)[:, None]) if others else UNKNOWN,
        difference=paired_difference(_final(ours, last), _final(theirs, last), how),
        tokens=(float(tokens[0]), float(tokens[1])),
    )


def full(runs: Sequence[LearningCurve]) -> list[LearningCurve]:
    """Return the runs that go about as far as their neighbours; see `FULL`."""
    typical = np.median([run.generations[-1] for run in runs]) if runs else 0
    return [run for run in runs if run.generations[-1] >= FULL * typical]


def band(runs: Sequence[LearningCurve], axis: str, statistic: Statistic, how: Bootstrap) -> Band:
    """Return the curve over seeds against ``"generations"`` or ``"seconds"``; empty where there is no such axis."""
    known = [run for run in runs if not np.isnan(getattr(run, axis)).any()]
    if not known:
        nothing = np.empty(0)
        return Band(nothing, nothing, nothing, nothing, nothing)
    curves = [(getattr(run, axis), run.success) for run in known]
    grid = _grid([getattr(run, axis) for run in known], [getattr(run, axis) for run in full(known)])
    heights = np.array([np.interp(grid, x, y, left=np.nan, right=np.nan) for x, y in curves]).T
    there = ~np.isnan(heights)
    value, low, high = np.empty((3, len(grid)))
    for pattern in np.unique(there, axis=0):  # points that the same seeds span are resampled together
        points = (there == pattern).all(axis=1)
        found = how.estimates(statistic, heights[points][:, pattern, None])
        value[points], low[points], high[points] = found
    return Band(grid, value, low, high, there.sum(axis=1).astype(np.float64))


def _grid(axes: Sequence[Floats], whole: Sequence[Floats]) -> Floats:
    """Return every point of `axes`, or if there are too many, as many in between, that all of `whole` span."""
    start, end = max(axis[0] for axis in whole), min(axis[-1] for axis in whole)
    every = np.unique(np.concatenate(axes))
    inside = every[(every >= start) & (every <= end)]
    return inside if len(inside) <= _POINTS else np.linspace(start, end, _POINTS)


def speedup(facts: Floats, seeds: tuple[str, ...], how: Bootstrap) -> Speedup | None:
    """Return by how much an algorithm was faster than the baseline, seed by seed.

    Args:
        facts: For each seed what the algorithm needed, infinite where it never got there, and all that it made; then
            the same of the baseline: of shape (4, seeds).
        seeds: The seeds, in the same order.
        how: Intervals are drawn.

    Returns:
        None where there are no seeds, or a fact is NaN.
    """
    if not seeds or np.isnan(facts).any():
        return None
    low, high = np.array([_ratio(*seed) for seed in facts.T], np.float64).T
    geometric = geometric_mean(low, how) if (low == high).all() else UNKNOWN
    return Speedup(seeds, low, high, geometric, (float(np.median(low)), float(np.median(high))))


def _ratio(our: float, our_made: float, their: float, their_made: float) -> tuple[float, float]:
    """Return what their / our is at least and at most."""
    if our == 0 or their == 0 or (math.isinf(our) and math.isinf(their)):
        return 0.0, math.inf
    if math.isinf(our):
        return 0.0, their / our_made if our_made > 0 else math.inf
    return (their_made / our, math.inf) if math.isinf(their) else (their / our, their / our)


def _reach(
    runs: Sequence[LearningCurve],
    base: Sequence[LearningCurve] | None,
    level: float | None,
    last: int,
    how: Bootstrap,
) -> Reach:
    """Return when `runs` reached a level, or where it is None, the final success of the baseline's run of that seed."""
    goals = {run.source.seed: level for run in runs if level is not None}
    goals |= {run.source.seed: run.final(last) for run in full(base or ()) if level is None}
    kept = [run for run in runs if run.source.seed in goals]
    ours, theirs = _paired(kept, base if base is not None and base is not runs else ())
    seeds = tuple(run.source.seed for run in ours)
    facts = np.array([_needed(ours, goals), _made(ours), _needed(theirs, goals), _made(theirs)])
    generations, seconds = (
        Need(by_seed, _typical(by_seed, how), speedup(facts[..., unit], seeds, how))
        for unit, by_seed in enumerate(_needed(kept, goals).T)
    )
    return Reach(level, tuple(run.source.seed for run in kept), generations, seconds)


def _needed(runs: Sequence[LearningCurve], goals: Mapping[str, float]) -> Floats:
    """Return the generations and seconds that each run needed for the goal of its seed, of shape (runs, 2)."""
    return np.array([run.until(goals[run.source.seed]) for run in runs], np.float64).reshape(-1, 2)


def _made(runs: Sequence[LearningCurve]) -> Floats:
    """Return all generations and seconds that each run made, of shape (runs, 2)."""
    return np.array([(run.generations[-1], run.seconds[-1]) for run in runs], np.float64).reshape(-1, 2)


def _typical(by_seed: Floats, how: Bootstrap) -> Estimate:
    """Return the mean, or the median where a seed never got there."""
    if np.isnan(by_seed).any():
        return UNKNOWN
    return _over_seeds(mean if np.isfinite(by_seed).all() else median, by_seed, how)


def _over_seeds(statistic: Statistic, values: Floats, how: Bootstrap) -> Estimate:
    return how.estimate(statistic, values[:, None]) if len(values) else UNKNOWN


def _final(runs: Sequence[LearningCurve], last: int) -> Floats:
    return _each(runs, lambda run: run.final(last))


def _each(runs: Sequence[LearningCurve], number: Callable[[LearningCurve], float]) -> Floats:
    return np.array([number(run) for run in runs], np.float64)


def _paired(
    runs: Sequence[LearningCurve], base: Sequence[LearningCurve]
) -> tuple[list[LearningCurve], list[LearningCurve]]:
    """Return the runs of the seeds that both have, in the same order."""
    theirs = {run.source.seed: run for run in base}
    shared = [run for run in runs if run.source.seed in theirs]
    return shared, [theirs[run.source.seed] for run in shared]
