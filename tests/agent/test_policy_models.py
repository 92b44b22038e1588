"""Models of other families, and how a model is run: which are refused, mixed precision, recomputation, no dropout."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny import FAMILIES, LLAMA, PROMPTS, SCRIPTS, STOPS, answered, assert_same, bare, close, family, sharpen, small
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from sdpo_agent import Policy
from sdpo_agent.chat import Script
from sdpo_agent.small import byte_tokenizer

BATCH = [*SCRIPTS, Script((40, 41, 70, 71, 50, 51, 80, 81, 9, 9, 9, 9, 9, 9, 7), (2, 3, 6, 7, 14))]
# The name by which recomputation is turned on changes with version 6 of the transformers library.


def around(model: PreTrainedModel, **settings: Any) -> Policy:
    return Policy(model, byte_tokenizer((), 300), "cpu", **settings)


# --- families


@pytest.mark.parametrize("temperature", [1.0, 1.6])
@pytest.mark.parametrize("name", FAMILIES)
def test_any_family_scores_as_its_bare_model(name: str, temperature: float) -> None:
    policy = family(name)
    expected = torch.cat([bare(policy, script, temperature) for script in BATCH])
    assert expected.std() > 0.3
    torch.testing.assert_close(policy.logprobs(BATCH, temperature), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_any_family_has_the_gradient_of_its_bare_model(name: str) -> None:
    policy = family(name)
    ours, theirs = (
        torch.autograd.grad(loss.sum(), policy.trainable(), materialize_grads=True, allow_unused=True)
        for loss in (policy.logprobs(BATCH, 1.3), torch.cat([bare(policy, script, 1.3) for script in BATCH]))
    )
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max() + 1e-3))


@pytest.mark.parametrize("name", FAMILIES)
def test_any_family_samples_as_it_scores(name: str) -> None:
    policy = family(name)
    drawn = policy.sample(PROMPTS * 3, 20, 1.2, range(9))
    scripts = [answered(prompt, ids) for prompt, (ids, _) in zip(PROMPTS * 3, drawn, strict=True)]
    expected = torch.tensor([logprob for _, logprobs in drawn for logprob in logprobs])
    torch.testing.assert_close(policy.logprobs(scripts, 1.2), expected, atol=1e-4, rtol=0)


def test_a_model_whose_layers_remember_other_things_than_keys_samples_as_it_scores() -> None:
    config = Lfm2Config(**LLAMA, layer_types=["conv", "full_attention"], block_multiple_of=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policy = around(sharpen(Lfm2ForCausalLM(config), 15))
    drawn = policy.sample(PROMPTS * 3, 20, 1.2, range(9))
    assert_same(drawn, [policy.sample([prompt], 20, 1.2, [row])[0] for row, prompt in enumerate(PROMPTS * 3)])


# --- what is refused


class Louder(LlamaForCausalLM):
    """Does one thing more after its output layer."""

    def forward(self, input_ids: Any = None, position_ids: Any = None, **keywords: Any) -> Any:
        output = super().forward(input_ids=input_ids, position_ids=position_ids, **keywords)
        output.logits = self.afterwards(output.logits)
        return output

    afterwards: Callable[[torch.Tensor], torch.Tensor]


@pytest.mark.parametrize(
    "afterwards",
    [
        lambda logits: logits * 1.5,
        lambda logits: logits + torch.linspace(0, 1, 261),
        lambda logits: logits.index_fill(-1, torch.tensor([4]), -torch.inf),
        lambda logits: logits.index_fill(-1, torch.tensor([4]), torch.finfo(torch.float32).min),
        lambda logits: logits.log_softmax(-1),
    ],
)
def test_a_model_that_does_more_after_its_head_is_refused(afterwards: Any) -> None:
    model = Louder(LlamaConfig(**LLAMA))
    model.afterwards = afterwards
    with pytest.raises(ValueError, match="Louder does more after its last hidden states than a linear layer"):
        around(model)


@pytest.mark.parametrize("head", [torch.nn.Identity, lambda: torch.nn.Sequential(torch.nn.Linear(32, 261))])
def test_a_head_that_is_no_linear_layer_is_refused(head: Any) -> None:
    model = LlamaForCausalLM(LlamaConfig(**LLAMA))
    model.lm_head = head()
    with pytest.raises(ValueError, match="does more after its last hidden states"):
        around(model)


def test_a_soft_cap_that_the_model_does_not_have_is_found_out() -> None:
    model = sharpen(LlamaForCausalLM(LlamaConfig(**LLAMA)), 15)
    model.config.final_logit_softcapping = 2.0
    with pytest.raises(ValueError, match="does more after its last hidden states"):
        around(model)


@pytest.mark.parametrize(
    "model",
    [
        lambda: BloomForCausalLM(BloomConfig(vocab_size=261, hidden_size=32, n_layer=1, n_head=4)),
        lambda: T5ForConditionalGeneration(T5Config(vocab_size=261, d_model=32, d_kv=8, d_ff=32, num_layers=1)),
    ],
)
def test_a_model_without_position_ids_is_refused(model: Callable[[], PreTrainedModel]) -> None:
    with pytest.raises(ValueError, match="takes no position_ids; choose a model that does, like Qwen3"):
        around(model())


# --- mixed precision


def test_autocast_computes_in_half_precision_and_keeps_weights_scores_and_gradients_whole() -> None:
    whole, mixed = small(), small()
    mixed = Policy(mixed.model, mixed.tokenizer, "cpu", autocast=torch.bfloat16)
    assert {weight.dtype for weight in mixed.model.parameters()} == {torch.float32}
    assert mixed.scores(SCRIPTS).logits(slice(None)).dtype == torch.float32
    exact, rounded = whole.logprobs(SCRIPTS), mixed.logprobs(SCRIPTS)
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, atol=0.3, rtol=0)
    exact.sum().backward()  # type: ignore[no-untyped-call]
    rounded.sum().backward()  # type: ignore[no-untyped-call]
    for mine, theirs in zip(mixed.trainable(), whole.trainable(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert mine.grad.dtype == torch.float32
        assert torch.cosine_similarity(mine.grad.flatten(), theirs.grad.flatten(), dim=0) > 0.98


@pytest.mark.parametrize("name", ["llama", "gemma2", "cohere"])
def test_autocast_scores_as_the_bare_model_does_under_it_output_layer_and_all(name: str) -> None:
    policy = family(name, autocast=torch.bfloat16)
    alone = torch.cat([policy.logprobs([script]) for script in SCRIPTS])
    with torch.autocast("cpu", torch.bfloat16):
        layer = policy.core(torch.tensor([PROMPTS[0]])).logits
        expected = torch.cat([bare(policy, script) for script in SCRIPTS])
    assert layer.dtype == torch.bfloat16
    atol = 1e-4 if name == "llama" else 0.05  # ours scales and caps in float32, theirs in bfloat16
    torch.testing.assert_close(alone, expected, atol=atol, rtol=0)


def test_autocast_reaches_the_layers_and_ends_with_the_call() -> None:
    mixed = around(LlamaForCausalLM(LlamaConfig(**LLAMA)), autocast=torch.bfloat16)
    seen: list[torch.dtype] = []
    mixed.model.model.layers[0].mlp.up_proj.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    mixed.logprobs(SCRIPTS)
    mixed.sample(PROMPTS, 1, 1.0, [1, 2, 3])
    assert seen == [torch.bfloat16] * 2
    assert not torch.is_autocast_enabled("cpu")


def test_autocast_samples_as_it_scores_but_for_rounding() -> None:
    policy = small()
    mixed = Policy(policy.model, policy.tokenizer, "cpu", autocast=torch.bfloat16)
    drawn = mixed.sample(PROMPTS * 4, 10, 1.0, range(12))
    scripts = [answered(prompt, ids) for prompt, (ids, _) in zip(PROMPTS * 4, drawn, strict=True)]
    expected = torch.tensor([logprob for _, logprobs in drawn for logprob in logprobs])
    torch.testing.assert_close(mixed.logprobs(scripts), expected, atol=0.3, rtol=0)
    assert float((mixed.logprobs(scripts) - expected).mean().detach()) == pytest.approx(0, abs=0.05)


def test_a_copy_runs_as_its_original_does() -> None:
    policy = around(LlamaForCausalLM(LlamaConfig(**LLAMA)), autocast=torch.bfloat16, recompute=True)
    copy = policy.copy()
    assert (copy.autocast, copy.recompute, copy.device) == (torch.bfloat16, True, policy.device)
    assert close(copy.logprobs(SCRIPTS), policy.logprobs(SCRIPTS))


# --- recomputation and dropout

DROPPED: dict[str, Callable[[], PreTrainedModel]] = {
    "none": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA)),
    "attention": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA, attention_dropout=0.5)),
    "modules": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=261,
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=64,
            bos_token_id=None,
            eos_token_id=STOPS,
            resid_pdrop=0.5,
            embd_pdrop=0.5,
            attn_pdrop=0.5,
        )
    ),
    "everything": lambda: OPTForCausalLM(
        OPTConfig(
            vocab_size=261,
            hidden_size=32,
            word_embed_proj_dim=32,
            ffn_dim=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
            dropout=0.5,
            attention_dropout=0.5,
        )
    ),
}


def built(name: str, **settings: Any) -> Policy:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return around(sharpen(DROPPED[name](), 10), **settings)


@pytest.mark.parametrize("name", DROPPED)
def test_recomputed_or_not_loss_and_gradients_are_the_same_and_nothing_drops_out(name: str) -> None:
    results = []
    for recompute in (False, True, True):
        policy = built(name, recompute=recompute)
        with torch.no_grad():
            quiet = policy.logprobs(SCRIPTS)
        loss = policy.logprobs(SCRIPTS)
        torch.testing.assert_close(quiet, loss, atol=1e-5, rtol=0)
        loss.sum().backward()  # type: ignore[no-untyped-call]
        results.append((loss.detach(), [weight.grad for weight in policy.trainable()]))
    (kept, kept_gradients), *others = results
    for again, gradients in others:
        torch.testing.assert_close(again, kept, atol=1e-5, rtol=0)
        for mine, theirs in zip(gradients, kept_gradients, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("recompute", [False, True])
def test_what_recomputes_calls_each_layer_again_on_the_way_back(recompute: bool) -> None:
    policy = built("none", recompute=recompute)
    calls: list[object] = []
    policy.model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        policy.logprobs(SCRIPTS)
    assert len(calls) == 1
    loss = policy.logprobs(SCRIPTS)
    assert len(calls) == 2
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert len(calls) == 2 + recompute


def test_what_recomputes_samples_with_a_cache_between_two_steps_of_learning() -> None:
    plain, policy = built("none"), built("none", recompute=True)
    policy.logprobs(SCRIPTS).sum().backward()  # type: ignore[no-untyped-call]
    lengths: list[int] = []
    policy.model.register_forward_pre_hook(
        lambda _, __, keywords: lengths.append(keywords["input_ids"].shape[1]), with_kwargs=True
    )
    assert_same(policy.sample(PROMPTS, 8, 1.0, [1, 2, 3]), plain.sample(PROMPTS, 8, 1.0, [1, 2, 3]))
    assert lengths == [7, *[1] * (len(lengths) - 1)]


def test_a_policy_never_drops_out_whatever_mode_its_model_is_in() -> None:
    policy = built("modules")
    policy.model.train()
    assert close(policy.logprobs(SCRIPTS), policy.logprobs(SCRIPTS))
    policy.model.train()
    assert_same(policy.sample(PROMPTS, 8, 1.0, [1, 2, 3]), policy.sample(PROMPTS, 8, 1.0, [1, 2, 3]))
    assert not policy.copy().model.training
