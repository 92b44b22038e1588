"""The examples do what they say."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbclient
import nbformat
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_stranger_s_reinforce_learns_its_questions() -> None:
    rewards = load("reinforce").main(steps=120)
    assert np.mean(rewards[:5]) < 0.4
    assert np.mean(rewards[-10:]) > 0.6


def test_the_stranger_knows_only_gymnasium_and_stays_short() -> None:
    source = (EXAMPLES / "reinforce.py").read_text()
    assert "import sdpo" not in source
    assert "from sdpo" not in source
    assert len([line for line in source.splitlines() if line.strip()]) <= 40


@pytest.mark.timeout(600)
def test_the_demo_shows_a_failure_and_compares(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(EXAMPLES / "demo.py"),
        "--seeds",
        "1",
        "--steps",
        "2",
        "--run",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in ("Write f(x): ", "its feedback", "Wrong Answer", "token by token", "What it cannot show"):
        assert shown in done.stdout
    report = (tmp_path / "run" / "report" / "report.html").read_text(encoding="utf-8")
    for name in ("grpo", "sdpo", "hybrid"):
        assert name in report
        assert len((tmp_path / "run" / name / "0" / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_prints_what_it_shows() -> None:
    stored = nbformat.read(EXAMPLES / "first_step.ipynb", as_version=4)
    fresh = nbformat.from_dict(stored)
    nbclient.NotebookClient(fresh, timeout=120, kernel_name="python3").execute()
    for before, after in zip(stored.cells, fresh.cells, strict=True):
        assert before.get("outputs") == after.get("outputs"), before.source
