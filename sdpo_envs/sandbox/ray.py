"""The wall of a cluster: each node that Ray knows has a wall of its own, and programs are spread over them."""

import os
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Self

from sdpo_envs.errors import SandboxError, SettingError, require, within
from sdpo_envs.sandbox import Program, Run, Sandbox, open_sandbox
from sdpo_envs.sandbox.nodes import Call, Nodes

_ADVICE = "Start one with `ray start --head`, and further nodes with `ray start --address=HEAD:6379`."
_KNOCK_SECONDS = 10.0
_CONNECTED: set[int] = set()
"""Processes that are connected to a cluster. One that is forked finds its parent here, and not itself."""


class RaySandbox:
    """Runs programs on the nodes of a Ray cluster, each behind a wall of that node; nothing runs without it.

    It joins a cluster, or uses the one that this process is connected to already, and never starts one. On each node an
    actor opens the wall that is named, and no other: a node where that cannot be built runs nothing. sdpo_envs must be
    installed on every node. Only the Program travels; expected outputs stay with the judge, in this process.

    A node has at most two programs at a time for each that it can run; beyond that, callers wait. A program whose node
    or actor was lost runs again from its beginning, on another node if there is one. That changes nothing but the time
    it takes, as what a program does behind a wall nobody else sees; and one call gives one tuple of runs, so that a
    record holds it once. What comes late from a node that was given up is thrown away. Nodes that join later are used.

    Attributes:
        address: ``"host:port"`` of the cluster; ``"auto"`` for the one that `ray.init` finds, by ``RAY_ADDRESS`` or on
            this machine.
        wall: Of every node: a name, see `open_sandbox`, or a sandbox that pickles, such as `DockerSandbox`.
        workers: How many programs a node runs at once, for a wall by name; None for as many as Ray counts processors.
        retries: How often a program is run again, after a node was lost or its wall broke.
        resource: A node takes part if Ray says that it has some of this; ``"CPU"`` leaves out a head that was started
            with ``--num-cpus=0``. Another, as of ``ray start --resources='{"judge": 1}'``, chooses nodes.
        num_cpus: Processors that each actor reserves in Ray's books; by default none, so that it waits for nobody who
            holds them all, as trainers do.
        abreast: How many slots of a `GroupEnv` may wait for it at once.

    Raises:
        SettingError: a setting is not offered.
    """

    abreast = 1024

    def __init__(
        self,
        address: str = "auto",
        wall: Sandbox | str = "local",
        workers: int | None = None,
        *,
        retries: int = 3,
        resource: str = "CPU",
        num_cpus: float = 0.0,
    ) -> None:
        if not isinstance(address, str) or address == "local" or not address or "://" in address:
            raise SettingError(f"address={address!r} is not offered; it is 'auto' or 'HOST:PORT'. {_ADVICE}")
        if wall == "ray" or isinstance(wall, RaySandbox):
            raise SettingError("wall='ray' is not offered; a node's own wall is 'local', 'docker' or 'gvisor'.")
        self.address, self.wall, self.workers = address, wall, workers
        self.retries, self.resource = int(within("retries", retries, 0)), resource
        self.num_cpus = within("num_cpus", num_cpus, 0)
        self._pattern = open_sandbox(wall, workers)  # it runs nothing here, and knows what can be asked for
        self._joining = threading.Lock()
        self._joined: tuple[int, str] | None = None
        self._nodes: Nodes | None = None

    def run(self, program: Program) -> tuple[Run, ...]:
        """Run `program` once per input, on one node; see `Sandbox.run`.

        Raises:
            SandboxError: there is no cluster or no node, or node after node was lost or its wall broke.
            ValueError: as the wall's own.
        """
        self._check(program)
        return self._cluster().run(program, Call(), self.retries)

    def run_many(self, programs: Sequence[Program]) -> list[tuple[Run, ...]]:
        """Run several programs side by side on all nodes; see `Sandbox.run_many`.

        An exception, such as that of Ctrl-C, ends the waiting; what runs on a node goes on there to its own end, and
        nothing else takes its place until then.

        Raises:
            SandboxError: as `run`.
            ValueError: as `run`.
        """
        for program in programs:
            self._check(program)
        if not programs:
            return []
        call, nodes = Call(), self._cluster()
        threads = ThreadPoolExecutor(max(1, min(len(programs), nodes.slots)), "sdpo-envs-ray")
        try:
            futures = [threads.submit(nodes.run, program, call, self.retries) for program in programs]
            ended = wait(futures, return_when=FIRST_EXCEPTION).done
            return [future.result() for future in [*ended, *futures]][len(ended) :]
        except BaseException:
            call.cancel()
            raise
        finally:
            threads.shutdown(cancel_futures=True)

    def close(self) -> None:
        """End the actors that it has started, and their walls. The cluster, and this process's connection, stay.

        A run in another thread raises `SandboxError`; a later one starts anew.
        """
        nodes, self._nodes = self._nodes, None
        if nodes is not None and self._joined == _connection():
            nodes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as settings: a copy has actors of its own."""
        settings = {"retries": self.retries, "resource": self.resource, "num_cpus": self.num_cpus}
        return _remade, (self.address, self.wall, self.workers, settings)

    def __repr__(self) -> str:
        return f"RaySandbox(address={self.address!r}, wall={self.wall!r}, workers={self.workers})"

    def _check(self, program: Program) -> None:
        check = getattr(self._pattern, "check", None)
        if check is not None:
            check(program)

    def _cluster(self) -> Nodes:
        """Return the nodes of the cluster, which this process joins if it has not; anew if it left, or was forked."""
        with self._joining:
            _join(self.address)
            if self._nodes is None or self._joined != _connection():
                self._joined = _connection()
                self._nodes = Nodes(self.wall, self.workers, self.resource, self.num_cpus)
            return self._nodes


def _remade(address: str, wall: Sandbox | str, workers: int | None, settings: dict[str, Any]) -> RaySandbox:
    return RaySandbox(address, wall, workers, **settings)


def _connection() -> tuple[int, str]:
    """Return what tells one connection to a cluster from another: the process, and Ray's number of its job."""
    ray = require("ray", "ray")
    connected = os.getpid() in _CONNECTED and ray.is_initialized()
    return os.getpid(), ray.get_runtime_context().get_job_id() if connected else ""


def _join(address: str) -> None:
    """Connect this process to the cluster at `address`, unless it is connected.

    Raises:
        SandboxError: there is none, the process is connected to another one, or it was forked from one that was
            connected, whose connection it has and cannot use: Ray would wait for ever.
        MissingExtra: Ray is not installed.
    """
    ray, errors = require("ray", "ray"), require("ray.exceptions", "ray")
    if not ray.is_initialized():
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, configure_logging=False, ignore_reinit_error=True)
        except (OSError, RuntimeError, ValueError, errors.RayError) as error:
            raise SandboxError(
                f"There is no Ray cluster to join at address={address!r}: {str(error).rstrip('.')}. {_ADVICE}"
            ) from error
    elif _CONNECTED and os.getpid() not in _CONNECTED:
        raise SandboxError(
            "This process was forked from one that is connected to a Ray cluster, and Ray does not survive a fork. "
            "Start it by spawn or forkserver instead, as in AsyncVectorEnv(..., context='forkserver')."
        )
    elif not _same_place(address, connected := ray.get_runtime_context().gcs_address):
        raise SandboxError(
            f"This process is connected to the Ray cluster at {connected}, not to address={address!r}. Leave out "
            "address, or call ray.shutdown() first."
        )
    _CONNECTED.add(os.getpid())


def _knock(address: str) -> None:
    """See whether anybody listens where Ray would look, which would itself try for minutes.

    Raises:
        OSError: nobody does.
        ValueError: the address is none.
    """
    if address == "auto":
        left = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
        address = os.environ.get("RAY_ADDRESS") or (left.read_text().strip() if left.exists() else "")
    if address and "://" not in address:
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()


def _same_place(address: str, other: str) -> bool:
    """Whether two addresses may be one; hosts have several names, ports have one."""
    return address == "auto" or address.rpartition(":")[2] == other.rpartition(":")[2]
