"""TRL's SDPO with live feedback, kept an eye on; and what this project's own agent would have its teacher read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from recited import SAME

from sdpo_agent import Attempt, Group, Reprompt, Turn, hindsight
from sdpo_envs.adapters.trl_sdpo import LiveSDPOConfig, LiveSDPOTrainer


class Kept(LiveSDPOTrainer):
    """Keeps what it is trained on, and every token that its teacher reads."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.batches: list[dict[str, Any]] = []
        self.heard: list[str] = []
        self.teacher_model.register_forward_pre_hook(self._hear, with_kwargs=True)

    def _hear(self, module: Any, arguments: Any, named: dict[str, torch.Tensor]) -> None:
        for ids, mask in zip(named["input_ids"], named["attention_mask"], strict=True):
            self.heard.append(self.processing_class.decode(ids[mask.bool()]))

    def _prepare_training_batch(self, inputs: Any) -> Any:
        rows = [{"prompt": row["prompt"], "task_id": row["task_id"]} for row in inputs]
        batch = super()._prepare_training_batch(inputs)
        self.batches.append({**batch, "rows": rows, "judged": self.teacher_context_builder.reward.judged})
        return batch


def settings(tmp_path: Path, size: int, **more: Any) -> LiveSDPOConfig:
    given: dict[str, Any] = {
        **SAME,
        "per_device_train_batch_size": size,
        "num_generations": size,
        "max_completion_length": 40,
        **more,
    }
    return LiveSDPOConfig(str(tmp_path), **given)


def told(trainer: Kept) -> list[tuple[str, str, str]]:
    """For each attempt: the student's prompt, what the teacher has to read in its place, and the action."""
    chat: Callable[..., str] = trainer.processing_class.apply_chat_template
    found = []
    for batch in trainer.batches:
        size = trainer.num_generations
        tokens = trainer._get_completion_ids_list(batch)
        attempts = []
        for row, judged, ids in zip(batch["rows"], batch["judged"], tokens, strict=True):
            action = trainer.processing_class.decode(ids, skip_special_tokens=True)
            cut_short = ids[-1] != trainer.processing_class.eos_token_id
            turn = Turn(row["prompt"][-1]["content"], action, tuple(ids), (0.0,) * len(ids), cut_short)
            decided = (judged.verdict, None if judged.error else judged.feedback, judged.error)
            attempts.append(Attempt(row["task_id"], (turn,), judged.reward, *decided))
        for at, (row, attempt, ids) in enumerate(zip(batch["rows"], attempts, tokens, strict=True)):
            group = Group(attempt.task_id, tuple(attempts[at - at % size : at - at % size + size]))
            question = row["prompt"][-1]["content"]
            written = hindsight(group, attempt, question, Reprompt()) if attempt.decided else None
            read = [*row["prompt"][:-1], {"role": "user", "content": written or question}]
            texts = [chat(each, add_generation_prompt=True, tokenize=False) for each in (row["prompt"], read)]
            found.append((*texts, trainer.processing_class.decode(ids)))
    return found
