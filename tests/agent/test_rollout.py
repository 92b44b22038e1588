"""Playing episodes."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from letters import LETTERS, TASKS, Say, SayTwice

from sdpo_agent import Policy, collect
from sdpo_agent.policy import Sampled
from sdpo_agent.rollout import decided
from sdpo_envs import GroupEnv

play = functools.partial(collect, max_tokens=4)


class Scripted(Policy):
    """Says what it is told to, one text per slot and turn."""

    def __init__(self, policy: Policy, script: Sequence[Sequence[str]]) -> None:
        super().__init__(policy.model, policy.tokenizer)
        self.script = list(script)

    def sample(self, prompts, max_tokens, temperature=1.0, generator=None):  # type: ignore[no-untyped-def]
        return [Sampled(tuple(self.answer_ids(text)), (0.0,), text, False) for text in self.script.pop(0)]


def test_groups_hold_the_attempts_of_one_task_in_order(policy: Policy, envs: GroupEnv) -> None:
    groups = play(envs, policy, task_ids=[task.id for task in TASKS])
    assert [group.task_id for group in groups] == [task.id for task in TASKS]
    for group, task in zip(groups, TASKS, strict=True):
        assert len(group.attempts) == 4
        for attempt in group.attempts:
            (turn,) = attempt.turns
            assert turn.observation == task.prompt
            assert attempt.reward == float(turn.action == task.answer)
            assert len(turn.token_ids) == len(turn.logprobs)


def test_equal_seeds_play_equal_episodes(policy: Policy, envs: GroupEnv) -> None:
    def once() -> list[object]:
        return play(envs, policy, seeds=range(6), generator=torch.Generator().manual_seed(3))

    assert once() == once()


def test_a_failed_attempt_brings_home_a_peer_of_its_group(policy: Policy) -> None:
    envs = GroupEnv(Say, num_envs=4, group_size=2)
    scripted = Scripted(policy, [["a", "x", "x", "y"]])
    first, second = play(envs, scripted, task_ids=["say/a", "say/b"])
    assert [attempt.feedback.peer for attempt in first.attempts] == [None, "a"]
    assert [attempt.feedback.peer for attempt in second.attempts] == [None, None]


def test_an_attempt_whose_judge_broke_is_kept_apart(policy: Policy) -> None:
    envs = GroupEnv(Say, num_envs=2, group_size=2)
    envs.envs[1].unwrapped.broken = 1
    (group,) = play(envs, Scripted(policy, [["a", "a"]]), task_ids=["say/a"])
    whole, broken = group.attempts
    assert whole.reward == 1.0
    assert whole.error == ""
    assert math.isnan(broken.reward)
    assert broken.verdict is None
    assert broken.feedback is None
    assert "the judge is out" in broken.error
    assert decided(group) == (whole,)


def test_an_episode_of_two_turns_has_two_turns_and_one_verdict(policy: Policy) -> None:
    envs = GroupEnv(SayTwice, num_envs=2, group_size=2)
    (group,) = play(envs, Scripted(policy, [["x", "y"], ["a", "b"]]), task_ids=["say/a"])
    right, wrong = group.attempts
    assert [turn.action for turn in right.turns] == ["x", "a"]
    assert right.turns[1].observation.startswith("And again")
    assert right.reward == 1.0
    assert wrong.reward == 0.0
    assert wrong.feedback is not None
    assert wrong.feedback.peer == "x\na"


def test_without_task_ids_the_environments_choose_by_seed(policy: Policy, envs: GroupEnv) -> None:
    groups = play(envs, policy, seeds=[5] * 6)
    assert len({group.task_id for group in groups}) == 1
    everything = {group.task_id for seed in range(20) for group in play(envs, policy, seeds=[seed] * 6)}
    assert everything == {f"say/{letter}" for letter in LETTERS}


def test_numpy_seeds_are_seeds(policy: Policy, envs: GroupEnv) -> None:
    seeds = np.arange(6)
    assert [group.task_id for group in play(envs, policy, seeds=seeds.tolist())] == [
        group.task_id for group in play(envs, policy, seeds=range(6))
    ]


def test_the_sampler_s_trouble_is_not_hidden(policy: Policy, envs: GroupEnv) -> None:
    with pytest.raises(ValueError, match="positions"):
        play(envs, policy, max_tokens=100_000)
