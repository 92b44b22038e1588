"""``sdpo view``: a recorded run as one HTML file."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sdpo_envs.cli.screen import write_json
from sdpo_envs.cli.world import ForScript, Switch
from sdpo_envs.errors import SettingError
from sdpo_envs.feedback import printable
from sdpo_envs.viewer import read, save


@dataclass(frozen=True)
class View:
    """Write a page to look at the attempts of a recorded run.

    One HTML file, which needs no other and no network: attempts by task, outcome, phase, reward and text, with prompt,
    actions, feedback and peers. Where the run was trained with --token-rows, tokens are coloured by how much likelier
    or less likely the self-teacher finds them.

    Examples:
        sdpo view runs/latest
        sdpo view runs/latest --out page.html
        sdpo view runs/house --play
        sdpo view attempts.jsonl --bare --json
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of a recorded run, or a file of rows."""
    out: Path | None = None
    """The file to write; None for view.html beside the attempts."""
    bare: Switch = False
    """Leave the prompts out, so that no environment is made."""
    play: Switch = False
    """Play episodes of several turns again, to show what the policy saw before each action."""
    json: ForScript = False

    def __call__(self) -> None:
        """Run it."""
        if self.bare and self.play:
            raise SettingError("With --bare no environment is made, so none can play; leave one of the two out.")
        found = read(self.run, prompts=not self.bare, play=self.play)
        out = save(found, self.out)
        written = out.stat().st_size
        facts = {"attempts": len(found.rows), "scored": len(found.turns), "bytes": written, "notes": list(found.notes)}
        if self.json:
            write_json({"out": str(out), **facts})
            return
        for note in found.notes:
            sys.stderr.write(f"{printable(note)}\n")
        told = f"{facts['attempts']:,} attempts, {facts['scored']:,} with scored tokens, {written / 1e6:.1f} MB"
        sys.stdout.write(f"{printable(str(out))}: {told}\n")
