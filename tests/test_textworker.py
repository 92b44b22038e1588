"""The engine as we drive it, beside TextWorld's own environment: the same words, commands, facts and wins."""

import importlib.util
import json
import random
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sdpo_envs import textworker
from sdpo_envs.alfredgame import TASK_TYPES, Game, load_games, shipped
from sdpo_envs.textengine import Engine, Logic

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("alfworld") is None, reason="needs the extra alfworld"),
    pytest.mark.filterwarnings("ignore:.*unclosed file"),  # TextWorld leaves the files of its games open
]

DATA = Path(__file__).parents[1] / "../shared/data/alfworld/games_train.tar.xz"
needs_data = pytest.mark.skipif(not DATA.is_file(), reason="skips ALFWorld's own games: not beside this")
needs_plain = pytest.mark.skipif(sys.version_info >= (3, 13), reason="TextWorld fails on 3.13 where none adapts it")
GAMES = load_games(None, "train")
ROUNDS = 16


@pytest.fixture(scope="module")
def engine() -> textworker.Engine:
    return textworker.Engine()


class Process:
    """The engine in a process of its own, as it is used."""

    def __init__(self) -> None:
        self.engine = Engine(1)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        said = self.engine.ask(Logic(**request["game"]), request["path"], request["command"])
        changes = [[holds, *fact] for holds, fact in said.changes]
        return {**asdict(said), "commands": list(said.commands), "changes": changes}


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    process = Process()
    yield process
    process.engine.close()


def ask(engine: Any, logic: Logic, path: Sequence[str] = (), command: str | None = None) -> dict[str, Any]:
    game = {name: getattr(logic, name) for name in ("domain", "grammar", "goal", "problem")}
    return engine.answer({"key": logic.key, "path": list(path), "command": command, "game": game})


def plain(logic: Logic, folder: Path) -> Any:
    """TextWorld's own environment of a game, as ALFWorld makes it."""
    import textworld
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler

    file = folder / "game.tw-pddl"
    grammar = logic.grammar.replace(textworker.GOAL, logic.goal)
    file.write_text(json.dumps({"pddl_domain": logic.domain, "grammar": grammar, "pddl_problem": logic.problem}))
    infos = textworld.EnvInfos(won=True, admissible_commands=True, facts=True)
    return textworld.start(str(file), infos, [AlfredDemangler()])


def wandering(commands: Sequence[str], rng: random.Random) -> str:
    """A command, mostly one that is possible, and mostly one that does something."""
    doing = [each for each in commands if not each.startswith(("go to", "examine", "look", "help", "inventory"))]
    asked = rng.choice([commands, doing or commands, ["dance", "", "restart", "go to nowhere 1"]])
    return rng.choice(asked)


def compare(engine: Any, logic: Logic, walkthrough: Sequence[str], folder: Path) -> None:
    """Wander, then follow the walkthrough, in both; at each turn all that they say must be the same."""
    env, rng = plain(logic, folder), random.Random(1)
    state, said = env.reset(), ask(engine, logic)
    path: list[str] = []
    facts: set[tuple[str, ...]] = set()
    commands: Iterator[str] = iter(walkthrough)
    for number in range(ROUNDS + len(walkthrough)):
        for holds, *fact in said["changes"]:
            (facts.add if holds else facts.discard)(tuple(fact))
        assert said["text"] == state.feedback
        assert said["commands"] == state.admissible_commands
        assert said["won"] == state.won
        theirs = {(fact.name, *(each.name.strip() for each in fact.arguments)) for fact in state.facts}
        assert facts == {fact for fact in theirs if not fact[0].startswith("not_")}
        command = wandering(said["commands"], rng) if number < ROUNDS else next(commands)
        state, _, _ = env.step(command)
        said = ask(engine, logic, path, command)
        path += [command] if said["moved"] else []


@needs_plain
@pytest.mark.parametrize("game", [GAMES[0], GAMES[14], GAMES[-1]], ids=lambda game: game.goal.task_type)
def test_a_game_says_what_it_says_in_textworlds_environment(process: Process, game: Game, tmp_path: Path) -> None:
    compare(process, game.logic("move"), game.walkthrough, tmp_path)


@needs_plain
def test_the_old_words_are_those_of_a_grammar_without_help(process: Process, tmp_path: Path) -> None:
    game = next(game for game in GAMES if game.goal.task_type == TASK_TYPES[0])
    logic = game.logic("put")
    compare(process, logic, (), tmp_path)
    *path, last = [each.replace("move", "put").replace(" to ", " in/on ") for each in game.walkthrough]
    path = [each.replace("go in/on", "go to") for each in path]
    said = ask(process, logic, path, last)
    assert said["won"]
    assert said["text"].startswith("You put the ")
    assert ask(process, logic, (), path[0])["text"].startswith("You arrive at loc ")
    assert "help" not in said["commands"]


@needs_plain
@needs_data
def test_games_of_alfworld_say_what_they_say_in_textworlds_environment(process: Process, tmp_path: Path) -> None:
    kinds = ("pick_two", "look_at")
    for kind, (row, name) in zip(kinds, some_files(kinds), strict=True):
        told = row["grammar"].split("Your task is to: ")[1].split('."')[0]
        logic = Logic(row["pddl_domain"], row["grammar"].replace(told, textworker.GOAL), told, row["pddl_problem"])
        assert kind in name
        compare(process, logic, row["walkthrough"], tmp_path)


def some_files(kinds: Sequence[str]) -> Iterator[tuple[dict[str, Any], str]]:
    wanted = sorted(kinds)
    found = {}
    with tarfile.open(DATA) as archive:
        for member in archive:
            kind = next((kind for kind in wanted if f"/{kind}" in member.name), "")
            if kind and kind not in found and (content := archive.extractfile(member)):
                found[kind] = json.load(content), member.name
            if len(found) == len(wanted):
                break
    yield from (found[kind] for kind in kinds)


# What it remembers changes nothing


@needs_plain
def test_a_place_is_the_same_wherever_the_engine_stood_before(engine: textworker.Engine) -> None:
    one, other = GAMES[0].logic("move"), GAMES[5].logic("move")
    way = GAMES[0].walkthrough
    first = [ask(engine, one, way[:end], way[end]) for end in range(len(way))]
    fresh = textworker.Engine()
    for end in reversed(range(len(way))):
        ask(fresh, other, (), "look")
        assert ask(fresh, one, way[:end], way[end]) == first[end]
    assert first[-1]["won"]


@needs_plain
def test_what_was_forgotten_is_reached_again(monkeypatch: pytest.MonkeyPatch, engine: textworker.Engine) -> None:
    way, logic = GAMES[0].walkthrough, GAMES[0].logic("move")
    first = [ask(engine, logic, way[:end], way[end]) for end in range(len(way))]
    monkeypatch.setattr(textworker, "_PLACES", 2)
    monkeypatch.setattr(textworker, "_GAMES", 1)
    small = textworker.Engine()
    for end in (len(way) - 1, 0, 2, 1, len(way) - 1):
        assert ask(small, logic, way[:end], way[end]) == first[end]
        ask(small, GAMES[1].logic("move"))


def test_a_game_that_is_not_known_is_asked_for(engine: textworker.Engine) -> None:
    assert engine.answer({"key": "never seen", "path": [], "command": None}) == {"unknown": True}


def test_a_command_that_depends_on_what_changes_is_worked_out_anew() -> None:
    template = "go to [{r.name | receptacleatlocation(r:receptacle, lend:location)}]"

    class Slot:
        def __init__(self, name: str) -> None:
            self.name = name

    class Action:
        def __init__(self, *slots: str) -> None:
            self.template = template
            self.mapping = {Slot(slot): Slot(f"{slot} 1") for slot in slots}

    assert textworker._told_of(Action("a", "r", "lend"), {"opened"}) == (template, "r 1", "lend 1")
    assert textworker._told_of(Action("a", "r", "lend"), {"receptacleatlocation"}) is None
    assert textworker._told_of(Action("a", "lend"), {"opened"}) is None


def test_the_old_logic_has_no_help() -> None:
    domain, grammar = shipped("put")
    assert "help" not in domain + grammar
    code = "".join(line.partition(";")[0] for line in domain.splitlines())
    assert code.count("(") == code.count(")")
