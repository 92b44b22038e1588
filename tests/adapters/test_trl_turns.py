"""TRL's environment factory: tools that act in the environment, in the real GRPOTrainer with a real chat template."""

import inspect
import itertools
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import addition
import gymnasium
import pytest
import torch
from recited import OLD_NAME, SAME, recite, talker, weights
from transformers.utils import get_json_schema
from trl import GRPOConfig, GRPOTrainer

from sdpo_envs import InfrastructureError, SandboxError, SettingError
from sdpo_envs.adapters.trl_turns import Episodes

TOOLS = {
    "sdpo/ALFWorld-v0": {"act": "command"},
    "sdpo/MicroHouse-v0": {"go": "name", "open": "name", "take": "name"},
    "sdpo/SearchQA-v0": {"answer": "text", "search": "query"},
    "sdpo/WebShop-v0": {"click": "button", "search": "query"},
    "sdpo/ToolUse-v0": {"act": "action"},
    addition.GUESSING: {"act": "action"},
}
"""By environment: each tool and its argument. The last two offer none of their own."""
TOOL_CALL = '<tool_call>\n{{"name": "{}", "arguments": {{"{}": {}}}}}\n</tool_call>'


@pytest.fixture(params=list(TOOLS))
def env_id(request: pytest.FixtureRequest) -> str:
    if request.param == "sdpo/ALFWorld-v0":
        pytest.importorskip("alfworld", reason="the extra alfworld is not installed")
    chosen: str = request.param
    return chosen


def called(env_id: str, action: str) -> tuple[str, str]:
    """The tool that writes this action, and what it is given."""
    inside = re.search(r"<action>(.*)</action>|<(?:search|answer)>(.*)</", action, re.DOTALL)
    words = next(filter(None, inside.groups())) if inside else action
    if env_id == "sdpo/SearchQA-v0":
        return ("search" if "<search>" in action else "answer"), words
    if env_id == "sdpo/WebShop-v0":
        return words.partition("[")[0], words.partition("[")[2].removesuffix("]")
    if env_id == "sdpo/MicroHouse-v0":
        return words.partition(" ")[0], words.partition(" ")[2]
    return "act", words


def test_the_tools_are_typed_and_told_of_and_nothing_else_is_public(env_id: str) -> None:
    factory = Episodes(env_id)
    episode = factory()
    public = [name for name, _ in inspect.getmembers(type(episode), inspect.isfunction) if not name.startswith("_")]
    assert sorted(public) == sorted([*TOOLS[env_id], "get_reward", "reset"])
    for name, argument in TOOLS[env_id].items():
        told = get_json_schema(getattr(episode, name))["function"]
        assert told["name"] == name
        assert told["description"]
        assert list(told["parameters"]["properties"]) == told["parameters"]["required"] == [argument]
        assert told["parameters"]["properties"][argument]["type"] == "string"
    factory.close()


def test_observations_rewards_and_words_are_those_of_the_environments_own_step(env_id: str) -> None:
    factory = Episodes(env_id)
    rows = factory.dataset()
    env: Any = gymnasium.make(env_id)
    solved = 0
    for row in rows.select(range(3)):
        episode: Any = factory()
        observation, info = env.reset(seed=row["seed"], options={"task_id": row["task_id"]})
        assert row["prompt"][-1]["content"] == ""
        assert [each["content"] for each in row["prompt"][:-1]] == ([info["system"]] if info["system"] else [])
        assert episode.reset(**row).startswith(f"{observation}\n\nAct by calling a tool")
        assert episode.task_id == row["task_id"]
        way = env.get_wrapper_attr("walkthrough")(env.get_wrapper_attr("task")) or []
        ended, reward = False, 0.0
        for action in way:
            name, words = called(env_id, action)
            shown = getattr(episode, name)(**{TOOLS[env_id][name]: words})
            observation, reward, ended, _, info = env.step(action)
            assert shown == (f"{observation}\n\nThe episode is over.".lstrip() if ended else observation)
            assert episode.judged.verdict == info["verdict"]
            assert episode.judged.feedback == info["feedback"]
        assert episode.get_reward() == reward
        solved += ended
    assert solved
    factory.close()


def test_what_went_wrong_is_told_at_the_end_and_nothing_can_be_done_after_it() -> None:
    episode: Any = Episodes(addition.GUESSING)()
    episode.reset(task_id=addition.TASKS[0].id)
    assert episode.act("1") == "This is too small. Guesses so far: 1."
    assert episode.get_reward() == 0.0, "an episode that is left before its end earns nothing"
    episode.act("2")
    assert episode.act("99999") == "This is too large.\nYou wrote: 99999\n\nThe episode is over."
    assert episode.act(addition.answer(episode.task_id)) == "The episode is over."
    assert episode.get_reward() == 0.0
    episode.reset(task_id=addition.TASKS[1].id)
    assert episode.act(addition.answer(episode.task_id)) == "The episode is over."
    assert episode.get_reward() == 1.0


def test_episodes_are_apart_and_share_what_they_are_made_of() -> None:
    factory = Episodes(addition.GUESSING)
    one, other = factory(), factory()
    one.reset(task_id=addition.TASKS[0].id)
    other.reset(task_id=addition.TASKS[1].id)
    one._act("1")
    assert other._act("1") == "This is too small. Guesses so far: 1."
    assert one.task_id != other.task_id
    assert one._env.get_wrapper_attr("tasks") is other._env.get_wrapper_attr("tasks")


def test_rollouts_of_a_row_start_alike_and_one_without_a_row_is_an_error() -> None:
    factory = Episodes(addition.GUESSING)
    assert factory.dataset(3)["seed"] == factory.dataset(3)["seed"] != factory.dataset(4)["seed"]
    assert len(set(factory.dataset()["seed"])) == len(addition.TASKS)
    row = factory.dataset()[5]
    assert factory().reset(**row) == factory().reset(**row)
    by_seed = {factory().reset(seed=7) for _ in range(4)}
    assert len(by_seed) == 1
    with pytest.raises(SettingError, match=r"a task_id or a seed, or its rollouts start apart; use Episodes.dataset"):
        factory().reset(prompt=[{"role": "user", "content": ""}])


def test_what_breaks_is_none_and_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    factory = Episodes(addition.GUESSING)
    episode: Any = factory()
    other = factory()
    episode.reset(task_id=addition.TASKS[0].id)
    episode.act("1")
    assert episode.act(addition.BREAK_WALL) == "The environment broke. This attempt does not count."
    assert episode.get_reward() is None
    assert episode.judged.error == "SandboxError: the wall has a hole"
    assert episode.act(addition.answer(episode.task_id)) == "The environment broke. This attempt does not count."
    assert episode.get_reward() is None, "a success after that does not count either"

    def broken(*_: Any) -> None:
        raise SandboxError("no house to open")

    with monkeypatch.context() as patch:
        patch.setattr(addition.Guessing, "begin", broken)
        assert episode.reset(task_id=addition.TASKS[0].id) == "The environment broke. This attempt does not count."
        assert episode.get_reward() is None
        del other  # as where a batch is one episode
        with pytest.raises(InfrastructureError, match="Each of 1 episodes broke: SandboxError: no house to open"):
            episode.get_reward()
    episode.reset(task_id=addition.TASKS[0].id)
    assert episode.get_reward() == 0.0, "the next episode counts again"


def test_a_number_for_a_text_is_read_as_it_is_written() -> None:
    episode: Any = Episodes(addition.GUESSING)()
    episode.reset(task_id=addition.TASKS[0].id)
    assert episode.act(1) == "This is too small. Guesses so far: 1."


def test_a_tool_of_a_name_that_is_taken_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def reset(name: str) -> str:
        return name

    monkeypatch.setattr(addition.Guessing, "tools", lambda self: (reset,))
    with pytest.raises(SettingError, match="a tool 'reset', a name that an episode needs for itself; rename it"):
        Episodes(addition.GUESSING)


def test_an_environment_without_feedback_is_an_error() -> None:
    with pytest.raises(SettingError, match="CartPole-v1 is a CartPoleEnv and gives no feedback"):
        Episodes("CartPole-v1")


def trained(tmp_path: Path, factory: Episodes, plans: Sequence[Callable[[str, int], str | None]]) -> Any:
    """Train for two steps, by Qwen3's chat template, on groups whose rollouts each follow a plan.

    A plan makes what is called next of what is read and of how often something was called, None for nothing.
    """
    model, tokenizer = talker()
    numbers = itertools.count()

    def says(read: str) -> str:
        begun = re.search(r"I follow plan (\d)", read)
        number = int(begun[1]) if begun else next(numbers) % len(plans)
        call = plans[number](read, read.count("<tool_response>"))
        return f"{'' if begun else f'I follow plan {number}.'}\n{call or 'That is all.'}"

    recite(model, tokenizer, says)
    size: Any = {
        "per_device_train_batch_size": len(plans),
        "num_generations": len(plans),
        "max_completion_length": 2000,
    }
    args = GRPOConfig(str(tmp_path), **SAME, **size)
    rows = factory.dataset()
    trainer = GRPOTrainer(model, None, args, rows, processing_class=tokenizer, environment_factory=factory)
    before = weights(model)
    trainer.train()
    assert not torch.equal(weights(model), before)
    return trainer


@pytest.mark.filterwarnings(OLD_NAME)
def test_a_real_trainer_takes_two_steps_of_tool_calls(tmp_path: Path) -> None:
    env: Any = gymnasium.make("sdpo/MicroHouse-v0", prompt="new")
    tasks = {f"{task.prompt} in": task for task in env.get_wrapper_attr("tasks")}

    def fetches(read: str, done: int) -> str | None:
        way = env.get_wrapper_attr("walkthrough")(next(task for asked, task in tasks.items() if asked in read))
        if done >= len(way):
            return None
        name, words = called("sdpo/MicroHouse-v0", way[done])
        return TOOL_CALL.format(name, TOOLS["sdpo/MicroHouse-v0"][name], json.dumps(words))

    def gives_up(read: str, done: int) -> str | None:
        return fetches(read, done) if done < 2 else None

    def slips(read: str, done: int) -> str | None:
        return fetches(read, done - 1) if done else TOOL_CALL.format("go", "nowhere", '"shelf"')

    trainer = trained(tmp_path, Episodes("sdpo/MicroHouse-v0", prompt="new"), [fetches, gives_up, slips, fetches])
    for told in trainer.state.log_history[:2]:
        assert told["rewards/MicroHouse/mean"] == told["reward"] == 0.75
        assert told["tools/failure_frequency"] > 0, "a call of another form is a failure of the tool, and can be mended"
    logged: Any = trainer._logs
    assert list(logged["rewards"]["MicroHouse"]) == [1.0, 0.0, 1.0, 1.0]
    for prompt, chat, reward in zip(
        logged["prompt"], logged["completion"], logged["rewards"]["MicroHouse"], strict=True
    ):
        task = next(task for asked, task in tasks.items() if asked in prompt[-1]["content"])
        observation, _ = env.reset(options={"task_id": task.id})
        assert prompt[-1]["content"].startswith(observation)
        earned = 0.0
        for said, answered in itertools.pairwise(chat):
            if said["role"] == "assistant" and "nowhere" not in str(said):
                function = said["tool_calls"][0]["function"]
                observation, earned, ended, *_ = env.step(
                    f"{function['name']} {next(iter(function['arguments'].values()))}"
                )
                assert answered["role"] == "tool"
                assert answered["content"] == (
                    f"{observation}\n\nThe episode is over.".lstrip() if ended else observation
                )
        assert earned == reward


@pytest.mark.filterwarnings(OLD_NAME)
def test_a_real_trainer_learns_nothing_from_an_episode_that_broke(tmp_path: Path) -> None:
    def knows(read: str, done: int) -> str | None:
        task = next(task for task in addition.TASKS if task.prompt in read)
        return None if done else TOOL_CALL.format("act", "action", json.dumps(str(task.answer)))

    def breaks(read: str, done: int) -> str | None:
        return None if done > 1 else TOOL_CALL.format("act", "action", json.dumps(["1", addition.BREAK_WALL][done]))

    def guesses(read: str, done: int) -> str | None:
        return None if done > 2 else TOOL_CALL.format("act", "action", '"1"')

    trainer = trained(tmp_path, Episodes(addition.GUESSING), [knows, breaks, guesses])
    assert [told["reward"] for told in trainer.state.log_history[:2]] == [0.5, 0.5]
    logged: Any = trainer._logs
    advantages = list(logged["advantages"])
    assert advantages == pytest.approx([0.7071, 0.0, -0.7071], abs=1e-3)
    assert [each.judged.error for each in trainer.environments] == ["", "SandboxError: the wall has a hole", ""]


@pytest.mark.filterwarnings(OLD_NAME)
@pytest.mark.parametrize(
    ("action", "error"), [(addition.BREAK_WALL, InfrastructureError), (addition.BUG, ZeroDivisionError)]
)
def test_a_real_trainer_does_not_go_on_where_all_broke_or_the_environment_has_a_bug(
    tmp_path: Path, action: str, error: type[Exception]
) -> None:
    def breaks(read: str, done: int) -> str | None:
        return None if done else TOOL_CALL.format("act", "action", json.dumps(action))

    with pytest.raises(error):
        trained(tmp_path, Episodes(addition.GUESSING), [breaks] * 2)


@pytest.mark.filterwarnings(OLD_NAME)
def test_without_a_data_set_a_real_trainer_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="rollouts start apart"):
        trained(tmp_path, NoRows(addition.GUESSING), [lambda read, done: None] * 2)


class NoRows(Episodes):
    def dataset(self, seed: int = 0) -> None:
        """TRL then lets each rollout begin on its own."""
