"""The walls that untrusted code runs behind: one interface, several walls.

A `Program` goes in and one `Run` per input comes out. What a right output would be is not part of a Program: it stays
with the judge, outside. Nothing here assumes a programming language; which commands exist is up to the wall.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as _field
from typing import Protocol, runtime_checkable

from sdpo_envs.errors import SettingError, choose


@dataclass(frozen=True, slots=True)
class Program:
    """Code, how to start it, what to feed it, and what it may use.

    Attributes:
        files: Relative path to text. They are all there is in the working directory, which is thrown away afterwards.
        argv: The command, such as ``("python", "main.py")``.
        inputs: The standard input of each run.
        seconds: Limit on the wall-clock time of each run.
        memory_mb: Limit on the memory of each run, in MiB.
        output_kb: Limit on standard output and on standard error, each, in KiB.
        processes: How many processes and threads a run may have alive at once, itself included.
        timeouts: After this many timed-out runs the remaining inputs are given up. ``None`` runs them all: as soon as
            one seems to hang, those that are left run beside it, and share its time limit.
        total_seconds: Once all runs together took so much wall-clock time, the remaining inputs are given up; the run
            that is under way then goes on. ``None`` for no such limit.
        isolated: Whether each run has a process of its own, a clean state that cannot see another run's. Otherwise one
            process runs the program on one input after the other, compiled once, each time in a fresh namespace: many
            times faster. What a run leaves behind in modules or files, the next one finds, and it can look for the
            inputs of the others; so repeat in isolation what went wrong, unless `Run.alone`. A process that
            has used an eighth of the time limit is followed by another, where a run that was under way starts again:
            so one that timed out had all of its time, from a clean state.
    """

    files: Mapping[str, str]
    argv: tuple[str, ...]
    inputs: tuple[str, ...] = ("",)
    seconds: float = 6.0
    memory_mb: int = 1024
    output_kb: int = 1024
    processes: int = 16
    timeouts: int | None = 1
    total_seconds: float | None = None
    isolated: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """What one run did. A program that fails, in whatever way, is an ordinary Run.

    Attributes:
        exit_code: As the shell counts: the program's own, or 128 + n when signal n ended it; -1 when it was skipped.
        stdout: Decoded as UTF-8, undecodable bytes replaced.
        stderr: Likewise.
        seconds: Wall-clock time. Not compared: the same program gives an equal Run twice.
        timed_out: It was ended because it reached `Program.seconds`.
        out_of_memory: It failed because it reached `Program.memory_mb`.
        too_much_output: It wrote more than `Program.output_kb`, and what is beyond is cut off. It went on all the same:
            only a process that has written 16 MiB, or that limit if it is more, is ended.
        skipped: It was never started, see `Program.timeouts` and `Program.total_seconds`.
        alone: Its process was given no other input and ran beside no other, so that nothing but this input can have had
            a part in what it did, or stand in what it wrote. Not compared.
    """

    exit_code: int
    stdout: str = ""
    stderr: str = ""
    seconds: float = _field(default=0.0, compare=False)
    timed_out: bool = False
    out_of_memory: bool = False
    too_much_output: bool = False
    skipped: bool = False
    alone: bool = _field(default=True, compare=False)


@runtime_checkable
class Sandbox(Protocol):
    """A wall. Safe to call from several threads; starts by itself at first use, also after a fork or an unpickling."""

    def run(self, program: Program) -> tuple[Run, ...]:
        """Run `program` once per input and return the runs in the order of the inputs.

        Raises:
            SandboxError: the wall broke or could not be built. Never because of what the program did.
        """

    def run_many(self, programs: Sequence[Program]) -> list[tuple[Run, ...]]:
        """Run several programs side by side; the results keep the order of `programs`.

        Raises:
            SandboxError: as `run`.
        """

    def close(self) -> None:
        """End every process of this sandbox. May be called twice; a later `run` starts it again."""


def _local(workers: int | None) -> Sandbox:
    from sdpo_envs.sandbox.local import LocalSandbox

    return LocalSandbox(workers)


def _docker(workers: int | None) -> Sandbox:
    from sdpo_envs.sandbox.docker import DockerSandbox

    return DockerSandbox(workers)


def _gvisor(workers: int | None) -> Sandbox:
    from sdpo_envs.sandbox.docker import DockerSandbox

    return DockerSandbox(workers, runtime="runsc")


def _ray(workers: int | None) -> Sandbox:
    from sdpo_envs.sandbox.ray import RaySandbox

    return RaySandbox(workers=workers)


_WALLS: dict[str, Callable[[int | None], Sandbox]] = {
    "local": _local,
    "docker": _docker,
    "gvisor": _gvisor,
    "ray": _ray,
}


def open_sandbox(sandbox: Sandbox | str = "local", workers: int | None = None) -> Sandbox:
    """Return `sandbox` itself, or a new one of the named kind, such as ``"local"``.

    Args:
        sandbox: A sandbox; or the name of a wall: ``"local"``, ``"docker"``, ``"gvisor"``; or ``"ray"``, the local
            walls of all nodes of the Ray cluster that `ray.init` finds.
        workers: How many programs a named one can run at once, on each node; None for as many as it has processors.

    Raises:
        SettingError: no wall has that name, it is neither a name nor a sandbox, or `workers` is below 1 or given with
            a sandbox.
    """
    if isinstance(sandbox, Sandbox):
        if workers is not None:
            raise SettingError(f"workers={workers} is of a wall that is named; {sandbox!r} has its own.")
        return sandbox
    if not isinstance(sandbox, str):
        raise SettingError(f"sandbox={sandbox!r} is not offered; give a Sandbox, or a name from {sorted(_WALLS)}.")
    return _WALLS[choose("sandbox", sandbox, _WALLS)](workers)
