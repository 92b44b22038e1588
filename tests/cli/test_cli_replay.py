"""`sdpo replay` tells what comes out differently, and its exit code says whether anything does."""

from pathlib import Path
from typing import Any

import gymnasium
import pytest
from addition import ADDITION, BREAK_JUDGE, answer
from commandline import run

from sdpo_envs import record
from sdpo_envs.errors import JudgeError


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A recording of a failure, a success, and an attempt whose judge broke."""
    env: Any = record(gymnasium.make(ADDITION, disable_env_checker=True), tmp_path / "run")
    for task_id, action in [("add/1023-2004", "4000"), ("add/1157-2615", answer("add/1157-2615"))]:
        env.reset(options={"task_id": task_id})
        env.step(action)
    env.reset(options={"task_id": "add/1023-2004"})
    with pytest.raises(JudgeError):
        env.step(BREAK_JUDGE)
    env.close()
    return tmp_path / "run"


def change(run_: Path, old: str, new: str) -> None:
    rows = run_ / "attempts.jsonl"
    text = rows.read_text()
    assert old in text
    rows.write_text(text.replace(old, new))


def test_what_comes_out_the_same_is_counted(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = run(capsys, "replay", str(recorded))
    assert (ended.code, ended.err) == (0, "")
    told = "Judged again: 2. Different: 0. Left out, as they broke when they were made: 1.\n"
    assert ended.out == told
    assert run(capsys, "replay", str(recorded), "--json").json() == {"judged": 2, "broken": 1, "differences": []}


def test_what_differs_is_told_and_ends_with_1(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(recorded, '"reward": 1.0, "outcome": "passed"', '"reward": 0.5, "outcome": "crashed"')
    ended = run(capsys, "replay", str(recorded))
    assert (ended.code, ended.err) == (1, "")
    assert "Judged again: 2. Different: 1." in ended.out
    assert [line.split() for line in ended.out.splitlines() if "add/1157-2615" in line] == [
        ["1", "add/1157-2615", "outcome", "crashed", "passed"],
        ["1", "add/1157-2615", "reward", "0.5", "1.0"],
    ]
    ended = run(capsys, "replay", str(recorded), "--json")
    assert ended.code == 1
    assert ended.json()["differences"] == [
        {"row": 1, "task": "add/1157-2615", "column": "outcome", "stored": "crashed", "now": "passed"},
        {"row": 1, "task": "add/1157-2615", "column": "reward", "stored": 0.5, "now": 1.0},
    ]


def test_long_texts_are_shown_where_they_part(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(recorded, "You wrote: 4000", f"You wrote: 4001{'x' * 5000}")
    out = run(capsys, "replay", str(recorded)).out
    assert "4000" in out
    assert "4001xx" in out
    assert len(out) < 3000
    assert "This is too large." not in out


def test_a_file_of_rows_needs_the_environment(
    recorded: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text((recorded / "attempts.jsonl").read_text())
    ended = run(capsys, "replay", str(rows))
    assert ended.code == 1
    assert ended.err.startswith("SettingError: Name the environment to judge in with --env")
    assert run(capsys, "replay", str(rows), "--env", ADDITION).code == 0
    revealing = run(capsys, "replay", str(rows), "--env", ADDITION, "--settings", '{"reveal": true}', "--json")
    assert revealing.code == 1
    assert {each["column"] for each in revealing.json()["differences"]} == {"feedback", "reveals_answer"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("none",), "FileNotFoundError: There are no attempts in none."),
        (("run", "--settings", '{"reveal": true}'), "SettingError: --settings are those of --env"),
        (("run", "--env", "tests/None-v0"), "SettingError: No environment is registered as 'tests/None-v0'"),
    ],
)
def test_a_mistake_is_told(
    recorded: Path,
    flags: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(recorded.parent)
    ended = run(capsys, "replay", *flags)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(said)


def test_a_torn_row_is_told(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = recorded / "attempts.jsonl"
    rows.write_text("{]\n" + rows.read_text())
    ended = run(capsys, "replay", str(recorded))
    assert ended.code == 1
    assert ended.err.startswith("RecordError: run/attempts.jsonl line 1: ")
