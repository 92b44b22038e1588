"""Reads records of task data: bundled files, files and folders of yours, or data sets on the Hugging Face Hub.

A family turns each record into a `Task`. Both halves name the place a record came from when they complain.
"""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from sdpo_envs.core import Task
from sdpo_envs.errors import RecordError, SettingError, require

_SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz")


@dataclass(frozen=True, slots=True)
class Record:
    """One row of task data.

    Attributes:
        where: The place it was read from, such as ``train.json line 3``; every complaint about it starts so.
        row: Column to value.
    """

    where: str
    row: Mapping[str, Any]

    def get(self, key: str, kind: type | tuple[type, ...] = str) -> Any:
        """Return the value of column `key`, which must be of that `kind`.

        Raises:
            RecordError: the column is missing, or its value is of another kind.
        """
        if key not in self.row:
            raise RecordError(f"{self.where}: the column {key!r} is missing; it has {sorted(self.row)}.")
        value = self.row[key]
        if not isinstance(value, kind):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            expected = " or ".join(each.__name__ for each in kinds)
            raise RecordError(f"{self.where}: the column {key!r} must be {expected}, not {type(value).__name__}.")
        return value


def load_tasks(records: Sequence[Record], read: Callable[[Record], Task]) -> tuple[Task, ...]:
    """Turn every record into a task by `read`.

    Raises:
        RecordError: a record cannot be read, or two tasks have one id; the message names the places.
    """
    places: dict[str, str] = {}
    tasks = []
    for record in records:
        task = read(record)
        if task.id in places:
            raise RecordError(f"{record.where}: the id {task.id!r} was already used by {places[task.id]}.")
        places[task.id] = record.where
        tasks.append(task)
    return tuple(tasks)


def load_records(source: str | Path, split: str = "test", **load_dataset: Any) -> list[Record]:
    """Read every record of `source`.

    Args:
        source: A file of JSON Lines or a JSON array, gzipped or not; a local folder in the Hub's layout; or the name of
            a data set on the Hub, ``"owner/name"``. The last two need the extra ``data``.
        split: The split to read from a folder or from the Hub.
        load_dataset: More keywords for `datasets.load_dataset`, such as ``revision`` or ``data_files``.

    Raises:
        RecordError: a file is not text, or a line is not a JSON object; the message names the line.
        SettingError: there is no such file, or a file was given with more keywords.
        MissingExtra: the module datasets is needed and not installed.
    """
    path = Path(source)
    if path.is_file():
        if load_dataset:
            raise SettingError(f"{sorted(load_dataset)} are for folders and the Hub, and {str(source)!r} is a file.")
        return list(_read_file(path))
    if str(source).endswith(_SUFFIXES) or (path.is_absolute() and not path.is_dir()):
        raise SettingError(f"There is no file {str(source)!r}. Give a path to {_SUFFIXES}, a folder, or 'owner/name'.")
    datasets = require("datasets", "data")
    rows = datasets.load_dataset(str(source), split=split, **load_dataset)
    return [Record(f"{source} [{split}] row {number}", row) for number, row in enumerate(rows)]


def _read_file(path: Path) -> Iterator[Record]:
    name = f"{path.parent.name}/{path.name}"
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            yield from _read_array(file, name) if _starts_with_bracket(file) else _read_lines(file, name)
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise RecordError(f"{name}: this is not a whole text file in UTF-8: {error}") from error


def _read_array(file: TextIO, name: str) -> Iterator[Record]:
    for number, row in enumerate(_parse(file.read(), name)):
        yield _record(f"{name} row {number}", row)


def _read_lines(file: TextIO, name: str) -> Iterator[Record]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            where = f"{name} line {number}"
            yield _record(where, _parse(line, where))


def _starts_with_bracket(file: TextIO) -> bool:
    first = next((line.lstrip() for line in file if line.strip()), "")
    file.seek(0)
    return first.startswith("[")


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise RecordError(f"{where}: this is not JSON: {error}") from error


def _record(where: str, row: Any) -> Record:
    if not isinstance(row, dict):
        raise RecordError(f"{where}: a record must be a JSON object, not {type(row).__name__}.")
    return Record(where, row)
