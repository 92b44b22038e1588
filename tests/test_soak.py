"""The soak: a short one finds nothing that grows, and what grows is found."""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from sums import wall

SOAK = Path(__file__).parents[1] / "benchmarks" / "soak.py"


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    spec = importlib.util.spec_from_file_location("soak", SOAK)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["soak"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.timeout(240)
def test_a_few_hundred_judgements_are_right_and_nothing_grows(tmp_path: Path) -> None:
    wall()
    command: list[str | Path] = [sys.executable, SOAK, "--judgements", "300", "--waves", "30", "--folder", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "300" in result.stdout.splitlines()[-3]
    assert len((tmp_path / "soak.csv").read_text().splitlines()) == 1 + 30


def test_a_submission_that_is_not_judged_as_it_must_be_is_reported(soak: ModuleType) -> None:
    wrong = ("right", ("print(0)", soak.Outcome.PASSED))
    assert soak.judge(wrong, wall()) == "'right' was judged wrong, not passed"


@pytest.mark.parametrize(
    ("name", "step", "grows"),
    [
        *(("host_mb", 0.05, True), ("host_mb", 0.0001, False), ("workers_mb", 0.2, True)),
        *(("descriptors", 0.05, True), ("processes", 0.05, True), ("mounts", 0.05, True), ("mounts", 0.0, False)),
    ],
)
def test_what_grows_is_found(soak: ModuleType, name: str, step: float, grows: bool) -> None:
    flat = soak.Sample(1, 0.1, 50.0, 90.0, 28, 4, 94)
    kind = type(getattr(flat, name))
    samples = [replace(flat, **{name: kind(getattr(flat, name) + step * number)}) for number in range(200)]
    assert bool(soak.trends(samples)) == grows
