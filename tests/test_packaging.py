"""The wheel stands on its own: built, installed without the source tree, and every bundled environment stepped."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sdpo_envs.registry import ENVIRONMENTS

ROOT = Path(__file__).parents[1]

STEP_EVERYTHING = """
import pathlib, sys
import gymnasium, sdpo_envs
assert "site-packages" in sdpo_envs.__file__, sdpo_envs.__file__
for env_id in sdpo_envs.registry.ENVIRONMENTS:
    try:
        env = gymnasium.make(env_id)
    except sdpo_envs.MissingExtra as error:
        print("left out", env_id, error)
        continue
    env.reset(seed=0)
    rewards = [env.step(action)[1] for action in env.unwrapped.walkthrough(env.unwrapped.task)]
    assert rewards[-1] == 1.0
    env.reset(seed=0)
    text, reward, *_ = env.step("not an answer")
    assert reward == 0.0 and text
    env.close()
    print("stepped", env_id)
for module in ("torch", "transformers", "datasets", "docker"):
    assert module not in sys.modules
try:
    import sdpo_agent
except sdpo_envs.MissingExtra as error:
    print(error)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_code_tasks_walls_types_and_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"sdpo_envs/py.typed", "sdpo_agent/py.typed", "sdpo_envs/core.py", "sdpo_agent/sdpo.py"} <= names
    assert {f"sdpo_envs/viewer/viewer.{kind}" for kind in ("html", "css", "js")} <= names
    for bundled in (
        "tasks/livecodebench/test.jsonl",
        "tasks/searchqa/corpus.jsonl",
        "tasks/tooluse/test.json",
        "sandboxes/python/worker.py",
        "template/my_env.py",
    ):
        assert f"sdpo_envs/_data/{bundled}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sdpo_envs", "sdpo_agent", "sdpo_verifiers.py"}


@pytest.mark.timeout(600)
def test_a_clean_environment_steps_every_bundled_environment(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "clean")], check=True)
    python = tmp_path / "clean" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    done = subprocess.run(
        [str(python), "-I", "-c", STEP_EVERYTHING], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    left_out = re.findall(r"left out (\S+) .*pip install 'sdpo-envs\[\w+\]'", done.stdout)
    assert {*re.findall(r"stepped (\S+)", done.stdout), *left_out} == set(ENVIRONMENTS)
    assert set(left_out) <= {"sdpo/ALFWorld-v0", "sdpo/SearchQA-v0", "sdpo/WebShop-v0"}
    assert "pip install 'sdpo-envs[agent]'" in done.stdout
