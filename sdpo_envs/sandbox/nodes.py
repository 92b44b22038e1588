"""The machines of a Ray cluster that programs are spread over: which there are, and how full each is.

A node takes a bounded number of programs at a time; whoever comes when all are full waits. A node that is lost, or
whose wall is broken, is rested, and then met again.
"""

import contextlib
import logging
import math
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdpo_envs.errors import SandboxError, require
from sdpo_envs.sandbox import Program, Sandbox
from sdpo_envs.sandbox.station import GIVEN_UP, Mail, Node, NodeLost, Runs, Station, alive

_ROUNDS = 2  # programs that a node has at a time, for each that it can run: the next is there when one ends
_LOOK_SECONDS = 5.0  # between two looks at the cluster
_JOIN_SECONDS = 20.0  # that a program waits for a node, where there is none
_LOST_SECONDS = 1.0  # that a node is rested when its actor was lost, so that it does not attract what others could do
_BROKEN_SECONDS = 60.0  # and when its wall is broken
_TURN_SECONDS = 1.0  # between two looks at whether a program that waits for room is still wanted
_PAUSE_SECONDS = 0.2  # between two looks at a cluster without nodes

_log = logging.getLogger("sdpo_envs.sandbox")


class Call:
    """One call of the sandbox: whether it is still wanted, and where its threads wait."""

    def __init__(self) -> None:
        self.wanted = True
        self._mails: list[Mail] = []

    @contextlib.contextmanager
    def waiting(self) -> Iterator[Mail]:
        """Give a thread a place to wait at."""
        mail: Mail = queue.SimpleQueue()
        self._mails.append(mail)
        if not self.wanted:
            mail.put(None)
        try:
            yield mail
        finally:
            self._mails.remove(mail)

    def cancel(self) -> None:
        """Tell all threads that what they wait for is not wanted any more."""
        self.wanted = False
        for mail in list(self._mails):
            mail.put(None)


@dataclass(frozen=True, slots=True)
class _Rest:
    until: float
    why: str
    broken: bool


@dataclass(eq=False)
class Nodes:
    """The nodes of the cluster that this process is connected to. Safe to use from several threads.

    Args:
        wall: Of each node: a wall, or the name of one.
        workers: How many programs a node runs at a time; None for as many as it has processors.
        resource: Of Ray, that a node must have some of.
        num_cpus: That each actor reserves.
    """

    wall: Sandbox | str
    workers: int | None
    resource: str
    num_cpus: float
    closed: bool = False
    _nodes: dict[str, Node] = field(default_factory=dict)
    _resting: dict[str, _Rest] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _looking: threading.Lock = field(default_factory=threading.Lock)
    _looked: float = -math.inf

    @property
    def slots(self) -> int:
        """How many programs all nodes together have at a time."""
        self._look()
        with self._changed:
            return sum(node.slots for node in self._nodes.values())

    def run(self, program: Program, call: Call, retries: int) -> Runs:
        """Run `program` on a node; on another one, up to `retries` times, if that is lost or its wall is broken.

        Raises:
            SandboxError: there is no node, or that happened too often, or it is not wanted any more.
            ValueError: the wall refuses the program.
        """
        tried: list[str] = []
        while True:
            node = self._take(call, tried)
            tried.append(node.id)
            try:
                with call.waiting() as mail:
                    self._start_on(node, program, mail)
                    return node.wait(mail)
            except SandboxError as error:
                self._require_wanted(call)
                self._rest(node, error)
                if len(tried) > retries:
                    told = f"The Ray cluster gave a program up after {len(tried)} tries. At the last one: {error}"
                    raise SandboxError(told) from error

    def close(self) -> None:
        """End every actor. Whoever waits is told."""
        with self._changed:
            self.closed = True
            nodes, self._nodes = list(self._nodes.values()), {}
            self._changed.notify_all()
        for node in nodes:
            node.end()

    def _take(self, call: Call, tried: Sequence[str]) -> Node:
        """Take a place on the emptiest node, rather not one of those `tried`; wait until there is one."""
        until = time.monotonic() + _JOIN_SECONDS
        while True:
            self._require_wanted(call)
            self._look()
            with self._changed:
                if free := [node for node in self._nodes.values() if node.taken < node.slots]:
                    node = min(free, key=lambda node: (node.id in tried, node.taken / node.slots))
                    node.taken += 1
                    return node
                broken = bool(self._resting) and all(rest.broken for rest in self._resting.values())
                if not self._nodes and (broken or time.monotonic() > until):
                    raise SandboxError(self._why_none())
                self._changed.wait(_TURN_SECONDS if self._nodes else _PAUSE_SECONDS)

    def _start_on(self, node: Node, program: Program, mail: Mail) -> None:
        """Start `program` in the place that was taken, which is free again when it has ended, whoever waits for it."""

        def ended(_: object = None) -> None:
            with self._changed:
                node.taken -= 1
                self._changed.notify()

        try:
            future = node.start(program)
        except BaseException:
            ended()
            raise
        future.add_done_callback(ended)
        future.add_done_callback(mail.put)

    def _require_wanted(self, call: Call) -> None:
        if self.closed or not call.wanted:
            raise SandboxError(GIVEN_UP)

    def _rest(self, node: Node, error: SandboxError) -> None:
        """Let go of a node that was lost, or whose wall is broken."""
        lost = isinstance(error, NodeLost)
        if not lost and node.works():
            return
        with self._changed:
            if self._nodes.get(node.id) is not node:
                return
            del self._nodes[node.id]
            seconds = _LOST_SECONDS if lost else _BROKEN_SECONDS
            self._resting[node.id] = _Rest(time.monotonic() + seconds, str(error), broken=not lost)
            self._changed.notify_all()
        _log.warning("The node %s is rested for %g seconds. %s", node.id[:8], seconds, error)
        node.end()

    def _look(self) -> None:
        """Meet new nodes, now and then, one thread for all; the others wait for it only where there is no node."""
        if self._fresh() or not self._looking.acquire(blocking=not self._nodes):
            return
        try:
            if not self._fresh():
                self._meet(alive(self.resource))
        except SandboxError as error:
            if not self._nodes:
                raise
            self._looked = time.monotonic()
            _log.warning("The nodes that are known are used further. %s", error)
        finally:
            self._looking.release()

    def _fresh(self) -> bool:
        with self._changed:
            now = time.monotonic()
            self._resting = {id: rest for id, rest in self._resting.items() if rest.until > now}
            return bool(self._nodes) and now < self._looked + _LOOK_SECONDS

    def _meet(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        with self._changed:
            self._looked = time.monotonic()
            self._nodes = {id: node for id, node in self._nodes.items() if id in found}
            new = [] if self.closed else [id for id in found if id not in self._nodes and id not in self._resting]
        for id in new:
            node = self._made(id, found[id])
            with self._changed:
                if not self.closed:
                    self._nodes[id] = node
                    self._changed.notify_all()
                    continue
            node.end()

    def _made(self, id: str, row: Mapping[str, Any]) -> Node:
        ray, strategies = require("ray", "ray"), require("ray.util.scheduling_strategies", "ray")
        named = isinstance(self.wall, str)
        own = None if named else getattr(self.wall, "workers", None)
        workers = self.workers or own or max(1, int(row["Resources"].get("CPU", 1)))
        slots = _ROUNDS * workers
        actor = ray.remote(Station).options(
            num_cpus=self.num_cpus,
            max_concurrency=slots + 2,  # one to answer that it lives, one to try whether its wall works
            scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(id, soft=False),
        )
        return Node(id, actor.remote(self.wall, workers if named else None), slots)

    def _why_none(self) -> str:
        if not self._resting:
            return (
                f"The Ray cluster has had no living node with the resource {self.resource!r} for {_JOIN_SECONDS:g} "
                "seconds. See `ray status`, and start nodes with: ray start --address=HEAD:6379"
            )
        told = "\n".join(f"{id[:8]}: {rest.why}" for id, rest in self._resting.items())
        return f"No node of the Ray cluster can run programs. What its nodes say:\n{told}"
