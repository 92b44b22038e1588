"""The bundled games: made from the rooms written by hand, and made again."""

import importlib.util
import json
import random
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sdpo_envs.alfredgame import TASK_TYPES

pytestmark = pytest.mark.skipif(importlib.util.find_spec("alfworld") is None, reason="needs the extra alfworld")

FOLDER = Path(__file__).parents[2] / "tasks" / "alfworld"
WORLD = tomllib.loads((FOLDER / "rooms.toml").read_text("utf-8"))
ROWS = {
    row["name"]: row
    for split in ("train", "test")
    for row in map(json.loads, (FOLDER / f"{split}.jsonl").read_text("utf-8").splitlines())
}
TASKS = [(room, number, task) for room in WORLD["rooms"] for number, task in enumerate(room["tasks"], start=1)]
each_task = pytest.mark.parametrize(("room", "number", "task"), TASKS, ids=[f"{r['name']}-{n}" for r, n, _ in TASKS])


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_alfworld", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@each_task
def test_a_game_is_made_again_as_it_is(make: ModuleType, room: dict[str, Any], number: int, task: str) -> None:
    kind, thing, place = task.split()
    row = ROWS[f"{kind}-{thing}-{place}/{room['name'].replace(' ', '-')}-{number}"]
    rng = random.Random(f"1 {room['name']} {task}")
    assert row["goal"] == rng.choice(make.WORDS[kind]).format(thing=thing.lower(), place=place.lower())
    made = (make.problem(WORLD, room, rng, kind, thing, place) for _ in range(make.TRIES))
    assert row["problem"] in made


def test_every_task_has_its_game_and_every_game_its_task() -> None:
    assert len(ROWS) == len(TASKS) == 56


@each_task
def test_a_task_can_be_done_in_its_room(room: dict[str, Any], number: int, task: str) -> None:
    kind, thing, place = task.split()
    things = [name for line in room["things"] for name in line.split(": ")[0].split()]
    assert things.count(thing) >= (2 if "two" in kind else 1)
    if kind == "look_at_obj_in_light":
        assert place in things
    else:
        assert thing in WORLD["places"][place]["holds"].split()


@pytest.mark.parametrize("room", WORLD["rooms"], ids=lambda room: room["name"])
def test_things_lie_where_such_things_may_lie(room: dict[str, Any]) -> None:
    for line in room["things"]:
        names, where = line.split(": ")
        for place in where.split():
            assert set(names.split()) <= set(WORLD["places"][place]["holds"].split()), line
            assert place in room["places"]


def test_a_teacher_is_told_something_of_each_type_and_nothing_of_a_game() -> None:
    told = tomllib.loads((FOLDER / "skills.toml").read_text("utf-8"))
    assert list(told["kinds"]) == list(TASK_TYPES)
    assert len({*told["kinds"].values()}) == len(TASK_TYPES)
    assert not re.search(r"[a-z] \d", told["all"] + "".join(told["kinds"].values())), "no thing of a game is named"


def test_no_name_is_of_alfreds_own_scenes() -> None:
    assert not [name for name in ROWS if re.search(r"-\d{1,3}/trial_", name)]
    assert "Apache" in (FOLDER / "LICENSE").read_text("utf-8")
    assert "make.py" in (FOLDER / "SOURCE").read_text("utf-8")
