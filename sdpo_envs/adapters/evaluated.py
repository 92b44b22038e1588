"""What an answer may be that is going to be evaluated: some of reasoning-gym's scores hand the policy's text to Python.

They mean a list, such as ``[[0, 1], [1, 0]]``, by ``eval``, or a formula, by sympy's ``parse_expr``, which evaluates
too. Whatever else is Python in it would run in the scoring process, beside the right answer.
"""

import ast
import re
from collections.abc import Callable
from typing import Any

WORDS = {
    *("sqrt", "exp", "log", "ln", "Abs", "sin", "cos", "tan", "sec", "csc", "cot", "asin", "acos", "atan"),
    *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "sign", "pi"),
}
"""What a formula may hold of more than one letter."""


def disarm(score: Callable[..., Any]) -> None:
    """Let a scoring function that calls ``eval`` read lists, numbers and texts, and nothing else."""
    if "eval" in score.__code__.co_names:
        score.__globals__["eval"] = ast.literal_eval


def may_be_scored(answer: str, score: Callable[..., Any]) -> bool:
    """Whether a disarmed `score` can do no more with `answer` than to compare it, read it, or compute a formula."""
    return "parse_expr" not in score.__code__.co_names or _is_formula(answer)


def _is_formula(text: str) -> bool:
    """Whether this is made of numbers, letters, arithmetic and known words; no name that Python knows is left."""
    signs = re.fullmatch(r"[A-Za-z0-9\s.,+*/()-]*", text, re.ASCII)
    return bool(signs) and set(re.findall("[A-Za-z]{2,}", text)) <= WORDS
