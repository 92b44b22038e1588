"""Learning from a batch: mini-batches, micro-batches, steps that are not taken, corrections of the sampler."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from byhand import (
    ONE_BATCH,
    Still,
    attempt,
    flat_gradient,
    group,
    moved,
    old,
    precise,
    read,
    relative,
    spoken,
    told_of,
    weights_of,
)
from torch import Tensor

from sdpo_agent import GRPO, SDPO, Group, GRPOSettings, Policy, SDPOSettings, TrainSettings
from sdpo_agent.learn import LearnSettings, learn, learning_rate, make_optimizer
from sdpo_agent.processes import Processes
from sdpo_agent.tokens import Tally
from sdpo_envs import SettingError


def pair(policy: Policy, good: str = "a", bad: str = "bcd", off: float = 0.0) -> Group:
    return group(attempt(policy, good, 1.0, off=off), attempt(policy, bad, 0.0, off=off))


def tokens_of(one: Group) -> int:
    return sum(len(turn.token_ids) for each in one.attempts for turn in each.turns)


def step_on(
    policy: Policy, algorithm: Any, groups: list[Group], optimizer: torch.optim.Optimizer, step: int = 0, **changes: Any
) -> dict[str, float]:
    settings = replace(ONE_BATCH, **{"learning_rate": 0.01, **changes})
    tally = learn(policy, algorithm, optimizer, groups, settings, step=step, processes=Processes())
    return {name: value / count if count else value for name, (value, count) in tally.items()}


# --- mini-batches


def test_each_mini_batch_is_a_step_on_whole_groups(policy: Policy) -> None:
    groups = [pair(policy, "a", bad) for bad in ("b", "cc", "ddd", "eeee", "fffff")]
    alone = [told_of(policy, GRPO(), [each])[1] for each in groups]
    optimizer = Still(policy)
    learn(policy, GRPO(), optimizer, groups, replace(ONE_BATCH, minibatches=5), step=0, processes=Processes())
    assert len(optimizer.gradients) == 5
    found = [[relative(ours, theirs) < 1e-4 for theirs in alone].index(True) for ours in optimizer.gradients]
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert found != [0, 1, 2, 3, 4]  # in an order of their own


def test_the_order_follows_from_the_seed_and_the_step(policy: Policy) -> None:
    groups = [pair(policy, "a", bad) for bad in ("b", "cc", "ddd", "eeee", "fffff")]

    def first(seed: int, step: int) -> Tensor:
        optimizer, settings = Still(policy), replace(ONE_BATCH, minibatches=5, seed=seed)
        learn(policy, GRPO(), optimizer, groups, settings, step=step, processes=Processes())
        return torch.stack(optimizer.gradients)

    assert torch.equal(first(0, 0), first(0, 0))
    assert not torch.equal(first(0, 0), first(0, 1))
    assert not torch.equal(first(0, 0), first(1, 0))


@pytest.mark.parametrize("minibatches", [2, 3, 7])
def test_groups_that_cannot_be_shared_out_evenly_are_all_learned_from(policy: Policy, minibatches: int) -> None:
    groups = [pair(policy, "a", bad) for bad in ("b", "cc", "ddd", "eeee", "fffff")]
    optimizer = Still(policy)
    settings = replace(ONE_BATCH, minibatches=minibatches)
    tally = learn(policy, GRPO(), optimizer, groups, settings, step=0, processes=Processes())
    assert tally["optimizer_steps"] == (min(5, minibatches), 0)
    assert tally["grad_norm"][1] == min(5, minibatches)
    assert tally["clipped_share"][1] == sum(map(tokens_of, groups))  # every token once


def test_the_loss_is_the_mean_over_the_mini_batches(policy: Policy) -> None:
    groups = [pair(policy, "a", bad) for bad in ("b", "cc", "ddd", "ee")]
    alone = [told_of(policy, GRPO(), [each])[0] for each in groups]
    told, _ = told_of(policy, GRPO(), groups, replace(ONE_BATCH, minibatches=4))
    for name in ("loss", "grad_norm"):
        assert told[name] == pytest.approx(sum(each[name] for each in alone) / 4, rel=1e-4, abs=1e-6)
    assert told["optimizer_steps"] == 4


def test_a_mini_batch_with_nothing_to_learn_is_no_step(policy: Policy) -> None:
    agreed = group(attempt(policy, "a", 1.0), attempt(policy, "b", 1.0))
    told, _ = told_of(policy, GRPO(), [pair(policy), agreed, agreed], replace(ONE_BATCH, minibatches=3))
    assert (told["optimizer_steps"], told["broken_gradients"], told["taught_share"]) == (1, 0, pytest.approx(1 / 3))
    alone, _ = told_of(policy, GRPO(), [pair(policy)])
    assert told["loss"] == pytest.approx(alone["loss"], rel=1e-4, abs=1e-7)


def test_off_policy_steps_after_the_first_are_clipped_against_the_sampler(policy: Policy) -> None:
    groups = [pair(policy, "a", "b"), pair(policy, "a", "b")]
    optimizer = torch.optim.SGD(policy.trainable(), 1.0)
    told = step_on(policy, GRPO(), groups, optimizer, minibatches=2, learning_rate=0.03)
    assert told["clipped_share"] > 0


def test_no_groups_are_no_step(policy: Policy) -> None:
    told, _ = told_of(policy, GRPO(), [])
    assert (told["optimizer_steps"], told["loss"], told["taught_share"]) == (0, 0, 0)
    broken = group(attempt(policy, "a", math.nan), attempt(policy, "b", math.nan))
    told, _ = told_of(policy, SDPO(policy), [broken])
    assert (told["optimizer_steps"], told["loss"], told["taught_share"]) == (0, 0, 0)


def test_the_share_that_is_taught_is_told(policy: Policy) -> None:
    one = group(attempt(policy, "a", 1.0), attempt(policy, "b", 0.0, peer="a"), attempt(policy, "c", math.nan))
    assert told_of(policy, SDPO(policy), [one])[0]["taught_share"] == 0.5
    assert told_of(policy, GRPO(), [one])[0]["taught_share"] == 1


# --- steps that are not taken


class Broken(GRPO):
    """Its gradient is not finite where an action is long."""

    def loss(self, policy: Policy, samples: Any, shares: Any, temperature: float) -> tuple[Tensor, Tally]:
        loss, told = super().loss(policy, samples, shares, temperature)
        return loss * (math.nan if max(sample.tokens for sample in samples) > 4 else 1.0), told


def test_a_gradient_that_is_not_finite_is_counted_and_not_followed(policy: Policy) -> None:
    optimizer, before = torch.optim.SGD(policy.trainable(), 1.0), weights_of(policy)
    told = step_on(policy, Broken(), [pair(policy, "a", "bbbbb")], optimizer)
    assert (told["optimizer_steps"], told["broken_gradients"]) == (0, 1)
    assert all(math.isfinite(value) for value in told.values())
    assert torch.equal(weights_of(policy), before)


def test_a_broken_mini_batch_leaves_the_others_alone(policy: Policy) -> None:
    groups = [pair(policy, "a", "bbbbb"), pair(policy, "a", "b"), pair(policy, "a", "c")]
    told, _ = told_of(policy, Broken(), groups, replace(ONE_BATCH, minibatches=3))
    assert (told["optimizer_steps"], told["broken_gradients"]) == (2, 1)
    alone = [told_of(policy, GRPO(), [each])[0] for each in groups[1:]]
    for name in ("loss", "grad_norm"):
        assert told[name] == pytest.approx(sum(each[name] for each in alone) / 2, rel=1e-4, abs=1e-7)


def test_a_zero_gradient_moves_nothing_in_spite_of_momentum_and_decay(policy: Policy) -> None:
    optimizer = torch.optim.AdamW(policy.trainable(), 1e-2, weight_decay=0.5)
    step_on(policy, GRPO(), [pair(policy)], optimizer)
    before = weights_of(policy)
    told = step_on(policy, GRPO(), [group(attempt(policy, "a", 1.0))], optimizer, step=1)
    assert (told["optimizer_steps"], told["taught_share"], told["loss"]) == (0, 0, 0)
    assert torch.equal(weights_of(policy), before)
    assert {int(state["step"]) for state in optimizer.state.values()} == {1}


def test_gradients_do_not_linger(policy: Policy) -> None:
    """Of a step that was broken, in the next."""
    optimizer = Still(policy)
    for groups in ([pair(policy, "a", "bbbbb")], [pair(policy)]):
        learn(policy, Broken(), optimizer, groups, ONE_BATCH, step=0, processes=Processes())
    assert relative(optimizer.gradients[-1], told_of(policy, GRPO(), [pair(policy)])[1]) < 1e-5


def test_a_large_gradient_is_scaled_down(policy: Policy) -> None:
    told, whole = told_of(policy, GRPO(), [pair(policy)])
    clipped, scaled = told_of(policy, GRPO(), [pair(policy)], replace(ONE_BATCH, max_grad_norm=0.01))
    assert told["grad_norm"] == clipped["grad_norm"] == pytest.approx(whole.norm().item(), rel=1e-5)
    assert scaled.norm() == pytest.approx(0.01, rel=1e-3)
    assert relative(scaled, whole * 0.01 / whole.norm()) < 1e-3


def test_the_warm_up_raises_the_learning_rate_step_by_step(policy: Policy) -> None:
    optimizer, rates = torch.optim.SGD(policy.trainable(), 1.0), []
    for step in range(4):
        step_on(policy, GRPO(), [pair(policy)], optimizer, step, learning_rate=0.3, warmup_steps=2)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.3])


@pytest.mark.parametrize(
    ("warmup", "decay", "expected"),
    [(0, 0, [1, 1, 1, 1]), (0, 4, [1, 3 / 4, 2 / 4, 1 / 4, 0, 0]), (2, 5, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3, 0])],
)
def test_the_learning_rate_rises_stays_and_falls(warmup: int, decay: int, expected: list[float]) -> None:
    settings = LearnSettings(learning_rate=0.3, warmup_steps=warmup, decay_steps=decay)
    rates = [learning_rate(settings, step) for step in range(len(expected))]
    assert rates == pytest.approx([0.3 * share for share in expected])


def test_a_run_that_would_go_on_with_nothing_to_learn_by_is_refused() -> None:
    assert TrainSettings(steps=5, decay_steps=5).steps == 5
    with pytest.raises(SettingError, match=r"steps 6 to 9.*decay_steps=5"):
        TrainSettings(steps=9, decay_steps=5)


def test_the_optimizer_is_adamw_over_what_is_trained(policy: Policy) -> None:
    optimizer = make_optimizer(policy, LearnSettings(learning_rate=3e-4, weight_decay=0.2))
    assert type(optimizer) is torch.optim.AdamW
    assert {each["weight_decay"] for each in optimizer.param_groups} == {0.2}
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    assert sum(weight.numel() for weight in optimizer.param_groups[0]["params"]) == len(weights_of(policy))


# --- corrections of the sampler


def wrong(one: Group, by: float) -> Group:
    """As if a sampler had thought each token likelier by so many nats than the policy does, less for odd ones."""
    attempts = []
    for each in one.attempts:
        (turn,) = each.turns
        shifted = tuple(value + (by if number % 2 == 0 else -by) for number, value in enumerate(turn.logprobs))
        attempts.append(replace(each, turns=(replace(turn, logprobs=shifted),)))
    return Group(one.task_id, tuple(attempts))


class Seen(GRPO):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.samples_seen: list[Any] = []

    def loss(self, policy: Policy, samples: Any, shares: Any, temperature: float) -> tuple[Tensor, Tally]:
        self.samples_seen += samples
        return super().loss(policy, samples, shares, temperature)


def corrected(policy: Policy, one: Group, limit: float | None) -> list[Any]:
    algorithm = Seen()
    told_of(policy, algorithm, [one], replace(ONE_BATCH, rollout_correction=limit))
    return sorted(algorithm.samples_seen, key=lambda sample: -sample.advantages[0])


def test_a_sampler_that_computes_alike_needs_no_correction(policy: Policy) -> None:
    for sample in corrected(policy, pair(policy), 2.0):
        assert sample.token_weights == pytest.approx([1.0] * sample.tokens, rel=1e-5)
        assert sample.old_logprobs == pytest.approx(sample.turns[0].logprobs, abs=1e-5)
    for sample in corrected(policy, pair(policy), None):
        assert (sample.token_weights, sample.old_logprobs) == (None, None)


@pytest.mark.parametrize("limit", [1.1, 2.0, 1e9])
def test_a_token_weighs_old_over_sampled_up_to_a_limit(policy: Policy, limit: float) -> None:
    honest = pair(policy)
    for sample, one in zip(corrected(policy, wrong(honest, 0.5), limit), honest.attempts, strict=True):
        assert sample.old_logprobs == pytest.approx(old(one.turns).tolist(), abs=1e-5)
        expected = [min(math.exp(-0.5 if number % 2 == 0 else 0.5), limit) for number in range(sample.tokens)]
        assert sample.token_weights == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["grpo", "sdpo"])
def test_the_correction_weighs_each_token_s_loss_and_takes_the_sampler_s_place(policy: Policy, name: str) -> None:
    """Against the sum by hand; the ratio to the sampler itself would be clipped by all of these losses."""
    honest = group(attempt(policy, "a", 1.0, peer="aa"), attempt(policy, "bcd", 0.0, peer="a"))
    settings = SDPOSettings(support="sampled-token", importance_clip=1.01)
    model, total = precise(policy), torch.tensor(0.0)
    for one, advantage in zip(honest.attempts, (0.5, -0.5), strict=True):
        logprobs = spoken(read(policy, model, one.turns), one.turns)
        weights = torch.tensor([min(math.exp(-0.5 if number % 2 == 0 else 0.5), 2) for number in range(len(logprobs))])
        advantages = torch.full_like(logprobs, advantage).detach()
        if name == "sdpo":
            (sample,) = SDPO(policy).samples(group(one))
            with torch.no_grad():
                advantages = spoken(read(policy, model, one.turns, sample.hindsight), one.turns) - logprobs
        total = total - (weights * advantages.detach() * logprobs).sum()
    learner: Any = SDPO(policy, settings) if name == "sdpo" else GRPO()
    _, gradient = told_of(policy, learner, [wrong(honest, 0.5)], replace(ONE_BATCH, rollout_correction=2.0))
    assert relative(gradient, flat_gradient(total / 6, model)) < 1e-4


def test_the_correction_is_of_the_policy_before_the_step(policy: Policy) -> None:
    """Later mini-batches are off-policy against it, and not against what they have become."""
    algorithm = Seen()
    optimizer = torch.optim.SGD(policy.trainable(), 1.0)
    honest = [pair(policy, "a", "b"), pair(policy, "a", "cc")]
    before = {each.turns: old(each.turns).tolist() for one in honest for each in one.attempts}
    changes: dict[str, Any] = {"rollout_correction": 2.0, "minibatches": 2, "learning_rate": 0.05}
    step_on(policy, algorithm, honest, optimizer, **changes)
    assert len(algorithm.samples_seen) == 4
    for sample in algorithm.samples_seen:
        assert sample.old_logprobs == pytest.approx(before[sample.turns], abs=1e-5)


def test_the_correction_of_a_conversation_reads_it_whole(policy: Policy) -> None:
    talk = [("Say letter 0.", "ab"), ("Again.", "c")]
    for together in (True, False):
        one = group(attempt(policy, talk, 1.0, together=together), attempt(policy, "b", 0.0))
        for sample in corrected(policy, one, 2.0):
            assert sample.token_weights == pytest.approx([1.0] * sample.tokens, rel=1e-4)


# --- aggregation


@pytest.mark.parametrize("how", ["token-mean", "sequence-mean", "length-mean", "released"])
def test_two_groups_in_one_mini_batch_are_a_mean_and_not_two(policy: Policy, how: Any) -> None:
    """The mean of a mini-batch is over all its tokens or attempts; that of a micro-batch never enters."""
    algorithm = GRPO(GRPOSettings(aggregate=how))
    one, other = pair(policy, "a", "b"), pair(policy, "ab", "cccccc")
    gradients = [told_of(policy, algorithm, groups)[1] for groups in ([one], [other], [one, other])]
    share = tokens_of(one) / (tokens_of(one) + tokens_of(other)) if how == "token-mean" else 0.5
    weights = (share, 1 - share)
    assert relative(gradients[2], weights[0] * gradients[0] + weights[1] * gradients[1]) < 1e-4


def test_the_initial_policy_is_left_as_it_was_by_telling_alone(policy: Policy) -> None:
    before = weights_of(policy)
    told_of(moved(policy, 0.0), SDPO(policy), [pair(policy)])
    assert torch.equal(weights_of(policy), before)


@pytest.mark.parametrize(
    "wrong",
    [
        {"minibatches": 0},
        {"microbatch": 0},
        {"max_tokens": 0},
        {"temperature": 0},
        {"learning_rate": math.nan},
        {"learning_rate": 0},
        {"warmup_steps": -1},
        {"decay_steps": -1},
        {"decay_steps": 2, "warmup_steps": 2},
        {"weight_decay": -0.1},
        {"max_grad_norm": 0},
        {"seed": -1},
        {"rollout_correction": -1.0},
        {"rollout_correction": 0.0},
        {"rollout_correction": math.nan},
    ],
    ids=str,
)
def test_a_setting_that_makes_no_sense_is_refused_before_anything_runs(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        LearnSettings(**wrong)
    with pytest.raises(SettingError):
        TrainSettings(**wrong)
