"""Two programs to ask for, the sum of two numbers and a function `total`, and a sandbox to judge them in, or a fake."""

import functools
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from sdpo_envs import Program, Run, Sandbox, SandboxError, Verdict, explain, open_sandbox
from sdpo_envs.codejudge import Case, Exam, judge_code

SUM = Exam((Case("1 2\n", "3\n", public=True), Case("31415926 5\n", "31415931\n")))
TOTAL = Exam((Case("[1, 2]\n3", "6", public=True), Case("[31415926]\n5", "31415931")), "total", ("numbers", "more"))
SECRETS = ("31415926", "31415931")


@dataclass
class FakeSandbox:
    """Answers with prepared runs, or breaks, and keeps what it was given first."""

    runs: Sequence[Run] = ()
    error: SandboxError | None = None
    given: Program | None = None
    closed: int = 0

    def run(self, program: Program) -> tuple[Run, ...]:
        self.given = self.given or program
        if self.error:
            raise self.error
        return tuple(self.runs) if "compile.py" not in program.files else (Run(0),)

    def run_many(self, programs: Sequence[Program]) -> list[tuple[Run, ...]]:
        return [self.run(program) for program in programs]

    def close(self) -> None:
        self.closed += 1


@functools.cache
def wall() -> Sandbox:
    """Return one local sandbox for all tests, or skip the test where the kernel would not let us build one."""
    namespaces = ["--mount"] if os.geteuid() == 0 else ["--user", "--mount"]
    probe = subprocess.run(["unshare", *namespaces, "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"skips judging real programs: this machine refuses namespaces ({probe.stderr.strip()})")
    return open_sandbox("local")


def judge(code: str, exam: Exam = SUM, **limits: Any) -> Verdict:
    """Judge a program in the local sandbox."""
    return judge_code(code, exam, wall(), **{"seconds": 5.0, "memory_mb": 512, **limits})


def judged(exam: Exam, *runs: Run, **settings: Any) -> Verdict:
    """Judge runs that were not made."""
    return judge_code("pass", exam, FakeSandbox(runs), seconds=2.0, memory_mb=64, **settings)


def told(verdict: Verdict, reveal: bool = False) -> str:
    """Return the words that the policy reads."""
    return explain(verdict, reveal=reveal).text
