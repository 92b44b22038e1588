"""A pool of engine processes, in which TextWorld plays; what they run is `textworker`.

The engine holds native state and is not safe in threads, so it runs apart. A request tells all that an answer depends
on, so no process owns an episode: a lost one is replaced, and the new one goes where the old one was.
"""

import atexit
import hashlib
import json
import os
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sdpo_envs.errors import InfrastructureError, JudgeError
from sdpo_envs.sandbox.channel import PipeChannel
from sdpo_envs.textworker import LENGTH

Fact = tuple[str, ...]
"""A fact of a game: the name of its predicate, then the names of what it holds of."""

SECONDS = 120.0
"""How long an answer may take; the slowest is the first of a game, which is translated for the planner then."""

PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from sdpo_envs.textworker import main; main()"


@dataclass(frozen=True, slots=True)
class Logic:
    """A game as the engine reads it.

    Attributes:
        domain: PDDL: what there may be, and what each action needs and does.
        grammar: TextWorld's grammar, with ``UNKNOWN GOAL`` in place of the goal.
        goal: How the goal is told.
        problem: PDDL: what there is, and the goal.
        key: A short name that no other game has.
    """

    domain: str
    grammar: str
    goal: str
    problem: str
    key: str = field(init=False)

    @property
    def put(self) -> str:
        """How a thing is put down, with gaps for the thing and the place."""
        return "put {} in/on {}" if "put {o} in/on {r}" in self.grammar else "move {} to {}"

    def __post_init__(self) -> None:
        text = "\0".join((self.domain, self.grammar, self.goal, self.problem))
        object.__setattr__(self, "key", hashlib.sha256(text.encode()).hexdigest()[:20])


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine says.

    Attributes:
        text: What a player reads.
        commands: Those that may be given now, sorted.
        changes: What the command changed, at the start all that holds: whether it holds now, and the fact.
        won: Whether the goal is met.
        moved: Whether the command was one of those that could be given.
    """

    text: str
    commands: tuple[str, ...]
    changes: tuple[tuple[bool, Fact], ...]
    won: bool
    moved: bool


class Engine:
    """Up to `size` engine processes of this machine, which start when they are needed and end when they idle.

    Safe to use from several threads; a forked process gets processes of its own. A game is always played by the same
    process, which remembers it.

    Args:
        size: How many processes.
        seconds: How long an answer may take.
        program: What a process runs, in Python.
    """

    def __init__(self, size: int, seconds: float = SECONDS, program: str = PROGRAM) -> None:
        self.seconds, self.program = seconds, program
        self._pid = os.getpid()
        self._workers = [_Worker(program) for _ in range(size)]

    def ask(self, logic: Logic, path: Sequence[str] = (), command: str | None = None) -> Answer:
        """Return what the engine says of `command` after the commands of `path`, each of which had an effect.

        Without a command it says what is seen at the end of the path.

        Raises:
            JudgeError: a process could not start, fell silent, or was lost twice.
        """
        crew = self._crew()
        worker = crew[zlib.crc32(logic.key.encode()) % len(crew)]
        said = worker.ask({"key": logic.key, "path": list(path), "command": command}, logic, self.seconds)
        changes = tuple((holds, tuple(fact)) for holds, *fact in said["changes"])
        return Answer(said["text"], tuple(said["commands"]), changes, said["won"], said["moved"])

    def close(self) -> None:
        """End all processes; they start again when they are needed."""
        for worker in self._crew():
            worker.stop()

    def disown(self) -> None:
        """Let go of the processes of the one from which this one was forked, and start others when they are needed."""
        for worker in self._workers:
            worker.disown()
        self._workers, self._pid = [_Worker(self.program) for _ in self._workers], os.getpid()

    def _crew(self) -> list["_Worker"]:
        """Return the workers of this process."""
        if self._pid != os.getpid():
            self.disown()
        return self._workers


class _Lost(InfrastructureError):
    """A process ended, fell silent or broke the protocol."""


class _Worker:
    """A place for one process, used by one thread at a time."""

    def __init__(self, program: str) -> None:
        self.channel: PipeChannel | None = None
        self._program = program
        self._lock = threading.Lock()

    def ask(self, request: dict[str, Any], logic: Logic, seconds: float) -> dict[str, Any]:
        """Return the answer; from a new process if one is lost before it answers."""
        with self._lock:
            try:
                return self._exchange(request, logic, seconds)
            except _Lost:
                pass  # perhaps it had ended because it was idle
            try:
                return self._exchange(request, logic, seconds)
            except _Lost as error:
                raise JudgeError(f"{error} It was the second one for the same request.") from None

    def stop(self) -> str:
        """End the process, and return what it wrote to standard error."""
        channel, self.channel = self.channel, None
        return channel.close() if channel else ""

    def disown(self) -> None:
        """Let go of a process that belongs to the one from which this one was forked."""
        if self.channel:
            self.channel.disown()

    def _exchange(self, request: dict[str, Any], logic: Logic, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        try:
            if self.channel is None:
                self._start(deadline)
            said = self._call(request, deadline)
            if "unknown" in said:
                game = {name: getattr(logic, name) for name in ("domain", "grammar", "goal", "problem")}
                said = self._call({**request, "game": game}, deadline)
        except TimeoutError:
            self.stop()
            raise JudgeError(f"The text engine gave no answer within {seconds:g} s; it is replaced.") from None
        except BaseException:  # an answer that nobody waits for any more must not be taken for the next one
            self.stop()
            raise
        return said

    def _start(self, deadline: float) -> None:
        environment = {"ALFWORLD_DATA": tempfile.gettempdir(), **os.environ, "PYTHONHASHSEED": "0"}
        path = [os.path.abspath(folder) for folder in sys.path]  # the process starts in another folder
        try:
            self.channel = PipeChannel([sys.executable, "-c", self._program, json.dumps(path)], environment)
        except OSError as error:
            raise JudgeError(f"The text engine did not start: {error}.") from error
        if "ready" not in self._receive(deadline):
            raise self._lost("did not say that it is ready")

    def _call(self, request: dict[str, Any], deadline: float) -> dict[str, Any]:
        assert self.channel is not None
        data = json.dumps(request).encode()
        try:
            self.channel.send(LENGTH.pack(len(data)) + data, deadline)
        except BrokenPipeError:
            raise self._lost("ended") from None
        return self._receive(deadline)

    def _receive(self, deadline: float) -> dict[str, Any]:
        assert self.channel is not None
        received, length = bytearray(), LENGTH.size
        while len(received) < length:
            piece = self.channel.receive(deadline)
            if not piece:
                raise self._lost("ended")
            received += piece
            if len(received) >= LENGTH.size:
                length = LENGTH.size + LENGTH.unpack_from(received)[0]
        try:
            message: dict[str, Any] = json.loads(received[LENGTH.size :])
        except ValueError:
            raise self._lost("broke its protocol") from None
        return message

    def _lost(self, how: str) -> _Lost:
        return _Lost(f"The text engine {how}. {self.stop()}".rstrip())


_engines: dict[int, Engine] = {}


def shared_engine(size: int) -> Engine:
    """Return the engine of that size which all environments of this process share.

    Starting a process takes a second and each game is translated once in it, so environments come and go, and the
    processes stay until they idle, or this process ends: by itself, or killed, as they read their input to its end. A
    fork lets go of that input at once.
    """
    if size not in _engines:
        _engines[size] = engine = Engine(size)
        atexit.register(engine.close)
        os.register_at_fork(after_in_child=engine.disown)
    return _engines[size]
