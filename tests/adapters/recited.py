"""A small model that samples what it is told to recite, and is a model in all else: scored and trained as any other."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import trl
from transformers import AutoModelForCausalLM, AutoTokenizer

from sdpo_agent.small import byte_tokenizer, qwen3
from sdpo_envs import bundled

MICRO = str(bundled("tasks", "micro", "policy"))

SAME: dict[str, Any] = {
    "max_steps": 2,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "weight_decay": 0.0,
    "use_cpu": True,
    "bf16": False,
    "activation_checkpointing": False,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
}
"""Settings that the trainers of all tests share: two optimizer steps on a CPU."""
OLD_NAME = "ignore:.*gradient_checkpointing. is deprecated:FutureWarning"
"""TRL 1.16 calls transformers 5.24 by old names."""


def recite(model: Any, tokenizer: Any, says: Callable[[str], str]) -> None:
    """Let `model` sample what `says` makes of the text that it reads, and an end."""

    def generate(input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> torch.Tensor:
        read = [ids[mask.bool()] for ids, mask in zip(input_ids, attention_mask, strict=True)]
        said = [tokenizer(says(tokenizer.decode(ids)))["input_ids"] + [tokenizer.eos_token_id] for ids in read]
        longest = max(map(len, said))
        padded = [ids + [tokenizer.pad_token_id] * (longest - len(ids)) for ids in said]
        return torch.cat([input_ids, torch.tensor(padded)], dim=1)

    model.generate = generate


def micro() -> tuple[Any, Any]:
    """Load the policy that comes with the project, and its tokenizer."""
    return AutoModelForCausalLM.from_pretrained(MICRO), AutoTokenizer.from_pretrained(MICRO)


def talker() -> tuple[Any, Any]:
    """Build a small untrained model, and a tokenizer with Qwen3's chat template."""
    template = (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text("utf-8")
    tokenizer = byte_tokenizer([template], 600)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.eos_token, tokenizer.chat_template = "<|im_end|>", template
    size: Any = {"hidden": 32, "layers": 1, "heads": 2, "max_positions": 4096}
    return qwen3(len(tokenizer), tokenizer.eos_token_id, seed=0, **size), tokenizer


def weights(model: Any) -> torch.Tensor:
    """Every weight, in one row."""
    return torch.cat([each.detach().flatten() for each in model.parameters()]).clone()


def in_turn(texts: Sequence[str]) -> Callable[[str], str]:
    """Say one after the other, and again from the first, whatever is read."""
    said = 0

    def says(_: str) -> str:
        nonlocal said
        said += 1
        return texts[(said - 1) % len(texts)]

    return says
