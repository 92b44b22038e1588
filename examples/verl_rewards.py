"""verl's own data set and reward manager on a laptop's CPU: the policy that comes with the project writes, verl judges.

What a training run does between two optimizer steps, without the GPU that verl needs for these::

    make verl && .venv-verl/bin/python examples/verl_rewards.py
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import torch
import verl
from hydra import compose, initialize_config_dir
from transformers import AutoModelForCausalLM, AutoTokenizer
from verl import DataProto
from verl.experimental.reward_loop.reward_loop import load_reward_manager
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

from sdpo_envs.adapters.verl import export

POLICY = Path(__file__).parents[1] / "tasks" / "micro" / "policy"
TASKS, TOKENS, SEED = 16, 48, 0


def main() -> None:
    """Write the tasks, read them by verl, have the policy answer, and judge what it wrote by verl's reward manager."""
    torch.manual_seed(SEED)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tasks.parquet"
        export("sdpo/MicroTool-v0", path)
        config = settings(path)
        tokenizer = AutoTokenizer.from_pretrained(POLICY)
        data = RLHFDataset([str(path)], tokenizer, config.data)
        rows = DataProto.from_single_dict(collate_fn([data[number] for number in range(TASKS)]))
        answered = answer(rows, tokenizer)
        judged = asyncio.run(judge(answered, config, tokenizer))
    for task, told in zip(rows.non_tensor_batch["raw_prompt"], judged, strict=True):
        extra = told["reward_extra_info"]
        print(f"{task[-1]['content']:<28} {told['reward_score']:.1f} {extra['outcome']:<10} {extra['feedback'][:70]}")
    print(f"Passed: {sum(told['reward_extra_info']['passed'] for told in judged):.0f} of {TASKS}.")


def settings(path: Path) -> Any:
    """Return verl's configuration, with this data set and the environment's reward function."""
    wanted = [
        f"data.train_files={path}",
        f"actor_rollout_ref.model.path={POLICY}",
        "reward.custom_reward_function.path=pkg://sdpo_envs.adapters.verl",
    ]
    with initialize_config_dir(config_dir=str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        return compose("ppo_trainer", overrides=wanted)


@torch.no_grad()
def answer(rows: DataProto, tokenizer: Any) -> DataProto:
    """Add what the policy writes, as a rollout of verl's would: ``prompts``, ``responses`` and ``attention_mask``."""
    policy = AutoModelForCausalLM.from_pretrained(POLICY)
    tokenizer.padding_side = "left"
    chats = [list(chat) for chat in rows.non_tensor_batch["raw_prompt"]]
    asked = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    written = policy.generate(**asked, do_sample=True, max_new_tokens=TOKENS, pad_token_id=tokenizer.pad_token_id)
    responses = written[:, asked["input_ids"].shape[1] :]
    mask = torch.cat([asked["attention_mask"], (responses != tokenizer.pad_token_id).long()], dim=1)
    told = {"prompts": asked["input_ids"], "responses": responses, "attention_mask": mask}
    return rows.union(DataProto.from_dict(told))


async def judge(rows: DataProto, config: Any, tokenizer: Any) -> list[dict[str, Any]]:
    """Return what verl's reward manager, the one that its configuration names, says of each row."""
    manager = load_reward_manager(config, tokenizer)
    return [await manager.run_single(rows[number : number + 1]) for number in range(len(rows))]


if __name__ == "__main__":
    main()
