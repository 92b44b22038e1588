"""What an answer may be that is going to be evaluated: some of reasoning-gym's scores hand the policy's text to Python.

They mean a list, such as ``[[0, 1], [1, 0]]``, by ``eval``, or a formula, by sympy's ``parse_expr``, which evaluates
too. Whatever else is Python in it would run in the scoring process, beside the right answer. So such a text is read by
Python's own parser first, and only lists, numbers, words and arithmetic go through.
"""

import ast
import builtins
import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, Literal

FUNCTIONS = {
    *("sqrt", "exp", "log", "ln", "Abs", "sin", "cos", "tan", "sec", "csc", "cot", "asin", "acos", "atan"),
    *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "sign"),
}
"""What a formula may call."""

_CALLS = {"formula": r"\b(parse_expr|sympify|parse_latex)\(", "list": r"\b(eval|exec|compile)\("}
_NODES = (ast.Expression, ast.Name, ast.Load, ast.Constant, ast.UnaryOp, ast.USub, ast.UAdd)
_LIST = (*_NODES, ast.List, ast.Tuple)
_FORMULA = (*_NODES, ast.Call, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
_DEEPEST = 60


@functools.cache
def evaluated_as(score: Callable[..., Any]) -> Literal["formula", "list", ""]:
    """Return what a scoring function evaluates answers as, by its source; ``""`` if it does not."""
    source = inspect.getsource(score)
    if re.search(_CALLS["formula"], source):
        return "formula"
    return "list" if re.search(_CALLS["list"], source) else ""


def may_be_scored(answer: str, score: Callable[..., Any]) -> bool:
    """Whether `score` can do no more with `answer` than to compare it, build lists, or compute a formula.

    A text that is no expression is safe from ``eval``, which refuses it. sympy rewrites a text first, so it is not.
    """
    kind = evaluated_as(score)
    if not kind:
        return True
    if answer.count("(") + answer.count("[") > _DEEPEST:  # deep nesting breaks the parser in ways of its own
        return False
    try:
        tree = ast.parse(answer.strip(), mode="eval")
    except (SyntaxError, ValueError):
        return kind == "list"
    if kind == "list":
        return all(isinstance(node, _LIST) and not _known(node, score) for node in ast.walk(tree))
    return all(isinstance(node, _FORMULA) and _computes(node) for node in ast.walk(tree))


def _known(node: ast.AST, score: Callable[..., Any]) -> bool:
    """Whether this names something where `score` evaluates it, such as the right answer; other names are just words."""
    seen = {*score.__code__.co_varnames, *score.__code__.co_names, *score.__globals__, *vars(builtins)}
    return isinstance(node, ast.Name) and node.id in seen


def _computes(node: ast.AST) -> bool:
    """Whether this is no text, which sympy would evaluate once more, and no call but of a function of the list."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and not node.keywords
    if isinstance(node, ast.Constant):
        return type(node.value) in (int, float)
    return not (isinstance(node, ast.Name) and "_" in node.id)
