"""How good a policy is: avg@k, pass@k and discovery@k of attempts at tasks, with intervals over tasks.

avg@k is the mean success of k attempts. pass@k is the probability that one of k independent attempts succeeds, which n
attempts with c successes estimate without bias for every k <= n (Chen et al., arXiv 2107.03374, equation 1).
discovery@k is the probability that one of the first k attempts succeeds where each may know of the earlier ones (SDPO,
arXiv 2601.20802, section 5); over independent attempts it is pass@k. An attempt whose machinery broke is no attempt.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sdpo_envs.bench.intervals import Bootstrap, Estimate, Floats, stratified_mean
from sdpo_envs.record.row import Row


@dataclass(frozen=True, slots=True)
class Score:
    """What a policy scored.

    Attributes:
        name: Of the environment, or what it is taken over.
        tasks: How many were attempted.
        attempts: At each task, as planned.
        broken: How many of all these attempts nobody could judge; no number here counts them.
        average: avg@k for k = `attempts`.
        passed: k to pass@k, for powers of two and `attempts`; over the tasks with at least k judged attempts.
    """

    name: str
    tasks: int
    attempts: int
    broken: int
    average: Estimate
    passed: Mapping[int, Estimate]


@dataclass(frozen=True, slots=True)
class Scores:
    """What a policy scored in each environment of a suite, and in all, where each environment weighs the same."""

    environments: tuple[Score, ...]
    overall: Score


def score(name: str, strata: Sequence[Floats], how: Bootstrap) -> Score:
    """Return the score over environments.

    Args:
        name: What to call it.
        strata: For each environment an array of shape (tasks, attempts): 1.0 for a success, 0.0 for a failure, NaN for
            an attempt that broke. Tasks are resampled within each.
        how: Intervals are drawn.
    """
    counts = [[(int((~np.isnan(row)).sum()), int(np.nansum(row))) for row in stratum] for stratum in strata]
    attempts = max(stratum.shape[1] for stratum in strata)
    passed = {
        k: stratified_mean([np.array([pass_at(n, c, k)[-1] for n, c in each if n >= k]) for each in counts], how)
        for k in marks(attempts)
    }
    average = stratified_mean([np.array([c / n for n, c in each if n]) for each in counts], how)
    broken = sum(int(np.isnan(stratum).sum()) for stratum in strata)
    return Score(name, sum(map(len, strata)), attempts, broken, average, passed)


def chains(rows: Iterable[Row]) -> list[tuple[str, list[bool]]]:
    """Return the judged attempts of one run as `discovery` reads them: for each task, whether each passed, in order."""
    tasks: dict[str, list[bool]] = {}
    for row in rows:
        if not row.broken:
            tasks.setdefault(row.task, []).append(row.passed)
    return list(tasks.items())


def discovery(chains: Iterable[tuple[str, Sequence[bool]]], how: Bootstrap) -> Mapping[int, Estimate]:
    """Return k to discovery@k, for powers of two up to the shortest chain that found nothing, and for that.

    Args:
        chains: A task, and whether each of the attempts at it passed, in order; see `chains`. It may end with the first
            success. Several at one task, such as those of several runs, are averaged.
        how: Intervals are drawn; tasks are resampled.

    Raises:
        ValueError: there are no chains.
    """
    tasks: dict[str, list[Sequence[bool]]] = {}
    for task, passed in chains:
        tasks.setdefault(task, []).append(passed)
    every = [passed for each in tasks.values() for passed in each]
    if not every:
        raise ValueError("There is no discovery without attempts; give at least one chain.")
    budget = min((len(passed) for passed in every if not any(passed)), default=max(map(len, every)))
    found = {task: np.mean([discovered_at(passed, budget) for passed in each], axis=0) for task, each in tasks.items()}
    return {k: stratified_mean([np.array([curve[k - 1] for curve in found.values()])], how) for k in marks(budget)}


def pass_at(attempts: int, successes: int, budget: int) -> Floats:
    """Return the unbiased pass@k, 1 - C(n - c, k) / C(n, k), for k from 1 to `budget`.

    Raises:
        ValueError: `budget` is more than `attempts`.
    """
    if budget > attempts:
        raise ValueError(f"pass@{budget} cannot be told from {attempts} attempts; ask for at most {attempts}.")
    k = np.arange(budget)  # having missed k times, the next draw misses with probability (n - c - k) / (n - k)
    missed = (attempts - successes - k).clip(min=0) / (attempts - k)
    return np.asarray(1 - np.cumprod(missed), dtype=np.float64)


def discovered_at(passed: Sequence[bool], budget: int) -> Floats:
    """Return, for k from 1 to `budget`, 1.0 where one of the first k attempts passed, and else 0.0.

    Raises:
        ValueError: `budget` is more than the attempts that were made, and none of these tells how it would go on.
    """
    if not any(passed):
        return pass_at(len(passed), 0, budget)
    first = list(passed).index(True) + 1
    return np.where(np.arange(1, budget + 1) >= first, 1.0, 0.0)


def marks(most: int) -> list[int]:
    """Return the powers of two up to `most`, and `most`."""
    return sorted({2**power for power in range(most.bit_length())} | {most}) if most else []
