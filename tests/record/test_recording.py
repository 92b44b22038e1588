import json
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdpo_envs import Feedback, Outcome, RecordError, Recording, SettingError, Verdict
from sdpo_envs.record.recording import Attempt
from sdpo_envs.record.row import World, clock, rows, told, worlds

ROUNDS = [("train", 2, 3), ("test", 1, 2), ("train", 1, 1), ("test", 2, 1), ("test", 2, 1), ("train", 3, 2)]
"""Phase, groups and attempts per group."""


def attempt(task: str = "a", action: str = "x", **found: Any) -> Attempt:
    return Attempt(task, [action], **found)


def play(recording: Recording, rounds: list[tuple[str, int, int]]) -> None:
    for number, (phase, groups, size) in enumerate(rounds):
        recording.append(phase, [[attempt(f"{number}/{group}")] * size for group in range(groups)])


def files(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "attempts.jsonl").read_bytes(), (folder / "clock.jsonl").read_bytes()


def keys(folder: Path) -> list[tuple[str, int, int]]:
    return [(row.phase, row.generations, row.group) for row in rows(folder)]


def require_whole_rounds(folder: Path) -> int:
    """Check that rows and clock agree in everything; return how many rounds there are."""
    found, start, train = rows(folder), 0, 0
    groups = {"train": 0, "test": 0}
    for tick in clock(folder):
        members = found[start : start + tick.rows]
        assert [(row.phase, row.generations) for row in members] == [(tick.phase, train)] * tick.rows
        numbers = sorted({row.group for row in members})
        assert numbers == list(range(groups[tick.phase], groups[tick.phase] + tick.groups))
        groups[tick.phase] += tick.groups
        train += tick.rows if tick.phase == "train" else 0
        start += tick.rows
    assert start == len(found)
    seconds = [tick.seconds for tick in clock(folder)]
    assert seconds == sorted(seconds)
    return len(seconds)


# Rounds


def test_rounds_are_counted_and_groups_numbered_by_phase(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "run")
    play(recording, ROUNDS)
    trained = [("train", 0, 0)] * 3 + [("train", 0, 1)] * 3
    tested = [("test", 6, 0)] * 2
    later = [("train", 6, 2), ("test", 7, 1), ("test", 7, 2), ("test", 7, 3), ("test", 7, 4)]
    assert keys(recording.folder) == trained + tested + later + [("train", 7, group) for group in (3, 3, 4, 4, 5, 5)]
    assert recording.generations == 13
    assert require_whole_rounds(recording.folder) == len(ROUNDS)


def test_a_line_is_the_json_of_its_columns(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "run")
    found = {"verdict": Verdict(Outcome.WRONG, 0.25), "feedback": Feedback("no", True, "peer's"), "tokens": 17}
    found |= {"prompt_tokens": 170, "cut_short": True}
    recording.append("train", [[attempt(reward=0.25, **found)]])
    assert (tmp_path / "run" / "attempts.jsonl").read_text() == (
        '{"phase": "train", "generations": 0, "group": 0, "task": "a", "actions": ["x"], "reward": 0.25, '
        '"outcome": "wrong", "passed": false, "feedback": "no", "reveals_answer": true, "peer": true, "tokens": 17, '
        '"prompt_tokens": 170, "cut_short": true, "error": ""}\n'
    )


@given(st.text(), st.lists(st.text()), st.floats(), st.text(), st.sampled_from(["train", 'a "b"\n\u2028']))
def test_a_line_is_what_json_would_write(task: str, actions: list[str], reward: float, error: str, phase: str) -> None:
    line = Attempt(task, actions, reward, error=error).line(phase, 1, 2)
    assert line == json.dumps(json.loads(line)) + "\n"
    row = json.loads(line)
    assert (row["phase"], row["task"], row["error"]) == (phase, task, error)
    assert row["actions"] == actions
    assert row["reward"] == (reward if abs(reward) < float("inf") else None)


def test_equal_runs_are_equal_to_the_byte(tmp_path: Path) -> None:
    for name in ("one", "two"):
        play(Recording(tmp_path / name), ROUNDS)
    assert files(tmp_path / "one")[0] == files(tmp_path / "two")[0]


# Begun, and gone on with


def test_a_recording_is_not_begun_twice(tmp_path: Path) -> None:
    Recording(tmp_path)
    with pytest.raises(FileExistsError, match="already holds a recording"):
        Recording(tmp_path)


def test_attempts_alone_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "attempts.jsonl").write_text('{"task": "a", "reward": 0}\n')
    with pytest.raises(FileExistsError):
        Recording(tmp_path)
    assert len(rows(tmp_path)) == 1


def test_a_recording_that_is_not_there_is_begun(tmp_path: Path) -> None:
    Recording(tmp_path / "deep" / "run", resume=True, told={"seed": 0})
    assert told(tmp_path / "deep" / "run") == {"seed": 0}


def test_going_on_is_as_if_nothing_had_been(tmp_path: Path) -> None:
    play(Recording(tmp_path / "whole"), ROUNDS)
    for number, (phase, groups, size) in enumerate(ROUNDS):
        parts = [[attempt(f"{number}/{group}")] * size for group in range(groups)]
        Recording(tmp_path / "parts", resume=True).append(phase, parts)
    assert files(tmp_path / "parts")[0] == files(tmp_path / "whole")[0]
    require_whole_rounds(tmp_path / "parts")


def test_what_was_told_must_stay_the_same(tmp_path: Path) -> None:
    Recording(tmp_path, told={"algorithm": "grpo", "seed": 0})
    for same in (None, {"algorithm": "grpo", "seed": 0}, {"seed": 0, "algorithm": "grpo"}):
        Recording(tmp_path, resume=True, told=same)
    for other in ({"algorithm": "grpo", "seed": 1}, {"algorithm": "grpo"}):
        with pytest.raises(SettingError, match=r"was told seed=0, not (1|None)\. Resume it with the same"):
            Recording(tmp_path, resume=True, told=other)
    with pytest.raises(SettingError, match=r"was told algorithm='grpo', not None"):
        Recording(tmp_path, resume=True, told={})
    with pytest.raises(SettingError, match=r"was told lr=None, not 0.1"):
        Recording(tmp_path, resume=True, told={"algorithm": "grpo", "seed": 0, "lr": 0.1})


def test_what_is_told_may_hold_paths_and_tuples(tmp_path: Path) -> None:
    given_now = {"data": Path("x/y"), "betas": (0.9, 0.95)}
    Recording(tmp_path, told=given_now)
    Recording(tmp_path, told=given_now, resume=True)
    assert told(tmp_path) == {"data": "x/y", "betas": [0.9, 0.95]}


@pytest.mark.parametrize(
    "bad", [{"x": object()}, {"x": float("nan")}, {"x": b""}, "text", 7], ids=["object", "nan", "bytes", "text", "7"]
)
def test_what_is_no_json_cannot_be_told(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(SettingError, match="must be a JSON object"):
        Recording(tmp_path / "run", told=bad)
    assert not (tmp_path / "run").exists()


def test_a_phase_has_one_world(tmp_path: Path) -> None:
    recording = Recording(tmp_path, told={"seed": 0})
    world, other = World("a/b-v0", {"split": "test"}, unsaved=("sandbox",)), World("a/b-v0", {"split": "train"})
    for phase, each in (("test", world), ("train", other), ("test", world)):
        recording.enter(phase, each)
    with pytest.raises(SettingError, match="'test' was begun in"):
        Recording(tmp_path, resume=True).enter("test", other)
    assert worlds(tmp_path) == {"test": world, "train": other}
    assert told(tmp_path) == {"seed": 0}


@pytest.mark.parametrize("phase", ["", None, 7])
def test_a_phase_has_a_name(tmp_path: Path, phase: Any) -> None:
    with pytest.raises(SettingError, match="a phase is a str"):
        Recording(tmp_path).enter(phase, World(None))


# From a checkpoint


@pytest.mark.parametrize(
    ("generations", "kept"), [(0, 0), (1, 1), (6, 2), (7, 5), (8, 6), (13, 6), (99, 6)], ids=lambda number: str(number)
)
def test_what_came_after_the_checkpoint_is_forgotten(tmp_path: Path, generations: int, kept: int) -> None:
    play(Recording(tmp_path / "run"), ROUNDS)
    play(Recording(tmp_path / "kept"), ROUNDS[:kept])
    recording = Recording(tmp_path / "run", resume=True, generations=generations)
    assert files(tmp_path / "run")[0] == files(tmp_path / "kept")[0]
    assert require_whole_rounds(tmp_path / "run") == kept
    assert recording.generations == (rows(tmp_path / "kept")[-1].generations if kept else 0) + (
        ROUNDS[kept - 1][1] * ROUNDS[kept - 1][2] if kept and ROUNDS[kept - 1][0] == "train" else 0
    )


def test_a_test_before_any_training_is_kept(tmp_path: Path) -> None:
    play(Recording(tmp_path), [("test", 1, 2), ("train", 1, 2)])
    Recording(tmp_path, resume=True, generations=0)
    assert keys(tmp_path) == [("test", 0, 0)] * 2


def test_where_to_go_on_needs_going_on(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="needs resume=True"):
        Recording(tmp_path / "run", generations=3)


# Killed


@settings(max_examples=60)
@given(rounds=st.integers(0, len(ROUNDS) - 1), data=st.data())
def test_half_a_round_is_cut_off_wherever_the_process_was_killed(
    tmp_path_factory: pytest.TempPathFactory, rounds: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("killed")
    play(Recording(folder / "whole"), ROUNDS)
    attempts, ticks = files(folder / "whole")
    ends = [0, *(tick.size for tick in clock(folder / "whole"))]
    lines = ticks.splitlines(keepends=True)
    written = data.draw(st.integers(ends[rounds], ends[rounds + 1]))
    torn = data.draw(st.integers(0, len(lines[rounds]) - 1)) if written == ends[rounds + 1] else 0
    killed = Recording(folder / "killed").folder
    (killed / "attempts.jsonl").write_bytes(attempts[:written])
    (killed / "clock.jsonl").write_bytes(b"".join(lines[:rounds]) + lines[rounds][:torn])

    recording = Recording(killed, resume=True)
    assert files(killed) == (attempts[: ends[rounds]], b"".join(lines[:rounds]))
    for number, (phase, groups, size) in enumerate(ROUNDS[rounds:], rounds):
        recording.append(phase, [[attempt(f"{number}/{group}")] * size for group in range(groups)])
    assert files(killed)[0] == attempts


@pytest.mark.parametrize("lost", range(1, len(ROUNDS) + 1))
def test_a_clock_whose_rows_are_not_there_is_cut_off(tmp_path: Path, lost: int) -> None:
    play(Recording(tmp_path / "run"), ROUNDS)
    play(Recording(tmp_path / "kept"), ROUNDS[:-lost])
    path = tmp_path / "run" / "attempts.jsonl"
    os.truncate(path, len((tmp_path / "kept" / "attempts.jsonl").read_bytes()) + 1)
    Recording(tmp_path / "run", resume=True)
    assert files(tmp_path / "run")[0] == files(tmp_path / "kept")[0]
    assert require_whole_rounds(tmp_path / "run") == len(ROUNDS) - lost


@pytest.mark.parametrize("known", range(len(ROUNDS)))
def test_a_lost_clock_costs_one_round_of_rows_and_no_more(tmp_path: Path, known: int) -> None:
    folder = tmp_path / "run"
    play(Recording(folder), ROUNDS)
    before, ticks = rows(folder), clock(folder)
    lines = files(folder)[1].splitlines(keepends=True)
    (folder / "clock.jsonl").write_bytes(b"".join(lines[:known]))
    Recording(folder, resume=True)
    assert rows(folder) == before[: len(before) - ticks[-1].rows]
    require_whole_rounds(folder)
    assert clock(folder)[:known] == ticks[:known]


def test_rows_that_the_clock_lost_are_forgotten_from_the_checkpoint_on(tmp_path: Path) -> None:
    play(Recording(tmp_path), ROUNDS)
    (tmp_path / "clock.jsonl").unlink()
    Recording(tmp_path, resume=True, generations=6)
    assert keys(tmp_path)[-1] == ("test", 6, 0)
    assert require_whole_rounds(tmp_path) == 2


def test_a_clock_of_another_make_cannot_be_gone_on_with(tmp_path: Path) -> None:
    Recording(tmp_path)
    (tmp_path / "attempts.jsonl").write_text('{"task": "a", "reward": 0}\n')
    (tmp_path / "clock.jsonl").write_text('{"phase": "train", "generations": 0, "seconds": 1}\n')
    with pytest.raises(RecordError, match=r"clock.jsonl line 1: the column 'size' is missing"):
        Recording(tmp_path, resume=True)
    assert len(rows(tmp_path)) == 1


def test_a_write_that_fails_is_mended_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(tmp_path)
    play(recording, ROUNDS[:1])
    write, calls = os.write, []

    def full(file: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return write(file, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            play(recording, ROUNDS[:1])
    play(recording, ROUNDS[:1])
    assert require_whole_rounds(tmp_path) == 2


WRITER = """
import sys
from sdpo_envs import Recording
from sdpo_envs.record.recording import Attempt

recording = Recording(sys.argv[1], resume=True)
print("ready", flush=True)
while True:
    recording.append("train", [[Attempt("a", ["x" * 100_000])] * 4] * 2)
    recording.append("test", [[Attempt("a", ["y" * 10])] * 4])
"""


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_process_leaves_whole_rounds(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    rounds = 0
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(chance.random() * 0.05)
            process.kill()
        rows(tmp_path)  # what is torn is no error before it is mended
        Recording(tmp_path, resume=True)
        assert require_whole_rounds(tmp_path) >= rounds
        rounds = len(clock(tmp_path))


# Several writers


def _write_many(folder: Path, phase: str, together: Any) -> None:
    recording = Recording(folder, resume=True)
    together.wait(60)
    for _ in range(200):
        recording.append(phase, [[attempt(action="x" * 3000)] * 2] * 2)


def test_several_processes_write_to_one_recording(tmp_path: Path) -> None:
    Recording(tmp_path)
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(3)
    arguments = [(tmp_path, phase, together) for phase in ("train", "train", "test")]
    writers = [spawn.Process(target=_write_many, args=each) for each in arguments]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert require_whole_rounds(tmp_path) == 600


def test_a_copy_goes_on_beside_the_original(tmp_path: Path) -> None:
    recording = Recording(tmp_path, told={"seed": 0})
    for copy in (pickle.loads(pickle.dumps(recording)), recording, pickle.loads(pickle.dumps(recording)), recording):
        play(copy, ROUNDS[:2])
    assert require_whole_rounds(tmp_path) == 8


def test_a_recording_that_another_has_cut_must_be_opened_again(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    play(recording, ROUNDS)
    Recording(tmp_path, resume=True, generations=0)
    with pytest.raises(RecordError, match="Open the recording again"):
        play(recording, ROUNDS)


# The clock


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return lambda seconds: now.__setitem__(0, 100.0 + seconds)


def seconds(folder: Path) -> list[float]:
    return [tick.seconds for tick in clock(folder)]


def test_the_clock_runs_from_the_beginning_and_stands_between_processes(
    tmp_path: Path, at: Callable[[float], None]
) -> None:
    recording = Recording(tmp_path)
    at(2)
    play(recording, ROUNDS[:1])
    at(5)
    play(recording, ROUNDS[:1])
    at(1000)
    recording = Recording(tmp_path, resume=True)
    at(1001)
    recording.set_aside(0.25)
    play(recording, ROUNDS[:1])
    assert seconds(tmp_path) == [2, 5, 5.75]


def test_the_clock_of_what_is_forgotten_is_forgotten(tmp_path: Path, at: Callable[[float], None]) -> None:
    recording = Recording(tmp_path)
    for now in (2, 5):
        at(now)
        play(recording, [("train", 1, 4)])
    recording = Recording(tmp_path, resume=True, generations=4)
    at(6)
    play(recording, [("train", 1, 4)])
    assert seconds(tmp_path) == [2, 3]


def test_writers_at_the_same_time_share_the_time(tmp_path: Path, at: Callable[[float], None]) -> None:
    one, two = Recording(tmp_path), Recording(tmp_path, resume=True)
    for now, recording in ((1, one), (2, two), (3, one), (4, two)):
        at(now)
        play(recording, ROUNDS[:1])
    assert seconds(tmp_path) == [1, 2, 3, 4]


def test_the_clock_never_goes_back(tmp_path: Path, at: Callable[[float], None]) -> None:
    one, two = Recording(tmp_path), Recording(tmp_path, resume=True)
    at(5)
    play(two, ROUNDS[:1])
    one.set_aside(3)
    at(6)
    play(one, ROUNDS[:1])
    assert seconds(tmp_path) == [5, 5]
