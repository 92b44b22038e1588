"""What is written and printed of a comparison."""

import csv
import io
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from recorded import ramp, write_learner

from sdpo_envs import MissingExtra, compare
from sdpo_envs.bench.compare import Comparison
from sdpo_envs.bench.intervals import Bootstrap
from sdpo_envs.bench.report import save, show, tables

NAME = "[red]sd$po[/red]"  # mark-up to rich, mathematics to matplotlib


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(5):
        write_learner(folder / "b" / str(seed), ramp(800, 0.8), algorithm="grpo", seed=seed)
        write_learner(folder / "a" / str(seed), ramp(400, 0.9 - seed / 100), algorithm=NAME, seed=seed)
    return folder


@pytest.fixture(scope="module")
def found(runs: Path) -> Comparison:
    return compare(runs, baseline="grpo", levels=(0.5, 0.885), how=Bootstrap(draws=100))


def printed(each: Any, width: int = 200) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(each)
    return console.export_text()


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_tables_tell_what_was_reached_and_how_soon(found: Comparison) -> None:
    reached, soon = map(printed, tables(found))
    assert NAME in reached
    for words in ("final success", "beside grpo", "0.88 [0.87, 0.89]", "+0.0"):
        assert words in reached
    for words in ("grpo's final success", "never (5 of 5)", "never (3 of 5)", "× [", "not known"):
        assert words in soon, words


def test_without_a_baseline_nothing_stands_beside(runs: Path) -> None:
    alone = compare(runs, how=Bootstrap(draws=50))
    assert "beside" not in "".join(map(printed, tables(alone)))


def test_notes_are_printed_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_learner(tmp_path / "run", ramp(400), algorithm=NAME)
    show(compare(tmp_path / "run", how=Bootstrap(draws=50)))
    assert f"- {NAME}, seed 0: fewer than 5 seeds" in capsys.readouterr().out


def test_the_summary_holds_every_number(found: Comparison, tmp_path: Path) -> None:
    save(found, tmp_path / "new" / "out")
    rows = read(tmp_path / "new" / "out" / "summary.csv")
    told = {(row["algorithm"], row["quantity"], row["of"]): row for row in rows}
    assert len(told) == len(rows)
    final = told[NAME, "final", ""]
    ours = found.standings[1]
    assert (float(final["value"]), float(final["low"]), int(final["seeds"])) == (ours.final.value, ours.final.low, 5)
    assert float(told[NAME, "final of a seed", "3"]["value"]) == ours.finals[3]
    assert float(told[NAME, "seeds that never got there", "0.885"]["value"]) == 3
    assert told[NAME, "generations needed, median", "0.885"]["value"] == "inf"
    assert float(told[NAME, "speed-up in generations", "0.5"]["value"]) > 1.5
    assert told[NAME, "speed-up in generations", "0.885"]["value"] == ""
    assert told["grpo", "difference", ""]["value"] == ""
    assert not any("nan" in value for row in rows for value in row.values())


def test_the_curves_are_those_of_the_comparison(found: Comparison, tmp_path: Path) -> None:
    save(found, tmp_path / "out")
    rows = read(tmp_path / "out" / "curves.csv")
    for statistic, axis, band in (
        ("iqm", "generations", found.standings[1].by_generations),
        ("mean", "seconds", found.standings[1].mean_by_seconds),
    ):
        mine = [row for row in rows if (row["algorithm"], row["statistic"], row["axis"]) == (NAME, statistic, axis)]
        assert [float(row["x"]) for row in mine] == band.x.tolist()
        assert [float(row["high"]) for row in mine] == band.high.tolist()
    seed = [float(row["value"]) for row in rows if (row["algorithm"], row["statistic"]) == (NAME, "seed 3")]
    assert seed == found.standings[1].runs[3].success.tolist()


def test_a_picture_and_a_page_are_made(found: Comparison, tmp_path: Path) -> None:
    from matplotlib import image

    save(found, tmp_path, title="A title", command="a command")
    assert image.imread(tmp_path / "curves.png").shape[1] > 1000
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h1>A title</h1>" in text
    assert "a command" in text


def test_a_report_is_replaced(found: Comparison, tmp_path: Path) -> None:
    save(found, tmp_path, title="old")
    save(found, tmp_path, title="new")
    assert "<h1>new</h1>" in (tmp_path / "report.html").read_text()


def test_without_clocks_there_is_a_report_too(tmp_path: Path) -> None:
    write_learner(tmp_path / "run", ramp(400), seconds=None)
    found = compare(tmp_path / "run", how=Bootstrap(draws=50))
    save(found, tmp_path / "out")
    assert {row["axis"] for row in read(tmp_path / "out" / "curves.csv")} == {"generations"}
    assert math.isnan(found.standings[0].reaches[0].seconds.typical.value)


def test_without_matplotlib_all_but_the_picture_is_kept(
    found: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'sdpo-envs\[bench\]'"):
        save(found, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"summary.csv", "curves.csv", "report.html"}
