"""`sdpo view` writes the page, says what it could not, and ends as commands do."""

import json
import re
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from sdpo_envs import record
from sdpo_envs.cli import main


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    envs = record(gymnasium.make_vec("sdpo/MicroHouse-v0", num_envs=2, group_size=2), folder)
    envs.reset(seed=0)
    for _ in range(30):
        _, _, ended, cut, _ = envs.step(["go trunk", "open trunk"])
        if (ended | cut).all():
            break
    envs.close()
    return folder


def view(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    code = 0
    try:
        main(["view", *map(str, arguments)])
    except SystemExit as error:
        code = int(str(error.code))
    told = capsys.readouterr()
    return code, told.out, told.err


def data(path: Path) -> dict[str, Any]:
    """What the page holds."""
    (found,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', path.read_text(), re.DOTALL)
    told: dict[str, Any] = json.loads(found)
    return told


def test_it_writes_the_page_beside_the_run(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    code, out, err = view(capsys, run)
    assert (code, err) == (0, "")
    assert out == f"{run / 'view.html'}: 2 attempts, 0 with scored tokens, 0.0 MB\n"
    found = data(run / "view.html")
    assert len(found["attempts"]) == 2
    assert found["tasks"][0]["prompt"] is not None
    assert found["seen"] == {}


def test_it_writes_elsewhere_for_a_script(capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.html"
    code, told, _ = view(capsys, run, "--out", out, "--bare", "--json")
    assert code == 0
    size = out.stat().st_size
    assert json.loads(told) == {"out": str(out), "attempts": 2, "scored": 0, "bytes": size, "notes": []}
    assert data(out)["tasks"][0]["prompt"] is None


def test_it_plays_episodes_again(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    assert view(capsys, run, "--play")[0] == 0
    found = data(run / "view.html")
    assert len(found["seen"]) == 2
    assert len(found["seen"]["0"]) == len(found["attempts"][0][5])  # one for each action
    code, _, err = view(capsys, run, "--play", "--bare")
    assert code == 1
    assert "leave one of the two out" in err


def test_what_is_missing_goes_to_the_standard_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"task": "a", "reward": 1}\n')
    code, out, err = view(capsys, path)
    assert code == 0
    assert "1 attempts" in out
    assert "no prompts" in err


def test_no_run_is_an_error_that_says_what_to_give(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = view(capsys, tmp_path / "nowhere")
    assert code == 1
    assert "Give the folder of a recording" in err
