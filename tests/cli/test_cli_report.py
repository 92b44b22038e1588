"""`sdpo report` compares runs; what it can compare, and how, the tests of `sdpo_envs.bench` say."""

import csv
import html
import re
import shlex
from pathlib import Path

import pytest
from commandline import run
from recorded import ramp, write_learner

from sdpo_envs.cli import read


@pytest.fixture
def learner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    write_learner(tmp_path / "run", ramp(400))
    return "run"


def test_json_is_what_the_summary_holds(learner: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = run(capsys, "report", learner, "--json", "--out", "out")
    assert ended.code == 0
    told = ended.json()
    assert told["baseline"] is None
    rows = list(csv.DictReader(Path("out/summary.csv").read_text("utf-8").splitlines()))
    assert [{name: str(value) for name, value in each.items()} for each in told["numbers"]] == rows
    assert rows


def test_the_page_holds_the_command_that_makes_it_again(learner: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--levels", "0.25", "0.5", "--last", "2", "--title", "A & B", "--out", "out"]
    assert run(capsys, "report", learner, *flags).code == 0
    page = html.unescape(re.sub(r"<[^>]*>", " ", Path("out/report.html").read_text("utf-8")))
    (again,) = re.findall(r"sdpo report run .*", page)
    assert read("report", shlex.split(again)[2:]) == read("report", [learner, *flags])


def test_what_is_not_there_is_told(learner: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = run(capsys, "report", "absent", "--json")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("SettingError: There is no run at 'absent'")
    assert run(capsys, "report").err.startswith("SettingError: Name what to compare")
