"""What stands in for a language model where verl is tested: a tokenizer of bytes, and a server with a script.

The server is the only part that is not verl's own. Importing this needs verl.
"""

import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

with warnings.catch_warnings():  # verl tells at import which engines of training are not installed
    warnings.simplefilter("ignore")
    from hydra import compose, initialize_config_dir
    from omegaconf import DictConfig, OmegaConf
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config
    from verl import trainer
    from verl.workers.rollout.replica import TokenOutput

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OWN = str(Path(trainer.__file__).parent / "config")
"""The configuration of verl's trainer, its own files."""
ASSISTANT = "<|im_start|>assistant\n"
TOLD_STEPS = 7
"""The step of training whose weights the server says it has, at first; one more at each turn."""


def model(folder: Path) -> PreTrainedTokenizerFast:
    """Write a model as far as verl reads it before it loads weights; return its tokenizer: a token is a byte."""
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={byte: number for number, byte in enumerate(bytes_)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "additional_special_tokens": ["<|im_start|>"]}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=CHAT, **special)
    fast.save_pretrained(folder)
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    Qwen2Config(architectures=["Qwen2ForCausalLM"], vocab_size=len(fast), **shape).save_pretrained(folder)
    return fast


def config(folder: Path, *more: str) -> DictConfig:
    """Return the configuration of verl's trainer with `more` settings, ``key=value``; an unknown key is an error."""
    return OmegaConf.merge(_composed(folder), OmegaConf.from_dotlist(list(more)))


@functools.cache
def _composed(folder: Path) -> DictConfig:
    command = [
        f"actor_rollout_ref.model.path={folder}",
        "actor_rollout_ref.rollout.name=vllm",
        "data.max_prompt_length=2048",
        "data.max_response_length=8192",
        "data.filter_overlong_prompts=False",
    ]
    with initialize_config_dir(config_dir=OWN, version_base=None):
        return compose("ppo_trainer", overrides=command)


class Scripted:
    """Says what is scripted: of the conversations whose text holds a name, the first by its first script, and so on.

    Attributes:
        read: What it was asked, as text, and how many tokens it might write.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, scripts: Mapping[str, Sequence[Sequence[str]]], logprobs: bool = True
    ) -> None:
        self.tokenizer = tokenizer
        self.scripts = {name: list(each) for name, each in scripts.items()}
        self.logprobs = logprobs
        self.read: list[tuple[str, int | None]] = []
        self._begun: dict[str, Iterator[tuple[int, str]]] = {}

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any], **media: Any
    ) -> TokenOutput:
        """Answer as a server would: at most ``max_tokens`` tokens, the last of which ends the turn if there is room."""
        assert not any(media.values()), media
        text = self.tokenizer.decode(prompt_ids)
        self.read.append((text, sampling_params.get("max_tokens")))
        if request_id not in self._begun:
            (name,) = [name for name in self.scripts if name in text]
            self._begun[request_id] = enumerate(self.scripts[name].pop(0))
        turn, said = next(self._begun[request_id])
        tokens = [*self.tokenizer.encode(said, add_special_tokens=False), self.tokenizer.eos_token_id]
        tokens = tokens[: sampling_params.get("max_tokens")]
        steps = {"min_global_steps": TOLD_STEPS + turn, "max_global_steps": TOLD_STEPS + turn}
        logprobs = [-(turn + 1.0)] * len(tokens) if self.logprobs else None
        return TokenOutput(token_ids=tokens, log_probs=logprobs, num_preempted=1, extra_fields=steps)
