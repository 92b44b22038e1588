"""``sdpo doctor``: what is missing on this machine, and what mends it."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from sdpo_envs.cli.machine import PARTS
from sdpo_envs.cli.screen import heading, screen, shown, write_json
from sdpo_envs.cli.world import ForScript
from sdpo_envs.sandbox.doctor import Row


@dataclass(frozen=True)
class Doctor:
    """Tell what is missing on this machine, and what mends it.

    Only the first part is needed for anything; exit code 1 if something is wrong with that. Of the walls one is enough.

    Examples:
        sdpo doctor
        sdpo doctor --json
    """

    json: ForScript = False

    def __call__(self) -> None:
        """Run it."""
        console = Console(quiet=True) if self.json else screen()
        told, sound = [], True
        for part, look in PARTS.items():
            needed = part == "core"
            rows = list(look())
            sound = sound and not (needed and not all(row.works for row in rows))
            told += [{"part": part, **row._asdict(), "needed": needed} for row in rows]
            heading(console, part)
            console.print(_table(rows, needed=needed))
        if self.json:
            write_json(told)
        if not sound:
            raise SystemExit(1)


def _table(rows: Iterable[Row], *, needed: bool) -> Table:
    """Return a line for each row, and below it the cure where there is something to mend."""
    grid = Table.grid(padding=(0, 2))
    for row in rows:
        works = shown("ok", "green") if row.works else shown("NO", "bold red") if needed else shown("no", "yellow")
        grid.add_row(works, shown(row.name), shown(row.found))
        if row.cure and not row.works:
            grid.add_row("", "", shown(row.cure, "cyan"))
    return grid
