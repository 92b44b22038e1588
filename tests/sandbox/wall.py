"""What the tests of the wall look at from outside of it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sdpo_envs.sandbox import Run

Execute = Callable[..., Run]


def namespaces_missing() -> str:
    """Return why this machine does not let us make namespaces, or nothing: asked of the kernel, not of the sandbox."""
    flags = 0x20000 | (0 if os.geteuid() == 0 else 0x10000000)
    probe = f"import ctypes, os; libc = ctypes.CDLL(None, use_errno=True); r = libc.unshare({flags}); "
    probe += "print(os.strerror(ctypes.get_errno()) if r else '', end='')"
    return subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout


def processes_below(pid: int) -> set[int]:
    """Return the process ids of all descendants of `pid`."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name_and_rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(name_and_rest[2].split()[1])
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return below - {pid}
