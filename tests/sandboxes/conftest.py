"""The walls that are attacked, and what there is to find on the host."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "sandbox"))

from catalogue import Plant, planted
from containers import need
from wall import namespaces_missing

from sdpo_envs.sandbox import Program, Sandbox
from sdpo_envs.sandbox.docker import DockerSandbox
from sdpo_envs.sandbox.local import LocalSandbox


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Secrets on this host, and tests that nobody can pass."""
    with planted(tmp_path_factory.mktemp("host")) as plant:
        yield plant


@pytest.fixture(scope="module", params=["local", "docker", "runsc"])
def wall(request: pytest.FixtureRequest, plant: Plant) -> Iterator[Sandbox]:
    """A wall with one worker, which starts in the folder in which the tests lie."""
    with build(request.param) as sandbox:
        with contextlib.chdir(plant.folder):
            sandbox.run(Program({"main.py": ""}, ("python", "main.py")))
        yield sandbox


def build(name: str) -> LocalSandbox | DockerSandbox:
    if name == "local":
        if reason := namespaces_missing():
            pytest.skip(f"The local wall is not attacked: this machine refuses namespaces ({reason}).")
        return LocalSandbox(workers=1)
    need(name)
    return DockerSandbox(workers=1, runtime=None if name == "docker" else name)
