"""Numbers as people read them."""

import math

import numpy as np
import pytest

from sdpo_envs.bench.cell import NOTHING, between, count, duration, needed, rate, ratio, target, tokens
from sdpo_envs.bench.intervals import UNKNOWN, Bootstrap, Estimate
from sdpo_envs.bench.standing import Need, Reach, Speedup, speedup

INF = math.inf


def need(typical: Estimate, by_seed: list[float]) -> Need:
    return Need(np.array(by_seed), typical, None)


def sped(*seeds: tuple[float, float, float, float]) -> Speedup | None:
    return speedup(np.array(seeds).T, tuple("0123456"[: len(seeds)]), Bootstrap(draws=50))


def test_rates() -> None:
    assert rate(Estimate(0.876, 0.8, 0.9)) == "0.88 [0.80, 0.90]"
    assert rate(Estimate(0.876, -0.8, 0.9), sign=True) == "+0.88 [−0.80, +0.90]"
    assert rate(UNKNOWN) == rate(UNKNOWN, sign=True) == NOTHING


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.25 s"),
        (16.46, "16.5 s"),
        (119, "119 s"),
        (150, "2.5 min"),
        (7200, "2 h"),
        (1e5, "27.8 h"),
        (INF, "never"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (4391.4, "4,391"), (INF, "never")])
def test_counts(number: float, text: str) -> None:
    assert count(number) == text


def test_what_was_needed() -> None:
    assert needed(need(Estimate(2000, 1000, 3000), [2000]), count) == "2,000 [1,000, 3,000]"
    assert needed(need(Estimate(90, 60, 300), [90]), duration) == "90 s [60 s, 5 min]"
    assert needed(need(Estimate(2000, 1000, INF), [1000, 2000, INF]), count) == "2,000 in the median; never (1 of 3)"
    assert needed(need(Estimate(INF, 1000, INF), [INF, INF, 3]), count) == "never (2 of 3)"
    assert needed(need(UNKNOWN, [math.nan]), duration) == NOTHING


def test_ratios() -> None:
    assert ratio(sped((100, 500, 200, 500), (100, 500, 200, 500))) == "2.00× [2.00, 2.00]"
    assert ratio(None) == NOTHING
    never = sped((INF, 500, 200, 500))
    assert ratio(never) == "at most 0.40× in the median; 1 of 1 seeds censored"
    assert ratio(never, brief=True) == "at most 0.40× in the median"
    assert ratio(sped((INF, 9, INF, 9))) == "not known; 1 of 1 seeds censored"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (2, 2, "2.00×"),
        (2, INF, "at least 2.00×"),
        (0, 2, "at most 2.00×"),
        (0.5, 2, "0.50 to 2.00×"),
        (0, INF, "not known"),
    ],
)
def test_bounds(low: float, high: float, text: str) -> None:
    assert between(low, high) == text


def test_levels_and_lengths() -> None:
    none = need(UNKNOWN, [])
    assert target(Reach(0.7, (), none, none), None) == "0.7"
    assert target(Reach(None, (), none, none), "grpo") == "grpo's final success"
    assert tokens(30.2, 19.8) == "30 → 20"
    assert tokens(math.nan, math.nan) == NOTHING
