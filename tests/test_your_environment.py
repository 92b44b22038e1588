"""What the page about environments of one's own shows is what happens."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gymnasium.envs.registration import registry
from test_readme import what_differs

from sdpo_envs.adapters import reasoning_process
from sdpo_envs.adapters.reasoning_gym import LEFT_OUT

PAGE = (Path(__file__).parents[1] / "docs" / "your-environment.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
DONE = list(zip(COMMANDS, ["12 passed", "Different: 0."], strict=True))


def test_the_lines_print_what_stands_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gymnasium.envs.registration.registry", registry.copy())
    assert not what_differs(PAGE)


@pytest.mark.parametrize(("commands", "says"), DONE, ids=["new", "train"])
def test_the_commands_do_what_the_page_says(commands: str, says: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-ec", commands], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert says in done.stdout


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"with {reasoning_process.SECONDS} s of the processor" in PAGE
    assert f"and {reasoning_process.MEMORY_MB // 1000} GB of memory" in PAGE
    factory = pytest.importorskip("reasoning_gym.factory")
    assert f"each of {len(factory.DATASETS) - len(LEFT_OUT)} families" in PAGE
