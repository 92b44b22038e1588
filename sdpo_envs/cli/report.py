"""``sdpo report``: compares recorded runs."""

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sdpo_envs.bench import LEVELS, compare, save, show
from sdpo_envs.bench.report import SUMMARY, summary
from sdpo_envs.cli.screen import write_json
from sdpo_envs.cli.world import ForScript
from sdpo_envs.errors import SettingError


@dataclass(frozen=True)
class Report:
    """Compare recorded runs, with intervals.

    Whatever loop made them: a run is a folder that `sdpo_envs.record` wrote, or a file of rows.

    Examples:
        sdpo report runs/
        sdpo report runs/grpo runs/sdpo --baseline grpo --out runs/report
        sdpo report 'runs/*/*.jsonl' --phase train --json
    """

    runs: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...", help_behavior_hint="(required)")
    ]
    """Recordings, files of rows, folders above them, patterns."""
    baseline: str | None = None
    """The algorithm to compare the others with."""
    levels: tuple[float, ...] = LEVELS
    """Success rates to time."""
    phase: str = "test"
    """Whose attempts to take."""
    last: int = 3
    """Evaluations that make up the final success."""
    out: Path | None = None
    """A folder for report.html, summary.csv, curves.csv and curves.png."""
    title: str = "Comparison"
    """Of the page."""
    json: ForScript = False

    def __call__(self) -> None:
        """Run it.

        Raises:
            SettingError: no run is named, or `compare` takes it for a mistake.
        """
        if not self.runs:
            raise SettingError("Name what to compare: folders of recordings, files of rows, or patterns of these.")
        found = compare(self.runs, baseline=self.baseline, levels=self.levels, phase=self.phase, last=self.last)
        if self.json:
            numbers = [dict(zip(SUMMARY, row, strict=True)) for row in summary(found)]
            write_json({"baseline": found.baseline, "notes": found.notes, "numbers": numbers})
        else:
            show(found)
        if self.out is not None:
            save(found, self.out, title=self.title, command=self._again())

    def _again(self) -> str:
        """Return the command line that makes the page again."""
        words = ["sdpo", "report", *self.runs]
        for each in dataclasses.fields(self)[1:]:
            value = getattr(self, each.name)
            if value != each.default and value is not True:
                words += [f"--{each.name}", *map(str, value if isinstance(value, tuple) else (value,))]
        return shlex.join(words)
