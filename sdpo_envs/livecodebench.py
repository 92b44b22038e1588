"""Competitive programming: write a Python program, or one function of it, that passes tests.

Rows have the form of LiveCodeBench's data set `code_generation_lite`; one loader reads that data set and the problems
bundled here. The prompt is that of SDPO's released data, verbatim. It speaks of one second, while the limit that both
SDPO and LiveCodeBench keep is six.
"""

import ast
import functools
import math
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np

from sdpo_envs.codejudge import Exam, judge_code
from sdpo_envs.core import Finding, Outcome, Task, Verdict
from sdpo_envs.env import JudgedEnv
from sdpo_envs.errors import RecordError, SettingError, choose
from sdpo_envs.feedback import LIMIT
from sdpo_envs.files import bundled
from sdpo_envs.parsing import code_block
from sdpo_envs.sandbox import Sandbox, open_sandbox
from sdpo_envs.tasks import Record, hub_name, leave_out, load_dataset, load_records, load_tasks
from sdpo_envs.testcases import parse, read_cases, read_tests
from sdpo_envs.trials import stopping
from sdpo_envs.vector import GroupEnv

SHARDS = ("test.jsonl", "test2.jsonl", "test3.jsonl", "test4.jsonl", "test5.jsonl", "test6.jsonl")
"""The files of the data set, oldest first. Release vN is the first N of them."""
RELEASES = tuple(f"v{number}" for number in range(1, len(SHARDS) + 1))
WINDOWS = {"sdpo-v6": ("2025-02-01", "2025-05-01")}
"""Windows with a name. What release v6 has in this one are the 131 questions of the SDPO paper."""
DIFFICULTIES = ("easy", "medium", "hard")
PLATFORMS = ("atcoder", "codeforces", "leetcode")
TESTS = ("public", "hidden", "half", "all")
REWARDS = ("sparse", "fraction")

PROMPT = """\
You are a coding expert. You will be given a coding problem, and you need to write a correct Python program that \
matches the specification and passes all tests. The time limit is 1 second. You may start by outlining your thought \
process. In the end, please provide the complete code in a code block enclosed with ``` ```.

{problem}"""
SIGNATURE = "\n\nYour solution should have the following signature: ```python\n{signature}\n```"
INCORRECT_FORMAT = "Incorrect Format: Put your code inside a ```python ... ``` block."

_FILTERS = {"difficulty": DIFFICULTIES, "platform": PLATFORMS}
_PUBLIC, _HIDDEN = "public_test_cases", "private_test_cases"
_SECRETS = 100
_SECRET_LENGTHS = (9, 60)


@dataclass(frozen=True, slots=True, eq=False)
class Paper:
    """What a problem is judged by. Its tests stay as the record has them, packed, until `exam` reads them.

    Attributes:
        record: The row and its place.
        tests: Which tests count, one of `TESTS`.
        half: For ``"half"``, the positions of the hidden tests that count.
        sample: How many of the tests that count to draw; None for all.
    """

    record: Record = field(repr=False)
    tests: str
    half: tuple[int, ...] | None = field(repr=False)
    sample: int | None


class LiveCodeBench(JudgedEnv):
    """Programming problems, judged by tests in a sandbox.

    An action is whatever the policy writes; the longest block of it that is fenced by three backticks is the program.
    It reads standard input and prints, or it defines the function that the prompt names, as LeetCode has it.

    Feedback is LeetCode's, as in SDPO: a crash, or else a time-out, or else wrong answers. Of a test that stands in the
    statement it shows input, output and expected output. Of a hidden test it shows them only with `reveal`, as the
    paper does; without, it shows only how the run ended, and nothing that a program could write its input into.

    A task's id is the question's. Its `meta` holds ``title``, ``platform``, ``difficulty`` and ``date``.

    Args:
        source: None for the bundled problems; a file of JSON Lines, gzipped or not, or several; a folder that holds the
            files of the data set, `SHARDS`; or the name of a data set on the Hub that holds them,
            ``"livecodebench/code_generation_lite"`` or ``"owner/name@revision"``. (A str, and not a Path, where the
            spec of the environment should become JSON.)
        release: One of `RELEASES`, for a folder or the Hub; None for the last.
        window: Keep contests from the first date on and before the second, ``("2025-02-01", "2025-05-01")``; or a name
            from `WINDOWS`.
        difficulty: Keep one of `DIFFICULTIES`.
        platform: Keep one of `PLATFORMS`.
        exclude: Leave out these ids, all of which `source` has. (Two questions, abc337_e and abc355_e, are interactive,
            so no fixed input tests them.)
        tests: Which tests count: ``"public"``, those in the statement; ``"hidden"``, as SDPO evaluates; ``"half"``, the
            half of the hidden ones that SDPO trains on; ``"all"``, as LiveCodeBench evaluates. The half is drawn for
            one question after the other, so it depends on `source`, `release`, `window` and `exclude`.
        sample: Draw at most so many of these tests, always the same for a task.
        reward: ``"sparse"``, 1.0 if every test passes and else 0.0; or ``"fraction"``, the fraction of tests passed.
        sandbox: Where programs run, or the name of a wall, see `open_sandbox`. A sandbox that is given stays open when
            the environment is closed.
        time_limit_seconds: Of each test.
        total_seconds: Of all tests of one attempt together. Those that are left then are not run and count as failed.
        memory_limit_mb: Of each test, in MiB. (SDPO's; LiveCodeBench allows 4096.)
        isolated: Whether each test has a process of its own from the start; `judge_code` tells what else happens.
        stop: After what the tests that are left are not run, ``"failure"``, ``"timeout"`` or ``"never"``; `judge_code`
            tells more. None for ``"never"`` with the fraction, which needs it, and else ``"timeout"``.
        reveal: Whether feedback shows hidden tests.
        limit: Most characters of one feedback text.
        render_mode: None or ``"ansi"``.

    Raises:
        SettingError: a keyword has a value that is not offered, or no question is left.
        RecordError: a row does not have the form of the data set, or no tests of that kind.
        MissingExtra: `source` is on the Hub, and the extra ``data`` is not installed.
    """

    waits = True

    def __init__(
        self,
        source: str | Path | Sequence[str | Path] | None = None,
        *,
        release: str | None = None,
        window: str | tuple[str, str] | None = None,
        difficulty: str | None = None,
        platform: str | None = None,
        exclude: Collection[str] = (),
        tests: str = "all",
        sample: int | None = None,
        reward: str = "sparse",
        sandbox: Sandbox | str = "local",
        time_limit_seconds: float = 6.0,
        total_seconds: float = 60.0,
        memory_limit_mb: int = 1024,
        isolated: bool = False,
        stop: str | None = None,
        reveal: bool = False,
        limit: int = LIMIT,
        render_mode: str | None = None,
    ) -> None:
        choose("reward", reward, REWARDS)
        _require_positive(time_limit_seconds=time_limit_seconds, total_seconds=total_seconds)
        _require_positive(int, memory_limit_mb=memory_limit_mb)
        stop = stopping(stop, reward == "fraction")
        tasks = load_problems(
            source,
            release=release,
            window=window,
            difficulty=difficulty,
            platform=platform,
            exclude=exclude,
            tests=tests,
            sample=sample,
        )
        self.sandbox = open_sandbox(sandbox)
        self._opened = isinstance(sandbox, str)
        self.abreast = getattr(self.sandbox, "abreast", self.abreast)
        grade = functools.partial(
            judge_code,
            sandbox=self.sandbox,
            seconds=time_limit_seconds,
            memory_mb=memory_limit_mb,
            total_seconds=total_seconds,
            fraction=reward == "fraction",
            isolated=isolated,
            stop=stop,
        )
        judge = functools.partial(judge_problem, grade=grade)
        super().__init__(tasks, judge, reveal=reveal, limit=limit, render_mode=render_mode)
        self._exam: Exam | None = None

    def begin(self, task: Task) -> str:
        """Return the prompt, after reading the tests.

        Raises:
            RecordError: the tests do not have the form of the data set.
        """
        self._exam = exam(task.answer)  # held, so that the judge and the other attempts of a group find it read
        return super().begin(task)

    def oracle(self, task: Task) -> str | None:
        """Return the reference solution in a fence, or None where the record has none."""
        solution = _solution(task)
        return f"```python\n{solution}\n```" if solution else None

    def secrets(self, task: Task) -> Sequence[str]:
        """Return the reference solution, and lines of the hidden tests that do not stand in the prompt as well."""
        solution = _solution(task)
        hidden = (case for case in exam(task.answer).cases if not case.public)
        lines = (line.strip() for case in hidden for line in [*case.output.split("\n"), *case.input.split("\n")])
        shortest, longest = _SECRET_LENGTHS
        telling = (line[:longest] for line in lines if len(line) >= shortest and line not in task.prompt)
        return [*filter(None, [solution.strip()]), *islice(dict.fromkeys(telling), _SECRETS)]

    def close(self) -> None:
        """Close the sandbox, if this environment opened it."""
        if self._opened:
            self.sandbox.close()
        super().close()


LiveCodeBenchGroup = functools.partial(GroupEnv, LiveCodeBench)
"""Groups of attempts at one problem, for `gymnasium.make_vec`."""


def judge_problem(task: Task, action: str, *, grade: Callable[[str, Exam], Verdict]) -> Verdict:
    """Judge the program in `action` by the tests of `task`; `grade` is `judge_code` with a sandbox and limits."""
    code = code_block(action)
    if code is None or not code.strip():
        return Verdict(Outcome.MALFORMED, 0.0, (Finding(INCORRECT_FORMAT),))
    return grade(code, exam(task.answer))


def load_problems(
    source: str | Path | Sequence[str | Path] | None = None,
    *,
    release: str | None = None,
    window: str | tuple[str, str] | None = None,
    difficulty: str | None = None,
    platform: str | None = None,
    exclude: Collection[str] = (),
    tests: str = "all",
    sample: int | None = None,
) -> tuple[Task, ...]:
    """Read problems as tasks; `LiveCodeBench` tells what the arguments mean.

    Raises:
        SettingError: an argument has a value that is not offered.
        RecordError: a row does not have the form of the data set, or no tests of that kind.
        MissingExtra: `source` is on the Hub, and the extra ``data`` is not installed.
    """
    choose("tests", tests, TESTS)
    if sample is not None:
        _require_positive(int, sample=sample)
    wanted = {name: value for name, value in (("difficulty", difficulty), ("platform", platform)) if value is not None}
    for name, value in wanted.items():
        choose(name, value, _FILTERS[name])
    start, end = _dates(window)
    included = leave_out(exclude, "question_id", _records(source, release))
    records = [record for record in included if start <= _contest_date(record) < end]
    _require_tests(records, tests)
    halves = _halves(records) if tests == "half" else {}
    kept = [record for record in records if all(record.get(name) == value for name, value in wanted.items())]
    return load_tasks(kept, lambda record: _task(Paper(record, tests, halves.get(record.get("question_id")), sample)))


_exams: WeakValueDictionary[Paper, Exam] = WeakValueDictionary()


def exam(paper: Paper) -> Exam:
    """Return the tests of a problem: read now, unless somebody still holds what an earlier call returned.

    Raises:
        RecordError: they do not have the form of the data set.
    """
    found = _exams.get(paper)
    if found is None:
        found = _exams[paper] = _read_exam(paper)
    return found


def _read_exam(paper: Paper) -> Exam:
    record, function = paper.record, _function(paper.record)
    cases = read_cases(record, _PUBLIC, function, public=True) if paper.tests in ("public", "all") else []
    if paper.tests != "public":
        hidden = read_cases(record, _HIDDEN, function)
        cases += hidden if paper.half is None else [hidden[position] for position in paper.half]
    if paper.sample is not None and paper.sample < len(cases):
        drawn = random.Random(record.get("question_id")).sample(range(len(cases)), paper.sample)
        cases = [cases[position] for position in sorted(drawn)]
    return Exam(tuple(cases), function, _parameters(record, function) if function else ())


def _records(source: str | Path | Sequence[str | Path] | None, release: str | None) -> Iterator[Record]:
    """Yield the rows of one file after the other; all together may not fit into memory."""
    if source is not None and not isinstance(source, str | Path | Sequence):
        raise SettingError(f"source={source!r} is not offered; give None, a path, several files, or 'owner/name'.")
    if isinstance(source, str | Path) and not _is_file(Path(source)):
        last = choose("release", release, RELEASES) if release is not None else RELEASES[-1]
        for shard in SHARDS[: RELEASES.index(last) + 1]:
            yield from load_records(Path(source, shard)) if Path(source).is_dir() else _hub_records(str(source), shard)
        return
    if release is not None:
        raise SettingError(f"release={release!r} needs a source of several files: a folder, or a name on the Hub.")
    if source is None:
        source = bundled("tasks", "livecodebench", SHARDS[0])
    for file in (source,) if isinstance(source, str | Path) else source:
        yield from load_records(file)


def _is_file(path: Path) -> bool:
    """Whether this is, or would be, a file, rather than a folder or a name on the Hub."""
    return path.is_file() or path.suffix in (".jsonl", ".json", ".gz") or (path.is_absolute() and not path.is_dir())


def _hub_records(name: str, shard: str) -> Iterator[Record]:
    """Yield the rows of one file on the Hub. The data set's own loading script is of no use to datasets >= 4."""
    address = f"hf://datasets/{hub_name(name)}/{shard}"
    return load_dataset("json", address, split="train", data_files=address)


def _task(paper: Paper) -> Task:
    record = paper.record
    meta = {
        "title": record.get("question_title"),
        "platform": record.get("platform"),
        "difficulty": record.get("difficulty"),
        "date": _contest_date(record).isoformat(),
    }
    return Task(record.get("question_id"), _prompt(record), paper, meta=meta)


def _prompt(record: Record) -> str:
    problem, starter = record.get("question_content"), record.get("starter_code")
    if not starter.strip():
        return PROMPT.format(problem=problem)
    if "def " not in starter:
        raise RecordError(f"{record.where}: the column 'starter_code' must define a function, not be {starter!r}.")
    # As SDPO takes it: up to the next function, or to the comments that precede LeetCode's data types.
    signature = "def " + starter.split("def ")[1].split("Input\n")[0].strip()
    return PROMPT.format(problem=problem + SIGNATURE.format(signature=signature))


def _solution(task: Task) -> str:
    record: Record = task.answer.record
    return str(record.get("solution")) if record.row.get("solution") else ""


def _function(record: Record) -> str | None:
    metadata = parse(record, "metadata", record.get("metadata") or "{}")
    function = metadata.get("func_name") if isinstance(metadata, dict) else metadata
    if function is None or (isinstance(function, str) and function.isidentifier()):
        return function
    raise RecordError(f"{record.where}: the column 'metadata' must hold the name of a function, not {metadata!r}.")


def _parameters(record: Record, function: str) -> tuple[str, ...]:
    """Return the names of the function's arguments without ``self``, or nothing where the starter code is unusual."""
    try:
        nodes = ast.walk(ast.parse(record.get("starter_code").strip() + " pass"))
    except SyntaxError:
        return ()
    found = (node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == function)
    return tuple(each.arg for node in islice(found, 1) for each in node.args.args if each.arg != "self")


def _halves(records: Sequence[Record]) -> dict[str, tuple[int, ...]]:
    """Draw half of the hidden tests of each problem as SDPO's `split_tests.py` does, given these rows in this order."""
    rng = np.random.RandomState(0)
    halves = {}
    for record in records:
        count = len(read_tests(record, _HIDDEN))
        half = rng.choice(count, size=max(1, count // 2), replace=False)
        halves[record.get("question_id")] = tuple(sorted(half.tolist()))
    return halves


def _require_tests(records: Sequence[Record], tests: str) -> None:
    column, other = (_PUBLIC, "hidden") if tests == "public" else (_HIDDEN, "public")
    lacking = [record.get("question_id") for record in records if record.row.get(column) in (None, "", "[]")]
    if lacking:
        raise RecordError(
            f"{len(lacking)} of {len(records)} records have no tests in the column {column!r}, as tests={tests!r} needs"
            f" ({', '.join(lacking[:5])}, ...). Judge by the others with tests={other!r}, or leave out ids by exclude."
        )


def _require_positive(kind: type = float, **values: float) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, kind)) or not 0 < value < math.inf:
            wanted = "a whole number, an int," if kind is int else "a finite number"
            raise SettingError(f"{name}={value!r} is not offered; it must be {wanted} above 0.")


def _dates(window: str | tuple[str, str] | None) -> tuple[date, date]:
    if window is None:
        return date.min, date.max
    if isinstance(window, str):
        window = WINDOWS[choose("window", window, WINDOWS)]
    try:
        start, end = map(date.fromisoformat, window)
    except (TypeError, ValueError) as error:
        raise SettingError(f"window={window!r} must be two dates such as ('2025-02-01', '2025-05-01').") from error
    return start, end


def _contest_date(record: Record) -> date:
    value = record.get("contest_date", (str, datetime))
    try:
        # The module datasets turns what looks like a date into a datetime.
        return (datetime.fromisoformat(value) if isinstance(value, str) else value).date()
    except ValueError as error:
        message = f"the column 'contest_date' must be a date such as '2025-02-01T00:00:00', not {value!r}."
        raise RecordError(f"{record.where}: {message}") from error
