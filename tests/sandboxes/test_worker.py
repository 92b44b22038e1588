"""The worker by itself, without any wall: what it says to the host, byte for byte."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sdpo_envs.sandbox import Program, Run
from sdpo_envs.sandbox.frames import ANSWER, Answer, request, runs_of

WORKER = Path(__file__).parents[2] / "sandboxes" / "python" / "worker.py"
DOUBLE = Program({"main.py": "print(int(input()) * 2)"}, ("python", "main.py"), ("1", "2", "x"), isolated=False)


def speak(
    folder: Path, said: bytes, layers: Sequence[str] = ()
) -> tuple[list[Answer], "subprocess.CompletedProcess[bytes]"]:
    """Say something to a worker that works in `folder`, hang up, and return its answers."""
    command: list[str | Path] = [sys.executable, "-B", WORKER, *layers]
    ended = subprocess.run(command, cwd=folder, input=said, capture_output=True, check=False)
    answers, rest = [], ended.stdout
    while rest:
        *head, first, second, third = ANSWER.unpack_from(rest)
        texts, rest = rest[ANSWER.size :][: first + second + third], rest[ANSWER.size + first + second + third :]
        answers.append(Answer(*head, texts[:first], texts[first : first + second], texts[first + second :]))
    return answers, ended


def test_it_says_that_it_is_ready_and_ends_when_the_host_hangs_up(tmp_path: Path) -> None:
    [ready], ended = speak(tmp_path, b"")
    assert (ready.kind, json.loads(ready.marks), ended.returncode, ended.stderr) == (b"R", [], 0, b"")


def test_a_layer_that_it_does_not_know_is_refused_before_anything_runs(tmp_path: Path) -> None:
    answers, ended = speak(tmp_path, request(DOUBLE, [], 0.0), ["moat"])
    assert (answers, ended.returncode) == ([], 1)
    assert b"no layer 'moat'" in ended.stderr


def test_it_does_not_take_namespaces_on_trust(tmp_path: Path) -> None:
    answers, ended = speak(tmp_path, request(DOUBLE, [], 0.0), ["namespaces"])
    assert (answers, ended.returncode) == ([], 1)
    assert b"no layer 'namespaces'" in ended.stderr


def test_one_process_marks_where_each_run_ends(tmp_path: Path) -> None:
    [_, answer], _ = speak(tmp_path, request(DOUBLE, [], 0.0))
    assert (answer.kind, answer.done, answer.alone) == (b"D", 3, False)
    first, second, third = runs_of(answer, DOUBLE, 3)
    assert (first, second) == (Run(0, "2\n"), Run(0, "4\n"))
    assert (third.exit_code, third.stdout) == (1, "")
    assert third.stderr.startswith('Traceback (most recent call last):\n  File "main.py", line 1, in <module>\n')


def test_a_process_that_ends_early_is_followed_by_another(tmp_path: Path) -> None:
    program = Program({"main.py": "import os\nos._exit(int(input()))"}, DOUBLE.argv, ("3", "4"), isolated=False)
    [_, *answers], _ = speak(tmp_path, request(program, [], 0.0))
    assert [(answer.done, answer.code, answer.marks) for answer in answers] == [(1, 3, b""), (1, 4, b"")]


def test_what_there_is_no_time_for_is_given_up(tmp_path: Path) -> None:
    program = Program(DOUBLE.files, DOUBLE.argv, ("1", "2"), total_seconds=0.0)
    [_, answer], _ = speak(tmp_path, request(program, [], 0.0))
    assert runs_of(answer, program, 2) == [Run(-1, skipped=True)] * 2


def test_nothing_is_left_of_a_program_that_hides_things_deep(tmp_path: Path) -> None:
    source = """
import os
open("x" * 255, "w").close()
os.mkdir("sealed"); open("sealed/file", "w").close(); os.chmod("sealed", 0)
for _ in range(300): os.mkdir("d"); os.chdir("d")
"""
    program = Program({"main.py": source, "a/b.py": ""}, DOUBLE.argv)
    [_, answer], _ = speak(tmp_path, request(program, [], 0.0))
    assert answer.code == 0, answer.stderr
    assert list(tmp_path.iterdir()) == []
