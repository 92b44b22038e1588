"""``sdpo replay``: judges a recording again."""

import contextlib
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import tyro

from sdpo_envs.cli.screen import screen, shown, table, write_json
from sdpo_envs.cli.world import ForScript, make
from sdpo_envs.errors import SettingError
from sdpo_envs.record import Difference, Row, replay, rows

_BEFORE, _SHOWN = 20, 200  # characters


@dataclass(frozen=True)
class Replay:
    """Judge what was recorded again, and tell what differs.

    Every attempt whose machinery did not break; exit code 1 if anything differs: a reward, an outcome, a word.

    Examples:
        sdpo replay runs/by-hand
        sdpo replay runs/by-hand --json
        sdpo replay rows.jsonl --env sdpo/SciKnowEval-v0 --settings '{"domain": "physics"}'
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of a recording; or a file of rows, which needs --env."""
    env: str | None = None
    """The environment to judge in, where the recording does not say which."""
    settings: str = "{}"
    """Keywords for that one, as a JSON object."""
    json: ForScript = False

    def __call__(self) -> None:
        """Run it."""
        if self.env is None and self.settings != "{}":
            raise SettingError("--settings are those of --env; name that too.")
        if self.env is None and self.run.is_file():
            raise SettingError("Name the environment to judge in with --env: a file of rows does not say which it was.")
        attempts = rows(self.run)
        with contextlib.ExitStack() as stack:
            env = None if self.env is None else make(self.env, self.settings)[0]
            if env is not None:
                stack.callback(env.close)
            found = replay(self.run, envs=env)
        broken = sum(row.broken for row in attempts)
        if self.json:
            write_json(_plain(attempts, broken, found))
        else:
            _show(attempts, broken, found)
        if found:
            raise SystemExit(1)


def _plain(attempts: list[Row], broken: int, found: list[Difference]) -> dict[str, Any]:
    differences = [
        {
            "row": each.row,
            "task": attempts[each.row].task,
            "column": each.column,
            "stored": _value(each.stored),
            "now": _value(each.now),
        }
        for each in found
    ]
    return {"judged": len(attempts) - broken, "broken": broken, "differences": differences}


def _show(attempts: list[Row], broken: int, found: list[Difference]) -> None:
    console = screen()
    if found:
        lines = table("row", "task", "what", "recorded", "now")
        for each in found:
            stored, now = map(shown, _apart(str(_value(each.stored)), str(_value(each.now))))
            lines.add_row(str(each.row), shown(attempts[each.row].task), each.column, stored, now)
        console.print(lines)
    counts = f"Judged again: {len(attempts) - broken}. Different: {len({each.row for each in found})}."
    counts += f" Left out, as they broke when they were made: {broken}." if broken else ""
    console.print(shown(counts, "red" if found else "green"))


def _apart(stored: str, now: str) -> tuple[str, str]:
    """Return two texts from a little before they part, and not much of them."""
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(stored, now, strict=False)))
    start = max(0, alike - _BEFORE)
    before = "..." if start else ""
    cut = [text[start : start + _SHOWN] + ("..." if len(text) > start + _SHOWN else "") for text in (stored, now)]
    return before + cut[0], before + cut[1]


def _value(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
