"""Many runs of `sdpo_agent train`, a few at a time, a process each; what is finished is not made again."""

import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sdpo_agent.run import saved_attempts
from sdpo_envs import InfrastructureError, SettingError

PROGRAM = (sys.executable, "-m", "sdpo_agent", "train")
"""What makes a run of a command."""
_BEGUN = "begun.json"
_DONE = "done.json"
_LOG = "log.txt"
_LOG_LINES = 12
_PAUSE_SECONDS = 0.5
_ADVICE = "Name another folder for the sweep, or remove that one."


@dataclass(frozen=True, slots=True)
class Job:
    """One run.

    Attributes:
        folder: Where to.
        command: What follows ``sdpo train``, but for ``--run`` and ``--resume``.
        steps: How many it makes.
    """

    folder: Path
    command: tuple[str, ...]
    steps: int

    @property
    def done(self) -> bool:
        """Whether it has been finished.

        Raises:
            SettingError: its folder holds another one, or something else.
        """
        marker = next((each for name in (_DONE, _BEGUN) if (each := self.folder / name).exists()), None)
        if marker is None:
            if self.folder.exists() and any(self.folder.iterdir()):
                raise SettingError(f"{self.folder} holds what no sweep has begun. {_ADVICE}")
            return False
        made = json.loads(marker.read_text(encoding="utf-8"))
        if made != [*self.command] and (marker.name == _DONE or saved_attempts(self.folder) is not None):
            by, own = shlex.join(made), shlex.join(self.command)
            raise SettingError(f"{self.folder} was made by `{by}`, not by `{own}`. {_ADVICE}")
        return marker.name == _DONE

    @property
    def made(self) -> int:
        """How many steps have been made."""
        path = self.folder / "metrics.jsonl"
        return self.steps if self.done else path.read_bytes().count(b"\n") if path.exists() else 0

    def start(self, program: Sequence[str] = PROGRAM) -> subprocess.Popen[bytes]:
        """Begin it, or go on after its checkpoint; `program` takes the command.

        What runs holds a lock on the folder while it lives, also where the sweep that started it was killed.

        Raises:
            InfrastructureError: it is being made already.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        held = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            resume = ("--resume",) if saved_attempts(self.folder) is not None else ()
            if not resume:
                _empty(self.folder)
            (self.folder / _BEGUN).write_text(json.dumps(self.command), encoding="utf-8")
            command = [*program, *self.command, "--run", str(self.folder), *resume]
            quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
            with (self.folder / _LOG).open("ab") as log:
                return subprocess.Popen(command, env={**os.environ, **quiet}, stdout=log, stderr=log, pass_fds=(held,))
        except BlockingIOError:
            raise InfrastructureError(
                f"{self.folder} is being made already, by another sweep or for one that was killed. Wait for it, or "
                f"end it, and start again."
            ) from None
        finally:
            os.close(held)

    def finish(self, code: int) -> None:
        """Take note that it has ended, and throw its checkpoint away.

        Raises:
            InfrastructureError: it has failed.
        """
        if code:
            said = (self.folder / _LOG).read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
            raise InfrastructureError(f"The run {self.folder} failed with exit code {code}:\n" + "\n".join(said))
        (self.folder / _BEGUN).rename(self.folder / _DONE)
        shutil.rmtree(self.folder / "checkpoint", ignore_errors=True)


def run_all(jobs: Sequence[Job], at_once: int, title: str, program: Sequence[str] = PROGRAM) -> None:
    """Make all runs that are not done; where one fails, or this is interrupted, end those that are under way.

    Args:
        jobs: The runs.
        at_once: How many side by side.
        title: Of the progress bar.
        program: What takes their commands.

    Raises:
        InfrastructureError: a run failed, with its last words in the message; or one is being made already.
        SettingError: a folder holds another run, or something else.
    """
    waiting = [job for job in jobs if not job.done]
    running: dict[Job, subprocess.Popen[bytes]] = {}
    with _progress(title, jobs) as progress:
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    job = waiting.pop(0)
                    running[job] = job.start(program)
                time.sleep(_PAUSE_SECONDS)
                for job in _ended(running):
                    job.finish(running.pop(job).returncode)
                progress.update(progress.task_ids[0], completed=sum(job.made for job in jobs), said=_said(running))
        finally:
            for process in running.values():
                process.kill()
                process.wait()


def _empty(folder: Path) -> None:
    """Remove what is in a folder, but not the folder, which is locked."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _ended(running: Mapping[Job, subprocess.Popen[bytes]]) -> Iterator[Job]:
    yield from [job for job, process in running.items() if process.poll() is not None]


def _said(running: Mapping[Job, subprocess.Popen[bytes]]) -> str:
    return ", ".join(f"{job.folder.parent.name}/{job.folder.name} {job.made}/{job.steps}" for job in running)


def _progress(title: str, jobs: Sequence[Job]) -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    progress = Progress(TextColumn(title), *columns, TextColumn("{task.fields[said]}"), console=Console(stderr=True))
    progress.add_task("", total=sum(job.steps for job in jobs), said="")
    return progress
