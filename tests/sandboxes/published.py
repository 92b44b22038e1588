"""Published programs that are known to be right, as submissions: HumanEval, MBPP, answers graded by LiveCodeBench.

The tests of HumanEval and MBPP are assertions. Here each program becomes a script that reads a word and a test, runs
the test and prints the word: what is not run to its end prints nothing, and no run prints what another does.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdpo_envs.codejudge import Case, Exam
from sdpo_envs.livecodebench import exam, load_problems
from sdpo_envs.parsing import code_block

DATA = Path(__file__).parents[2] / "../shared/data"
SCRIPT = """
{code}
{setup}
import sys as _sys
_word, _, _test = _sys.stdin.read().partition("\\n")
exec(_test)
print(_word)
"""
INTERACTIVE = ("abc337_e", "abc355_e")
"""No fixed input tests these two problems of LiveCodeBench; the second has no public test either."""


@dataclass(frozen=True)
class Submission:
    """A program, and the exam that its publisher says it passes."""

    name: str
    code: str
    exam: Exam


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def human_eval() -> list[Submission]:
    """Return the 164 solutions of HumanEval; each is checked three times, as all of its tests are one function."""
    return [
        script(
            row["task_id"],
            row["prompt"] + row["canonical_solution"],
            row["test"],
            [f"check({row['entry_point']})"] * 3,
        )
        for row in rows(DATA / "other_code/HumanEval.jsonl.gz")
    ]


def mbpp() -> list[Submission]:
    """Return the 974 solutions of MBPP. What their tests need set up needs the program in turn."""
    return [
        script(
            f"MBPP/{row['task_id']}",
            row["code"],
            row["test_setup_code"],
            row["test_list"] + row["challenge_test_list"],
        )
        for row in rows(DATA / "other_code/mbpp.jsonl")
    ]


def script(name: str, code: str, setup: str, tests: list[str]) -> Submission:
    """Make a submission of a program and the statements that test it."""
    words = [f"{name} {number}" for number, _ in enumerate(tests, start=1)]
    cases = tuple(Case(f"{word}\n{test}", f"{word}\n") for word, test in zip(words, tests, strict=True))
    return Submission(name, SCRIPT.format(code=code, setup=setup), Exam(cases))


def live_code_bench() -> list[Submission]:
    """Return the 252 programs of a model that LiveCodeBench graded right on all tests; here are the public ones."""
    folder = DATA / "livecodebench"
    tasks = load_problems(folder / "lcb_release_v6_questions.jsonl.gz", tests="public", exclude=INTERACTIVE)
    papers = {task.id: task.answer for task in tasks}
    return [
        Submission(row["question_id"], code_block(row["output"]) or "", exam(papers[row["question_id"]]))
        for row in rows(folder / "solutions/qwen2.5-7b_codegen.jsonl.gz")
        if row["graded"]
    ]
