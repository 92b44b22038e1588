"""The wall that needs nothing installed: namespaces of this machine around Python workers."""

import importlib.util
import os
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Self

from sdpo_envs.errors import SandboxError, SettingError
from sdpo_envs.files import bundled
from sdpo_envs.sandbox import Program, Run
from sdpo_envs.sandbox.workers import WorkerPool

_PACKAGES = ("numpy",)  # what programs may import besides the standard library, where the host has it

_ADVICE = """\
The local sandbox needs Linux 5.12 or later and the right to make namespaces. Root has it; other users have it where
user.max_user_namespaces is above 0 and, if the system knows them, kernel.unprivileged_userns_clone is 1 and
kernel.apparmor_restrict_unprivileged_userns is 0 (see sysctl). In a container it needs --privileged, or
--cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined."""


class LocalSandbox:
    """Runs Python programs behind namespaces, an unprivileged user, limits and a system call filter.

    A worker is a Python interpreter, started once with NumPy loaded where the host has it, that forks for every run:
    a clean state at the cost of a fork. The inputs of one program run one after another, several programs side by
    side. It offers ``("python", FILE, ...)``; the working directory is ``/tmp``.

    A run is `out_of_memory` when an uncaught ``MemoryError`` ended it. `Program.memory_mb` holds for each process of a
    run on its own, as address space, and what the interpreter maps from the start is not counted.

    Attributes:
        workers: How many programs can run at once; by default one per processor that this process may use.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = len(os.sched_getaffinity(0)) if workers is None else workers
        if self.workers < 1:
            raise SettingError(f"workers={workers} is not offered; give at least 1.")
        self._pool = WorkerPool(self.workers, _command, _ADVICE)
        weakref.finalize(self, self._pool.close)

    def run(self, program: Program) -> tuple[Run, ...]:
        """Run `program` once per input; see `Sandbox.run`.

        Raises:
            SandboxError: the wall broke or could not be built, or it does not offer the command.
            ValueError: a file name leads out of the working directory, or the program is too long.
        """
        _check(program)
        return self._pool.run(program)

    def run_many(self, programs: Sequence[Program]) -> list[tuple[Run, ...]]:
        """Run several programs side by side; see `Sandbox.run_many`.

        Raises:
            SandboxError: as `run`.
            ValueError: as `run`.
        """
        for program in programs:
            _check(program)
        return self._pool.run_many(programs)

    def close(self) -> None:
        """End every process of this sandbox. A run in another thread raises `SandboxError`; a later one starts anew."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type["LocalSandbox"], tuple[int]]:
        return LocalSandbox, (self.workers,)

    def __repr__(self) -> str:
        return f"LocalSandbox(workers={self.workers})"


def _check(program: Program) -> None:
    """Refuse what the wall does not offer, and file names that are none below the working directory."""
    if len(program.argv) < 2 or program.argv[0] != "python" or program.argv[1] not in program.files:
        files = sorted(program.files)
        raise SandboxError(f"The local sandbox offers ('python', FILE, ...) with FILE of {files}, not {program.argv}.")
    for name in program.files:
        path = PurePosixPath(name)
        if str(path) != name or name == "." or path.is_absolute() or ".." in path.parts or "\0" in name:
            raise ValueError(f"{name!r} is not a file name below the working directory, such as 'main.py' or 'a/b.py'.")
        if len(os.fsencode(name)) > 1024 or any(len(os.fsencode(part)) > 255 for part in path.parts):
            raise ValueError(f"The file name {name[:40]!r}... is too long; a part may have 255 bytes, all of it 1024.")
        if folder := next((str(parent) for parent in path.parents if str(parent) in program.files), None):
            raise ValueError(f"{folder!r} cannot be both a file and the folder of {name!r}.")


def _command() -> list[str | Path]:
    """Return the command that starts a worker: with the interpreter of which this one may be a virtual environment."""
    interpreter = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    if sys.platform != "linux" or not interpreter.exists():
        raise SandboxError(f"The local sandbox needs Linux and the interpreter {interpreter}, which is not there.")
    found = [importlib.util.find_spec(name) for name in _PACKAGES]
    packages = [Path(folder) for spec in found if spec for folder in spec.submodule_search_locations or ()]
    libraries = [folder.with_name(f"{folder.name}.libs") for folder in packages]  # where wheels keep shared libraries
    inside = bundled("sandboxes", "python")
    command: list[str | Path] = [interpreter, "-B", "-E", "-s", inside / "launch.py", inside / "worker.py"]
    return [*command, *packages, *(folder for folder in libraries if folder.exists())]
