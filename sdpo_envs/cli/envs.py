"""``sdpo envs``: which environments are registered, what each has and what it needs."""

import json
import sys
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from sdpo_envs.registry import ENVIRONMENTS


@dataclass(frozen=True)
class Envs:
    """List the environments, what each has and what it needs.

    Examples:
        sdpo envs
        sdpo envs --json
    """

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write JSON for a script to read."""

    def __call__(self) -> None:
        """Run it."""
        if self.json:
            sys.stdout.write(json.dumps([{"id": env_id} for env_id in ENVIRONMENTS], indent=2) + "\n")
            return
        table = Table("id")
        for env_id in ENVIRONMENTS:
            table.add_row(env_id)
        Console().print(table)
