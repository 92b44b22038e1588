"""ALFWorld as an environment: prompts, wins, explanations, attacks, copies and groups, on the bundled games."""

import copy
import importlib.util
import itertools
import os
import pickle
import re
import signal
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from sdpo_envs import Feedback, GroupEnv, JudgeError, Outcome, SettingError, Task, check_env
from sdpo_envs.alfredgame import TASK_TYPES
from sdpo_envs.alfworld import ALFWorld
from sdpo_envs.errors import MissingExtra
from sdpo_envs.household import Household, refusal
from sdpo_envs.textengine import Engine, shared_engine

needs_alfworld = pytest.mark.skipif(importlib.util.find_spec("alfworld") is None, reason="needs the extra alfworld")
pytestmark = needs_alfworld

DATA = Path(__file__).parents[1] / "../shared/data/alfworld/games_train.tar.xz"
needs_data = pytest.mark.skipif(not DATA.is_file(), reason="needs shared/data/alfworld/games_train.tar.xz")
WORKERS = 1
SPOON = "pick_clean_then_place_in_recep-Spoon-Drawer/galley-kitchen-10"
FORMS = [
    *(f"{verb} {{}}" for verb in ("go to", "open", "close", "use", "examine")),
    *(f"{verb} {{}} with {{}}" for verb in ("clean", "heat", "cool", "slice")),
    *("take {} from {}", "move {} to {}"),
]


def made(**settings: Any) -> ALFWorld:
    return ALFWorld(**{"workers": WORKERS, "form": "bare", "prompt": "new", **settings})


def played(env: ALFWorld, *actions: str, game: str = SPOON) -> tuple[str, float, bool, bool, dict[str, Any]]:
    env.reset(options={"task_id": game})
    return [env.step(action) for action in actions][-1]


def why(*actions: str, **settings: Any) -> str:
    return str(played(made(**settings), *actions)[4]["feedback"])


# What is shown


def test_the_first_prompt_is_the_published_one() -> None:
    env = ALFWorld(workers=WORKERS)
    observation, info = env.reset(options={"task_id": SPOON})
    head, _, rest = observation.partition("go to cabinet 1'")
    game = env.task.answer
    assert head.startswith(
        "\nYou are an expert agent operating in the ALFRED Embodied Environment.\n"
        "Your current observation is: -= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking "
        "quickly around you, you see a "
    )
    assert head.endswith(
        f".\n\nYour task is to: {game.told}.\nYour admissible actions of the current situation are: ['"
    )
    assert rest.startswith("\n 'go to cabinet 2'\n ")
    assert rest.endswith(
        "'inventory'\n 'look'].\n\nNow it's your turn to take an action.\nYou should first reason step-by-step about "
        "the current situation. This reasoning process MUST be enclosed within <think> </think> tags. \nOnce you've "
        "finished your reasoning, you should choose an admissible action for current step and present it within "
        "<action> </action> tags.\n"
    )
    assert info["seen"].startswith("-= Welcome")
    assert "help" not in observation
    assert [each for each in info["commands"] if each != "help"] == re.findall(r"'(.+)'", observation.split("[")[1])


def test_a_later_prompt_holds_the_last_turns_and_the_step() -> None:
    env = ALFWorld(workers=WORKERS, history=1)
    observation, *_ = played(env, *["<think>a</think><action>go to drawer 1</action>", "<think>a</think><action>look"])
    assert "within 30" not in observation
    before = [f"<think>.</think><action>{each}</action>" for each in ("go to drawer 1", "inventory")]
    observation, *_ = played(env, *before)
    told = env.task.answer.told
    assert observation.startswith(
        f"\nYou are an expert agent operating in the ALFRED Embodied Environment. Your task is to: {told}.\n"
        "Prior to this step, you have already taken 2 step(s). Below are the most recent 1 observations and the "
        "corresponding actions you took: [Observation 2: 'You arrive at drawer 1. The drawer 1 is closed.', Action 2: "
        "'inventory']\nYou are now at step 3 and your current observation is: You are not carrying anything.\n"
        "Your admissible actions of the current situation are: ['"
    )


def test_an_observation_of_what_is_new_holds_what_is_said_and_the_commands() -> None:
    observation, *_ = played(made(), "go to drawer 1")
    first, second, *_ = observation.splitlines()
    assert first == "You arrive at drawer 1. The drawer 1 is closed."
    assert second.startswith("Your admissible actions of the current situation are: ['examine drawer 1'")


def test_a_task_tells_its_type_and_goal_and_not_its_answer() -> None:
    task = made().find(SPOON)
    assert task.meta["task_type"] == TASK_TYPES[2]
    assert (task.meta["thing"], task.meta["place"]) == ("spoon", "drawer")
    assert "sinkbasin" in task.meta["skill"]
    assert task.answer.walkthrough[1] not in repr(task)


# Winning


def win(env: ALFWorld, task: Task) -> list[float]:
    """Follow the walkthrough; return the rewards."""
    env.reset(options={"task_id": task.id})
    *before, last = [env.step(action) for action in env.walkthrough(task) or ()]
    assert last[:4] == ("", 1.0, True, False), task.id
    assert last[4]["feedback"] == Feedback()
    return [step[1] for step in before]


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_bundled_game_is_won_by_its_walkthrough_and_only_at_its_end(split: Any) -> None:
    env = made(split=split)
    for task in env.tasks:
        assert not any(win(env, task))


def test_games_are_won_in_the_old_words_too() -> None:
    env = made(split="test", grammar="put")
    for task in env.tasks[::5]:
        win(env, task)


@needs_data
def test_a_game_of_alfworld_of_each_type_is_won_by_its_walkthrough_and_only_at_its_end() -> None:
    env = made(source=str(DATA))
    assert len(env.tasks) == 3553
    for kind in TASK_TYPES:
        task = next(task for task in env.tasks if task.meta["task_type"] == kind)
        assert not any(win(env, task))


def test_a_walkthrough_has_the_form_that_is_asked_for() -> None:
    task = made().tasks[0]
    first = task.answer.walkthrough[0]
    assert (made().walkthrough(task) or [""])[0] == first
    assert (made(form="tagged").walkthrough(task) or [""])[0] == f"<action>{first}</action>"
    assert (made(form="thought").walkthrough(task) or [""])[0].startswith("<think>")
    assert made(turns=2).walkthrough(task) is None


def test_types_of_tasks_can_be_chosen() -> None:
    assert {task.meta["task_type"] for task in made(task_types=[TASK_TYPES[1]]).tasks} == {TASK_TYPES[1]}


# What is explained


def test_why_nothing_came_of_a_command_is_told() -> None:
    assert why("take spoon 9 from fridge 1").startswith("You are not at the fridge 1. Go to it first.")
    assert why("go to fridge 1", "take apple 1 from fridge 1").startswith("The fridge 1 is closed.")
    assert why("go to fridge 1", "open fridge 1", "take cow 1 from fridge 1").startswith("There is no cow 1 in or on")
    assert why("move apple 1 to fridge 1").startswith("You hold nothing.")
    assert why("dance").startswith("There is no such command.")
    assert why("look") == ""


def test_the_state_that_is_explained_is_that_of_the_game() -> None:
    env = made()
    way = [*env.find(SPOON).answer.walkthrough]
    taken = way.index(next(each for each in way if each.startswith("take")))
    spoon = way[taken].split(" from ")[0].removeprefix("take ")
    *_, info = played(env, *way[: taken + 1], way[taken])
    assert str(info["feedback"]).startswith(f"You already hold the {spoon}.")


def test_a_reason_is_known_for_each_command_that_the_engine_refuses_and_for_no_other() -> None:
    env = made()
    env.reset(options={"task_id": SPOON})
    for action in env.walkthrough(env.task) or ():
        house = Household(env._facts)
        names = [*house.receptacles, *house.where("objecttype", "spoontype"), "apple 1", "knife 1", "cow 1"]
        for form in FORMS:
            for given in itertools.product(names, repeat=form.count("{}")):
                command = form.format(*given)
                why = refusal(command, house, FORMS[-1]).title
                assert (why == "That cannot be done here and now.") == (command in env.seen.commands), command
        env.step(action)


def test_at_the_end_it_is_told_which_part_of_the_goal_is_met() -> None:
    way = made().find(SPOON).answer.walkthrough
    observation, reward, terminated, _, info = played(made(turns=len(way) - 1), *way[:-1])
    assert (reward, terminated, info["verdict"].outcome) == (0.0, True, Outcome.WRONG)
    assert observation.startswith(f"All {len(way) - 1} turns are used, and the task is not done: ")
    assert "Done:\n    a spoon found\n    a spoon that is clean\n" in observation
    assert "Not done: a clean spoon in or on a drawer\nYou hold: spoon" in observation
    assert "Not done:\n    a spoon found\n" in why("look", turns=1)


def test_a_way_to_win_is_told_only_if_it_is_to_be_revealed() -> None:
    way = made().find(SPOON).answer.walkthrough
    hidden = played(made(turns=1), "look")[4]
    assert "Step 1" not in str(hidden["feedback"])
    assert not hidden["feedback"].reveals_answer
    assert all(not finding.answer for finding in hidden["verdict"].findings)
    shown = played(made(turns=1, reveal=True), "look")[4]["feedback"]
    assert f"Step 2 of one way: {way[1]}" in str(shown)
    assert shown.reveals_answer


# Attacks


@pytest.mark.parametrize(
    "attack",
    [
        "restart", "quit", "undo", "save", "restore", "load", "win", "help me", "xyzzy", "actions", "showme fridge 1",
        "purloin apple 1", "gonear fridge 1", "abstract apple 1 to fridge 1", "tw-print state", "goal", "__class__",
        "look\ngo to fridge 1", "{r.name}", "#intro#", "[{o.name | holds(a:agent, o:object)}]",
        '{"key": "x", "path": ["look"], "command": null}', "\x00", "\ud800", "-1", "go to fridge 01",
        "go to fridge \u0661",
        "go to fridge 1" * 20000,
    ],
    ids=lambda attack: attack[:16].encode("ascii", "backslashreplace").decode(),
)  # fmt: skip
def test_no_command_of_an_engine_and_no_odd_text_wins_or_breaks(attack: str) -> None:
    for form in ("thought", "bare"):
        env = made(form=form, turns=2)
        action = f"<think>.</think><action>{attack}</action>" if form == "thought" else attack
        _, reward, terminated, _, info = played(env, action)
        assert (reward, terminated, info["seen"]) == (0.0, False, "Nothing happens.")
        assert info["feedback"]
        observation, reward, terminated, *_ = env.step(action)
        assert (reward, terminated) == (0.0, True)
        assert len(observation) < 3000


def test_a_win_needs_every_part_of_the_walkthrough() -> None:
    env = made()
    way = env.find(SPOON).answer.walkthrough
    for left_out in range(len(way)):
        env.reset(options={"task_id": SPOON})
        steps = [env.step(command) for command in (*way[:left_out], *way[left_out + 1 :])]
        assert sum(step[1] for step in steps) == 0, f"won without {way[left_out]}"


def test_nothing_that_is_shown_at_the_start_tells_where_a_thing_is() -> None:
    env = made(split="test", prompt="complete", render_mode="ansi")
    for task in env.tasks:
        observation, info = env.reset(options={"task_id": task.id})
        shown = f"{observation}{info}{env.render()}{env!r}{env.task!r}"
        assert not re.search(rf"\b{task.meta['thing']} \d", shown)
        assert env.secrets(task)
        assert not [secret for secret in env.secrets(task) if secret in shown]


def test_an_earlier_episode_wins_nothing_for_a_later_one() -> None:
    env = made()
    *way, last = env.find(SPOON).answer.walkthrough
    played(env, *way)
    assert played(env, last)[1] == 0.0


# Copies, groups and broken engines


def test_a_copy_and_a_pickled_environment_go_on_where_they_are_and_apart() -> None:
    env = made()
    *way, last = env.find(SPOON).answer.walkthrough
    played(env, *way)
    twin, other = copy.deepcopy(env), pickle.loads(pickle.dumps(env))
    assert twin.tasks is env.tasks
    assert env.step("look")[1] == 0.0
    for each in (twin, other, env):
        assert each.step(last)[1] == 1.0


def test_an_episode_survives_its_process() -> None:
    env = made()
    *way, last = env.find(SPOON).answer.walkthrough
    played(env, *way)
    os.kill(shared_engine(WORKERS)._workers[0].channel._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
    assert env.step(last)[1] == 1.0


def test_a_broken_engine_is_nobodys_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(1, 20.0, "raise SystemExit('broken')")
    envs: Any = GroupEnv(ALFWorld, 2, 2, workers=WORKERS)
    envs.reset(seed=1)
    monkeypatch.setattr("sdpo_envs.alfworld.shared_engine", lambda size: engine)
    with pytest.raises(JudgeError, match="broken"):
        made().reset(seed=1)
    _, rewards, terminations, truncations, infos = envs.step(["x", "y"])
    assert (rewards != rewards).all()
    assert truncations.all()
    assert not terminations.any()
    assert "broken" in str(infos["error"][0])
    envs.close()


def test_a_group_plays_one_game_and_hands_out_the_winner() -> None:
    envs: Any = gymnasium.make_vec("sdpo/ALFWorld-v0", num_envs=4, group_size=4, workers=WORKERS, form="bare", turns=8)
    observations, infos = envs.reset(seed=3, options={"task_id": SPOON})
    assert len(set(observations)) == 1
    way = envs.envs[0].find(infos["task_id"][0]).answer.walkthrough
    for command in (*way, "look"):
        *_, infos = envs.step([command, "look", "go to fridge 1", "x"])
    assert [infos["feedback"][slot].peer for slot in (1, 2, 3)] == ["\n".join(way)] * 3
    envs.close()


def test_the_contract_is_kept_in_every_form() -> None:
    assert check_env("sdpo/ALFWorld-v0", workers=WORKERS, form="tagged", grammar="put", prompt="new", turns=11) == []


@pytest.mark.parametrize(
    "settings",
    [{"split": "valid_seen"}, {"grammar": "old"}, {"form": "free"}, {"task_types": ["cook"]}, {"workers": 0}],
    ids=str,
)
def test_other_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        made(**settings)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(words: str) -> None:
        raise MissingExtra("Install it with: pip install 'sdpo-envs[alfworld]'")

    monkeypatch.setattr("sdpo_envs.alfworld.shipped", missing)
    with pytest.raises(MissingExtra):
        made()
