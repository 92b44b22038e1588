"""What the facts of a household say: why nothing came of a command, and which part of a goal is met.

The facts are those of ALFWorld's domain, by the names that a player reads: ``("inreceptacle", "apple 1", "fridge 1")``.
What is told gives nothing away. Of a thing that a player has not met, nothing is said but that it is not seen here.
"""

import difflib
import re
from collections.abc import Callable, Collection, Set
from dataclasses import dataclass

from sdpo_envs.alfredgame import Goal
from sdpo_envs.core import Finding
from sdpo_envs.textengine import Fact

_NAME = r"[a-z]+ \d+"
_STATES = {"clean": "isclean", "hot": "ishot", "cool": "iscool"}
_CHANGES = {
    "clean": ("cleanable", "sinkbasin", "cleaned"),
    "heat": ("heatable", "microwave", "heated"),
    "cool": ("coolable", "fridge", "cooled"),
}
"""What a thing must be, where it is done, and the participle."""
_COMMANDS = (
    "go to <place>, open <place>, close <place>, take <thing> from <place>, {put}, clean, heat or cool <thing> with "
    "<place>, use <thing>, slice <thing> with <knife>, examine <thing or place>, inventory, look"
)
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Household:
    """The state of a game.

    Attributes:
        facts: All that holds.
    """

    facts: Set[Fact]

    def holds(self, *fact: str) -> bool:
        """Whether the fact holds."""
        return fact in self.facts

    def where(self, predicate: str, *end: str) -> list[str]:
        """Return what the predicate holds of, if its last arguments are `end`."""
        return sorted(fact[1] for fact in self.facts if fact[0] == predicate and fact[2:] == end)

    @property
    def held(self) -> str:
        """What the player holds, or ``""``."""
        return next((fact[2] for fact in self.facts if fact[0] == "holds"), "")

    @property
    def receptacles(self) -> list[str]:
        """Every place to go to; a game names them all at its start."""
        return sorted(fact[1] for fact in self.facts if fact[0] == "receptacleatlocation")

    def at(self, receptacle: str) -> bool:
        """Whether the player stands at the receptacle."""
        place = next((fact[2] for fact in self.facts if fact[0] == "atlocation"), "")
        return self.holds("receptacleatlocation", receptacle, place)

    def shut(self, receptacle: str) -> bool:
        """Whether one must open it to see what is in it."""
        return self.holds("openable", receptacle) and not self.holds("opened", receptacle)

    def within_reach(self, thing: str) -> bool:
        """Whether the player holds the thing, or stands before it and sees it."""
        inside = [fact[2] for fact in self.facts if fact[:2] == ("inreceptacle", thing)]
        return thing == self.held or any(self.at(each) and not self.shut(each) for each in inside)

    def kind(self, name: str) -> str:
        """Return the kind of a thing or a receptacle, ``apple`` for an ``apple 1``."""
        kinds = (fact[2] for fact in self.facts if fact[0] in ("objecttype", "receptacletype") and fact[1] == name)
        return next(kinds, "").removesuffix("type")


def refusal(command: str, house: Household, put: str, commands: Collection[str] = ()) -> Finding:
    """Say why nothing came of a command.

    Args:
        command: One that could not be given.
        house: The state in which it was given.
        put: How the game says that a thing is put down, ``"move {} to {}"`` or ``"put {} in/on {}"``.
        commands: Those that could be given.
    """
    for pattern, why in _forms(put):
        if match := re.fullmatch(pattern.replace("{}", f"({_NAME})"), command):
            return Finding(why(house, *match.groups()) or "That cannot be done here and now.", {"You said": command})
    said = command if len(command) <= _SHOWN else f"{command[:_SHOWN]}..."
    alike = difflib.get_close_matches(said, list(commands), n=1)
    details = {"You said": said, "Commands": _COMMANDS.format(put=put.format("<thing>", "<place>"))}
    return Finding("There is no such command.", details | ({"Alike and possible": alike[0]} if alike else {}))


def progress(goal: Goal, house: Household, met: Collection[str]) -> dict[str, str]:
    """Say which part of a goal is met and which is not.

    Args:
        goal: What the game wants.
        house: The state at the end.
        met: The names of all that the player has read of; of other things nothing is told.
    """
    parts = _lamp_parts(goal, house, met) if goal.lamp else _place_parts(goal, house, met)
    told = {
        "Done": [part for part, done in parts.items() if done],
        "Not done": [part for part in parts if not parts[part]],
    }
    return {label: "\n".join(lines) for label, lines in told.items() if lines}


def _forms(put: str) -> list[tuple[str, Callable[..., str]]]:
    """Return each form of a command, and what says why one of that form cannot be given."""
    return [
        ("go to {}", _why_not_go),
        ("open {}", _why_not_open),
        ("close {}", _why_not_close),
        ("take {} from {}", _why_not_take),
        (put, _why_not_put),
        ("clean {} with {}", lambda *given: _why_not_change("clean", *given)),
        ("heat {} with {}", lambda *given: _why_not_change("heat", *given)),
        ("cool {} with {}", lambda *given: _why_not_change("cool", *given)),
        ("use {}", _why_not_use),
        ("slice {} with {}", _why_not_slice),
        ("examine {}", _why_not_examine),
    ]


def _why_not_there(house: Household, receptacle: str) -> str:
    if receptacle not in house.receptacles:
        return f"There is no place {receptacle}."
    return "" if house.at(receptacle) else f"You are not at the {receptacle}. Go to it first."


def _why_not_go(house: Household, receptacle: str) -> str:
    if receptacle not in house.receptacles:
        return f"There is no place {receptacle}."
    return f"You are at the {receptacle} already." if house.at(receptacle) else ""


def _why_not_open(house: Household, receptacle: str) -> str:
    if why := _why_not_there(house, receptacle):
        return why
    if not house.holds("openable", receptacle):
        return f"The {receptacle} cannot be opened, and need not be."
    return f"The {receptacle} is open already." if house.holds("opened", receptacle) else ""


def _why_not_close(house: Household, receptacle: str) -> str:
    if why := _why_not_there(house, receptacle):
        return why
    if not house.holds("openable", receptacle):
        return f"The {receptacle} cannot be closed."
    return "" if house.holds("opened", receptacle) else f"The {receptacle} is closed already."


def _why_not_take(house: Household, thing: str, receptacle: str) -> str:
    if thing == house.held:
        return f"You already hold the {thing}."
    if why := _why_not_there(house, receptacle):
        return why
    if house.shut(receptacle):
        return f"The {receptacle} is closed. Open it first."
    if not house.holds("inreceptacle", thing, receptacle):
        return f"There is no {thing} in or on the {receptacle}."
    if not house.holds("pickupable", thing):
        return f"The {thing} cannot be taken."
    return f"You hold the {house.held}, and cannot hold two things. Put it down first." if house.held else ""


def _why_not_held(house: Household, thing: str) -> str:
    if not house.held:
        return f"You hold nothing. Take the {thing} first."
    return "" if house.held == thing else f"You hold the {house.held}, not the {thing}."


def _why_not_put(house: Household, thing: str, receptacle: str) -> str:
    if why := _why_not_held(house, thing) or _why_not_there(house, receptacle):
        return why
    if house.shut(receptacle):
        return f"The {receptacle} is closed. Open it first."
    place, kind = house.kind(receptacle), house.kind(thing)
    if not house.holds("cancontain", f"{place}type", f"{kind}type"):
        return f"Things of the kind {kind} do not go in or on {_a(place)}."
    return ""


def _why_not_change(verb: str, house: Household, thing: str, receptacle: str) -> str:
    able, place, participle = _CHANGES[verb]
    if why := _why_not_held(house, thing) or _why_not_there(house, receptacle):
        return why
    if house.kind(receptacle) != place:
        return f"Things are {participle} with {_a(place)}, not with the {receptacle}."
    return "" if house.holds(able, thing) else f"The {thing} cannot be {participle}."


def _why_not_use(house: Household, thing: str) -> str:
    if not house.within_reach(thing):
        return f"There is no {thing} to use here."
    return "" if house.holds("toggleable", thing) else f"The {thing} has no switch. Only what has one can be used."


def _why_not_slice(house: Household, thing: str, knife: str) -> str:
    if why := _why_not_held(house, knife):
        return why
    if house.kind(knife) not in ("knife", "butterknife"):
        return f"The {knife} is not a knife."
    return f"There is no {thing} here that can be sliced."


def _why_not_examine(house: Household, name: str) -> str:
    if name in house.receptacles:
        return _why_not_there(house, name)
    return "" if name == house.held else f"You do not hold the {name}. A thing is examined while you hold it."


def _lamp_parts(goal: Goal, house: Household, met: Collection[str]) -> dict[str, bool]:
    lamps = [each for each in house.where("objecttype", f"{goal.lamp}type") if house.holds("istoggled", each)]
    near = any(house.at(fact[2]) for lamp in lamps for fact in house.facts if fact[:2] == ("inreceptacle", lamp))
    return {
        f"{_a(goal.thing)} found": _known(goal, house, met) != [],
        f"{_a(goal.thing)} held": house.kind(house.held) == goal.thing,
        f"{_a(goal.lamp)} used": lamps != [],
        f"being where the used {goal.lamp} is": near,
    }


def _place_parts(goal: Goal, house: Household, met: Collection[str]) -> dict[str, bool]:
    known = _known(goal, house, met)
    fit = [each for each in known if not goal.state or house.holds(_STATES[goal.state], each)]
    places = house.where("receptacletype", f"{goal.place}type")
    most = max((sum(house.holds("inreceptacle", each, place) for each in fit) for place in places), default=0)
    parts = {f"{_a(goal.thing)} found": known != []}
    if goal.state:
        parts[f"{_a(goal.thing)} that is {goal.state}"] = fit != []
    if goal.count == 2:
        parts[f"one {goal.thing} in or on {_a(goal.place)}"] = most > 0
        return parts | {f"another {goal.thing} in or on the same {goal.place}": most > 1}
    such = _a(f"{goal.state} {goal.thing}".strip())
    return parts | {f"{such} in or on {_a(goal.place)}": most > 0}


def _known(goal: Goal, house: Household, met: Collection[str]) -> list[str]:
    return [each for each in house.where("objecttype", f"{goal.thing}type") if each in met]


def _a(kind: str) -> str:
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind}"
