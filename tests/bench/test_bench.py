"""The command line, on rows written by any loop."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from recorded import ramp, write_learner

from sdpo_envs.cli import main

ROOT = Path(__file__).parents[1]


def write_rows(folder: Path) -> Path:
    """Rows of a stranger's loop, which knows neither rounds nor clocks."""
    for name, wait in (("grpo", 30), ("mine", 10)):
        (folder / name).mkdir(parents=True)
        for seed in range(2):
            rows = [{"task": f"t{n % 7}", "reward": float(n >= wait + seed)} for n in range(60)]
            (folder / name / f"{seed}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_command_works_on_rows_of_any_loop_and_warns_of_nothing(tmp_path: Path) -> None:
    runs = write_rows(tmp_path / "runs")
    command = [sys.executable, "-W", "error", "-m", "sdpo_envs.bench", f"{runs}/*/*.jsonl", "--baseline", "grpo"]
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine" in done.stdout
    text = (tmp_path / "out" / "report.html").read_text()
    assert "no attempts of the phase" in text
    assert "sdpo report" in text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "summary.csv",
        "curves.csv",
        "curves.png",
        "report.html",
    }


def test_every_option_reaches_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_learner(tmp_path / "run", ramp(400))
    out = tmp_path / "out"
    options = ["--levels", "0.25", "--last", "2", "--title", "A & B", "--phase", "test", "--out", str(out)]
    main(["report", str(tmp_path / "run"), *options])
    text = (out / "report.html").read_text()
    assert "<h1>A &amp; B</h1>" in text
    assert "the last 2 evaluations" in text
    assert "<th>0.25</th>" in text
    assert "--title &#x27;A &amp; B&#x27;" in text
    assert "sdpo" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["absent"], "There is no run at 'absent'"), (["run", "--baseline", "ppo"], "baseline='ppo' is not offered")],
)
def test_what_cannot_be_compared_is_told_without_a_traceback(
    tmp_path: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_learner(tmp_path / "run", ramp(400))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["report", *arguments])
    assert end.value.code == 1
    assert told in capsys.readouterr().err
