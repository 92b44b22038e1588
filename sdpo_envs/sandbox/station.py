"""One machine of a Ray cluster: the actor that has a wall there, and how this process speaks to it."""

import os
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdpo_envs.errors import SandboxError, require
from sdpo_envs.sandbox import Program, Run, Sandbox, open_sandbox

Runs = tuple[Run, ...]
Mail = queue.SimpleQueue[Any]
"""Where a thread waits: for the future that has ended, or for None, when it is not wanted any more."""
GIVEN_UP = "The sandbox was closed, or the call given up, before the program had run."

_HONEST = Program({"main.py": "print(1)"}, ("python", "main.py"))
_ANSWER_SECONDS = 30.0  # for the cluster to say which nodes there are
_SILENT_SECONDS = (
    60.0  # without an end of a program, after which its node is asked whether it lives; and for its answer
)


class Station:
    """What runs on a node: a wall of that node. Methods are called from several threads.

    Args:
        wall: A wall, or the name of one.
        workers: For a wall by name.
    """

    def __init__(self, wall: Sandbox | str, workers: int | None) -> None:
        self._wall = open_sandbox(wall, workers)

    def run(self, program: Program) -> Runs:
        """See `Sandbox.run`."""
        return self._wall.run(program)

    def pid(self) -> int:
        """Return the process id, which shows that this process lives."""
        return os.getpid()


class NodeLost(SandboxError):
    """The node, its actor or the result is gone; whether the program ran there nobody knows."""


@dataclass(eq=False, slots=True)
class Node:
    """A machine and its actor.

    Attributes:
        id: Ray's.
        station: The actor.
        slots: The most programs that it has at a time.
        taken: How many it has, counted under the lock of `Nodes`.
    """

    id: str
    station: Any
    slots: int
    taken: int = 0

    def start(self, program: Program) -> Any:
        """Send `program` and return its future.

        Raises:
            NodeLost: the actor is known to be dead.
        """
        return _call(self.station.run, program)

    def wait(self, mail: Mail) -> Runs:
        """Wait for what was started, whose future comes by `mail`.

        Raises:
            NodeLost: the node was lost.
            SandboxError: its wall broke, or it is not wanted any more.
            ValueError: the wall refuses the program.
        """
        while True:
            try:
                found = mail.get(timeout=_SILENT_SECONDS)
            except queue.Empty:
                self._require_alive()
                continue
            if found is None:
                raise SandboxError(GIVEN_UP)
            runs: Runs = _result(found)
            return runs

    def works(self) -> bool:
        """Whether its wall runs an honest program: if so, it is not the wall that is broken."""
        mail: Mail = queue.SimpleQueue()
        try:
            self.start(_HONEST).add_done_callback(mail.put)
            return self.wait(mail)[0].exit_code == 0
        except SandboxError:
            return False

    def end(self) -> None:
        """End the actor, and with it its wall."""
        ray = require("ray", "ray")
        if ray.is_initialized():
            ray.kill(self.station)

    def _require_alive(self) -> None:
        mail: Mail = queue.SimpleQueue()
        _call(self.station.pid).add_done_callback(mail.put)
        try:
            _result(mail.get(timeout=_SILENT_SECONDS))
        except queue.Empty:
            told = f"The node {self.id[:8]} has not answered for {_SILENT_SECONDS:g} seconds."
            raise NodeLost(f"{told} See `ray status`: it may be overloaded, or have no processor left.") from None


def _call(method: Any, *arguments: object) -> Any:
    """Call a method of an actor and return its future.

    Raises:
        NodeLost: it is known to be dead.
    """
    errors = require("ray.exceptions", "ray")
    try:
        return method.remote(*arguments).future()
    except errors.RayError as error:
        raise NodeLost(f"{type(error).__name__}: {error}") from error


def _result(future: Any) -> Any:
    """Return what a call gave.

    Raises:
        NodeLost: it gave nothing, as the node, the actor or the result was lost.
        SandboxError: the wall broke, or what runs on that node is not in order.
        ValueError: the wall refuses the program.
    """
    errors = require("ray.exceptions", "ray")
    try:
        return future.result()
    except errors.RayTaskError as error:
        if isinstance(error.cause, ValueError):
            raise error.cause from None
        if isinstance(error.cause, SandboxError):
            raise SandboxError(str(error.cause)) from error
        raise SandboxError(f"{type(error.cause).__name__}: {error.cause}") from error
    except errors.RayActorError as error:
        kind = SandboxError if error.actor_init_failed else NodeLost
        raise kind(str(error)) from error
    except errors.RayError as error:
        raise NodeLost(f"{type(error).__name__}: {error}") from error


def alive(resource: str) -> dict[str, Mapping[str, Any]]:
    """Return the nodes that live and have some of `resource`, by id, as Ray describes them.

    Raises:
        SandboxError: the cluster does not answer.
    """
    ray, errors = require("ray", "ray"), require("ray.exceptions", "ray")
    mail: Mail = queue.SimpleQueue()

    def ask() -> None:
        try:
            mail.put(ray.nodes())
        except errors.RayError as error:
            mail.put(error)

    threading.Thread(target=ask, name="sdpo-envs-nodes", daemon=True).start()
    try:
        found = mail.get(timeout=_ANSWER_SECONDS)
    except queue.Empty:
        raise SandboxError(
            f"The Ray cluster has not answered for {_ANSWER_SECONDS:g} seconds. See whether `ray status` does."
        ) from None
    if isinstance(found, Exception):
        raise SandboxError(f"The Ray cluster does not tell its nodes: {found}. See `ray status`.") from found
    return {row["NodeID"]: row for row in found if row["Alive"] and row["Resources"].get(resource)}
