"""ALFWorld's game files: read from folders, archives and stores, and their goals."""

import gzip
import importlib.util
import json
import random
import re
import sys
import tarfile
from collections import Counter
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sdpo_envs.alfredgame import TASK_TYPES, Goal, goal_of, load_games, shipped
from sdpo_envs.errors import MissingExtra, RecordError, SettingError
from sdpo_envs.textworker import GOAL

needs_alfworld = pytest.mark.skipif(importlib.util.find_spec("alfworld") is None, reason="needs the extra alfworld")
DATA = Path(__file__).parents[1] / "../shared/data/alfworld/games_train.tar.xz"
needs_data = pytest.mark.skipif(not DATA.is_file(), reason="needs shared/data/alfworld/games_train.tar.xz")

PLACE = (
    "(define (problem p) (:goal (and (exists (?r - receptacle) (exists (?o - object) (and {} (inReceptacle ?o ?r))))))"
)
SUCH = "(objectType ?o AppleType) (receptacleType ?r FridgeType)"
TWO = """(:goal (and (exists (?r - receptacle) (exists (?o1 - object) (and (objectType ?o1 CDType)
 (receptacleType ?r SafeType) (inReceptacle ?o1 ?r) (exists (?o2 - object) (and (not (= ?o1 ?o2))
 (objectType ?o2 CDType) (receptacleType ?r SafeType) (inReceptacle ?o2 ?r)))))))))"""
LIT = """(:goal (and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and (objectType ?ot DeskLampType)
 (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)))
 (exists (?o - object ?a - agent) (and (objectType ?o CDType) (holds ?a ?o)))))"""
PROBLEM = PLACE.format(SUCH)
GRAMMAR = 'grammar :: """{"task": [{"rhs": "Your task is to: UNKNOWN GOAL."}]}""";'


def row(told: str = "put an apple in fridge", **columns: Any) -> dict[str, Any]:
    grammar = GRAMMAR.replace(GOAL, told)
    return {"pddl_domain": "(domain)", "grammar": grammar, "pddl_problem": PROBLEM, "solvable": True} | columns


def file(folder: Path, *parts: str, **columns: Any) -> None:
    place = folder.joinpath(*parts)
    place.mkdir(parents=True)
    (place / "game.tw-pddl").write_text(json.dumps(row(**columns)))


@pytest.mark.parametrize(
    ("problem", "goal", "task_type"),
    [
        (PROBLEM, Goal("apple", "fridge"), 0),
        (LIT, Goal("cd", lamp="desklamp"), 1),
        (PLACE.format(f"(cleanable ?o) {SUCH} (isClean ?o)"), Goal("apple", "fridge", "clean"), 2),
        (PLACE.format(f"(heatable ?o) {SUCH} (isHot ?o)"), Goal("apple", "fridge", "hot"), 3),
        (PLACE.format(f"(coolable ?o) {SUCH} (isCool ?o)"), Goal("apple", "fridge", "cool"), 4),
        (TWO, Goal("cd", "safe", count=2), 5),
    ],
)
def test_the_six_goals_are_read_from_the_problem(problem: str, goal: Goal, task_type: int) -> None:
    assert goal_of(problem, "here") == goal
    assert goal.task_type == TASK_TYPES[task_type]


@pytest.mark.parametrize(
    "problem", ["", "(:goal (and))", "(:goal (objectType ?o AppleType))", TWO.replace("CDT", "MugT", 1)]
)
def test_another_goal_is_refused(problem: str) -> None:
    with pytest.raises(RecordError, match="somewhere: the goal is none of"):
        goal_of(problem, "somewhere")


# Where games come from


def test_a_folder_has_its_splits_below(tmp_path: Path) -> None:
    file(tmp_path, "json", "train", "pick-Apple", "trial_2", walkthrough=["look"])
    file(tmp_path, "json", "train", "pick-Apple", "trial_1", told='say \\"hi\\" to fridge')
    file(tmp_path, "json", "valid_seen", "pick-Apple", "trial_3")
    one, two = load_games(tmp_path, "train")
    assert [one.name, two.name] == ["pick-Apple/trial_1", "pick-Apple/trial_2"]
    assert (one.told, two.told, two.walkthrough) == ('say "hi" to fridge', "put an apple in fridge", ("look",))
    assert one.own == ("(domain)", GRAMMAR)
    assert one.own[1] is two.own[1]
    assert one.logic("own").problem == PROBLEM
    assert [game.name for game in load_games(tmp_path, "valid_seen")] == ["pick-Apple/trial_3"]
    assert len(load_games(tmp_path / "json" / "train", "train")) == 2
    with pytest.raises(SettingError, match="below a folder 'valid_unseen'"):
        load_games(tmp_path, "valid_unseen")


def test_an_archive_is_read_as_the_folder_in_it(tmp_path: Path) -> None:
    file(tmp_path, "train", "pick-Apple", "trial_1")
    file(tmp_path, "valid_train", "pick-Apple", "trial_9")
    for suffix in ("gz", "xz"):
        with tarfile.open(tmp_path / f"games.tar.{suffix}", f"w:{suffix}") as archive:  # type: ignore[call-overload]
            archive.add(tmp_path / "train", "json_2.1.1/train")
            archive.add(tmp_path / "valid_train", "json_2.1.1/valid_train")
        assert load_games(tmp_path / f"games.tar.{suffix}", "train") == load_games(tmp_path / "train", "train")


@pytest.mark.parametrize("suffix", ["gz", "xz", "bz2"])
def test_an_archive_that_is_damaged_is_refused(tmp_path: Path, suffix: str) -> None:
    noise = random.Random(1).randbytes(50_000).hex()
    file(tmp_path, "train", "pick-Apple", "trial_1", noise=noise)
    with tarfile.open(tmp_path / "games.tar", f"w:{suffix}") as archive:  # type: ignore[call-overload]
        archive.add(tmp_path / "train", "train")
    whole = (tmp_path / "games.tar").read_bytes()
    half = len(whole) // 2
    for damaged in (whole[:half], whole[:half] + bytes(99) + whole[half + 99 :]):
        (tmp_path / "games.tar").write_bytes(damaged)
        with pytest.raises((SettingError, RecordError)):
            load_games(tmp_path / "games.tar", "train")


@pytest.mark.parametrize("gzipped", [False, True])
def test_a_store_is_a_line_a_game(tmp_path: Path, gzipped: bool) -> None:
    lines = json.dumps({"name": "a/1", "goal": "put an apple in fridge", "problem": PROBLEM, "walkthrough": ["look"]})
    store = tmp_path / ("test.jsonl.gz" if gzipped else "test.jsonl")
    store.write_bytes(gzip.compress(lines.encode()) if gzipped else lines.encode())
    (game,) = load_games(store, "test")
    assert (game.name, game.walkthrough, game.own) == ("a/1", ("look",), None)
    assert load_games(tmp_path, "test") == [game]


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no folder or archive"):
        load_games(tmp_path / "nowhere", "train")
    (tmp_path / "games.tar.xz").write_bytes(b"no archive")
    with pytest.raises(SettingError, match="neither JSON Lines nor an archive"):
        load_games(tmp_path / "games.tar.xz", "train")
    with pytest.raises(SettingError, match="split='valid_seen'"):
        load_games(None, "valid_seen")
    with pytest.raises(SettingError, match="source=7"):
        load_games(7, "train")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not JSON"),
        ("[]", "a JSON object with a 'pddl_problem'"),
        (json.dumps(row(grammar="x")), "does not say 'Your task is to"),
        (json.dumps(row(pddl_domain=3)), "'pddl_domain' must be str"),
        (json.dumps(row(walkthrough="look")), "walkthrough must be a list"),
        (json.dumps(row(pddl_problem="(:goal)")), "the goal is none of"),
    ],
)
def test_what_is_no_game_is_refused_by_name(tmp_path: Path, content: str, why: str) -> None:
    file(tmp_path, "train", "pick-Apple", "trial_1")
    (tmp_path / "train/pick-Apple/trial_1/game.tw-pddl").write_text(content)
    with pytest.raises(RecordError, match=f"^pick-Apple/trial_1/game.tw-pddl: .*{why}"):
        load_games(tmp_path, "train")


# The bundled games, and ALFWorld's own


def test_the_bundled_games_are_of_all_types_and_have_a_walkthrough() -> None:
    train, test = load_games(None, "train"), load_games(None, "test")
    assert all(set(TASK_TYPES) == {game.goal.task_type for game in games} for games in (train, test))
    assert (len(train), len(test)) == (38, 18)
    for game in (*train, *test):
        kind, thing, place = game.name.partition("/")[0].split("-")
        assert (game.goal.task_type, game.goal.thing) == (kind, thing.lower())
        assert place.lower() in (game.goal.place, game.goal.lamp)
        assert game.goal.thing in game.told
        assert 3 < len(game.walkthrough) < 13
    rooms = [{game.name.split("/")[1].rpartition("-")[0] for game in games} for games in (train, test)]
    assert not rooms[0] & rooms[1]


@needs_data
def test_all_games_of_alfworld_are_read_and_of_the_type_that_their_folder_says() -> None:
    games = load_games(DATA, "train")
    assert len(games) == 3553
    assert all(game.goal.task_type == game.name.partition("-")[0] for game in games)
    assert Counter(game.goal.task_type for game in games)[TASK_TYPES[5]] == 813
    assert len({game.own for game in games}) == 1
    assert GOAL in games[0].logic("own").grammar


@needs_alfworld
def test_the_installed_logic_comes_in_two_wordings() -> None:
    (domain, new), (_, old) = shipped("move"), shipped("put")
    assert "(define (domain alfred)" in domain
    assert GOAL in new
    assert GOAL in old
    assert re.findall(r'"(.* \{o\} .*\{r\})"', old) != re.findall(r'"(.* \{o\} .*\{r\})"', new)
    assert "put {o} in/on {r}" in old
    assert "put {o} in/on {r}" not in new


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "alfworld", None)
    with pytest.raises(MissingExtra, match=r"sdpo-envs\[alfworld\]"):
        shipped.__wrapped__("move")


def test_a_folder_that_has_the_name_of_the_package_is_not_taken_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = ModuleSpec("alfworld", None, is_package=True)
    found.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
    monkeypatch.setitem(sys.modules, "alfworld", ModuleType("alfworld"))
    with pytest.raises(SettingError, match="is not the package"):
        shipped.__wrapped__("move")
