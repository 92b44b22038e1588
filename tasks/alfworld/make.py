"""Makes `train.jsonl` and `test.jsonl`, ALFWorld games, from `rooms.toml`.

    python tasks/alfworld/make.py [FOLDER] [--seed SEED]

It needs sdpo-envs with the extra `alfworld`, installed or on PYTHONPATH. A row holds the `name` of a game, its `goal`
in words, its `problem` in PDDL and a `walkthrough`: a plan of TextWorld's planner, with every command left out that the
goal is met without. Where things lie is drawn from the seed, the room and the task, so a second run writes the same.
"""

import argparse
import json
import random
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import textworld
from alfworld.agents.environment.alfred_tw_env import AlfredDemangler

from sdpo_envs.alfredgame import BUNDLED_SPLITS, TASK_TYPES, shipped
from sdpo_envs.textengine import Engine, Logic

HERE = Path(__file__).resolve().parent
TRIES = 50

WORDS = {
    TASK_TYPES[0]: ("put a {thing} in or on the {place}", "bring some {thing} to the {place}"),
    TASK_TYPES[1]: ("look at a {thing} under the {place}", "hold a {thing} in the light of the {place}"),
    TASK_TYPES[2]: ("put a clean {thing} in or on the {place}", "clean some {thing} and bring it to the {place}"),
    TASK_TYPES[3]: ("put a hot {thing} in or on the {place}", "heat some {thing} and bring it to the {place}"),
    TASK_TYPES[4]: ("put a cool {thing} in or on the {place}", "cool some {thing} and bring it to the {place}"),
    TASK_TYPES[5]: ("put two of the kind {thing} in or on the {place}", "bring two {thing} to the {place}"),
}
STATES = {TASK_TYPES[2]: ("cleanable", "isClean"), TASK_TYPES[3]: ("heatable", "isHot")}
STATES[TASK_TYPES[4]] = ("coolable", "isCool")
LAMPS = {"DeskLamp", "FloorLamp"}


def main() -> None:
    """Write both files into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Make the bundled ALFWorld games.")
    parser.add_argument("folder", nargs="?", type=Path, default=HERE, help="where to write (default: beside this file)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    world = tomllib.loads((HERE / "rooms.toml").read_text(encoding="utf-8"))
    engine = Engine(1)
    rows = [(room["split"], row) for room in world["rooms"] for row in games(world, room, arguments.seed, engine)]
    engine.close()
    for split in BUNDLED_SPLITS:
        lines = [f"{json.dumps(row)}\n" for its, row in rows if its == split]
        (arguments.folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"{split}: {len(lines)} games")


def games(world: dict[str, Any], room: dict[str, Any], seed: int, engine: Engine) -> Iterator[dict[str, Any]]:
    """Make a game of each task of a room."""
    for number, task in enumerate(room["tasks"], start=1):
        rng = random.Random(f"{seed} {room['name']} {task}")
        kind, thing, place = task.split()
        told = rng.choice(WORDS[kind]).format(thing=thing.lower(), place=place.lower())
        for _ in range(TRIES):
            text = problem(world, room, rng, kind, thing, place)
            if walkthrough := solve(Logic(*shipped("move"), told, text), engine):
                break
        else:
            raise SystemExit(f"No game of {task!r} in the {room['name']} could be solved in {TRIES} tries.")
        name = f"{kind}-{thing}-{place}/{room['name'].replace(' ', '-')}-{number}"
        print(f"{name}: {len(walkthrough)} commands")
        yield {"name": name, "goal": told, "problem": text, "walkthrough": walkthrough}


def problem(world: dict[str, Any], room: dict[str, Any], rng: random.Random, task: str, thing: str, place: str) -> str:
    """Write the PDDL problem of a room in which things lie as `rng` has it."""
    kinds, places = list(room["places"]), list(receptacles(room))
    lying = list(placed(room, rng, places, thing if task != TASK_TYPES[1] else "", place))
    things = sorted({kind for kind, _, _ in lying})
    objects = [("agent1", "agent"), *((f"loc_bar_{n}", "location") for n in range(len(places) + 1))]
    objects += [(name, "receptacle") for _, name, _ in places] + [(name, "object") for _, name, _ in lying]
    objects += [(f"{kind}Type", "rtype") for kind in kinds] + [(f"{kind}Type", "otype") for kind in things]
    facts = ["atLocation agent1 loc_bar_0"]
    for kind, name, location in places:
        facts += [f"receptacleType {name} {kind}Type", f"receptacleAtLocation {name} {location}"]
        facts += [f"openable {name}"] if world["places"][kind]["opens"] else []
    for kind in kinds:
        held = world["places"][kind]["holds"].split()
        facts += [f"canContain {kind}Type {each}Type" for each in things if each in held]
    for kind, name, (_, receptacle, location) in lying:
        facts += [f"objectType {name} {kind}Type", f"inReceptacle {name} {receptacle}"]
        facts += [f"objectAtLocation {name} {location}"] + ([] if kind in LAMPS else [f"pickupable {name}"])
        facts += [f"{able} {name}" for able in world["things"].get(kind, "").split()]
    lines = ["(define (problem household)", "(:domain alfred)", "(:objects"]
    lines += [f"{name} - {kind}" for name, kind in objects] + [")", "(:init"] + [f"({fact})" for fact in facts]
    return "\n".join([*lines, ")", f"(:goal {goal(task, thing, place)})", ")"])


def receptacles(room: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield kind, name and location of each place; a basin's name has the form that ALFWorld knows basins by."""
    number = 0
    for kind, count in room["places"].items():
        for each in range(1, count + 1):
            number += 1
            stem = kind.removesuffix("Basin")
            name = f"{kind}_bar_{each}" if stem == kind else f"{stem}_bar_{each}_bar_{kind}"
            yield kind, name, f"loc_bar_{number}"


def placed(
    room: dict[str, Any], rng: random.Random, places: Sequence[tuple[str, str, str]], thing: str, place: str
) -> Iterator[tuple[str, str, tuple[str, str, str]]]:
    """Yield kind, name and place of each thing; what is to be brought to a kind of place does not lie there."""
    count: dict[str, int] = {}
    for line in room["things"]:
        names, where = line.split(": ")
        for kind in names.split():
            count[kind] = count.get(kind, 0) + 1
            fit = [each for each in places if each[0] in where.split() and not (kind == thing and each[0] == place)]
            yield kind, f"{kind}_bar_{count[kind]}", rng.choice(fit)


def goal(task: str, thing: str, place: str) -> str:
    """Write the goal in the form that ALFWorld has for this type of task."""
    if task == TASK_TYPES[1]:
        lamp = f"(objectType ?ot {place}Type) (toggleable ?ot) (isToggled ?ot)"
        near = "(receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)"
        lit = f"(exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and {lamp} {near}))"
        return f"(and {lit} (exists (?o - object ?a - agent) (and (objectType ?o {thing}Type) (holds ?a ?o))))"
    here = f"(receptacleType ?r {place}Type)"
    if task == TASK_TYPES[5]:
        one, two = (f"(objectType ?o{n} {thing}Type) {here} (inReceptacle ?o{n} ?r)" for n in (1, 2))
        both = f"{one} (exists (?o2 - object) (and (not (= ?o1 ?o2)) {two}))"
        return f"(and (exists (?r - receptacle) (exists (?o1 - object) (and {both}))))"
    able, state = STATES.get(task, ("", ""))
    asked = f"({able} ?o) ({state} ?o) " if able else ""
    such = f"{asked}(objectType ?o {thing}Type) {here} (inReceptacle ?o ?r)"
    return f"(and (exists (?r - receptacle) (exists (?o - object) (and {such}))))"


def solve(logic: Logic, engine: Engine) -> list[str]:
    """Return commands that win, none of which can be left out; none if the planner finds none."""
    game = {"pddl_domain": logic.domain, "grammar": logic.grammar, "pddl_problem": logic.problem}
    with tempfile.NamedTemporaryFile("w", suffix=".tw-pddl") as file:
        json.dump(game, file)
        file.flush()
        env = textworld.start(file.name, textworld.EnvInfos(policy_commands=True), [AlfredDemangler()])
        plan = list(env.reset()["policy_commands"])
    position = 0
    while position < len(plan):
        shorter = plan[:position] + plan[position + 1 :]
        if wins(logic, shorter, engine):
            plan = shorter
        else:
            position += 1
    return plan if wins(logic, plan, engine) else []


def wins(logic: Logic, commands: Sequence[str], engine: Engine) -> bool:
    """Whether the last of these commands wins, and each has an effect."""
    answer = engine.ask(logic)
    for end, command in enumerate(commands):
        answer = engine.ask(logic, commands[:end], command)
        if not answer.moved:
            return False
    return answer.won and bool(commands)


if __name__ == "__main__":
    main()
