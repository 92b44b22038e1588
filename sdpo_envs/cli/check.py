"""``sdpo check``: whether an environment keeps the contract, and what to do where it does not."""

import sys
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sdpo_envs.check import Result, examine
from sdpo_envs.cli import parse_settings
from sdpo_envs.cli.screen import shown, write_json
from sdpo_envs.cli.world import EnvId, ForScript, Settings
from sdpo_envs.feedback import printable

_COLOURS = {"passed": "green", "failed": "bold red", "not checked": "yellow"}


@dataclass(frozen=True)
class Check:
    """Hold an environment to each law of the contract.

    Of a law that it breaks this tells what failed, why it matters and how to mend it; then it exits with 1. An
    exception of the environment breaks the law that it was tried by.

    Examples:
        sdpo check sdpo/ToolUse-v0
        sdpo check my_file:my/Sum-v0 --settings '{"reveal": true}'
        sdpo check sdpo/ToolUse-v0 --json
    """

    env: EnvId
    settings: Settings = "{}"
    json: ForScript = False

    def __call__(self) -> None:
        """Run it.

        Raises:
            SettingError: `settings` is not a JSON object.
            SystemExit: a law is broken.
        """
        results = []
        for result in examine(self.env, **parse_settings(self.settings)):
            results.append(result)
            if not self.json:
                _show(result)
        if self.json:
            write_json([_row(result) for result in results])
        if any(result.broken for result in results):
            raise SystemExit(1)


def _show(result: Result) -> None:
    law = result.law
    _line(shown(result.state, _COLOURS[result.state]), f"{law.name}: ", law.demand)
    told = {"Not checked": " ".join(result.left_out)}
    if result.broken:
        told = {"What failed": result.broken, "Why it matters": law.why, "How to mend it": law.mend}
    for label, text in told.items():
        if text:
            _line("", f"{label}: ", text)


def _line(state: Text | str, label: str, text: str) -> None:
    """Write a text beside the state of a law, wrapped there on a terminal only."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=max(map(len, _COLOURS)), no_wrap=True)
    grid.add_row(state, Text.assemble((label, "bold"), printable(text)))
    console.print(grid)


def _row(result: Result) -> dict[str, Any]:
    law = result.law
    return {
        "law": law.name,
        "demand": law.demand,
        "state": result.state,
        "broken": result.broken,
        "left_out": list(result.left_out),
        "why": law.why,
        "mend": law.mend,
    }
