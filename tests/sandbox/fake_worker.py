"""A worker that is no process: what it answers, and how it breaks, is for a test to say."""

import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable

from sdpo_envs.sandbox import Program, Run
from sdpo_envs.sandbox.frames import ANSWER
from sdpo_envs.sandbox.workers import WorkerPool

ADVICE = "Buy a better wall."
THREE = Program({"main.py": "print(input())"}, ("python", "main.py"), ("a", "b", "c"), seconds=0.5)
Reply = Callable[[int], Iterable[bytes | None]]

REQUEST = struct.Struct("!IdIIIId?Q")
"""What comes before the body of a request: its count of inputs first, the length of its body last."""


def answer(kind: bytes = b"D", done: int = 1, stdout: bytes = b"", marks: bytes = b"", seconds: float = 0.1) -> bytes:
    """Return the answer that tells of one process."""
    return ANSWER.pack(kind, done, 0, seconds, False, False, True, len(marks), len(stdout), 0) + marks + stdout


READY = answer(b"R", 0, marks=b'["paper"]')
SILENCE = None


class FakeChannel:
    """Sends `hello`, and to each request what `reply` says of the count of its inputs; then it has ended.

    A piece that is None is silence until the deadline.
    """

    def __init__(self, reply: Reply, hello: Iterable[bytes | None] = (READY,)) -> None:
        self.asked: list[int] = []
        self.closed = 0
        self._reply, self._request = reply, bytearray()
        self._pieces = deque(hello)
        self._ended = threading.Event()

    def send(self, data: bytes, deadline: float) -> None:
        self._request += data
        if self._ended.is_set():
            raise BrokenPipeError
        count, *_, length = REQUEST.unpack_from(self._request)
        if len(self._request) == REQUEST.size + length:
            self._request.clear()
            self.asked.append(count)
            self._pieces.extend(self._reply(count))

    def receive(self, deadline: float) -> bytes:
        if self._ended.is_set() or not self._pieces:
            return b""
        piece = self._pieces.popleft()
        if piece is None:
            raise TimeoutError
        return piece

    def interrupt(self) -> None:
        self._ended.set()

    def close(self) -> str:
        self.closed += 1
        return "last words"

    def disown(self) -> None:
        raise AssertionError("Nothing is forked here.")


def echo(count: int) -> list[bytes]:
    """Answer as a worker in good health does, one process for each of the last `count` of the three inputs."""
    return [answer(stdout=text) for text in (b"a\n", b"b\n", b"c\n")[3 - count :]]


def pool_of(*replies: Reply, hello: bytes | None = READY) -> tuple[WorkerPool, list[FakeChannel]]:
    """Return a pool whose first worker answers by the first of `replies`, the next by the next; there are no more."""
    waiting, used = [FakeChannel(reply, (hello,)) for reply in replies], []

    def connect() -> FakeChannel:
        used.append(waiting.pop(0))
        return used[-1]

    return WorkerPool(1, connect, ADVICE), used


def outputs(runs: tuple[Run, ...]) -> list[str]:
    return [run.stdout for run in runs]
