"""The judge of programs: what is honest, what is told. What cheats has test_codejudge_attacks.py."""

from dataclasses import replace
from typing import Any

import pytest
from sums import SECRETS, SUM, TOTAL, FakeSandbox, judge, judged, told

from sdpo_envs import Finding, JudgeError, Outcome, Run, SandboxError, Verdict, explain
from sdpo_envs.codejudge import Case, Exam, judge_code

# Whole programs.


@pytest.mark.parametrize(
    "code",
    [
        "print(sum(map(int, input().split())))",
        "import sys\nfor line in sys.stdin: print(sum(map(int, line.split())))",
        "def main():\n    a, b = map(int, open(0).read().split())\n    print(a + b)\nif __name__ == '__main__': main()",
        "import sys\nprint(eval(input().replace(' ', '+')))\nsys.exit(0)",
        "import os\nos.write(1, b'%d' % sum(map(int, input().split())))\nos._exit(0)",
        "try:\n    int('x')\nexcept ValueError:\n    print(sum(map(int, input().split())))",
        "print(float(sum(map(int, input().split()))), end='')",
    ],
)
def test_an_honest_program_passes(code: str) -> None:
    assert judge(code) == Verdict(Outcome.PASSED, 1.0)


def test_a_wrong_answer_to_a_public_test_shows_all_of_it() -> None:
    verdict = judge("import sys\nprint(4, file=sys.stdout)\nprint('debugging', file=sys.stderr)")
    assert (verdict.outcome, verdict.reward) == (Outcome.WRONG, 0.0)
    assert told(verdict) == (
        "Wrong Answer: 0 of 2 tests passed.\n\n"
        "Test 1: Wrong Answer\nInput: 1 2\nOutput: 4\nExpected: 3\nDebug Output: debugging\n\n"
        "Test 2: Wrong Answer"
    )
    assert told(verdict, reveal=True).endswith(
        "Test 2: Wrong Answer\nInput: 31415926 5\nOutput: 4\nExpected: 31415931\nDebug Output: debugging"
    )


def test_where_objects_lie_in_memory_is_not_told_so_that_words_repeat() -> None:
    wrong, crash = "print(object())", "raise ValueError(object())"
    assert "at 0x..." in told(judge(wrong))
    assert judge(wrong) == judge(wrong)
    assert "at 0x..." in told(judge(crash))
    assert judge(crash) == judge(crash)


def test_only_the_tests_that_failed_are_reported() -> None:
    verdict = judge("print(3)")
    assert told(verdict) == "Wrong Answer: 1 of 2 tests passed.\n\nTest 2: Wrong Answer"


def test_a_passed_test_whose_output_looks_like_an_error_stays_passed() -> None:
    exam = Exam((Case("", "Error: no way\n", public=True), Case("x", "y", public=True)))
    verdict = judge("print('Error: no way')", exam)
    assert [finding.title for finding in verdict.findings] == [
        "Wrong Answer: 1 of 2 tests passed.",
        "Test 2: Wrong Answer",
    ]


def test_a_program_that_prints_nothing_is_told_so() -> None:
    assert "Input: 1 2\nOutput (none)\nExpected: 3" in told(judge("pass"))


def test_a_crash_tells_exception_message_own_lines_and_input() -> None:
    verdict = judge("def half(n):\n    return 1 // (n - 3)\n\nfor word in input().split():\n    half(int(word) + 1)")
    assert verdict.outcome is Outcome.CRASHED
    assert told(verdict) == (
        "Runtime Error: 0 of 2 tests passed.\n\n"
        "Test 1: Runtime Error (ZeroDivisionError)\n"
        "Traceback:\n    line 5: half(int(word) + 1)\n    line 2: return 1 // (n - 3)\n"
        "Message: ZeroDivisionError: integer division or modulo by zero\n"
        "Last Executed Input: 1 2"
    )


def test_a_crash_is_told_before_a_time_out_and_that_before_a_wrong_answer() -> None:
    exam = Exam(tuple(Case("", "1", public=True) for _ in range(3)))
    wrong, late, broken = Run(0, stdout="2"), Run(137, timed_out=True), Run(1)
    for runs, outcome, title in (
        ((wrong, broken, late), Outcome.CRASHED, "Test 2: Runtime Error"),
        ((wrong, wrong, late), Outcome.TIMED_OUT, "Test 3: Time Limit Exceeded"),
        ((wrong, Run(0, stdout="1"), wrong), Outcome.WRONG, "Test 1: Wrong Answer"),
        ((wrong, Run(1, out_of_memory=True), wrong), Outcome.OUT_OF_MEMORY, "Test 2: Memory Limit Exceeded"),
        ((wrong, wrong, Run(1, too_much_output=True)), Outcome.TOO_MUCH_OUTPUT, "Test 3: Output Limit Exceeded"),
    ):
        verdict = judged(exam, *runs)
        assert verdict.outcome is outcome
        assert verdict.findings[1].title == title
        assert len(verdict.findings) == (3 if outcome is Outcome.WRONG else 2)


def test_of_many_wrong_answers_the_two_shortest_are_told() -> None:
    exam = Exam(tuple(Case("x" * size, "1", public=True) for size in (5, 1, 9, 1)))
    runs = [Run(0, stdout="y" * size) for size in (1, 7, 1, 3)]
    titles = [finding.title for finding in judged(exam, *runs).findings]
    assert titles == ["Wrong Answer: 0 of 4 tests passed.", "Test 4: Wrong Answer", "Test 1: Wrong Answer"]


def test_the_reward_may_be_the_fraction_of_tests_passed() -> None:
    exam = Exam(tuple(Case("", "1") for _ in range(4)))
    runs = [Run(0, stdout="1")] * 3 + [Run(1)]
    assert judged(exam, *runs, fraction=True).reward == 0.75
    assert judged(exam, *runs).reward == 0.0


def test_what_was_not_run_is_counted_and_every_test_is_run_for_a_fraction() -> None:
    exam = Exam(tuple(Case(f"{number}\n", "0\n", public=True) for number in range(4)))
    code = "n = int(input())\nwhile n == 1: pass\nprint(0)"
    verdict = judge(code, exam, seconds=0.5)
    assert (verdict.outcome, verdict.reward) == (Outcome.TIMED_OUT, 0.0)
    assert told(verdict) == (
        "Time Limit Exceeded (0.5 s): 1 of 4 tests passed, 2 not run.\n\n"
        "Test 2: Time Limit Exceeded\nLast Executed Input: 1"
    )
    verdict = judge(code, exam, seconds=0.5, fraction=True)
    assert (verdict.outcome, verdict.reward) == (Outcome.TIMED_OUT, 0.75)
    assert verdict.findings[0].title == "Time Limit Exceeded (0.5 s): 3 of 4 tests passed."


def test_the_cases_together_have_a_limit_and_those_left_then_count_as_failed() -> None:
    exam = Exam(tuple(Case("", "0", public=True) for _ in range(3)))
    code = "import time\ntime.sleep(0.1)\nprint(0)"
    verdict = judge(code, exam, total_seconds=0.01, fraction=True, isolated=True)
    assert (verdict.outcome, verdict.reward) == (Outcome.TIMED_OUT, pytest.approx(1 / 3))
    assert told(verdict) == "Time Limit Exceeded (0.01 s for all tests together): 1 of 3 tests passed, 2 not run."
    assert judge(code, exam, total_seconds=0.01, isolated=True).reward == 0.0
    assert judge(code, exam, total_seconds=600.0).passed


def test_what_failed_is_told_before_what_was_not_run() -> None:
    exam = Exam(tuple(Case("", "1", public=True) for _ in range(2)))
    verdict = judged(exam, Run(0, stdout="2"), Run(-1, skipped=True))
    assert verdict.outcome is Outcome.WRONG
    assert verdict.findings[0].title == "Wrong Answer: 0 of 2 tests passed, 1 not run."


def test_memory_and_output_have_limits() -> None:
    verdict = judge("table = [0] * 10**9", memory_mb=64)
    assert verdict.outcome is Outcome.OUT_OF_MEMORY
    assert "Memory Limit Exceeded (64 MiB): 0 of 2" in told(verdict)
    assert "Traceback: line 1: table = [0] * 10**9" in told(verdict)
    assert judge("while True: print('x' * 10_000)").outcome is Outcome.TOO_MUCH_OUTPUT


def test_a_program_may_write_twice_as_much_as_is_expected_however_much_that_is() -> None:
    exam = Exam((Case("", "x" * 3_000_000),))
    assert judge("print('x' * 3_000_000)", exam).passed
    assert judge("print('x' * 5_900_000)", exam).outcome is Outcome.WRONG


def test_an_exit_code_is_a_crash_even_after_the_right_output() -> None:
    verdict = judge("import sys\nprint(sum(map(int, input().split())))\nsys.exit(3)")
    assert verdict.outcome is Outcome.CRASHED
    assert "Message: exit code 3" in told(verdict)


def test_a_signal_is_named() -> None:
    verdict = judge("import ctypes\nctypes.string_at(0)")
    assert verdict.findings[1].title == "Test 1: Runtime Error (SIGSEGV: the interpreter crashed)"


def test_only_the_last_exception_of_a_chain_counts() -> None:
    verdict = judge("try:\n    {}['a']\nexcept KeyError as error:\n    raise ValueError('worse') from error")
    assert verdict.findings[1].title == "Test 1: Runtime Error (ValueError)"
    assert verdict.findings[1].details["Traceback"] == "line 4: raise ValueError('worse') from error"


def test_an_endless_recursion_tells_its_line_once() -> None:
    verdict = judge("def down(n):\n    return down(n + 1)\ndown(0)")
    assert verdict.findings[1].title == "Test 1: Runtime Error (RecursionError)"
    assert verdict.findings[1].details["Traceback"] == "line 3: down(0)\nline 2: return down(n + 1)"


# What is no program.


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 1\ndef f(:\n    pass", "SyntaxError: invalid syntax\nLine 2:\n    def f(:\n          ^"),
        ("if True:\nprint(1)", "IndentationError: expected an indented block after 'if' statement on line 1\nLine 2:"),
        ("Here is my answer.", "SyntaxError: invalid syntax\nLine 1:\n    Here is my answer."),
        ("x = '''", "SyntaxError: unterminated triple-quoted string literal"),
        ("print(1)\x00", "Error: source code"),
        ("return 1", "SyntaxError: 'return' outside function"),
        ("(" * 500, "SyntaxError: too many nested parentheses"),
    ],
)
@pytest.mark.parametrize("exam", [SUM, TOTAL])
def test_a_program_that_does_not_compile_is_invalid_and_told_where(code: str, words: str, exam: Exam) -> None:
    verdict = judge(code, exam)
    assert (verdict.outcome, verdict.reward) == (Outcome.INVALID, 0.0)
    assert words in told(verdict)


@pytest.mark.parametrize(("code", "words"), [("x = '\ud800'", "surrogate"), ("#" * 2_000_000, "longer than 1048576")])
def test_what_no_interpreter_should_be_given_is_invalid(code: str, words: str) -> None:
    sandbox = FakeSandbox()
    verdict = judge_code(code, SUM, sandbox, seconds=1.0, memory_mb=64)
    assert verdict.outcome is Outcome.INVALID
    assert words in told(verdict)
    assert sandbox.given is None


def test_a_syntax_error_at_run_time_is_a_crash() -> None:
    verdict = judge("input()\nexec('(')")
    assert verdict.outcome is Outcome.CRASHED
    assert verdict.findings[1].title == "Test 1: Runtime Error (SyntaxError)"


# Functions.


HONEST_FUNCTIONS = {
    "a method of Solution": """
class Solution:
    def total(self, numbers: List[int], more: int) -> int:
        return sum(numbers) + more
""",
    "a function": """
def total(numbers, more):
    return sum(numbers, more)
""",
    "the method that the prompt shows, as a function": """
def total(self, numbers, more):
    return self.add(numbers) + more

def add(self, numbers):
    return sum(numbers)
""",
    "a static method": """
class Solution:
    @staticmethod
    def total(numbers, more):
        return reduce(operator.add, numbers, more)
""",
    "a lambda, and a float": """
class Solution:
    total = lambda self, numbers, more: float(sum([*numbers, more]))
""",
    "a subclass of int": """
class Number(int):
    pass

def total(numbers, more):
    return Number(sum(numbers) + more)
""",
    "a number of numpy": """
import numpy

def total(numbers, more):
    return numpy.array(numbers).sum() + more
""",
    "a cache": """
from functools import cache

@cache
def add(*numbers):
    return sum(numbers)

def total(numbers, more):
    return add(*numbers, more)
""",
    "a cached function with self": """
@lru_cache(None)
def add(self, n, more):
    return n + more

def total(self, numbers, more):
    return self.add(sum(numbers), more)
""",
    "prints": """
def total(numbers, more):
    print("some", "words")
    return sum(numbers) + more
""",
    "an exception that is caught": """
def total(numbers, more):
    try:
        return numbers["x"]
    except TypeError:
        return sum(numbers) + more
""",
    "a data class": """
from dataclasses import dataclass

@dataclass
class Sum:
    n: int

def total(numbers, more):
    return Sum(sum(numbers) + more).n
""",
    "mutated arguments, and a part for trying out": """
def total(numbers, more):
    numbers.append(more)
    return sum(numbers)

if __name__ == "__main__":
    total = None
""",
}


@pytest.mark.parametrize("code", HONEST_FUNCTIONS.values(), ids=HONEST_FUNCTIONS)
def test_an_honest_function_passes(code: str) -> None:
    assert judge(code, TOTAL) == Verdict(Outcome.PASSED, 1.0)


@pytest.mark.parametrize(
    ("result", "expected", "passes"),
    [
        ("(1, (2, 3))", "[1, [2, 3]]", True),
        ("[True, None, 'x', 1.5]", '[true, null, "x", 1.5]', True),
        ("{'a': [1]}", '{"a": [1]}', True),
        ("'\\ud800'", '"\\ud800"', True),
        ("None", "null", True),
        ("float('nan')", "NaN", False),
        ("float('inf')", "1", False),
        ("1", "true", False),
        ("'1'", "1", False),
        ("10**5000", "1", False),
    ],
)
def test_results_are_compared_as_json(result: str, expected: str, passes: bool) -> None:
    assert judge(f"def f(): return {result}", Exam((Case("", expected),), "f")).passed is passes


@pytest.mark.parametrize("result", ["{1, 2}", "(n for n in [1])", "object()", "b'1'", "1j", "range(3)"])
def test_what_json_cannot_hold_is_a_crash_that_names_the_type(result: str) -> None:
    verdict = judge(f"def f(): return {result}", Exam((Case("", "[1, 2]", public=True),), "f"))
    assert verdict.outcome is Outcome.CRASHED
    assert "the result must be made of numbers, strings, booleans and lists, not " in told(verdict)


def test_a_function_that_is_missing_is_named() -> None:
    assert "main.py defines neither Solution.total nor total" in told(judge("def sum_up(a, b): return a", TOTAL))


def test_arguments_are_shown_by_name_and_as_they_were_before_the_call() -> None:
    verdict = judge("def total(numbers, more):\n    numbers.clear()\n    print(numbers)\n    return 0", TOTAL)
    assert verdict.findings[1] == Finding(
        "Test 1: Wrong Answer",
        {"Input": "numbers = [1, 2]\nmore = 3", "Output": "0", "Expected": "6", "Debug Output": "[]\n"},
    )


def test_lists_with_spaces_are_one_argument() -> None:
    exam = Exam((Case('[1, 2, 3]\n"two words"\n{"a": 1}', '[[1, 2, 3], "two words"]'),), "f")
    assert judge("def f(a, b, c): return a, b", exam).passed


def test_the_usual_imports_are_there_and_lines_keep_their_numbers() -> None:
    names = "List Optional Counter defaultdict deque heappush bisect_left inf gcd lru_cache permutations math re copy"
    assert judge(f"def f(): return len([{', '.join(names.split())}])", Exam((Case("", "14"),), "f")).passed
    assert judge("def f(): return datetime.date(1, 1, 1).year + pow(2, 3, 5)", Exam((Case("", "4"),), "f")).passed
    verdict = judge("\n\ndef total(numbers, more): return numbers[9]", TOTAL)
    assert verdict.findings[1].details["Traceback"] == "line 3: def total(numbers, more): return numbers[9]"


def test_deep_recursion_is_allowed_in_a_function_as_livecodebench_allows_it() -> None:
    assert judge("def f(n): return f(n - 1) + 1 if n else 0", Exam((Case("20000", "20000"),), "f")).passed


# What is told.


def test_of_a_public_test_everything_is_told_without_revealing_an_answer() -> None:
    verdict = judge("raise ValueError(input())", Exam(SUM.cases[:1]))
    feedback = explain(verdict, reveal=True)
    assert "Message: ValueError: 1 2" in feedback.text
    assert not feedback.reveals_answer
    assert feedback == explain(verdict)


def test_tests_are_not_in_the_repr_of_what_holds_them() -> None:
    assert not any(secret in repr(exam) for secret in SECRETS for exam in (SUM, TOTAL))


def test_expected_outputs_do_not_go_into_the_sandbox() -> None:
    for exam in (SUM, TOTAL):
        sandbox = FakeSandbox((Run(1), Run(1)))
        judge_code("pass", exam, sandbox, seconds=1.0, memory_mb=64)
        assert "31415931" not in repr(sandbox.given)
        assert "31415926" in repr(sandbox.given)


# Faults that are not the program's.


def test_a_broken_wall_is_no_verdict() -> None:
    with pytest.raises(SandboxError, match="a hole"):
        judge_code("pass", SUM, FakeSandbox(error=SandboxError("a hole")), seconds=1.0, memory_mb=64)


def test_a_sandbox_that_loses_a_run_is_no_verdict() -> None:
    with pytest.raises(ValueError, match="shorter"):
        judged(SUM, Run(0, stdout="3"))


def test_no_tests_are_no_success() -> None:
    with pytest.raises(JudgeError, match="no tests"):
        judged(Exam(()))


def test_a_function_is_called_by_the_wall_and_nothing_but_the_program_is_sent() -> None:
    sandbox = FakeSandbox((Run(0, stdout="6"), Run(0, stdout="31415931")))
    assert judge_code("pass", TOTAL, sandbox, seconds=1.0, memory_mb=64).passed
    assert sandbox.given is not None
    assert (sandbox.given.argv, sandbox.given.files) == (("call", "main.py", "total"), {"main.py": "pass"})


# Checkers and tolerances, which a task may have.


def test_a_tolerance_takes_what_is_near_enough() -> None:
    exam = Exam((Case("", "0.333333 7", public=True),), tolerance=1e-4)
    assert judged(exam, Run(0, stdout="0.33334 7")).passed
    assert not judged(exam, Run(0, stdout="0.34 7")).passed
    assert not judged(replace(exam, tolerance=None), Run(0, stdout="0.33334 7")).passed
    function = Exam((Case("", "[0.5, 7]"),), "f", tolerance=1e-4)
    assert judged(function, Run(0, stdout="[0.50001, 7.0]")).passed


def test_a_checker_decides_alone_and_is_given_case_and_output() -> None:
    case = Case("4", "2 2", public=True)
    exam = Exam((case,), checker=lambda given, output: given is case and sum(map(int, output.split())) == 4)
    assert judged(exam, Run(0, stdout="1 3\n")).passed
    verdict = judged(exam, Run(0, stdout="1 4\n"))
    assert told(verdict).endswith("Test 1: Wrong Answer\nInput: 4\nOutput: 1 4\nExpected: 2 2")


def test_what_a_checker_says_is_told_where_the_answer_may_be() -> None:
    cases = (Case("4", "2 2", public=True), Case("4", "2 2"))
    exam = Exam(cases, checker=lambda case, output: f"{output.strip()} is not a sum")
    text = told(judged(exam, Run(0, stdout="1 4\n"), Run(0, stdout="x\n")))
    assert "Difference: 1 4 is not a sum" in text
    assert "x is not a sum" not in text


@pytest.mark.parametrize("checker", [lambda case, output: int(output) == 3, lambda case, output: None])
def test_a_checker_that_fails_is_no_verdict(checker: Any) -> None:
    with pytest.raises(JudgeError, match=r"The checker of a task failed, so nothing was decided: (Value|Type)Error"):
        judged(Exam((Case("", "3"),), checker=checker), Run(0, stdout="three"))


def test_an_expected_value_that_is_not_json_is_no_verdict() -> None:
    with pytest.raises(JudgeError, match="The comparison with an expected output failed"):
        judged(Exam((Case("", "one"),), "f"), Run(0, stdout="1"))


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_is_a_finite_number_from_0_on(tolerance: float) -> None:
    with pytest.raises(ValueError, match="finite number from 0 on"):
        Exam((), tolerance=tolerance)


def test_a_checker_needs_no_tolerance() -> None:
    with pytest.raises(ValueError, match="not both"):
        Exam((), tolerance=0.1, checker=lambda case, output: True)


# Where an answer differs.


def test_a_long_answer_is_told_with_the_place_where_it_differs() -> None:
    exam = Exam((Case("", "1 2\n3 4 5\n6", public=True),))
    assert 'Difference: line 2, word 2: found "0", expected "4"' in told(judged(exam, Run(0, stdout="1 2\n3 0 5\n6")))
    values = Exam((Case("", '[[1, 2], {"a": true}]', public=True),), "f")
    text = told(judged(values, Run(0, stdout='[[1, 2], {"a": 1}]')))
    assert 'Difference: result[1]["a"]: found 1, expected true' in text


def test_where_the_answer_to_a_hidden_test_differs_is_not_told() -> None:
    verdict = judged(Exam((Case("", "1\n2\n3"),)), Run(0, stdout="1\n2\n4"))
    assert told(verdict) == "Wrong Answer: 0 of 1 tests passed.\n\nTest 1: Wrong Answer"
    assert 'line 3, word 1: found "4", expected "3"' in told(verdict, reveal=True)


# The same words always.

FORGERIES = {
    "an address": ("<f at 0x7f12ab34cd56>", "<f at 0x...>"),
    "a bare address": ("0x7f12ab34cd56 0xff", "0x... 0xff"),
    "a process": ("<Process pid=71 parent=12>", "<Process pid=... parent=...>"),
    "the main file": ("see /tmp/main.py", "see main.py"),
    "a library": ("(/usr/lib/python3.11/json/__init__.py)", "(__init__.py)"),
}


@pytest.mark.parametrize(("wrote", "shown"), FORGERIES.values(), ids=FORGERIES)
def test_what_changes_from_run_to_run_is_not_told(wrote: str, shown: str) -> None:
    exam = Exam((Case("", "x", public=True),))
    assert f"Output: {shown}" in told(judged(exam, Run(0, stdout=wrote)))
    assert f"Debug Output: {shown}" in told(judged(exam, Run(0, stdout="y", stderr=wrote)))
    assert f"Message: {shown}" in told(judged(exam, Run(1, stderr=wrote)))


def test_paths_that_are_no_python_files_are_told_as_they_are() -> None:
    exam = Exam((Case("/home//foo/", "/home/foo", public=True),))
    text = told(judged(exam, Run(0, stdout="/home//foo")))
    assert "Input: /home//foo/\nOutput: /home//foo\nExpected: /home/foo" in text


def test_frames_of_the_harness_are_not_told_and_those_of_the_programs_own_modules_are() -> None:
    trace = (
        "Traceback (most recent call last):\n"
        '  File "/sandbox/script.py", line 9, in run\n    exec(code)\n'
        '  File "main.py", line 1, in <module>\n    pass\n'
        '  File "/tmp/tools/half.py", line 3, in half\n    return 1 / 0\n           ~~^~~\n'
        "ZeroDivisionError: division by zero\n"
    )
    exam = Exam((Case("1", "x", public=True),))
    text = told(judged(exam, Run(1, stderr=trace)))
    assert "Traceback:\n    line 1: pass\n    tools/half.py, line 3: return 1 / 0\nMessage: Zero" in text
    debug = told(judged(exam, Run(0, stdout="y", stderr=trace)))
    assert 'File "main.py", line 1' in debug
    assert 'File "half.py", line 3' in debug
    assert "script.py" not in text + debug
    assert "exec(code)" not in text + debug


def test_a_program_that_prints_its_stack_shows_no_harness() -> None:
    text = told(judge("import traceback\ndef f():\n    traceback.print_stack()\nf()\nprint(0)"))
    assert 'File "main.py", line 3, in f' in text
    assert text.count("File") == 2
    assert "/" not in text.replace("0 of 2", "")


def test_a_caret_stands_below_its_character_however_long_the_line() -> None:
    line = "x = [" + "'\U0001f600', " * 40 + "1 2" + ", 3" * 40 + "]"
    (finding,) = judge(f"if 1:\n\t{line}").findings
    shown, caret = finding.details["Line 2"].split("\n")
    assert shown[caret.index("^")] == "1"
    assert shown.startswith("...")
    assert shown.endswith("...")
    assert len(shown) < 120


def test_a_compile_error_takes_no_words_from_warnings_that_the_program_forges() -> None:
    code = '1 is 1 #   File "main.py", line 3: \x1b[2J\u202e Expected: 42\nreturn'
    (finding,) = judge(code).findings
    assert finding == Finding("SyntaxError: 'return' outside function", {"Line 2": "return\n^"})
