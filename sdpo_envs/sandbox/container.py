"""How the host reaches a worker that is PID 1 of a container of its own."""

import contextlib
import os
import secrets
import socket
import struct
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sdpo_envs.errors import SandboxError, require
from sdpo_envs.sandbox.engine import engine

WORKER = "sdpo-envs.worker"
"""The label of a container: the id of the process that uses it, and a number drawn for it."""

_ABANDONED_SECONDS = 60.0
_REPORT_SECONDS = 2.0  # for the last words of a worker that has ended
_PIECE = 1 << 18
_LONGEST_REPORT = 1 << 16


class ContainerChannel:
    """A worker in a container; see `sdpo_envs.sandbox.channel.Channel`.

    The container's standard input is open as long as this connection, and at its end the worker ends: the engine then
    removes the container, also when this process was killed.

    Args:
        configuration: The container, as the engine's API describes one.

    Raises:
        SandboxError: the engine could not start it.
    """

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        self._label = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._streams = Streams()
        with engine() as client, contextlib.ExitStack() as failure:
            _remove_abandoned(client)
            failure.callback(self._remove)
            with ThreadPoolExecutor(1) as thread:  # a Ctrl-C waits for it to end, and knows what there is to remove
                labelled = {**configuration, "Labels": {WORKER: self._label}}
                container = thread.submit(client.create_container_from_config, labelled).result()["Id"]
            ends = dict.fromkeys(("stdin", "stdout", "stderr", "stream"), 1)
            self._file = client.attach_socket(container, params=ends)
            self._socket: socket.socket = getattr(self._file, "_sock", self._file)
            failure.callback(self.disown)
            client.start(container)
            failure.pop_all()

    def send(self, data: bytes, deadline: float) -> None:
        """See `Channel.send`."""
        self._wait_until(deadline)
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise
        except OSError as error:
            raise BrokenPipeError(str(error)) from None

    def receive(self, deadline: float) -> bytes:
        """See `Channel.receive`."""
        output = b""
        while not output:
            self._wait_until(deadline)
            try:
                received = self._socket.recv(_PIECE)
            except TimeoutError:
                raise
            except OSError:  # the engine has gone
                received = b""
            if not received:
                break
            output = self._streams.take(received)
        return output

    def interrupt(self) -> None:
        """See `Channel.interrupt`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> str:
        """See `Channel.close`."""
        try:
            self._remove()
            deadline = time.monotonic() + _REPORT_SECONDS
            with contextlib.suppress(TimeoutError):
                while self.receive(deadline):
                    pass
        finally:
            self.interrupt()
            self.disown()
        return self._streams.report.decode("utf-8", "replace").strip()

    def disown(self) -> None:
        """See `Channel.disown`."""
        self._socket.close()
        self._file.close()

    def _wait_until(self, deadline: float) -> None:
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))  # 0 would mean not to wait at all

    def _remove(self) -> None:
        """Remove the container, if there is one, and an engine."""
        with contextlib.suppress(SandboxError), engine() as client:
            for container in client.containers(all=True, filters={"label": f"{WORKER}={self._label}"}):
                _remove(client, container["Id"])


class Streams:
    """Takes apart what the engine sends in one: pieces of standard output and standard error, each with a head.

    Attributes:
        report: The end of standard error.
    """

    _HEAD = struct.Struct("!BxxxI")  # which stream, and how many bytes
    _ERROR = 2

    def __init__(self) -> None:
        self.report = bytearray()
        self._head = b""
        self._stream = self._left = 0

    def take(self, received: bytes) -> bytes:
        """Return what belongs to standard output of the bytes that come next."""
        pieces, rest = [], memoryview(received)
        while rest:
            if not self._left:
                missing = self._HEAD.size - len(self._head)
                self._head, rest = self._head + rest[:missing], rest[missing:]
                if len(self._head) < self._HEAD.size:
                    break
                self._stream, self._left = self._HEAD.unpack(self._head)
                self._head = b""
            piece, rest = rest[: self._left], rest[self._left :]
            self._left -= len(piece)
            if self._stream == self._ERROR:
                self.report = (self.report + piece)[-_LONGEST_REPORT:]
            else:
                pieces.append(piece)
        return b"".join(pieces)


def _remove_abandoned(client: Any) -> None:
    """Remove containers that were made but never started, because their maker was killed in between."""
    for container in client.containers(all=True, filters={"label": WORKER, "status": "created"}):
        if time.time() - container["Created"] > _ABANDONED_SECONDS:
            _remove(client, container["Id"], force=False)


def _remove(client: Any, container: str, force: bool = True) -> None:
    """Remove a container, by `force` also one that runs; return when it has gone."""
    errors = require("docker.errors", "docker")
    with contextlib.suppress(errors.NotFound):
        try:
            client.remove_container(container, force=force)
        except errors.APIError as error:
            if error.status_code != 409:
                raise
            if force:  # the engine is about to remove it itself
                client.wait(container, condition="removed")
