"""The judges of `judging.py` under one interface: ours in every mode, the plain way, and those of others."""

import json
import queue
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from work import Submission

from sdpo_envs.codejudge import judge_code
from sdpo_envs.comparison import same_output, same_value
from sdpo_envs.sandbox import Program, Sandbox

SETS = ("pass", "fast", "all", "hang", "real", "functions")
SECONDS, MEMORY_MB = 1.0, 1024


@dataclass(frozen=True)
class Judge:
    """A way to judge.

    Attributes:
        name: What the tables call it.
        grade: Returns the share of the tests that a submission passes. It is called from several threads.
        complete: Whether it runs every test, so that the share itself has to be right; else only whether it is 1.
        sets: What it is given, of `SETS`.
        engine: Whether it works in processes of a Docker engine.
    """

    name: str
    grade: Callable[[Submission], float]
    complete: bool = True
    sets: tuple[str, ...] = SETS
    engine: bool = False

    def right(self, submission: Submission, share: float) -> bool:
        """Whether its verdict is the right one."""
        if self.complete:
            return abs(share - submission.share) < 1e-9
        return (share == 1.0) == (submission.share == 1.0)


def own_judge(
    name: str, sandbox: Sandbox, *, isolated: bool = False, stop: str = "never", sets: tuple[str, ...] = SETS
) -> Judge:
    """Return `judge_code` as the environments call it."""

    def grade(submission: Submission) -> float:
        limits = {"seconds": SECONDS, "memory_mb": MEMORY_MB}
        verdict = judge_code(
            submission.code, submission.exam, sandbox, **limits, fraction=stop == "never", isolated=isolated, stop=stop
        )
        return verdict.reward

    return Judge(name, grade, complete=stop == "never", sets=sets)


def batch_judge(name: str, sandbox: Sandbox, sets: tuple[str, ...] = SETS) -> Judge:
    """Return the sandbox's batch mode and the comparison alone: a test that fails is not run again."""

    def grade(submission: Submission) -> float:
        tests = submission.exam
        argv = ("python", "main.py") if tests.function is None else ("call", "main.py", tests.function)
        same = same_output if tests.function is None else same_value
        inputs = tuple(case.input for case in tests.cases)
        program = Program({"main.py": submission.code}, argv, inputs, SECONDS, MEMORY_MB, timeouts=None, isolated=False)
        runs = sandbox.run(program)
        pairs = zip(runs, tests.cases, strict=True)
        return sum(run.exit_code == 0 and same(run.stdout, case.output) for run, case in pairs) / len(runs)

    return Judge(name, grade, sets=sets)


def plain_judge(name: str, command: Sequence[str], sets: tuple[str, ...]) -> Judge:
    """Return the plain way, without a wall: an interpreter by `subprocess` for each test."""

    def grade(submission: Submission) -> float:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "main.py").write_text(submission.code, encoding="utf-8")
            cases = submission.exam.cases
            return sum(_passes(command, folder, case.input, case.output) for case in cases) / len(cases)

    return Judge(name, grade, sets=sets)


def plain_judges(closing: ExitStack) -> tuple[Judge, Judge]:
    """Return the plain way with an interpreter that finds no packages, so that none slows its start, and with less."""
    folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
    venv.create(folder, symlinks=True)
    bare = (sys._base_executable, "-I", "-S")
    return (
        plain_judge("subprocess", (str(folder / "bin" / "python"),), ("pass", "fast", "real")),
        plain_judge("subprocess -I -S", bare, ("pass",)),
    )


def _passes(command: Sequence[str], folder: str, stdin: str, expected: str) -> bool:
    try:
        process = subprocess.run(
            [*command, "main.py"], cwd=folder, input=stdin, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return process.returncode == 0 and same_output(process.stdout, expected)


_PEERS = {
    "sdpo": {"sets": ("pass", "fast", "all", "hang", "real")},  # it takes functions, but not those of a class
    "livecodebench": {"complete": False},
    "prime_code": {"sets": ("pass", "real")},  # it takes ten seconds for each test of a program that hangs
}


def peer_judge(name: str, path: Path, workers: int, closing: ExitStack) -> Judge:
    """Return somebody else's judge, in as many processes as we have workers; `closing` ends them."""
    idle: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
    command = [sys.executable, str(Path(__file__).with_name("peer.py")), name, str(path.resolve())]
    for _ in range(workers):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        closing.callback(_end, process)
        _ask(process)
        idle.put(process)

    def grade(submission: Submission) -> float:
        cases = submission.exam.cases
        job = {
            "code": submission.code,
            "function": submission.exam.function,
            "inputs": [case.input for case in cases],
            "outputs": [case.output for case in cases],
            "seconds": int(SECONDS),
        }
        process = idle.get()
        try:
            return float(_ask(process, json.dumps(job)))
        finally:
            idle.put(process)

    return Judge(name, grade, **_PEERS[name])


def _ask(process: "subprocess.Popen[str]", job: str = "") -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    if job:
        process.stdin.write(job + "\n")
    if answer := process.stdout.readline():
        return answer
    sys.exit(f"{' '.join(map(str, process.args))} ended; see above for why.")


def _end(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.wait()
    process.stdout.close()
