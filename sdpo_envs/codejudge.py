"""Judges a Python program by tests: what it prints, or what its function returns, against what was expected.

The program runs behind a wall and never meets an expected output: all comparing is done here, on text. Tests are hidden
unless they are marked public. A program can print or raise its input, so whatever it did with a hidden test may be that
test in disguise: `Finding.details` then tell only how the run ended, and the rest is `Finding.answer`. So are its own
lines that took part in a crash, as it can call one function or another as its input has it.
"""

import builtins
import json
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from itertools import groupby
from typing import Any

from sdpo_envs.core import Finding, Outcome, Verdict
from sdpo_envs.errors import JudgeError
from sdpo_envs.feedback import LIMIT
from sdpo_envs.files import bundled
from sdpo_envs.sandbox import Program, Run, Sandbox

_FAILURES = {
    Outcome.CRASHED: "Runtime Error",
    Outcome.TIMED_OUT: "Time Limit Exceeded",
    Outcome.OUT_OF_MEMORY: "Memory Limit Exceeded",
    Outcome.TOO_MUCH_OUTPUT: "Output Limit Exceeded",
    Outcome.WRONG: "Wrong Answer",
    Outcome.NOT_RUN: "Time Limit Exceeded",
}
"""What one test may end in, the gravest first: that decides about the whole."""
_MOST_CHARACTERS = 2**20
_WRONG_ANSWERS_TOLD = 2
_FRAMES_TOLD = 5

_FRAME = re.compile(r'^  File "[^"\n]*\bmain\.py", line (\d{1,6})\b', re.MULTILINE)
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]+")
_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)
_COMPILE = 'compile(open("main.py", encoding="utf-8").read(), "main.py", "exec", dont_inherit=True)\n'


@dataclass(frozen=True, slots=True)
class Case:
    """One test.

    Attributes:
        input: Standard input; for a function its arguments, one JSON value a line.
        output: The expected standard output; for a function the expected result, as JSON.
        public: Whether the policy may know it, as it stands in the statement of the problem.
    """

    input: str = field(repr=False)
    output: str = field(repr=False)
    public: bool = False


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Exam:
    """What a program is judged by.

    Attributes:
        cases: The tests.
        function: The function that they call, of ``class Solution`` or of the module; None for a whole program.
        parameters: The names of its arguments, to show them by.
    """

    cases: tuple[Case, ...]
    function: str | None = None
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Trial:
    """One run of a program on one case."""

    number: int
    case: Case
    run: Run
    outcome: Outcome


def judge_code(
    code: str,
    exam: Exam,
    sandbox: Sandbox,
    *,
    seconds: float,
    memory_mb: int,
    total_seconds: float | None = None,
    fraction: bool = False,
) -> Verdict:
    """Run a program on every case and compare.

    The findings are those of SDPO's released judge: the first crash alone, or else the first time-out, or else the
    first case over another limit, or else two wrong answers, those of the shortest input and output. Of these, public
    cases come first. A case that was not run counts as failed; if no other failed, the attempt timed out.

    Args:
        code: The program, in Python.
        exam: The tests.
        sandbox: Where to run it.
        seconds: Limit on the wall-clock time of each case.
        memory_mb: Limit on the memory of each case, in MiB.
        total_seconds: Limit on the wall-clock time of all cases together, None for none. What is left then is not run.
        fraction: Whether the reward is the fraction of cases passed, rather than 1.0 for all and 0.0 for any less. Only
            then are the cases after a time-out run.

    Raises:
        JudgeError: there is no case.
        SandboxError: the wall broke.
    """
    if not exam.cases:
        raise JudgeError("There are no tests to judge the program by; choose tasks that have some.")
    if reason := _unfit(code):
        return Verdict(Outcome.INVALID, 0.0, (Finding(f"Syntax Error: {reason}"),))
    program = replace(
        _program(code, exam),
        seconds=seconds,
        memory_mb=memory_mb,
        timeouts=None if fraction else 1,
        total_seconds=total_seconds,
    )
    trials = [
        _Trial(number, case, run, _outcome(exam, case, run))
        for number, (case, run) in enumerate(zip(exam.cases, sandbox.run(program), strict=True), start=1)
    ]
    outcomes = [trial.outcome for trial in trials]
    passed = outcomes.count(Outcome.PASSED)
    if passed == len(trials):
        return Verdict(Outcome.PASSED, 1.0)
    if set(outcomes) == {Outcome.CRASHED} and (error := _compile_error(code, sandbox)):
        return Verdict(Outcome.INVALID, 0.0, (error,))
    worst = next(outcome for outcome in _FAILURES if outcome in outcomes)
    told = _worth_telling([trial for trial in trials if trial.outcome is worst])
    findings = (_summary(program, worst, outcomes), *(_finding(exam, code, trial) for trial in told))
    outcome = Outcome.TIMED_OUT if worst is Outcome.NOT_RUN else worst
    return Verdict(outcome, passed / len(trials) if fraction else 0.0, findings)


def same_output(found: str, expected: str) -> bool:
    """Whether two outputs are equal as LiveCodeBench sees it.

    Blank edges of the text and of its lines do not count. Lines that differ are equal still if they are equal lists of
    decimal numbers, exactly: ``1.50`` is ``1.5``, and no difference is too small.
    """
    left, right = found.strip().split("\n"), expected.strip().split("\n")
    return len(left) == len(right) and all(map(_same_line, left, right))


def same_value(found: str, expected: str) -> bool:
    """Whether two JSON texts hold equal values: ``1`` is ``1.0``, but ``true`` is not ``1``.

    Raises:
        ValueError: `expected` is not JSON. If `found` is not, it is only different.
    """
    wanted = json.loads(expected)
    try:
        return _equal(json.loads(found), wanted)
    except (ValueError, RecursionError):
        return False


def _same_line(found: str, expected: str) -> bool:
    left, right = found.strip(), expected.strip()
    try:
        return left == right or [*map(Decimal, left.split())] == [*map(Decimal, right.split())]
    except InvalidOperation:
        return False


def _equal(found: Any, expected: Any) -> bool:
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(_equal, found, expected))
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(_equal(found[key], expected[key]) for key in expected)
    return isinstance(found, bool) == isinstance(expected, bool) and bool(found == expected)


def _unfit(code: str) -> str:
    if len(code) > _MOST_CHARACTERS:
        return f"the program is longer than {_MOST_CHARACTERS} characters"
    if any(0xD800 <= ord(character) < 0xE000 for character in code):
        return "the program holds half of a surrogate pair, which UTF-8 cannot encode"
    return ""


def _program(code: str, exam: Exam) -> Program:
    files = {"main.py": code}
    argv: tuple[str, ...] = ("python", "main.py")
    if exam.function is not None:
        files["call.py"] = bundled("sandboxes", "python", "call.py").read_text(encoding="utf-8")
        argv = ("python", "call.py", exam.function)
    inputs = tuple(case.input for case in exam.cases)
    program = Program(files, argv, inputs)
    # Some expected outputs are longer than what a program may write by default; leave room for twice as much.
    return replace(program, output_kb=max(program.output_kb, max(len(case.output) for case in exam.cases) // 512))


def _outcome(exam: Exam, case: Case, run: Run) -> Outcome:
    for happened, outcome in (
        (run.skipped, Outcome.NOT_RUN),
        (run.timed_out, Outcome.TIMED_OUT),
        (run.out_of_memory, Outcome.OUT_OF_MEMORY),
        (run.too_much_output, Outcome.TOO_MUCH_OUTPUT),
        (run.exit_code != 0 or _silent(exam, run), Outcome.CRASHED),
    ):
        if happened:
            return outcome
    same = same_output if exam.function is None else same_value
    return Outcome.PASSED if same(run.stdout, case.output) else Outcome.WRONG


def _silent(exam: Exam, run: Run) -> bool:
    """Whether the process ended in good order, but before the function returned."""
    return exam.function is not None and run.exit_code == 0 and not run.stdout.strip()


def _compile_error(code: str, sandbox: Sandbox) -> Finding | None:
    """Compile the program without running it, so that what is found cannot hold a hidden test."""
    (run,) = sandbox.run(Program(files={"main.py": code, "compile.py": _COMPILE}, argv=("python", "compile.py")))
    if run.exit_code == 0 or not run.stderr.strip():
        return None
    _, place, rest = run.stderr.rstrip().partition('  File "main.py", line ')
    number, _, rest = rest.partition("\n")
    line, _, message = (rest if place else run.stderr.rstrip()).rpartition("\n")
    return Finding(message, {f"Line {number}": line} if line and place else {})


def _worth_telling(failed: Sequence[_Trial]) -> Sequence[_Trial]:
    """Choose among the trials that failed in one way: first those on public cases, of which everything may be told."""
    if failed[0].outcome is Outcome.NOT_RUN:
        return ()
    if failed[0].outcome is not Outcome.WRONG:
        return sorted(failed, key=lambda trial: not trial.case.public)[:1]
    shortest = sorted(failed, key=lambda trial: len(trial.case.input) + len(trial.run.stdout))
    return sorted(shortest, key=lambda trial: not trial.case.public)[:_WRONG_ANSWERS_TOLD]


def _summary(program: Program, worst: Outcome, outcomes: Sequence[Outcome]) -> Finding:
    limits = {
        Outcome.TIMED_OUT: f" ({program.seconds:g} s)",
        Outcome.OUT_OF_MEMORY: f" ({program.memory_mb} MiB)",
        Outcome.NOT_RUN: f" ({program.total_seconds:g} s for all tests together)" if program.total_seconds else "",
    }
    given_up = outcomes.count(Outcome.NOT_RUN)
    title = f"{_FAILURES[worst]}{limits.get(worst, '')}: "
    title += f"{outcomes.count(Outcome.PASSED)} of {len(outcomes)} tests passed"
    return Finding(f"{title}, {given_up} not run." if given_up else f"{title}.")


def _finding(exam: Exam, code: str, trial: _Trial) -> Finding:
    case, run = trial.case, trial.run
    title = f"Test {trial.number}: {_FAILURES[trial.outcome]}"
    if trial.outcome is Outcome.WRONG:
        output = run.stdout if run.stdout.strip() else "(nothing)"
        facts = {"Input": _input(exam, case), "Output": output, "Expected": case.output, "Debug Output": run.stderr}
    elif trial.outcome in (Outcome.CRASHED, Outcome.OUT_OF_MEMORY):
        cause, message, lines = _crash(code, exam, run)
        title = f"{title} ({cause})" if cause else title
        facts = {"Traceback": lines, "Message": message, "Last Executed Input": _input(exam, case)}
    else:
        facts = {"Last Executed Input": _input(exam, case), "Debug Output": run.stderr}
    facts = {label: _told(text) for label, text in facts.items() if text.strip()}
    return Finding(title, facts) if case.public else Finding(title, answer=facts)


def _told(text: str) -> str:
    """Cut `text`, and blank where objects lay in memory: the same program gives the same words."""
    return _ADDRESS.sub("at 0x...", text[:LIMIT])


def _input(exam: Exam, case: Case) -> str:
    values = [line for line in case.input.split("\n") if line.strip()]
    if exam.function is None or len(values) != len(exam.parameters):
        return case.input
    return "\n".join(f"{name} = {value}" for name, value in zip(exam.parameters, values, strict=True))


def _crash(code: str, exam: Exam, run: Run) -> tuple[str, str, str]:
    """Return why the program crashed, the message, and the program's own lines in the traceback.

    The program itself wrote, or forged, the traceback. So the reason, which is told of hidden tests too, is one of a
    fixed set of words, and of the lines only the numbers are taken from it.
    """
    _, header, trace = run.stderr.rpartition("Traceback (most recent call last):\n")
    exception = _EXCEPTION.search(trace) if header else None
    lines = code.split("\n")
    numbers = [number for number, _ in groupby(map(int, _FRAME.findall(trace))) if 0 < number <= len(lines)]
    told = [f"line {number}: {lines[number - 1].strip()}" for number in numbers[-_FRAMES_TOLD:]]
    if exception:
        cause, message = _builtin(exception[1]), trace[exception.start() :]
    elif _silent(exam, run):
        cause, message = f"the program ended before {exam.function} returned", run.stderr
    else:
        cause, message = _signal(run.exit_code), run.stderr or f"exit code {run.exit_code}"
    return cause, message.strip(), "\n".join(told)


def _builtin(name: str) -> str:
    known = getattr(builtins, name, None)
    return name if isinstance(known, type) and issubclass(known, BaseException) else ""


def _signal(exit_code: int) -> str:
    names = {128 + number: number.name for number in signal.Signals}
    return names.get(exit_code, "")
