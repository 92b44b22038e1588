"""Runs compared: recordings on disk whose true answer is known, whole ones and damaged ones."""

import math
import time
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from addition import ADDITION, answer
from recorded import evaluation, logistic, ramp, training, write_learner, write_run

from sdpo_envs import Recording, SettingError, compare, record
from sdpo_envs.bench.compare import Comparison, Fact
from sdpo_envs.bench.intervals import Bootstrap

HOW = Bootstrap(draws=200)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Six seeds each of a learner and of one that is twice as fast, but for its steps; told apart by their folders."""
    for seed in range(6):
        stretch = 1 + seed / 10
        write_learner(tmp_path / "grpo" / str(seed), ramp(800 * stretch), algorithm="grpo", seed=seed, end=1500)
        write_learner(tmp_path / "sdpo" / str(seed), ramp(400 * stretch), seed=seed, end=1500, seconds=0.75)
    return tmp_path


def side_by_side(runs: Any, **settings: Any) -> Comparison:
    return compare(runs, **{"baseline": "grpo", "how": HOW} | settings)


def test_the_truth_comes_out(runs: Path) -> None:
    grpo, sdpo = side_by_side(runs, levels=(0.5, 0.8)).standings
    assert (grpo.algorithm, sdpo.algorithm) == ("grpo", "sdpo")
    assert sdpo.seeds == ("0", "1", "2", "3", "4", "5")
    for reach in sdpo.reaches[:2]:
        assert reach.generations.speedup is not None
        assert reach.seconds.speedup is not None
        assert reach.generations.speedup.geometric.value == pytest.approx(2, rel=0.1)
        assert reach.seconds.speedup.geometric.value == pytest.approx(4 / 3, rel=0.1)
    assert (grpo.final.value, sdpo.final.value) == (1, 1)
    assert sdpo.improvement.value == 0.5
    assert sdpo.area.value > grpo.area.value
    # rising straight over 800 of 1500 generations leaves out 400 / 1500 of the area, and so on
    assert grpo.area.value == pytest.approx(1 - 400 * 1.25 / 1500, abs=0.01)


def test_whole_runs_leave_nothing_to_note(runs: Path) -> None:
    found = side_by_side(runs)
    assert found.notes == ()
    assert found.span == (0, 1500)
    assert found.facts == ()
    assert found.standings[0].by_generations.x.tolist() == list(range(0, 1501, 100))


def test_the_order_in_which_runs_are_named_says_nothing(runs: Path) -> None:
    one = side_by_side([runs / "grpo", runs / "sdpo"])
    other = side_by_side([*sorted((runs / "sdpo").iterdir(), reverse=True), runs / "grpo"])
    assert [each.finals.tolist() for each in one.standings] == [each.finals.tolist() for each in other.standings]
    assert [each.area for each in one.standings] == [each.area for each in other.standings]


def test_without_a_baseline_algorithms_stand_by_name(runs: Path) -> None:
    found = compare(runs, how=HOW)
    assert [each.algorithm for each in found.standings] == ["grpo", "sdpo"]
    assert math.isnan(found.standings[1].improvement.value)
    assert [each.algorithm for each in side_by_side(runs, baseline="sdpo").standings] == ["sdpo", "grpo"]


def test_what_an_environment_recorded_is_what_is_compared(tmp_path: Path) -> None:
    for seed in range(5):
        recording = Recording(tmp_path / str(seed), told={"algorithm": "learner", "seed": seed})
        train, test = (
            record(gymnasium.make_vec(ADDITION, num_envs=4, group_size=2), recording, phase=phase)
            for phase in ("train", "test")
        )
        for right in (0, 2, 4):  # as many of the four slots answer right, in training and in its test
            for envs in (test, train):
                _, infos = envs.reset(seed=seed)
                envs.tell([10 - right] * 4)
                envs.step([answer(task) if slot < right else "0" for slot, task in enumerate(infos["task_id"])])
        train.close(), test.close()
    (found,) = compare(tmp_path, how=HOW).standings
    assert found.by_generations.x.tolist() == [0, 4, 8]
    assert found.by_generations.value.tolist() == [0, 0.5, 1]
    assert found.tokens == (10, 6)
    for run in found.runs:
        assert run.seconds[0] <= run.seconds[1] <= run.seconds[2] < 5
    assert compare(tmp_path, how=HOW).facts == tuple(
        Fact(f"{phase} environment", ADDITION) for phase in ("train", "test")
    )


# --- what is missing


def noted(found: Comparison) -> str:
    return "\n".join(found.notes)


def test_a_missing_seed_is_named_and_not_paired(runs: Path) -> None:
    (runs / "sdpo" / "4" / "attempts.jsonl").unlink()
    found = side_by_side(runs)
    assert found.notes == ("sdpo and grpo do not share seed 4: what is paired by seed leaves them out.",)
    speedup = found.standings[1].reaches[-1].generations.speedup
    assert speedup is not None
    assert speedup.seeds == ("0", "1", "2", "3", "5")


def test_a_level_that_was_never_reached_is_counted(tmp_path: Path) -> None:
    for seed, top in enumerate((0.9, 0.4, 0.9, 0.9, 0.9)):
        write_learner(tmp_path / "grpo" / str(seed), ramp(500), algorithm="grpo", seed=seed)
        write_learner(tmp_path / "sdpo" / str(seed), ramp(500, top), seed=seed)
    need = side_by_side(tmp_path, levels=(0.6,)).standings[1].reaches[0].generations
    assert need.never == 1
    assert math.isfinite(need.typical.value)
    assert need.speedup is not None
    assert (need.speedup.low[1], need.speedup.censored) == (0, 1)
    assert need.speedup.high[1] == pytest.approx(0.3)  # 300 generations over all 1000


def test_what_broke_is_noted_and_counts_for_nothing(tmp_path: Path) -> None:
    for seed in range(5):
        rows = [*evaluation(0, 0.0), *evaluation(64, 0.5, broken=50 if seed == 2 else 0)]
        write_run(tmp_path / "grpo" / str(seed), rows, ticks=[("test", 0, 1.0), ("test", 64, 2.0)])
    found = compare(tmp_path, last=1, how=HOW)
    assert found.notes == ("grpo, seed 2: 50 of all 1,050 attempts broke, and are left out.",)
    assert found.standings[0].finals.tolist() == [0.5] * 5


def test_an_empty_run_is_left_out_by_name(runs: Path) -> None:
    write_run(runs / "sdpo" / "6", [], {"algorithm": "sdpo", "seed": 6})
    write_run(runs / "sdpo" / "7", evaluation(0, 0, 0, broken=9), {"algorithm": "sdpo", "seed": 7})
    found = side_by_side(runs)
    assert found.notes == tuple(f"sdpo, seed {n}, holds no attempt that was judged, and is left out." for n in (6, 7))
    assert len(found.standings[1].runs) == 6


def test_a_short_run_is_named(runs: Path) -> None:
    write_learner(runs / "sdpo" / "6", ramp(400), seed=6, end=300, seconds=0.75)
    found = side_by_side(runs)
    assert "sdpo, seed 6: ends early, and so has no final success, no best and no area." in found.notes
    assert found.span == (0, 1500)
    assert len(found.standings[1].finals) == 6


def test_different_lengths_are_noted_and_the_area_is_over_what_all_made(runs: Path) -> None:
    for seed in range(5):
        write_learner(runs / "long" / str(seed), ramp(400), algorithm="long", seed=seed, end=3000)
    found = side_by_side(runs)
    assert "different numbers of generations, grpo 1,500, long 3,000, sdpo 1,500" in noted(found)
    assert found.span == (0, 1500)


def test_a_run_without_a_test_phase_says_so(tmp_path: Path) -> None:
    for seed in range(5):
        rows = [each for start in range(0, 80, 8) for each in training(start, [start >= 40] * 8)]
        write_run(tmp_path / "grpo" / str(seed), rows)
    found = compare(tmp_path, bins=10, how=HOW)
    assert "grpo, seeds 0, 1, 2, 3, 4: no attempts of the phase 'test', so the curve is of training" in noted(found)
    assert found.standings[0].by_generations.value.tolist() == [0] * 5 + [1] * 5
    assert "no clock" in noted(found)
    assert "no attempts" not in noted(compare(tmp_path, phase="train", how=HOW))


def test_few_seeds_few_evaluations_and_no_clock_are_noted(tmp_path: Path) -> None:
    write_learner(tmp_path / "grpo" / "0", ramp(100), algorithm="grpo", end=100, seconds=None)
    assert compare(tmp_path, how=HOW).notes == (
        "grpo, seed 0: fewer than 3 evaluations; the final success is the mean of all.",
        "grpo, seed 0: no clock, so nothing against seconds.",
        "grpo, seed 0: fewer than 5 seeds, over which an interval is narrower than it says.",
    )


def test_what_several_lack_is_one_note(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_learner(tmp_path / name / "0", ramp(100), algorithm=name, seconds=None)
    assert compare(tmp_path, how=HOW).notes[0] == "a, seed 0; b, seed 0: no clock, so nothing against seconds."


# --- what was told


def test_what_was_told_is_alike_or_apart(tmp_path: Path) -> None:
    worlds = {"test": {"env": "sdpo/ToolUse-v0", "settings": {"split": "test"}}}
    for name, rate in (("grpo", 1e-3), ("sdpo", 1e-4)):
        for seed in (0, 1):
            told = {"algorithm": name, "seed": seed, "rate": rate, "batch": [8, 8], "note": f"of {seed}"}
            write_run(tmp_path / name / str(seed), evaluation(0, 0.5), told, phases=worlds)
    assert compare(tmp_path, how=HOW).facts == (
        Fact("batch", "[8, 8]"),
        Fact("test environment", "sdpo/ToolUse-v0 split=test"),
        Fact("rate", "0.001", "grpo"),
        Fact("rate", "0.0001", "sdpo"),
        Fact("note", "of 0, of 1", "grpo"),
        Fact("note", "of 0, of 1", "sdpo"),
    )


def test_what_some_were_not_told_is_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "0", evaluation(0, 0.5), {"rate": 1})
    write_run(tmp_path / "b" / "0", evaluation(0, 0.5))
    assert compare(tmp_path, how=HOW).facts == (Fact("rate", "1", "a"), Fact("rate", "-", "b"))


# --- what is refused


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"baseline": "gpro"}, r"baseline='gpro' is not offered; did you mean 'grpo'\?"),
        ({"levels": (0.5, 70)}, r"levels=70 must lie in \[0, 1\]"),
        ({"last": 0}, "last=0"),
        ({"bins": 0}, "bins=0"),
    ],
)
def test_a_setting_that_is_not_offered_is_refused(runs: Path, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        side_by_side(runs, **settings)


def test_nothing_to_tell_is_an_error(tmp_path: Path) -> None:
    write_run(tmp_path / "grpo" / "0", [])
    with pytest.raises(SettingError, match="None of the 1 runs holds an attempt that was judged"):
        compare(tmp_path)


def test_many_runs_are_compared_in_seconds(tmp_path: Path) -> None:
    """The numbers, nearly without reading: 10 algorithms, 10 seeds, 50 evaluations, the default of 2000 draws."""
    for name in range(10):
        for seed in range(10):
            curve = logistic(1000 + 100 * name + 10 * seed, 400, 0.9)
            rows = [each for at in range(0, 5000, 100) for each in evaluation(at, curve(at), attempts=2)]
            ticks = [("test", at, at * (0.1 + seed / 1e4)) for at in range(0, 5000, 100)]
            write_run(tmp_path / f"a{name}" / str(seed), rows, {"algorithm": f"a{name}", "seed": seed}, ticks)
    start = time.process_time()
    assert len(compare(tmp_path, baseline="a0").standings) == 10
    assert time.process_time() - start < 20
