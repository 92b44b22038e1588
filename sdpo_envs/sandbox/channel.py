"""How the host reaches a worker: a stream of bytes each way, with deadlines."""

import os
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Protocol

_GRACE_SECONDS = 10.0  # for a worker to end by itself


class Channel(Protocol):
    """A connection to a worker that was started for it. Deadlines are times of `time.monotonic`."""

    def send(self, data: bytes, deadline: float) -> None:
        """Send all of `data`.

        Raises:
            TimeoutError: the deadline passed.
            BrokenPipeError: the worker has ended.
        """

    def receive(self, deadline: float) -> bytes:
        """Return some bytes that the worker sent, or none when it has ended.

        Raises:
            TimeoutError: the deadline passed.
        """

    def interrupt(self) -> None:
        """Make the worker end, from another thread than the one that may be using it."""

    def close(self) -> str:
        """End the worker and all behind its wall, and return what it wrote to standard error."""

    def disown(self) -> None:
        """Let go of a worker that belongs to the process from which this one was forked."""


class PipeChannel:
    """A worker that is a process of this machine, reached through its standard streams.

    Args:
        command: The command that starts it.
        environment: Its environment variables; None for ours.

    Raises:
        OSError: it could not be started.
    """

    def __init__(self, command: Sequence[str | Path], environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command, bufsize=0, cwd="/", env=environment, start_new_session=True, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._requests, False)

    def send(self, data: bytes, deadline: float) -> None:
        """See `Channel.send`."""
        rest = memoryview(data)
        while rest:
            _wait(self._requests, select.POLLOUT, deadline)
            rest = rest[os.write(self._requests, rest) :]

    def receive(self, deadline: float) -> bytes:
        """See `Channel.receive`."""
        _wait(self._answers, select.POLLIN, deadline)
        return os.read(self._answers, 1 << 16)

    def interrupt(self) -> None:
        """See `Channel.interrupt`."""
        self._process.terminate()

    def close(self) -> str:
        """See `Channel.close`."""
        self._process.terminate()
        try:
            report = self._process.communicate(timeout=_GRACE_SECONDS)[1]
        except subprocess.TimeoutExpired:
            self._process.kill()
            report = self._process.communicate()[1]
        return report.decode("utf-8", "replace").strip()

    def disown(self) -> None:
        """See `Channel.disown`."""
        self._process.returncode = 0  # it is not ours to wait for
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()


def _wait(descriptor: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError
