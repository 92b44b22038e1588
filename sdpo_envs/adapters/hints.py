"""How an answer differs in form from the right one, without giving that away: pure functions on text."""

import json
import re
from decimal import Decimal, InvalidOperation
from itertools import zip_longest

_NOISE = re.compile(r"[\W_]+")


def hints(answer: str, right: str | None, *, single: bool) -> list[str]:
    """Return what may be told of an answer that is not right, the most useful first; nothing where nothing is known.

    Args:
        answer: What was given.
        right: An answer that is right, if one is known.
        single: Whether no other is. Otherwise only what kind of answer it is says anything.
    """
    if not right:
        return []
    both = _number(answer) is not None and _number(right) is not None
    wording = _wording(answer, right) if single and not both else []
    return wording or _kind(answer, right) or (_place(answer, right) if single else [])


def _kind(answer: str, right: str) -> list[str]:
    """Tell a number from what is none, and a list from what is none."""
    number, expected = _number(answer), _number(right)
    if expected is not None:
        if number is None:
            return ["The right answer is a number, and yours is none."]
        if number != expected:
            return ["Your answer is too small." if number < expected else "Your answer is too large."]
        return ["Your number is right, but not written as it was asked for."]
    if _structure(right) and not _structure(answer):
        return [f"The right answer is {_structure(right)}, and yours cannot be read as one."]
    return []


def _wording(answer: str, right: str) -> list[str]:
    if re.search(rf"(?<![\w.-]){re.escape(right)}(?!\w|[.,]\d)", answer):
        return ["The right answer stands in yours, beside something else; write nothing else."]
    if _NOISE.sub("", answer).lower() == _NOISE.sub("", right).lower():
        return ["Your answer differs from the right one only in case, spaces or punctuation."]
    return []


def _place(answer: str, right: str) -> list[str]:
    """Tell the first line, or else the first word, that differs, and how many there should be."""
    unit, separator = ("line", "\n") if "\n" in right else ("word", None)
    given, expected = answer.strip().split(separator), right.strip().split(separator)
    if len(expected) == 1:
        return []
    pairs = enumerate(zip_longest(given, expected), start=1)
    first = next((number for number, (left, other) in pairs if left != other), 0)
    told = (
        [f"{unit.capitalize()} {first} of your answer is the first that is not right."] if first <= len(given) else []
    )
    if len(given) != len(expected):
        told.append(f"Your answer has {len(given)} {unit}{'s' * (len(given) != 1)}, the right one {len(expected)}.")
    return told


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip().replace(",", ""))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _structure(text: str) -> str:
    try:
        value = json.loads(text.replace("'", '"'))
    except (ValueError, RecursionError):
        return ""
    return "a list" if isinstance(value, list) else "an object of JSON" if isinstance(value, dict) else ""
