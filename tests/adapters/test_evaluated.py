"""Which answers reasoning-gym may evaluate, and that these are all that it evaluates."""

import re
from pathlib import Path

import pytest
import reasoning_gym
from hypothesis import given
from hypothesis import strategies as st
from reasoning_gym.factory import DATASETS

from sdpo_envs.adapters.evaluated import evaluated_as, may_be_scored

FORMULAS = {
    *("simple_integration", "intermediate_integration", "polynomial_multiplication", "puzzle24", "countdown"),
}
LISTS = {"binary_matrix", "n_queens", "spiral_matrix", "string_insertion"}


def test_the_families_that_evaluate_answers_are_those_that_were_looked_at() -> None:
    found = {family: evaluated_as(DATASETS[family][0].score_answer) for family in DATASETS}
    assert {family for family, kind in found.items() if kind == "formula"} == FORMULAS
    assert {family for family, kind in found.items() if kind == "list"} == LISTS - {"number_sorting"} | {
        "number_sorting"
    }


def test_nothing_else_in_the_library_evaluates_what_it_is_given() -> None:
    """An evaluation somewhere else, in a function that a score calls, would not be seen by looking at the score."""
    root = Path(reasoning_gym.__file__).parent
    calls = re.compile(r"(?<!def )\b(eval|exec|parse_expr|sympify|parse_latex)\(")
    found = {str(path.relative_to(root)): len(calls.findall(path.read_text())) for path in root.rglob("*.py")}
    assert {name: count for name, count in found.items() if count} == {
        "algebra/intermediate_integration.py": 2,
        "algebra/polynomial_multiplication.py": 2,
        "algebra/simple_integration.py": 2,
        "algorithmic/binary_matrix.py": 1,
        "algorithmic/number_sorting.py": 1,  # of the right answer
        "algorithmic/spiral_matrix.py": 1,
        "algorithmic/string_insertion.py": 1,
        "arithmetic/basic_arithmetic.py": 1,  # of the question
        "arithmetic/bitwise_arithmetic.py": 2,  # of the question
        "arithmetic/gsm_symbolic/generators_00_49.py": 1,  # of the question
        "arithmetic/gsm_symbolic/generators_50_99.py": 1,  # of the question
        "code/codeio.py": 1,  # of the question
        "games/countdown.py": 1,
        "games/n_queens.py": 1,
        "games/puzzle24.py": 1,
        "logic/propositional_logic.py": 5,  # its own, which reads letters
    }


@pytest.mark.parametrize(
    ("formula", "may"),
    [
        ("6*(98 - 54) - 34 - 66", True),
        ("-exp(x)*sin(x)/2 + 3*x**2.5 + C", True),
        ("log(x)", True),
        ("5!", False),
        ("x.diff", False),
        ("x[0]", False),
        ("f(x)", False),
        ("sqrt(x=1)", False),
        ("sqrt('x')", False),
        ("'x'", False),
        ("1j", False),
        ("True", False),
        ("a_b", False),
        ("x if y else z", False),
        ("lambda x: x", False),
        ("x = 1", False),
        ("(" * 61 + "x" + ")" * 61, False),
        ("", False),
    ],
)
def test_a_formula_is_numbers_words_arithmetic_and_known_functions(formula: str, may: bool) -> None:
    assert may_be_scored(formula, DATASETS["simple_integration"][0].score_answer) is may


@pytest.mark.parametrize("name", ["oracle_answer", "[oracle_answer]", "entry", "self", "answer", "print"])
def test_an_answer_cannot_name_the_right_one(name: str) -> None:
    score = DATASETS["string_insertion"][0].score_answer
    assert not may_be_scored(name, score)
    assert may_be_scored("DACEDDCDCEBE", score)
    assert may_be_scored("['D', 'A']", score)
    assert may_be_scored("9 1 6 9", score)


@given(st.text(max_size=60))
def test_whatever_is_written_is_read_without_an_exception(answer: str) -> None:
    for family in ("spiral_matrix", "countdown", "chain_sum"):
        assert may_be_scored(answer, DATASETS[family][0].score_answer) in (True, False)
