"""MicroHouse: errands of several turns in a house where only those who live there know where things are kept.

``Fetch: cup key`` is done by commands, one a turn: ``go shelf``, ``open drawer``, ``take cup``. A thing is kept in one
of four places, the likeliest first; a house has settled on one for each. There are just enough turns for whoever knows
the house, and one more. So a policy that knows houses searches in vain, and one that learns this house does not.
"""

import functools
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from sdpo_envs.core import Finding, Outcome, Task, Verdict
from sdpo_envs.env import Tool, natural
from sdpo_envs.errors import choose
from sdpo_envs.feedback import LIMIT, excerpt
from sdpo_envs.lexicon import PRIOR, TELLING, Lexicon, Request, requests
from sdpo_envs.turns import Move, Prompt, Seen, TurnsEnv
from sdpo_envs.vector import GroupEnv

PROMPT = "Fetch: {things}"
_LONGEST = 100
OPEN = ("shelf", "desk", "bench", "rack", "table", "sill", "hook", "mat")
"""Places where what is kept is seen at once."""
CLOSED = ("drawer", "chest", "locker", "case", "trunk", "cupboard")
"""Places that have to be opened first."""
LEXICON: Lexicon = {
    "cup": ("cupboard", "table", "rack", "shelf"),
    "plate": ("rack", "cupboard", "table", "bench"),
    "knife": ("drawer", "rack", "case", "table"),
    "spoon": ("drawer", "cupboard", "rack", "sill"),
    "pan": ("hook", "cupboard", "rack", "shelf"),
    "bowl": ("cupboard", "shelf", "table", "drawer"),
    "key": ("hook", "drawer", "mat", "desk"),
    "coat": ("hook", "locker", "bench", "trunk"),
    "hat": ("hook", "shelf", "trunk", "bench"),
    "boot": ("mat", "rack", "bench", "chest"),
    "scarf": ("hook", "chest", "drawer", "bench"),
    "glove": ("drawer", "bench", "chest", "sill"),
    "book": ("shelf", "desk", "table", "chest"),
    "pen": ("desk", "case", "drawer", "table"),
    "lamp": ("desk", "sill", "shelf", "table"),
    "clock": ("shelf", "desk", "sill", "case"),
    "map": ("desk", "drawer", "trunk", "shelf"),
    "letter": ("desk", "mat", "case", "drawer"),
    "rope": ("trunk", "hook", "locker", "bench"),
    "saw": ("bench", "locker", "hook", "case"),
    "drill": ("case", "locker", "bench", "shelf"),
    "nail": ("case", "drawer", "bench", "trunk"),
    "ball": ("chest", "trunk", "mat", "locker"),
    "doll": ("chest", "shelf", "sill", "trunk"),
    "kite": ("trunk", "locker", "hook", "chest"),
    "coin": ("case", "drawer", "sill", "desk"),
}
"""By thing: where it may be kept."""


class MicroHouse(TurnsEnv):
    """Errands in a house where only those who live there know where things are kept.

    An action is a command: ``go PLACE``, ``open PLACE``, ``take THING``. A task's `meta` holds the number of
    ``things``, the ``chance`` that all are where a guess from the lexicon's prior has them, and a ``skill`` for a
    teacher to read: for each thing two places, of which this house keeps it in one.

    Args:
        world: Which house, from 0 on. For the split ``"warm"``: which list of tasks.
        split: ``"train"`` or ``"test"``, in the same house, things combined as in no task of the other; or ``"warm"``,
            with a house for each task, for a policy to get to know houses.
        feedback: In the end, on ``"all"`` things that are missing, the ``"first"``, or ``"none"``: then rewards are all
            there is.
        prompt: See `TurnsEnv`; a complete one holds all turns so far.
        spare: Turns beyond those that whoever knows the house needs.
        reveal: Whether feedback says where the things are.
        limit: Most characters of one feedback text.
        render_mode: None or ``"ansi"``.

    Raises:
        SettingError: a keyword has a value that is not offered.
    """

    def __init__(
        self,
        world: int = 0,
        *,
        split: str = "train",
        feedback: str = "all",
        prompt: Prompt = "complete",
        spare: int = 1,
        reveal: bool = False,
        limit: int = LIMIT,
        render_mode: str | None = None,
    ) -> None:
        limit = 0 if choose("feedback", feedback, TELLING) == "none" else limit
        tasks = [_task(each, world) for each in requests(LEXICON, world=world, split=split, level="mixed")]
        self.spare = natural("spare", spare, least=0)
        self.feedback = feedback
        turns = max(len(_way(task.answer)) for task in tasks) + spare
        super().__init__(tasks, turns=turns, prompt=prompt, reveal=reveal, limit=limit, render_mode=render_mode)
        self._house = _House((), {})

    def walkthrough(self, task: Task) -> Sequence[str]:
        """Return the commands of somebody who knows the house."""
        return _way(task.answer)

    def guess(self, task: Task, rng: np.random.Generator, known: float = 0.0) -> str:
        """Return a command for where the episode stands, of somebody who knows this house with the chance `known`."""
        return self._house.guess(rng, known)

    def secrets(self, task: Task) -> Sequence[str]:
        """Return where this house keeps each of the things."""
        return _kept(task.answer)

    def tools(self) -> Sequence[Tool]:
        """Return the three commands."""

        def go(name: str) -> str:
            """Go to a place of the house.

            Args:
                name: Of the place.
            """
            return f"go {name}"

        def open(name: str) -> str:
            """Open the closed place where you stand.

            Args:
                name: Of the place.
            """
            return f"open {name}"

        def take(name: str) -> str:
            """Take a thing that is seen.

            Args:
                name: Of the thing.
            """
            return f"take {name}"

        return go, open, take

    def read(self, action: str) -> Move:
        """Read a command, of which no more is repeated than a command can have."""
        return Move(action.strip()[:_LONGEST])

    def open(self, task: Task) -> Seen:
        """Stand at the door of the house."""
        self.turns = len(_way(task.answer)) + self.spare
        self._house = _House(task.answer.words, _places(task.answer))
        return Seen("You are at the door.")

    def act(self, command: str) -> Seen | Verdict:
        """Do what the command says."""
        said, finding = self._house.do(command)
        if not self._house.missing:
            return Verdict(Outcome.PASSED, 1.0)
        return Seen(said, findings=() if finding is None else (finding,))

    def run_out(self) -> Verdict:
        """Tell what is missing, and where it was looked for."""
        missing = self._house.missing
        told = missing[:1] if self.feedback == "first" else missing
        answer = {"Kept": ", ".join(_kept(self.task.answer))}
        return Verdict(
            Outcome.WRONG,
            0.0,
            tuple(Finding(f"The {thing} is missing. {self._house.hint(thing)}", answer=answer) for thing in told),
        )

    def written(self) -> str:
        """Write the task, what was done so far, and what is seen."""
        if self.prompt == "new" and self.past:
            return self.seen.text
        done = "".join(f"{each.seen}\n> {each.command}\n" for each in self.past)
        left = self.turns - len(self.past)
        return f"{self.task.prompt} in {left}\n{done}{self.seen.text}"


MicroHouseGroup = functools.partial(GroupEnv, MicroHouse)
"""Groups of attempts at one task, for `gymnasium.make_vec`."""


class _House:
    """Where somebody stands in a house, what was opened, searched and taken.

    Args:
        things: What to fetch.
        places: Where each is kept.
    """

    def __init__(self, things: Sequence[str], places: Mapping[str, str]) -> None:
        self.missing = tuple(things)
        self._places = places
        self._at = ""
        self._opened: frozenset[str] = frozenset()
        self._searched: tuple[str, ...] = ()

    def do(self, command: str) -> tuple[str, Finding | None]:
        """Do what a command says; return what is seen, and why nothing came of it."""
        verb, _, name = command.partition(" ")
        if verb == "go" and name in (*OPEN, *CLOSED):
            self._at = name
            return self._look(), None
        if verb == "open" and name == self._at and name in CLOSED:
            self._opened |= {name}
            return self._look(), None
        if verb == "take" and name in self._seen():
            self.missing = tuple(thing for thing in self.missing if thing != name)
            return f"You take the {name}. {self._look()}", None
        return f"Nothing happens. {self._look()}", Finding(self._why(verb, name))

    def guess(self, rng: np.random.Generator, known: float) -> str:
        """Take what is seen, open what is shut, go where the next thing is, or may be."""
        if seen := self._seen():
            return f"take {seen[0]}"
        if self._at in CLOSED and self._at not in self._opened:
            return f"open {self._at}"
        thing = self.missing[0]
        if rng.random() < known:
            return f"go {self._places[thing]}"
        left = [number for number, place in enumerate(LEXICON[thing]) if place not in self._searched]
        left = left or [*range(len(PRIOR))]
        shares = np.array([PRIOR[number] for number in left])
        return f"go {LEXICON[thing][rng.choice(left, p=shares / shares.sum())]}"

    def hint(self, thing: str) -> str:
        """Say of a thing what somebody might remember who has put it there."""
        return "It is kept shut away." if self._places[thing] in CLOSED else "It is kept in the open."

    def _look(self) -> str:
        if not self._at:
            return "You are at the door."
        if self._at in CLOSED and self._at not in self._opened:
            return f"The {self._at} is closed."
        self._searched = tuple(dict.fromkeys((*self._searched, self._at)))
        return f"The {self._at}: {' '.join(self._seen()) or 'nothing'}."

    def _seen(self) -> list[str]:
        visible = self._at in OPEN or self._at in self._opened
        return [thing for thing in self.missing if visible and self._places[thing] == self._at]

    def _why(self, verb: str, name: str) -> str:
        name = excerpt(name, limit=20, lines=1)
        if verb not in ("go", "open", "take"):
            return "The commands are: go PLACE, open PLACE, take THING."
        if verb == "go":
            return f"There is no place '{name}'."
        if verb == "open":
            return f"You do not stand before a closed '{name}'."
        return f"No '{name}' is to be seen here."


def _task(request: Request, world: int) -> Task:
    rng = np.random.default_rng([world, zlib.crc32(request.name.encode())])
    meta = {"things": len(request.words), "chance": request.chance, "skill": _skill(request, rng)}
    return Task(f"microhouse/{request.name}", PROMPT.format(things=" ".join(request.words)), request, meta=meta)


def _places(request: Request) -> dict[str, str]:
    """Return where the house keeps each thing."""
    return {thing: LEXICON[thing][place] for thing, place in zip(request.words, request.readings, strict=True)}


def _kept(request: Request) -> list[str]:
    return [f"{thing}: {place}" for thing, place in _places(request).items()]


def _skill(request: Request, rng: np.random.Generator) -> str:
    """Say of each thing two places, of which one is right."""
    told = []
    for thing, place in _places(request).items():
        other = rng.choice([each for each in LEXICON[thing] if each != place])
        told.append(f"{thing} - {' or '.join(sorted((place, str(other))))}")
    return ", ".join(told)


def _way(request: Request) -> list[str]:
    """Return the commands that fetch everything."""
    commands, opened = [], set[str]()
    for thing, place in _places(request).items():
        commands += [f"go {place}"]
        commands += [f"open {place}"] if place in CLOSED and place not in opened else []
        commands += [f"take {thing}"]
        opened.add(place)
    return commands
