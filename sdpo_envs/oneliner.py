"""A language of one line, ``return x[::-1],uniq_of(x)``: what MicroCode's programs are in. Standard library only.

This file is what runs inside the wall: as a program it reads one submission, and prints what the function did on each
input. Outside it is imported for what MicroCode itself writes, never for what a policy wrote. A line is Python, read by
Python's own parser, of names, constants, subscripts, slices, ``+``, ``''.join`` and calls: so it ends, changes nothing,
and hundreds of submissions may share a process.
"""

import ast
import contextlib
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LONGEST = 200
"""Characters of a line."""

_LONG = 1000


def _bounded(text: str, length: object = 0) -> str:
    """Return `text`, unless it, or the length that it is to have, is more than a few calls in each other may build."""
    if len(text) > _LONG or (isinstance(length, int) and length > _LONG):
        raise ValueError(f"a value of more than {_LONG} characters")
    return text


HELPERS: Mapping[str, Callable[[str], Any]] = {
    "unique": lambda x: "".join(sorted(set(x))),
    "total": lambda x: sum(map(int, x)),
    "evens": lambda x: "".join(digit for digit in x if int(digit) % 2 == 0),
    "odds": lambda x: "".join(digit for digit in x if int(digit) % 2),
    "count": len,
    "mirror": lambda x: _bounded(x + x[::-1]),
    "scale": lambda x: "".join(str(2 * int(digit) % 10) for digit in x),
    "mask": lambda x: "*" * (len(x) - 2) + x[-2:],
}
"""What a world defines under one name or another, by the word that asks for it."""

KEYWORDS: Mapping[str, Callable[[str, int], str]] = {
    "pad": lambda x, n: _bounded(x, n).rjust(n, "0"),
    "clip": lambda x, n: x[:n],
    "shift": lambda x, n: x[n:] + x[:n],
    "drop": lambda x, n: _bounded(x[:n] + x[n + 1 :]),
}
"""What every world defines under this name, with a keyword that is called one thing or another."""

_NODES = (ast.Return, ast.Tuple, ast.Subscript, ast.Slice, ast.Name, ast.Call, ast.keyword, ast.UnaryOp, ast.USub)
_NODES += (ast.Load, ast.BinOp, ast.Add, ast.Constant)  # type: ignore[assignment]
_KEYWORD = "def {name}(x, *, {keyword}): return _{name}(x, {keyword})"
_ERRORS = (SyntaxError, NameError, TypeError, ValueError, IndexError, AttributeError)
_ERRORS += (OverflowError, RecursionError, MemoryError)  # type: ignore[assignment]
"""All that a line can raise; the last two by nesting, as Python's parser sees it."""


def namespace(names: Mapping[str, str]) -> dict[str, Any]:
    """Return what a line can name in a world that calls things so: by word, the helper's name or the keyword."""
    known: dict[str, Any] = {"__builtins__": {}, "min": min, "max": max, "sorted": sorted}
    for word, name in names.items():
        if word in HELPERS:
            known[name] = HELPERS[word]
        else:
            known[f"_{word}"] = KEYWORDS[word]
            exec(_KEYWORD.format(name=word, keyword=name), known)  # ours: so that errors are those of a plain function
    return known


def read(line: str) -> str:
    """Return the source of the function whose body is `line`.

    Raises:
        SyntaxError: it is not a line of this language.
    """
    if len(line) > LONGEST or len(line.splitlines()) > 1:
        raise SyntaxError(f"one line of at most {LONGEST} characters is allowed")
    source = f"def f(x): {line}"
    tree = ast.parse(source)
    body = tree.body[0].body if len(tree.body) == 1 and isinstance(tree.body[0], ast.FunctionDef) else []
    if len(body) != 1 or not isinstance(body[0], ast.Return):
        raise SyntaxError("one return statement is allowed")
    for node in ast.walk(body[0]):
        joins = isinstance(node, ast.Attribute) and node.attr == "join" and isinstance(node.value, ast.Constant)
        small = not isinstance(node, ast.Constant) or node.value == "" or (type(node.value) is int and node.value < 100)
        private = isinstance(node, ast.Name) and node.id.startswith("_")
        unpacked = isinstance(node, ast.keyword) and node.arg is None  # its errors hold addresses
        if not (joins or isinstance(node, _NODES)) or private or unpacked or not small:
            raise SyntaxError("only names, slices, calls, + and small numbers are allowed")
    return source


def outcome(line: str, names: Mapping[str, str], inputs: Sequence[str]) -> list[list[str] | str] | str:
    """Return what `line` gives on each input: its value in Python's words, or each of them where it gives several.

    An error, of the line or on the first input on which it fails, is returned in place of all: its type and message.
    """
    own: dict[str, Any] = {}  # apart from what a line can name, so that f cannot call itself
    try:
        exec(read(line), namespace(names), own)
        values = [own["f"](each) for each in inputs]
        return [list(map(_shown, value)) if isinstance(value, tuple) else _shown(value) for value in values]
    except _ERRORS as error:
        return f"SyntaxError: {error.msg}" if isinstance(error, SyntaxError) else _said(error)


def _said(error: Exception) -> str:
    """Return the last line that Python prints of an error: for a name, also the one that may have been meant."""
    with contextlib.redirect_stderr(io.StringIO()) as printed:
        sys.__excepthook__(type(error), error, error.__traceback__)
    return printed.getvalue().rstrip().rpartition("\n")[2]


def _shown(value: object) -> str:
    text = repr(value)
    return text[:_LONG] if " at 0x" not in text else f"<{type(value).__name__}>"  # an address is another one each time


if __name__ == "__main__":
    sys.stdout.write(json.dumps(outcome(**json.load(sys.stdin))))
