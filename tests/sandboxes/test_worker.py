"""The worker by itself, without any wall: what it says to the host, byte for byte."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE
from typing import IO

from sdpo_envs.sandbox import Program, Run
from sdpo_envs.sandbox.frames import ANSWER, Answer, request, runs_of

WORKER = Path(__file__).parents[2] / "sandboxes" / "python" / "worker.py"
DOUBLE = Program({"main.py": "print(int(input()) * 2)"}, ("python", "main.py"), ("1", "2", "x"), isolated=False)


def speak(
    folder: Path, said: bytes = b"", layers: Sequence[str] = (), answers: int = 0
) -> tuple[list[Answer], int, str]:
    """Start a worker in `folder`, say something to it, hang up after so many answers; return these and how it ended."""
    command: list[str | Path] = [sys.executable, "-B", WORKER, *layers]
    with subprocess.Popen(command, bufsize=0, cwd=folder, stdin=PIPE, stdout=PIPE, stderr=PIPE) as worker:
        assert worker.stdin
        assert worker.stdout
        assert worker.stderr
        worker.stdin.write(said)
        heard = [hear(worker.stdout) for _ in range(answers)]
        worker.stdin.close()
        assert worker.stdout.read() == b""
        report = worker.stderr.read().decode()
    return heard, worker.returncode, report


def hear(stdout: IO[bytes]) -> Answer:
    *head, first, second, third = ANSWER.unpack(listen(stdout, ANSWER.size))
    return Answer(*head, *(listen(stdout, length) for length in (first, second, third)))


def listen(stdout: IO[bytes], length: int) -> bytes:
    heard = b""
    while len(heard) < length:
        heard += stdout.read(length - len(heard)) or b"?"
    return heard


def test_it_says_that_it_is_ready_and_ends_when_the_host_hangs_up(tmp_path: Path) -> None:
    [ready], code, report = speak(tmp_path, answers=1)
    assert (ready.kind, json.loads(ready.marks), code, report) == (b"R", [], 0, "")


def test_a_layer_that_it_does_not_know_is_refused_before_anything_runs(tmp_path: Path) -> None:
    _, code, report = speak(tmp_path, layers=["moat"])
    assert code == 1
    assert "no layer 'moat'" in report


def test_it_does_not_take_namespaces_on_trust(tmp_path: Path) -> None:
    _, code, report = speak(tmp_path, layers=["namespaces"])
    assert code == 1
    assert "no layer 'namespaces'" in report


def test_one_process_marks_where_each_run_ends(tmp_path: Path) -> None:
    [_, answer], *_ = speak(tmp_path, request(DOUBLE, [], 0.0), answers=2)
    assert (answer.kind, answer.done, answer.alone) == (b"D", 3, False)
    first, second, third = runs_of(answer, DOUBLE, 3)
    assert (first, second) == (Run(0, "2\n"), Run(0, "4\n"))
    assert (third.exit_code, third.stdout) == (1, "")
    assert third.stderr.startswith('Traceback (most recent call last):\n  File "main.py", line 1, in <module>\n')


def test_a_process_that_ends_early_is_followed_by_another(tmp_path: Path) -> None:
    program = Program({"main.py": "import os\nos._exit(int(input()))"}, DOUBLE.argv, ("3", "4"), isolated=False)
    [_, *answers], *_ = speak(tmp_path, request(program, [], 0.0), answers=3)
    assert [(answer.done, answer.code, answer.marks) for answer in answers] == [(1, 3, b""), (1, 4, b"")]


def test_what_there_is_no_time_for_is_given_up(tmp_path: Path) -> None:
    program = Program(DOUBLE.files, DOUBLE.argv, ("1", "2"), total_seconds=0.0)
    [_, answer], *_ = speak(tmp_path, request(program, [], 0.0), answers=2)
    assert runs_of(answer, program, 2) == [Run(-1, skipped=True)] * 2


def test_nothing_is_left_of_a_program_that_hides_things_deep(tmp_path: Path) -> None:
    source = """
import os
open("x" * 255, "w").close()
os.mkdir("sealed"); open("sealed/file", "w").close(); os.chmod("sealed", 0)
for _ in range(300): os.mkdir("d"); os.chdir("d")
"""
    program = Program({"main.py": source, "a/b.py": ""}, DOUBLE.argv)
    [_, answer], *_ = speak(tmp_path, request(program, [], 0.0), answers=2)
    assert answer.code == 0, answer.stderr
    assert list(tmp_path.iterdir()) == []
