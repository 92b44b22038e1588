"""What an algorithm reached beside a baseline, on curves whose truth is known."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from recorded import ramp

from sdpo_envs.bench.intervals import Bootstrap, iqm, mean
from sdpo_envs.bench.learning import LearningCurve, Source
from sdpo_envs.bench.standing import Speedup, Standing, band, full, speedup, standing

HOW = Bootstrap(draws=300)


def curve(
    rate: Callable[[float], float],
    seed: int = 0,
    *,
    algorithm: str = "sdpo",
    every: int = 100,
    end: int = 1000,
    seconds: float = 0.5,
) -> LearningCurve:
    x = np.arange(0, end + 1, every, dtype=np.float64)
    success = np.array([rate(at) for at in x])
    return LearningCurve(
        Source(Path("."), algorithm, str(seed)), "test", x, success, x * seconds, 1, 0, (30.0, 20.0 + seed)
    )


def stand(
    runs: Sequence[LearningCurve], base: Sequence[LearningCurve] | None = None, levels: Sequence[float] = (0.5,)
) -> Standing:
    return standing(runs, base, levels, 3, (0.0, 1000.0), HOW)


def sped(*facts: tuple[float, float, float, float]) -> Speedup:
    """Of seeds: what we needed, all we made, what they needed, all they made."""
    told = speedup(np.array(facts).T, tuple(map(str, range(len(facts)))), HOW)
    assert told is not None
    return told


# --- against the baseline


def test_twice_as_fast_is_a_speed_up_of_two() -> None:
    ours, theirs = [curve(ramp(500), seed) for seed in range(4)], [curve(ramp(1000), seed) for seed in range(4)]
    told = stand(ours, theirs, levels=(0.4,)).reaches[0]
    assert told.generations.by_seed.tolist() == pytest.approx([200] * 4)
    assert told.seconds.by_seed.tolist() == pytest.approx([100] * 4)
    for need in (told.generations, told.seconds):
        assert need.speedup is not None
        found = need.speedup.geometric
        assert (found.low, found.value, found.high) == pytest.approx((2, 2, 2))
        assert need.speedup.censored == 0


def test_slower_steps_eat_up_the_lead() -> None:
    ours, theirs = [curve(ramp(500), seconds=1.0)], [curve(ramp(1000), seconds=0.5)]
    told = stand(ours, theirs, levels=(0.4,)).reaches[0]
    assert told.seconds.speedup is not None
    assert told.seconds.speedup.geometric.value == pytest.approx(1)


def test_the_end_of_the_baseline_is_that_of_the_same_seed() -> None:
    theirs = [curve(ramp(1000, top), seed, algorithm="grpo") for seed, top in ((0, 0.5), (1, 0.8))]
    ours = [curve(ramp(500), seed) for seed in (0, 1)]
    told = stand(ours, theirs).reaches[-1]
    assert told.level is None
    assert told.generations.by_seed.tolist() == pytest.approx([0.45 * 500, 0.72 * 500])  # the mean of the last three
    assert told.generations.speedup is not None
    assert told.generations.speedup.low.tolist() == pytest.approx([4, 2.5])
    assert told.generations.speedup.geometric.value == pytest.approx(math.sqrt(10))


def test_seeds_are_paired_by_name_and_not_by_place() -> None:
    theirs = [curve(ramp(1000), 1, algorithm="grpo"), curve(ramp(250), 2, algorithm="grpo")]
    ours = [curve(ramp(500), 2), curve(ramp(500), 3)]
    told = stand(ours, theirs, levels=(0.5,))
    by_level, by_end = told.reaches
    assert by_level.seeds == ("2", "3")  # every seed needs something
    assert by_level.generations.speedup is not None
    assert by_level.generations.speedup.seeds == ("2",)  # one has a partner
    assert by_level.generations.speedup.geometric.value == pytest.approx(0.5, rel=0.3)
    assert by_end.seeds == ("2",)
    assert told.difference.value == pytest.approx(0)


def test_without_a_shared_seed_nothing_is_paired() -> None:
    told = stand([curve(ramp(500), 1)], [curve(ramp(1000), 2, algorithm="grpo")])
    assert [reach.generations.speedup for reach in told.reaches] == [None, None]
    assert told.reaches[-1].seeds == ()
    assert math.isnan(told.difference.value)
    assert told.improvement.value == 1


def test_the_baseline_is_not_compared_with_itself() -> None:
    base = [curve(ramp(1000, 0.5), seed) for seed in range(3)]
    told = stand(base, base)
    assert [reach.generations.speedup for reach in told.reaches] == [None, None]
    assert math.isnan(told.improvement.value)
    assert math.isnan(told.difference.value)
    assert np.isfinite(told.reaches[-1].generations.by_seed).all()  # it does reach its own end


def test_without_a_baseline_there_are_levels_alone() -> None:
    told = stand([curve(ramp(1000))])
    assert [reach.level for reach in told.reaches] == [0.5]
    assert told.reaches[0].generations.speedup is None


def test_better_ends_are_told_with_their_odds() -> None:
    ours = [curve(ramp(500, top), seed) for seed, top in enumerate((0.8, 0.9, 0.7))]
    theirs = [curve(ramp(500, top), seed, algorithm="grpo") for seed, top in enumerate((0.7, 0.8, 0.6))]
    told = stand(ours, theirs)
    assert told.improvement.value == pytest.approx(
        (3 * 3 - 1 - 2 * 0.5) / 9
    )  # one of nine pairs is worse, two are ties
    assert (told.difference.low, told.difference.value) == pytest.approx((0.1, 0.1))
    assert told.final.value == pytest.approx(0.8)
    assert told.best.value == pytest.approx(0.8)
    assert told.tokens == (30, 21)


# --- what was never reached


def test_what_was_never_reached_is_told_by_the_median() -> None:
    runs = [curve(ramp(1000), 0), curve(ramp(500), 1), curve(ramp(500, 0.1), 2)]
    need = stand(runs).reaches[0].generations
    assert need.by_seed.tolist() == pytest.approx([500, 250, math.inf])
    assert need.never == 1
    assert need.typical.value == pytest.approx(500)
    assert need.typical.high == math.inf


def test_where_most_never_got_there_the_median_is_never() -> None:
    need = stand([curve(ramp(500), 0), curve(ramp(500, 0.1), 1), curve(ramp(500, 0.1), 2)]).reaches[0].generations
    assert (need.never, need.typical.value) == (2, math.inf)


def test_a_ratio_that_is_not_known_has_bounds() -> None:
    told = sped(
        (250, 1000, 500, 1000), (math.inf, 1000, 500, 800), (200, 1000, math.inf, 800), (math.inf, 9, math.inf, 9)
    )
    assert told.low.tolist() == [2, 0, 4, 0]
    assert told.high.tolist() == [2, 0.5, math.inf, math.inf]
    assert told.censored == 3
    assert math.isnan(told.geometric.value)
    assert told.median == (1, math.inf)


def test_a_median_may_be_known_though_an_end_is_not() -> None:
    told = sped((100, 1000, 300, 1000), (100, 1000, 400, 1000), (50, 1000, math.inf, 1000))
    assert told.median == (4, 4)
    assert told.censored == 1


def test_a_level_that_was_there_at_the_start_tells_nothing() -> None:
    told = sped((0, 1000, 0, 1000), (0, 1000, 10, 1000), (10, 1000, 0, 1000))
    assert told.low.tolist() == [0, 0, 0]
    assert told.high.tolist() == [math.inf] * 3


def test_what_was_there_at_the_first_evaluation_took_no_time_and_is_no_speed_up() -> None:
    late = LearningCurve(
        Source(Path("."), "sdpo", "0"), "test", *np.array([[50.0, 90], [0.9, 0.9], [7.0, 9]]), 1, 0, (1, 1)
    )
    told = stand([late], [curve(ramp(1000), algorithm="grpo")], levels=(0.6,)).reaches[0]
    for need in (told.generations, told.seconds):
        assert need.by_seed.tolist() == [0]
        assert need.speedup is not None
        assert (need.speedup.low[0], need.speedup.high[0]) == (0, math.inf)


def test_a_run_that_was_cut_off_at_once_tells_nothing() -> None:
    told = sped((math.inf, 0, 500, 1000), (500, 1000, math.inf, 0))
    assert (told.low.tolist(), told.high.tolist()) == ([0, 0], [math.inf, math.inf])


def test_speed_ups_are_the_truth_over_what_would_have_been() -> None:
    """Runs that are cut off have bounds that hold what longer ones would have told."""
    for ours_end, theirs_end in ((1000, 300), (300, 1000), (300, 300)):
        ours = [curve(ramp(640), end=ours_end)]
        theirs = [curve(ramp(960), end=theirs_end, algorithm="grpo")]
        need = stand(ours, theirs, levels=(0.6,)).reaches[0].generations
        assert need.speedup is not None
        assert need.speedup.low[0] <= 1.5 <= need.speedup.high[0]
        assert need.speedup.censored == 1


def test_without_a_clock_there_is_no_speed_up_in_seconds() -> None:
    told = stand([curve(ramp(500), seconds=math.nan)], [curve(ramp(1000), algorithm="grpo")]).reaches[0]
    assert told.seconds.speedup is None
    assert math.isnan(told.seconds.typical.value)
    assert told.generations.speedup is not None


# --- short runs


def test_a_short_run_has_no_end() -> None:
    runs = [curve(ramp(1000), seed) for seed in range(3)] + [curve(ramp(1000), 3, end=300)]
    told = stand(runs)
    assert [run.source.seed for run in told.full] == ["0", "1", "2"]
    assert told.finals.tolist() == pytest.approx([0.9] * 3)
    assert told.area.value == pytest.approx(0.5)
    assert told.seeds == ("0", "1", "2", "3")
    assert told.reaches[0].generations.never == 1  # not within its run
    assert full([]) == []


def test_a_short_run_of_the_baseline_sets_no_goal() -> None:
    base = [curve(ramp(1000), seed, algorithm="grpo") for seed in range(3)] + [curve(ramp(1000), 3, end=300)]
    assert stand([curve(ramp(500), seed) for seed in range(4)], base).reaches[-1].seeds == ("0", "1", "2")


# --- bands


def test_a_band_is_over_the_seeds_that_are_there() -> None:
    runs = [
        curve(lambda _, level=level: level, seed, end=end)
        for seed, (level, end) in enumerate([(0.2, 1000), (0.4, 500), (0.9, 1000)])
    ]
    told = band(runs, "generations", mean, HOW)
    assert told.x.tolist() == list(range(0, 1001, 100))
    assert told.value.tolist() == pytest.approx([0.5] * 6 + [0.55] * 5)
    assert told.runs.tolist() == [3] * 6 + [2] * 5
    assert (told.low <= told.value).all()
    assert (told.value <= told.high).all()


def test_a_band_ends_where_most_seeds_have_ended() -> None:
    runs = [curve(ramp(1000), seed, end=end) for seed, end in enumerate([400, 500, 1000])]
    assert band(runs, "generations", mean, HOW).x[-1] == 500


def test_unequal_grids_are_joined_by_straight_lines() -> None:
    runs = [curve(ramp(1000), seed, every=every) for seed, every in enumerate((100, 250, 500))]
    told = band(runs, "generations", iqm, HOW)
    assert told.x.tolist() == sorted({*range(0, 1001, 100), 250, 750})
    assert told.value == pytest.approx(told.x / 1000)
    assert told.high - told.low == pytest.approx(np.zeros(len(told.x)), abs=1e-12)


def test_a_band_of_very_many_points_is_thinned() -> None:
    runs = [curve(ramp(1000), seed, every=1 + seed) for seed in range(3)]
    told = band(runs, "seconds", mean, HOW)
    assert len(told.x) == 200
    assert told.value == pytest.approx(told.x / 500)


def test_seeds_that_no_second_joins_have_no_band() -> None:
    runs = [curve(ramp(1000), 0, seconds=0.01), curve(ramp(1000), 1)]
    runs[1].seconds[:] += 60
    assert [len(each) for each in band_parts(runs)] == [0] * 5


def band_parts(runs: Sequence[LearningCurve]) -> list[np.ndarray]:
    told = band(runs, "seconds", mean, HOW)
    return [told.x, told.value, told.low, told.high, told.runs]


def test_without_clocks_a_band_is_empty() -> None:
    assert len(band([curve(ramp(1), seconds=math.nan)], "seconds", mean, HOW).x) == 0


def test_seeds_of_different_speed_are_met_at_equal_seconds() -> None:
    runs = [curve(ramp(1000), 0, seconds=0.5), curve(ramp(1000), 1, seconds=1.0)]
    told = band(runs, "seconds", mean, HOW)
    at = told.x.tolist().index(200.0)
    assert told.value[at] == pytest.approx((0.4 + 0.2) / 2)
