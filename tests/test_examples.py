"""The examples do what they say."""

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

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


execute = load("execute")
TRAINED = ("own_algorithm", "reading_a_run")
"""What these show follows from the last bits of sums of floats, which processors take differently, and the clock."""


def kinds(cell: Any) -> list[tuple[str, list[str]]]:
    """What sort of outputs a cell has."""
    return [(each.output_type, sorted(each.get("data", {each.get("name"): ""}))) for each in cell.get("outputs", [])]


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", execute.NOTEBOOKS)
def test_a_notebook_shows_what_comes_out(name: str) -> None:
    """Where this fails, ``python examples/execute.py NAME`` stores what comes out now."""
    stored, fresh = execute.stored(name), execute.executed(name)
    for before, after in zip(stored.cells, fresh.cells, strict=True):
        assert kinds(before) == kinds(after), before.source
        if name not in TRAINED:
            assert before.get("outputs") == after.get("outputs"), before.source


def test_every_notebook_is_executed_and_none_names_the_machine_it_ran_on() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == set(execute.NOTEBOOKS)
    for name in execute.NOTEBOOKS:
        notebook = execute.stored(name)
        assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
        text = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
        assert not [place for place in (tempfile.gettempdir(), str(Path.home()), str(EXAMPLES.parent)) if place in text]


def test_an_environment_of_your_own_takes_fifteen_lines_of_one_cell() -> None:
    (cell,) = [cell for cell in execute.stored("own_environment").cells if "class Roman" in cell.source]
    lines = [line for line in cell.source.splitlines() if line.strip()]
    assert len(lines[lines.index("def judge(task, action):") :]) <= 15


def test_each_notebook_leads_somewhere() -> None:
    for name in execute.NOTEBOOKS:
        words = "".join(cell.source for cell in execute.stored(name).cells if cell.cell_type == "markdown")
        for target in re.findall(r"\]\(([^)#]+)\)", words):
            assert (EXAMPLES / target).exists(), target
