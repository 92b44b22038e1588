"""Which answers reasoning-gym may evaluate, and that these are all that it evaluates."""

import re
from pathlib import Path

import pytest
import reasoning_gym
from reasoning_gym.factory import DATASETS

from sdpo_envs.adapters.evaluated import disarm, may_be_scored

FORMULAS = {"simple_integration", "intermediate_integration", "polynomial_multiplication", "puzzle24", "countdown"}
LISTS = {"binary_matrix", "n_queens", "spiral_matrix", "string_insertion"}
EVALUATE = {"eval", "exec", "compile", "parse_expr", "sympify", "parse_latex"}


def test_the_families_that_evaluate_answers_are_those_that_were_looked_at() -> None:
    called = {family: EVALUATE & set(DATASETS[family][0].score_answer.__code__.co_names) for family in DATASETS}
    assert {family for family, names in called.items() if names == {"parse_expr"}} == FORMULAS
    assert {family for family, names in called.items() if names == {"eval"}} == LISTS | {"number_sorting"}
    assert {family for family, names in called.items() if names} == FORMULAS | LISTS | {"number_sorting"}


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
        ("2*pi*log(x, 1e5)\n", True),
        ("", True),
        ("5!", False),
        ("Integral(x**2, x) + C", False),
        ("open(5)", False),
        ("(open)(5)", False),
        ("\uff4f\uff50\uff45\uff4e(5)", False),
        ("x.diff", False),
        ("x[0]", False),
        ("sqrt(x=1)", False),
        ("sqrt('x')", False),
        ("'x'", False),
        ("True", False),
        ("a_b", False),
        ("x if y else z", False),
        ("lambda x: x", False),
        ("x = 1", False),
    ],
)
def test_a_formula_is_numbers_letters_arithmetic_and_known_words(formula: str, may: bool) -> None:
    assert may_be_scored(formula, DATASETS["simple_integration"][0].score_answer) is may


@pytest.mark.parametrize("family", sorted(LISTS))
def test_an_answer_cannot_name_the_right_one(family: str) -> None:
    dataset = reasoning_gym.create_dataset(family, size=1, seed=0)
    disarm(type(dataset).score_answer)
    for name in ("oracle_answer", "[oracle_answer]", "valid_solutions[0]", "entry['answer']"):
        assert dataset.score_answer(name, dataset[0]) == 0.0


def test_a_list_is_read_and_earns_its_part() -> None:
    dataset = reasoning_gym.create_dataset("string_insertion", size=1, seed=0)
    disarm(type(dataset).score_answer)
    assert dataset.score_answer(str(list(dataset[0]["answer"])), dataset[0]) == 0.1
