"""The host's pool of workers: starts them, gives them programs, replaces them. Knows no wall, and no language.

A worker is reached through a `Channel` that carries what `frames.py` describes.
"""

import contextlib
import json
import logging
import os
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from sdpo_envs.errors import SandboxError
from sdpo_envs.sandbox import Program, Run
from sdpo_envs.sandbox.channel import Channel
from sdpo_envs.sandbox.frames import ANSWER, LONGEST_ANSWER, Answer, request, runs_of

Connect = Callable[[], Channel]

_START_SECONDS = 60.0
_GRACE_SECONDS = 10.0  # a worker that is silent for so long after a process's own limit is given up
_LONGEST_WAIT = 9.0  # times the time limit that a worker may take for an answer: two runs, each made to wait
_KILLED = 128 + 9
_VMSTAT = Path("/proc/vmstat")

_log = logging.getLogger("sdpo_envs.sandbox")


class WorkerPool:
    """Runs programs on up to `size` workers, which start when they are needed.

    Safe to use from several threads; a forked process gets workers of its own. All inputs of a program run on one
    worker.

    Args:
        size: How many programs can run at once.
        connect: Starts a worker.
        advice: What to do when a worker cannot start; ends that error's message.
    """

    def __init__(self, size: int, connect: Connect, advice: str) -> None:
        self._size, self._connect, self._advice = size, connect, advice
        self._crews: dict[int, _Crew] = {}  # by process id

    def run(self, program: Program) -> tuple[Run, ...]:
        """Run `program` once per input.

        Raises:
            SandboxError: a worker could not start, or was lost twice with the same input.
            ValueError: the program and its inputs are too long to send.
        """
        return self._run(program, _Call())

    def run_many(self, programs: Sequence[Program]) -> list[tuple[Run, ...]]:
        """Run several programs side by side, and return their runs in the order of `programs`.

        An exception, such as that of Ctrl-C, ends those that are running and cancels the others.

        Raises:
            SandboxError: as `run`.
            ValueError: as `run`.
        """
        call = _Call()
        threads = ThreadPoolExecutor(self._size)
        try:
            futures = [threads.submit(self._run, program, call) for program in programs]
            ended = wait(futures, return_when=FIRST_EXCEPTION).done
            return [future.result() for future in [*ended, *futures]][len(ended) :]
        except BaseException:
            call.cancel()
            raise
        finally:
            threads.shutdown(cancel_futures=True)

    def close(self) -> None:
        """End all workers of this process. Runs that another thread waits for raise `SandboxError`."""
        if crew := self._crews.pop(os.getpid(), None):
            crew.close()

    def _run(self, program: Program, call: "_Call") -> tuple[Run, ...]:
        with self._crew().borrow() as worker, call.working(worker):
            return worker.run(program, call)

    def _crew(self) -> "_Crew":
        if crew := self._crews.get(os.getpid()):
            return crew
        for pid in set(self._crews) - {os.getpid()}:
            self._crews[pid].disown()
        workers = [_Worker(self._connect, self._advice) for _ in range(self._size)]
        return self._crews.setdefault(os.getpid(), _Crew(workers))


class _Call:
    """One call of the pool: the workers that are at work for it, and whether it still wants what they do."""

    def __init__(self) -> None:
        self.cancelled = False
        self._workers: list[_Worker] = []

    @contextlib.contextmanager
    def working(self, worker: "_Worker") -> Iterator[None]:
        self._workers.append(worker)
        try:
            yield
        finally:
            self._workers.remove(worker)

    def cancel(self) -> None:
        self.cancelled = True
        for worker in list(self._workers):
            worker.interrupt()


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
            worker.closed = True
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

    def __init__(self, connect: Connect, advice: str) -> None:
        self.closed = False
        self._connect, self._advice = connect, advice
        self._channel: Channel | None = None
        self._received = bytearray()
        self._deadline = 0.0
        self._kernel_kills = 0

    def run(self, program: Program, call: _Call) -> tuple[Run, ...]:
        """Run `program`; what is missing when the worker is lost runs on a new one; raise if that is lost too."""
        self._go_on(call)
        runs: list[Run] = []
        started = time.monotonic()
        answered = -1
        while True:
            try:
                self._exchange(program, call, runs, started)
                return tuple(runs)
            except _WorkerLost as error:
                self._go_on(call)
                if len(runs) == answered:
                    raise SandboxError(str(error)) from None
                answered = len(runs)
                _log.warning("A worker was lost and is replaced. %s", error)

    def _go_on(self, call: _Call) -> None:
        if self.closed or call.cancelled:
            raise SandboxError("The sandbox was closed, or the call given up, before the program had run.")

    def _exchange(self, program: Program, call: _Call, runs: list[Run], started: float) -> None:
        """Run the inputs for which there are no `runs` yet, and add theirs."""
        with contextlib.ExitStack() as failure:
            failure.callback(self.stop)
            channel = self._channel or self._start(call)
            self._deadline = time.monotonic() + _GRACE_SECONDS
            self._send(channel, request(program, runs, time.monotonic() - started))
            while left := len(program.inputs) - len(runs):
                self._deadline = time.monotonic() + program.seconds * _LONGEST_WAIT + _GRACE_SECONDS
                runs += self._answer(channel, program, left)
            if not self._received:  # else it says more than it was asked, and is not asked again
                failure.pop_all()

    def _start(self, call: _Call) -> Channel:
        self._kernel_kills = _kernel_kills()
        try:
            self._channel = self._connect()
            if self.closed or call.cancelled:  # too early for `interrupt` to have found this channel
                raise self._lost("was given up")
            self._deadline = time.monotonic() + _START_SECONDS
            ready = self._receive_answer(self._channel)
            if ready.kind != b"R":
                raise self._lost("broke its protocol: it did not say that it is ready")
            _log.info("A worker has started behind %s.", ", ".join(map(str, json.loads(ready.marks))))
        except (OSError, ValueError, TypeError) as error:
            raise SandboxError(f"The worker of the sandbox did not start: {error}.\n{self._advice}") from error
        except _WorkerLost as error:
            raise SandboxError(f"{error}\n{self._advice}") from None
        return self._channel

    def _answer(self, channel: Channel, program: Program, left: int) -> list[Run]:
        """Receive what happened to the next inputs, at least one of them and at most `left`."""
        answer = self._receive_answer(channel)
        if answer.kind == b"X":
            raise self._lost(f"could not set up a run: {answer.marks.decode('utf-8', 'replace')}")
        if answer.code == _KILLED and not answer.ended_by_worker:
            before, self._kernel_kills = self._kernel_kills, _kernel_kills()
            if before < self._kernel_kills:
                raise self._lost("lost a process to the kernel, because the machine's memory was full")
        try:
            return runs_of(answer, program, left)
        except ValueError as error:
            raise self._lost(f"broke its protocol: {error}") from None

    def _receive_answer(self, channel: Channel) -> Answer:
        *head, first, second, third = ANSWER.unpack(self._receive(channel, ANSWER.size))
        if first + second + third > LONGEST_ANSWER:
            raise self._lost("broke its protocol: it announced more than it may send")
        return Answer(*head, *(self._receive(channel, length) for length in (first, second, third)))

    def _send(self, channel: Channel, data: bytes) -> None:
        try:
            channel.send(data, self._deadline)
        except TimeoutError:
            raise self._lost("fell silent") from None
        except BrokenPipeError:
            raise self._lost("ended") from None

    def _receive(self, channel: Channel, length: int) -> bytes:
        while len(self._received) < length:
            try:
                piece = channel.receive(self._deadline)
            except TimeoutError:
                raise self._lost("fell silent") from None
            if not piece:
                raise self._lost("ended")
            self._received += piece
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken

    def _lost(self, how: str) -> _WorkerLost:
        """End the worker and return the error that tells how it was lost, with what it had to say itself."""
        return _WorkerLost(f"The worker of the sandbox {how}. {self.stop()}".rstrip())

    def stop(self) -> str:
        """End the worker and all behind its wall, and return what it wrote to standard error."""
        channel, self._channel = self._channel, None
        self._received.clear()
        return channel.close() if channel else ""

    def interrupt(self) -> None:
        """End the worker, from another thread than the one that may be using it."""
        if channel := self._channel:
            channel.interrupt()

    def disown(self) -> None:
        """Let go of a worker that belongs to the process from which this one was forked."""
        if channel := self._channel:
            channel.disown()


def _kernel_kills() -> int:
    """Return how many processes of this machine the kernel has killed for want of memory; 0 where it does not tell."""
    try:
        lines = _VMSTAT.read_text().split("\n")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
