"""What a recording holds, and how it is read: rows, a clock, what was told, and the world of each phase.

`sdpo_envs.record` writes recordings. Rows may as well come from a file that somebody else wrote.
"""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdpo_envs.core import Outcome
from sdpo_envs.errors import RecordError, SettingError, choose, require
from sdpo_envs.tasks import Record

ATTEMPTS, CLOCK, RECORDING = "attempts.jsonl", "clock.jsonl", "recording.json"
"""The files of a recording."""
TRAIN = "train"
"""The phase whose attempts are counted and whose time is taken."""
_OUTCOMES = {each.value: each for each in Outcome}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One attempt, as it was judged.

    Attributes:
        phase: ``"train"``, or what another part of the run is called.
        generations: How many attempts of the phase ``"train"`` had been made before the round this one belongs to.
        group: The number of its group within its phase, from 0.
        task: The task's id.
        actions: What the policy wrote, an action per step.
        reward: The sum over the episode; NaN where the machinery broke.
        outcome: How it ended; None where it broke, was cut short by a limit of steps, or nobody said.
        passed: Whether it is a success.
        feedback: What was said about it.
        reveals_answer: Whether that gives away what was right.
        peer: Whether it was handed a successful peer.
        tokens: How many tokens the policy wrote, if that was told.
        prompt_tokens: How many it read, in all steps together, if that was told.
        cut_short: Whether a limit of tokens ended one of its actions, where that was told.
        error: What broke, or ``""``.
    """

    phase: str = TRAIN
    generations: int = 0
    group: int = 0
    task: str
    actions: tuple[str, ...] = ()
    reward: float
    outcome: Outcome | None = None
    passed: bool
    feedback: str = ""
    reveals_answer: bool = False
    peer: bool = False
    tokens: int | None = None
    prompt_tokens: int | None = None
    cut_short: bool = False
    error: str = ""

    @property
    def broken(self) -> bool:
        """Whether the machinery broke, so that nothing was learned about the policy."""
        return math.isnan(self.reward)

    def _repr_html_(self) -> str:
        from sdpo_envs.record.summary import row_html  # which reads rows

        return row_html(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One round, by the clock: the rows that were written at once, by one step that ended groups.

    Attributes:
        phase: As in `Row`.
        generations: As in `Row`.
        seconds: Of work since the recording began, up to when the round was written, without what other phases than
            ``"train"`` took.
        rows: How many rows the round has; 0 where nobody said.
        groups: How many groups.
        size: How many bytes ``attempts.jsonl`` has with them.
    """

    phase: str
    generations: int
    seconds: float
    rows: int = 0
    groups: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """What the attempts of a phase were made in.

    Attributes:
        env: The environment's id, or None where it was made by hand.
        settings: Its keywords.
        wrappers: Where each wrapper is found, ``module:Class``, and its keywords; the innermost first.
        unsaved: The names of settings and wrappers that could not be written down.
    """

    env: str | None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    wrappers: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    unsaved: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what `worlds` reads."""
        told: dict[str, Any] = {"env": self.env, "settings": self.settings}
        if self.wrappers:
            told["wrappers"] = [{"entry_point": place, "kwargs": kwargs} for place, kwargs in self.wrappers]
        if self.unsaved:
            told["unsaved"] = self.unsaved
        return told


def rows(run: str | Path) -> list[Row]:
    """Read the attempts of a recording, or of a ``.jsonl`` or ``.parquet`` file that anybody wrote.

    A row needs ``task``, and ``reward`` or ``passed``. Of these two the other follows: a success is a reward of at
    least 1. What else is missing or null has the defaults of `Row`, but ``generations`` counts the training rows before
    it, and ``group`` the rows of its phase. Columns of other names are ignored, and so is a last line that was torn.

    Raises:
        FileNotFoundError: there is no such recording or file.
        RecordError: a line is no row; the message names the file, the line and the column.
        MissingExtra: the file is parquet, and pyarrow is not installed.
    """
    path = Path(run)
    path = path / ATTEMPTS if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"There are no attempts in {path}. Give the folder of a recording, or a file of rows.")
    found: list[Row] = []
    before: Counter[str] = Counter()
    for record in _parquet(path) if path.suffix == ".parquet" else records(path):
        phase = _cell(record, "phase", str, TRAIN)
        found.append(_row(record, phase, before[TRAIN], before[phase]))
        before[phase] += 1
    return found


def clock(run: str | Path) -> list[Tick]:
    """Read when each round of a recording was written.

    Raises:
        FileNotFoundError: `run` holds no recording.
        RecordError: a line is no tick.
    """
    path = Path(run) / CLOCK
    if not path.is_file():
        raise FileNotFoundError(f"There is no {CLOCK} in {run}. Give the folder of a recording.")
    return [read_tick(record) for record in records(path)]


def told(run: str | Path) -> Mapping[str, Any]:
    """Read what a recording was told when it began.

    Raises:
        FileNotFoundError: `run` holds no recording.
        RecordError: its ``recording.json`` is damaged.
    """
    given: Mapping[str, Any] = _recording(run).get("told", dict)
    return given


def worlds(run: str | Path) -> dict[str, World]:
    """Read the world of each phase of a recording.

    Raises:
        FileNotFoundError: `run` holds no recording.
        RecordError: its ``recording.json`` is damaged.
    """
    record = _recording(run)
    return {phase: _world(Record(f"{record.where} {phase}", row)) for phase, row in record.get("phases", dict).items()}


def to_parquet(run: str | Path, path: str | Path) -> None:
    """Write what `rows` reads as a ``.parquet`` file, for `datasets` and others.

    As in ``attempts.jsonl``, the reward is null where the machinery broke. Half a surrogate pair, which parquet cannot
    hold, becomes the six characters of its escape.

    Raises:
        SettingError: `path` does not end in ``.parquet``.
        MissingExtra: pyarrow is not installed.
        FileNotFoundError: as `rows`.
        RecordError: as `rows`.
    """
    choose("the ending of path", Path(path).suffix, [".parquet"])
    arrow, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    text, number, flag = arrow.string(), arrow.int64(), arrow.bool_()
    types = dict.fromkeys(("phase", "task", "outcome", "feedback", "error"), text)
    types |= dict.fromkeys(("generations", "group", "tokens", "prompt_tokens"), number)
    types |= dict.fromkeys(("passed", "reveals_answer", "peer", "cut_short"), flag)
    types |= {"actions": arrow.list_(text), "reward": arrow.float64()}
    schema = arrow.schema([(column.name, types[column.name]) for column in dataclasses.fields(Row)])
    parquet.write_table(arrow.Table.from_pylist([_plain(row) for row in rows(run)], schema), path)


def records(path: Path) -> Iterator[Record]:
    """Yield each object of a file of JSON lines, but not one that was torn at the end.

    Raises:
        RecordError: a line is not a JSON object.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path.parent.name}/{path.name} line {number}"
            if not line.strip():
                continue
            try:
                row = parse(where, line)
            except RecordError:
                if line.endswith(b"\n"):
                    raise
                return
            yield row


def read_tick(record: Record) -> Tick:
    """Read a line of ``clock.jsonl``.

    Raises:
        RecordError: it is none.
    """
    seconds = _number(record, "seconds")
    counts = {name: _count(record, name, 0) for name in ("rows", "groups", "size")}
    generations = record.get("generations", int)
    return Tick(phase=record.get("phase"), generations=generations, seconds=seconds, **counts)


def _row(record: Record, phase: str, generations: int, group: int) -> Row:
    reward = _reward(record)
    passed = _cell(record, "passed", bool, reward >= 1.0)
    if passed and math.isnan(reward):
        raise RecordError(f"{record.where}: the column 'passed' is true, and the column 'reward' null: which is it?")
    return Row(
        phase=phase,
        generations=_count(record, "generations", generations),
        group=_count(record, "group", group),
        task=record.get("task"),
        actions=_actions(record),
        reward=reward,
        outcome=_outcome(record),
        passed=passed,
        feedback=_cell(record, "feedback", str, ""),
        reveals_answer=_cell(record, "reveals_answer", bool, False),
        peer=_cell(record, "peer", bool, False),
        tokens=None if record.row.get("tokens") is None else _count(record, "tokens", 0),
        prompt_tokens=None if record.row.get("prompt_tokens") is None else _count(record, "prompt_tokens", 0),
        cut_short=_cell(record, "cut_short", bool, False),
        error=_cell(record, "error", str, ""),
    )


def _reward(record: Record) -> float:
    if "reward" not in record.row and "passed" in record.row:
        return 1.0 if record.get("passed", bool) else 0.0
    if "reward" in record.row and record.row["reward"] is None:
        return math.nan
    return _number(record, "reward")


def _actions(record: Record) -> tuple[str, ...]:
    actions = _cell(record, "actions", list, [])
    if not all(isinstance(action, str) for action in actions):
        raise RecordError(f"{record.where}: the column 'actions' must be a list of str, not {actions!r}.")
    return tuple(actions)


def _outcome(record: Record) -> Outcome | None:
    name = _cell(record, "outcome", str, None)
    try:
        return None if name is None else _OUTCOMES[choose("outcome", name, _OUTCOMES)]
    except SettingError as error:
        raise RecordError(f"{record.where}: in the column 'outcome', {error}") from error


def _number(record: Record, key: str) -> float:
    number = record.get(key, (int, float))
    if isinstance(number, bool) or math.isinf(number):
        raise RecordError(f"{record.where}: the column {key!r} must be a finite number, not {number!r}.")
    return float(number)


def _count(record: Record, key: str, default: int) -> int:
    number: int = _cell(record, key, int, default)
    if isinstance(number, bool) or number < 0:
        raise RecordError(f"{record.where}: the column {key!r} must be an int of at least 0, not {number!r}.")
    return number


def _cell(record: Record, key: str, kind: type, default: Any) -> Any:
    return default if record.row.get(key) is None else record.get(key, kind)


def parse(where: str, text: bytes) -> Record:
    """Read one JSON object.

    Raises:
        RecordError: it is none.
    """
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where}: this is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise RecordError(f"{where}: this must be a JSON object, not {type(row).__name__}.")
    return Record(where, row)


def _recording(run: str | Path) -> Record:
    path = Path(run) / RECORDING
    if not path.is_file():
        raise FileNotFoundError(f"There is no {RECORDING} in {run}. Give the folder of a recording.")
    return parse(f"{path.parent.name}/{path.name}", path.read_bytes())


def _world(record: Record) -> World:
    wrappers = tuple((each["entry_point"], each["kwargs"]) for each in _cell(record, "wrappers", list, []))
    unsaved = tuple(_cell(record, "unsaved", list, []))
    return World(_cell(record, "env", str, None), record.get("settings", dict), wrappers, unsaved)


def _parquet(path: Path) -> Iterator[Record]:
    arrow, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    try:
        found = parquet.read_table(path).to_pylist()
    except arrow.ArrowInvalid as error:
        raise RecordError(f"{path.parent.name}/{path.name}: this is not a whole parquet file: {error}") from error
    for number, row in enumerate(found):
        yield Record(f"{path.parent.name}/{path.name} row {number}", row)


def _plain(row: Row) -> dict[str, Any]:
    cells = {column.name: getattr(row, column.name) for column in dataclasses.fields(Row)}
    cells["reward"] = None if row.broken else row.reward
    cells["outcome"] = None if row.outcome is None else row.outcome.value
    cells["actions"] = [_encodable(action) for action in row.actions]
    return {name: _encodable(value) if isinstance(value, str) else value for name, value in cells.items()}


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
