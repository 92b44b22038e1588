"""Correct programs, one feature each, do behind the wall what they do in a plain interpreter, also in one process."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import honest_language
import honest_system
import pytest
from wall import Execute

from sdpo_envs import Outcome, Program, Sandbox, explain
from sdpo_envs.codejudge import Case, Exam, judge_code

PROGRAMS = honest_language.PROGRAMS | honest_system.PROGRAMS
INPUTS = ("3 4\nsecond é\n", "1 2\n", "5 12 13\n" * 9)


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_honest_program_does_what_a_plain_interpreter_does(name: str, execute: Execute, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(PROGRAMS[name])
    command = [sys.executable, "main.py"]
    environment = {"LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    plain = subprocess.run(command, cwd=tmp_path, env=environment, input=INPUTS[0].encode(), capture_output=True)
    run = execute(PROGRAMS[name], INPUTS[0])
    assert run.stdout == plain.stdout.decode()
    assert run.exit_code == (code if (code := plain.returncode) >= 0 else 128 - code), run.stderr
    assert run.stderr == plain.stderr.decode().replace(f"{tmp_path}/", "")


@pytest.mark.parametrize("name", PROGRAMS)
def test_runs_that_share_a_process_are_right_or_can_be_repeated(name: str, sandbox: Sandbox) -> None:
    program = Program({"main.py": PROGRAMS[name]}, ("python", "main.py"), INPUTS)
    apart = sandbox.run(program)
    together = sandbox.run(replace(program, isolated=False))
    for expected, run in zip(apart, together, strict=True):
        assert run == expected or not run.alone


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_honest_program_passes(name: str, sandbox: Sandbox) -> None:
    """What it has to print is what it prints alone; what fails alone fails in company too."""
    program = Program({"main.py": PROGRAMS[name]}, ("python", "main.py"), INPUTS)
    apart = sandbox.run(program)
    cases = tuple(Case(given, run.stdout, public=True) for given, run in zip(INPUTS, apart, strict=True))
    verdict = judge_code(PROGRAMS[name], Exam(cases), sandbox, seconds=6.0, memory_mb=1024)
    if all(run.exit_code == 0 for run in apart):
        assert verdict.outcome is Outcome.PASSED, explain(verdict).text
    else:
        assert verdict.outcome in (Outcome.CRASHED, Outcome.INVALID)
