"""Numbers with intervals: against rliable, by properties, and by how often an interval holds the truth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sdpo_envs import SettingError
from sdpo_envs.bench.intervals import (
    UNKNOWN,
    Bootstrap,
    Floats,
    area,
    geometric_mean,
    improvement,
    iqm,
    mean,
    median,
    paired_difference,
    stratified_mean,
)

few = settings(max_examples=60, deadline=None, derandomize=True)
scores = hnp.arrays(np.float64, st.tuples(st.integers(1, 7), st.integers(1, 4)), elements=st.floats(-5, 5, width=16))
FINE = Bootstrap(draws=20_000)


def samples() -> tuple[Floats, Floats]:
    """The scores that rliable was given, (runs, tasks): 10 x 3 and 8 x 3, with one tie by construction."""
    rng = np.random.default_rng(7)
    x, y = rng.normal(0.6, 0.2, (10, 3)).round(2), rng.normal(0.5, 0.2, (8, 3)).round(2)
    y[0, 0] = x[0, 0]
    return x, y


# --- against rliable 1.2.0 (arch 7.2.0, pandas 2.3.3), by
#     get_interval_estimates({"x": x, "y": y}, lambda s: np.array([aggregate_iqm(s), aggregate_mean(s)]), reps=50_000,
#                            random_state=np.random.RandomState(0))
#     and the same with probability_of_improvement of {"p": (x, y)} and reps=2000

IQMS = ((0.538125, 0.47125, 0.590625), (0.4933333333333333, 0.42416666666666664, 0.5666666666666667))
MEANS = ((0.5166666666666667, 0.45766666666666667, 0.573), (0.49916666666666665, 0.44166666666666665, 0.5575))
IMPROVEMENT = (0.54375, 0.40203125, 0.6916666666666667)


@pytest.mark.parametrize(("statistic", "golden"), [(iqm, IQMS), (mean, MEANS)], ids=["iqm", "mean"])
def test_aggregates_are_those_of_rliable(statistic: object, golden: tuple[tuple[float, ...], ...]) -> None:
    for sample, (value, low, high) in zip(samples(), golden, strict=True):
        told = FINE.estimate(statistic, sample)  # type: ignore[arg-type]
        assert told.value == pytest.approx(value, abs=1e-12)
        assert (told.low, told.high) == pytest.approx((low, high), abs=0.004)


def test_the_probability_of_improvement_is_that_of_rliable() -> None:
    told = FINE.estimate(improvement, *samples())
    assert told.value == pytest.approx(IMPROVEMENT[0], abs=1e-12)
    assert (told.low, told.high) == pytest.approx(IMPROVEMENT[1:], abs=0.015)


def test_an_odd_number_of_scores_is_trimmed_as_rliable_does() -> None:
    odd = np.array([0.15, 0.816, 0.379, 0.979, 0.59, 0.605, 0.638])[:, None]
    assert iqm(odd) == pytest.approx(0.6056, abs=1e-12)  # aggregate_iqm(odd)


# --- properties


@few
@given(scores, st.randoms(use_true_random=False))
def test_the_order_of_runs_and_tasks_says_nothing(sample: Floats, chance: object) -> None:
    rng = np.random.default_rng(chance.getrandbits(32))  # type: ignore[attr-defined]
    shuffled = rng.permutation(rng.permutation(sample, axis=0), axis=1)
    for statistic in (iqm, mean, median):
        assert statistic(shuffled) == pytest.approx(statistic(sample))


@few
@given(scores, st.floats(0.001, 3))
def test_more_is_more(sample: Floats, added: float) -> None:
    raised = sample.copy()
    raised[0, 0] += added
    for statistic in (iqm, mean, median):
        assert statistic(raised) >= statistic(sample) - 1e-9
        assert statistic(sample + added) == pytest.approx(statistic(sample) + added)
    assert improvement(sample + added, sample) >= improvement(sample, sample)


@few
@given(scores)
def test_a_sample_is_as_good_as_itself_and_odds_are_shared(sample: Floats) -> None:
    assert improvement(sample, sample) == pytest.approx(0.5)
    other = sample[::-1] * 2 - 0.3
    assert improvement(sample, other) + improvement(other, sample) == pytest.approx(1)


@few
@given(scores)
def test_an_interval_lies_within_the_scores_and_around_their_mean(sample: Floats) -> None:
    told = Bootstrap(draws=100).estimate(mean, sample)
    assert sample.min() - 1e-9 <= told.low <= told.high <= sample.max() + 1e-9


def test_the_interquartile_mean_ignores_the_outer_quarters() -> None:
    sample = np.array([[-1e9, 2.0], [3.0, 1e9]])
    assert iqm(sample) == 2.5
    assert iqm(np.array([[1.0, 2.0, 6.0]])) == 3  # too few to leave out any


def test_points_of_a_curve_are_resampled_together_and_like_one_point() -> None:
    x, _ = samples()
    value, low, high = Bootstrap().estimates(iqm, np.stack([x, x + 1, x]))
    alone = Bootstrap().estimate(iqm, x)
    assert (value[0], low[0], high[0]) == (alone.value, alone.low, alone.high)
    assert low.tolist() == pytest.approx([alone.low, alone.low + 1, alone.low])
    assert high.shape == (3,)


def test_runs_are_drawn_within_their_task() -> None:
    apart = np.array([[0.0, 100.0], [1.0, 101.0]])  # if tasks were mixed, means would lie anywhere from 0 to 101
    told = Bootstrap().estimate(mean, apart)
    assert (told.low, told.value, told.high) == (50, 50.5, 51)


def test_an_interval_is_the_same_again_and_follows_seed_and_confidence() -> None:
    x, _ = samples()
    one, same, other = (Bootstrap(seed=seed).estimate(iqm, x) for seed in (0, 0, 1))
    assert one == same
    assert one.value == other.value
    assert (one.low, one.high) != (other.low, other.high)
    narrow = Bootstrap(confidence=0.5).estimate(iqm, x)
    assert one.low < narrow.low < narrow.high < one.high


def test_infinity_does_not_become_nan() -> None:
    told = Bootstrap().estimate(median, np.array([[1.0], [2.0], [math.inf]]))
    assert (told.value, told.low, told.high) == (2, 1, math.inf)


@pytest.mark.parametrize("runs", [12, 30])
@pytest.mark.parametrize("statistic", [mean, iqm], ids=["mean", "iqm"])
def test_an_interval_holds_the_truth_about_as_often_as_it_says(statistic: object, runs: int) -> None:
    rng = np.random.default_rng(runs)
    held = []
    for _ in range(300):
        sample = rng.normal([0.0, 1.0, 5.0], 1.0, (runs, 3)) - [0.0, 1.0, 5.0]  # the truth is 0
        told = Bootstrap(draws=300, confidence=0.9).estimate(statistic, sample)  # type: ignore[arg-type]
        held.append(told.low <= 0 <= told.high)
    assert 0.83 <= np.mean(held) <= 0.95


def test_the_interval_of_an_improvement_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    truth = 0.5 * (1 + math.erf(0.5))  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    held = []
    for _ in range(200):
        told = Bootstrap(draws=200, confidence=0.9).estimate(
            improvement, rng.normal(1, 1, (20, 1)), rng.normal(0, 1, (20, 1))
        )
        held.append(told.low <= truth <= told.high)
    assert 0.82 <= np.mean(held) <= 0.97


# --- pairs


def test_a_difference_of_pairs_knows_what_the_pairs_share() -> None:
    base = np.array([0.1, 0.9, 0.4, 0.6, 0.2])
    told = paired_difference(base + 0.1, base, Bootstrap())
    assert (told.low, told.value, told.high) == pytest.approx((0.1, 0.1, 0.1))
    assert math.isnan(paired_difference(np.empty(0), np.empty(0), Bootstrap()).value)


def test_a_geometric_mean_treats_twice_and_half_alike() -> None:
    told = geometric_mean(np.array([2.0, 0.5, 4.0, 0.25]), Bootstrap())
    assert told.value == pytest.approx(1)
    assert told.low == pytest.approx(1 / told.high, rel=0.1)
    assert 0.25 <= told.low < 1 < told.high <= 4


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf, math.nan])
def test_what_is_no_ratio_has_no_geometric_mean(wrong: float) -> None:
    with pytest.raises(ValueError, match="positive finite ratios"):
        geometric_mean(np.array([1.0, wrong]), Bootstrap())


def test_strata_weigh_the_same_whatever_their_size() -> None:
    told = stratified_mean([np.ones(100), np.zeros(3), np.empty(0)], Bootstrap())
    assert (told.low, told.value, told.high) == (0.5, 0.5, 0.5)
    assert stratified_mean([np.empty(0)], Bootstrap()) is UNKNOWN


# --- area


@few
@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0, 8), st.floats(0, 8))
def test_an_area_is_a_mean_height(heights: list[float], one: float, other: float) -> None:
    x, y = np.arange(float(len(heights))), np.array(heights)
    start, end = sorted((one, other))
    told = area(x, y, start, end)
    assert y.min() - 1e-9 <= told <= y.max() + 1e-9
    if end - start > 0.1:
        fine = np.linspace(start, end, 20_001)
        assert told == pytest.approx(np.interp(fine, x, y).mean(), abs=1e-3)


def test_an_area_of_a_known_curve() -> None:
    x, y = np.array([0.0, 10.0, 40.0]), np.array([0.0, 1.0, 1.0])
    assert area(x, y, 0, 40) == pytest.approx(0.875)
    assert area(x, y, 5, 15) == pytest.approx(0.875)
    assert area(x, y, 5, 5) == 0.5
    for wrong in (5, 4), (0, -1):
        with pytest.raises(ValueError, match="no area"):
            area(x, y, *wrong)
    with pytest.raises(ValueError, match="no area under 0 points"):
        area(np.empty(0), np.empty(0), 0, 1)


# --- settings


@pytest.mark.parametrize(
    "wrong", [{"confidence": 0}, {"confidence": 1}, {"confidence": 95}, {"draws": 0}, {"seed": -1}]
)
def test_a_setting_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        Bootstrap(**wrong)  # type: ignore[arg-type]
