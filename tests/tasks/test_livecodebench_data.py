"""The bundled programming problems: their form, their samples, and that right programs pass and wrong ones fail."""

import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from sdpo_envs.parsing import code_block
from sdpo_envs.testcases import unpack

FOLDER = Path(__file__).parents[2] / "tasks/livecodebench"
Row = dict[str, str]
OUTCOMES = {"wrong", "crashed", "timed_out", "invalid", "malformed"}
COLUMNS = {
    "question_title",
    "question_content",
    "platform",
    "question_id",
    "contest_id",
    "contest_date",
    "starter_code",
    "difficulty",
    "public_test_cases",
    "private_test_cases",
    "metadata",
    "solution",
}

# Reads a program and its tests from stdin, and prints the outcome of each test in a line of its own.
DRIVER = """
import io, json, sys

job, report = json.load(sys.stdin), sys.stdout

def run(program, given):
    scope = {"__name__": "__main__"}
    sys.stdin, sys.stdout = io.StringIO(given), io.StringIO()
    exec(program, scope)
    if not job["function"]:
        return sys.stdout.getvalue().split()
    method = getattr(scope["Solution"](), job["function"])
    return json.loads(json.dumps(method(*map(json.loads, given.split("\\n")))))

def outcome(program, test):
    try:
        found = run(program, test["input"])
    except Exception:
        return "crashed"
    expected = json.loads(test["output"]) if job["function"] else test["output"].split()
    return "passed" if found == expected else "wrong"

try:
    program = compile(job["code"], "program", "exec")
except SyntaxError:
    print("invalid", file=report)
else:
    for test in job["tests"]:
        print(outcome(program, test), file=report, flush=True)
"""


def rows(name: str, folder: Path = FOLDER) -> list[Row]:
    return [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]


RECORDS = {row["question_id"]: row for row in rows("test.jsonl")}
MISTAKES = rows("wrong_solutions.jsonl")
every_record = pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS.keys())


def public_tests(record: Row) -> list[Row]:
    return list(json.loads(record["public_test_cases"]))


def hidden_tests(record: Row) -> list[Row]:
    return list(json.loads(unpack(record["private_test_cases"])))


def function(record: Row) -> str | None:
    name = json.loads(record["metadata"]).get("func_name")
    return None if name is None else str(name)


def attempt(program: Row) -> list[str]:
    """Run a program on the public and then the hidden tests, and return how each ended, until time is up."""
    record = RECORDS[program["question_id"]]
    tests = public_tests(record) + hidden_tests(record)
    job = json.dumps({"code": program["code"], "function": function(record), "tests": tests})
    command = [sys.executable, "-I", "-c", DRIVER]
    seconds = 2 if program.get("outcome") == "timed_out" else 60
    try:
        run = subprocess.run(command, input=job.encode(), capture_output=True, timeout=seconds, check=True)
    except subprocess.TimeoutExpired as error:
        return [*(error.stdout or b"").decode().split(), "timed_out"]
    return run.stdout.decode().split()


def attempt_all(programs: Sequence[Row]) -> list[list[str]]:
    # More threads than processors: programs that never end wait for a clock.
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(attempt, programs))


@every_record
def test_a_record_has_the_columns_of_the_data_set(record: Row) -> None:
    assert record.keys() == COLUMNS
    assert all(isinstance(value, str) for value in record.values())
    assert record["difficulty"] in ("easy", "medium", "hard")
    datetime.fromisoformat(record["contest_date"])
    assert record["question_content"] == record["question_content"].strip()
    assert record["question_title"]


@every_record
def test_the_platform_goes_with_the_kind_of_problem(record: Row) -> None:
    tests = public_tests(record) + hidden_tests(record)
    functional = record["question_id"].startswith("sdpo_f")
    assert record["platform"] == ("leetcode" if functional else "atcoder")
    assert {test["testtype"] for test in tests} == {"functional" if functional else "stdin"}
    assert bool(record["starter_code"]) == functional
    assert (function(record) is not None) == functional


@every_record
def test_tests_have_the_form_of_their_kind(record: Row) -> None:
    for test in public_tests(record) + hidden_tests(record):
        assert test.keys() == {"input", "output", "testtype"}
        if name := function(record):
            values = [json.loads(line) for line in test["input"].split("\n")]
            assert len(values) == len(arguments(record, name))
            assert json.dumps(json.loads(test["output"])) == test["output"]
        else:
            assert test["input"].endswith("\n")
            assert test["output"].endswith("\n")


def arguments(record: Row, name: str) -> list[str]:
    """Return the names of the arguments, from the starter code, which must lack nothing but the body."""
    (solution,) = ast.parse(record["starter_code"] + "pass").body
    assert isinstance(solution, ast.ClassDef)
    (method,) = solution.body
    assert isinstance(method, ast.FunctionDef)
    assert (solution.name, method.name) == ("Solution", name)
    return [argument.arg for argument in method.args.args if argument.arg != "self"]


@every_record
def test_the_samples_of_the_statement_are_the_public_tests(record: Row) -> None:
    statement = record["question_content"]
    for number, test in enumerate(public_tests(record), start=1):
        if name := function(record):
            values = [json.loads(line) for line in test["input"].split("\n")]
            compact = [json.dumps(value, separators=(",", ":")) for value in values]
            given = ", ".join(map(" = ".join, zip(arguments(record, name), compact, strict=True)))
            expected = json.dumps(json.loads(test["output"]), separators=(",", ":"))
            assert f"\nExample {number}:\n\nInput: {given}\nOutput: {expected}\n" in statement
        else:
            sample = f"\nSample Input {number}\n\n{test['input']}\nSample Output {number}\n\n{test['output']}"
            assert f"{sample}\n" in f"{statement}\n\n"
    assert len(public_tests(record)) == len(re.findall(r"^(Sample Input \d|Example \d:)$", statement, re.MULTILINE))
    assert 2 <= len(public_tests(record)) <= 3


@every_record
def test_hidden_tests_are_many_and_new(record: Row) -> None:
    public = {test["input"] for test in public_tests(record)}
    hidden = [test["input"] for test in hidden_tests(record)]
    assert len(set(hidden)) == len(hidden) >= 8
    assert public.isdisjoint(hidden)


def test_the_set_is_balanced() -> None:
    kinds = Counter((record["platform"], record["difficulty"]) for record in RECORDS.values())
    half = {"easy": 8, "medium": 8, "hard": 6}
    assert kinds == {(platform, level): count for platform in ("atcoder", "leetcode") for level, count in half.items()}


def test_ids_are_unique_and_ours() -> None:
    ids = [row["question_id"] for row in rows("test.jsonl")]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"sdpo_[sf]\d\d", question_id) for question_id in ids)
    assert {record["contest_id"] for record in RECORDS.values()} == {"sdpo-bundled"}


def test_every_kind_and_difficulty_lies_in_and_before_the_window_of_the_paper() -> None:
    inside, before = (
        {(row["platform"], row["difficulty"]) for row in RECORDS.values() if lower <= row["contest_date"] < upper}
        for lower, upper in (("2025-02-01", "2025-05-01"), ("2025-01-01", "2025-02-01"))
    )
    assert len(inside) == len(before) == 6


def test_the_file_stays_small() -> None:
    lines = (FOLDER / "test.jsonl").read_bytes().splitlines()
    assert max(map(len, lines)) < 60_000
    assert sum(map(len, lines)) < 1_000_000


def test_every_solution_passes_every_test() -> None:
    programs = [{"question_id": question_id, "code": row["solution"]} for question_id, row in RECORDS.items()]
    ended = dict(zip(RECORDS, attempt_all(programs), strict=True))
    assert {question_id: outcomes for question_id, outcomes in ended.items() if set(outcomes) != {"passed"}} == {}


def test_every_wrong_program_fails_as_it_says_and_some_only_in_hidden_tests() -> None:
    programs = [row for row in MISTAKES if row["outcome"] != "malformed"]
    ended = list(zip(programs, attempt_all(programs), strict=True))
    surprises = [(row, outcomes) for row, outcomes in ended if {*outcomes} - {"passed"} != {row["outcome"]}]
    assert surprises == []
    passing = {
        row["question_id"]
        for row, outcomes in ended
        if set(outcomes[: len(public_tests(RECORDS[row["question_id"]]))]) == {"passed"}
    }
    assert passing == RECORDS.keys()


def test_malformed_answers_have_no_code_block_and_programs_no_fence() -> None:
    for row in MISTAKES:
        assert "```" not in row["code"]
        assert (code_block(row["code"]) is None) or row["outcome"] != "malformed"


def test_there_are_mistakes_of_every_kind() -> None:
    assert all(row.keys() == {"question_id", "code", "outcome", "why"} for row in MISTAKES)
    assert all(row["why"].endswith(".") for row in MISTAKES)
    outcomes = Counter(row["outcome"] for row in MISTAKES)
    assert outcomes.keys() == OUTCOMES
    assert min(outcomes.values()) >= 10
    for question_id in RECORDS:
        mistakes = [row for row in MISTAKES if row["question_id"] == question_id]
        assert len({row["code"] for row in mistakes}) == len(mistakes) >= 3
        assert {"wrong", "crashed", "malformed"} <= {row["outcome"] for row in mistakes}
    assert {row["question_id"] for row in MISTAKES} == RECORDS.keys()


def test_building_again_gives_the_same_files(tmp_path: Path) -> None:
    # Another hash seed, so that no order of a set can hide in the files.
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, str(FOLDER / "build.py"), str(tmp_path)], check=True, env=environment)
    assert (tmp_path / "wrong_solutions.jsonl").read_bytes() == (FOLDER / "wrong_solutions.jsonl").read_bytes()
    # Packed columns are compared by what is in them: zlib-ng, which some Pythons are built with, packs differently.
    rebuilt, bundled = (
        [row | {"private_test_cases": unpack(row["private_test_cases"])} for row in rows("test.jsonl", folder)]
        for folder in (tmp_path, FOLDER)
    )
    assert rebuilt == bundled
