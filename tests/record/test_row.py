import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs import Outcome, RecordError, SettingError
from sdpo_envs.record.row import Row, Tick, World, clock, rows, to_parquet, told, worlds


def written(folder: Path, *lines: Any, name: str = "rows.jsonl", end: str = "\n") -> Path:
    path = folder / name
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + end)
    return path


def only(folder: Path, **columns: Any) -> Row:
    return rows(written(folder, {"task": "a", **columns}))[0]


# Rows that anybody wrote


def test_a_task_and_a_reward_are_enough(tmp_path: Path) -> None:
    assert only(tmp_path, reward=0.5) == Row(task="a", reward=0.5, passed=False)


@pytest.mark.parametrize(("reward", "passed"), [(1, True), (1.5, True), (0.99, False), (-1, False), (0, False)])
def test_a_reward_of_one_is_a_success(tmp_path: Path, reward: float, passed: bool) -> None:
    row = only(tmp_path, reward=reward)
    assert (row.reward, row.passed, type(row.reward)) == (reward, passed, float)


@pytest.mark.parametrize(("passed", "reward"), [(True, 1.0), (False, 0.0)])
def test_whether_it_passed_is_enough_too(tmp_path: Path, passed: bool, reward: float) -> None:
    assert only(tmp_path, passed=passed) == Row(task="a", reward=reward, passed=passed)


def test_what_both_say_stands(tmp_path: Path) -> None:
    assert only(tmp_path, reward=1.0, passed=False) == Row(task="a", reward=1.0, passed=False)


@pytest.mark.parametrize("reward", [None, float("nan")])
def test_a_reward_that_nobody_decided_is_no_number(tmp_path: Path, reward: float | None) -> None:
    row = only(tmp_path, reward=reward)
    assert row.broken
    assert not row.passed


def test_training_rows_are_counted_and_groups_numbered_by_phase(tmp_path: Path) -> None:
    phases = ["train", "train", "test", "train", "test"]
    lines = [{"task": "a", "reward": 0, "phase": phase} for phase in phases]
    found = rows(written(tmp_path, *lines))
    assert [row.generations for row in found] == [0, 1, 2, 2, 3]
    assert [row.group for row in found] == [0, 1, 0, 2, 1]


def test_what_is_told_of_generations_and_groups_stands(tmp_path: Path) -> None:
    row = only(tmp_path, reward=0, generations=7, group=3)
    assert (row.generations, row.group) == (7, 3)


def test_null_stands_for_what_is_missing_and_other_columns_are_ignored(tmp_path: Path) -> None:
    empty = dict.fromkeys(set(Row.__slots__) - {"task", "reward"})
    assert only(tmp_path, reward=0, model="large", **empty) == Row(task="a", reward=0.0, passed=False)


def test_every_column_is_read(tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        "phase": "test",
        "generations": 640,
        "group": 80,
        "actions": ["x", "y"],
        "reward": 1.0,
        "passed": True,
        "feedback": "well",
        "reveals_answer": True,
        "peer": True,
        "tokens": 17,
        "prompt_tokens": 170,
        "cut_short": True,
        "error": "oops",
    }
    expected = Row(task="a", outcome=Outcome.PASSED, **{**columns, "actions": ("x", "y")})
    assert only(tmp_path, outcome="passed", **columns) == expected


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"task": 7}, "'task' must be str"),
        ({"reward": "1"}, "'reward' must be int or float"),
        ({"reward": True}, "'reward' must be a finite number"),
        ({"reward": math.inf}, "'reward' must be a finite number"),
        ({"passed": 1}, "'passed' must be bool"),
        ({"passed": True, "reward": None}, "'passed' is true, and the column 'reward' null"),
        ({"outcome": "pased"}, "'outcome', .* did you mean 'passed'"),
        ({"actions": "x"}, "'actions' must be list"),
        ({"actions": ["x", 7]}, "'actions' must be a list of str"),
        ({"generations": -1}, "'generations' must be an int of at least 0"),
        ({"group": 1.0}, "'group' must be int"),
        ({"tokens": True}, "'tokens' must be an int of at least 0"),
        ({"prompt_tokens": -1}, "'prompt_tokens' must be an int of at least 0"),
        ({"cut_short": 1}, "'cut_short' must be bool"),
        ({"feedback": 1}, "'feedback' must be str"),
        ({"peer": "no"}, "'peer' must be bool"),
        ({"phase": 1}, "'phase' must be str"),
    ],
)
def test_a_bad_column_is_named_with_its_file_and_line(tmp_path: Path, columns: dict[str, Any], complaint: str) -> None:
    good = {"task": "a", "reward": 0}
    with pytest.raises(RecordError, match=rf"^{tmp_path.name}/rows.jsonl line 2: .*{complaint}"):
        rows(written(tmp_path, good, good | columns, good))


@pytest.mark.parametrize(("row", "missing"), [({"reward": 0}, "task"), ({"task": "a"}, "reward")])
def test_a_column_that_is_needed_is_named(tmp_path: Path, row: dict[str, Any], missing: str) -> None:
    with pytest.raises(RecordError, match=f"line 1: the column '{missing}' is missing"):
        rows(written(tmp_path, row))


@pytest.mark.parametrize("line", ["{", "[1]", "7", "\x00", '"text"'])
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(RecordError, match=r"rows.jsonl line 2: this (is not JSON|must be a JSON object)"):
        rows(written(tmp_path, {"task": "a", "reward": 0}, line))


@pytest.mark.parametrize("length", range(1, 24))
def test_a_torn_last_line_is_ignored(tmp_path: Path, length: int) -> None:
    whole = '{"task": "b", "reward": 0}'
    path = written(tmp_path, {"task": "a", "reward": 0}, whole[:length], end="")
    assert [row.task for row in rows(path)] == ["a"]


def test_a_whole_last_line_needs_no_end_and_blank_lines_are_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, {"task": "a", "reward": 0}, "", "  ", {"task": "b", "reward": 0}, end="")
    assert [row.task for row in rows(path)] == ["a", "b"]


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.jsonl"):
        with pytest.raises(FileNotFoundError, match="no attempts in"):
            rows(path)
    for read in (clock, told, worlds):
        with pytest.raises(FileNotFoundError, match="Give the folder of a recording"):
            read(tmp_path)


# Parquet

texts = st.text(st.characters(exclude_categories=["Cs"]))
some_rows = st.builds(
    Row,
    phase=st.sampled_from(["train", "test"]),
    generations=st.integers(0, 2**62),
    group=st.integers(0, 2**62),
    task=texts,
    actions=st.lists(texts).map(tuple),
    reward=st.floats(-1, 0.5),
    outcome=st.none() | st.sampled_from(Outcome),
    passed=st.booleans(),
    feedback=texts,
    reveals_answer=st.booleans(),
    peer=st.booleans(),
    tokens=st.none() | st.integers(0, 2**62),
    error=texts,
)


def as_json(row: Row) -> dict[str, Any]:
    cells = {name: getattr(row, name) for name in Row.__slots__}
    return cells | {"outcome": row.outcome.value if row.outcome is not None else None}


@given(st.lists(some_rows))
def test_rows_survive_json_and_parquet(tmp_path_factory: pytest.TempPathFactory, before: list[Row]) -> None:
    pytest.importorskip("pyarrow", reason="skips parquet: the extra 'data' is not installed")
    folder = tmp_path_factory.mktemp("rows")
    path = written(folder, *map(as_json, before))
    assert rows(path) == before
    to_parquet(path, folder / "rows.parquet")
    assert rows(folder / "rows.parquet") == before


def test_parquet_holds_what_broke_and_what_it_cannot_spell(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="skips parquet: the extra 'data' is not installed")
    to_parquet(written(tmp_path, {"task": "a", "reward": None, "actions": ["x\ud800"]}), tmp_path / "rows.parquet")
    (row,) = rows(tmp_path / "rows.parquet")
    assert (row.broken, row.actions) == (True, ("x\\ud800",))
    assert parquet.read_table(tmp_path / "rows.parquet").column("reward").null_count == 1


def test_parquet_that_anybody_wrote_is_read(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="skips parquet: the extra 'data' is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"task": ["a", "b"], "passed": [True, False]}), tmp_path / "x.parquet")
    assert [(row.task, row.reward, row.group) for row in rows(tmp_path / "x.parquet")] == [("a", 1, 0), ("b", 0, 1)]
    parquet.write_table(arrow.table({"task": ["a", None], "passed": [True, False]}), tmp_path / "x.parquet")
    with pytest.raises(RecordError, match=r"x.parquet row 1: the column 'task' must be str"):
        rows(tmp_path / "x.parquet")


def test_what_is_no_parquet_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="skips parquet: the extra 'data' is not installed")
    with pytest.raises(RecordError, match=r"x.parquet: this is not a whole parquet file"):
        rows(written(tmp_path, "PAR1 and more", name="x.parquet"))


def test_parquet_has_an_ending(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="parquet"):
        to_parquet(written(tmp_path), tmp_path / "rows.csv")


# The other files of a recording


def test_the_clock_needs_no_more_than_three_columns(tmp_path: Path) -> None:
    written(
        tmp_path, {"phase": "train", "generations": 640, "seconds": 12.3}, '{"phase": "tra', name="clock.jsonl", end=""
    )
    assert clock(tmp_path) == [Tick(phase="train", generations=640, seconds=12.3)]


def test_a_bad_tick_is_named(tmp_path: Path) -> None:
    written(tmp_path, {"phase": "train", "generations": 640, "seconds": None}, name="clock.jsonl")
    with pytest.raises(RecordError, match=r"clock.jsonl line 1: the column 'seconds'"):
        clock(tmp_path)


def test_what_was_told_and_the_worlds_are_read(tmp_path: Path) -> None:
    world = World("my/Env-v0", {"split": "test"}, (("module:Wrapper", {"attempts": 3}),), ("sandbox",))
    phases = {"train": World(None).as_json(), "test": world.as_json()}
    written(tmp_path, {"told": {"seed": 0}, "phases": phases}, name="recording.json")
    assert told(tmp_path) == {"seed": 0}
    assert worlds(tmp_path) == {"train": World(None), "test": world}


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"told": {}, "phases": {"train": {"env": null}}}'])
def test_a_damaged_recording_is_an_error(tmp_path: Path, text: str) -> None:
    written(tmp_path, text, name="recording.json")
    with pytest.raises(RecordError, match=r"recording.json"):
        worlds(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"told": 7}'])
def test_what_was_told_must_be_an_object(tmp_path: Path, text: str) -> None:
    written(tmp_path, text, name="recording.json")
    with pytest.raises(RecordError, match=r"recording.json"):
        told(tmp_path)
