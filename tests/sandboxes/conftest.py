"""The walls that are attacked, and what there is to find on the host."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "sandbox"))

from catalogue import Plant, planted
from containers import DEMANDED, need
from wall import namespaces_missing

from sdpo_envs.sandbox import Program, Sandbox
from sdpo_envs.sandbox.docker import DockerSandbox
from sdpo_envs.sandbox.local import LocalSandbox
from sdpo_envs.sandbox.ray import RaySandbox


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Secrets on this host, and tests that nobody can pass."""
    with planted(tmp_path_factory.mktemp("host")) as plant:
        yield plant


@pytest.fixture(scope="module", params=["local", "docker", "runsc", "ray"])
def wall(request: pytest.FixtureRequest, plant: Plant) -> Iterator[Sandbox]:
    """A wall with one worker, which starts in the folder in which the tests lie."""
    with build(request.param) as sandbox:
        with contextlib.chdir(plant.folder):
            sandbox.run(Program({"main.py": ""}, ("python", "main.py")))
        yield sandbox


def build(name: str) -> contextlib.AbstractContextManager[Sandbox]:
    if name == "ray":
        return clustered()
    if name == "local":
        if reason := namespaces_missing():
            pytest.skip(f"The local wall is not attacked: this machine refuses namespaces ({reason}).")
        return LocalSandbox(workers=1)
    need(name)
    return DockerSandbox(workers=1, runtime=None if name == "docker" else name)


@contextlib.contextmanager
def clustered() -> Iterator[Sandbox]:
    """The local wall of a Ray cluster of one node: the same wall, so it is attacked only where that is asked for."""
    if "ray" not in DEMANDED:
        pytest.skip("The wall ray is not attacked: it is the local one. SDPO_TEST_WALLS=ray asks for it all the same.")
    ray, cluster_utils = pytest.importorskip("ray"), pytest.importorskip("ray.cluster_utils")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    small = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = cluster_utils.Cluster(True, head_node_args=small)
    try:
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
        with RaySandbox() as sandbox:
            yield sandbox
    finally:
        ray.shutdown()
        cluster.shutdown()
