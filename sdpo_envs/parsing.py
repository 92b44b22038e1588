"""Pulls a code block, an answer or an action out of what a policy wrote. Pure functions, linear in its length."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from sdpo_envs.core import Finding

_LANGUAGE = re.compile(r"\s*+(?P<word>\w[\w+#.-]*+)?\s*+")


def code_block(text: str) -> str | None:
    """Return the longest block fenced by three backticks, or None without any.

    The longest is what SDPO's released judge takes: models quote snippets before they give the program. A fence opens
    at the end of a line, with or without the language after it, which is dropped, and also after other text, as in
    "Here: ```python". It closes where a line starts or ends with a fence. A block that is never closed ends where the
    next fence with a language starts a line, or else with the text.
    """
    blocks: list[list[str]] = []
    inside = False
    for line in text.split("\n"):
        before, fence, after = line.partition("```")
        language = _LANGUAGE.fullmatch(after.lstrip("`")) if fence else None
        if language and (not inside or (language["word"] and not before.strip())):
            blocks.append([])
            inside = True
        elif fence and inside and not (before.strip() and after.strip()):
            blocks[-1] += [before] if before.strip() else []
            inside = False
        elif inside:
            blocks[-1].append(line)
    return max(map("\n".join, blocks), key=len, default=None)


def tagged(text: str, tag: str) -> str | None:
    """Return what stands, stripped, in the last ``<tag>`` ... ``</tag>`` of `text`, or None without one."""
    _, opened, rest = text.rpartition(f"<{tag}>")
    inside, closed, _ = rest.partition(f"</{tag}>")
    return inside.strip() if opened and closed else None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool: an ``Action`` and its ``Action Input``."""

    name: str
    arguments: Mapping[str, Any]


def calls(text: str) -> Iterator[Call | Finding]:
    r"""Read every ``Action: name`` with the JSON object after its ``Action Input:``, in order.

    ``Action:`` starts a line. ``Action Input:`` starts a later one or ends the same, and its object may be indented
    over many lines, fenced, and followed by anything. Asterisks around both, and quotes or backticks around the name,
    are taken for emphasis.

    Yields:
        For each call the call, or else the finding that says where and why it cannot be read; each of these takes a
        pass over the text, so stop after a few. Nothing at all if no line starts with either word.

    >>> list(calls('Thought: look it up\nAction: find\nAction Input: {"near": {"km": 2}}'))
    [Call(name='find', arguments={'near': {'km': 2}})]
    """
    name: str | None = None
    position = place = 0
    while mark := _MARK.search(text, position):
        position = mark.end()
        if mark["name"] is not None:
            if name is not None:
                yield _slip(text, place, f"{_action(name)} has no Action Input.")
            name, place = mark["name"].strip(_EMPHASIS), mark.start()
            if not mark["input"]:
                continue
        if not name:
            missing = "has no Action above it" if name is None else "belongs to an Action that names no tool"
            yield _slip(text, mark.start(), f"this Action Input {missing}.")
        else:
            call, position = _call(name, text, position)
            yield call
        name = None
    if name is not None:
        yield _slip(text, place, f"{_action(name)} has no Action Input.")


def json_type(value: Any) -> str:
    """Return what JSON calls the type of `value`, with its article: ``"an array"``."""
    return _JSON_TYPES[type(value)]


_MARK = re.compile(
    r"^[ \t*]*Action[ \t*]*:(?P<name>.*?)(?P<input>Action Input[ \t*]*:|$)|^[ \t*]*Action Input[ \t*]*:", re.MULTILINE
)
_EMPHASIS = "*`'\" \t\r"
_BEFORE_JSON = re.compile(r"[\s*]*(?:`+(?:json)?\s*)?")
_SHOWN = 60
_JSON_TYPES = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(parse_constant=_constant)


def _call(name: str, text: str, position: int) -> tuple[Call | Finding, int]:
    """Read the JSON object that begins at `position`; return the call, or what is wrong, and where to go on."""
    before = _BEFORE_JSON.match(text, position)
    start = before.end() if before else position
    owner = f"the Action Input of {name[:_SHOWN]!r}"
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        return _slip(text, error.pos, f"{owner} is not valid JSON: {error.msg}."), position
    except RecursionError:
        return _slip(text, start, f"{owner} is nested too deeply."), position
    except ValueError as error:  # NaN and its like, and integers longer than Python reads
        return _slip(text, start, f"{owner} is not valid JSON: {error}."), position
    if not isinstance(value, dict):
        return _slip(text, start, f"{owner} must be a JSON object, not {json_type(value)}."), end
    return Call(name, value), end


def _slip(text: str, position: int, fault: str) -> Finding:
    line, column = text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
    found = text[position : position + _SHOWN].strip().partition("\n")[0]
    return Finding(f"Line {line}, column {column}: {fault}", {"Found there": found or "the end of the text"})


def _action(name: str) -> str:
    return f"the Action {name[:_SHOWN]!r}" if name else "the Action without a name"
