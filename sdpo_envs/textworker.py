"""The program of one engine process: plays TextWorld's PDDL games for the pool in `textengine`.

TextWorld's own `PddlEnv` translates a game four times before its first word, parses the grammar again in every
environment, and works out every admissible command at each step anew. This drives the same parts, the planner's library
and TextWorld's grammar, and remembers: the parsed logic, the translation of a game, each operator's command, and each
place that was reached. What is possible, what it changes and what is said of it is decided by them alone.

A request is ``{"key": game, "path": [command, ...], "command": command or null}``, and with ``"game"`` the game itself,
``{"domain", "grammar", "goal", "problem"}``, where the worker said ``{"unknown": true}`` of its key. `path` holds the
commands that had an effect so far. So the worker keeps no episode, and another one can take over at any turn.
"""

import contextlib
import copy
import gc
import json
import os
import re
import select
import struct
import sys
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO

from sdpo_envs.errors import require

LENGTH = struct.Struct("!I")
"""What stands before each JSON text, both ways: its length in bytes."""
GOAL = "UNKNOWN GOAL"
"""What stands in a grammar where the goal of a game is to be told."""
IDLE_SECONDS = 600.0
"""A worker that was asked nothing for so long ends; the pool starts another when one is needed."""

_GAMES = 48
_PLACES = 2000  # of one game


@dataclass(slots=True)
class _Place:
    """Where a path leads.

    Attributes:
        reply: What is said there.
        choices: Command to the action that it stands for.
        operator: Which of the planner's operators led here, and how many facts it changes; None at the start.
    """

    reply: dict[str, Any]
    choices: dict[str, Any]
    operator: tuple[int, int] | None


class _Game:
    """A game, translated, and its places that were reached."""

    def __init__(self, definition: dict[str, str]) -> None:
        pddl = require("textworld.envs.pddl.logic", "alfworld")
        task, sas = _translate(definition["domain"], definition["problem"])
        self.sas = sas.encode()
        self.kinds = {each.name: each.type_name for each in task.objects}
        self.parameters = {action.name: action.parameters for action in task.actions}
        logic = _logic(definition["domain"], definition["grammar"])
        self.actions, self.grammar = logic.actions, _with_goal(logic.grammar, definition["goal"])
        self.types = require("textworld.logic", "alfworld").GameLogic()
        for each in task.types:
            with contextlib.suppress(ValueError):  # "object" is there
                self.types.types.add(require("textworld.logic", "alfworld").Type(each.name, each.supertype_names))
        self.given = [
            pddl.Proposition(atom.predicate, [pddl.Variable(name, self.kinds[name]) for name in atom.args])
            for atom in task.init
            if getattr(atom, "predicate", "=") != "="  # neither an equality nor a distance
        ]
        self.infos: dict[str, Any] = {}
        self.operators: dict[str, tuple[Any, tuple[Any, ...] | None]] = {}
        self.commands: dict[tuple[Any, ...] | None, str] = {}
        self.changing: set[str] = set()
        self.places: OrderedDict[tuple[str, ...], _Place] = OrderedDict()

    def name_things(self, facts: list[Any]) -> None:
        """Give everything the name that ALFWorld gives it: ``Apple_bar_1`` is an ``apple 1``."""
        kind = require("textworld.generator.game", "alfworld").EntityInfo
        self.infos = {thing.name: kind(thing.name, thing.type) for fact in facts for thing in fact.arguments}
        demangler = require("alfworld.agents.utils.misc", "alfworld").Demangler(game_infos=self.infos)
        for info in self.infos.values():
            info.name, info.definite, info.indefinite = demangler.demangle_alfred_name(info.id), "the", "a"

    def fact(self, proposition: Any) -> list[str]:
        """Return a fact as the name of its predicate and those of its arguments."""
        return [proposition.name, *(self.infos[each.name].name.strip() for each in proposition.arguments)]


class Engine:
    """TextWorld's PDDL engine. It stands at one place of one game at a time and goes where it is asked to."""

    def __init__(self) -> None:
        self._library = require("fast_downward", "alfworld").load_lib()
        self._games: OrderedDict[str, _Game] = OrderedDict()
        self._at: tuple[str, tuple[str, ...]] | None = None
        self._state: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return what is said of the last command of a request, or at the start."""
        key = request["key"]
        if key not in self._games:
            if "game" not in request:
                return {"unknown": True}
            self._games[key] = _Game(request["game"])
            if len(self._games) > _GAMES:
                self._games.popitem(last=False)
        self._games.move_to_end(key)
        game, path = self._games[key], tuple(request["path"])
        place, command = self._place(key, game, path), request["command"]
        if command is None:
            return place.reply
        if command not in place.choices:
            said = {"text": "Nothing happens.", "changes": [], "moved": False}
            return place.reply | said
        return self._place(key, game, (*path, command)).reply

    def _place(self, key: str, game: _Game, path: tuple[str, ...]) -> _Place:
        """Return where `path` leads, from memory or by going there."""
        if path not in game.places:
            for end in range(len(path) + 1):
                if path[:end] not in game.places:
                    game.places[path[:end]] = self._reach(key, game, path[:end])
        game.places.move_to_end(path)
        while len(game.places) > _PLACES:
            game.places.popitem(last=False)
        return game.places[path]

    def _reach(self, key: str, game: _Game, path: tuple[str, ...]) -> _Place:
        """Go to where `path` leads; the places on the way are known."""
        if not path:
            self._start(game)
            place = self._opening(game)
        else:
            if self._at != (key, path[:-1]):
                self._start(game)
                for end in range(1, len(path)):
                    self._apply(game, game.places[path[:end]].operator)
            place = self._act(game, game.places[path[:-1]].choices[path[-1]])
        self._at = key, path
        return place

    def _start(self, game: _Game) -> None:
        """Set the library and the facts to the start of `game`."""
        pddl = require("textworld.envs.pddl.logic", "alfworld")
        self._library.load_sas(game.sas)
        if not game.infos:
            atoms = (pddl.Atom * self._library.get_state_size())()
            self._library.get_state(atoms)
            facts = [atom.get_fact(game.kinds) for atom in atoms]
            game.changing = {fact.name.removeprefix("not_") for fact in facts}
            game.given += [fact for fact in facts if not fact.is_negation]
            game.name_things(game.given)
        self._state = require("textworld.logic", "alfworld").State(game.types, game.given)

    def _opening(self, game: _Game) -> _Place:
        text = game.grammar.derive("#intro#", self._context(game, {}))
        return self._seen(game, text, [[True, *fact] for fact in sorted(map(game.fact, self._state.facts))], None)

    def _act(self, game: _Game, action: Any) -> _Place:
        changes = self._apply(game, action.operator)
        text = game.grammar.derive(action.feedback_rule, self._context(game, action.mapping))
        return self._seen(game, text, changes, action.operator)

    def _apply(self, game: _Game, operator: Any) -> list[list[Any]]:
        """Apply an operator, and return what it changed: whether each fact holds now, and the fact."""
        number, count = operator
        effects = (require("textworld.envs.pddl.logic", "alfworld").Atom * count)()
        self._library.apply_operator(number, effects)
        changed = [effect.get_fact(game.kinds) for effect in effects]
        for fact in changed:
            self._state.remove_fact(fact.negate())
            self._state.add_fact(fact)
        return [[not fact.is_negation, *game.fact(fact.negate() if fact.is_negation else fact)] for fact in changed]

    def _seen(self, game: _Game, text: str, changes: list[list[Any]], operator: tuple[int, int] | None) -> _Place:
        count = self._library.get_applicable_operators_count()
        operators = (require("fast_downward", "alfworld").Operator * count)()
        self._library.get_applicable_operators(operators)
        choices: dict[str, Any] = {}
        for each in operators:
            command, action = self._choice(game, each)
            choices.setdefault(command, action)
        won = self._library.check_goal()
        reply = {"text": text, "commands": sorted(choices), "changes": changes, "won": won, "moved": True}
        return _Place(reply, choices, operator)

    def _choice(self, game: _Game, operator: Any) -> tuple[str, Any]:
        """Return the command by which an operator is chosen, and its action."""
        if operator.name not in game.operators:
            action = self._action(game, operator)
            game.operators[operator.name] = action, _told_of(action, game.changing)
        action, told_of = game.operators[operator.name]
        command = game.commands.get(told_of)
        if command is None:
            action.command_template = game.grammar.derive(action.template, self._context(game, action.mapping))
            command = action.format_command({name: info.name for name, info in game.infos.items()})
            if told_of is not None:
                game.commands[told_of] = command
        return command, action

    def _action(self, game: _Game, operator: Any) -> Any:
        logic = require("textworld.logic", "alfworld")
        name, *arguments = operator.name.split()
        action = logic.Action(name=name, preconditions=[], postconditions=[])
        action.mapping = {
            logic.Placeholder(slot.name.strip("?"), slot.type_name): logic.Variable(argument, slot.type_name)
            for slot, argument in zip(game.parameters[name], arguments, strict=False)
        }
        action.template, action.feedback_rule = game.actions[name].template, game.actions[name].feedback_rule
        action.operator = operator.id, operator.nb_effect_atoms  # the object would keep all that were listed with it
        return action

    def _context(self, game: _Game, mapping: dict[Any, Any]) -> dict[str, Any]:
        """Return what a grammar's rules may speak of."""
        return {
            "state": self._state,
            "facts": [],
            "variables": {slot.name: game.infos[thing.name] for slot, thing in mapping.items()},
            "mapping": mapping,
            "entity_infos": game.infos,
        }


def _translate(domain: str, problem: str) -> Any:
    """Return the planner's task and its text for the library."""
    gc.disable()  # half of the time goes into looking for garbage among what a translation makes
    try:
        return require("fast_downward", "alfworld").pddl2sas(domain, problem)
    finally:
        gc.enable()


@cache
def _logic(domain: str, grammar: str) -> Any:
    """Parse the logic that many games share."""
    return require("textworld.envs.pddl.logic", "alfworld").GameLogic(domain=domain, grammar=grammar)


def _with_goal(grammar: Any, goal: str) -> Any:
    """Return a copy of `grammar` that tells this goal."""
    kind = type(grammar)
    told = kind()
    told.update(grammar)
    rule = {"task": [{"rhs": f"Your task is to: {goal}."}]}
    told._rules["task"] = kind.parse(json.dumps(rule))._rules["task"]
    return told


def _told_of(action: Any, changing: set[str]) -> tuple[Any, ...] | None:
    """Return all that the command of `action` depends on; None where that includes what the game changes."""
    asked, slots = _template(action.template)
    things = {slot.name: thing.name for slot, thing in action.mapping.items()}
    if asked & changing or not slots <= set(things):
        return None
    return action.template, *(things[name] for name in things if re.search(rf"\b{name}\b", action.template))


@cache
def _template(template: str) -> tuple[set[str], set[str]]:
    """Return the predicates and the slots that the queries of a template ask for."""
    return set(re.findall(r"(\w+)\(", template)), set(re.findall(r"(\w+):\w", template))


def _adapt() -> None:
    """Let this process parse an expression of a grammar once, copy nothing that none changes, and run on Python 3.13.

    TextWorld parses again whatever it derives, and copies the names of things for every symbol of a text. It also looks
    names up by ``locals().update``, which has no effect since Python 3.13.
    """
    textgen: Any = require("textworld.envs.pddl.textgen", "alfworld")
    logic: Any = require("textworld.logic", "alfworld")
    parsed = cache(textgen._parse_and_convert)
    textgen._parse_and_convert = lambda *args, **settings: copy.deepcopy(parsed(*args, **settings))
    logic.Rule.parse_conjunctive_query = staticmethod(cache(logic.Rule.parse_conjunctive_query))
    for kind in (logic.Variable, logic.Placeholder, require("textworld.generator.game", "alfworld").EntityInfo):
        kind.__deepcopy__ = lambda self, memo: self

    def derive(symbol: Any, context: Any = None) -> list[Any]:
        variables = (context or symbol.context)["variables"]
        return [textgen.TerminalSymbol(eval(symbol.expression, {}, dict(variables)))]

    textgen.EvalSymbol.derive = derive


def send(stream: BinaryIO, message: dict[str, Any]) -> None:
    """Write one message."""
    data = json.dumps(message).encode()
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO) -> dict[str, Any] | None:
    """Read one message; None where there is none any more."""
    if not select.select([stream], [], [], IDLE_SECONDS)[0]:
        return None
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    message: dict[str, Any] = json.loads(stream.read(LENGTH.unpack(head)[0]))
    return message


def main() -> None:
    """Answer requests until there are no more."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the library writes of what it does
    _adapt()
    engine = Engine()
    send(replies, {"ready": True})
    while request := receive(sys.stdin.buffer):
        send(replies, engine.answer(request))
