"""Judges a program by tests: what it prints, or what its function returns, against what was expected.

The program runs behind a wall and never meets an expected output: all comparing is done here, on text. Tests are hidden
unless they are marked public. A program can print or raise its input, so whatever it did with a hidden test may be that
test in disguise: `Finding.details` then tell only how the run ended, and the rest is `Finding.answer`. So are its own
lines that took part in a crash, as it can call one function or another as its input has it. And of a run that had
company nothing is told but its end: others, on hidden tests, may have told it theirs.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType

from sdpo_envs.comparison import output_difference, same_output, same_value, value_difference
from sdpo_envs.core import Finding, Outcome, Verdict
from sdpo_envs.errors import JudgeError
from sdpo_envs.feedback import LIMIT
from sdpo_envs.pythoncode import as_program, cleaned, read_crash, why_not_compiled, why_unfit
from sdpo_envs.sandbox import Program, Run, Sandbox
from sdpo_envs.trials import Sitting, Trial, stopping

_FAILURES = {
    Outcome.CRASHED: "Runtime Error",
    Outcome.TIMED_OUT: "Time Limit Exceeded",
    Outcome.OUT_OF_MEMORY: "Memory Limit Exceeded",
    Outcome.TOO_MUCH_OUTPUT: "Output Limit Exceeded",
    Outcome.WRONG: "Wrong Answer",
    Outcome.NOT_RUN: "Time Limit Exceeded",
}
"""What one test may end in, the gravest first: that decides about the whole."""
_WRONG_ANSWERS_TOLD = 2
_MOST_OUTPUT_KB = 1 << 16  # what walls offer


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


Checker = Callable[[Case, str], bool | str]
"""Decides about what a program wrote, or what its function returned as JSON: True if it is right, and else False or a
sentence that says why not. It is trusted code that reads hostile text; what it raises becomes a `JudgeError`."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Exam:
    """What a program is judged by.

    Attributes:
        cases: The tests.
        function: The function that they call, of ``class Solution`` or of the module; None for a whole program.
        parameters: The names of its arguments, to show them by.
        tolerance: By how much numbers may differ, absolutely or relative to the larger; None for LiveCodeBench's exact
            comparison. See `same_output` and `same_value`.
        checker: Decides instead of any comparison, for tasks with several right outputs.

    Raises:
        ValueError: the tolerance is not a finite number from 0 on, or there is a checker as well.
    """

    cases: tuple[Case, ...]
    function: str | None = None
    parameters: tuple[str, ...] = ()
    tolerance: float | None = None
    checker: Checker | None = None

    def __post_init__(self) -> None:
        if self.tolerance is None:
            return
        if self.checker is not None:
            raise ValueError("An exam is judged by a checker or within a tolerance, not both; leave one out.")
        if not 0 <= self.tolerance < math.inf:
            raise ValueError(f"A tolerance must be a finite number from 0 on, not {self.tolerance}; None for exact.")


def judge_code(
    code: str,
    exam: Exam,
    sandbox: Sandbox,
    *,
    seconds: float,
    memory_mb: int,
    total_seconds: float | None = None,
    fraction: bool = False,
    isolated: bool = False,
    stop: str | None = None,
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
        total_seconds: Limit on the wall-clock time of all runs together, None for none. What is left then is not run.
        fraction: Whether the reward is the fraction of cases passed, rather than 1.0 for all and 0.0 for any less.
        isolated: Whether each case has a process of its own from the start. Otherwise one process runs them all, and
            those that failed are run again in processes of their own, which is what counts: all of them with
            `fraction`, and else those that are told, unless company turns out to have made a difference.
        stop: After what the cases that are left are not run: ``"failure"``, ``"timeout"``, the first of either kind, or
            ``"never"``: then the cases after a time-out run side by side, and share one more time limit. None for
            ``"never"`` with `fraction`, which needs that, and else ``"timeout"``.

    Raises:
        SettingError: `stop` is not offered, or not with `fraction`.
        JudgeError: there is no case, an expected value is not JSON, or the checker failed.
        SandboxError: the wall broke.
    """
    stop = stopping(stop, fraction)
    if not exam.cases:
        raise JudgeError("There are no tests to judge the program by; choose tasks that have some.")
    if reason := why_unfit(code):
        return Verdict(Outcome.INVALID, 0.0, (Finding(f"Syntax Error: {reason}"),))
    program = replace(_program(code, exam), seconds=seconds, memory_mb=memory_mb, total_seconds=total_seconds)
    sitting = Sitting(program, partial(_grade, exam), sandbox, stop)
    error = None
    if not isolated:
        sitting.together()
        error = _compile_error(code, sitting)
    if not error:
        sitting.alone(None if fraction else partial(_worth_telling, exam))
        error = _compile_error(code, sitting) if isolated else None
    if error:
        return Verdict(Outcome.INVALID, 0.0, (error,))
    return _verdict(code, exam, program, [sitting.trials[place] for place in range(len(exam.cases))], fraction)


def _program(code: str, exam: Exam) -> Program:
    program = as_program(code, exam.function, tuple(case.input for case in exam.cases))
    # Some expected outputs are longer than what a program may write by default; leave room for twice as much.
    longest = max(len(case.output.encode("utf-8", "surrogatepass")) for case in exam.cases)
    return replace(program, output_kb=min(max(program.output_kb, longest // 512), _MOST_OUTPUT_KB))


def _grade(exam: Exam, place: int, run: Run) -> tuple[Outcome, str]:
    """Return how a run ended, and what the checker said if it did not like the output."""
    for happened, outcome in (
        (run.skipped, Outcome.NOT_RUN),
        (run.timed_out, Outcome.TIMED_OUT),
        (run.out_of_memory, Outcome.OUT_OF_MEMORY),
        (run.too_much_output, Outcome.TOO_MUCH_OUTPUT),
        (run.exit_code != 0 or (exam.function is not None and not run.stdout.strip()), Outcome.CRASHED),
    ):
        if happened:
            return outcome, ""
    right = _right(exam, exam.cases[place], run.stdout)
    return (Outcome.PASSED if right is True else Outcome.WRONG), right if isinstance(right, str) else ""


def _right(exam: Exam, case: Case, output: str) -> bool | str:
    with _Trusted("The checker of a task" if exam.checker else "The comparison with an expected output"):
        if exam.checker is None:
            return (same_output if exam.function is None else same_value)(output, case.output, exam.tolerance)
        right = exam.checker(case, output)
        if not isinstance(right, bool | str):
            raise TypeError(f"it must return a bool or a str, not {right!r}")
        return right


@dataclass(frozen=True, slots=True)
class _Trusted:
    """What fails in here is nobody's wrong answer."""

    what: str

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, Exception):
            told = f"{type(error).__name__}: {error}"
            raise JudgeError(f"{self.what} failed, so nothing was decided: {told}. Mend it, or leave the task out.")


def _compile_error(code: str, sitting: Sitting) -> Finding | None:
    """Return why `code` does not compile. There is reason to ask only if every run that was made crashed."""
    if {trial.outcome for trial in sitting.trials.values()} - {Outcome.NOT_RUN} != {Outcome.CRASHED}:
        return None
    return why_not_compiled(code, sitting.sandbox)


def _verdict(code: str, exam: Exam, program: Program, trials: Sequence[Trial], fraction: bool) -> Verdict:
    outcomes = Counter(trial.outcome for trial in trials)
    share = outcomes[Outcome.PASSED] / len(trials)
    if share == 1.0:
        return Verdict(Outcome.PASSED, 1.0)
    worst = _worst(trials)
    assert worst is not None
    told = _worth_telling(exam, trials)
    findings = (_summary(program, worst, outcomes), *(_finding(code, exam, trial) for trial in told))
    outcome = Outcome.TIMED_OUT if worst is Outcome.NOT_RUN else worst
    return Verdict(outcome, share if fraction else 0.0, findings)


def _worst(trials: Sequence[Trial]) -> Outcome | None:
    outcomes = {trial.outcome for trial in trials}
    return next((outcome for outcome in _FAILURES if outcome in outcomes), None)


def _worth_telling(exam: Exam, trials: Sequence[Trial]) -> Sequence[Trial]:
    """Choose among the trials that failed in the worst way: first those on public cases, of which all may be told."""
    worst = _worst(trials)
    if worst in (None, Outcome.NOT_RUN):
        return ()
    wrong = worst is Outcome.WRONG

    def rank(trial: Trial) -> tuple[bool, int]:
        case = exam.cases[trial.place]
        return not case.public, len(case.input) + len(trial.run.stdout) if wrong else 0

    failed = [trial for trial in trials if trial.outcome is worst]
    return sorted(failed, key=rank)[: _WRONG_ANSWERS_TOLD if wrong else 1]


def _summary(program: Program, worst: Outcome, outcomes: Counter[Outcome]) -> Finding:
    limits = {
        Outcome.TIMED_OUT: f" ({program.seconds:g} s)",
        Outcome.OUT_OF_MEMORY: f" ({program.memory_mb} MiB)",
        Outcome.NOT_RUN: f" ({program.total_seconds:g} s for all tests together)" if program.total_seconds else "",
    }
    title = f"{_FAILURES[worst]}{limits.get(worst, '')}: "
    title += f"{outcomes[Outcome.PASSED]} of {outcomes.total()} tests passed"
    given_up = outcomes[Outcome.NOT_RUN]
    return Finding(f"{title}, {given_up} not run." if given_up else f"{title}.")


def _finding(code: str, exam: Exam, trial: Trial) -> Finding:
    case, run = exam.cases[trial.place], trial.run
    title = f"Test {trial.place + 1}: {_FAILURES[trial.outcome]}"
    facts = {"Last Executed Input": _input(exam, case)} if case.input.strip() else {}
    if not run.alone:
        return Finding(title, facts) if case.public else Finding(title, answer=facts)
    if trial.outcome is Outcome.WRONG:
        facts = _wrong_answer(exam, case, trial)
    elif trial.outcome in (Outcome.CRASHED, Outcome.OUT_OF_MEMORY):
        crash = read_crash(code, exam.function, run)
        title = f"{title} ({crash.cause})" if crash.cause else title
        facts = {**_told({"Traceback": crash.lines, "Message": crash.message}), **facts}
    else:
        output = run.stdout if trial.outcome is Outcome.TOO_MUCH_OUTPUT else ""
        facts |= _told({"Output": output, "Debug Output": run.stderr})
    return Finding(title, facts) if case.public else Finding(title, answer=facts)


def _wrong_answer(exam: Exam, case: Case, trial: Trial) -> dict[str, str]:
    run, apart = trial.run, trial.reason
    if not exam.checker:
        difference = output_difference if exam.function is None else value_difference
        apart = difference(run.stdout, case.output, exam.tolerance)
    facts = {"Input": _input(exam, case)} if case.input.strip() else {}
    facts |= _told({"Output": run.stdout}) or {"Output (none)": ""}
    facts |= {"Expected": case.output[:LIMIT]} if case.output.strip() else {"Expected (none)": ""}
    return facts | _told({"Difference": apart, "Debug Output": run.stderr})


def _told(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the start of each text, without what differs from run to run; those that are blank are left out."""
    return {name: cleaned(text[: 2 * LIMIT])[:LIMIT] for name, text in texts.items() if text.strip()}


def _input(exam: Exam, case: Case) -> str:
    """Return what a test puts in, with the names of a function's arguments."""
    values = [line for line in case.input.split("\n") if line.strip()]
    if exam.function is None or len(values) != len(exam.parameters):
        return case.input[:LIMIT]
    return "\n".join(f"{name} = {value[:LIMIT]}" for name, value in zip(exam.parameters, values, strict=True))
