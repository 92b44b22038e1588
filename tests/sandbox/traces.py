"""What a pool of workers leaves on this machine, and scripts that use one until they are ended from outside."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from wall import processes_below

_SCRIPT = """\
import os, signal, sys, threading, time
from sdpo_envs.errors import SandboxError
from sdpo_envs.sandbox import Program
from sdpo_envs.sandbox.local import LocalSandbox
from traces import eventually
from wall import processes_below
signal.signal(signal.SIGINT, signal.default_int_handler)
ECHO = Program({"main.py": "print(input())"}, ("python", "main.py"), ("x",))
SLEEP = Program({"main.py": "import time; time.sleep(99)"}, ("python", "main.py"), seconds=99)
def busy(count): return lambda: len(processes_below(os.getpid())) == 3 * count  # a launcher, a worker, a program
def tell(*values): print(*values, flush=True)
"""


@dataclass(frozen=True)
class Traces:
    """The count of this process's descriptors, the processes below it, the mounts where the wall is built: on /proc."""

    descriptors: int
    processes: frozenset[int]
    mounts: tuple[str, ...]

    @classmethod
    def now(cls) -> "Traces":
        """Look at /proc. A zombie counts as a process."""
        mounts = (line for line in Path("/proc/self/mounts").read_text().splitlines() if " /proc" in line)
        return cls(len(os.listdir("/proc/self/fd")), frozenset(processes_below(os.getpid())), tuple(mounts))


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait until `condition` holds, and return whether it ever did."""
    deadline = time.monotonic() + 30
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return held


def gone(pids: set[int]) -> bool:
    """Whether none of these processes is there any more, not even as a zombie."""
    return not any(Path("/proc", str(pid)).exists() for pid in pids)


def children(pid: int) -> list[int]:
    """Return the processes that `pid` has started itself, in any of its threads."""
    lists = Path("/proc", str(pid), "task").glob("*/children")
    return sorted(int(child) for listed in lists for child in listed.read_text().split())


def worker_among(pids: Iterable[int]) -> int:
    """Return the worker among the processes of an idle pool of one: what the launcher has started."""
    (worker,) = {child for pid in pids for child in children(pid)}
    return worker


def script(text: str, *prefix: str | Path) -> subprocess.Popen[str]:
    """Start a Python process that uses a sandbox, for what cannot be done to the one that runs the tests."""
    command = [*prefix, sys.executable, "-c", _SCRIPT + textwrap.dedent(text)]
    environment = os.environ | {"PYTHONPATH": ":".join(map(os.path.abspath, filter(None, sys.path)))}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def output_of(text: str, *prefix: str | Path) -> str:
    """Return what such a script prints."""
    process = script(text, *prefix)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return output
