"""Tells which walls work on this machine, by running a program behind each, and how to mend what does not."""

import ctypes
import os
import re
import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from sdpo_envs.errors import SdpoError
from sdpo_envs.sandbox import Program, Sandbox
from sdpo_envs.sandbox.docker import DockerSandbox
from sdpo_envs.sandbox.engine import engine, tag
from sdpo_envs.sandbox.local import LocalSandbox

_LINUX, _LANDLOCK_ABI = (5, 12), 2
_LANDLOCK_CREATE_RULESET, _VERSION = 444, 1
_USER, _OTHERS = 0x10000000, 0x6E020000  # namespaces; root makes the others without the first
_UNSHARE = "import ctypes, os; c = ctypes.CDLL(None, use_errno=True); failed = any(map(c.unshare, {})); "
_UNSHARE += "print(os.strerror(ctypes.get_errno()) if failed else '')"
_PROGRAM = Program({"main.py": "print(6 * 7)"}, ("python", "main.py"))


class Row(NamedTuple):
    """One thing that was looked at.

    Attributes:
        name: What it is.
        works: Whether it is there, and does what it should.
        found: What was found.
        cure: What to do if it does not work.
    """

    name: str
    works: bool
    found: str
    cure: str = ""


def main() -> int:
    """Write a table of what was found; return 0 if the default wall works."""
    default = False
    for row in examine():
        sys.stdout.write(f"{row.name:<12} {'ok' if row.works else 'NO':<3} {row.found}\n")
        if row.cure and not row.works:
            sys.stdout.write(textwrap.indent(row.cure, " " * 17) + "\n")
        sys.stdout.flush()
        default = default or (row.name == "local wall" and row.works)
    return 0 if default else 1


def examine() -> Iterator[Row]:
    """Look at the kernel, at the Docker engine and, running a program behind each, at the walls."""
    yield from kernel()
    yield wall("local wall", LocalSandbox)
    try:
        with engine() as client:
            version, runtimes, images = client.version()["Version"], client.info()["Runtimes"], client.images(tag())
    except SdpoError as error:
        yield failure("docker", error)
        return
    yield Row("docker", True, f"{version}, with {', '.join(sorted(runtimes))}")
    yield Row("image", True, tag() + ("" if images else ", which is built now"))
    yield wall("docker wall", DockerSandbox)
    if "runsc" in runtimes:
        yield wall("gvisor wall", lambda workers: DockerSandbox(workers, runtime="runsc"))
    else:
        cure = (
            "Only needed for DockerSandbox(runtime='runsc'): install runsc, and name it in the engine's daemon.json:\n"
        )
        cure += '{"runtimes": {"runsc": {"path": "/usr/bin/runsc", "runtimeArgs": ["--network=none"]}}}'
        yield Row("gvisor wall", False, "the engine has no runtime runsc", cure)


def kernel() -> Iterator[Row]:
    """Look at what the local wall is made of."""
    release = os.uname().release
    version = tuple(int(number) for number in re.findall(r"\d+", release)[:2])
    known = sys.platform == "linux" and version >= _LINUX
    yield Row("kernel", known, f"{os.uname().sysname} {release}", "The local wall needs Linux 5.12 or newer.")
    probe = _UNSHARE.format([_USER, _OTHERS] if os.geteuid() else [_OTHERS, _USER])
    refused = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False).stdout.strip()
    cure = "sysctl user.max_user_namespaces=65536 kernel.unprivileged_userns_clone=1 \\\n"
    cure += "       kernel.apparmor_restrict_unprivileged_userns=0   (those that exist), or run as root;\n"
    cure += "in a container: --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
    yield Row("namespaces", not refused, refused or "may be made", cure)
    abi = ctypes.CDLL(None).syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    cure = "ABI 2 is needed: Linux 5.19 or newer, started with lsm=landlock,... in its options."
    yield Row("landlock", abi >= _LANDLOCK_ABI, f"ABI {abi}" if abi > 0 else "none", cure)
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    there = actions.exists()
    yield Row("seccomp", there, "filters" if there else "none", "The kernel was built without CONFIG_SECCOMP_FILTER.")
    gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    limits = " and ".join(f"{name} {_limit(kind)}" for name, kind in _LIMITS.items())
    yield Row("resources", True, f"{len(os.sched_getaffinity(0))} processors, {gib:.1f} GiB of memory, {limits}")


_LIMITS = {"open files": resource.RLIMIT_NOFILE, "processes": resource.RLIMIT_NPROC}


def _limit(kind: int) -> str:
    soft, _ = resource.getrlimit(kind)
    return "without limit" if soft == resource.RLIM_INFINITY else f"up to {soft}"


def wall(name: str, make: Callable[[int], Sandbox]) -> Row:
    """Run a program behind a wall."""
    sandbox = make(1)
    start = time.monotonic()
    try:
        [run] = sandbox.run(_PROGRAM)
    except SdpoError as error:
        return failure(name, error)
    finally:
        sandbox.close()
    if run.stdout != "42\n":
        return Row(name, False, f"6 * 7 gave {run}")
    return Row(name, True, f"started, and ran a program, in {time.monotonic() - start:.2f} s")


def failure(name: str, error: SdpoError) -> Row:
    """Return what an error says: its first line as what was found, the others as the cure."""
    found, _, cure = str(error).partition("\n")
    return Row(name, False, found, cure)
