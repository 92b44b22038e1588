"""Trains with TRL's own trainers: what `training.py` measures this agent against, and where all of TRL is known.

Written for TRL 1.16. What is not set here is TRL's default. The teacher's prompt has this agent's words, so that both
teachers read as much.
"""

import os
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import numpy as np
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
from trl.experimental.sdpo import SDPOConfig, SDPOTrainer

from sdpo_agent.reprompt import CUT_SHORT, FEEDBACK, INSTRUCTION, SOLUTION
from sdpo_envs import GroupEnv, Task

if TYPE_CHECKING:
    from training import Work


def train(pair: str, work: "Work", envs: GroupEnv, run: str) -> tuple[torch.nn.Module, float, float]:
    """Train with the trainer of that name, rewarded by `envs`, in the folder `run`.

    Returns:
        The model, the mean tokens of an action, and the share of the attempts that were learned from.
    """
    lengths: list[int] = []
    mixed: list[float] = []

    def reward(completions: Any, completion_ids: Any, task_id: Sequence[str], **_: Any) -> list[float]:
        lengths.extend(map(len, completion_ids))
        envs.reset(options={"task_id": list(task_id[:: work.group_size])})
        rewards = envs.step([completion[0]["content"] for completion in completions])[1]
        mixed.append(float(np.mean(np.ptp(rewards.reshape(-1, work.group_size), axis=1) > 0)))
        return rewards.tolist()

    trainer_class, config = (SDPOTrainer, _sdpo) if pair == "sdpo" else (GRPOTrainer, _grpo)
    rows = Dataset.from_list([_row(task) for task in envs.envs[0].get_wrapper_attr("tasks")])
    trainer = trainer_class(work.folder, reward, config(work, output_dir=run, **_same(work)), rows)
    trainer.train()
    told = trainer.state.log_history[-1]
    taught = told["self_distillation/reprompt_sample_fraction"] if pair == "sdpo" else statistics.mean(mixed)
    return trainer.model, statistics.mean(lengths), taught


def _row(task: Task) -> dict[str, Any]:
    """Return what the policy is asked, as this agent asks it, and TRL's feedback."""
    opening = [{"role": "system", "content": task.system}] if task.system else []
    asked = [*opening, {"role": "user", "content": task.prompt}]
    return {"prompt": asked, "task_id": task.id, "privileged_context": CUT_SHORT}


def _same(work: "Work") -> dict[str, Any]:
    return {
        "max_steps": work.all_steps,
        "per_device_train_batch_size": work.microbatch,
        "gradient_accumulation_steps": work.batch // work.microbatch,
        "num_generations": work.group_size,
        "max_completion_length": work.max_tokens,
        "temperature": 1.0,
        "learning_rate": work.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def _sdpo(work: "Work", **same: Any) -> SDPOConfig:
    return SDPOConfig(
        max_prompt_length=None,  # else the beginning of a prompt is cut
        distillation_mode="topk_logits",
        distillation_topk=work.top_k,
        distillation_add_tail=True,
        distillation_alpha=1.0,
        teacher_update_rate=work.teacher_rate,
        include_environment_feedback=True,
        environment_feedback_only_without_solution=True,
        reprompt_template=f"{{prompt}}{{solution}}{{feedback}}{INSTRUCTION}",
        solution_template=f"{SOLUTION}{{successful_previous_attempt}}",
        feedback_template=f"{FEEDBACK}{{feedback_raw}}",
        **same,
    )


def _grpo(work: "Work", **same: Any) -> GRPOConfig:
    return GRPOConfig(scale_rewards="none", epsilon=0.2, epsilon_high=0.28, beta=0.0, loss_type="dapo", **same)
