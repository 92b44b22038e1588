"""TRL's reward function: the environment's own rewards and words, in the real GRPOTrainer."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import addition
import gymnasium
import pytest
import torch
from recited import MICRO, OLD_NAME, SAME, in_turn, micro, recite, weights
from trl import GRPOConfig, GRPOTrainer

from sdpo_envs import FeedbackEnv, InfrastructureError, SettingError, Task, replay
from sdpo_envs.adapters.trl import Reward
from sdpo_envs.record import rows

ONE_ACTION = ["sdpo/MicroTool-v0", "sdpo/SciKnowEval-v0", "sdpo/ToolUse-v0", addition.ADDITION]


def attempts(env_id: str, count: int = 4) -> tuple[list[str], list[str]]:
    """A right action, a wrong one and none at all, at each of the first tasks."""
    env = gymnasium.make(env_id)
    tasks: Sequence[Task] = env.get_wrapper_attr("tasks")[:count]
    right = [env.get_wrapper_attr("oracle")(task) for task in tasks]
    said = [action for own, other in zip(right, right[1:] + right[:1], strict=True) for action in (own, other, "")]
    return [task.id for task in tasks for _ in range(3)], said


def stepped(env_id: str, task_ids: Sequence[str], actions: Sequence[str]) -> list[tuple[float, Any, str]]:
    """What the environment says by itself, one attempt after the other."""
    env = gymnasium.make(env_id)
    said = []
    for task_id, action in zip(task_ids, actions, strict=True):
        env.reset(options={"task_id": task_id})
        observation, reward, *_, info = env.step(action)
        said.append((float(reward), info["verdict"], observation))
    return said


@pytest.mark.parametrize("env_id", ONE_ACTION)
def test_rewards_and_words_are_those_of_the_environments_own_step(env_id: str) -> None:
    task_ids, actions = attempts(env_id)
    reward = Reward(env_id)
    rewards = reward(completions=[[{"role": "assistant", "content": each}] for each in actions], task_id=task_ids)
    expected = stepped(env_id, task_ids, actions)
    assert rewards == [each[0] for each in expected]
    assert {0.0, 1.0} <= set(rewards)
    assert [(each.reward, each.verdict, str(each.feedback)) for each in reward.judged] == expected
    assert rewards == reward(completions=actions, task_id=task_ids), "a text for a text"


@pytest.mark.parametrize("env_id", ONE_ACTION)
def test_the_data_set_asks_every_task_as_the_environment_does(env_id: str) -> None:
    env: Any = gymnasium.make(env_id)
    rows = Reward(env_id).dataset()
    assert rows["task_id"] == list(env.get_wrapper_attr("task_ids"))
    for row in rows.select(range(4)):
        observation, info = env.reset(options={"task_id": row["task_id"]})
        opening = [{"role": "system", "content": info["system"]}] if info["system"] else []
        assert row["prompt"] == [*opening, {"role": "user", "content": observation}]
        if env_id != "sdpo/SciKnowEval-v0":  # a question names the right option among others
            assert not [each for each in env.get_wrapper_attr("secrets")(env.unwrapped.task) if each in json.dumps(row)]


def test_peers_are_the_environments_and_follow_the_seed_and_the_step() -> None:
    task = addition.TASKS[0].id
    right = addition.answer(task)
    said = ["1", right, f" {right}", f"{right} ", "2", f"  {right}"]

    def peers(seed: int = 0, step: int = 0) -> list[str | None]:
        reward = Reward(addition.ADDITION, group_size=6, seed=seed)
        reward(completions=said, task_id=[task] * 6, trainer_state=SimpleNamespace(global_step=step))
        return [each.feedback.peer for each in reward.judged]

    assert peers() == peers()
    assert len({tuple(peers(seed)) for seed in range(6)}) > 1
    assert len({tuple(peers(step=step)) for step in range(6)}) > 1
    for peer, own in zip(peers(), said, strict=True):
        assert peer is not None
        assert peer.strip() == right
        assert peer != own
    alone = Reward(addition.ADDITION)
    alone(completions=said, task_id=[task] * 6)
    assert [each.feedback.peer for each in alone.judged] == [None] * 6, "groups of one have no peers"


def test_what_breaks_is_none_and_never_zero() -> None:
    ids = [task.id for task in addition.TASKS[:4]]
    said = [addition.answer(ids[0]), addition.BREAK_JUDGE, "7", addition.BREAK_WALL]
    reward = Reward(addition.ADDITION)
    assert reward(completions=said, task_id=ids) == [1.0, None, 0.0, None]
    assert [each.error for each in reward.judged] == [
        "",
        "JudgeError: the judge lost its glasses",
        "",
        "SandboxError: the wall has a hole",
    ]
    with pytest.raises(InfrastructureError, match="None of 2 attempts could be judged: JudgeError: the judge lost"):
        reward(completions=[addition.BREAK_JUDGE] * 2, task_id=ids[:2])
    with pytest.raises(ZeroDivisionError):
        reward(completions=[addition.BUG] * 2, task_id=ids[:2])


def test_all_actions_of_a_batch_are_announced_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[list[tuple[str, str]]] = []
    monkeypatch.setattr(
        FeedbackEnv, "expect", lambda self, attempts: heard.append([(task.id, action) for task, action in attempts])
    )
    task_ids, actions = attempts(addition.ADDITION)
    Reward(addition.ADDITION)(completions=actions, task_id=task_ids)
    assert heard == [list(zip(task_ids, actions, strict=True))]


def test_a_group_that_is_none_is_an_error() -> None:
    ids = [task.id for task in addition.TASKS[:2]]
    reward = Reward(addition.ADDITION, group_size=2)
    with pytest.raises(SettingError, match="task_id differs within a group"):
        reward(completions=["1", "2"], task_id=ids)
    with pytest.raises(SettingError, match=r"3 completions are no whole groups of 2; make per_device_train_batch_size"):
        reward(completions=["1"] * 3, task_id=[ids[0]] * 3)
    assert len(reward(completions=["1"] * 6, task_id=[*[ids[0]] * 4, *[ids[1]] * 2])) == 6, "one task twice: two groups"


def test_mistakes_of_the_caller_name_the_remedy() -> None:
    with pytest.raises(SettingError, match=r"use dataset.*remove_unused_columns"):
        Reward(addition.ADDITION)(completions=["1"])
    with pytest.raises(SettingError, match="takes several actions, and has no reward after one; use Episodes"):
        Reward(addition.GUESSING)(completions=["1"], task_id=[addition.TASKS[0].id])
    with pytest.raises(SettingError, match="CartPole-v1 is a CartPoleEnv and gives no feedback"):
        Reward("CartPole-v1")
    with pytest.raises(SettingError, match="group_size=0"):
        Reward(addition.ADDITION, group_size=0)
    with pytest.raises(TypeError, match="colour"):
        Reward(addition.ADDITION, colour="red")


def test_attempts_are_recorded_as_those_of_any_loop(tmp_path: Path) -> None:
    """What was judged in batches of several sizes is one recording, and judged again it is the same."""
    reward = Reward(addition.ADDITION, group_size=3, run=tmp_path / "run")
    task_ids, actions = attempts(addition.ADDITION)
    given = [*reward(completions=actions, task_id=task_ids), *reward(completions=actions[:3], task_id=task_ids[:3])]
    reward(completions=actions[:3], task_id=task_ids[:3], completion_ids=[[1], [1, 2], []])
    *written, first, second, third = rows(tmp_path / "run")
    assert [first.tokens, second.tokens, third.tokens, written[0].tokens] == [1, 2, 0, None]
    assert [(row.task, row.reward) for row in written] == list(zip(task_ids + task_ids[:3], given, strict=True))
    assert not list(replay(tmp_path / "run"))


def test_a_chat_without_words_is_an_empty_action() -> None:
    call = [{"role": "assistant", "content": None, "tool_calls": []}]
    reward = Reward(addition.ADDITION)
    assert reward(completions=[call], task_id=[addition.TASKS[0].id]) == [0.0]


@pytest.mark.filterwarnings(OLD_NAME)
def test_a_real_trainer_takes_two_steps_on_the_environments_rewards(tmp_path: Path) -> None:
    reward = Reward("sdpo/MicroTool-v0", group_size=4)
    seen: list[tuple[str, str]] = []
    given: list[float] = []

    def spy(completions: Any, task_id: Any, **_: Any) -> list[None]:
        """See what the reward function saw just before."""
        seen.extend(zip(task_id, (each[0]["content"] for each in completions), strict=True))
        given.extend(each.reward for each in reward.judged)
        return [None] * len(completions)

    settings: Any = {**SAME, "per_device_train_batch_size": 16, "num_generations": 4, "max_completion_length": 40}
    args = GRPOConfig(str(tmp_path), **settings)
    trainer = GRPOTrainer(MICRO, [reward, spy], args, reward.dataset())
    before = weights(trainer.model)
    trainer.train()
    assert not torch.equal(weights(trainer.model), before)
    assert len(seen) == 32
    expected = stepped("sdpo/MicroTool-v0", *zip(*seen, strict=True))
    assert given == [each[0] for each in expected]
    assert set(given) == {0.0, 1.0}
    logged: Any = trainer._logs  # of the last step
    assert list(logged["rewards"]["sdpo/MicroTool-v0"]) == given[16:]
    assert list(logged["extra"]["feedback"]) == [each[2] for each in expected[16:]]
    assert list(logged["extra"]["task_id"]) == [each[0] for each in seen[16:]]
    first, second, _ = trainer.state.log_history
    assert (first["env/passed"] + second["env/passed"]) * 16 == sum(given)
    assert first["env/undecided"] == 0.0
    assert sum(first[name] for name in first if name.startswith("env/")) == pytest.approx(1.0)


@pytest.mark.filterwarnings(OLD_NAME)
def test_a_real_trainer_learns_nothing_from_what_broke(tmp_path: Path) -> None:
    """Two of four attempts break: the others are compared with one another alone, and what broke has no advantage."""
    model, tokenizer = micro()
    task = addition.TASKS[0]
    says = [addition.answer(task.id), addition.BREAK_JUDGE, "7", addition.BREAK_WALL]
    recite(model, tokenizer, in_turn(says))
    reward = Reward(addition.ADDITION, group_size=4)
    rows = reward.dataset().select([0])
    settings: Any = {**SAME, "max_steps": 1, "per_device_train_batch_size": 4, "num_generations": 4}
    trainer = GRPOTrainer(model, reward, GRPOConfig(str(tmp_path), **settings), rows, processing_class=tokenizer)
    trainer.train()
    told = trainer.state.log_history[0]
    assert told["reward"] == 0.5
    assert told["env/undecided"] == 0.5
    advantages = list(trainer._logs["advantages"])
    assert advantages == pytest.approx([0.7071, 0.0, -0.7071, 0.0], abs=1e-3)
    assert list(trainer._logs["extra"]["error"])[1] == "JudgeError: the judge lost its glasses"
