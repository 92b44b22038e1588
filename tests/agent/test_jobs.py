"""Many runs, a few at a time. What is run is a fake that says what it was given, and does as it is told."""

import _thread
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sdpo_agent.jobs import Job, run_all
from sdpo_envs import InfrastructureError, SettingError

FAKE = """
import json, os, sys, time
arguments = sys.argv[1:]
folder = arguments[arguments.index("--run") + 1]
def note(**more):
    with open(os.path.join(os.path.dirname(folder), "notes.jsonl"), "a") as file:
        told = {"folder": os.path.basename(folder), "pid": os.getpid(), "arguments": arguments, **more}
        file.write(json.dumps(told) + chr(10))
note(what="begins", threads=os.environ["OMP_NUM_THREADS"], at=time.monotonic())
print("some words")
for number, word in enumerate(arguments):
    if word == "--sleep":
        time.sleep(float(arguments[number + 1]))
    if word == "--fail":
        sys.exit("what went [wrong] was é")
with open(os.path.join(folder, "metrics.jsonl"), "a") as file:
    file.write("{}" + chr(10))
note(what="ends", at=time.monotonic())
"""
TITLE = "training"


@pytest.fixture
def program(tmp_path: Path) -> tuple[str, ...]:
    path = tmp_path / "fake.py"
    path.write_text(FAKE)
    return sys.executable, "-I", "-S", "-X", "utf8", str(path)


def jobs(folder: Path, count: int, *command: str) -> list[Job]:
    return [Job(folder / "runs" / str(number), ("grpo", "--seed", str(number), *command), 1) for number in range(count)]


def notes(folder: Path, what: str = "begins") -> list[dict[str, Any]]:
    path = folder / "runs" / "notes.jsonl"
    told = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [each for each in told if each["what"] == what]


def checkpoint(folder: Path, steps: int = 2) -> None:
    (folder / "checkpoint").mkdir(parents=True)
    torch.save({"metrics": [{"step": 1.0, "attempts": 4.0}] * steps}, folder / "checkpoint" / "state.pt")


def begun(job: Job) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / "begun.json").write_text(json.dumps(job.command))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(count: int, folder: Path) -> None:
    deadline = time.monotonic() + 60
    while len(notes(folder)) < count and time.monotonic() < deadline:
        time.sleep(0.02)


# --- run


def test_all_are_run_as_many_at_a_time_as_were_asked_for(program: tuple[str, ...], tmp_path: Path) -> None:
    made = jobs(tmp_path, 5, "--sleep", "0.7")
    assert [job.made for job in made] == [0] * 5
    run_all(made, 2, TITLE, program)
    edges = sorted(
        [(each["at"], 1) for each in notes(tmp_path)] + [(each["at"], -1) for each in notes(tmp_path, "ends")]
    )
    running, most = 0, 0
    for _, change in edges:
        running += change
        most = max(most, running)
    assert (len(edges), most, running) == (10, 2, 0)
    assert all(job.done for job in made)
    assert [job.made for job in made] == [1] * 5


def test_a_run_is_given_its_command_its_folder_and_one_thread(program: tuple[str, ...], tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, 1, "--name", "a b")
    run_all([job], 3, TITLE, program)
    (told,) = notes(tmp_path)
    assert told["arguments"] == ["grpo", "--seed", "0", "--name", "a b", "--run", str(job.folder)]
    assert told["threads"] == "1"
    assert (job.folder / "log.txt").read_text() == "some words\n"


def test_what_is_finished_is_not_run_again(program: tuple[str, ...], tmp_path: Path) -> None:
    first, second = jobs(tmp_path, 2)
    run_all([first], 1, TITLE, program)
    run_all([first, second], 1, TITLE, program)
    run_all([first, second], 1, TITLE, program)
    assert [each["folder"] for each in notes(tmp_path)] == ["0", "1"]


def test_nothing_to_run_is_no_error(tmp_path: Path) -> None:
    run_all([], 2, TITLE, ("there is no such program",))
    assert not list(tmp_path.iterdir())


def test_its_checkpoint_is_thrown_away_once_it_is_finished(program: tuple[str, ...], tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, 1)
    begun(job)
    checkpoint(job.folder)
    run_all([job], 1, TITLE, program)
    assert sorted(path.name for path in job.folder.iterdir()) == ["done.json", "log.txt", "metrics.jsonl"]


# --- half made


def test_one_with_a_checkpoint_goes_on(program: tuple[str, ...], tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, 1)
    begun(job)
    checkpoint(job.folder)
    (job.folder / "metrics.jsonl").write_text("{}\n{}\n")
    assert job.made == 2
    run_all([job], 1, TITLE, program)
    (told,) = notes(tmp_path)
    assert told["arguments"][-1] == "--resume"
    assert (job.folder / "metrics.jsonl").read_text() == "{}\n{}\n{}\n"


def test_one_whose_checkpoint_was_being_replaced_goes_on(program: tuple[str, ...], tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, 1)
    begun(job)
    checkpoint(job.folder)
    (job.folder / "checkpoint").rename(job.folder / "checkpoint.old")
    run_all([job], 1, TITLE, program)
    assert notes(tmp_path)[0]["arguments"][-1] == "--resume"


def test_one_without_a_checkpoint_begins_anew(program: tuple[str, ...], tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, 1)
    begun(job)
    (job.folder / "checkpoint.new").mkdir()
    (job.folder / "recording.json").write_text("{}")
    (job.folder / "metrics.jsonl").write_text("{}\n")
    run_all([job], 1, TITLE, program)
    (told,) = notes(tmp_path)
    assert "--resume" not in told["arguments"]
    assert sorted(path.name for path in job.folder.iterdir()) == ["done.json", "log.txt", "metrics.jsonl"]
    assert (job.folder / "metrics.jsonl").read_text() == "{}\n"


def test_an_empty_folder_is_no_obstacle(program: tuple[str, ...], tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, 1)
    job.folder.mkdir(parents=True)
    run_all([job], 1, TITLE, program)
    assert job.done


# --- refused


def other(job: Job, marker: str) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / marker).write_text(json.dumps(["sdpo", "--name", "a b"]))


@pytest.mark.parametrize("marker", ["done.json", "begun.json"])
def test_a_folder_of_another_command_is_refused_before_anything_runs(
    program: tuple[str, ...], tmp_path: Path, marker: str
) -> None:
    first, second = jobs(tmp_path, 2)
    other(second, marker)
    if marker == "begun.json":
        checkpoint(second.folder)
    with pytest.raises(SettingError, match="1 was made by `sdpo --name 'a b'`, not by `grpo --seed 1`"):
        run_all([first, second], 1, TITLE, program)
    assert notes(tmp_path) == []
    assert not first.folder.exists()


def test_what_another_command_began_and_left_without_a_checkpoint_is_no_loss(
    program: tuple[str, ...], tmp_path: Path
) -> None:
    (job,) = jobs(tmp_path, 1)
    other(job, "begun.json")
    run_all([job], 1, TITLE, program)
    assert json.loads((job.folder / "done.json").read_text()) == ["grpo", "--seed", "0"]


def test_a_folder_of_somebody_else_is_refused_and_left_alone(program: tuple[str, ...], tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, 1)
    job.folder.mkdir(parents=True)
    (job.folder / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingError, match="0 holds what no sweep has begun"):
        run_all([job], 1, TITLE, program)
    assert [path.name for path in job.folder.iterdir()] == ["thesis.txt"]


# --- fails


def test_one_that_fails_ends_the_others_and_its_last_words_are_told(program: tuple[str, ...], tmp_path: Path) -> None:
    slow, failing, never = jobs(tmp_path, 3, "--sleep", "60")
    failing = Job(failing.folder, ("grpo", "--fail"), 1)
    start = time.monotonic()
    with pytest.raises(
        InfrastructureError, match=r"1 failed with exit code 1:\nsome words\nwhat went \[wrong\] was é$"
    ):
        run_all([slow, failing, never], 2, TITLE, program)
    assert time.monotonic() - start < 30
    assert not any(is_alive(each["pid"]) for each in notes(tmp_path))
    assert not never.folder.exists()
    assert not any(job.done for job in (slow, failing, never))


def test_one_that_failed_is_run_again(program: tuple[str, ...], tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, 1, "--fail")
    for _ in range(2):
        with pytest.raises(InfrastructureError, match="failed with exit code 1"):
            run_all([job], 1, TITLE, program)
    assert len(notes(tmp_path)) == 2


def test_only_the_end_of_a_long_log_is_told(tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, 1)
    job.folder.mkdir(parents=True)
    (job.folder / "log.txt").write_bytes(b"".join(b"line %d \xff\n" % number for number in range(1000)))
    with pytest.raises(InfrastructureError) as caught:
        job.finish(-9)
    assert "exit code -9:\nline 988 " in str(caught.value)
    assert str(caught.value).endswith("line 999 \N{REPLACEMENT CHARACTER}")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Have SIGINT raise KeyboardInterrupt, also where a shell began the tests in the background and turned it off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_ends_those_that_run(program: tuple[str, ...], tmp_path: Path) -> None:
    made = jobs(tmp_path, 3, "--sleep", "60")

    def interrupt() -> None:
        wait_for(2, tmp_path)
        _thread.interrupt_main()

    watch = threading.Thread(target=interrupt)
    watch.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_all(made, 2, TITLE, program)
    watch.join()
    assert time.monotonic() - start < 50
    assert len(notes(tmp_path)) == 2
    assert not any(is_alive(each["pid"]) for each in notes(tmp_path))
    assert notes(tmp_path, "ends") == []


# --- killed


def test_what_a_killed_sweep_left_running_is_not_made_twice(program: tuple[str, ...], tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, 1, "--sleep", "60")
    sweep = f"""
from pathlib import Path
from sdpo_agent.jobs import Job, run_all
run_all([Job(Path({str(job.folder)!r}), {job.command!r}, 1)], 1, "training", {program!r})
"""
    with subprocess.Popen([sys.executable, "-c", sweep], stderr=subprocess.DEVNULL) as process:
        wait_for(1, tmp_path)
        process.kill()
    (left,) = (each["pid"] for each in notes(tmp_path))
    with pytest.raises(InfrastructureError, match="is being made already"):
        run_all([job], 1, TITLE, program)
    assert is_alive(left)
    assert len(notes(tmp_path)) == 1
    os.kill(left, signal.SIGKILL)
    time.sleep(0.5)
    (again,) = jobs(tmp_path, 1)
    run_all([again], 1, TITLE, program)
    assert again.done
