"""Numbers with intervals: means that hold against outliers, and what resampling says of them. Arrays in, numbers out.

The methods are those of Agarwal et al. (arXiv 2108.13264). Scores stand in arrays of shape (runs, tasks); an interval
is the percentile interval of a bootstrap that draws runs with replacement within each task, its stratum. Axes before
these two, such as the points of a curve, are resampled together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sdpo_envs.errors import SettingError, within

Floats = npt.NDArray[np.float64]
Statistic = Callable[..., Floats]
"""From one or more arrays of shape (..., runs, tasks) to one of shape (...)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its interval; NaN where nothing is known."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(np.nan, np.nan, np.nan)


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are drawn.

    Attributes:
        confidence: The share of intervals that should hold the truth, in (0, 1).
        draws: Resamples.
        seed: Of the resampling; equal settings give equal intervals.

    Raises:
        SettingError: a value is out of range.
    """

    confidence: float = 0.95
    draws: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise SettingError(f"confidence={self.confidence!r} must lie between 0 and 1, such as 0.95.")
        within("draws", self.draws, 1)
        within("seed", self.seed, 0)

    def estimate(self, statistic: Statistic, *samples: Floats) -> Estimate:
        """Return what `statistic` says of samples of shape (runs, tasks), each resampled by itself."""
        value, low, high = self.estimates(statistic, *samples)
        return Estimate(float(value), float(low), float(high))

    def estimates(self, statistic: Statistic, *samples: Floats) -> tuple[Floats, Floats, Floats]:
        """Return value, low and high of a statistic of samples of shape (..., runs, tasks)."""
        rng = np.random.default_rng(self.seed)
        drawn = statistic(*(_resampled(sample, self.draws, rng) for sample in samples))
        # A quantile between two infinities is one of them, and not what lies between them.
        ends = np.quantile(drawn, self.ends, axis=0, method="linear" if np.isfinite(drawn).all() else "nearest")
        return statistic(*samples), ends[0], ends[1]

    @property
    def ends(self) -> tuple[float, float]:
        """The quantiles at which an interval begins and ends."""
        return (1 - self.confidence) / 2, (1 + self.confidence) / 2


def mean(scores: Floats) -> Floats:
    """Return the mean over runs and tasks, of shape (...) for scores of shape (..., runs, tasks)."""
    return np.asarray(scores.mean(axis=(-2, -1)))


def iqm(scores: Floats) -> Floats:
    """Return the interquartile mean: the mean of what is left without the lowest and the highest quarter.

    Args:
        scores: Of shape (..., runs, tasks); runs and tasks are sorted together. Of n scores n // 4 are left out at
            each end, as rliable does.
    """
    every = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = every.shape[-1] // 4
    return np.asarray(every[..., cut : every.shape[-1] - cut].mean(axis=-1))


def median(scores: Floats) -> Floats:
    """Return the median over runs and tasks, of shape (...) for scores of shape (..., runs, tasks)."""
    return np.asarray(np.median(scores, axis=(-2, -1)))


def improvement(x: Floats, y: Floats) -> Floats:
    """Return the probability that a run of X is better than one of Y, ties counted half, averaged over tasks.

    Args:
        x: Of shape (..., runs of X, tasks).
        y: Of shape (..., runs of Y, tasks).
    """
    ours, theirs = x[..., :, None, :], y[..., None, :, :]
    return np.asarray(((ours > theirs) + 0.5 * (ours == theirs)).mean(axis=(-3, -2, -1)))


def paired_difference(x: Floats, y: Floats, how: Bootstrap) -> Estimate:
    """Return the mean of x - y over pairs, of shape (pairs,) each; pairs are resampled whole."""
    return how.estimate(mean, (x - y)[:, None]) if len(x) else UNKNOWN


def geometric_mean(ratios: Floats, how: Bootstrap) -> Estimate:
    """Return the geometric mean of ratios of shape (pairs,).

    Raises:
        ValueError: a ratio is not positive and finite.
    """
    if not (np.isfinite(ratios) & (ratios > 0)).all():
        raise ValueError(f"Only positive finite ratios have a geometric mean, not {ratios.tolist()}.")
    return how.estimate(lambda logs: np.exp(mean(logs)), np.log(ratios)[:, None]) if len(ratios) else UNKNOWN


def stratified_mean(strata: list[Floats], how: Bootstrap) -> Estimate:
    """Return the mean of the means of strata, which may differ in size: 1-d arrays whose entries are resampled."""
    strata = [stratum for stratum in strata if len(stratum)]
    if not strata:
        return UNKNOWN
    return how.estimate(
        lambda *drawn: np.mean([mean(stratum) for stratum in drawn], axis=0), *(stratum[:, None] for stratum in strata)
    )


def area(x: Floats, y: Floats, start: float, end: float) -> float:
    """Return the mean height, from `start` to `end`, of the line through the points (x, y); `x` rises.

    It is the area under a learning curve in units of the curve itself. Beyond its ends the line is level.

    Raises:
        ValueError: there are no points, or `end` lies before `start`.
    """
    if not len(x) or end < start:
        raise ValueError(f"There is no area under {len(x)} points from {start:g} to {end:g}.")
    if start == end:
        return float(np.interp(start, x, y))
    inside = x[(x > start) & (x < end)]
    places = np.concatenate([[start], inside, [end]])
    heights = np.interp(places, x, y)
    return float(((heights[1:] + heights[:-1]) / 2 * np.diff(places)).sum() / (end - start))


def _resampled(scores: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Return samples of shape (draws, ..., runs, tasks), with runs drawn anew within each task."""
    runs, tasks = scores.shape[-2:]
    drawn = rng.integers(runs, size=(draws, *(1 for _ in scores.shape[:-2]), runs, tasks))
    return np.take_along_axis(scores[None], drawn, axis=-2)
