"""avg@k, pass@k, discovery@k: against counting by hand. (More of pass@k is in tests/agent/test_curves.py.)"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs.bench.intervals import Bootstrap
from sdpo_envs.bench.scores import chains, discovered_at, discovery, marks, pass_at, score
from sdpo_envs.record.row import Row

HOW = Bootstrap(draws=400)
NAN = math.nan


def test_a_score_is_the_mean_over_tasks() -> None:
    told = score("e", [np.array([[1.0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]])], HOW)
    assert (told.name, told.tasks, told.attempts, told.broken) == ("e", 3, 4, 0)
    assert told.average.value == pytest.approx(1.25 / 3)
    assert list(told.passed) == [1, 2, 4]
    assert told.passed[1] == told.average
    assert told.passed[2].value == pytest.approx((1 + 0.5 + 0) / 3)
    assert told.passed[4].value == pytest.approx(2 / 3)
    assert told.average.low == 0
    assert told.average.high == 1


def test_a_broken_attempt_is_no_failure() -> None:
    told = score("e", [np.array([[1.0, NAN], [NAN, 0], [NAN, NAN]])], HOW)
    assert (told.tasks, told.broken) == (3, 4)
    assert told.average.value == 0.5  # of the two tasks with an attempt that was judged
    assert math.isnan(told.passed[2].value)  # of two attempts none is known


def test_pass_at_k_is_over_the_tasks_with_enough_attempts() -> None:
    told = score("e", [np.array([[1.0, 0], [0, NAN]])], HOW)
    assert told.passed[1].value == 0.25
    assert told.passed[2].value == 1


def test_where_all_broke_nothing_is_known() -> None:
    told = score("e", [np.full((2, 2), NAN)], HOW)
    assert told.broken == 4
    assert math.isnan(told.average.value)


def test_in_all_each_environment_weighs_the_same() -> None:
    told = score("all", [np.ones((9, 2)), np.zeros((1, 2))], HOW)
    assert told.average.value == told.passed[2].value == 0.5
    assert told.tasks == 10


def test_discovery_is_the_first_success() -> None:
    runs = [("a", [False, False, True]), ("a", [True]), ("b", [False] * 4)]
    told = discovery(runs, HOW)
    assert {k: each.value for k, each in told.items()} == {1: 0.25, 2: 0.25, 4: 0.5}


def test_discovery_is_told_as_far_as_the_shortest_failure() -> None:
    assert list(discovery([("a", [True]), ("b", [False] * 3), ("c", [False] * 9)], HOW)) == [1, 2, 3]
    assert list(discovery([("a", [False, True]), ("b", [True])], HOW)) == [1, 2]
    with pytest.raises(ValueError, match="without attempts"):
        discovery([], HOW)


def test_the_chains_of_a_run_are_its_judged_attempts_by_task() -> None:
    told = [("a", 0.0), ("b", 1.0), ("a", NAN), ("a", 1.0), ("b", 0.0)]
    found = chains(Row(task=task, reward=reward, passed=reward == 1.0) for task, reward in told)
    assert found == [("a", [False, True]), ("b", [True, False])]
    assert {k: each.value for k, each in discovery([*found, *found], HOW).items()} == {1: 0.5, 2: 1}


@given(st.lists(st.booleans(), min_size=1, max_size=6))
def test_over_all_orders_discovery_is_pass_at_k(passed: list[bool]) -> None:
    n = len(passed)
    mean = np.mean([discovered_at(order, n) for order in itertools.permutations(passed)], axis=0)
    assert mean == pytest.approx(pass_at(n, sum(passed), n))


def test_what_was_not_tried_is_not_known() -> None:
    assert discovered_at([False, True], 4).tolist() == [0, 1, 1, 1]
    with pytest.raises(ValueError, match="from 2 attempts"):
        discovered_at([False, False], 3)


@pytest.mark.parametrize(("most", "expected"), [(0, []), (1, [1]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_marks(most: int, expected: list[int]) -> None:
    assert marks(most) == expected
