"""Reads records of task data: bundled files, files and folders of yours, or data sets on the Hugging Face Hub.

A family turns each record into a `Task`. Both halves name the place a record came from when they complain.
"""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from sdpo_envs.core import Task
from sdpo_envs.errors import RecordError, SettingError, nearest, require

_SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz")
_ENCODING = "utf-8-sig"  # reads over the byte order mark that some editors put before UTF-8
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")


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


def leave_out(ids: Collection[str], column: str, records: Iterable[Record]) -> Iterator[Record]:
    """Yield the records whose `column` does not hold one of `ids`.

    Raises:
        SettingError: `ids` is no collection of ids, or, in the end, no record had one of them.
    """
    if isinstance(ids, str) or not isinstance(ids, Collection):
        raise SettingError(f"exclude={ids!r} is not offered; give a list of ids.")
    seen = set()
    for record in records:
        seen.add(record.get(column))
        if record.get(column) not in ids:
            yield record
    for unknown in (each for each in ids if each not in seen):
        hint = nearest(str(unknown), seen) or "."
        raise SettingError(f"exclude: no record of the source has the id {unknown!r}{hint}")


def load_records(source: str | Path, split: str = "test", **keywords: Any) -> list[Record]:
    """Read every record of `source`.

    Args:
        source: A file of JSON Lines or a JSON array, gzipped or not; a local folder in the Hub's layout; or the name of
            a data set on the Hub, ``"owner/name"`` or ``"owner/name@revision"``. The last two need the extra ``data``.
        split: The split to read from a folder or from the Hub.
        keywords: More for `datasets.load_dataset`, such as ``data_files``.

    Raises:
        RecordError: a file is not text, or a line is not a JSON object; the message names the line.
        SettingError: there is no such file, folder or data set, or it cannot be reached, or a file was given with more
            keywords.
        MissingExtra: the module datasets is needed and not installed.
    """
    path = source_path(source)
    if path.is_file():
        if keywords:
            raise SettingError(f"{sorted(keywords)} are for folders and the Hub, and {str(source)!r} is a file.")
        return list(_read_file(path))
    where = f"{source} [{split}]"
    if path.is_dir():
        return list(load_dataset(str(source), where, split=split, **keywords))
    name, _, revision = hub_name(str(source)).partition("@")
    return list(load_dataset(name, where, split=split, **({"revision": revision} if revision else {}), **keywords))


def load_dataset(name: str, where: str, **keywords: Any) -> Iterator[Record]:
    """Yield the rows that `datasets.load_dataset` finds, and name `where` they came from.

    Raises:
        SettingError: there is no such data set, or it cannot be reached or read.
        MissingExtra: the module datasets is not installed.
    """
    datasets = require("datasets", "data")
    try:
        rows = datasets.load_dataset(name, **keywords)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        advice = "Check the name, the split and the connection, or give a path to files that you have."
        raise SettingError(f"{where}: this data set could not be loaded. {advice} ({error})") from error
    for number, row in enumerate(rows):
        yield Record(f"{where} row {number}", row)


def source_path(source: str | Path) -> Path:
    """Return `source` as a path, whether there is something or not.

    Raises:
        SettingError: it is neither a Path nor a str with something in it.
    """
    if not isinstance(source, str | Path) or source == "":
        raise SettingError(f"source={source!r} is not offered; give a path, or 'owner/name' of a data set on the Hub.")
    return Path(source)


def hub_name(source: str) -> str:
    """Return `source`, which is no file or folder, if it can be the name of a data set on the Hub.

    Raises:
        SettingError: it cannot.
    """
    if source.endswith(_SUFFIXES) or not _HUB_NAME.fullmatch(source):
        forms = f"Give a path to a file {_SUFFIXES} or to a folder, or the name of a data set on the Hub, 'owner/name'."
        raise SettingError(f"There is no file or folder {source!r}. {forms}")
    return source


def _read_file(path: Path) -> Iterator[Record]:
    name = f"{path.parent.name}/{path.name}"
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding=_ENCODING) as file:
            yield from _read_array(file, name) if _starts_with_bracket(file) else _read_lines(file, name)
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
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
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where}: this is not JSON: {error}") from error


def _record(where: str, row: Any) -> Record:
    if not isinstance(row, dict):
        raise RecordError(f"{where}: a record must be a JSON object, not {type(row).__name__}.")
    return Record(where, row)
