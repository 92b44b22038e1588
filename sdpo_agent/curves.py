"""From records of discovery to curves with intervals. Numbers only: no model, no environment.

Over runs, discovery@k is the share whose discovery time is at most k; for independent attempts it is pass@k. Both are
those of `sdpo_envs.bench.scores`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sdpo_envs import discovered_at, pass_at

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Record:
    """One run of one strategy at one task.

    Attributes:
        task_id: The task.
        passed: Of each attempt that was decided, in order.
        independent: Whether the attempts knew nothing of one another and went on after a success, so that their order
            means nothing.
    """

    task_id: str
    passed: tuple[bool, ...]
    independent: bool = False

    def discovered(self, budget: int) -> Floats:
        """Return the probability of a success within the first k attempts, for k from 1 to `budget`.

        Raises:
            ValueError: `budget` is more than the attempts that were made, and none of these tells how it would go on.
        """
        if self.independent:
            return pass_at(len(self.passed), sum(self.passed), budget)
        return discovered_at(self.passed, budget)

    def resampled(self, rng: np.random.Generator) -> "Record":
        """Return a record as it might have been: with attempts drawn anew, where they are independent."""
        drawn = rng.choice(self.passed, len(self.passed)).tolist() if self.independent else self.passed
        return Record(self.task_id, tuple(drawn), self.independent)


@dataclass(frozen=True, slots=True)
class Curve:
    """discovery@k for k from 1 to the budget, with an interval.

    Attributes:
        mean: Over tasks of the mean over runs.
        low: Lower end of the interval.
        high: Upper end.
    """

    mean: Floats
    low: Floats
    high: Floats


def curve(records: Sequence[Record], budget: int, *, level: float = 0.9, draws: int = 1000, seed: int = 0) -> Curve:
    """Return discovery@k over tasks and runs, with a bootstrap interval.

    Tasks are drawn with replacement, then runs within each task; independent attempts of a task are pooled and drawn
    themselves. So the interval covers tasks and runs; with one task, the runs alone.

    Args:
        records: Of one strategy; at least one.
        budget: Most attempts; no more than each record has, but for one that ends with a success.
        level: Of the percentile interval; the paper shows 90 %.
        draws: Bootstrap resamples.
        seed: Of the resampling.
    """
    tasks = list(_by_task(records).values())
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(draws):
        drawn = [tasks[task] for task in rng.integers(len(tasks), size=len(tasks))]
        again = [[runs[run].resampled(rng) for run in rng.integers(len(runs), size=len(runs))] for runs in drawn]
        means.append(_mean(again, budget))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Curve(_mean(tasks, budget), low, high)


def attempts_until(discovered: Floats, level: float) -> float:
    """Return the least k at which one of a curve's lines reaches `level`, infinite where it never does."""
    reached = np.flatnonzero(discovered >= level - 1e-9)  # the mean of tenths may miss a tenth by rounding
    return float(reached[0] + 1) if len(reached) else math.inf


def _by_task(records: Sequence[Record]) -> Mapping[str, list[Record]]:
    tasks: dict[str, list[Record]] = {}
    for record in records:
        runs = tasks.setdefault(record.task_id, [])
        if record.independent and runs:
            runs[0] = Record(record.task_id, runs[0].passed + record.passed, independent=True)
        else:
            runs.append(record)
    return tasks


def _mean(tasks: Sequence[Sequence[Record]], budget: int) -> Floats:
    """Average over runs within each task, then over tasks."""
    means: Floats = np.mean([np.mean([run.discovered(budget) for run in runs], axis=0) for runs in tasks], axis=0)
    return means
