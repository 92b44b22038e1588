"""A recording: a folder to which rounds of attempts are appended, whole ones only, whatever kills the process.

``recording.json`` holds what it was told when it began, and the world of each phase. ``attempts.jsonl`` has a row per
attempt and nothing measured by a clock, so that equal runs are equal to the byte. ``clock.jsonl`` has a line per round,
which is all rows that one step wrote. `row` reads all three.

A round is written in two moves, under a lock: its rows, in one piece, and then its line of the clock, which tells how
long ``attempts.jsonl`` is with them. That line makes it count. So wherever a process is killed, what stands beyond the
last line of the clock is one round, or part of one, that never counted: whoever opens the recording or writes next cuts
it off. Should there be more (the machine lost its power, or somebody lost the clock), all rounds but the last are kept
and get the last figure of the clock; and a line of the clock whose rows are not all there is cut off.
"""

import fcntl
import functools
import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from typing import Any, Self

from sdpo_envs.core import Feedback, Verdict
from sdpo_envs.errors import RecordError, SettingError
from sdpo_envs.record.row import ATTEMPTS, CLOCK, RECORDING, TRAIN, Tick, World, parse, read_tick, told, worlds
from sdpo_envs.record.summary import recording_html

_FALSE_TRUE = ("false", "true")
_UNDECIDED = Feedback()


@dataclass(slots=True)
class Attempt:
    """An attempt that is being made."""

    task: str
    actions: list[str] = field(default_factory=list)
    reward: float = 0.0
    tokens: int | None = None
    prompt_tokens: int | None = None
    cut_short: bool = False
    ended: bool = False
    verdict: Verdict | None = None
    feedback: Feedback = _UNDECIDED
    error: str = ""

    def spend(self, tokens: int, prompt_tokens: int | None, cut_short: bool) -> None:
        """Add what one more action cost."""
        self.tokens = (self.tokens or 0) + tokens
        if prompt_tokens is not None:
            self.prompt_tokens = (self.prompt_tokens or 0) + prompt_tokens
        self.cut_short = self.cut_short or cut_short

    def line(self, phase: str, generations: int, group: int) -> str:
        """Return the columns of `Row` as JSON, in ASCII. By hand, as that takes a third of the time of `json.dumps`."""
        feedback, outcome, passed = self.feedback, "null", False
        if self.verdict is not None:
            outcome, passed = quoted(self.verdict.outcome.value), self.verdict.passed
        return (
            f'{{"phase": {quoted(phase)}, "generations": {generations}, "group": {group}, "task": {quoted(self.task)}, '
            f'"actions": [{", ".join(map(quoted, self.actions))}], '
            f'"reward": {repr(float(self.reward)) if math.isfinite(self.reward) else "null"}, '
            f'"outcome": {outcome}, "passed": {_FALSE_TRUE[passed]}, "feedback": {quoted(feedback.text)}, '
            f'"reveals_answer": {_FALSE_TRUE[feedback.reveals_answer]}, '
            f'"peer": {_FALSE_TRUE[feedback.peer is not None]}, '
            f'"tokens": {_number(self.tokens)}, "prompt_tokens": {_number(self.prompt_tokens)}, '
            f'"cut_short": {_FALSE_TRUE[self.cut_short]}, "error": {quoted(self.error)}}}\n'
        )


class Recording:
    """A folder that holds what was attempted: begun anew, or gone on with.

    Several processes may write to one recording at the same time.

    Args:
        run: The folder.
        told: What to remember about the run, a JSON object. To go on it must be the same, or None.
        resume: Whether to go on with what is there, if anything is. Half a round, which a killed process left, is cut.
        generations: Where to go on: forget the rounds of training from this many training attempts on, and the rounds
            of other phases that came after it. A run that goes on from a checkpoint makes them again.

    Attributes:
        folder: The absolute path.

    Raises:
        FileExistsError: there is a recording, and `resume` is False.
        SettingError: it was told something else, `told` is no JSON object, or `generations` was given without `resume`.
        RecordError: what is there is no recording, or was changed by hand.
    """

    def __init__(
        self,
        run: str | Path,
        *,
        told: Mapping[str, Any] | None = None,
        resume: bool = False,
        generations: int | None = None,
    ) -> None:
        if generations is not None and not resume:
            raise SettingError(f"generations={generations} says where to go on, so it needs resume=True.")
        given = None if told is None else _plain_object(told)
        self.folder = Path(run).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._size = self._clock = self._rounds = self._train = 0
        self._groups: Counter[str] = Counter()
        self._seconds = self._aside = 0.0
        with self._alone() as attempts:
            self._begin(given, resume, os.fstat(attempts).st_size > 0)
            self._catch_up(attempts, generations)
        self._earlier = self._seconds
        self._opened = time.perf_counter()

    @property
    def generations(self) -> int:
        """How many attempts of the phase ``"train"`` there are, as far as this object knows."""
        return self._train

    def enter(self, phase: str, world: World) -> None:
        """Write down the world of a phase.

        Raises:
            SettingError: the phase was begun in another world, or has no name.
        """
        if not isinstance(phase, str) or not phase:
            raise SettingError(f"phase={phase!r} is not offered; a phase is a str such as 'train' or 'test'.")
        with self._alone():
            known = worlds(self.folder)
            if known.get(phase, world) != world:
                advice = "Name another phase, or begin another recording."
                raise SettingError(f"{self.folder}: {phase!r} was begun in {known[phase]}, not in {world}. {advice}")
            self._save(told(self.folder), {**known, phase: world})

    def set_aside(self, seconds: float) -> None:
        """Have the clock leave out this much time, which was not spent on training."""
        self._aside += seconds

    def append(self, phase: str, groups: Sequence[Sequence[Attempt]]) -> None:
        """Write one round: all attempts of some groups, which have ended."""
        with self._alone() as attempts:
            if os.fstat(attempts).st_size != self._size:
                self._catch_up(attempts)
            train, first = self._train, self._groups[phase]
            lines = [each.line(phase, train, group) for group, slots in enumerate(groups, first) for each in slots]
            written = "".join(lines).encode("ascii")
            _write(attempts, written)
            seconds = self._earlier + time.perf_counter() - self._opened - self._aside
            tick = Tick(
                phase=phase,
                generations=train,
                seconds=round(max(self._seconds, seconds), 3),
                rows=len(lines),
                groups=len(groups),
                size=self._size + len(written),
            )
            with open(self.folder / CLOCK, "ab", buffering=0) as file:
                _write(file.fileno(), line := _line(tick))
            self._take(tick, len(line))

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[Path]]:
        """Travel as a folder: a copy goes on with what it finds there."""
        return functools.partial(type(self), resume=True), (self.folder,)

    def _repr_html_(self) -> str:
        return recording_html(self.folder)

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """Open the attempts, to append to them, while nobody else writes to this recording."""
        attempts = os.open(self.folder / ATTEMPTS, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            fcntl.flock(attempts, fcntl.LOCK_EX)
            yield attempts
        finally:
            os.close(attempts)

    def _begin(self, given: Mapping[str, Any] | None, resume: bool, attempted: bool) -> None:
        begun = (self.folder / RECORDING).exists()
        if (begun or attempted) and not resume:
            raise FileExistsError(f"{self.folder} already holds a recording. Name another folder, or resume it.")
        if not begun:
            self._save({} if given is None else given, {})
        elif given is not None:
            self._require_told(given)

    def _require_told(self, given: Mapping[str, Any]) -> None:
        kept = told(self.folder)
        for name in {**kept, **given}:
            before, now = kept.get(name), given.get(name)
            if before != now:
                advice = "Resume it with the same, or begin another recording."
                raise SettingError(f"{self.folder} was told {name}={before!r}, not {now!r}. {advice}")

    def _save(self, told: Mapping[str, Any], known: Mapping[str, World]) -> None:
        content = {"told": told, "phases": {phase: world.as_json() for phase, world in known.items()}}
        fresh = self.folder / f"{RECORDING}.new"
        fresh.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        fresh.replace(self.folder / RECORDING)

    def _catch_up(self, attempts: int, generations: int | None = None) -> None:
        """Take up the rounds that came since, up to where to go on, and cut off what is left."""
        size = os.fstat(attempts).st_size
        with open(self.folder / CLOCK, "a+b") as file:
            if file.seek(0, os.SEEK_END) < self._clock:
                raise RecordError(f"{self.folder} was cut short by another process. Open the recording again.")
            file.seek(self._clock)
            lines = [line for line in file if line.endswith(b"\n")]
            ticks = [self._tick(number, line) for number, line in enumerate(lines, self._rounds + 1)]
            whole = list(takewhile(lambda tick: tick.size <= size, ticks))
            known = whole[-1].size if whole else self._size
            for tick, line in zip(whole, lines, strict=False):
                if _comes_after(tick, generations):
                    break
                self._take(tick, len(line))
            file.truncate(self._clock)
            for tick in self._unclocked(os.pread(attempts, size - known, known), known):
                if not _comes_after(tick, generations):
                    file.write(line := _line(tick))
                    self._take(tick, len(line))
        os.ftruncate(attempts, self._size)

    def _tick(self, number: int, line: bytes) -> Tick:
        record = parse(f"{self.folder.name}/{CLOCK} line {number}", line)
        record.get("size", int)  # without which nobody can go on
        return read_tick(record)

    def _unclocked(self, left: bytes, size: int) -> Iterator[Tick]:
        """Yield a tick for each round, but the last, of rows beyond `size` bytes, of which the clock does not know."""
        lines = left.split(b"\n")[:-1]
        records = [parse(f"{self.folder.name}/{ATTEMPTS}", line) for line in lines]
        keys = [(record.get("phase"), record.get("generations", int)) for record in records]
        starts = [at for at in range(len(keys)) if at == 0 or keys[at] != keys[at - 1]]
        for start, end in pairwise(starts):
            phase, generations = keys[start]
            size += sum(len(line) + 1 for line in lines[start:end])
            yield Tick(
                phase=phase,
                generations=generations,
                seconds=self._seconds,
                rows=end - start,
                groups=len({record.get("group", int) for record in records[start:end]}),
                size=size,
            )

    def _take(self, tick: Tick, length: int) -> None:
        """Count a round, whose line of the clock has that `length` in bytes."""
        self._size, self._seconds = tick.size, tick.seconds
        self._clock += length
        self._rounds += 1
        self._groups[tick.phase] += tick.groups
        self._train += tick.rows if tick.phase == TRAIN else 0


def _number(count: int | None) -> str:
    return "null" if count is None else str(count)


def plain(value: Any) -> Any:
    """Return `value` as JSON gives it back: paths become str, tuples lists.

    Raises:
        TypeError: it is no JSON.
        ValueError: it is no JSON.
        RecursionError: it is no JSON.
    """
    return json.loads(json.dumps(value, allow_nan=False, default=os.fspath))


def _plain_object(told: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return dict(plain(dict(told)))
    except (TypeError, ValueError, RecursionError) as error:
        raise SettingError(f"told={told!r} must be a JSON object: {error}") from error


def _comes_after(tick: Tick, generations: int | None) -> bool:
    """Whether a run that goes on from so many generations makes this round again."""
    return generations is not None and tick.generations + (tick.phase == TRAIN) > generations


def _line(tick: Tick) -> bytes:
    return json.dumps({name: getattr(tick, name) for name in Tick.__slots__}).encode("ascii") + b"\n"


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
