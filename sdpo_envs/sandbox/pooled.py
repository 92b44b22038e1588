"""What walls with a pool of Python workers have in common."""

import os
import weakref
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Self

from sdpo_envs.errors import SandboxError, SettingError
from sdpo_envs.sandbox import Program, Run
from sdpo_envs.sandbox.workers import Connect, WorkerPool

_COMMANDS = {"python": "('python', FILE, ...)", "call": "('call', FILE, FUNCTION)"}
_MOST = {"memory_mb": 1 << 20, "output_kb": 1 << 16, "processes": 1 << 10}
_MOST_SECONDS = 86_400


class PooledSandbox:
    """A wall whose workers run `sandboxes/python/worker.py`; a subclass says how one starts.

    Args:
        workers: How many programs can run at once; by default one per processor that this process may use.
        connect: Starts a worker.
        advice: What to do when a worker cannot start; ends that error's message.

    Raises:
        SettingError: `workers` is below 1.
    """

    def __init__(self, workers: int | None, connect: Connect, advice: str) -> None:
        self.workers = len(os.sched_getaffinity(0)) if workers is None else workers
        if self.workers < 1:
            raise SettingError(f"workers={workers} is not offered; give at least 1.")
        self._pool = WorkerPool(self.workers, connect, advice)
        weakref.finalize(self, self._pool.close)

    def run(self, program: Program) -> tuple[Run, ...]:
        """Run `program` once per input; see `Sandbox.run`.

        Raises:
            SandboxError: the wall broke or could not be built, or it does not offer what the program asks for.
            ValueError: a file name leads out of the working directory, the program is too long, or a limit is none.
        """
        self.check(program)
        return self._pool.run(program)

    def run_many(self, programs: Sequence[Program]) -> list[tuple[Run, ...]]:
        """Run several programs side by side; see `Sandbox.run_many`.

        Raises:
            SandboxError: as `run`.
            ValueError: as `run`.
        """
        for program in programs:
            self.check(program)
        return self._pool.run_many(programs)

    def check(self, program: Program) -> None:
        """Refuse what the wall does not offer, file names that are none below the working directory, and odd limits.

        Raises:
            SandboxError: it does not offer the command.
            ValueError: a file has no such name, or a limit is not a number of its range.
        """
        command, *rest = program.argv or ("",)
        enough = len(rest) >= 1 if command == "python" else len(rest) == 2
        if command not in _COMMANDS or not enough or rest[0] not in program.files:
            offered, files = " and ".join(_COMMANDS.values()), sorted(program.files)
            raise SandboxError(f"This sandbox offers {offered} with FILE of {files}, not {program.argv}.")
        for name in program.files:
            _check_name(name, program)
        for name, most in _MOST.items():
            value = getattr(program, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"{name}={value!r} must be a whole number from 1 to {most}.")
        if program.timeouts is not None and program.timeouts < 1:
            raise ValueError(f"timeouts={program.timeouts} must be at least 1, or None to run all.")
        if not 0 < program.seconds <= _MOST_SECONDS:
            raise ValueError(f"seconds={program.seconds} must be above 0 and at most {_MOST_SECONDS}.")

    def close(self) -> None:
        """End every process of this sandbox. A run in another thread raises `SandboxError`; a later one starts anew."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _check_name(name: str, program: Program) -> None:
    path = PurePosixPath(name)
    if str(path) != name or name == "." or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"{name!r} is not a file name below the working directory, such as 'main.py' or 'a/b.py'.")
    if len(os.fsencode(name)) > 1024 or any(len(os.fsencode(part)) > 255 for part in path.parts):
        raise ValueError(f"The file name {name[:40]!r}... is too long; a part may have 255 bytes, all of it 1024.")
    if folder := next((str(parent) for parent in path.parents if str(parent) in program.files), None):
        raise ValueError(f"{folder!r} cannot be both a file and the folder of {name!r}.")
