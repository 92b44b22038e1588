"""Runs commands of ``sdpo`` in this process, since starting another takes longer than most of what is tested."""

import json
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sdpo_envs.cli import main

SDPO = Path(sysconfig.get_path("scripts")) / "sdpo"
"""The script that an install puts on the path."""


@dataclass
class Ended:
    """How a command ended, and what it wrote."""

    code: Any
    out: str
    err: str

    def json(self) -> Any:
        """Read the standard output, which must hold nothing but JSON."""
        return json.loads(self.out)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ended:
    """Run a command in this process."""
    code: Any = 0
    try:
        main(arguments)
    except SystemExit as end:
        code = end.code or 0
    return Ended(code, *capsys.readouterr())


def started(*arguments: str, code: str = "", text: bytes | None = b"") -> Ended:
    """Run a command in a process of its own: the script's, or after some `code` that Python runs first."""
    line = [sys.executable, "-c", f"{code}\nfrom sdpo_envs.cli import main; main()"] if code else [str(SDPO)]
    done = subprocess.run([*line, *arguments], input=text, capture_output=True, timeout=120, check=False)
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())
