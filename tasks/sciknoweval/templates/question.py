"""A question before its options are given letters."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?")
_APART = 0.03


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        text: All but the options.
        right: The right option.
        wrong: The other options: three, or one.
        worked: How the right one is found, in sentences.
    """

    text: str
    right: str
    wrong: tuple[str, ...]
    worked: str


Template = Callable[[Random], Question]
"""Draws the numbers of a question."""


def calculated(text: str, unit: str, right: float, mistakes: Sequence[float], worked: str) -> Question:
    """Make a question whose answer is a number; each of `mistakes` is what a typical error gives."""
    options = [f"{figures(value)} {unit}".rstrip() for value in (right, *mistakes)]
    return Question(text, options[0], tuple(options[1:]), worked)


def figures(value: float) -> str:
    """Write `value` with three significant figures.

    >>> [figures(value) for value in (0.99961, 12345, 6.022e23)]
    ['1.00', '12300', '6.02e+23']
    """
    rounded = float(f"{value:.2e}")
    exponent = math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(0, 2 - exponent)}f}" if -3 < exponent < 5 else f"{rounded:.2e}"


def is_clear(question: Question) -> bool:
    """Whether no two options are alike, or differ only in numbers closer than 3 %."""
    return not any(_alike(*pair) for pair in combinations((question.right, *question.wrong), 2))


def _alike(one: str, other: str) -> bool:
    if _NUMBER.sub("", one) != _NUMBER.sub("", other):
        return False
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=_APART) for a, b in pairs)
