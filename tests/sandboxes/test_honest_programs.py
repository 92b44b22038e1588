"""Every published program that is known to be right passes, whether its runs share a process or not, every time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import published
import pytest
from published import Submission
from sums import wall

from sdpo_envs import Program, Run, Verdict, explain
from sdpo_envs.codejudge import judge_code

pytestmark = pytest.mark.skipif(
    not published.DATA.is_dir(), reason="skips the published programs: the data are not beside this"
)

SECONDS = 30.0
"""The limit of each test: a few of the programs need 3 of an idle processor."""


class Isolated:
    """The wall, with a process for every run."""

    def run(self, program: Program) -> tuple[Run, ...]:
        return wall().run(replace(program, isolated=True))

    def run_many(self, programs: Sequence[Program]) -> list[tuple[Run, ...]]:
        return wall().run_many([replace(program, isolated=True) for program in programs])

    def close(self) -> None:
        raise AssertionError("The wall is every test's.")


def judged(submissions: Sequence[Submission], isolated: bool) -> dict[str, Verdict]:
    """Judge all, two at a time; a name stands for a program."""
    sandbox = Isolated() if isolated else wall()

    def judge(submission: Submission) -> Verdict:
        return judge_code(submission.code, submission.exam, sandbox, seconds=SECONDS, memory_mb=1024)

    with ThreadPoolExecutor(2) as threads:
        verdicts = threads.map(judge, submissions)
        return {each.name: verdict for each, verdict in zip(submissions, verdicts, strict=True)}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("isolated", [False, True], ids=["batch", "isolated"])
@pytest.mark.parametrize(
    ("load", "count"), [(published.human_eval, 164), (published.mbpp, 974), (published.live_code_bench, 252)]
)
def test_every_program_passes_twice(load: Callable[[], list[Submission]], count: int, isolated: bool) -> None:
    wall()
    submissions = load()
    assert len(submissions) == count
    first = judged(submissions, isolated)
    failures = {name: explain(verdict, reveal=True).text for name, verdict in first.items() if not verdict.passed}
    assert not failures
    assert judged(submissions, isolated) == first


def test_an_assertion_that_does_not_hold_fails_the_program() -> None:
    """So that the passes above mean something."""
    tests = ["assert f(2) == 4", "assert f(3) == 10"]
    wrong = published.script("square", "def f(n): return n * n", "", tests)
    (right,) = judged([published.script("square", "def f(n): return n * n", "", tests[:1])], isolated=False).values()
    (verdict,) = judged([wrong], isolated=False).values()
    assert right.passed
    assert not verdict.passed
    assert "AssertionError" in explain(verdict, reveal=True).text
