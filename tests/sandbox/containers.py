"""What the tests of the Docker wall know of the engine, from outside of the sandbox."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sdpo_envs.errors import SdpoError
from sdpo_envs.sandbox.container import WORKER, ContainerChannel
from sdpo_envs.sandbox.docker import DockerSandbox
from sdpo_envs.sandbox.engine import engine, tag

DEMANDED = os.environ.get("SDPO_TEST_WALLS", "").split()
"""The walls that have to be there, of "docker", "runsc" and "ray": their tests fail rather than be skipped."""

_SCRIPT = """\
import os, signal, sys, threading, time
from sdpo_envs.sandbox import Program
from sdpo_envs.sandbox.docker import DockerSandbox
signal.signal(signal.SIGINT, signal.default_int_handler)
ECHO = Program({"main.py": "print(input())"}, ("python", "main.py"), ("x",))
SLEEP = Program({"main.py": "import time; time.sleep(99)"}, ("python", "main.py"), seconds=99)
def tell(*values): print(*values, flush=True)
"""


def missing(wall: str) -> str:
    """Return why a wall cannot be tested here, or nothing."""
    try:
        with engine() as client:
            if not client.images(tag()):
                return f"the image {tag()} is not built; python -m sdpo_envs.sandbox build"
            return "" if wall == "docker" or wall in client.info()["Runtimes"] else f"the engine has no runtime {wall}"
    except SdpoError as error:
        return str(error).partition("\n")[0]


def need(wall: str) -> None:
    """Skip the test that cannot be done here, and fail if it was said that it can."""
    if reason := missing(wall):
        (pytest.fail if wall in DEMANDED else pytest.skip)(f"The wall {wall} is not tested: {reason}.")


def containers(pid: int | None = None) -> dict[str, Any]:
    """Return the containers of a process, by default of this one, as the engine describes them; by id."""
    with engine() as client:
        found = client.containers(all=True, filters={"label": WORKER})
    own = f"{os.getpid() if pid is None else pid}-"
    return {entry["Id"]: entry for entry in found if entry["Labels"][WORKER].startswith(own)}


def kill(container: str) -> None:
    """Kill a container, as anybody might."""
    with engine() as client:
        client.kill(container)


def script(text: str) -> subprocess.Popen[str]:
    """Start a Python process of its own, for what cannot be done to the one that runs the tests."""
    environment = os.environ | {"PYTHONPATH": ":".join(sys.path)}
    source = _SCRIPT + textwrap.dedent(text)
    return subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, env=environment)


@dataclass(frozen=True)
class Bare:
    """What a program wrote that ran in a container without a worker, so that nothing but the engine holds it."""

    stdout: str
    stderr: str


def bare(sandbox: DockerSandbox, source: str) -> Bare:
    """Run `source` as PID 1 of a container that is configured like those of `sandbox`."""
    configuration = sandbox._maker.configuration()
    entry = ["/sandbox/python", "-B", "-c", textwrap.dedent(source)]
    channel = ContainerChannel(configuration | {"Entrypoint": entry, "Cmd": []})
    deadline = time.monotonic() + 60
    stdout = b"".join(iter(lambda: channel.receive(deadline), b""))
    return Bare(stdout.decode(), channel.close())


def inspected(sandbox: DockerSandbox) -> Iterator[dict[str, Any]]:
    """Give what the engine tells about each container of this process."""
    with engine() as client:
        yield from (client.inspect_container(name) for name in containers())
