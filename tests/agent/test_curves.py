"""Discovery curves: against counting by hand, and against simulated truths."""

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdpo_agent.curves import Curve, Record, attempts_until, curve, pass_at

few = settings(max_examples=60, deadline=None, derandomize=True)
counts = st.integers(1, 9).flatmap(lambda attempts: st.tuples(st.just(attempts), st.integers(0, attempts)))
draws = st.lists(st.booleans(), min_size=1, max_size=9)


def independent(passed: Sequence[bool], task: str = "t") -> Record:
    return Record(task, tuple(passed), independent=True)


def chain(first: int | None, attempts: int = 8, task: str = "t") -> Record:
    """A run that succeeds at some attempt, and ends there; or fails to the end."""
    return Record(task, (False,) * ((first or attempts + 1) - 1) + (True,) * (first is not None))


# --- pass@k


@few
@given(counts)
def test_pass_at_k_is_the_share_of_subsets_with_a_success(count: tuple[int, int]) -> None:
    attempts, successes = count
    passed = [True] * successes + [False] * (attempts - successes)
    for k, told in enumerate(pass_at(attempts, successes, attempts), start=1):
        subsets = list(itertools.combinations(passed, k))
        assert told == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


@few
@given(counts, st.integers(1, 9))
def test_pass_at_k_is_unbiased(count: tuple[int, int], tenths: int) -> None:
    attempts, _ = count
    p = Fraction(tenths, 10)
    expected = np.zeros(attempts)
    for successes in range(attempts + 1):
        chance = math.comb(attempts, successes) * p**successes * (1 - p) ** (attempts - successes)
        expected += float(chance) * pass_at(attempts, successes, attempts)
    assert expected == pytest.approx([float(1 - (1 - p) ** k) for k in range(1, attempts + 1)], abs=1e-12)


def test_pass_at_k_of_the_numbers_of_the_paper() -> None:
    told = pass_at(2944, 3, 2750)
    assert len(told) == 2750
    exact = [1 - Fraction(math.comb(2941, k), math.comb(2944, k)) for k in (1, 100, 2750)]
    assert told[[0, 99, 2749]] == pytest.approx([float(each) for each in exact], abs=1e-12)


@pytest.mark.parametrize(("attempts", "successes", "expected"), [(3, 0, [0, 0, 0]), (3, 3, [1, 1, 1]), (1, 1, [1])])
def test_pass_at_k_where_nothing_is_left_to_chance(attempts: int, successes: int, expected: list[int]) -> None:
    assert pass_at(attempts, successes, attempts).tolist() == expected


def test_no_more_can_be_told_than_was_attempted() -> None:
    with pytest.raises(ValueError, match="pass@5 cannot be told from 4 attempts; ask for at most 4"):
        pass_at(4, 1, 5)
    with pytest.raises(ValueError, match="ask for at most 4"):
        independent([True] * 4).discovered(5)
    with pytest.raises(ValueError, match="ask for at most 4"):
        curve([chain(2), chain(None, 4)], 5)


# --- records


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (chain(1), [1, 1, 1, 1]),
        (chain(3), [0, 0, 1, 1]),
        (chain(4), [0, 0, 0, 1]),
        (chain(6), [0, 0, 0, 0]),
        (chain(None), [0, 0, 0, 0]),
        (Record("t", (False, True, False, True)), [0, 1, 1, 1]),
    ],
)
def test_a_run_is_a_step_at_its_discovery_time(record: Record, expected: list[int]) -> None:
    assert record.discovered(4).tolist() == expected


@few
@given(draws)
def test_independent_attempts_are_told_whatever_their_order(passed: list[bool]) -> None:
    told = independent(passed).discovered(len(passed))
    assert told.tolist() == independent(sorted(passed)).discovered(len(passed)).tolist()
    assert told[0] == pytest.approx(np.mean(passed))


@few
@given(draws, st.integers(0, 5))
def test_only_independent_attempts_are_drawn_anew(passed: list[bool], seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = independent(passed).resampled(rng)
    assert len(drawn.passed) == len(passed)
    assert set(drawn.passed) <= set(passed)
    assert drawn.independent
    ordered = Record("t", tuple(passed))
    assert ordered.resampled(rng) == ordered


# --- curves


def test_a_curve_is_the_mean_over_tasks_of_the_mean_over_runs() -> None:
    records = [chain(1, task="a"), chain(3, task="a"), chain(None, task="b"), *[chain(2, task="c")] * 3]
    told = curve(records, 4, draws=10)
    assert told.mean == pytest.approx([(0.5 + 0 + 0) / 3, (0.5 + 0 + 1) / 3, 2 / 3, 2 / 3])


def test_independent_runs_of_a_task_are_pooled() -> None:
    one, other = independent([True, False, False, False]), independent([False] * 4)
    told = curve([one, other, independent([True] * 4, "u")], 4, draws=10)
    assert told.mean == pytest.approx((pass_at(8, 1, 4) + 1) / 2)
    assert curve([one, other], 8, draws=10).mean == pytest.approx(pass_at(8, 1, 8))


@few
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 12)), min_size=1, max_size=6), st.booleans())
def test_a_curve_lies_in_its_interval_rises_and_stays_a_probability(runs: list[tuple[str, int]], pooled: bool) -> None:
    records = [Record(task, tuple(n == first for n in range(1, 9)), pooled) for task, first in runs]
    told = curve(records, 8, draws=100, level=0.9)
    assert (told.low <= told.mean + 1e-12).all()
    assert (told.mean <= told.high + 1e-12).all()
    for each in (told.mean, told.low, told.high):
        assert each.shape == (8,)
        assert (np.diff(each) >= -1e-12).all()
        assert ((each >= 0) & (each <= 1)).all()


def test_a_curve_is_the_same_again_and_its_interval_follows_the_seed() -> None:
    records = [chain(number % 7 + 1, task=str(number % 5)) for number in range(35)]
    one, same, other = (curve(records, 8, draws=50, seed=seed) for seed in (0, 0, 1))
    assert all((getattr(one, name) == getattr(same, name)).all() for name in ("mean", "low", "high"))
    assert (one.mean == other.mean).all()
    assert (one.low != other.low).any()


def test_a_higher_level_is_a_wider_interval() -> None:
    records = [chain(first, task=task) for task in "abcde" for first in (1, 4, 7)]
    narrow, wide = curve(records, 8, level=0.5), curve(records, 8, level=0.99)
    assert (wide.low <= narrow.low).all()
    assert (narrow.high <= wide.high).all()
    assert (wide.high - wide.low).sum() > (narrow.high - narrow.low).sum()


@pytest.mark.parametrize("record", [chain(3), chain(None), independent([True] * 8), independent([False] * 8)])
def test_one_run_that_leaves_nothing_to_chance_has_no_width(record: Record) -> None:
    told = curve([record], 8)
    assert told.low.tolist() == told.mean.tolist() == told.high.tolist() == record.discovered(8).tolist()


def test_one_task_with_several_runs_has_the_width_of_its_runs() -> None:
    told = curve([chain(first) for first in (2, 2, 6, 6)], 8)
    assert told.mean[3] == 0.5
    assert (told.low[3], told.high[3]) == (0, 1)
    assert (told.low[7], told.high[7]) == (1, 1)


def simulated(rng: np.random.Generator, independent: bool) -> tuple[list[Record], np.ndarray]:
    """Records of tasks whose chance of success is drawn from [0, 0.4], and what discovery@k is over all such tasks."""
    records = []
    for task in range(12):
        p = rng.uniform(0, 0.4)
        for _ in range(1 if independent else 5):
            records.append(Record(str(task), tuple((rng.random(16) < p).tolist()), independent))
    k = np.arange(1, 9)
    return records, 1 - (1 - 0.6 ** (k + 1)) / (0.4 * (k + 1))


@pytest.mark.parametrize("independent", [False, True])
def test_an_interval_covers_the_truth_about_as_often_as_it_says(independent: bool) -> None:
    covered = []
    for seed in range(40):
        records, truth = simulated(np.random.default_rng(seed), independent)
        told = curve(records, 8, draws=60, level=0.9)
        covered.append((told.low <= truth) & (truth <= told.high))
    assert 0.75 <= np.mean(covered) <= 0.99


@pytest.mark.parametrize(("level", "until"), [(0.1, 1), (0.5, 5), (0.55, 6), (1.0, 10)])
def test_the_attempts_until_a_level_is_reached(level: float, until: int) -> None:
    steps = Curve(pass_at(10, 1, 10), np.zeros(10), np.ones(10))  # a tenth more with each attempt
    assert attempts_until(steps.mean, level) == until


def test_a_level_that_is_never_reached_takes_for_ever() -> None:
    assert attempts_until(curve([chain(None)], 8).mean, 0.5) == math.inf
