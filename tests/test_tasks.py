import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs import MissingExtra, Record, RecordError, SettingError, Task, load_records, load_tasks

ROWS = [{"id": "1", "text": "naïve 日本"}, {"id": "2", "text": "two\u2028lines\u0085and\nmore"}]


def _read(record: Record) -> Task:
    return Task(record.get("id"), record.get("text"), None)


def _write(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def datasets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The optional module, cut off from the network and writing only to a temporary folder."""
    datasets = pytest.importorskip("datasets", reason="skips reading folders: the extra 'data' is not installed")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()
    return datasets


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_lines_are_read_one_record_a_line(tmp_path: Path, gz: str, ascii_only: bool) -> None:
    lines = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in ROWS)
    path = _write(tmp_path / f"train.jsonl{gz}", lines + "\n")
    assert [record.row for record in load_records(path)] == ROWS


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_read_one_record_an_element(tmp_path: Path, gz: str, indent: int | None) -> None:
    path = _write(tmp_path / f"train.json{gz}", "\n " + json.dumps(ROWS, ensure_ascii=False, indent=indent))
    records = load_records(path)
    assert [record.row for record in records] == ROWS
    assert [record.where for record in records] == [f"{tmp_path.name}/train.json{gz} row {row}" for row in (0, 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


@given(rows=st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=3), max_size=4))
def test_whatever_json_can_write_comes_back(rows: list[dict[str, Any]], folder: Path) -> None:
    lines = _write(folder / "a.jsonl", "\n".join(json.dumps(row) for row in rows))
    array = _write(folder / "a.json", json.dumps(rows))
    assert [record.row for record in load_records(lines)] == rows
    assert [record.row for record in load_records(array)] == rows


def test_blank_lines_are_skipped_and_still_counted(tmp_path: Path) -> None:
    path = _write(tmp_path / "train.jsonl", '\n{"id": "1"}\n \t\n{"id": "2"}\n\n')
    assert [record.where for record in load_records(path)] == [
        f"{tmp_path.name}/train.jsonl line {line}" for line in (2, 4)
    ]


def test_lines_that_end_as_on_windows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b'{"id": "1"}\r\n{"id": "2"}\r\n')
    assert [record.row["id"] for record in load_records(path)] == ["1", "2"]


def test_a_path_may_be_given_as_text(tmp_path: Path) -> None:
    assert load_records(str(_write(tmp_path / "train.jsonl", '{"id": "1"}'))) == [
        Record(f"{tmp_path.name}/train.jsonl line 1", {"id": "1"})
    ]


def test_an_empty_file_holds_no_records(tmp_path: Path) -> None:
    assert load_records(_write(tmp_path / "train.jsonl", "")) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "1"}\n{"id": ', r"train\.jsonl line 2: this is not JSON"),
        ("nothing", r"train\.jsonl line 1: this is not JSON"),
        ('{"id": "1"}\n\n7', r"train\.jsonl line 3: a record must be a JSON object, not int"),
        ('[{"id": "1"}, "two"]', r"train\.jsonl row 1: a record must be a JSON object, not str"),
        ('[{"id": "1"}', r"train\.jsonl: this is not JSON"),
        ("[" * 100_000, r"train\.jsonl: this is not JSON"),
        ('{"id": ' + "9" * 5000 + "}", r"train\.jsonl line 1: this is not JSON"),
    ],
)
def test_a_malformed_file_is_an_error_that_names_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        load_records(_write(tmp_path / "train.jsonl", text))


@pytest.mark.parametrize("name", ["train.parquet", "train.jsonl", "train.jsonl.gz"])
def test_a_file_that_is_not_text_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PAR1\xff\xfe\x00")
    with pytest.raises(RecordError, match=rf"{name}: .*UTF-8"):
        load_records(tmp_path / name)


def test_a_download_that_broke_off_is_an_error_that_names_it(tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps(ROWS).encode() * 50)
    (tmp_path / "train.jsonl.gz").write_bytes(whole[:-20])
    with pytest.raises(RecordError, match=r"train\.jsonl\.gz: this is not a whole text file"):
        load_records(tmp_path / "train.jsonl.gz")


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("text", ['{"id": "1"}', '[{"id": "1"}]'])
def test_a_byte_order_mark_is_read_over(tmp_path: Path, gz: str, text: str) -> None:
    path = _write(tmp_path / f"train.jsonl{gz}", "\ufeff" + text)
    assert [record.row for record in load_records(path)] == [{"id": "1"}]


def test_a_download_that_was_garbled_is_an_error_that_names_it(tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps(ROWS).encode() * 50)
    (tmp_path / "train.jsonl.gz").write_bytes(whole[:10] + b"\xff" * 20 + whole[30:])
    with pytest.raises(RecordError, match=r"train\.jsonl\.gz: this is not a whole text file"):
        load_records(tmp_path / "train.jsonl.gz")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "no_such.jsonl",
            "no_such.json",
            "no/such.jsonl.gz",
            "/no/such/folder",
            "./data",
            "../data",
            "~/data",
            "data",
        ),
        *("a/b/c", "owner/name@", "owner/na me", "owner/name\n", "hf://datasets/owner/name"),
    ],
)
def test_what_is_no_file_and_no_name_of_the_hub_is_not_looked_for_there(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SettingError, match=re.escape(f"There is no file or folder {name!r}")):
        load_records(name)


@pytest.mark.parametrize("source", [3, None, b"train.json", ""])
def test_a_source_that_is_no_path_is_an_error(source: Any) -> None:
    with pytest.raises(SettingError, match="is not offered; give a path, or 'owner/name'"):
        load_records(source)


@pytest.mark.parametrize(
    "error", [ConnectionError("no route"), FileNotFoundError("no such data set"), ValueError("Unknown split")]
)
def test_a_data_set_that_cannot_be_loaded_is_an_error_that_says_what_to_check(
    error: Exception, datasets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **keywords: Any) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(SettingError, match=rf"^owner/name \[test\]: .*Check the name.*\({error}\)") as raised:
        load_records("owner/name")
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(("source", "keywords"), [("a/b", {}), ("a/b@refs/pr/6", {"revision": "refs/pr/6"})])
def test_a_name_of_the_hub_may_have_a_revision(
    source: str, keywords: dict[str, str], datasets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda name, **given: asked.append((name, given)) or ROWS)
    assert [record.row for record in load_records(source, "train")] == ROWS
    assert asked == [("a/b", {"split": "train"} | keywords)]


def test_keywords_that_a_file_has_no_use_for_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "train.jsonl", '{"id": "1"}')
    with pytest.raises(SettingError, match=r"\['revision'\] are for folders and the Hub"):
        load_records(path, revision="main")


def test_a_folder_in_the_hubs_layout_is_read_by_split(tmp_path: Path, datasets: Any) -> None:
    folder = tmp_path / "set" / "data"
    folder.mkdir(parents=True)
    for split, row in zip(("train", "test"), ROWS, strict=True):
        datasets.Dataset.from_list([row]).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    records = load_records(folder.parent, split="train")
    assert [dict(record.row) for record in records] == ROWS[:1]
    assert records[0].where == f"{folder.parent} [train] row 0"
    assert [dict(record.row) for record in load_records(str(folder.parent))] == ROWS[1:]


def test_more_keywords_reach_datasets(tmp_path: Path, datasets: Any) -> None:
    datasets.Dataset.from_list(ROWS).to_parquet(tmp_path / "special.parquet")
    records = load_records(tmp_path, split="extra", data_files={"extra": "special.parquet"})
    assert [dict(record.row) for record in records] == ROWS


@pytest.mark.parametrize("source", ["owner/name", "folder"])
def test_without_the_extra_a_folder_or_the_hub_is_an_error_that_names_it(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'sdpo-envs\[data\]'"):
        load_records(tmp_path if source == "folder" else source)


def test_without_the_extra_files_are_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert len(load_records(_write(tmp_path / "train.jsonl", '{"id": "1"}'))) == 1


def test_a_column_is_returned_when_it_is_of_its_kind() -> None:
    record = Record("train.jsonl line 3", {"id": "1", "number": 2.5})
    assert record.get("id") == "1"
    assert record.get("number", (int, float)) == 2.5


def test_a_missing_column_is_an_error_that_names_the_place_and_what_there_is() -> None:
    with pytest.raises(RecordError, match=r"^train line 3: the column 'text' is missing; it has \['id', 'name'\]"):
        Record("train line 3", {"name": "x", "id": "1"}).get("text")


@pytest.mark.parametrize(("kind", "expected"), [(str, "str"), ((str, list), "str or list")])
def test_a_column_of_another_kind_is_an_error_that_names_both(kind: Any, expected: str) -> None:
    with pytest.raises(RecordError, match=f"^train line 3: the column 'id' must be {expected}, not int"):
        Record("train line 3", {"id": 1}).get("id", kind)


def test_records_become_tasks_in_their_order() -> None:
    records = [Record(f"line {number}", row) for number, row in enumerate(ROWS)]
    assert [task.id for task in load_tasks(records, _read)] == ["1", "2"]


def test_an_id_used_twice_is_an_error_that_names_both_places() -> None:
    records = [Record("train line 1", ROWS[0]), Record("train line 2", ROWS[1]), Record("train line 3", ROWS[0])]
    with pytest.raises(RecordError, match=r"^train line 3: the id '1' was already used by train line 1\.$"):
        load_tasks(records, _read)
