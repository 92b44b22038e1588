"""`sdpo play`: answers through a pipe, and typed on a terminal."""

import fcntl
import io
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from addition import ADDITION, BREAK_WALL, GUESSING, answer
from commandline import SDPO, Ended, run

from sdpo_envs.record import rows

TASK = "add/1023-2004"
TOOL = "sdpo/ToolUse-v0"


@pytest.fixture
def play(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Play with what comes through a pipe."""

    def with_answers(text: str, *arguments: str) -> Ended:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        return run(capsys, "play", *arguments)

    return with_answers


# --- through a pipe


def test_an_answer_is_judged_and_the_feedback_shown(play: Any) -> None:
    ended = play("4000\n", ADDITION, "--task", TASK)
    assert (ended.code, ended.err) == (0, "")
    assert "You add up." in ended.out
    assert "What is 1023 + 2004?" in ended.out
    assert "WRONG  reward 0" in ended.out
    assert "This is too large.\nYou wrote: 4000\n" in ended.out
    assert "3027" not in ended.out
    assert "PASSED  reward 1" in play("3027\n", ADDITION, "--task", TASK).out


def test_with_reveal_the_feedback_tells_what_was_right(play: Any) -> None:
    assert "The sum is: 3027" in play("4000", ADDITION, "--task", TASK, "--reveal").out


def test_what_comes_through_a_pipe_is_one_answer_whole(play: Any) -> None:
    text = "Thought: first.\n\n```\nx\n\ny\n```\n\n"
    (played,) = play(text, ADDITION, "--json").json()
    assert played["actions"] == [text.removesuffix("\n")]


def test_json_is_what_the_recording_holds_and_all_that_is_written(play: Any, tmp_path: Path) -> None:
    ended = play("4000\n", ADDITION, "--task", TASK, "--json", "--record", str(tmp_path / "run"))
    (played,) = ended.json()
    (row,) = rows(tmp_path / "run")
    assert played == {
        "task": TASK,
        "actions": ["4000"],
        "reward": 0.0,
        "outcome": "wrong",
        "passed": False,
        "feedback": row.feedback,
        "reveals_answer": False,
    }
    assert (row.task, row.actions, row.reward, row.outcome.value) == (TASK, ("4000",), 0.0, "wrong")  # type: ignore[union-attr]


def test_in_many_turns_a_line_is_an_action(play: Any) -> None:
    ended = play(f"1\n9999\n{answer(TASK)}\nnot read\n", GUESSING, "--task", TASK)
    assert ended.code == 0
    assert ended.out.index("too small") < ended.out.index("too large") < ended.out.index("PASSED  reward 1")
    (played,) = play("1\n2\n3", GUESSING, "--task", TASK, "--json").json()
    assert played["actions"] == ["1", "2", "3"]
    assert not played["passed"]


@pytest.mark.parametrize(("text", "env_id"), [("", ADDITION), ("", GUESSING), ("1\n2\n", GUESSING)])
def test_answers_that_run_out_before_the_end_are_told(play: Any, text: str, env_id: str) -> None:
    ended = play(text, env_id)
    assert (ended.code, ended.err) == (1, "sdpo play: the answers ended before the episode did.\n")
    assert play(text, env_id, "--json").json() == []


def test_an_empty_line_is_an_action_and_no_end(play: Any) -> None:
    (played,) = play(f"\n{answer(TASK)}\n", GUESSING, "--task", TASK, "--json").json()
    assert played["actions"] == ["", answer(TASK)]
    (played,) = play("\n", ADDITION, "--json").json()
    assert (played["actions"], played["outcome"]) == ([""], "malformed")


def test_several_tasks_are_drawn_one_after_the_other(play: Any, tmp_path: Path) -> None:
    env: Any = gymnasium.make(GUESSING, disable_env_checker=True)
    drawn = [env.reset(seed=5 if number == 0 else None)[1]["task_id"] for number in range(3)]
    folder = str(tmp_path / "run")
    played = play("1\n2\n3\n" * 3, GUESSING, "--tasks", "3", "--seed", "5", "--json", "--record", folder).json()
    assert [each["task"] for each in played] == drawn
    more = play("1\n2\n3\n", GUESSING, "--record", folder)
    assert more.code == 0
    assert [row.task for row in rows(folder)][:3] == drawn
    assert len(rows(folder)) == 4


def test_what_was_played_replays(play: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    assert play("4000\n", ADDITION, "--record", folder, "--reveal").code == 0
    assert run(capsys, "replay", folder).code == 0


def test_the_recording_of_a_loop_is_left_alone(play: Any, tmp_path: Path) -> None:
    from sdpo_envs import Recording

    Recording(tmp_path / "run", told={"algorithm": "grpo"})
    ended = play("4000\n", ADDITION, "--record", str(tmp_path / "run"))
    assert ended.code == 1
    assert ended.err.startswith("SettingError: ")


def test_a_wall_that_breaks_is_no_verdict(play: Any, tmp_path: Path) -> None:
    ended = play(BREAK_WALL, ADDITION, "--record", str(tmp_path / "run"), "--json")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "SandboxError: the wall has a hole\n"
    (row,) = rows(tmp_path / "run")
    assert row.broken


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--tasks", "0"), "SettingError: tasks=0"),
        (("--attempts", "0"), "SettingError: attempts=0"),
        (("--task", "add/1"), "TaskNotFound: "),
        (("--seed", "-1"), "SettingError: seed=-1"),
    ],
)
def test_a_mistake_is_told(play: Any, flags: tuple[str, ...], said: str) -> None:
    ended = play("1\n", ADDITION, *flags)
    assert ended.code == 1
    assert ended.err.startswith(said)


@pytest.mark.parametrize("text", [b"\xff\xfe", b"\x00\x1b[2J", "\u202e\U0001f600".encode()])
def test_whatever_comes_is_an_answer(text: bytes) -> None:
    done = subprocess.run([str(SDPO), "play", TOOL], input=text, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"MALFORMED  reward 0" in done.stdout
    assert b"\x1b" not in done.stdout


# --- on a terminal


class Terminal:
    """Somebody at a terminal of 80 columns."""

    def __init__(self, *arguments: str) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        environment = os.environ | {"TERM": "dumb", "NO_COLOR": "1"}
        environment.pop("COLUMNS", None)
        self._process = subprocess.Popen(
            [str(SDPO), *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)
        self._ours = ours
        self.seen = ""

    def wait_for(self, text: str) -> str:
        """Read until a text is seen, and return what came up to its end."""
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self._ours], [], [], 1)[0]:
                self.seen += os.read(self._ours, 65536).decode().replace("\r\n", "\n")
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Return the exit code."""
        deadline = time.monotonic() + 60
        while self._process.poll() is None and time.monotonic() < deadline:
            if select.select([self._ours], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self._ours, 65536).decode().replace("\r\n", "\n")
                except OSError:  # the other end is closed
                    break
        code = self._process.wait(60)
        os.close(self._ours)
        return code

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def terminal() -> Iterator[Any]:
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield start
    for each in opened:
        each.kill()


def test_a_person_writes_lines_until_an_empty_one_and_tries_again(terminal: Any) -> None:
    here = terminal("play", TOOL, "--task", "tooluse/37", "--attempts", "2")
    task = here.wait_for("Ctrl-D leaves.\n> ")
    assert "Question: I am user u-8841" in task
    assert max(map(len, task.splitlines())) <= 80
    here.type("\n")  # nothing was written yet
    here.wait_for("> ")
    here.type('Action: startRide\nAction Input: {"user_id": "u-8841", "bike": "2057"}\n\n')
    here.wait_for("INVALID  reward 0")
    here.wait_for("must be an integer")
    here.wait_for("> ")
    here.type('Action: startRide\nAction Input: {"user_id": "u-8841", "bike": 2057}\n\n')
    here.wait_for("PASSED  reward 1")
    assert here.end() == 0


def test_an_empty_line_in_a_fence_ends_nothing(terminal: Any, tmp_path: Path) -> None:
    here = terminal("play", TOOL, "--record", str(tmp_path / "run"))
    here.wait_for("> ")
    here.type("Look:\n```\na\n\nb\n```\n\n")
    here.wait_for("reward 0")
    assert here.end() == 0
    assert rows(tmp_path / "run")[0].actions == ("Look:\n```\na\n\nb\n```",)


def test_in_many_turns_a_person_writes_a_line_and_sees_what_it_led_to(terminal: Any) -> None:
    here = terminal("play", "sdpo/MicroHouse-v0", "--task", "microhouse/0/mixed/train/61")
    here.wait_for("A line is an action. Ctrl-D leaves.")
    for command, seen in [("go chest", "The chest is closed."), ("go moon", "Nothing happens.")]:
        here.wait_for("> ")
        here.type(f"{command}\n")
        here.wait_for(seen)
    here.wait_for("> ")
    here.type("\x04")
    assert here.end() == 0


def test_ctrl_d_ends_an_answer_and_then_the_program(terminal: Any) -> None:
    here = terminal("play", TOOL, "--tasks", "2")
    here.wait_for("> ")
    here.type("Hm.\n")
    here.wait_for("> ")
    here.type("\x04")
    here.wait_for("MALFORMED  reward 0")
    here.wait_for("> ")
    here.type("\x04")
    assert here.end() == 0


def test_ctrl_c_interrupts(terminal: Any) -> None:
    here = terminal("play", TOOL)
    here.wait_for("> ")
    time.sleep(0.5)  # until it waits for a key
    here.interrupt()
    assert here.end() == 130
    assert "Traceback" not in here.seen


def test_json_asks_nothing_even_of_a_person(terminal: Any) -> None:
    here = terminal("play", "sdpo/MicroHouse-v0", "--json")
    typed = "go chest\n" * 10
    here.type(typed)
    assert here.wait_for("\n]\n").replace(typed, "").startswith("[\n  {\n")
    assert here.end() == 0
