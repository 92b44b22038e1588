"""Low-rank adapters: what is trained, what is merged, what is saved; and the same on models of other families."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import PROMPTS, SCRIPTS, answered, assert_same, bare, close, dice, family, small

from sdpo_agent import Policy

pytest.importorskip("peft")
# peft asks for a name, and recomputation is turned on by one, that change with version 6 of the transformers library.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.(is_gradient_checkpointing|gradient_checkpointing_enable):FutureWarning"
)


@pytest.fixture
def adapted() -> Policy:
    """A policy whose adapters have learned something."""
    return disturb(small().with_lora(4))


@torch.no_grad()
def disturb(policy: Policy, seed: int = 0) -> Policy:
    generator = dice(seed)
    for weight in policy.trainable():
        weight.add_(torch.randn(weight.shape, generator=generator) * 0.3)
    return policy


def names(policy: Policy) -> set[str]:
    return {name for name, weight in policy.core.named_parameters() if weight.requires_grad}


# --- what is trained


def test_fresh_adapters_change_nothing_and_alone_are_trained() -> None:
    plain = small()
    before = plain.logprobs(SCRIPTS).detach()
    fresh = plain.with_lora(4)
    assert close(fresh.logprobs(SCRIPTS), before)
    assert len(fresh.adapters) == 14  # seven linear layers in each of two blocks
    assert names(fresh) == {
        f"{layer}.{factor}.default.weight" for layer in fresh.adapters for factor in ("lora_A", "lora_B")
    }
    assert len(fresh.trainable()) == 28
    assert not any(layer.startswith("lm_head") for layer in fresh.adapters)
    assert_same(fresh.sample(PROMPTS, 9, 1.0, [1, 2, 3]), small().sample(PROMPTS, 9, 1.0, [1, 2, 3]))


def test_only_adapters_get_a_gradient_and_a_step_leaves_the_rest_as_it_was(adapted: Policy) -> None:
    frozen = {name: weight.clone() for name, weight in adapted.core.named_parameters() if not weight.requires_grad}
    optimizer = torch.optim.SGD(adapted.trainable(), lr=1e-3)
    before = adapted.logprobs(SCRIPTS)
    (-before.mean()).backward()  # type: ignore[no-untyped-call]
    for name, weight in adapted.core.named_parameters():
        assert (weight.grad is not None) == (".lora_" in name)
    assert all(weight.grad.any() for weight in adapted.trainable())
    optimizer.step()
    assert adapted.logprobs(SCRIPTS).sum() > before.sum()
    assert all(torch.equal(dict(adapted.core.named_parameters())[name], weight) for name, weight in frozen.items())


def test_the_first_step_reaches_the_factor_that_is_zero_alone() -> None:
    fresh = small().with_lora(4)
    fresh.logprobs(SCRIPTS).sum().backward()  # type: ignore[no-untyped-call]
    for name, weight in fresh.core.named_parameters():
        if ".lora_" in name:
            assert bool(weight.grad.any()) == (".lora_B." in name)


def test_adapters_follow_from_their_seed_and_leave_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    one, same, other = (small().with_lora(4, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(map(torch.equal, one.trainable(), same.trainable()))
    assert not all(map(torch.equal, one.trainable(), other.trainable()))


def test_the_settings_of_adapters_are_those_that_are_asked_for() -> None:
    some = small().with_lora(3, alpha=24, targets=["q_proj", "v_proj"])
    assert {name.rpartition(".")[2] for name in some.adapters} == {"q_proj", "v_proj"}
    layer = next(iter(some.adapters.values()))
    assert layer.scaling["default"] == 8
    assert layer.lora_A["default"].weight.shape == (3, 32)
    assert next(iter(small().with_lora(3).adapters.values())).scaling["default"] == 2


def test_an_adapted_policy_is_around_the_same_weights_and_runs_alike() -> None:
    plain = Policy(small().model, small().tokenizer, "cpu", autocast=torch.bfloat16, recompute=True)
    embedding = plain.model.get_input_embeddings().weight
    fresh = plain.with_lora(4)
    assert fresh.core.get_input_embeddings().weight is embedding
    assert (fresh.autocast, fresh.recompute) == (torch.bfloat16, True)
    assert fresh.max_positions == plain.max_positions
    assert fresh.chat.stop_ids == plain.chat.stop_ids


def test_without_adapters_there_is_the_model_alone(adapted: Policy) -> None:
    learned = adapted.logprobs(SCRIPTS)
    base = small().logprobs(SCRIPTS)
    with adapted.without_adapters():
        assert close(adapted.logprobs(SCRIPTS), base)
    assert close(adapted.logprobs(SCRIPTS), learned)
    assert (learned - base).abs().max() > 0.1
    with pytest.raises(KeyError), adapted.without_adapters():
        raise KeyError
    assert close(adapted.logprobs(SCRIPTS), learned)


def test_an_adapted_policy_samples_as_it_scores(adapted: Policy) -> None:
    drawn = adapted.sample(PROMPTS * 3, 12, 1.0, range(9))
    scripts = [answered(prompt, ids) for prompt, (ids, _) in zip(PROMPTS * 3, drawn, strict=True)]
    expected = torch.tensor([logprob for _, logprobs in drawn for logprob in logprobs])
    torch.testing.assert_close(adapted.logprobs(scripts), expected, atol=1e-4, rtol=0)
    reference = torch.cat([bare(adapted, script) for script in scripts])
    torch.testing.assert_close(adapted.logprobs(scripts), reference, atol=1e-4, rtol=0)


# --- what is merged


@pytest.mark.parametrize("name", ["qwen3", "llama-with-a-bias-in-the-head", "gemma2", "gpt2"])
@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")
def test_a_copy_is_the_adapted_model_without_adapters(name: str) -> None:
    adapted = disturb((small() if name == "qwen3" else family(name)).with_lora(4))
    learned = adapted.logprobs(SCRIPTS).detach()
    copy = adapted.copy()
    assert copy.adapters == {}
    assert type(copy.model) is type(adapted.core)
    torch.testing.assert_close(copy.logprobs(SCRIPTS), learned, atol=2e-4, rtol=0)
    disturb(adapted, seed=1)
    torch.testing.assert_close(copy.logprobs(SCRIPTS), learned, atol=2e-4, rtol=0)
    assert (adapted.logprobs(SCRIPTS) - learned).abs().max() > 0.01
    assert len(adapted.adapters) > 0


@pytest.mark.parametrize("name", ["qwen3", "llama", "llama-with-a-bias-in-the-head", "gemma3", "gpt2"])
@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")
def test_what_is_merged_is_a_copy_s_weights_in_order(name: str) -> None:
    adapted = disturb((small() if name == "qwen3" else family(name)).with_lora(4))
    changed = 0
    pairs = zip(adapted.copy().core.named_parameters(), adapted.merged(), strict=True)
    for (name_, expected), merged in pairs:
        torch.testing.assert_close(merged, expected, atol=1e-6, rtol=1e-5, msg=name_, check_stride=False)
        place, _, last = name_.rpartition(".")
        base = adapted.core.get_submodule(place)
        base = getattr(base, "base_layer", base)
        changed += not torch.equal(merged, getattr(base, last))
    assert changed == len(adapted.adapters)
    assert all(map(torch.allclose, adapted.copy().merged(), adapted.copy().model.parameters()))


# --- what is refused


@pytest.mark.parametrize("targets", [["lm_head"], ["lm_head", "q_proj"]])
def test_adapters_on_the_output_layer_are_refused(targets: list[str]) -> None:
    with pytest.raises(ValueError, match="put no adapter on the output layer"):
        family("llama").with_lora(4, targets=targets)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
def test_adapters_on_a_tied_output_layer_are_refused() -> None:
    with pytest.raises(ValueError, match="put no adapter on the output layer"):
        small().with_lora(4, targets=["lm_head"])


def test_adapters_may_stand_on_an_embedding_of_its_own() -> None:
    adapted = disturb(family("llama").with_lora(4, targets=["embed_tokens", "down_proj"]))
    copy = adapted.copy()
    torch.testing.assert_close(copy.logprobs(SCRIPTS), adapted.logprobs(SCRIPTS), atol=2e-4, rtol=0)
    for merged, expected in zip(adapted.merged(), copy.model.parameters(), strict=True):
        torch.testing.assert_close(merged, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
def test_adapters_on_an_embedding_that_is_the_output_layer_too_are_refused() -> None:
    with pytest.raises(ValueError, match="put no adapter on the output layer"):
        small().with_lora(4, targets=["embed_tokens"])


# --- what is saved


@pytest.fixture
def base(tmp_path: Path) -> Path:
    small().save(tmp_path / "base")
    return tmp_path / "base"


def test_saved_adapters_are_loaded_around_their_base(base: Path, tmp_path: Path) -> None:
    adapted = disturb(Policy.load(base, device="cpu").with_lora(4, alpha=12))
    adapted.save(tmp_path / "adapters")
    assert not list((tmp_path / "adapters").glob("model*"))
    assert json.loads((tmp_path / "adapters" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        base
    )
    loaded = Policy.load(tmp_path / "adapters", device="cpu")
    assert close(loaded.logprobs(SCRIPTS), adapted.logprobs(SCRIPTS))
    assert names(loaded) == names(adapted)
    assert_same(loaded.sample(PROMPTS, 9, 1.0, [1, 2, 3]), adapted.sample(PROMPTS, 9, 1.0, [1, 2, 3]))
    loaded.logprobs(SCRIPTS).sum().backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is not None for weight in loaded.trainable())


def test_restoring_takes_up_adapters_that_were_saved(adapted: Policy, tmp_path: Path) -> None:
    learned = adapted.logprobs(SCRIPTS).detach()
    adapted.save(tmp_path)
    weights = adapted.trainable()
    disturb(adapted, seed=1)
    assert not close(adapted.logprobs(SCRIPTS), learned)
    adapted.restore(tmp_path)
    assert close(adapted.logprobs(SCRIPTS), learned)
    assert all(mine is theirs for mine, theirs in zip(adapted.trainable(), weights, strict=True))
    fresh = small().with_lora(4, seed=9)
    fresh.restore(tmp_path)
    assert close(fresh.logprobs(SCRIPTS), learned)


def test_a_merged_copy_is_saved_as_a_model_of_its_own(adapted: Policy, tmp_path: Path) -> None:
    adapted.copy().save(tmp_path)
    loaded = Policy.load(tmp_path, device="cpu")
    assert loaded.adapters == {}
    torch.testing.assert_close(loaded.logprobs(SCRIPTS), adapted.logprobs(SCRIPTS), atol=2e-4, rtol=0)


# --- how it is run


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_adapters_recompute_and_are_computed_in_half_precision_like_any_weights(autocast: Any) -> None:
    results = []
    for recompute in (False, True):
        plain = small()
        policy = disturb(
            Policy(plain.model, plain.tokenizer, "cpu", autocast=autocast, recompute=recompute).with_lora(4)
        )
        calls: list[object] = []
        policy.core.model.layers[0].mlp.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        loss = policy.logprobs(SCRIPTS)
        loss.sum().backward()  # type: ignore[no-untyped-call]
        assert len(calls) == 1 + recompute
        results.append((loss.detach(), [weight.grad for weight in policy.trainable()]))
    (kept, kept_gradients), (again, gradients) = results
    torch.testing.assert_close(again, kept)
    for mine, theirs in zip(gradients, kept_gradients, strict=True):
        assert mine is not None
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def test_adapters_do_not_drop_out() -> None:
    from peft import LoraConfig, get_peft_model

    plain = small()
    config = LoraConfig(r=4, lora_dropout=0.5, target_modules="all-linear", task_type="CAUSAL_LM")
    policy = disturb(Policy(get_peft_model(plain.model, config), plain.tokenizer, "cpu", recompute=True))
    with torch.no_grad():
        quiet = policy.logprobs(SCRIPTS)
    torch.testing.assert_close(policy.logprobs(SCRIPTS), quiet, atol=1e-5, rtol=0)
