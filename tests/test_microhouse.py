"""MicroHouse: a small world of several turns."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdpo_envs import Outcome, SettingError
from sdpo_envs.microhouse import CLOSED, LEXICON, OPEN, MicroHouse, MicroHouseGroup


def fetching(*things: str, **keywords: Any) -> MicroHouse:
    """An episode whose task asks for these things, in whichever house has such a task."""
    for world in range(200):
        env = MicroHouse(world, **keywords)
        for task in env.tasks:
            if task.answer.words == things:
                env.reset(options={"task_id": task.id})
                return env
    raise AssertionError(f"no house asks for {things}")


def kept(env: MicroHouse) -> dict[str, str]:
    request = env.task.answer
    return {thing: LEXICON[thing][place] for thing, place in zip(request.words, request.readings, strict=True)}


def test_every_place_of_the_lexicon_is_a_place() -> None:
    places = {place for readings in LEXICON.values() for place in readings}
    assert places == {*OPEN, *CLOSED}
    assert all(len(set(readings)) == 4 for readings in LEXICON.values())
    assert not {*LEXICON} & places, "a thing is no place"


@pytest.mark.parametrize("split", ["train", "test"])
def test_who_knows_the_house_fetches_everything(split: str) -> None:
    env = MicroHouse(7, split=split, spare=0)
    for task in env.tasks:
        env.reset(options={"task_id": task.id})
        *_, last = [env.step(command) for command in env.walkthrough(task)]
        assert (last[1], last[2], last[4]["verdict"].outcome) == (1.0, True, Outcome.PASSED)


def test_what_is_shut_away_is_seen_when_it_is_opened() -> None:
    env = MicroHouse(2, spare=9)
    shut_away = 0
    for task in env.tasks[:20]:
        env.reset(options={"task_id": task.id})
        thing, place = next(iter(kept(env).items()))
        *_, info = env.step(f"go {place}")
        if place in CLOSED:
            shut_away += 1
            assert info["seen"] == f"The {place} is closed."
            *_, info = env.step(f"open {place}")
        assert info["seen"].startswith(f"The {place}: ")
        assert thing in info["seen"]
    assert 0 < shut_away < 20


def test_of_a_very_long_command_no_more_is_repeated_than_a_command_can_have() -> None:
    env = MicroHouse(2, spare=9)
    env.reset(seed=0)
    observation, *_ = env.step("go " + "x" * 100_000)
    assert len(observation) < 500


def test_each_place_is_a_secret_of_its_own() -> None:
    env = MicroHouse(2)
    env.reset(seed=0)
    assert env.secrets(env.task) == [f"{thing}: {place}" for thing, place in kept(env).items()]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("dance", "The commands are: go PLACE, open PLACE, take THING."),
        ("", "The commands are: go PLACE, open PLACE, take THING."),
        ("go moon", "There is no place 'moon'."),
        ("go", "There is no place ''."),
        ("open chest", "You do not stand before a closed 'chest'."),
        ("take cup", "No 'cup' is to be seen here."),
        ("take " + "x" * 99, "No 'xxxxxxxxxxxxxxxxx...' is to be seen here."),
    ],
)
def test_why_nothing_happens(command: str, why: str) -> None:
    env = MicroHouse(0)
    env.reset(seed=0)
    observation, reward, terminated, _, info = env.step(command)
    assert (str(info["feedback"]), info["seen"]) == (why, "Nothing happens. You are at the door.")
    assert observation.startswith(f"{why}\n\n")
    assert (reward, terminated) == (0.0, False)


def test_a_thing_can_only_be_taken_where_it_is_seen_and_only_once() -> None:
    env = MicroHouse(3, spare=9)
    task = next(task for task in env.tasks if len(task.answer.words) == 2)
    env.reset(options={"task_id": task.id})
    way = list(env.walkthrough(task))
    first_take = next(number for number, command in enumerate(way) if command.startswith("take"))
    for command in way[: first_take + 1]:
        env.step(command)
    *_, info = env.step(way[first_take])
    assert str(info["feedback"]).startswith("No '")
    assert info["verdict"] is None


def test_in_the_end_what_is_missing_is_told_and_how_it_is_kept() -> None:
    env = MicroHouse(3, spare=0)
    task = next(task for task in env.tasks if len(task.answer.words) == 2)
    env.reset(options={"task_id": task.id})
    while True:
        *_, terminated, _, info = env.step("go mat")
        if terminated:
            break
    places = kept(env)
    how = {thing: "shut away" if place in CLOSED else "in the open" for thing, place in places.items()}
    expected = "\n\n".join(f"The {thing} is missing. It is kept {how[thing]}." for thing in places)
    assert str(info["feedback"]) == expected
    assert info["verdict"].outcome is Outcome.WRONG
    assert not any(finding.answer for finding in info["verdict"].findings)


def lost(**keywords: Any) -> Any:
    env = MicroHouse(3, spare=0, **keywords)
    env.reset(options={"task_id": next(task.id for task in env.tasks if len(task.answer.words) == 3)})
    while True:
        *_, terminated, _, info = env.step("go mat")
        if terminated:
            return env, info


def test_feedback_tells_all_the_first_or_nothing_and_the_places_if_asked() -> None:
    assert str(lost()[1]["feedback"]).count("missing") == 3
    assert str(lost(feedback="first")[1]["feedback"]).count("missing") == 1
    assert str(lost(feedback="none")[1]["feedback"]) == ""
    env, info = lost(reveal=True)
    assert all(f"{thing}: {place}" in str(info["feedback"]) for thing, place in kept(env).items())
    assert info["feedback"].reveals_answer


def test_a_skill_names_two_places_of_which_one_is_right() -> None:
    env = MicroHouse(5)
    for task in env.tasks:
        env.reset(options={"task_id": task.id})
        told = dict(each.split(" - ") for each in task.meta["skill"].split(", "))
        for thing, place in kept(env).items():
            two = told[thing].split(" or ")
            assert len(set(two)) == 2
            assert place in two
            assert {*two} <= {*LEXICON[thing]}
    skills = [task.meta["skill"] for task in MicroHouse(5).tasks]
    assert skills == [task.meta["skill"] for task in env.tasks], "the same each time"


def test_a_complete_prompt_holds_every_turn_and_a_new_one_the_last_alone() -> None:
    env = fetching("cup")
    first = env.written()
    assert first == f"Fetch: cup in {env.turns}\nYou are at the door."
    observation, *_ = env.step("go table")
    seen = env.seen.text
    assert observation == f"Fetch: cup in {env.turns - 1}\nYou are at the door.\n> go table\n{seen}"
    env = fetching("cup", prompt="new")
    assert env.step("go table")[0] == seen


@given(seed=st.integers(0, 10**6), known=st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=40, deadline=None)
def test_guesses_are_commands_of_somebody_who_looks_where_things_may_be(seed: int, known: float) -> None:
    env = MicroHouse(seed % 9, spare=4)
    env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    gone: list[str] = []
    while True:
        command = env.guess(env.task, rng, known)
        *_, terminated, _, info = env.step(command)
        assert not info["feedback"] or terminated, f"{command} led to {info['feedback']}"
        gone += [command] if command.startswith("go ") else []
        if terminated:
            break
    if known == 1:
        assert info["verdict"].passed
    assert all(command.removeprefix("go ") in {*OPEN, *CLOSED} for command in gone)


def test_who_knows_more_fetches_more() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for known in (0.0, 0.5, 1.0):
        passed = []
        env = MicroHouse(1, split="test")
        for task in env.tasks:
            env.reset(options={"task_id": task.id})
            while True:
                *_, terminated, _, info = env.step(env.guess(task, rng, known))
                if terminated:
                    break
            passed.append(info["verdict"].passed)
        shares.append(np.mean(passed))
    assert shares[0] < 0.45 < shares[1] < shares[2] == 1


def test_groups_play_side_by_side_without_sharing_a_house() -> None:
    envs = MicroHouseGroup(num_envs=2, group_size=2, world=2, spare=3)
    envs.reset(seed=0)
    right = [*envs.envs[0].unwrapped.walkthrough(envs.envs[0].unwrapped.task)]  # type: ignore[attr-defined]
    for command in right:
        _, rewards, terminations, _, infos = envs.step([command, "go mat"])
    assert (rewards.tolist(), terminations.tolist()) == ([1.0, 0.0], [True, False])
    while not terminations.all():
        _, _, terminations, _, infos = envs.step(["", "go mat"])
    assert infos["feedback"][1].peer == "\n".join(right)
    envs.close()


@pytest.mark.parametrize(
    "wrong", [{"world": -1}, {"split": "dev"}, {"feedback": "some"}, {"spare": -1}, {"prompt": "x"}]
)
def test_other_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        gymnasium.make("sdpo/MicroHouse-v0", **wrong)
