"""Tables, pictures and JSON hold the numbers that were given."""

import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from sdpo_agent.curves import Curve, Record, curve
from sdpo_agent.probe import PARTS, Lift, TaskProbe
from sdpo_agent.report import discovery_table, probe_table, save_discovery, save_probe
from sdpo_envs import MissingExtra

NOWHERE = (math.nan,) * PARTS
PROFILE = (-4.0, *NOWHERE[2:], 0.5)
UNKNOWN = Lift(0.0)
SERVED = Lift(0.25, 0.75, 0.25)
FOUND = [
    TaskProbe("a/1", 8, 0.25, 1.0, {"feedback": Lift(0.75, 0.75, 0.5, -1.5, 2.0, PROFILE), "peer": UNKNOWN}),
    TaskProbe("a/2", 6, 0.25, 0.5, {"feedback": Lift(0.25, 0.75, 0.5, -1.5, 2.0, NOWHERE), "peer": UNKNOWN}),
    TaskProbe("a/3", 8, 1.0, None, {"feedback": UNKNOWN, "peer": Lift(0.5, 1.0, -0.25)}),
]
CURVES = {
    "best-of-k": Curve(np.linspace(0.01, 0.16, 16), np.linspace(0.0, 0.1, 16), np.linspace(0.02, 0.3, 16)),
    "sdpo": Curve(np.linspace(0.1, 1.0, 16), np.linspace(0.05, 0.9, 16), np.linspace(0.2, 1.0, 16)),
}


def text(table: Table, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(table)
    return console.export_text()


def rows(table: Table) -> list[list[str]]:
    """The cells, as they are shown."""
    lines = [line for line in text(table).splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def is_a_picture(path: Path) -> bool:
    from matplotlib import image

    pixels = image.imread(path)
    return min(pixels.shape[:2]) > 300 and len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 50


@pytest.fixture
def without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


# --- probe


def test_the_table_of_a_probe_has_the_means_over_tasks() -> None:
    alone, feedback, peer = rows(probe_table(FOUND))
    assert alone[:2] == ["(the question alone)", ""]
    assert alone[2].startswith("0.500 [0.250, ")
    assert alone[3:] == ["", "", ""]
    assert feedback[:2] == ["feedback", "33%"]
    assert feedback[2:4] == ["0.750 [0.750, 0.750]", "+0.500 [+0.500, +0.500]"]  # of the two that read it
    assert feedback[4:] == ["-1.500 [-1.500, -1.500]", "2.000 [2.000, 2.000]"]
    assert peer == ["peer", "17%", "1.000 [1.000, 1.000]", "-0.250 [-0.250, -0.250]", "", ""]
    said = text(probe_table(FOUND))
    assert "3 tasks, 22 attempts. 75% of the feedback on failures gives away the answer." in said
    assert "nan" not in said


def test_the_table_says_where_there_was_no_feedback() -> None:
    assert "1 tasks, 8 attempts. No feedback." in text(probe_table(FOUND[2:]))


def test_the_table_of_nothing_is_empty() -> None:
    assert len(rows(probe_table([]))) == 1


def test_what_was_probed_is_written_down(tmp_path: Path) -> None:
    save_probe(FOUND, tmp_path / "new" / "folder")
    written = (tmp_path / "new" / "folder" / "probe.json").read_text()
    assert "NaN" not in written
    read = json.loads(written, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [task["task_id"] for task in read] == ["a/1", "a/2", "a/3"]
    assert read[0]["lifts"]["feedback"] == {
        "shown": 0.75,
        "accuracy": 0.75,
        "lift": 0.5,
        "gap": -1.5,
        "gap_size": 2.0,
        "profile": [-4.0, *[None] * 8, 0.5],
    }
    assert read[1]["lifts"]["feedback"]["profile"] == [None] * PARTS
    assert read[1]["lifts"]["peer"]["accuracy"] is None
    assert read[2]["reveals_answer"] is None
    assert is_a_picture(tmp_path / "new" / "folder" / "probe.png")


@pytest.mark.parametrize(
    "found",
    [
        [TaskProbe("t", 1, 0.1 + number / 30, 0.0, {"only": SERVED}) for number in range(7)],
        [TaskProbe("t", 1, 0.0, None, {"only": UNKNOWN})],
        [TaskProbe("t", 1, 0.3, None, {})],
    ],
    ids=["a server's", "nothing known", "no inputs"],
)
def test_a_picture_is_drawn_of_whatever_is_known(tmp_path: Path, found: list[TaskProbe]) -> None:
    save_probe(found, tmp_path)
    assert is_a_picture(tmp_path / "probe.png")
    assert text(probe_table(found))


# --- discovery


def test_the_table_of_discovery_has_a_few_points_of_each_curve() -> None:
    shown = text(discovery_table(CURVES, {"best-of-k": 3, "sdpo": 5}))
    for heading in ("discovery@1 ", "discovery@4 ", "discovery@16 ", "attempts until 0.5", "attempts until 0.9"):
        assert heading in shown
    best, sdpo = rows(discovery_table(CURVES, {"best-of-k": 3, "sdpo": 5}))
    assert best == ["best-of-k", "3", "0.01 [0.00, 0.02]", "0.04 [0.02, 0.08]", "0.16 [0.10, 0.30]", "> 16", "> 16"]
    points = ["0.10 [0.05, 0.20]", "0.28 [0.22, 0.36]", "1.00 [0.90, 1.00]"]
    assert sdpo == ["sdpo", "5", *points, "8 [7, 9]", "15 [15, 16]"]


def test_an_interval_of_attempts_may_have_no_end() -> None:
    unsure = Curve(np.array([0.2, 0.6, 0.8]), np.array([0.0, 0.3, 0.4]), np.array([0.5, 0.8, 0.95]))
    ((*_, half, most),) = rows(discovery_table({"a": unsure}, {"a": 2}))
    assert (half, most) == ("2 [1, > 3]", "> 3 [3, > 3]")


def test_the_table_of_one_attempt_has_one_point() -> None:
    one = curve([Record("t", (True,))], 1)
    ((name, runs, point, half, most),) = rows(discovery_table({"a": one}, {"a": 1}))
    assert (name, runs, point, half, most) == ("a", "1", "1.00 [1.00, 1.00]", "1 [1, 1]", "1 [1, 1]")


def test_curves_are_read_back_as_they_were(tmp_path: Path) -> None:
    save_discovery(CURVES, tmp_path / "new" / "folder")
    read = json.loads((tmp_path / "new" / "folder" / "discovery.json").read_text())
    assert list(read) == list(CURVES)
    for name, each in CURVES.items():
        again = Curve(**{part: np.array(values) for part, values in read[name].items()})
        assert all((getattr(again, part) == getattr(each, part)).all() for part in ("mean", "low", "high"))
    assert is_a_picture(tmp_path / "new" / "folder" / "discovery.png")


def test_a_curve_of_one_attempt_is_drawn(tmp_path: Path) -> None:
    save_discovery({"a": curve([Record("t", (False,))], 1)}, tmp_path)
    assert (tmp_path / "discovery.png").stat().st_size > 5_000


# --- without matplotlib


@pytest.mark.usefixtures("without_matplotlib")
@pytest.mark.parametrize(
    ("save", "told", "kept"), [(save_probe, FOUND, "probe.json"), (save_discovery, CURVES, "discovery.json")]
)
def test_without_matplotlib_the_numbers_are_kept_and_the_extra_is_named(
    tmp_path: Path, save: Any, told: Any, kept: str
) -> None:
    with pytest.raises(MissingExtra, match=r"matplotlib.*pip install 'sdpo-envs\[bench\]'"):
        save(told, tmp_path)
    assert json.loads((tmp_path / kept).read_text())
    assert [path.name for path in tmp_path.iterdir()] == [kept]
