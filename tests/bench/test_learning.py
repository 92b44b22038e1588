"""How one run learned, from rows whose truth is known."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import evaluation, ramp, training, write_learner, write_run

from sdpo_envs import RecordError, SettingError
from sdpo_envs.bench.learning import LearningCurve, Source, find_runs, learning_curve


def read(folder: Path, phase: str = "test", bins: int = 4) -> LearningCurve:
    curve = learning_curve(find_runs(folder)[0], phase, bins)
    assert curve is not None
    return curve


def drawn(success: list[float], every: float = 100.0, seconds: float = 0.5) -> LearningCurve:
    x = np.arange(len(success)) * every
    return LearningCurve(Source(Path("."), "a", "0"), "test", x, np.array(success), x * seconds, 1, 0, (1.0, 1.0))


# --- a curve


def test_a_curve_has_a_point_per_evaluation(tmp_path: Path) -> None:
    curve = read(write_learner(tmp_path / "run", ramp(1000), end=400))
    assert curve.phase == "test"
    assert curve.generations.tolist() == [0, 100, 200, 300, 400]
    assert curve.success.tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert curve.seconds.tolist() == [0, 50, 100, 150, 200]
    assert (curve.attempts, curve.broken) == (500, 0)
    assert all(map(math.isnan, curve.tokens))


def test_the_order_of_rows_says_nothing(tmp_path: Path) -> None:
    rows = [*evaluation(0, 0.1), *evaluation(640, 0.5)]
    one, other = (read(write_run(tmp_path / name, some)) for name, some in (("a", rows), ("b", rows[::-1])))
    assert one.success.tolist() == other.success.tolist() == [0.1, 0.5]


def test_what_broke_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = [*evaluation(0, 0.0, 2, broken=5), *evaluation(64, 0.5, 2, broken=8), *evaluation(128, 0, 0, broken=3)]
    curve = read(write_run(tmp_path / "run", rows))
    assert curve.generations.tolist() == [0, 64]  # the last point had nothing but broken ones
    assert curve.success.tolist() == [0, 0.5]
    assert (curve.attempts, curve.broken) == (20, 16)


@pytest.mark.parametrize("rows", [[], evaluation(0, 0, 0, broken=3), training(0, [None, None])])
def test_where_nothing_was_judged_there_is_no_curve(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    assert learning_curve(find_runs(write_run(tmp_path / "run", rows))[0], "test", 4) is None


def test_without_a_test_phase_training_is_drawn_in_bins(tmp_path: Path) -> None:
    rounds = [training(start, [True] * right + [False] * (8 - right)) for start, right in ((0, 0), (8, 2), (16, 8))]
    rows = [each for round in rounds for each in round]
    run = write_run(tmp_path / "run", rows, ticks=[("train", 0, 10.0), ("train", 8, 20.0), ("train", 16, 40.0)])
    curve = read(run, bins=3)
    assert curve.phase == "train"
    assert curve.generations.tolist() == [4, 12, 20]  # the middle of each bin
    assert curve.success.tolist() == [0, 0.25, 1]
    assert curve.seconds.tolist() == [5, 15, 30]  # a round is over where the next begins


def test_training_may_be_asked_for(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [*training(0, [True, None]), *evaluation(2, 0.5)])
    curve = read(run, "train", bins=9)
    assert (curve.phase, curve.success.tolist(), curve.broken) == ("train", [1], 1)


def test_the_time_of_an_evaluation_is_that_of_its_first_round(tmp_path: Path) -> None:
    rows = [*evaluation(0, 0.0), *training(0, [True] * 8), *evaluation(8, 1.0)]
    ticks = [("test", 0, 1.0), ("test", 0, 1.5), ("train", 0, 9.0), ("test", 8, 11.0), ("test", 8, 12.0)]
    assert read(write_run(tmp_path / "run", rows, ticks=ticks)).seconds.tolist() == [1, 11]


def test_the_length_of_actions_is_told_of_the_start_and_the_end(tmp_path: Path) -> None:
    rows = [each for start in range(20) for each in training(start, [True], tokens=100 - start)]
    curve = read(write_run(tmp_path / "run", [*rows, *training(20, [True]), *evaluation(20, 1.0)]))
    assert curve.tokens == (99.5, 81.5)


def test_a_row_that_is_none_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [*evaluation(0, 0.5), {"phase": "test", "reward": 1.0}])
    with pytest.raises(RecordError, match=r"attempts\.jsonl line 101.*task"):
        read(run)


# --- when a level is reached


def test_a_ramp_is_crossed_where_it_should_be() -> None:
    curve = drawn([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert curve.until(0.25) == pytest.approx((250, 125))
    assert curve.until(0.3) == pytest.approx((300, 150))
    assert curve.until(0.05) == pytest.approx((50, 25))  # the first point stands for itself
    assert curve.until(0.55) == pytest.approx((600, 300))
    assert curve.until(0.56) == (math.inf, math.inf)


def test_one_lucky_evaluation_is_no_crossing() -> None:
    lucky = [0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.6, 0.6, 0.6]
    assert drawn(lucky).until(0.5)[0] == pytest.approx(640)  # the means of three end in 0.27, 0.43, 0.6


def test_the_last_evaluations_reach_their_own_mean() -> None:
    noisy = drawn([0.0, 0.2, 0.1, 0.3, 0.05])
    assert math.isfinite(noisy.until(noisy.final(3))[0])


def test_without_a_clock_only_generations_are_known() -> None:
    curve = drawn([0.0, 1.0, 1.0], seconds=math.nan)
    assert [math.isnan(curve.until(level)[1]) for level in (0.6, 1.1)] == [True, True]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_level_is_never_reached_sooner(success: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    curve = drawn(success)
    assert curve.until(low)[0] <= curve.until(high)[0] + 1e-6
    assert curve.until(low)[0] == pytest.approx(2 * curve.until(low)[1])


def test_final_and_area() -> None:
    curve = drawn([0.0, 0.0, 1.0, 1.0])
    assert curve.final(3) == pytest.approx(2 / 3)
    assert curve.final(99) == 0.5
    assert curve.area(0, 300) == pytest.approx(0.5)


# --- which runs are meant


def names(sources: list[Source]) -> list[tuple[str, str]]:
    return [(each.algorithm, each.seed) for each in sources]


def test_folders_above_patterns_and_runs_are_found_once(tmp_path: Path) -> None:
    for name in ("grpo", "sdpo"):
        for seed in (10, 9):
            write_run(tmp_path / name / str(seed), [])
    expected = [("grpo", "9"), ("grpo", "10"), ("sdpo", "9"), ("sdpo", "10")]
    (tmp_path / "grpo" / "notes.txt").write_text("no run")
    ways: list[Any] = [
        tmp_path,
        str(tmp_path),
        [tmp_path / "grpo", tmp_path / "sdpo"],
        f"{tmp_path}/*/*",
        [f"{tmp_path}/**", tmp_path / "grpo" / "9", str(tmp_path / "sdpo" / ".." / "sdpo")],
    ]
    for way in ways:
        assert names(find_runs(way)) == expected, way


def test_what_was_told_goes_before_names(tmp_path: Path) -> None:
    write_run(tmp_path / "one", [], {"algorithm": "sdpo", "seed": 3})
    write_run(tmp_path / "two", [], {"seed": 4})
    assert names(find_runs(tmp_path)) == [("sdpo", "3"), (tmp_path.name, "4")]


def test_the_caller_knows_best(tmp_path: Path) -> None:
    write_run(tmp_path / "one", [], {"algorithm": "sdpo", "seed": 3})
    assert names(find_runs({"mine": tmp_path / "one"})) == [("mine", "3")]
    assert names(find_runs({"a": [tmp_path / "one"], "b": f"{tmp_path}/o*"})) == [("a", "3"), ("b", "3")]


def test_rows_of_any_loop_are_a_run(tmp_path: Path) -> None:
    (tmp_path / "ppo").mkdir()
    lines = [{"task": "t", "passed": number >= 5, "phase": "test", "generations": number} for number in range(10)]
    (tmp_path / "ppo" / "7.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (source,) = find_runs(tmp_path / "ppo" / "7.jsonl")
    assert (source.algorithm, source.seed, source.told) == ("ppo", "7", {})
    curve = learning_curve(source, "test", 4)
    assert curve is not None
    assert curve.success.tolist() == [0] * 5 + [1] * 5
    assert np.isnan(curve.seconds).all()


def test_two_runs_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_run(tmp_path / name, [], {"algorithm": "sdpo", "seed": 1})
    with pytest.raises(SettingError, match=r"first and .*second are both 'sdpo' with the seed '1'\. Tell"):
        find_runs(tmp_path)


@pytest.mark.parametrize("nothing", ["absent", "absent/*", "", "notes.txt"])
def test_where_no_run_is_the_error_says_what_to_name(tmp_path: Path, nothing: str) -> None:
    (tmp_path / "notes.txt").write_text("no run")
    with pytest.raises(SettingError, match=r"There is no run at .*; name a folder that holds attempts\.jsonl"):
        find_runs(tmp_path / nothing)
