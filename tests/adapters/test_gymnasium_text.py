"""Foreign environments in text: those that come with gymnasium, and a guessing game that breaks in every way."""

import copy
import pickle
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Text
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs import (
    Finding,
    FreeText,
    GroupEnv,
    JudgeError,
    Outcome,
    SettingError,
    Task,
    record,
    replay,
)
from sdpo_envs.adapters.foreign import uncoloured
from sdpo_envs.adapters.gymnasium_text import GymnasiumText
from sdpo_envs.check import examine

MODULE = "sdpo_envs.adapters.gymnasium_text:GymnasiumText"
WAYS = ("left", "down", "right", "up")
SLIPPERY = {"env_id": "FrozenLake-v1", "settings": {"render_mode": "ansi"}, "actions": WAYS}
FROZEN = {**SLIPPERY, "settings": {"render_mode": "ansi", "is_slippery": False}}
TAXI = {
    "env_id": "Taxi-v4",
    "settings": {"render_mode": "ansi"},
    "actions": ["south", "north", "east", "west", "pickup", "dropoff"],
    "turns": 20,
}
BLACKJACK = {"env_id": "Blackjack-v1", "actions": ["stick", "hit"], "tags": True}
FAMILIES = {"FrozenLake": SLIPPERY, "Taxi": TAXI, "Blackjack": BLACKJACK}

for name, kwargs in FAMILIES.items():
    gymnasium.register(f"foreign/{name}-v0", MODULE, vector_entry_point=f"{MODULE}Group", kwargs=kwargs)


class KnownLake(GymnasiumText):
    """A lake without slipping, over which a way is known."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**FROZEN, **settings)  # type: ignore[arg-type]

    def walkthrough(self, task: Task) -> Sequence[str]:
        return ["down", "down", "right", "right", "down", "right"]


KnownLakeGroup = partial(GroupEnv, KnownLake)
gymnasium.register("foreign/KnownLake-v0", f"{__name__}:KnownLake", vector_entry_point=f"{__name__}:KnownLakeGroup")


class Riddle(gymnasium.Env[str, str]):
    """Guess an animal.

    More is not told.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]
    animals = ("cat", "dog", "emu")

    def __init__(self, counts: bool = False, free: bool = False) -> None:
        self.observation_space = Text(100)
        self.action_space: gymnasium.Space[str] = FreeText() if free else Text(8, charset="abcdefghijklmnopqrstuvwxyz")
        self.counts = counts
        self.resets = self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.animal = self.animals[self.np_random.integers(3)]
        self.steps = 0
        self.resets += 1
        return f"It has {len(self.animal)} letters.{f' Riddle {self.resets}.' * self.counts}", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if action == "refused":
            raise KeyError("no such animal")
        if action == "gone":
            raise ConnectionResetError("the server is gone")
        if action == "bug":
            raise ZeroDivisionError("a bug")
        right = action == self.animal
        return f"Step {self.steps}: no {action}.", -1.0, right, False, {"guessed": right}


gymnasium.register("foreign/Riddle-v0", Riddle)


def riddle(**settings: Any) -> GymnasiumText:
    return GymnasiumText("foreign/Riddle-v0", **{"success": "guessed", "turns": 5, **settings})


def comment(observation: Any, action: str, reward: float, info: Mapping[str, Any]) -> Iterable[Finding]:
    """What somebody says who knows the lake."""
    if observation in (5, 7, 11, 12):
        yield Finding("There is a hole in the ice.", {"You went": action})
    elif reward == 0 and observation == 0:
        yield Finding("You are still where you began.")


def shown(observation: Any, info: Mapping[str, Any]) -> str:
    return f"Your cards make {observation[0]}."


# The contract


@pytest.mark.parametrize("name", FAMILIES)
def test_a_foreign_environment_keeps_every_law_that_can_be_checked(name: str) -> None:
    results = list(examine(f"foreign/{name}-v0"))
    assert [(result.law.name, result.broken) for result in results if result.broken] == []
    assert {result.law.name for result in results if result.left_out} == {"oracle", "secrecy", "groups"}


def test_one_with_a_known_way_proves_itself() -> None:
    results = list(examine("foreign/KnownLake-v0"))
    assert [result.law.name for result in results if result.state != "passed"] == ["secrecy"]


def test_one_that_does_not_repeat_itself_is_found_out() -> None:
    gymnasium.register("foreign/Counting-v0", riddle, kwargs={"settings": {"counts": True}})
    failed = {result.law.name for result in examine("foreign/Counting-v0") if result.broken}
    del gymnasium.registry["foreign/Counting-v0"]
    assert "repeatability" in failed


@pytest.mark.parametrize("name", FAMILIES)
def test_rewards_ends_and_what_is_seen_agree_with_the_foreign_environment(name: str) -> None:
    kwargs: dict[str, Any] = FAMILIES[name]
    ours: Any = gymnasium.make(f"foreign/{name}-v0", turns=200)
    theirs: Any = gymnasium.make(kwargs["env_id"], **kwargs.get("settings", {}))
    rng = np.random.default_rng(0)
    passed = 0
    for seed in range(40):
        ours.reset(options={"task_id": f"{kwargs['env_id']}/{seed}"})
        theirs.reset(seed=seed)
        total, ended = 0.0, False
        while not ended:
            number = int(rng.integers(len(kwargs["actions"])))
            word = kwargs["actions"][number]
            _, reward, terminated, truncated, info = ours.step(f"<action>{word}</action>" if "tags" in kwargs else word)
            observation, theirs_reward, *theirs_ends, _ = theirs.step(number)
            total, ended = total + theirs_reward, any(theirs_ends)
            assert (terminated, truncated) == (ended, False)
            rendering = theirs.render() if "settings" in kwargs else str(observation)
            if not ended:
                assert info["seen"] == uncoloured(rendering).strip("\n")
                assert "\x1b" not in info["seen"]
        assert reward == float(total >= 1.0)
        assert info["verdict"].passed == (total >= 1.0)
        passed += info["verdict"].passed
    assert passed or name == "Taxi"


def test_colours_say_where_one_stands() -> None:
    env: Any = gymnasium.make("foreign/KnownLake-v0")
    observation, info = env.reset(seed=0)
    assert info["seen"] == "[red:S]FFF\nFHFH\nFFFH\nHFFG"
    assert observation.startswith("Frozen lake involves crossing a frozen lake from start to goal")
    assert observation.endswith("Write one of these: left, down, right, up")


def test_the_mask_of_the_foreign_info_says_what_may_be_written() -> None:
    env: Any = gymnasium.make("foreign/Taxi-v0")
    observation, info = env.reset(options={"task_id": "Taxi-v4/51"})
    assert info["commands"] == ("north", "east")
    assert observation.endswith("Write one of these: north, east")


# How an episode ends


def play(env: Any, *actions: str, task_id: str | None = None) -> Any:
    env.reset(options={"task_id": task_id} if task_id else None, seed=0)
    for action in actions:
        step = env.step(action)
    return step


def test_the_foreign_time_limit_ends_it_by_a_verdict() -> None:
    env = GymnasiumText(**{**FROZEN, "settings": {**FROZEN["settings"], "max_episode_steps": 3}})  # type: ignore[dict-item, arg-type]
    text, reward, terminated, truncated, info = play(env, "left", "left", "left")
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert text.startswith("Time is up, without success after 3 turns.\nSuccess is: a return of 1\nReturn: 0\n")
    assert info["verdict"].outcome is Outcome.WRONG


def test_turns_of_our_own_end_it_too() -> None:
    text, _, terminated, *_ = play(GymnasiumText(**FROZEN, turns=2), "left", "nonsense")  # type: ignore[arg-type]
    assert terminated
    assert text.startswith("There is no such command.\nYou wrote: nonsense\n")
    assert "\n\nAll 2 turns are used, without success after 2 turns.\n" in text


def test_the_foreign_time_limit_is_ours_unless_we_say_another() -> None:
    assert GymnasiumText(**FROZEN).turns == 100  # type: ignore[arg-type]
    assert GymnasiumText("foreign/Riddle-v0").turns == 100
    assert GymnasiumText("Taxi-v4").turns == 200


def test_success_may_be_a_key_of_the_info() -> None:
    env = riddle()
    env.reset(options={"task_id": "foreign/Riddle-v0/0"})
    rewards = [env.step(animal)[1:3] for animal in Riddle.animals[: Riddle.animals.index(_animal(0)) + 1]]
    assert rewards[-1] == (1.0, True)
    assert set(rewards[:-1]) <= {(0.0, False)}


def _animal(seed: int) -> str:
    foreign = Riddle()
    foreign.reset(seed=seed)
    return foreign.animal


def test_an_end_without_success_tells_what_it_takes() -> None:
    text, *_ = play(GymnasiumText(**FROZEN), "down", "right")  # type: ignore[arg-type]
    assert text.startswith(
        "It is over, without success after 2 turns.\nSuccess is: a return of 1\nReturn: 0\nSeen at last:"
    )


# What the policy writes


@pytest.mark.parametrize("action", ["north", "", "4", "LEFT RIGHT", "left\0", "9" * 5000, "\ud800"])
def test_a_word_that_names_no_action_is_not_passed_on(action: str) -> None:
    env = GymnasiumText(**FROZEN)  # type: ignore[arg-type]
    *_, info = play(env, action)
    assert str(info["feedback"]).startswith("There is no such command.")
    assert info["seen"] == "[red:S]FFF\nFHFH\nFFFH\nHFFG"


def test_case_and_space_around_a_word_are_overlooked() -> None:
    *_, info = play(GymnasiumText(**FROZEN), " Right\n")  # type: ignore[arg-type]
    assert "S[red:F]FF" in info["seen"]


def test_an_action_without_its_tags_is_told_so_once() -> None:
    env: Any = gymnasium.make("foreign/Blackjack-v0")
    *_, info = play(env, "hit")
    assert str(info["feedback"]) == "No command stands between <action> and </action>."
    assert not info["valid"]


def test_numbers_name_actions_that_have_no_words() -> None:
    env = GymnasiumText("FrozenLake-v1", settings={"render_mode": "ansi", "is_slippery": False})
    *_, info = play(env, "2")
    assert info["commands"] == ("0", "1", "2", "3")
    assert "S[red:F]FF" in info["seen"]


@pytest.mark.parametrize("action", ["Cat", "much too long", "c at", "x" * 10**6])
def test_text_beyond_the_foreign_space_is_not_passed_on(action: str) -> None:
    *_, info = play(riddle(), action, "cow")
    assert info["seen"] == "Step 1: no cow."


def test_text_of_any_length_is_passed_on_whole_or_not_at_all() -> None:
    env = riddle(settings={"free": True})
    *_, info = play(env, "moo" * 1000)
    assert info["seen"] == f"Step 1: no {'moo' * 1000}."
    *_, info = play(env, "m" * 10_001)
    assert str(info["feedback"]).startswith("There is no such command.")


# What the foreign environment raises


def test_what_it_names_as_a_refusal_is_told_to_the_policy() -> None:
    env = riddle(refuses=["KeyError"])
    *_, reward, terminated, truncated, info = play(env, "refused")
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert (
        str(info["feedback"]) == "The environment refuses this action.\nYou wrote: refused\nIt says: 'no such animal'"
    )


def test_a_lost_connection_is_nobody_s_failure_and_the_episode_goes_on() -> None:
    env = riddle()
    play(env, "cow")
    with pytest.raises(JudgeError, match="foreign/Riddle-v0 could not be reached: the server is gone"):
        env.step("gone")
    *_, info = env.step("yak")
    assert info["seen"] == "Step 2: no yak."


def test_a_bug_comes_through_as_it_is() -> None:
    for action, error in (("bug", ZeroDivisionError), ("refused", KeyError)):
        with pytest.raises(error):
            play(riddle(), action)


def test_in_a_group_a_lost_connection_costs_one_slot() -> None:
    envs = GroupEnv(riddle, 4, 2)
    envs.reset(seed=0)
    _, rewards, terminations, truncations, infos = envs.step(["cow", "gone", "yak", "yak"])
    assert np.isnan(rewards).tolist() == truncations.tolist() == [False, True, False, False]
    assert not terminations.any()
    assert infos["error"][1].startswith("JudgeError: foreign/Riddle-v0 could not be reached")


# Words of one's own


@pytest.mark.parametrize("explain", [comment, f"{__name__}:comment"], ids=["function", "name"])
def test_somebody_who_knows_the_game_explains_it(explain: Any) -> None:
    env = GymnasiumText(**FROZEN, explain=explain)  # type: ignore[arg-type]
    observation, *_, info = play(env, "left")
    assert str(info["feedback"]) == "You are still where you began."
    assert observation.startswith("You are still where you began.\n\nFrozen lake")
    text, *_ = play(env, "down", "right")
    assert text.startswith("There is a hole in the ice.\nYou went: right\n\nIt is over, without success after 2 turns.")


def test_what_is_seen_may_be_put_in_other_words() -> None:
    env = GymnasiumText(**BLACKJACK, show=shown, rules="Come close to 21.", prompt="new")  # type: ignore[arg-type]
    observation, _ = env.reset(options={"task_id": "Blackjack-v1/51"})
    assert observation.startswith("Come close to 21.\n\nYour cards make 14.\n\nWrite one of these between <action> and")
    assert env.step("<action>hit</action>")[0] == "Your cards make 18."


# Copies and records


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
def test_a_copy_goes_on_where_the_first_one_is(copied: Any) -> None:
    for seed in range(20):
        first = GymnasiumText(**SLIPPERY)  # type: ignore[arg-type]
        first.reset(options={"task_id": f"FrozenLake-v1/{seed}"})
        first.step("up")
        second = copied(first)
        for action in ("up", "left", "right"):
            step = first.step(action)
            assert step == second.step(action)
            if step[2]:
                break
            third = copied(second)
        assert step[2] or first.step("left") == third.step("left")


def test_a_group_faces_one_seed_and_its_attempts_part() -> None:
    envs: Any = gymnasium.make_vec("foreign/KnownLake-v0", num_envs=4, group_size=2)
    observations, infos = envs.reset(seed=0)
    assert observations[0] == observations[1]
    for command in KnownLake().walkthrough(envs.envs[0].unwrapped.task):
        _, rewards, *_, infos = envs.step([command, "left", command, "left"])
    assert rewards.tolist() == [1.0, 0.0, 1.0, 0.0]
    for _ in range(94):
        _, _, terminations, _, infos = envs.step(["", "left", "", "left"])
    assert terminations.all()
    assert infos["feedback"][1].peer == "down\ndown\nright\nright\ndown\nright"
    envs.close()


def test_what_is_recorded_is_judged_alike_again(tmp_path: Path) -> None:
    envs: Any = record(gymnasium.make_vec("foreign/FrozenLake-v0", num_envs=4, group_size=2), tmp_path / "run")
    rng = np.random.default_rng(0)
    for seed in range(3):
        *_, ended = *envs.reset(seed=seed), np.zeros(4, dtype=bool)
        while not ended.all():
            *_, terminations, truncations, _ = envs.step([str(rng.choice(WAYS)) for _ in range(4)])
            ended = terminations | truncations
    envs.close()
    assert replay(tmp_path / "run") == []


# Settings


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({**FROZEN, "actions": ["left", "right"]}, "a word of its own for each of 4 actions"),
        ({**FROZEN, "actions": ["left", "Left", "up", "down"]}, "a word of its own for each of 4 actions"),
        ({"env_id": "foreign/Riddle-v0", "actions": ["cat"]}, "takes text"),
        ({"env_id": "Pendulum-v1"}, "cannot be written"),
        ({}, "give the id of an environment"),
        ({**FROZEN, "refuses": ["Exception"]}, "name a built-in exception"),
        ({**FROZEN, "refuses": ["OSError"]}, "name a built-in exception"),
        ({**FROZEN, "refuses": ["print"]}, "name a built-in exception"),
        ({**FROZEN, "seeds": [-1]}, "a seed=-1 is not offered"),
        ({**FROZEN, "seeds": []}, "No task is left"),
        ({**FROZEN, "turns": 0}, "turns=0 is not offered"),
        ({**FROZEN, "success": None}, "success=None is not offered"),
    ],
)
def test_a_setting_that_cannot_be_is_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        GymnasiumText(**settings)


@given(st.lists(st.tuples(st.sampled_from(["", "31", "41;1", "93", "1"]), st.text(alphabet="ab \n", min_size=1))))
def test_colours_become_words_and_nothing_else_is_lost(parts: list[tuple[str, str]]) -> None:
    named = {"31": "red", "41;1": "red", "93": "yellow"}
    text = "".join(f"\x1b[{code}m{part}\x1b[0m" if code else part for code, part in parts)
    expected = "".join(f"[{named[code]}:{part}]" if code in named else part for code, part in parts)
    assert uncoloured(text) == expected


def test_colour_on_colour_is_told_as_both() -> None:
    assert uncoloured("|\x1b[35m\x1b[43mY\x1b[0m\x1b[0m|") == "|[magenta yellow:Y]|"


def test_text_without_colours_stays_as_it_is() -> None:
    assert uncoloured("\x1b[2J [31m") == "\x1b[2J [31m"
