"""MicroTool: errands done by calling tools whose names, arguments and habits only the judge knows.

``Do: dim lock`` may ask for ``lamp {"level": 1}`` and ``door {"state": "shut"}``, or for ``light {"level": 1}`` and
``door {"bolt": "shut"}``: one call for each word, in any order, written as in `sdpo_envs.tooluse`. A program of
MicroCode stops at its first error; here each call is answered by itself: there is no such tool, it takes no such
argument, or the value is another. Nothing is run, so there is no wall.
"""

import functools
import json
from collections.abc import Mapping, Sequence

import numpy as np

from sdpo_envs.apidoc import as_json
from sdpo_envs.core import Finding, Outcome, Task, Verdict
from sdpo_envs.env import JudgedEnv
from sdpo_envs.errors import choose
from sdpo_envs.feedback import LIMIT
from sdpo_envs.lexicon import TELLING, Lexicon, Request, guess, requests
from sdpo_envs.parsing import Call, calls
from sdpo_envs.vector import GroupEnv

PROMPT = "Do: {words}"

_DEVICES = {
    "dim": ("lamp", "light", "level", "power", 1, 2),
    "warm": ("heater", "stove", "degrees", "heat", 21, 24),
    "cool": ("fan", "vent", "speed", "rate", 3, 5),
    "lock": ("door", "gate", "state", "bolt", "shut", "barred"),
    "mute": ("radio", "speaker", "volume", "sound", 0, "off"),
    "wake": ("alarm", "clock", "hour", "time", 7, 6),
    "wash": ("washer", "laundry", "cycle", "program", "short", "eco"),
    "brew": ("kettle", "brewer", "cups", "amount", 2, 4),
    "water": ("sprinkler", "hose", "minutes", "period", 5, 15),
    "shade": ("blind", "curtain", "height", "position", 0, "low"),
    "clean": ("robot", "vacuum", "room", "place", "hall", "kitchen"),
    "feed": ("feeder", "bowl", "grams", "portion", 50, 80),
    "film": ("camera", "recorder", "mode", "setting", "night", "day"),
    "ring": ("bell", "chime", "tone", "melody", "soft", "loud"),
    "park": ("garage", "carport", "slot", "bay", 1, 8),
    "charge": ("battery", "charger", "percent", "target", 80, 90),
    "print": ("printer", "plotter", "copies", "count", 1, 3),
    "bake": ("oven", "grill", "minutes", "duration", 30, 45),
    "post": ("mailbox", "outbox", "folder", "label", "sent", "later"),
    "pay": ("bank", "wallet", "account", "source", "joint", "own"),
    "book": ("calendar", "planner", "day", "date", "friday", "monday"),
    "call": ("phone", "dialer", "contact", "number", "home", "office"),
    "shop": ("list", "basket", "item", "product", "milk", "bread"),
    "guide": ("map", "route", "via", "road", "coast", "hills"),
}
"""By word: the tool or else its other name, its argument or else the other, and the value or else the other."""


def _readings(tool: str, other: str, name: str, alias: str, value: object, rare: object) -> tuple[str, ...]:
    likely = (tool, name, value), (tool, name, rare), (tool, alias, value), (other, name, value)
    return tuple(f"Action: {each}\nAction Input: {json.dumps({key: what})}" for each, key, what in likely)


LEXICON: Lexicon = {word: _readings(*device) for word, device in _DEVICES.items()}
"""By word: the call that it may mean; from the likeliest others differ in the value, the argument, or the tool."""


class MicroTool(JudgedEnv):
    """Errands in a home whose tools only the judge knows.

    An action is whatever the policy writes; each ``Action: tool`` in it with its ``Action Input: {...}`` is a call. A
    task's `meta` holds its ``words`` and the ``chance`` that a guess from the lexicon's prior is right.

    Args:
        world: Which home, from 0 on. For the split ``"warm"``: which list of tasks.
        split: ``"train"`` or ``"test"``, in the same home, words combined as in no task of the other; or ``"warm"``,
            with a home for each task, for a policy to get to know the lexicon.
        level: ``"mixed"``; or ``"hard"`` or ``"very-hard"``, where a guess is right in 0.5 to 5 %, or in 0.03 to 0.3 %.
        feedback: On ``"all"`` calls that are not right, the ``"first"``, or ``"none"``: then rewards are all there is.
        reveal: Whether feedback gives the right calls too.
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
        level: str = "mixed",
        feedback: str = "all",
        reveal: bool = False,
        limit: int = LIMIT,
        render_mode: str | None = None,
    ) -> None:
        limit = 0 if choose("feedback", feedback, TELLING) == "none" else limit
        tasks = [_task(each) for each in requests(LEXICON, world=world, split=split, level=level)]
        judge_calls = functools.partial(judge, most=1 if feedback == "first" else None)
        super().__init__(tasks, judge_calls, reveal=reveal, limit=limit, render_mode=render_mode)

    def oracle(self, task: Task) -> str:
        """Return the calls that the words mean here."""
        return _written(task.answer, task.answer.readings)

    def guess(self, task: Task, rng: np.random.Generator, known: float = 0.0) -> str:
        """Return calls that the words may mean."""
        return _written(task.answer, guess(task.answer, rng, known))

    def secrets(self, task: Task) -> Sequence[str]:
        """Return the calls that the words mean here."""
        return [self.oracle(task)]


MicroToolGroup = functools.partial(GroupEnv, MicroTool)
"""Groups of attempts at one task, for `gymnasium.make_vec`."""


def judge(task: Task, action: str, most: int | None = None) -> Verdict:
    """Answer each call in `action`; of those that are not right, at most so many are told of."""
    right = {"Right": _written(task.answer, task.answer.readings)}
    made: list[Call] = []
    for each in calls(action):
        if isinstance(each, Finding):
            return Verdict(Outcome.MALFORMED, 0.0, (Finding(each.title, answer=right),))
        made.append(each)
    if not made:
        return Verdict(Outcome.MALFORMED, 0.0, (Finding("No line starts with 'Action:'.", answer=right),))
    wanted = _wanted(task.answer)
    faults = [_fault(call, wanted) for call in made]
    told = [f"call {number}: {fault}" for number, fault in enumerate(faults, start=1) if fault]
    if len(made) != len(task.answer.words):
        told.append(f"{len(made)} calls, expected {len(task.answer.words)}")
    if not told and len({call.name for call in made}) == len(wanted):
        return Verdict(Outcome.PASSED, 1.0)
    told = told or ["the same call twice"]
    return Verdict(Outcome.WRONG, 0.0, (Finding(f"Wrong: {'; '.join(told[:most])}", answer=right),))


def _fault(call: Call, wanted: Mapping[str, Mapping[str, object]]) -> str:
    """Say what is wrong with a call, and what its value should be; ``""`` if it is right."""
    if call.name not in wanted:
        return f"there is no tool '{_short(call.name)}'"
    expected = wanted[call.name]
    unknown = [name for name in call.arguments if name not in expected]
    if unknown:
        return f"{call.name} has no argument '{_short(unknown[0])}'"
    for name, value in expected.items():
        given = call.arguments.get(name)
        if type(given) is not type(value) or given != value:
            return f"{name} is {_short(as_json(given))}, expected {json.dumps(value)}"
    return ""


def _short(text: str) -> str:
    return text[:20]


def _task(request: Request) -> Task:
    meta = {"words": len(request.words), "chance": request.chance}
    return Task(f"microtool/{request.name}", PROMPT.format(words=" ".join(request.words)), request, meta=meta)


def _written(request: Request, readings: Sequence[int]) -> str:
    return "\n".join(LEXICON[word][place] for word, place in zip(request.words, readings, strict=True))


def _wanted(request: Request) -> dict[str, Mapping[str, object]]:
    """Return the arguments that each tool is to be called with."""
    right = calls(_written(request, request.readings))
    return {call.name: call.arguments for call in right if isinstance(call, Call)}
