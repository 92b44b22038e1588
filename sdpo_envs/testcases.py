"""Reads the tests of a problem as LiveCodeBench's data set has them: columns of JSON, or of JSON packed small.

Packed columns are pickles, which are programs. They are read here without being run.
"""

import base64
import json
import pickletools
import zlib
from typing import Any

from sdpo_envs.codejudge import Case
from sdpo_envs.errors import RecordError
from sdpo_envs.tasks import Record

_UNPACKED_LIMIT = 2**30
_PICKLED_TEXT = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_PICKLED_FRAME = {"PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "STOP"}


def read_cases(record: Record, column: str, function: str | None, public: bool = False) -> list[Case]:
    """Read the tests in `column`, which call `function`, or else run a whole program.

    Raises:
        RecordError: they do not have the form of the data set, or are of the other kind.
    """
    tests = read_tests(record, column)
    kind = "stdin" if function is None else "functional"
    for test in tests:
        if test["testtype"] != kind:
            message = f"the column {column!r} has a test of type {test['testtype']!r}, but 'metadata' says {kind!r}."
            raise RecordError(f"{record.where}: {message}")
        arguments = [line for line in test["input"].split("\n") if line.strip()]
        for text in (*arguments, test["output"]) if function else ():
            parse(record, column, text)
    return [Case(test["input"], test["output"], public=public) for test in tests]


def read_tests(record: Record, column: str) -> list[dict[str, str]]:
    """Read the tests in `column` as they are, each with ``input``, ``output`` and ``testtype``.

    Raises:
        RecordError: they do not have the form of the data set.
    """
    text = record.get(column)
    if not text.lstrip().startswith("["):
        try:
            text = unpack(text)
        except ValueError as error:
            expected = "JSON, or base64 of zlib of a pickled str"
            raise RecordError(f"{record.where}: the column {column!r} must be {expected}, but {error}.") from error
    tests = parse(record, column, text)
    keys = ("input", "output", "testtype")
    whole = isinstance(tests, list) and all(isinstance(test, dict) for test in tests)
    if not whole or not tests or not all(isinstance(test.get(key), str) for test in tests for key in keys):
        raise RecordError(f"{record.where}: the column {column!r} must list tests, each with the strings {keys}.")
    return list(tests)


def unpack(packed: str) -> str:
    """Return the text of a packed column: base64 of zlib of a pickle of one str.

    Nothing is unpickled. The text is taken from the one instruction that carries it, and a pickle with an instruction
    that a lone str does not need is refused, as is one of more than a gibibyte.

    Raises:
        ValueError: it is not such a text.
    """
    unzip = zlib.decompressobj()
    try:
        pickled = unzip.decompress(base64.b64decode(packed, validate=True), _UNPACKED_LIMIT)
    except zlib.error as error:
        raise ValueError(f"it is not zlib: {error}") from error
    if not unzip.eof:
        raise ValueError(f"it is cut short, or unpacks to more than {_UNPACKED_LIMIT} bytes")
    instructions = [(opcode.name, argument) for opcode, argument, _ in pickletools.genops(pickled)]
    texts = [argument for name, argument in instructions if name in _PICKLED_TEXT]
    foreign = sorted({name for name, _ in instructions} - _PICKLED_TEXT - _PICKLED_FRAME)
    if foreign or len(texts) != 1:
        raise ValueError(f"its pickle holds {len(texts)} str and the instructions {foreign}, not just one str")
    return str(texts[0])


def parse(record: Record, column: str, text: str) -> Any:
    """Read the JSON `text` of `column`.

    Raises:
        RecordError: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"{record.where}: the column {column!r} must hold JSON, not {text[:80]!r}: {error}"
        ) from error
