"""Small untrained models for the agent's tests: built on the spot, nothing is downloaded.

Two runs of one model may differ in the last digit, by where its weights lie in memory: hence `close` and `assert_same`.
"""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from sdpo_agent import Policy
from sdpo_agent.chat import Script
from sdpo_agent.small import byte_tokenizer

SIZE: Any = {"hidden": 32, "layers": 2, "heads": 2}
PROMPTS = [[40, 41, 42, 43, 44, 45, 46], [50], [60, 61, 62]]
ACTIONS = [[70, 71], [80, 81, 82, 83, 84], [90]]
STOPS = [4, *range(5, 261, 12)]

LLAMA: Any = {
    "vocab_size": 261,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": STOPS,
}
# Qwen3 and Llama know relative positions only; GPT-2's are absolute, and show where the count of a row begins.
FAMILIES = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=261, n_embd=32, n_layer=2, n_head=4, n_positions=128, bos_token_id=None, eos_token_id=STOPS
        )
    ),
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(**LLAMA, attention_bias=True, mlp_bias=True, tie_word_embeddings=False)
    ),
    "llama-with-a-bias-in-the-head": lambda: with_head_bias(LlamaForCausalLM(LlamaConfig(**LLAMA))),
    "gemma2": lambda: Gemma2ForCausalLM(
        Gemma2Config(**LLAMA, head_dim=8, final_logit_softcapping=2.0, sliding_window=6)
    ),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(**LLAMA, head_dim=8, final_logit_softcapping=2.0, sliding_window=6)
    ),
    "cohere": lambda: CohereForCausalLM(CohereConfig(**LLAMA, logit_scale=0.25)),
    "granite": lambda: GraniteForCausalLM(GraniteConfig(**LLAMA, logits_scaling=4.0)),
}


def family(name: str, **settings: Any) -> Policy:
    """A policy around a model of the transformers library, whose logits differ enough that a mistake shows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Policy(sharpen(FAMILIES[name](), 15), byte_tokenizer((), 300), "cpu", **settings)


def small(**settings: Any) -> Policy:
    """A small policy whose logits differ enough that a mistake shows."""
    policy = Policy.small(seed=1, **SIZE | {"device": "cpu"} | settings)
    sharpen(policy.model, 15)
    return policy


@torch.no_grad()
def sharpen(model: PreTrainedModel, factor: float) -> PreTrainedModel:
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.mul_(factor)
    return model


@torch.no_grad()
def with_head_bias(model: PreTrainedModel) -> PreTrainedModel:
    model.lm_head.bias = torch.nn.Parameter(torch.linspace(-2, 2, 261))
    return model


@torch.no_grad()
def always(policy: Policy, token: int) -> Policy:
    """Make `policy` likely to say nothing but `token`: every position looks like it."""
    embedding = next(policy.model.parameters())
    embedding.copy_(torch.randn(embedding.shape[1], generator=dice()).expand_as(embedding))
    embedding[token] *= 50
    return policy


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def answered(prompt: Sequence[int], action: Sequence[int]) -> Script:
    return Script((*prompt, *action), tuple(range(len(prompt), len(prompt) + len(action))))


SCRIPTS = [answered(prompt, action) for prompt, action in zip(PROMPTS, ACTIONS, strict=True)]


def bare(policy: Policy, script: Script, temperature: float = 1.0) -> torch.Tensor:
    """The log-probabilities of what was written, as the model alone gives them, without padding or any of our code."""
    output = policy.core(torch.tensor([script.token_ids])).logits[0].float() / temperature
    at = torch.tensor(script.written, dtype=torch.long)
    return output.log_softmax(-1)[at - 1, torch.tensor(script.token_ids)[at]]


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-4, rtol=0)


Row = tuple[list[int], list[float]]


def assert_same(rows: Sequence[Row], others: Sequence[Row]) -> None:
    """The same tokens were sampled, with the same log-probabilities."""
    assert [ids for ids, _ in rows] == [ids for ids, _ in others]
    for (_, mine), (_, theirs) in zip(rows, others, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)
