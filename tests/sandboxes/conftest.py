"""The walls that are attacked, and what there is to find on the host."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "sandbox"))

from catalogue import Plant, planted
from wall import namespaces_missing

from sdpo_envs.sandbox import Sandbox
from sdpo_envs.sandbox.local import LocalSandbox


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Secrets on this host, and tests that nobody can pass."""
    with planted(tmp_path_factory.mktemp("host")) as plant:
        yield plant


@pytest.fixture(scope="session", params=["local", "docker", "gvisor"])
def wall(request: pytest.FixtureRequest, plant: Plant) -> Iterator[Sandbox]:
    """A wall with one worker, which starts in the folder in which the tests lie."""
    os.chdir(plant.folder)
    if request.param != "local":
        pytest.skip("not yet")
    if reason := namespaces_missing():
        pytest.skip(f"The local wall is not attacked: this machine refuses namespaces ({reason}).")
    with LocalSandbox(workers=1) as sandbox:
        yield sandbox
