"""Rows, reward function and agent loop in verl itself: its data set, its reward managers, its workers.

Only the language model is not real, but scripted (scripted.py).
"""

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import addition
import gymnasium
import numpy as np
import pytest

from sdpo_envs import ContractError, FeedbackEnv, InfrastructureError, JudgeError, SandboxError, Task
from sdpo_envs.adapters import verl as ours
from sdpo_envs.env import Step

if importlib.util.find_spec("verl") is None:
    pytest.skip("verl lives in a Python of its own; run `make verl`", allow_module_level=True)

with warnings.catch_warnings():  # see scripted.py
    warnings.simplefilter("ignore")
    import datasets
    import ray
    import scripted
    import torch
    import transfer_queue
    from hydra.utils import instantiate
    from omegaconf import DictConfig
    from transformers import PreTrainedTokenizerFast
    from verl import DataProto
    from verl.experimental.agent_loop import AgentLoopOutput, AgentLoopWorker
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap, _agent_loop_registry
    from verl.experimental.reward_loop.reward_loop import RewardLoopManager
    from verl.experimental.reward_loop.reward_manager.registry import REWARD_MANAGER
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage
    from verl.trainer.ppo.metric_utils import process_validation_metrics
    from verl.trainer.ppo.reward import get_custom_reward_fn, load_reward_manager
    from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ
    from verl.utils import tensordict_utils
    from verl.utils.config import omega_conf_to_dataclass, validate_config
    from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn
    from verl.workers.reward_manager import get_reward_manager_cls

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

HOUSE = "sdpo/MicroHouse-v0"
REWARD = (
    "reward.custom_reward_function.path=pkg://sdpo_envs.adapters.verl",
    "reward.custom_reward_function.name=compute_score",
)
LOOPS = f"actor_rollout_ref.rollout.agent.agent_loop_config_path={ours.AGENT_LOOPS}"


@pytest.fixture(autouse=True)
def data_sets_are_kept_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    return scripted.model(folder)


def dataset(tokenizer: PreTrainedTokenizerFast, config: DictConfig, *paths: Path) -> RLHFDataset:
    return RLHFDataset([str(path) for path in paths], tokenizer, config.data)


def batch(data: RLHFDataset, *numbers: int) -> DataProto:
    """What verl's trainer makes of rows of its data set."""
    return DataProto.from_single_dict(collate_fn([data[number] for number in numbers]))


def answered(data: RLHFDataset, tokenizer: PreTrainedTokenizerFast, actions: Sequence[str]) -> DataProto:
    """Return the first rows of `data` with their answers, as a reward manager is handed them."""
    rows = batch(data, *range(len(actions)))
    said = [[*tokenizer.encode(action, add_special_tokens=False), tokenizer.eos_token_id] for action in actions]
    longest = max(map(len, said))
    pad = tokenizer.pad_token_id
    prompts = torch.full((len(said), 4), tokenizer.encode("?")[0])
    responses = torch.tensor([each + [pad] * (longest - len(each)) for each in said])
    mask = torch.cat([torch.ones_like(prompts), (responses != pad).long()], dim=1)
    return rows.union(DataProto.from_dict({"prompts": prompts, "responses": responses, "attention_mask": mask}))


def own_step(env_id: str, task_id: str, action: str) -> tuple[float, str, str]:
    env: gymnasium.Env[str, str] = gymnasium.make(env_id)
    env.reset(options={"task_id": task_id})
    _, reward, _, _, info = env.step(action)
    return float(reward), info["feedback"].text, info["verdict"].outcome.value


def test_verl_reads_files_of_two_environments_as_one(
    tmp_path: Path, folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    paths = [tmp_path / "tools.parquet", tmp_path / "house.parquet"]
    sizes = [
        ours.export("sdpo/ToolUse-v0", paths[0])[0],
        ours.export(HOUSE, paths[1], settings={"prompt": "new"})[0],
    ]
    data = dataset(tokenizer, scripted.config(folder), *paths)
    assert len(data) == sum(sizes)
    expected = [*ours.rows("sdpo/ToolUse-v0"), *ours.rows(HOUSE, settings={"prompt": "new"})]
    for number in (0, sizes[0] - 1, sizes[0], sum(sizes) - 1):
        read = data[number]
        assert {name: read[name] for name in expected[number]} == expected[number]
        assert read["raw_prompt"] == expected[number]["prompt"]
        assert read["index"] == expected[number]["extra_info"]["index"]


@pytest.mark.parametrize("name", ["naive", "dapo", "gdpo"])
@pytest.mark.parametrize("env_id", ["sdpo/ToolUse-v0", "sdpo/SciKnowEval-v0", addition.ADDITION])
def test_a_reward_manager_tells_what_the_environment_says(
    name: str, env_id: str, tmp_path: Path, folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    path = tmp_path / "train.parquet"
    ours.export(env_id, path)
    config = scripted.config(folder, *REWARD, f"reward.reward_manager.name={name}")
    env = gymnasium.make(env_id).unwrapped
    assert isinstance(env, FeedbackEnv)
    actions = [env.oracle(env.tasks[0]) or "", env.oracle(env.tasks[0]) or "", "I do not know."]
    rows = answered(dataset(tokenizer, config, path), tokenizer, actions)

    async def judge() -> list[dict[str, Any]]:
        manager = load_reward_manager(config, tokenizer)
        return [await manager.run_single(rows[number : number + 1]) for number in range(len(actions))]

    for task, action, told in zip(env.tasks, actions, asyncio.run(judge()), strict=False):
        reward, feedback, outcome = own_step(env_id, task.id, action)
        extra = told["reward_extra_info"]
        assert told["reward_score"] == extra["score"] == reward
        assert (extra["feedback"], extra["outcome"]) == (feedback, outcome)
    assert told["reward_extra_info"]["feedback"]


@pytest.mark.parametrize("name", ["naive", "dapo", "batch"])
def test_an_older_reward_manager_tells_what_the_environment_says(
    name: str, tmp_path: Path, folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    path = tmp_path / "train.parquet"
    ours.export(addition.ADDITION, path)
    function = ours.compute_scores if name == "batch" else ours.compute_score
    manager = get_reward_manager_cls(name)(tokenizer, num_examine=0, compute_score=function)
    actions = [addition.answer(addition.TASKS[0].id), "12", "words"]
    told = manager(answered(dataset(tokenizer, scripted.config(folder), path), tokenizer, actions), return_dict=True)
    assert told["reward_tensor"].sum(dim=1).tolist() == [1.0, 0.0, 0.0]
    expected = [
        own_step(addition.ADDITION, task.id, action) for task, action in zip(addition.TASKS, actions, strict=False)
    ]
    assert told["reward_extra_info"]["feedback"] == [feedback for _, feedback, _ in expected]
    assert {len(values) for values in told["reward_extra_info"].values()} == {3}
    assert {np.array(values).dtype.kind for values in told["reward_extra_info"].values()} == {"f", "U"}


@pytest.mark.parametrize("name", ["naive", "dapo", "gdpo"])
@pytest.mark.parametrize(("action", "error"), [(addition.BREAK_JUDGE, JudgeError), (addition.BREAK_WALL, SandboxError)])
def test_a_reward_manager_lets_a_broken_judge_through(
    name: str,
    action: str,
    error: type[Exception],
    tmp_path: Path,
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    ours.export(addition.ADDITION, tmp_path / "train.parquet")
    config = scripted.config(folder, *REWARD, f"reward.reward_manager.name={name}")
    rows = answered(dataset(tokenizer, config, tmp_path / "train.parquet"), tokenizer, [action])

    async def judge() -> None:
        await load_reward_manager(config, tokenizer).run_single(rows)

    with pytest.raises(error):
        asyncio.run(judge())


def test_the_manager_that_makes_a_broken_judge_a_zero_is_the_one_that_the_docs_warn_of(
    tmp_path: Path, folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    ours.export(addition.ADDITION, tmp_path / "train.parquet")
    config = scripted.config(folder, *REWARD, "reward.reward_manager.name=rate_limited")
    rows = answered(dataset(tokenizer, config, tmp_path / "train.parquet"), tokenizer, [addition.BREAK_JUDGE])

    async def judge() -> Any:
        return await load_reward_manager(config, tokenizer).run_single(rows)

    assert asyncio.run(judge())["reward_score"] == 0.0
    page = (Path(__file__).parents[2] / "docs" / "verl.md").read_text(encoding="utf-8")
    assert "`rate_limited`" in page


def test_the_managers_of_verl_are_those_that_the_docs_know(folder: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "verl.md").read_text(encoding="utf-8")
    assert set(REWARD_MANAGER) == {"dapo", "gdpo", "naive", "rate_limited", "remote"}
    assert [name for name in REWARD_MANAGER if f"`{name}`" not in page] == []


def test_a_broken_attempt_counts_in_no_validation_metric() -> None:
    """verl fills in zeroes for attempts that raised, where, and only where, a reward function tells ``acc``."""
    right = ours.scored(1.0, gymnasium_info("1023-2004", "3027"))
    told = {name: [value] for name, value in right.items()}
    sources, uids, expected = ["e"], ["u"], {("e", "u"): 2}
    metrics = process_validation_metrics(sources, uids, {**told, "reward": [1.0]}, expected_acc_counts=expected)
    assert metrics["e"]["reward"] == {"mean@1": 1.0}
    assert metrics["e"]["passed"] == {"mean@1": 1.0}
    assert set(metrics["e"]) == {"reward", "score", "passed", "reveals_answer"}
    zeroes = process_validation_metrics(sources, uids, {"acc": [1.0]}, expected_acc_counts=expected)
    assert zeroes["e"]["acc"]["mean@2"] == 0.5


def test_the_last_attempt_that_is_left_of_a_group_has_its_reward_for_advantage() -> None:
    mask = torch.ones(3, 1)
    groups = np.array(["whole", "whole", "alone"], dtype=object)
    advantages, _ = compute_grpo_outcome_advantage(torch.tensor([[0.0], [1.0], [1.0]]), mask, groups)
    assert advantages[:, 0].tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5, 1.0], abs=1e-4)


def gymnasium_info(name: str, action: str) -> dict[str, Any]:
    env = gymnasium.make(addition.ADDITION)
    env.reset(options={"task_id": f"add/{name}"})
    return env.step(action)[4]


def written(row: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    return row["data_source"], row["reward_model"]["ground_truth"], json.loads(row["extra_info"]["settings"])


def own_episode(source: tuple[str, str, dict[str, Any]], actions: Sequence[str]) -> tuple[list[str], list[float], Any]:
    """Play `actions` and then empty ones without verl; return what was observed, the rewards, and the last info."""
    env_id, task_id, settings = source
    env: gymnasium.Env[str, str] = gymnasium.make(env_id, **settings)
    observation, info = env.reset(options={"task_id": task_id})
    observations, rewards, ended = [observation], [], False
    while not ended:
        action = actions[len(rewards)] if len(rewards) < len(actions) else ""
        observation, reward, terminated, truncated, info = env.step(action)
        ended = terminated or truncated
        observations.append(observation)
        rewards.append(float(reward))
    return observations, rewards, info


def played(
    config: DictConfig,
    tokenizer: PreTrainedTokenizerFast,
    rows: DataProto,
    scripts: Sequence[Sequence[str]],
    logprobs: bool = True,
) -> tuple[DataProto, scripted.Scripted]:
    """Have a worker of verl play each row by the script beside it."""
    asked = [row[-1]["content"] for row in rows.non_tensor_batch["raw_prompt"]]
    named = {question: [script] for question, script in zip(asked, scripts, strict=True)}
    server = scripted.Scripted(tokenizer, named, logprobs)

    async def play() -> DataProto:
        return await AgentLoopWorker(config, server).generate_sequences(rows)

    return asyncio.run(play()), server


RIGHT = None  # the walkthrough
WRONG = ("go shed", "take moon", "open chest", "look", "", "again", "and", "again", "and", "again", "and again")


@pytest.mark.parametrize(
    ("prompt", "script", "logprobs"),
    [("new", RIGHT, True), ("new", WRONG, False), ("complete", RIGHT, False), ("complete", WRONG, True)],
)
def test_an_episode_in_verl_is_the_environment_s_own(
    script: tuple[str, ...] | None,
    prompt: str,
    logprobs: bool,
    tmp_path: Path,
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    ours.export(HOUSE, tmp_path / "house.parquet", settings={"prompt": prompt}, agent=ours.CONVERSATION)
    config = scripted.config(folder, LOOPS)
    data = dataset(tokenizer, config, tmp_path / "house.parquet")
    env = gymnasium.make(HOUSE).unwrapped
    assert isinstance(env, FeedbackEnv)
    numbers = [0, 5, 9]
    scripts = [script or env.walkthrough(env.tasks[number]) or () for number in numbers]
    out, server = played(config, tokenizer, batch(data, *numbers), scripts, logprobs)

    asked = 0
    for place, (number, actions) in enumerate(zip(numbers, scripts, strict=True)):
        observations, rewards, info = own_episode(written(data[number]), actions)
        actions = actions[: len(rewards)]
        asked += len(actions)
        talk = list(data[number]["raw_prompt"])
        for action, heard in zip(actions, observations[1:], strict=True):
            talk += [{"role": "assistant", "content": action}, {"role": "user", "content": heard}]
        text = tokenizer.apply_chat_template(talk[:-1], tokenize=False).removesuffix("\n")
        present = out.batch["attention_mask"][place].bool()
        assert tokenizer.decode(out.batch["input_ids"][place][present]) == text

        mask = out.batch["response_mask"][place].bool()
        wrote = tokenizer.decode(out.batch["responses"][place][mask])
        assert wrote == "".join(f"{action}<|im_end|>" for action in actions)
        assert ("rollout_log_probs" in out.batch) == logprobs
        if logprobs:
            expected = [-(turn + 1.0) for turn, action in enumerate(actions) for _ in [*action, "end"]]
            assert out.batch["rollout_log_probs"][place][mask].tolist() == expected
            assert not out.batch["rollout_log_probs"][place][~mask].any()

        scores = out.batch["rm_scores"][place]
        last = int(out.batch["attention_mask"][place][-len(scores) :].sum()) - 1
        assert scores[last] == scores.sum() == sum(rewards)
        told = {name: out.non_tensor_batch[name][place] for name in ours.scored(0.0, info)}
        assert told == ours.scored(sum(rewards), info)
        assert told["passed"] == (script is None)
        assert bool(told["feedback"]) == (script is not None)
        assert out.non_tensor_batch["turn_scores"][place] == rewards
        assert out.non_tensor_batch["__num_turns__"][place] == 2 * len(actions)
        assert out.non_tensor_batch["min_global_steps"][place] == scripted.TOLD_STEPS
        assert out.non_tensor_batch["max_global_steps"][place] == scripted.TOLD_STEPS + len(actions) - 1
    assert out.meta_info["reward_extra_keys"] == list(ours.scored(0.0, info))
    assert len(server.read) == asked


@pytest.mark.parametrize("most", [None, 2])
def test_an_observation_alone_makes_a_sample_of_each_action(
    most: int | None, tmp_path: Path, folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    ours.export(HOUSE, tmp_path / "house.parquet")
    limit = f"actor_rollout_ref.rollout.multi_turn.max_assistant_turns={'null' if most is None else most}"
    config = scripted.config(folder, LOOPS, limit)
    row = dataset(tokenizer, config, tmp_path / "house.parquet")[4]
    row["raw_prompt"] = [{"role": "system", "content": "Be brief."}, *row["raw_prompt"]]
    actions = ["go shed", "look around", "open the chest", *["wait"] * 9]
    server = scripted.Scripted(tokenizer, {row["raw_prompt"][-1]["content"]: [actions]})

    async def play() -> list[AgentLoopOutput]:
        worker = AgentLoopWorker(config, server)  # which reads the list of loops
        loop = instantiate(
            _agent_loop_registry[row["agent_name"]],
            trainer_config=DictConfigWrap(config),
            server_manager=server,
            tokenizer=tokenizer,
            processor=None,
            hf_model_type=worker.hf_model_type,
            dataset_cls=RLHFDataset,
            data_config=DictConfigWrap(config.data),
        )
        outputs: list[AgentLoopOutput] = await loop.run({}, **row)
        return outputs

    outputs = asyncio.run(play())
    observations, rewards, info = own_episode(written(row), actions[:most])
    assert len(outputs) == len(server.read) == (most or len(rewards))
    for output, observation, action in zip(outputs, observations, actions, strict=False):
        talk = [row["raw_prompt"][0], {"role": "user", "content": observation}]
        prompt = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
        assert tokenizer.decode(output.prompt_ids) == prompt
        assert tokenizer.decode(output.response_ids) == f"{action}<|im_end|>"
        assert output.response_mask == [1] * len(output.response_ids)
        assert len(output.response_logprobs or []) == len(output.response_ids)
        assert output.reward_score == sum(rewards)
        assert output.extra_fields["turn_scores"] == rewards
        assert output.extra_fields["reward_extra_info"] == ours.scored(sum(rewards), info)


@pytest.mark.parametrize("room", [1, 7, 40, 100, 173, 240, 260])
def test_when_there_is_no_room_the_environment_ends_the_episode_itself(
    room: int, tmp_path: Path, folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    ours.export(HOUSE, tmp_path / "house.parquet", settings={"prompt": "new"})
    config = scripted.config(folder, LOOPS, f"data.max_response_length={room}")
    data = dataset(tokenizer, config, tmp_path / "house.parquet")
    out, server = played(config, tokenizer, batch(data, 0), [["go shed", "look around", "open it"] * 5])
    mask = out.batch["response_mask"][0].bool()
    tokens = out.batch["responses"][0]
    assert out.batch["responses"].shape == (1, room)
    assert [asked for _, asked in server.read] == sorted({asked for _, asked in server.read}, reverse=True)

    text = tokenizer.decode(tokens[out.batch["attention_mask"][0][-room:].bool()])
    actions = [part.partition("<|im_end|>")[0] for part in (scripted.ASSISTANT + text).split(scripted.ASSISTANT)[1:]]
    assert len(actions) == len(server.read) == out.non_tensor_batch["__num_turns__"][0] / 2
    assert tokenizer.decode(tokens[mask], skip_special_tokens=True) == "".join(actions)
    _, rewards, info = own_episode(written(data[0]), actions)
    assert {name: out.non_tensor_batch[name][0] for name in ours.scored(0.0, info)} == ours.scored(sum(rewards), info)
    assert out.non_tensor_batch["feedback"][0]


def test_verl_s_own_limit_of_turns_is_kept(tmp_path: Path, folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    ours.export(HOUSE, tmp_path / "house.parquet", agent=ours.CONVERSATION)
    config = scripted.config(folder, LOOPS, "actor_rollout_ref.rollout.multi_turn.max_assistant_turns=2")
    out, server = played(
        config, tokenizer, batch(dataset(tokenizer, config, tmp_path / "house.parquet"), 3), [["go shed"] * 9]
    )
    assert len(server.read) == 2
    assert len(out.non_tensor_batch["turn_scores"][0]) > 2
    assert tokenizer.decode(out.batch["responses"][0][out.batch["attention_mask"][0][-8192:].bool()]).endswith(
        "assistant\ngo shed<|im_end|>"
    )


class Endless(FeedbackEnv):
    def step(self, action: str) -> Step:
        self.accept(action)
        return self.proceed("Go on.")


def test_an_environment_that_goes_on_for_ever_is_said_to(
    tmp_path: Path, folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    gymnasium.register("tests/Endless-v0", entry_point=lambda: Endless([Task("endless", "Go.", None)]))
    ours.export("tests/Endless-v0", tmp_path / "endless.parquet")
    config = scripted.config(folder, LOOPS, "data.max_response_length=3")
    data = dataset(tokenizer, config, tmp_path / "endless.parquet")
    with pytest.raises(ContractError, match="tests/Endless-v0 does not end on empty actions"):
        played(config, tokenizer, batch(data, 0), [["go on"]])


@pytest.mark.parametrize("action", [addition.BREAK_JUDGE, addition.BREAK_WALL])
def test_a_world_that_breaks_in_mid_episode_gives_no_reward(
    action: str, tmp_path: Path, folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    ours.export(addition.GUESSING, tmp_path / "guess.parquet")
    config = scripted.config(folder, LOOPS)
    data = dataset(tokenizer, config, tmp_path / "guess.parquet")
    with pytest.raises(InfrastructureError):
        played(config, tokenizer, batch(data, 0), [["1", action]])
    out, _ = played(config, tokenizer, batch(data, 0), [["1", "9999", addition.answer(addition.TASKS[0].id)]])
    assert out.batch["rm_scores"].sum() == 1.0


def test_what_the_policy_reads_first_is_what_stands_in_the_file(
    tmp_path: Path, folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    ours.export(addition.GUESSING, tmp_path / "guess.parquet")
    config = scripted.config(folder, LOOPS)
    rows = batch(dataset(tokenizer, config, tmp_path / "guess.parquet"), 0)
    question = rows.non_tensor_batch["raw_prompt"][0][-1]["content"]
    rows.non_tensor_batch["raw_prompt"][0] = [{"role": "user", "content": f"Be quick. {question}"}]
    _, server = played(config, tokenizer, rows, [[addition.answer(addition.TASKS[0].id)]])
    assert server.read[0][0] == f"<|im_start|>user\nBe quick. {question}<|im_end|>\n{scripted.ASSISTANT}"


@pytest.fixture
def cluster() -> Iterator[None]:
    """A Ray of this machine whose workers find the tests; its folder holds sockets, whose names must be short."""
    tests = Path(__file__).parents[1]
    found = os.pathsep.join(map(str, (tests.parent, tests, tests / "adapters")))
    with tempfile.TemporaryDirectory(prefix="verl-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        ray.init(
            num_cpus=4,  # verl's workers and its queue each reserve some; with 2 they wait for ever
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=folder,
            runtime_env={"env_vars": {"PYTHONPATH": found, "TRANSFER_QUEUE_ENABLE": "1"}},
        )
        yield
        ray.shutdown()


def settled(uids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Wait until verl has done with these prompts, and return what its queue says of them and of their attempts."""
    for _ in range(600):
        listed: dict[str, dict[str, Any]] = transfer_queue.kv_list()["train"]
        if all(listed[uid]["status"] in ("finished", "failure") for uid in uids):
            return listed
        time.sleep(0.2)
    raise AssertionError(f"verl is not done: {listed}")


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.usefixtures("cluster")
def test_verl_s_trainer_gets_scores_and_feedback_and_an_attempt_that_broke_is_missing(
    tmp_path: Path, folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Two attempts at each of five tasks, of one action and of several, in the workers of verl's default trainer."""
    paths = [tmp_path / f"{name}.parquet" for name in ("add", "guess", "observe")]
    ours.export(f"addition:{addition.ADDITION}", paths[0])
    ours.export(f"addition:{addition.GUESSING}", paths[1])
    ours.export(f"addition:{addition.GUESSING}", paths[2], agent=ours.OBSERVATION)
    config = scripted.config(
        folder,
        *REWARD,
        LOOPS,
        "reward.num_workers=1",
        "reward.reward_manager.name=remote",
        "actor_rollout_ref.rollout.agent.num_workers=1",
        "actor_rollout_ref.rollout.n=2",
        "transfer_queue.enable=True",
        "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
    )
    data = dataset(tokenizer, config, *paths)
    rows = [data[number] for number in (0, 1, 18, 19, 36)]
    right = [addition.answer(row["reward_model"]["ground_truth"]) for row in rows]
    scripts = [
        [["1"], [right[0]]],
        [[right[1]], [addition.BREAK_JUDGE]],
        [["1", right[2]], ["1", "2", "3"]],
        [["1", addition.BREAK_WALL], ["1", right[3]]],
        [["1", right[4]], [right[4]]],
    ]
    named = {row["raw_prompt"][-1]["content"]: script for row, script in zip(rows, scripts, strict=True)}
    columns = collate_fn(rows)
    uids = [f"uid-{number}" for number in range(len(rows))]
    columns["uid"] = np.array(uids, dtype=object)
    asked = tensordict_utils.get_tensordict(columns)
    tensordict_utils.assign_non_tensor_data(asked, "global_steps", 3)

    transfer_queue.init(config.transfer_queue)
    rewards = RewardLoopManager(config)
    loops = AgentLoopManagerTQ.create(
        config=config,
        llm_client=scripted.Scripted(tokenizer, named),
        teacher_client=None,
        reward_loop_worker_handles=rewards.reward_loop_worker_handles,
    )
    pending = {"is_prompt": True, "status": "pending", "global_steps": 3}
    transfer_queue.kv_batch_put(keys=uids, partition_id="train", tags=[dict(pending) for _ in uids])
    loops.generate_sequences(asked)
    listed = settled(uids)
    attempts = sorted(set(listed) - set(uids))
    told = transfer_queue.kv_batch_get(keys=attempts, partition_id="train", select_fields=["extra_fields", "rm_scores"])
    transfer_queue.close()

    assert [listed[uid]["status"] for uid in uids] == ["finished", "failure", "finished", "failure", "finished"]
    samples = {uid: [attempt for attempt in attempts if attempt.startswith(uid)] for uid in uids}
    assert [len(each) for each in samples.values()] == [2, 1, 2, 1, 2 + 1]
    extras = [extra["reward_extra_info"] for extra in told["extra_fields"]]
    assert [float(scores.sum()) for scores in told["rm_scores"].unbind()] == [extra["score"] for extra in extras]
    for number, row in enumerate(rows):
        last = {attempt.rpartition("_")[0]: attempt for attempt in samples[uids[number]]}
        got = [extra for attempt, extra in zip(attempts, extras, strict=True) if attempt in last.values()]
        sound = [each for each in scripts[number] if not {addition.BREAK_JUDGE, addition.BREAK_WALL} & set(each)]
        expected = []
        for actions in sound:
            _, own, info = own_episode(written(row), actions)
            expected.append(ours.scored(sum(own), info))
        assert sorted(got, key=str) == sorted(expected, key=str)


@pytest.mark.parametrize("name", ["grpo", "turns"])
def test_the_example_s_command_is_one_that_verl_understands(name: str, tmp_path: Path) -> None:
    """Its data sets are written; its last command is read by verl's own configuration instead of being run on a GPU."""
    root = Path(__file__).parents[2]
    said = tmp_path / "command"
    (tmp_path / "bin").mkdir()
    shims = {
        "sdpo": f'exec {sys.executable} -m sdpo_envs.cli "$@"',
        "python": f"""[ "$1" = -c ] && exec {sys.executable} "$@"; printf '%s\\n' "$@" > {said}""",
    }
    for program, line in shims.items():
        (tmp_path / "bin" / program).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / program).chmod(0o755)
    surroundings = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(root)}
    script = root / "examples" / f"verl_{name}.sh"
    subprocess.run(["bash", str(script)], cwd=tmp_path, env={**os.environ, **surroundings}, check=True)

    module, *command = said.read_text("utf-8").splitlines()[1:]
    assert module == "verl.trainer.main_ppo"
    with scripted.initialize_config_dir(config_dir=scripted.OWN, version_base=None):
        config = scripted.compose("ppo_trainer", overrides=command)
    validate_config(config, use_reference_policy=False, use_critic=False)
    rollout = omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
    assert (rollout.name, rollout.n) == ("vllm", 8)
    for path in (config.data.train_files, config.data.val_files):
        agents = datasets.load_dataset("parquet", data_files=path)["train"]["agent_name"]
        assert set(agents) == {"single_turn_agent" if name == "grpo" else ours.CONVERSATION}
    if name == "grpo":
        assert callable(get_custom_reward_fn(config))
    else:
        assert not config.reward.custom_reward_function.path
        assert rollout.agent.agent_loop_config_path == str(ours.AGENT_LOOPS)


def test_the_example_that_needs_no_gpu_has_verl_judge_what_a_policy_wrote(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    surroundings = {**os.environ, "PYTHONPATH": str(root), "HF_HOME": str(tmp_path)}
    command = [sys.executable, str(root / "examples" / "verl_rewards.py")]
    done = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=True)
    *judged, told = done.stdout.splitlines()[-17:]
    passed = [line for line in judged if line[29:].split()[:2] == ["1.0", "passed"]]
    assert told == f"Passed: {len(passed)} of 16."
    assert sum("Wrong: call" in line for line in judged) > 8
