"""Together or alone: what is run, what is run again, what is given up, and that the verdict does not depend on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sums import judge, told

from sdpo_envs import FakeSandbox, Outcome, Program, Run, SettingError, Verdict
from sdpo_envs.codejudge import Case, Exam, judge_code
from sdpo_envs.trials import STOPS

RIGHT, WRONG, CRASH, LATE = Run(0, stdout="1"), Run(0, stdout="2"), Run(1), Run(137, timed_out=True, seconds=2.0)
SKIPPED = Run(-1, skipped=True)
COMPILED = (Run(0),)


@dataclass
class Wall:
    """Runs nothing, as a wall would: `runs` are what each test does alone, and the marred ones crash in company."""

    runs: Sequence[Run]
    marred: Sequence[bool] = ()

    def __call__(self, program: Program) -> Sequence[Run]:
        if "compile.py" in program.files:
            return COMPILED
        places = [int(text) for text in program.inputs]
        found: list[Run] = []
        late = 0
        for place in places:
            company = len(places) > 1 and (not program.isolated or (late > 0 and program.timeouts is None))
            run = self.runs[place]
            if company and not run.timed_out and any(self.marred[place : place + 1]):
                run = CRASH
            given_up = program.timeouts is not None and late >= program.timeouts
            found.append(SKIPPED if given_up else replace(run, alone=not company))
            late += run.timed_out
        return found


def exam_of(count: int) -> Exam:
    return Exam(tuple(Case(f"{place}", "1", public=True) for place in range(count)))


def sit(*runs: Run, marred: Sequence[bool] = (), **settings: Any) -> tuple[Verdict, list[Program]]:
    sandbox = FakeSandbox(Wall(runs, marred))
    verdict = judge_code("pass", exam_of(len(runs)), sandbox, seconds=2.0, memory_mb=64, **settings)
    return verdict, [program for program in sandbox.programs if "compile.py" not in program.files]


def asked(programs: Sequence[Program]) -> list[tuple[str, bool]]:
    return [("".join(program.inputs), program.isolated) for program in programs]


@given(
    st.lists(st.sampled_from([RIGHT, WRONG, CRASH, LATE]), min_size=1, max_size=6), st.data(), st.sampled_from(STOPS)
)
def test_company_changes_nothing_that_is_decided_or_told(runs: list[Run], data: st.DataObject, stop: str) -> None:
    marred = data.draw(st.lists(st.booleans(), min_size=len(runs), max_size=len(runs)))
    together, _ = sit(*runs, marred=marred, stop=stop)
    alone, _ = sit(*runs, stop=stop, isolated=True)
    assert (together.outcome, together.reward) == (alone.outcome, alone.reward)
    assert together.findings[1:] == alone.findings[1:]  # the first counts also what was not confirmed


@given(st.lists(st.sampled_from([RIGHT, WRONG, CRASH, LATE]), min_size=1, max_size=6), st.data())
def test_the_fraction_of_tests_passed_is_the_same_together_and_alone(runs: list[Run], data: st.DataObject) -> None:
    marred = data.draw(st.lists(st.booleans(), min_size=len(runs), max_size=len(runs)))
    assert sit(*runs, marred=marred, fraction=True)[0].reward == runs.count(RIGHT) / len(runs)
    assert sit(*runs, marred=marred, fraction=True, isolated=True)[0].reward == runs.count(RIGHT) / len(runs)


def test_a_program_that_passes_is_asked_once() -> None:
    verdict, programs = sit(RIGHT, RIGHT, RIGHT)
    assert verdict.passed
    assert asked(programs) == [("012", False)]


def test_what_is_going_to_be_told_is_run_again_alone() -> None:
    verdict, programs = sit(RIGHT, WRONG, WRONG, WRONG)
    assert asked(programs) == [("0123", False), ("12", True)]
    assert told(verdict).startswith("Wrong Answer: 1 of 4 tests passed.\n\nTest 2: Wrong Answer")


def test_if_company_made_a_difference_all_that_failed_is_run_again_and_that_counts() -> None:
    verdict, programs = sit(RIGHT, RIGHT, WRONG, CRASH, marred=(False, True, True, False))
    assert asked(programs) == [("0123", False), ("1", True), ("23", True)]
    assert verdict.outcome is Outcome.CRASHED
    assert told(verdict).startswith("Runtime Error: 2 of 4 tests passed.\n\nTest 4: Runtime Error")


def test_for_the_fraction_all_that_failed_is_run_again_in_one_call() -> None:
    verdict, programs = sit(RIGHT, RIGHT, WRONG, CRASH, marred=(False, True, True, False), fraction=True)
    assert asked(programs) == [("0123", False), ("123", True)]
    assert verdict.reward == 0.5


def test_a_time_out_is_not_run_again_and_what_comes_after_is_given_up() -> None:
    verdict, programs = sit(WRONG, LATE, RIGHT, WRONG)
    assert asked(programs) == [("0123", False)]
    assert verdict.outcome is Outcome.TIMED_OUT
    assert told(verdict).startswith("Time Limit Exceeded (2 s): 0 of 4 tests passed, 2 not run.")


def test_alone_there_is_one_call_for_all() -> None:
    _, programs = sit(RIGHT, WRONG, CRASH, isolated=True)
    assert asked(programs) == [("012", True)]
    assert programs[0].timeouts == 1


def test_never_to_stop_lets_hang_what_hangs_and_repeats_what_failed_beside_it() -> None:
    verdict, programs = sit(LATE, RIGHT, WRONG, LATE, fraction=True, isolated=True)
    assert asked(programs) == [("0123", True), ("2", True)]
    assert [program.timeouts for program in programs] == [None, 1]
    assert told(verdict).startswith("Time Limit Exceeded (2 s): 1 of 4 tests passed.")


def test_to_stop_at_a_failure_confirms_one_after_the_other_until_one_stands() -> None:
    marred = (True, False, True, True, False)
    verdict, programs = sit(RIGHT, RIGHT, RIGHT, WRONG, CRASH, marred=marred, stop="failure")
    assert asked(programs) == [("01234", False), ("0", True), ("2", True), ("3", True)]
    assert told(verdict).startswith("Wrong Answer: 3 of 5 tests passed, 1 not run.\n\nTest 4: Wrong Answer")


def test_to_stop_at_a_failure_alone_asks_for_one_test_after_the_other() -> None:
    verdict, programs = sit(RIGHT, LATE, WRONG, stop="failure", isolated=True)
    assert asked(programs) == [("0", True), ("1", True)]
    assert told(verdict).startswith("Time Limit Exceeded (2 s): 1 of 3 tests passed, 1 not run.")


def test_a_program_that_does_not_compile_is_not_run_again() -> None:
    def wall(program: Program) -> Sequence[Run]:
        if "compile.py" in program.files:
            return (Run(0, stdout='["SyntaxError", "invalid syntax", 1, 1]'),)
        return [replace(CRASH, alone=program.isolated)] * len(program.inputs)

    sandbox = FakeSandbox(wall)
    verdict = judge_code("(", exam_of(3), sandbox, seconds=2.0, memory_mb=64)
    assert verdict.outcome is Outcome.INVALID
    assert [program.isolated for program in sandbox.programs] == [False, True]


@pytest.mark.parametrize("isolated", [True, False])
def test_all_runs_together_keep_to_the_seconds(isolated: bool) -> None:
    def slow(program: Program) -> Sequence[Run]:
        return [replace(WRONG, seconds=2.0, alone=program.isolated)] * len(program.inputs)

    sandbox = FakeSandbox(slow)
    settings: dict[str, Any] = {"seconds": 3.0, "memory_mb": 64, "isolated": isolated, "stop": "failure"}
    judge_code("pass", exam_of(2), sandbox, total_seconds=5.0, **settings)
    assert [program.total_seconds for program in sandbox.programs] == ([5.0] if isolated else [5.0, 1.0])


def test_what_no_time_is_left_to_confirm_was_not_run() -> None:
    sandbox = FakeSandbox(lambda program: [replace(WRONG, seconds=3.0, alone=False)] * len(program.inputs))
    verdict = judge_code("pass", exam_of(2), sandbox, seconds=3.0, memory_mb=64, total_seconds=5.0)
    assert len(sandbox.programs) == 1
    assert told(verdict) == "Time Limit Exceeded (5 s for all tests together): 0 of 2 tests passed, 2 not run."


def test_runs_that_hang_side_by_side_take_the_time_of_one() -> None:
    def wall(program: Program) -> Sequence[Run]:
        return [replace(run, alone=False) for run in (WRONG, LATE, LATE, LATE)][: len(program.inputs)]

    sandbox = FakeSandbox(wall)
    judge_code("pass", exam_of(4), sandbox, seconds=2.0, memory_mb=64, total_seconds=10.0, fraction=True)
    assert sandbox.programs[1].total_seconds == 6.0


@pytest.mark.parametrize(
    ("stop", "fraction", "words"),
    [
        ("first", False, "stop='first' is not offered"),
        ("timeout", True, "stop='timeout' leaves tests out"),
        ("failure", True, "stop='failure' leaves tests out"),
        ("nver", True, "did you mean 'never'"),
    ],
)
def test_a_stop_that_is_not_offered_is_an_error(stop: str, fraction: bool, words: str) -> None:
    with pytest.raises(SettingError, match=words.replace("?", r"\?")):
        sit(RIGHT, stop=stop, fraction=fraction)


def leaking(place: int) -> Callable[[Program], Sequence[Run]]:
    secret = replace(LATE, stdout="31415926", stderr="31415926", alone=False)
    return lambda program: [replace(RIGHT, alone=False)] * place + [secret] * (len(program.inputs) - place)


def test_of_a_run_that_had_company_nothing_is_told_but_its_end() -> None:
    verdict = judge_code("pass", exam_of(2), FakeSandbox(leaking(1)), seconds=2.0, memory_mb=64, stop="never")
    assert told(verdict, reveal=True) == (
        "Time Limit Exceeded (2 s): 1 of 2 tests passed.\n\nTest 2: Time Limit Exceeded\nLast Executed Input: 1"
    )


# Behind a real wall.

NUMBERS = Exam(tuple(Case(f"{place}\n", "0\n", public=True) for place in range(4)))
PROGRAMS = {
    "right": "print(0)",
    "wrong on one": "print(int(input()) == 2)",
    "crashes on all": "print(1 // 0)",
    "crashes on one": "print(0 // (int(input()) - 2))",
    "hangs on one": "n = int(input())\nwhile n == 1: pass\nprint(0)",
    "ends its process": "import os\nn = int(input())\nprint(0, flush=True)\nos._exit(n % 2)",
    "kills itself": "import os, signal\nprint(0, flush=True)\nif input() == '3': os.kill(os.getpid(), signal.SIGKILL)",
    "leaves something behind": "import builtins\nn = getattr(builtins, 'n', 0)\nbuiltins.n = 1\nprint(n)",
    "spoils its modules": "import math\nprint(math.floor(0.5))\nmath.floor = None",
    "does not compile": "print(0",
}


@pytest.mark.parametrize("code", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("stop", STOPS)
def test_a_real_program_gets_the_same_verdict_together_and_alone(code: str, stop: str) -> None:
    together = judge(code, NUMBERS, seconds=0.5, stop=stop)
    assert together == judge(code, NUMBERS, seconds=0.5, stop=stop, isolated=True)


def test_what_a_program_leaves_behind_makes_none_of_its_tests_fail() -> None:
    for name in ("leaves something behind", "spoils its modules"):
        assert judge(PROGRAMS[name], NUMBERS).passed
