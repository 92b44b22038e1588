"""What the commands write on a terminal: headings, wrapped text, tables. Nothing in it is taken for mark-up."""

import json
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from sdpo_envs.feedback import printable

WIDE = 120
"""Columns where no terminal says how many there are."""


def screen(*, aside: bool = False) -> Console:
    """Return the standard output, or `aside` the standard error, as wide as the terminal says."""
    console = Console(stderr=aside, highlight=False)
    if not console.is_terminal:
        console.width = shutil.get_terminal_size((WIDE, 24)).columns
    return console


def heading(console: Console, text: str, *, style: str = "bold") -> None:
    """Write a line across the screen with a text in it."""
    console.print(Rule(shown(text, style), align="left", style="dim"))


def body(console: Console, text: str) -> None:
    """Write a text: wrapped on a terminal, and line for line where something else reads."""
    console.print(shown(text), soft_wrap=not console.is_terminal)


def table(*heads: str, title: str = "") -> Table:
    """Return a table without frames, in which what is too long goes on below, but for its first column."""
    made = Table(
        *heads,
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for column in made.columns:
        column.overflow = "fold"
    made.columns[0].no_wrap = True
    return made


def facts(console: Console, told: Mapping[str, Any]) -> None:
    """Write names and values, a line each."""
    grid = Table.grid(padding=(0, 2))
    for name, value in told.items():
        grid.add_row(shown(name, "dim"), shown(str(value)))
    console.print(grid)


def shown(text: str, style: str = "") -> Text:
    """Return a text in which nothing moves the cursor, and nothing is mark-up."""
    return Text(printable(text), style)


def write_json(told: Any) -> None:
    """Write what a script reads, in ASCII; what JSON does not know is written as text."""
    sys.stdout.write(json.dumps(told, indent=2, default=str) + "\n")
