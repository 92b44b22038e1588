"""A recorded run, read to be looked at: attempts, the prompts they answered, and what was thought of their tokens.

Nothing is written, and of the run nothing is executed: environments are made only where they are registered in this
process, to ask them for prompts, and where that is wished, to play episodes again.
"""

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium

from sdpo_envs.core import Task
from sdpo_envs.env import FeedbackEnv
from sdpo_envs.errors import RecordError, SdpoError, SettingError
from sdpo_envs.html import card, shown
from sdpo_envs.record.row import RECORDING, Row, World, records, rows, worlds
from sdpo_envs.record.summary import facts, heading, phases
from sdpo_envs.tasks import Record

TOKENS = "tokens.jsonl"
"""What student and teacher think of tokens, as `train --token-rows` of the agent writes it, beside the attempts."""
_CANNOT = (SdpoError, gymnasium.error.Error, TypeError, ValueError, OSError, ImportError)
"""What making an environment may raise because of its settings or what is installed here."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What student and self-teacher think of each token of one action.

    Attributes:
        saw: What the policy read.
        reads: What the teacher read in place of that, None for the same.
        tokens: The texts of the N tokens.
        student: N log-probabilities, nats; None where one is not finite.
        teacher: The same of the teacher; None where it did not score the turn.
    """

    saw: str
    reads: str | None
    tokens: tuple[str, ...]
    student: tuple[float | None, ...]
    teacher: tuple[float | None, ...] | None


@dataclass(frozen=True, slots=True, repr=False)
class Reading:
    """A run. In a notebook it shows itself.

    Attributes:
        folder: Where it was read, and where a page of it goes.
        facts: Name to value: what was told when it began, and the environment of each phase.
        rows: The attempts.
        slots: Of each attempt, its number within its group.
        turns: For some attempts, by their number, what was thought of the tokens of each turn.
        prompts: By phase and task id, the task without its answer, where it is known.
        seen: For episodes that were played again, by their number, what was read before each action.
        notes: What a reader should know is missing, a sentence each.
    """

    folder: Path
    facts: Mapping[str, str]
    rows: tuple[Row, ...]
    slots: tuple[int, ...]
    turns: Mapping[int, tuple[Turn, ...]]
    prompts: Mapping[tuple[str, str], Task]
    seen: Mapping[int, tuple[str, ...]]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Reading of {self.folder.name}: {len(self.rows)} attempts, {len(self.turns)} with scored tokens>"

    def _repr_html_(self) -> str:
        notes = "".join(f"<div><i>{shown(note)}</i></div>" for note in self.notes)
        scored = f"<div>{len(self.turns)} attempts with scored tokens.</div>" if self.turns else ""
        return card(heading(self.folder.name, self.facts), phases(self.rows), scored, notes)


def read(run: str | Path, *, prompts: bool = True, play: bool = False) -> Reading:
    """Read a recording, or a file of rows that anybody wrote.

    Args:
        run: A folder, or a ``.jsonl`` or ``.parquet`` file as for `sdpo_envs.record.rows`.
        prompts: Whether to make the environments again, where they are registered, and ask them for the prompts.
        play: Whether to play the episodes of several turns again in them, for what was seen before each action;
            then there are prompts as well.

    Raises:
        FileNotFoundError: there is no such run.
        RecordError: a row is not as it should be; the message names its place.
    """
    path, notes = Path(run), list[str]()
    attempts = rows(path)
    folder = (path if path.is_dir() else path.parent).absolute()
    recorded = path.is_dir() and (path / RECORDING).exists()
    known = worlds(path) if recorded else {}
    slots, tokens = _slots(attempts), folder / TOKENS
    turns, lost = _matched(attempts, slots, list(records(tokens))) if tokens.exists() else ({}, 0)
    if lost:
        notes.append(f"{lost} rows of {TOKENS} are of no attempt that is recorded here, and are left out.")
    found: dict[tuple[str, str], Task] = {}
    seen: dict[int, tuple[str, ...]] = {}
    for phase, world in known.items() if prompts or play else ():
        mine = {number: row for number, row in enumerate(attempts) if row.phase == phase}
        try:
            _ask(world, phase, mine, play, found, seen)
        except _CANNOT as error:
            notes.append(f"The environment of {phase!r} could not tell all that was asked of it: {error}")
    if not known:
        notes.append("The environments were not recorded, so there are no prompts.")
    return Reading(folder, facts(path) if recorded else {}, tuple(attempts), slots, turns, found, seen, tuple(notes))


def _ask(
    world: World,
    phase: str,
    attempts: Mapping[int, Row],
    play: bool,
    found: dict[tuple[str, str], Task],
    seen: dict[int, tuple[str, ...]],
) -> None:
    """Make the environment of a phase and ask it; what it told before anything broke is kept.

    Raises:
        SettingError: it is not registered here, as no module is imported because a run names it; or it is another kind.
    """
    if world.env not in gymnasium.registry:
        raise SettingError(f"{world.env} is not registered here; import what registers it, and read the run again.")
    with contextlib.closing(gymnasium.make(world.env, disable_env_checker=True, **world.settings)) as env:
        if not isinstance(env.unwrapped, FeedbackEnv):
            raise SettingError(f"{world.env} is no FeedbackEnv.")
        known = set(env.unwrapped.task_ids)
        for task_id in dict.fromkeys(row.task for row in attempts.values() if row.task in known):
            observation, info = env.reset(options={"task_id": task_id})
            found[phase, task_id] = Task(task_id, observation, None, info["system"])
        for number, row in attempts.items():
            if play and row.task in known and len(row.actions) > 1 and not row.broken:
                seen[number] = tuple(_played(env, row))


def _played(env: gymnasium.Env[str, str], row: Row) -> Iterator[str]:
    """Yield what is seen before each action of an episode that is played again."""
    observation, _ = env.reset(options={"task_id": row.task})
    ended = False
    for action in row.actions:
        if ended:
            return
        yield observation
        observation, _, terminated, truncated, _ = env.step(action)
        ended = terminated or truncated


def _slots(attempts: Sequence[Row]) -> tuple[int, ...]:
    """Number the attempts of each group, which are recorded in the order of their slots."""
    counts: dict[tuple[str, int], int] = defaultdict(int)
    slots = []
    for row in attempts:
        slots.append(counts[row.phase, row.group])
        counts[row.phase, row.group] += 1
    return tuple(slots)


def _matched(
    attempts: Sequence[Row], slots: Sequence[int], found: Sequence[Record]
) -> tuple[dict[int, tuple[Turn, ...]], int]:
    """Return, by the number of the attempt, what was thought of its tokens; and how many are of no attempt.

    An attempt is the first at its task, in its slot, with its actions, of all that were made since its step began.
    """
    places: dict[tuple[str, int, tuple[str, ...]], list[int]] = defaultdict(list)
    for number, (row, slot) in enumerate(zip(attempts, slots, strict=True)):
        if row.phase == "train":
            places[row.task, slot, _written(row.actions)].append(number)
    turns: dict[int, tuple[Turn, ...]] = {}
    lost = 0
    for record in found:
        told_turns = [Record(record.where, _object(record, each)) for each in record.get("turns", list)]
        actions = _written([each.get("action", str) for each in told_turns])
        since = record.get("generations", int)
        here = places[record.get("task", str), record.get("attempt", int), actions]
        later = [each for each in here if attempts[each].generations >= since and each not in turns]
        if later:
            turns[later[0]] = tuple(map(_turn, told_turns))
        else:
            lost += 1
    return turns, lost


def _written(actions: Sequence[str]) -> tuple[str, ...]:
    """Leave out empty actions at the end: an environment hears them where a conversation had no room left to write."""
    last = max((place for place, action in enumerate(actions, start=1) if action), default=0)
    return tuple(actions[:last])


def _turn(record: Record) -> Turn:
    tokens = tuple(record.get("tokens", list))
    if not all(isinstance(each, str) for each in tokens):
        raise RecordError(f"{record.where}: the tokens of a turn must be str.")
    teacher = None if record.row.get("teacher") is None else _numbers(record, "teacher", len(tokens))
    reads = None if record.row.get("reads") is None else record.get("reads", str)
    return Turn(record.get("saw", str), reads, tokens, _numbers(record, "student", len(tokens)), teacher)


def _numbers(record: Record, column: str, count: int) -> tuple[float | None, ...]:
    numbers = record.get(column, list)
    good = all(each is None or (isinstance(each, int | float) and math.isfinite(each)) for each in numbers)
    if len(numbers) != count or not good:
        raise RecordError(f"{record.where}: {column!r} must be {count} numbers, one per token, or nulls.")
    return tuple(numbers)


def _object(record: Record, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RecordError(f"{record.where}: each of 'turns' must be an object, not {type(value).__name__}.")
    return value
