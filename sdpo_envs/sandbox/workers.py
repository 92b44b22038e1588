"""The host's end of the workers: starts them, speaks with them, replaces them. Knows no wall.

A worker is any command whose standard streams carry the frames described in `sandboxes/python/worker.py`. What it sends
is hostile input: it speaks for a process in which untrusted programs run.
"""

import contextlib
import json
import os
import queue
import re
import select
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

from sdpo_envs.errors import SandboxError
from sdpo_envs.sandbox import Program, Run

Command = Callable[[], Sequence[str | Path]]

_START_SECONDS = 60.0
_GRACE_SECONDS = 10.0  # a worker that is silent for so long after a run's own limit is given up
_LONGEST_REQUEST = 64 << 20  # a program, an input: the worker keeps them in a small tmpfs
_LONGEST_ANSWER = 1 << 16
_HEAD, _DONE = struct.Struct("!cI"), struct.Struct("!Bd??")
_MEMORY_ERROR = re.compile(r"([\w.]+\.)?\w*MemoryError\b.*")


class WorkerPool:
    """Runs programs on up to `size` workers, which start when they are needed.

    Safe to use from several threads; a forked process gets workers of its own. The inputs of a program run one after
    another on one worker.

    Args:
        size: How many programs can run at once.
        command: Returns the command that starts a worker.
        advice: What to do when a worker cannot start; ends that error's message.
    """

    def __init__(self, size: int, command: Command, advice: str) -> None:
        self._size, self._command, self._advice = size, command, advice
        self._crews: dict[int, _Crew] = {}  # by process id

    def run(self, program: Program) -> tuple[Run, ...]:
        """Run `program` once per input.

        Raises:
            SandboxError: a worker could not start, or was lost twice with the same input.
            ValueError: the program or an input is too long to send.
        """
        runs: list[Run] = []
        with self._crew().borrow() as worker:
            start = time.monotonic()
            for stdin in program.inputs:
                given_up = _used_up(program, runs, time.monotonic() - start)
                runs.append(Run(exit_code=-1, skipped=True) if given_up else worker.run(program, stdin))
        return tuple(runs)

    def run_many(self, programs: Sequence[Program]) -> list[tuple[Run, ...]]:
        """Run several programs side by side, and return their runs in the order of `programs`.

        Raises:
            SandboxError: as `run`.
            ValueError: as `run`.
        """
        with ThreadPoolExecutor(self._size) as threads:
            return list(threads.map(self.run, programs))

    def close(self) -> None:
        """End all workers of this process. Runs that another thread waits for raise `SandboxError`."""
        if crew := self._crews.pop(os.getpid(), None):
            crew.close()

    def _crew(self) -> "_Crew":
        if crew := self._crews.get(os.getpid()):
            return crew
        for pid in set(self._crews) - {os.getpid()}:
            self._crews[pid].disown()
        workers = [_Worker(self._command, self._advice) for _ in range(self._size)]
        return self._crews.setdefault(os.getpid(), _Crew(workers))


def _used_up(program: Program, runs: Sequence[Run], seconds: float) -> bool:
    """Whether the runs so far used up what all runs of the program are allowed."""
    if program.total_seconds is not None and seconds >= program.total_seconds:
        return True
    return program.timeouts is not None and sum(run.timed_out for run in runs) >= program.timeouts


class _Crew:
    """The workers of one process, each used by one thread at a time."""

    def __init__(self, workers: list["_Worker"]) -> None:
        self._workers = workers
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        for worker in workers:
            self._idle.put(worker)

    @contextlib.contextmanager
    def borrow(self) -> Iterator["_Worker"]:
        worker = self._idle.get()
        try:
            yield worker
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        for worker in self._workers:
            worker.interrupt()
        for worker in [self._idle.get() for _ in self._workers]:
            worker.stop()
            self._idle.put(worker)  # for threads that still wait for one; they are told that it is closed

    def disown(self) -> None:
        for worker in self._workers:
            worker.disown()


class _WorkerLost(SandboxError):
    """The worker ended, fell silent or broke the protocol."""


class _Worker:
    """A place for one worker: it is started when first used, and again after it was lost."""

    def __init__(self, command: Command, advice: str) -> None:
        self._command, self._advice = command, advice
        self._process: subprocess.Popen[bytes] | None = None
        self._requests = self._answers = -1
        self._received = bytearray()
        self._deadline = 0.0
        self._program: Program | None = None  # what the worker has been told
        self._closed = False

    def run(self, program: Program, stdin: str) -> Run:
        """Run `program` on one input, again on a new worker if the worker is lost, and raise if that is lost too."""
        try:
            return self._exchange(program, stdin)
        except _WorkerLost:
            return self._exchange(program, stdin)

    def _exchange(self, program: Program, stdin: str) -> Run:
        with contextlib.ExitStack() as failure:
            failure.callback(self.stop)
            if self._process is None:
                self._start()
            self._deadline = time.monotonic() + program.seconds + _GRACE_SECONDS
            if self._program is not program:
                self._tell(program)
            self._send(b"I", stdin.encode("utf-8", "surrogatepass"))
            run = self._collect(program)
            failure.pop_all()
            return run

    def _start(self) -> None:
        if self._closed:
            raise SandboxError("The sandbox was closed while it ran a program.")
        command = self._command()
        try:
            self._process = subprocess.Popen(
                command, bufsize=0, cwd="/", start_new_session=True, stdin=PIPE, stdout=PIPE, stderr=PIPE
            )
        except OSError as error:
            raise SandboxError(f"The worker of the sandbox did not start: {error}.\n{self._advice}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._requests, False)
        self._deadline = time.monotonic() + _START_SECONDS
        try:
            self._frame(b"R")
        except _WorkerLost as error:
            raise SandboxError(f"{error}\n{self._advice}") from None

    def _tell(self, program: Program) -> None:
        limits = {name: getattr(program, name) for name in ("seconds", "memory_mb", "output_kb", "processes")}
        self._send(b"L", json.dumps(limits).encode())
        self._send(b"P", json.dumps({"files": dict(program.files), "argv": program.argv}).encode())
        self._program = program

    def _collect(self, program: Program) -> Run:
        outputs = {b"O": bytearray(), b"E": bytearray()}
        while True:
            kind, body = self._frame(b"OEDX")
            if kind == b"X":
                raise self._lost(f"could not set up a run: {body.decode('utf-8', 'replace')}")
            if kind == b"D":
                break
            outputs[kind] += body
            if len(outputs[kind]) > program.output_kb << 10:
                raise self._lost("sent more output than a run may write")
        stdout, stderr = (output.decode("utf-8", "replace") for output in outputs.values())
        exit_code, seconds, timed_out, too_much_output = _DONE.unpack(body)
        last_line = stderr.rstrip().rpartition("\n")[2]
        out_of_memory = exit_code == 1 and _MEMORY_ERROR.fullmatch(last_line) is not None
        return Run(exit_code, stdout, stderr, seconds, timed_out, out_of_memory, too_much_output)

    def _send(self, kind: bytes, body: bytes) -> None:
        if len(body) > _LONGEST_REQUEST:
            raise ValueError(f"A program, or an input, has {len(body)} bytes; up to {_LONGEST_REQUEST} are taken.")
        rest = memoryview(_HEAD.pack(kind, len(body)) + body)
        while rest:
            self._wait(self._requests, select.POLLOUT)
            try:
                rest = rest[os.write(self._requests, rest) :]
            except BrokenPipeError:
                raise self._lost("ended") from None

    def _frame(self, kinds: bytes) -> tuple[bytes, bytes]:
        """Return kind and body of the next frame, which has to be of one of `kinds`."""
        kind, length = _HEAD.unpack(self._receive(_HEAD.size))
        if kind not in kinds or length > _LONGEST_ANSWER or (kind == b"D" and length != _DONE.size):
            raise self._lost(f"sent {kind!r} with {length} bytes, which is not in its protocol")
        return kind, self._receive(length)

    def _receive(self, length: int) -> bytes:
        while len(self._received) < length:
            self._wait(self._answers, select.POLLIN)
            if not (piece := os.read(self._answers, 1 << 16)):
                raise self._lost("ended")
            self._received += piece
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken

    def _wait(self, descriptor: int, event: int) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(max(0.0, self._deadline - time.monotonic()) * 1000):
            raise self._lost("fell silent")

    def _lost(self, how: str) -> _WorkerLost:
        """End the worker and return the error that tells how it was lost, with what it had to say itself."""
        return _WorkerLost(f"The worker of the sandbox {how}. {self.stop()}".rstrip())

    def stop(self) -> str:
        """End the worker and all behind its wall, and return what it wrote to standard error."""
        process, self._process, self._program = self._process, None, None
        self._received.clear()
        if process is None:
            return ""
        process.terminate()
        try:
            report = process.communicate(timeout=_GRACE_SECONDS)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            report = process.communicate()[1]
        return report.decode("utf-8", "replace").strip()

    def interrupt(self) -> None:
        """End the worker for good, from another thread than the one that may be using it."""
        self._closed = True
        if process := self._process:
            process.terminate()

    def disown(self) -> None:
        """Let go of a worker that belongs to the process from which this one was forked."""
        if process := self._process:
            process.returncode = 0  # it is not ours to wait for
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()
