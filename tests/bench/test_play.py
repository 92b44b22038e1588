"""A suite is played: policies of known skill against real environments and small ones."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from addition import ADDITION, BREAK_JUDGE, BREAK_WALL, GUESSING, TASKS

from sdpo_envs import ActionError, FeedbackEnv, SettingError, evaluate
from sdpo_envs.bench.intervals import Bootstrap
from sdpo_envs.bench.play import SUITES, Message, name_of
from sdpo_envs.record.row import rows, told

HOW = Bootstrap(draws=200)
Chats = Sequence[Sequence[Message]]


class Skilled:
    """Answers right with a probability, by what the environment's oracle says of a prompt; keeps what it was asked."""

    def __init__(self, env_id: str, skill: float, seed: int = 0, **settings: Any) -> None:
        env = gymnasium.make(env_id, **settings).unwrapped
        assert isinstance(env, FeedbackEnv)
        self.answers = {task.prompt: env.oracle(task) for task in env.tasks}
        self.systems = {task.prompt: task.system for task in env.tasks}
        env.close()
        self.skill, self.rng = skill, np.random.default_rng(seed)
        self.asked: list[Chats] = []

    def __call__(self, chats: Chats) -> list[str]:
        self.asked.append(chats)
        right = [self.answers[chat[-1]["content"]] or "" for chat in chats]
        return [answer if self.rng.random() < self.skill else "no idea" for answer in right]


def adder(chats: Chats) -> list[str]:
    """Adds up."""
    return [str(sum(map(int, re.findall(r"\d+", chat[-1]["content"])))) for chat in chats]


@pytest.mark.parametrize("env_id", ["sdpo/ToolUse-v0", "sdpo/SciKnowEval-v0"])
@pytest.mark.parametrize("skill", [0.0, 0.4, 1.0])
def test_the_skill_of_a_policy_comes_out(env_id: str, skill: float) -> None:
    policy = Skilled(env_id, skill, split="test")
    scores = evaluate(policy, [(env_id, {"split": "test"})], attempts=16, how=HOW)
    (told,) = scores.environments
    assert (told.name, told.tasks, told.attempts, told.broken) == (f"{env_id} split=test", len(policy.answers), 16, 0)
    assert told.average.value == pytest.approx(skill, abs=0.08 if 0 < skill < 1 else 0)
    for k, each in told.passed.items():
        assert each.value == pytest.approx(1 - (1 - skill) ** k, abs=0.08)
    assert scores.overall.average == told.average


def test_the_prompt_is_a_chat_with_the_system_turn_first_where_there_is_one() -> None:
    for env_id in ("sdpo/ToolUse-v0", "sdpo/SciKnowEval-v0"):
        policy = Skilled(env_id, 1.0)
        evaluate(policy, [(env_id, {})], attempts=2, tasks=3, how=HOW)
        for chat in (chat for chats in policy.asked for chat in chats):
            prompt = chat[-1]["content"]
            system = policy.systems[prompt]
            expected = [{"role": "system", "content": system}] if system else []
            assert chat == [*expected, {"role": "user", "content": prompt}]


@pytest.mark.parametrize(("attempts", "slots", "tasks"), [(4, 8, None), (4, 1, 5), (3, 64, 16), (1, 7, 10), (2, 10, 1)])
def test_every_task_is_attempted_so_many_times_whatever_the_slots(attempts: int, slots: int, tasks: int | None) -> None:
    seen: list[str] = []
    batches: list[int] = []

    def policy(chats: Chats) -> list[str]:
        seen.extend(chat[-1]["content"] for chat in chats)
        batches.append(len(chats))
        return adder(chats)

    scores = evaluate(policy, [(ADDITION, {})], attempts=attempts, slots=slots, tasks=tasks, how=HOW)
    expected = [task.prompt for task in TASKS[:tasks] for _ in range(attempts)]
    assert seen == expected
    assert max(batches) <= max(attempts, slots)
    assert scores.overall.average.value == 1
    assert scores.overall.tasks == len(TASKS[:tasks])


def test_broken_slots_are_counted_apart_and_never_as_failures() -> None:
    def policy(chats: Chats) -> list[str]:
        answers = adder(chats)
        broken = [BREAK_JUDGE, answers[1], BREAK_WALL, "0"]  # a group: of two that were judged, one is right
        return [broken[number % 4] for number in range(len(chats))]

    scores = evaluate(policy, [(ADDITION, {})], attempts=4, slots=4, how=HOW)
    (told,) = scores.environments
    assert told.broken == 2 * len(TASKS)
    assert told.average.value == 0.5
    assert (told.passed[1].value, told.passed[2].value) == (0.5, 1)
    assert np.isnan(told.passed[4].value)


def test_where_everything_broke_nothing_is_known() -> None:
    scores = evaluate(lambda chats: [BREAK_WALL] * len(chats), [(ADDITION, {})], attempts=2, tasks=2, how=HOW)
    assert scores.overall.broken == 4
    assert np.isnan(scores.overall.average.value)


def guesser(chats: Chats) -> list[str]:
    """Needs the question to be right, and first guesses too low; in the last turn it sees only what it is shown."""
    told = ["".join(turn["content"] for turn in chat if turn["role"] == "user") for chat in chats]
    return ["1" if "too small" not in text else (adder([[{"content": text.split("?")[0]}]])[0]) for text in told]


def test_a_policy_reads_the_whole_conversation_where_it_should() -> None:
    whole = evaluate(guesser, [(GUESSING, {})], attempts=2, tasks=4, history="conversation", how=HOW)
    assert whole.overall.average.value == 1
    last = evaluate(guesser, [(GUESSING, {})], attempts=2, tasks=4, how=HOW)
    assert last.overall.average.value == 0  # the second observation alone does not repeat the question


def test_a_conversation_is_told_turn_by_turn_and_keeps_the_system_turn() -> None:
    asked: list[Chats] = []

    def policy(chats: Chats) -> list[str]:
        asked.append([list(chat) for chat in chats])
        return ["1"] * len(chats)

    evaluate(policy, [(GUESSING, {"guesses": 2})], attempts=1, tasks=1, history="conversation", how=HOW)
    assert [[turn["role"] for turn in chats[0]] for chats in asked] == [
        ["system", "user"],
        ["system", "user", "assistant", "user"],
    ]
    assert asked[1][0][:2] == asked[0][0]


def test_in_all_each_environment_weighs_the_same() -> None:
    suite = [(ADDITION, {}), (GUESSING, {"guesses": 1}), (ADDITION, {"reveal": True})]
    scores = evaluate(lambda chats: ["7"] * len(chats), suite, attempts=1, tasks=2, how=HOW)
    assert [each.name for each in scores.environments] == [ADDITION, f"{GUESSING} guesses=1", f"{ADDITION} reveal=True"]
    assert scores.overall.tasks == 6


def test_equal_seeds_play_equally_whatever_the_slots(tmp_path: Path) -> None:
    for name, slots in (("a", 4), ("b", 64)):
        policy = Skilled(ADDITION, 0.5)
        evaluate(policy, [(ADDITION, {})], attempts=4, slots=slots, seed=3, run=tmp_path / name, how=HOW)
    one, other = (rows(tmp_path / name) for name in ("a", "b"))
    assert [(row.task, row.actions, row.passed) for row in one] == [
        (row.task, row.actions, row.passed) for row in other
    ]


def test_what_is_played_is_recorded(tmp_path: Path) -> None:
    suite = [(ADDITION, {}), (GUESSING, {"guesses": 1})]
    scores = evaluate(adder, suite, attempts=2, tasks=3, run=tmp_path / "run", told={"algorithm": "adder"}, how=HOW)
    written = rows(tmp_path / "run")
    assert [row.phase for row in written] == [ADDITION] * 6 + [f"{GUESSING} guesses=1"] * 6
    assert all(row.passed for row in written)
    assert scores.overall.average.value == 1
    facts = told(tmp_path / "run")
    assert (facts["algorithm"], facts["attempts"], facts["seed"]) == ("adder", 2, 0)


def test_the_suites_are_registered_and_have_their_settings() -> None:
    for env_id, settings in (each for suite in SUITES.values() for each in suite):
        gymnasium.make(env_id, **settings).close()


def test_the_smallest_suite_is_played_by_name() -> None:
    scores = evaluate(lambda chats: [""] * len(chats), "micro", attempts=1, tasks=2, how=HOW)
    assert [each.name for each in scores.environments] == [name_of(*each) for each in SUITES["micro"]]
    assert scores.overall.average.value == 0


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (["one"], "2 chats and must return as many str in a list, not 1 of"),
        ("ab", "not one str"),
        ([1, 2], "not 2 of"),
        (["a", None], "NoneType"),
    ],
)
def test_a_policy_that_returns_something_else_is_told(returned: Any, told: str) -> None:
    with pytest.raises(ActionError, match=told):
        evaluate(lambda chats: returned, [(ADDITION, {})], attempts=2, slots=2)


@pytest.mark.parametrize(
    ("suite", "settings", "told"),
    [
        ("mirco", {}, r"suite='mirco' is not offered; did you mean 'micro'\?"),
        ([], {}, "one environment or more"),
        ([(ADDITION, {}), (ADDITION, {})], {}, "each once"),
        ([(ADDITION, {})], {"attempts": 0}, "attempts=0"),
        ([(ADDITION, {})], {"tasks": 0}, "tasks=0"),
        ([(ADDITION, {})], {"slots": 0}, "slots=0"),
        ([(ADDITION, {})], {"history": "all"}, "history='all'"),
    ],
)
def test_what_is_not_offered_is_refused(suite: Any, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        evaluate(adder, suite, **settings)
