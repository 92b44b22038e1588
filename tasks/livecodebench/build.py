"""Builds `test.jsonl` and `wrong_solutions.jsonl` from `problems/*.toml`.

    python tasks/livecodebench/build.py [FOLDER]

A problem is one TOML file, whose keys are the fields of `Problem`. Its public tests are the samples in its statement;
its hidden tests are made by its generator, and the solution computes what they expect. Nothing is written unless the
solution gives every sample's output and agrees with the independent check on `ROUNDS` small random inputs. The only
randomness is seeded by the problem's id, so that another run writes the same bytes.
"""

import argparse
import base64
import contextlib
import datetime
import functools
import io
import json
import pickle
import random
import re
import sys
import tomllib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

HERE = Path(__file__).resolve().parent
ROUNDS = 100

STDIN_SAMPLE = re.compile(r"Sample Input (\d+)\n\n(.+?)\n\nSample Output \1\n\n(.+?)(?=\n\n|\Z)", re.DOTALL)
FUNCTIONAL_SAMPLE = re.compile(r"Input: (.+)\nOutput: (.+)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem.

    Attributes:
        id: ``sdpo_s..`` for a program from stdin to stdout, ``sdpo_f..`` for a method.
        title: As the platform writes titles: words for stdin, a slug for a method.
        difficulty: ``easy``, ``medium`` or ``hard``.
        date: The contest date, by which the environment selects.
        statement: What the policy reads, with the samples.
        solution: The reference program.
        check: A second program, written independently and as plainly as possible; it may be slow.
        tests: Python that defines ``small(rng)``, one small input, and ``hidden(rng)``, all hidden inputs. An input is
            the text of stdin or a sequence of arguments.
        mistakes: Wrong programs: ``code``, the ``outcome`` that judging them must have, and ``why``.
        starter_code: The class and the signature of the method; empty for stdin.
    """

    id: str
    title: str
    difficulty: str
    date: datetime.date
    statement: str
    solution: str
    check: str
    tests: str
    mistakes: list[dict[str, str]]
    starter_code: str = ""


def main() -> None:
    """Write both files into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Build the bundled programming problems.")
    parser.add_argument("folder", nargs="?", type=Path, default=HERE, help="where to write (default: beside this file)")
    folder = parser.parse_args().folder
    paths = sorted((HERE / "problems").glob("*.toml"))
    problems = [Problem(**tomllib.loads(path.read_text("utf-8"))) for path in paths]
    write_rows(folder / "test.jsonl", map(record, problems))
    write_rows(folder / "wrong_solutions.jsonl", (row for problem in problems for row in wrong_solutions(problem)))


def write_rows(path: Path, rows: Iterable[dict[str, str]]) -> None:
    """Write one JSON object per line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8", newline="\n")


def record(problem: Problem) -> dict[str, str]:
    """Return a row of livecodebench/code_generation_lite, with the reference as `solution`."""
    return {
        "question_title": problem.title,
        "question_content": problem.statement.strip(),
        "platform": "leetcode" if problem.starter_code else "atcoder",
        "question_id": problem.id,
        "contest_id": "sdpo-bundled",
        "contest_date": f"{problem.date}T00:00:00",
        "starter_code": problem.starter_code,
        "difficulty": problem.difficulty,
        "public_test_cases": json.dumps(public_tests(problem)),
        "private_test_cases": encode(hidden_tests(problem)),
        "metadata": json.dumps({"func_name": function_name(problem)} if problem.starter_code else {}),
        "solution": problem.solution,
    }


def wrong_solutions(problem: Problem) -> Iterator[dict[str, str]]:
    """Yield the mistakes as rows of `wrong_solutions.jsonl`, and a malformed and a crashed one if these lack it."""
    by_hand = {mistake["outcome"] for mistake in problem.mistakes}
    added = [mistake for mistake in (unfenced(problem), crashing(problem)) if mistake["outcome"] not in by_hand]
    for mistake in [*problem.mistakes, *added]:
        yield {"question_id": problem.id, **{key: mistake[key] for key in ("code", "outcome", "why")}}


def unfenced(problem: Problem) -> dict[str, str]:
    """Return the solution as an answer in which it is not fenced."""
    return {"code": problem.solution, "outcome": "malformed", "why": "The program has no fence around it."}


def crashing(problem: Problem) -> dict[str, str]:
    """Return the solution, changed to ask for more than it is given."""
    if problem.starter_code:
        method = f"def {function_name(problem)}(self, "
        code, why = problem.solution.replace(method, f"{method}more, "), "It takes one argument more than it is given."
    else:
        code, why = f"{problem.solution}\ninput()\n", "It reads one line more than there is."
    assert code != problem.solution, f"{problem.id}: the solution could not be changed to crash"
    return {"code": code, "outcome": "crashed", "why": why}


def public_tests(problem: Problem) -> list[dict[str, str]]:
    """Return the samples of the statement, after comparing them with the solution."""
    tests = [test_case(problem, given, expected) for given, expected in samples(problem)]
    for test in tests:
        found, expected = run(problem, problem.solution, test["input"]), test["output"]
        assert found == expected, f"{problem.id}: a sample says {expected!r}, but the solution {found!r}"
    return tests


def samples(problem: Problem) -> Iterator[tuple[str, str]]:
    """Yield the input and the output of every sample in the statement."""
    if problem.starter_code:
        for arguments, expected in FUNCTIONAL_SAMPLE.findall(problem.statement):
            yield encode_arguments(parse_arguments(arguments)), json.dumps(json.loads(expected))
    else:
        for _, given, expected in STDIN_SAMPLE.findall(problem.statement.strip()):
            yield f"{given}\n", f"{expected}\n"


def hidden_tests(problem: Problem) -> list[dict[str, str]]:
    """Return the hidden tests, after comparing the solution with the check on small inputs."""
    rng = random.Random(problem.id)
    generators: dict[str, Any] = {}
    exec(compiled(problem.tests), generators)
    as_text = encode_arguments if problem.starter_code else str
    for _ in range(ROUNDS):
        given = as_text(generators["small"](rng))
        found, expected = run(problem, problem.solution, given), run(problem, problem.check, given)
        assert found == expected, f"{problem.id}: on {given!r} the solution says {found!r}, but the check {expected!r}"
    inputs = [as_text(given) for given in generators["hidden"](rng)]
    return [test_case(problem, given, run(problem, problem.solution, given)) for given in inputs]


def test_case(problem: Problem, given: str, expected: str) -> dict[str, str]:
    """Return one test in the form of the data set."""
    return {"input": given, "output": expected, "testtype": "functional" if problem.starter_code else "stdin"}


def run(problem: Problem, program: str, given: str) -> str:
    """Return the output of a program of ours, which is trusted and runs in this process."""
    scope: dict[str, Any] = {"__name__": "__main__"}
    if problem.starter_code:
        exec(compiled(program), scope)
        method = getattr(scope["Solution"](), function_name(problem))
        return json.dumps(method(*map(json.loads, given.split("\n"))))
    output, stdin = io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(given)
    try:
        with contextlib.redirect_stdout(output):
            exec(compiled(program), scope)
    finally:
        sys.stdin = stdin
    return output.getvalue()


@functools.cache
def compiled(source: str) -> CodeType:
    """Compile a program once."""
    return compile(source, "<problem>", "exec")


def function_name(problem: Problem) -> str:
    """Return the name of the method that the starter code declares."""
    return problem.starter_code.split("def ")[1].split("(")[0]


def parse_arguments(text: str) -> Iterator[Any]:
    """Yield the values in ``a = 1, b = [2, 3]``."""
    while text:
        _, _, text = text.partition(" = ")
        value, end = json.JSONDecoder().raw_decode(text)
        yield value
        text = text[end:]


def encode_arguments(arguments: Iterable[Any]) -> str:
    """Return one JSON value per line."""
    return "\n".join(map(json.dumps, arguments))


def encode(tests: list[dict[str, str]]) -> str:
    """Return the tests as the data set hides them: JSON, pickled, compressed, in base64."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests), protocol=4), 9)).decode()


if __name__ == "__main__":
    main()
