"""A run as one HTML file: data, style and script in one, nothing fetched, and nothing in the data is ever run.

The data stands as JSON in which no ``<`` is left, so that no text can end it. The page's own policy allows one script,
by its hash, and no address at all; the script makes text nodes only.
"""

import base64
import hashlib
import json
import re
from html import escape
from pathlib import Path
from typing import Any

from sdpo_envs.feedback import excerpt
from sdpo_envs.record.row import Row
from sdpo_envs.record.summary import outcome
from sdpo_envs.viewer.reading import Reading, Turn

LIMIT = 20_000
"""Characters of one text that the page holds; ``...`` marks a cut."""
_PASSED, _REVEALS, _PEER, _BROKEN = 1, 2, 4, 8
_DECIMALS = 4


def page(reading: Reading) -> str:
    """Return the whole page."""
    style, script = (_part(name) for name in ("viewer.css", "viewer.js"))
    rules = ["default-src 'none'", "base-uri 'none'", "form-action 'none'"]
    rules += [f"style-src {_hash(style)}", f"script-src {_hash(script)}"]
    parts = {
        "policy": "; ".join(rules),
        "title": escape(excerpt(reading.folder.name)).encode("ascii", "xmlcharrefreplace").decode(),
        "style": style,
        "script": script,
        "data": _data(reading),
    }
    return re.sub(r"\{(\w+)\}", lambda found: parts[found[1]], _part("viewer.html"))


def _part(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class _Texts:
    """Texts by their numbers, each kept once."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.numbers.setdefault(excerpt(text, LIMIT, lines=None), len(self.numbers))

    def known(self, text: str | None) -> int | None:
        """Return None for a text that is missing or empty."""
        return self(text) if text else None


def _data(reading: Reading) -> str:
    texts = _Texts()
    keys = list(dict.fromkeys((row.phase, row.task) for row in reading.rows))
    tasks = {key: number for number, key in enumerate(keys)}
    slotted = zip(reading.rows, reading.slots, strict=True)
    data = {
        "name": excerpt(reading.folder.name),
        "facts": [[excerpt(name), excerpt(value)] for name, value in reading.facts.items()],
        "notes": [excerpt(note, LIMIT) for note in reading.notes],
        "tasks": [_task(reading, key, texts) for key in keys],
        "attempts": [_attempt(row, slot, tasks[row.phase, row.task], texts) for row, slot in slotted],
        "turns": {number: [_turn(turn, texts) for turn in turns] for number, turns in reading.turns.items()},
        "seen": {number: [texts(each) for each in seen] for number, seen in reading.seen.items()},
        "texts": list(texts.numbers),
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _task(reading: Reading, key: tuple[str, str], texts: _Texts) -> dict[str, int | None]:
    task = reading.prompts.get(key)
    prompt, system = (None, None) if task is None else (task.prompt, task.system)
    return {"id": texts(key[1]), "prompt": texts.known(prompt), "system": texts.known(system)}


def _attempt(row: Row, slot: int, task: int, texts: _Texts) -> list[Any]:
    bits = (
        _PASSED * row.passed
        | _REVEALS * row.reveals_answer
        | _PEER * row.peer
        | _BROKEN * bool(row.broken or row.error)
    )
    reward = None if row.broken else row.reward
    actions, ended = [texts(action) for action in row.actions], texts(outcome(row))
    found = [reward, ended, texts.known(row.feedback), bits, texts.known(row.error), row.tokens]
    return [texts(row.phase), row.generations, row.group, slot, task, actions, *found]


def _turn(turn: Turn, texts: _Texts) -> dict[str, Any]:
    return {
        "saw": texts.known(turn.saw),
        "reads": texts.known(turn.reads),
        "tokens": [texts(token) for token in turn.tokens],
        "student": _short(turn.student),
        "teacher": None if turn.teacher is None else _short(turn.teacher),
    }


def _short(numbers: tuple[float | None, ...]) -> list[float | None]:
    return [None if number is None else round(number, _DECIMALS) for number in numbers]
