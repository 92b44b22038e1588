"""Whether what a program gave is what was expected, and where the two part: pure functions on text.

What was found is hostile. Nothing here takes more than a pass over it, whatever numbers or nesting it holds, and two
texts that are the same are told so at once.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from functools import partial
from itertools import zip_longest
from operator import eq
from typing import Any

_WORD_SHOWN = 40
_BEFORE_THE_DIFFERENCE = 10


def same_output(found: str, expected: str, tolerance: float | None = None) -> bool:
    """Whether two outputs are equal as LiveCodeBench sees it.

    Blank edges of the text and of its lines do not count. Lines that differ are equal still if they are equal lists of
    decimal numbers, exactly: ``1.50`` is ``1.5``, and no difference is too small.

    Args:
        found: What the program wrote.
        expected: What it should have written.
        tolerance: With one, lines are equal if their words are: the same, or numbers of which one has a fraction or an
            exponent, and which differ by no more than this, absolutely or relative to the larger.
    """
    left, right = found.strip(), expected.strip()
    if left == right:
        return True
    if left.count("\n") != right.count("\n"):
        return False
    return all(map(partial(_same_line, tolerance=tolerance), left.split("\n"), right.split("\n")))


def same_value(found: str, expected: str, tolerance: float | None = None) -> bool:
    """Whether two JSON texts hold equal values: ``1`` is ``1.0``, but ``true`` is not ``1``.

    Args:
        found: What the function returned. Unless it is JSON, without a key twice in one object, it is only different.
        expected: What it should have returned.
        tolerance: With one, numbers of which one is a float may differ by this, absolutely or relative to the larger.

    Raises:
        ValueError: `expected` is not JSON.
    """
    if found == expected and "NaN" not in found:
        return True
    wanted = json.loads(expected)
    try:
        value = _value(found)
        truth = any(word in text for text in (found, expected) for word in ("true", "false"))
        return (value == wanted and not truth) or _parting(value, wanted, tolerance) is None
    except (ValueError, RecursionError):
        return False


def output_difference(found: str, expected: str, tolerance: float | None = None) -> str:
    """Return where two outputs part, in words; ``""`` if they are equal, or one word each.

    Lines are counted from the first that is not blank.
    """
    lines, wanted = found.strip().split("\n"), expected.strip().split("\n")
    if len(lines) == len(wanted) == 1 and max(len(lines[0].split()), len(wanted[0].split())) <= 1:
        return ""
    for number, (left, right) in enumerate(zip_longest(lines, wanted), start=1):
        if left is None or right is None:
            return f"line {number}: found {_shown(left, right)}, expected {_shown(right, left)}"
        if not _same_line(left, right, tolerance):
            return f"line {number}, {_word_difference(left.split(), right.split(), tolerance)}"
    return ""


def value_difference(found: str, expected: str, tolerance: float | None = None) -> str:
    """Return where two JSON values part, in words; ``""`` if they are equal, not JSON, or no list and no object."""
    try:
        parting = _parting(_value(found), json.loads(expected), tolerance)
    except (ValueError, RecursionError):
        return ""
    if parting is None or (not parting[0] and not isinstance(parting[2], list | dict)):
        return ""
    path, left, right = parting
    return f"result{path}: found {_kind(left)}, expected {_kind(right)}"


def _same_line(found: str, expected: str, tolerance: float | None) -> bool:
    if found.strip() == expected.strip():
        return True
    left, right = found.split(), expected.split()
    return len(left) == len(right) and all(map(_sameness(tolerance), left, right))


def _sameness(tolerance: float | None) -> Callable[[str, str], bool]:
    return _same_decimal if tolerance is None else partial(_near, tolerance=tolerance)


def _same_decimal(found: str, expected: str) -> bool:
    try:
        return Decimal(found) == Decimal(expected)
    except InvalidOperation:
        return False


def _near(found: str, expected: str, tolerance: float) -> bool:
    if found == expected:
        return True
    if _whole(found) and _whole(expected):
        return _same_decimal(found, expected)
    try:
        left, right = float(found), float(expected)
    except ValueError:
        return False
    if math.isinf(left) or math.isinf(right):  # perhaps only as a float
        return _same_decimal(found, expected)
    return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)


def _whole(word: str) -> bool:
    return word.removeprefix("-").isdecimal()


def _word_difference(found: Sequence[str], expected: Sequence[str], tolerance: float | None) -> str:
    pairs = list(zip_longest(found, expected))
    for same in (_sameness(tolerance), eq):  # among words that are no numbers, the first that is another word
        for number, (left, right) in enumerate(pairs, start=1):
            if left != right and (left is None or right is None or not same(left, right)):
                return f"word {number}: found {_shown(left, right)}, expected {_shown(right, left)}"
    return "only the spaces between the words differ"


def _shown(text: str | None, other: str | None) -> str:
    """Quote `text`; a long one from where it starts to differ from `other`."""
    if text is None:
        return "nothing"
    text, other = text.strip(), (other or "").strip()
    if len(text) <= _WORD_SHOWN:
        return f'"{text}"'
    apart = next((place for place, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), len(other))
    start = max(0, min(apart, len(text)) - _BEFORE_THE_DIFFERENCE)
    end = start + _WORD_SHOWN
    return f'{"..." * (start > 0)}"{text[start:end]}"{"..." * (end < len(text))}'


def _value(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice in one object")
        found[key] = value
    return found


def _parting(found: Any, expected: Any, tolerance: float | None) -> tuple[str, Any, Any] | None:
    """Return the first place where two values part, as a path, and what stands there; None if they are equal."""
    pending = [("", found, expected)]
    while pending:
        path, left, right = pending.pop()
        if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
            pending += [(f"{path}[{place}]", left[place], right[place]) for place in reversed(range(len(left)))]
        elif isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
            pending += [(f"{path}[{_shown(key, None)}]", left[key], right[key]) for key in reversed(right)]
        elif not _same_leaf(left, right, tolerance):
            return path, left, right
    return None


def _same_leaf(found: Any, expected: Any, tolerance: float | None) -> bool:
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    numbers = isinstance(found, int | float) and isinstance(expected, int | float)
    if tolerance is None or not numbers or (isinstance(found, int) and isinstance(expected, int)):
        return bool(found == expected)
    try:
        return math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:  # an integer that no float holds
        return False


def _kind(value: Any) -> str:
    """Say what a value is: all of it if that is short."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object with {len(value)} keys"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WORD_SHOWN else f"{text[:_WORD_SHOWN]}..."
