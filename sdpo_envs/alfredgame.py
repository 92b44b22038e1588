"""ALFWorld's games: reads them from its own files or from archives of those, and knows their goals.

A file ``game.tw-pddl`` is JSON of 125 kB: a domain and a grammar, which all games share but for the sentence that tells
the goal, a PDDL problem, and how it is solved. What is kept of a game is its problem, compressed, and the rest once.
"""

import functools
import importlib.util
import json
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from sdpo_envs.errors import RecordError, SettingError, choose, require
from sdpo_envs.files import bundled
from sdpo_envs.tasks import Record, load_records, source_path
from sdpo_envs.textengine import Logic
from sdpo_envs.textworker import GOAL

Split = Literal["train", "test", "valid_seen", "valid_unseen"]
Grammar = Literal["own", "move", "put"]

SPLITS = get_args(Split)
BUNDLED_SPLITS = SPLITS[:2]
GRAMMARS = get_args(Grammar)
TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)

_FILE = "game.tw-pddl"
_TOLD = re.compile(r'(?<="Your task is to: )(?:[^"\\]|\\.)*?(?=\.?")')
_TYPES = {"clean": TASK_TYPES[2], "hot": TASK_TYPES[3], "cool": TASK_TYPES[4]}
_OLD_WORDS = (
    ("move {o} to {r}", "put {o} in/on {r}"),
    ("You move the {o.name} to the {r.name}.", "You put the {o.name} in/on the {r.name}."),
    ("You arrive at {r.name}.", "You arrive at {lend.name}."),
)


@dataclass(frozen=True, slots=True)
class Goal:
    """What a game wants, in the names of kinds, such as ``apple``.

    Attributes:
        thing: What is to be placed, or held under the lamp.
        place: Where it is to be placed; ``""`` for a lamp's task.
        state: What it must be by then: ``"clean"``, ``"hot"``, ``"cool"``, or ``""``.
        count: How many are to be placed.
        lamp: What is to be switched on while it is held, or ``""``.
    """

    thing: str
    place: str = ""
    state: str = ""
    count: int = 1
    lamp: str = ""

    @property
    def task_type(self) -> str:
        """ALFWorld's name of such tasks, one of `TASK_TYPES`."""
        if self.lamp:
            return TASK_TYPES[1]
        return TASK_TYPES[5] if self.count == 2 else _TYPES.get(self.state, TASK_TYPES[0])


@dataclass(frozen=True, slots=True)
class Game:
    """One game.

    Attributes:
        name: Unique within its split.
        told: The goal as the game tells it, ``put a hot apple in fridge``.
        goal: The goal as the problem states it.
        packed: The PDDL problem, compressed.
        walkthrough: Commands that win; none where none are known.
        own: The domain and the grammar of its file; None for those of the installed package.
    """

    name: str
    told: str
    goal: Goal
    packed: bytes
    walkthrough: tuple[str, ...] = ()
    own: tuple[str, str] | None = None

    def logic(self, grammar: str) -> Logic:
        """Return what the engine reads; `grammar` is one of `GRAMMARS`.

        Raises:
            MissingExtra: the package alfworld is not installed.
        """
        domain, words = self.own if self.own and grammar == "own" else shipped("put" if grammar == "put" else "move")
        return Logic(domain, words, self.told, zlib.decompress(self.packed).decode())


def load_games(source: str | Path | None, split: str) -> list[Game]:
    """Read the games of a split, sorted by name.

    Args:
        source: None for the bundled ones; a folder, or an archive that `tarfile` opens, with files ``game.tw-pddl``
            below folders named after the splits; or a file of JSON Lines with ``name``, ``goal``, ``problem`` and
            ``walkthrough``, as ``tasks/alfworld/make.py`` writes it, or a folder with ``<split>.jsonl``; gzipped or
            not.
        split: One of `SPLITS`.

    Raises:
        SettingError: there is no such place, or no game of the split in it.
        RecordError: a file is not a game; the message names it.
    """
    choose("split", split, SPLITS if source is not None else BUNDLED_SPLITS)
    path = bundled("tasks", "alfworld") if source is None else source_path(source)
    files = [path / f"{split}.jsonl{suffix}" for suffix in (".gz", "")] if path.is_dir() else [path]
    store = next((file for file in files if file.is_file() and ".jsonl" in file.name), None)
    records = load_records(store) if store else _files(path, split)
    games = sorted((_game(record) for record in records), key=lambda game: game.name)
    if not games:
        raise SettingError(f"{path} has no file {_FILE} below a folder {split!r}; give a folder or archive that has.")
    return games


@functools.cache
def shipped(words: str) -> tuple[str, str]:
    """Return the domain and the grammar that the package alfworld brings, in the ``"move"`` or the old ``"put"`` words.

    Version 2.1.1 of the games said "put X in/on Y" where 2.1.2 says "move X to Y", named the location on arrival, and
    knew no command "help".

    Raises:
        MissingExtra: the package is not installed.
        SettingError: another module has its name.
    """
    found = importlib.util.find_spec("alfworld")  # importing it would make a folder in your home
    folders = [Path(place, "data") for place in (found and found.submodule_search_locations) or ()]
    folder = next((each for each in folders if (each / "alfred.pddl").is_file()), None)
    if folder is None:
        require("alfworld", "alfworld")
        raise SettingError("The module alfworld that was found is not the package; see what shadows it.")
    domain, grammar = ((folder / name).read_text(encoding="utf-8") for name in ("alfred.pddl", "alfred.twl2"))
    if words == "put":
        for new, old in _OLD_WORDS:
            grammar = grammar.replace(new, old)
        grammar = re.sub(r"\naction help \{.*?\n\}\n", "\n", grammar, flags=re.DOTALL)
        domain = re.sub(r"\n\(:action help\n.*?\n\)\n", "\n", domain, flags=re.DOTALL)
    return domain, grammar


def goal_of(problem: str, where: str) -> Goal:
    """Read the goal of a PDDL problem.

    Raises:
        RecordError: it is none of the six that ALFWorld has; the message starts with `where`.
    """
    goal = problem[problem.find("(:goal") :]
    things = re.findall(r"\(objectType \?o\w* (\w+)Type\)", goal)
    place = re.search(r"\(receptacleType \?r (\w+)Type\)", goal)
    lamp = re.search(r"\(objectType \?ot (\w+)Type\)", goal)
    state = re.search(r"\(is(Clean|Hot|Cool) \?o\)", goal)
    if lamp:
        things.remove(lamp[1])
    if not things or not (lamp or place) or len(set(things)) > 1:
        raise RecordError(f"{where}: the goal is none of {', '.join(TASK_TYPES)}: {goal[:200]!r}.")
    kind = things[0].lower()
    if lamp:
        return Goal(kind, lamp=lamp[1].lower())
    assert place is not None
    return Goal(kind, place[1].lower(), state[1].lower() if state else "", len(things))


def _game(record: Record) -> Game:
    if "pddl_problem" in record.row:
        problem, grammar = record.get("pddl_problem"), record.get("grammar")
        told = _TOLD.search(grammar)
        if told is None:
            raise RecordError(f"{record.where}: the grammar does not say 'Your task is to: ...'.")
        sentence = str(json.loads(f'"{told[0]}"'))
        own: tuple[str, str] | None = _once(record.get("pddl_domain")), _once(_TOLD.sub(GOAL, grammar, count=1))
    else:
        problem, sentence, own = record.get("problem"), record.get("goal"), None
    walkthrough = record.row.get("walkthrough") or ()
    if not isinstance(walkthrough, list | tuple) or not all(isinstance(each, str) for each in walkthrough):
        raise RecordError(f"{record.where}: the walkthrough must be a list of commands, not {walkthrough!r}.")
    packed = zlib.compress(problem.encode(), 1)
    return Game(record.get("name"), sentence, goal_of(problem, record.where), packed, tuple(walkthrough), own)


@functools.lru_cache(maxsize=16)
def _once(text: str) -> str:
    """Return the first of equal texts, so that games share it."""
    return text


def _files(path: Path, split: str) -> Iterator[Record]:
    """Yield a record for each game of `split` below a folder or in an archive."""
    if path.is_dir():
        for file in sorted(path.rglob(_FILE)):
            if _is_of(file.absolute().parts, split):
                yield _record(file.parts, file.read_bytes())
        return
    if not path.is_file():
        raise SettingError(f"There is no folder or archive {str(path)!r} with games.")
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                parts = Path(member.name).parts
                if member.isfile() and parts[-1] == _FILE and _is_of(parts, split):
                    content = archive.extractfile(member)
                    assert content is not None
                    yield _record(parts, content.read())
    except (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        raise SettingError(f"{path} is neither JSON Lines nor an archive that can be read: {error}") from error


def _is_of(parts: Sequence[str], split: str) -> bool:
    return next((part for part in reversed(parts) if part in (*SPLITS, "valid_train")), split) == split


def _record(parts: Sequence[str], content: bytes) -> Record:
    where = "/".join(parts[-3:])
    try:
        row: Any = json.loads(content)
    except ValueError as error:
        raise RecordError(f"{where}: this is not JSON: {error}") from error
    if not isinstance(row, dict) or "pddl_problem" not in row:
        raise RecordError(f"{where}: a game is a JSON object with a 'pddl_problem'.")
    return Record(where, {**row, "name": "/".join(parts[-3:-1])})
