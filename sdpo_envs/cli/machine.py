"""Looks at a machine: what of this package works on it, part by part, and what mends the rest."""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sdpo_envs.cli.envs import find
from sdpo_envs.errors import SdpoError
from sdpo_envs.registry import ENVIRONMENTS
from sdpo_envs.sandbox.doctor import Row, examine

PACKAGE = "sdpo-envs"
_ALONE = ("verl",)  # asks for other versions than the other extras do
_ROOM = 5.0  # GiB; a small language model and its data set take less
_SECONDS = 120  # that torch may take to load from a cold disk
_TORCH = """
import json, torch
cuda = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
print(json.dumps([torch.__version__, cuda, torch.backends.mps.is_available(), torch.get_num_threads()]))
"""


def core() -> Iterator[Row]:
    """Look at what nothing works without: Python, the two libraries, and the environments with their tasks."""
    wanted = metadata(PACKAGE)["Requires-Python"]
    fits = SpecifierSet(wanted).contains(platform.python_version())
    yield Row("python", fits, f"{platform.python_version()}, {sys.executable}", f"Install Python {wanted}.")
    for needed in _needed(""):
        found = _fault(needed)
        yield Row(needed.name, not found, found or version(needed.name), f"pip install '{needed}'")
    yield _environments()


def extras() -> Iterator[Row]:
    """Look at what is installed for each extra, beside what it asks for."""
    for extra in metadata(PACKAGE).get_all("Provides-Extra") or ():
        needed = _needed(extra)
        faults = [fault for fault in map(_fault, needed) if fault]
        there = ", ".join(f"{each.name} {version(each.name)}" for each in needed) if not faults else ""
        cure = f"pip install '{PACKAGE}[{extra}]'" + (
            ", in a virtual environment of its own" if extra in _ALONE else ""
        )
        if extra != "all":
            yield Row(extra, not faults, there or "; ".join(faults), cure)


def walls() -> Iterator[Row]:
    """Look at the walls around programs, and at what they are made of."""
    yield from examine()


def devices() -> Iterator[Row]:
    """Look, in a process of its own, at what torch computes on."""
    if _fault(Requirement("torch")):
        yield Row("torch", False, "not installed", f"Only the agent needs it: pip install '{PACKAGE}[agent]'")
        return
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TORCH], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except subprocess.TimeoutExpired:
        yield Row(
            "torch", False, f"did not load within {_SECONDS} seconds", "See what holds it: python -c 'import torch'"
        )
        return
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or [f"ended with code {error.returncode}"])[-1]
        yield Row("torch", False, said, "Install it for this machine: https://pytorch.org/get-started/locally/")
        return
    number, cuda, metal, threads = json.loads(done.stdout)
    names = ", ".join(cuda) or ("Metal" if metal else "")
    yield Row("torch", True, f"{number}, {names or 'no accelerator'}; {threads} threads on the processor")


def room() -> Iterator[Row]:
    """Look at the room on the disks that are written to."""
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'}/huggingface"
    yield _room("models", Path(home), "Set HF_HOME to a folder with more room.")
    yield _room("runs", Path.cwd(), "Work in a folder with more room, or give --run one.")
    yield _room("temporary", Path(tempfile.gettempdir()), "Set TMPDIR to a folder with more room.")


PARTS = {"core": core, "extras": extras, "walls": walls, "devices": devices, "room": room}
"""What is looked at, by name; only without the first nothing works."""


def _needed(extra: str) -> list[Requirement]:
    """Return what the package asks for by itself, or on top of that for an extra."""
    asked = [Requirement(line) for line in requires(PACKAGE) or ()]
    if not extra:
        return [each for each in asked if each.marker is None]
    return [each for each in asked if each.marker is not None and each.marker.evaluate({"extra": extra})]


def _fault(needed: Requirement) -> str:
    """Return what is wrong with an installed library, or ``""``."""
    try:
        there = version(needed.name)
    except PackageNotFoundError:
        return f"no {needed.name}"
    fits = needed.specifier.contains(there, prereleases=True)
    return "" if fits else f"{needed.name} {there}, where {needed.specifier} is asked for"


def _environments() -> Row:
    tasks, ready = 0, 0
    for env_id in ENVIRONMENTS:
        try:
            family = find(env_id)
        except SdpoError as error:
            return Row("environments", False, f"{env_id}: {error}", f"pip install --force-reinstall {PACKAGE}")
        ready += family.tasks is not None
        tasks += (family.tasks or 0) + (family.test_tasks or 0)
    return Row("environments", True, f"{ready} of {len(ENVIRONMENTS)} can be made, with {tasks} tasks; see `sdpo envs`")


def _room(name: str, folder: Path, cure: str) -> Row:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(there).free / 2**30
    writable = os.access(there, os.W_OK)
    found = f"{free:.1f} GiB free in {folder}" + ("" if writable else ", which cannot be written to")
    return Row(name, writable and free >= _ROOM, found, cure)
