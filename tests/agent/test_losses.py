"""Advantages, ratios and policy losses, against plain Python in float64, against identities, and against garbage."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sdpo_agent.losses import (
    Aggregation,
    Baseline,
    Scale,
    cispo_loss,
    clipped_loss,
    divergence,
    group_advantages,
    importance_ratio,
    importance_weight,
    k3,
    sequence_mean,
    token_share,
)

CLIP = {"clip_low": 0.2, "clip_high": 0.28}
reals = st.floats(-30, 30)
seeds = st.integers(0, 2**32 - 1)
rewards = st.lists(st.sampled_from([0.0, 1.0, 0.25, -3.0]) | reals, max_size=9)
baselines = pytest.mark.parametrize("baseline", ["mean", "leave-one-out"])
scales = pytest.mark.parametrize("scale", ["none", "std"])
aggregations = pytest.mark.parametrize("how", ["token-mean", "sequence-mean", "length-mean", "released"])


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def normal(*shape: int, seed: int, scale: float = 3.0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * scale


def gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    at = at.clone().requires_grad_()
    (result,) = torch.autograd.grad(loss(at).sum(), at)
    return result


# --- token_share

LOSSES = [[1.0, 2.0, 3.0], [10.0], [5.0, 5.0]]


def mean(losses: Sequence[Sequence[float]], how: Aggregation, limit: int = 4) -> float:
    shares = [token_share(len(row), how, limit) for row in losses]
    weighed = math.fsum(weight * loss for (weight, _), row in zip(shares, losses, strict=True) for loss in row)
    return weighed / math.fsum(total for _, total in shares)


def test_token_mean_weighs_every_token_the_same() -> None:
    assert mean(LOSSES, "token-mean") == pytest.approx((1 + 2 + 3 + 10 + 5 + 5) / 6)


@pytest.mark.parametrize("how", ["sequence-mean", "released"])
def test_sequence_mean_weighs_every_sequence_the_same(how: Aggregation) -> None:
    assert mean(LOSSES, how) == pytest.approx((2 + 10 + 5) / 3)


def test_length_mean_divides_every_sequence_by_the_longest_that_there_may_be() -> None:
    assert mean(LOSSES, "length-mean", limit=4) == pytest.approx((6 / 4 + 10 / 4 + 10 / 4) / 3)
    assert mean(LOSSES, "length-mean", limit=8) == pytest.approx(mean(LOSSES, "length-mean", limit=4) / 2)


@pytest.mark.parametrize("how", ["token-mean", "sequence-mean", "length-mean"])
def test_a_limit_is_read_by_the_length_mean_alone(how: Aggregation) -> None:
    assert (token_share(3, how, 4) == token_share(3, how, 5)) == (how != "length-mean")


def test_released_is_diluted_by_sequences_that_teach_nothing_once_the_caller_counts_them() -> None:
    silent = [[0.0, 0.0], [0.0], [0.0, 0.0, 0.0]]
    assert mean([*LOSSES, *silent], "released") == pytest.approx(mean(LOSSES, "sequence-mean") / 2)


@aggregations
@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=8), cut=st.integers(0, 8), seed=seeds)
@settings(max_examples=30)
def test_it_does_not_matter_how_a_mini_batch_is_cut(how: Aggregation, lengths: list[int], cut: int, seed: int) -> None:
    losses = [row.tolist() for row in normal(sum(lengths), seed=seed).split(lengths)]
    total = sum(token_share(length, how, 5)[1] for length in lengths)
    parts = [
        sum(token_share(len(row), how, 5)[0] / total * loss for row in micro for loss in row)
        for micro in (losses[:cut], losses[cut:])
    ]
    assert sum(parts) == pytest.approx(mean(losses, how, 5), abs=1e-12)
    assert mean(losses[::-1], how, 5) == pytest.approx(mean(losses, how, 5), abs=1e-12)


@aggregations
def test_the_mean_of_a_constant_is_that_constant_where_all_are_of_full_length(how: Aggregation) -> None:
    assert mean([[7.0] * 4] * 3, how, limit=4) == pytest.approx(7)


@aggregations
def test_a_sequence_without_tokens_has_a_finite_share(how: Aggregation) -> None:
    assert all(math.isfinite(share) and share >= 0 for share in token_share(0, how, 4))


def test_an_unknown_mean_is_an_error_that_names_those_on_offer() -> None:
    with pytest.raises(ValueError, match=r"how='mean' is not offered\. Choose 'token-mean', 'sequence-mean', 'length-"):
        token_share(3, "mean", 4)  # type: ignore[arg-type]


# --- group_advantages


def reference_advantages(rewards: list[float], baseline: Baseline, scale: Scale) -> list[float]:
    if len(rewards) < 2:
        return [0.0] * len(rewards)
    spread = float(np.std(rewards, ddof=1)) + 1e-4 if scale == "std" else 1.0
    advantages = []
    for own, reward in enumerate(rewards):
        others = [r for other, r in enumerate(rewards) if other != own or baseline == "mean"]
        advantages.append((reward - math.fsum(others) / len(others)) / spread)
    return advantages


@baselines
@scales
@given(rewards=rewards)
def test_advantages_are_those_of_a_plain_loop(baseline: Baseline, scale: Scale, rewards: list[float]) -> None:
    advantages = group_advantages(tensor(rewards), baseline, scale).tolist()
    assert advantages == pytest.approx(reference_advantages(rewards, baseline, scale), abs=1e-8)


@baselines
@scales
@given(rewards=rewards)
def test_advantages_of_a_group_sum_to_zero(baseline: Baseline, scale: Scale, rewards: list[float]) -> None:
    assert group_advantages(tensor(rewards), baseline, scale).sum().item() == pytest.approx(0, abs=1e-8)


@baselines
@scales
@given(rewards=rewards, seed=seeds)
def test_advantages_follow_their_attempts_when_these_change_places(
    baseline: Baseline, scale: Scale, rewards: list[float], seed: int
) -> None:
    order = torch.randperm(len(rewards), generator=torch.Generator().manual_seed(seed))
    moved = group_advantages(tensor(rewards)[order], baseline, scale)
    assert torch.allclose(moved, group_advantages(tensor(rewards), baseline, scale)[order], atol=1e-8)


@scales
@given(seed=seeds, count=st.integers(2, 9))
def test_leave_one_out_is_the_mean_baseline_times_g_over_g_less_one(scale: Scale, seed: int, count: int) -> None:
    rewards = normal(count, seed=seed)
    left_out = group_advantages(rewards, "leave-one-out", scale)
    assert torch.allclose(left_out, group_advantages(rewards, "mean", scale) * count / (count - 1), atol=1e-12)


@baselines
@scales
@given(seed=seeds, shift=reals)
def test_a_shift_of_all_rewards_changes_no_advantage(baseline: Baseline, scale: Scale, seed: int, shift: float) -> None:
    rewards = normal(5, seed=seed)
    shifted = group_advantages(rewards + shift, baseline, scale)
    assert torch.allclose(shifted, group_advantages(rewards, baseline, scale), atol=1e-9)


@baselines
@given(seed=seeds, factor=st.floats(0.1, 100))
def test_a_factor_scales_plain_advantages_and_hardly_moves_standardised_ones(
    baseline: Baseline, seed: int, factor: float
) -> None:
    rewards = tensor([0.0, 1.0, 5.0]) + normal(3, seed=seed, scale=0.1)
    plain = group_advantages(rewards, baseline, "none")
    assert torch.allclose(group_advantages(factor * rewards, baseline, "none"), factor * plain)
    standardised = group_advantages(rewards, baseline, "std")
    assert torch.allclose(group_advantages(factor * rewards, baseline, "std"), standardised, atol=2e-3)


@baselines
def test_equal_rewards_give_no_advantage_even_when_divided_by_their_spread(baseline: Baseline) -> None:
    assert group_advantages(torch.full((4,), 0.1), baseline, "std").abs().max() < 1e-3


@baselines
@scales
def test_an_attempt_without_others_has_no_advantage(baseline: Baseline, scale: Scale) -> None:
    assert group_advantages(tensor([3.0]), baseline, scale).tolist() == [0.0]
    assert group_advantages(tensor([]), baseline, scale).tolist() == []


def test_the_rewards_that_are_compared_stay_as_they_were() -> None:
    rewards = tensor([1.0, 0.0])
    group_advantages(rewards, "leave-one-out", "std")
    assert rewards.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(("baseline", "scale"), [("median", "none"), ("mean", "batch")])
def test_an_unknown_baseline_or_scale_is_an_error(baseline: str, scale: str) -> None:
    with pytest.raises(ValueError, match=f"baseline='{baseline}' and scale='{scale}'"):
        group_advantages(tensor([1.0]), baseline, scale)  # type: ignore[arg-type]


# --- importance ratios and weights


def test_the_importance_ratio_is_clipped_at_twenty_nats() -> None:
    ratios = importance_ratio(tensor([-1e3, 0.0, 1.0, 1e3]), tensor([0.0, 0.0, 0.0, 0.0]))
    assert ratios.tolist() == pytest.approx([math.exp(-20), 1.0, math.e, math.exp(20)])


def test_importance_weights_are_truncated_above_only_and_constant() -> None:
    logprobs = tensor([-5.0, 0.1, 9.0]).requires_grad_()
    weights = importance_weight(logprobs, torch.zeros(3).double(), limit=2.0)
    assert weights.tolist() == pytest.approx([math.exp(-5), math.exp(0.1), 2.0])
    assert not weights.requires_grad


@pytest.mark.parametrize("distance", [-math.inf, -1e4, 1e4, math.inf])
def test_policies_that_are_far_apart_keep_surrogate_and_estimate_finite(distance: float) -> None:
    old, advantages = torch.tensor([-2.0, -2.0, -2.0]), torch.tensor([1.0, -1.0, 0.0])

    def clipped(logprobs: Tensor) -> Tensor:
        return clipped_loss(importance_ratio(logprobs, old), advantages, **CLIP, dual_clip=3.0)

    def estimate(logprobs: Tensor) -> Tensor:
        return k3(logprobs, old)

    at = old + distance
    for loss in (clipped, estimate):
        assert loss(at).isfinite().all()
        assert gradient(loss, at).isfinite().all()
    assert k3(old, at).isfinite().all()


# --- clipped_loss


@given(seed=seeds, dual_clip=st.sampled_from([None, 1.5, 3.0]))
def test_the_surrogate_is_that_of_a_plain_loop(seed: int, dual_clip: float | None) -> None:
    ratios, advantages = normal(12, seed=seed, scale=1).exp(), normal(12, seed=seed + 1)
    losses = clipped_loss(ratios, advantages, **CLIP, dual_clip=dual_clip).tolist()
    for ratio, advantage, loss in zip(ratios.tolist(), advantages.tolist(), losses, strict=True):
        expected = -min(ratio * advantage, min(max(ratio, 0.8), 1.28) * advantage)
        if dual_clip is not None and advantage < 0:
            expected = min(expected, -dual_clip * advantage)
        assert loss == pytest.approx(expected)


@given(seed=seeds, dual_clip=st.sampled_from([None, 3.0]))
def test_on_the_policy_that_sampled_every_surrogate_has_the_gradient_of_reinforce(
    seed: int, dual_clip: float | None
) -> None:
    logprobs, advantages = normal(9, seed=seed), normal(9, seed=seed + 1)

    def clipped(x: Tensor) -> Tensor:
        return clipped_loss(importance_ratio(x, logprobs), advantages, **CLIP, dual_clip=dual_clip)

    def cispo(x: Tensor) -> Tensor:
        return cispo_loss(x, importance_ratio(x, logprobs), advantages, 0.28)

    assert torch.allclose(gradient(clipped, logprobs), -advantages)
    assert torch.allclose(gradient(cispo, logprobs), -advantages)


@pytest.mark.parametrize(
    ("advantage", "ratio", "moves"),
    [
        (1.0, 1.3, False),  # a good action, already likelier: enough
        (1.0, 1.27, True),
        (1.0, 0.5, True),  # a good action that became less likely: brought back
        (-1.0, 0.7, False),  # a bad action, already less likely: enough
        (-1.0, 0.81, True),
        (-1.0, 1.5, True),  # a bad action that became likelier: brought back
        (-1.0, 2.9, True),
        (-1.0, 3.1, False),  # so much likelier that the dual clip bounds it
    ],
)
def test_the_clip_stops_the_push_and_never_the_pull_back(advantage: float, ratio: float, moves: bool) -> None:
    def loss(ratio_N: Tensor) -> Tensor:
        return clipped_loss(ratio_N, tensor([advantage]), **CLIP, dual_clip=3.0)

    assert gradient(loss, tensor([ratio])).item() == pytest.approx(-advantage if moves else 0.0)


def test_without_a_dual_clip_a_bad_action_that_became_much_likelier_has_no_bound() -> None:
    ratio, advantages = tensor([math.e**3]), tensor([-2.0])
    assert clipped_loss(ratio, advantages, **CLIP, dual_clip=None).item() == pytest.approx(2 * math.e**3)
    assert clipped_loss(ratio, advantages, **CLIP, dual_clip=3.0).item() == pytest.approx(6)


def test_only_the_policy_that_learns_receives_a_gradient() -> None:
    logprobs, old, advantages = (normal(5, seed=seed).requires_grad_() for seed in range(3))
    ratio = importance_ratio(logprobs, old)
    loss = clipped_loss(ratio, advantages, **CLIP, dual_clip=3.0) + cispo_loss(logprobs, ratio, advantages, 0.28)
    (loss + k3(logprobs, old) + importance_weight(logprobs, old, 2.0)).sum().backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None
    assert old.grad is None
    assert advantages.grad is None


# --- sequence_mean, and the sequence's ratio that GSPO makes of it

SEQUENCE = torch.tensor([0, 0, 2, 2, 2, 3])  # the second sequence has no tokens


@given(seed=seeds)
def test_each_value_is_replaced_by_the_mean_of_its_sequence(seed: int) -> None:
    values = normal(6, seed=seed)
    a, b, c, d, e, f = values.tolist()
    expected = [(a + b) / 2] * 2 + [(c + d + e) / 3] * 3 + [f]
    assert sequence_mean(values, SEQUENCE, 4).tolist() == pytest.approx(expected)


@given(seed=seeds)
def test_a_mean_of_means_is_the_mean_and_the_sum_stays(seed: int) -> None:
    values = normal(6, seed=seed)
    means = sequence_mean(values, SEQUENCE, 4)
    assert torch.allclose(sequence_mean(means, SEQUENCE, 4), means)
    assert means.sum().item() == pytest.approx(values.sum().item())


def test_the_order_of_tokens_does_not_matter_to_their_mean() -> None:
    values, order = normal(6, seed=0), torch.tensor([5, 0, 3, 1, 4, 2])
    moved = sequence_mean(values[order], SEQUENCE[order], 4)
    assert torch.allclose(moved, sequence_mean(values, SEQUENCE, 4)[order])


def test_a_nan_stays_in_its_own_sequence() -> None:
    values = torch.where(torch.arange(6) == 1, math.nan, normal(6, seed=0))
    assert sequence_mean(values, SEQUENCE, 4).isnan().tolist() == [True, True, False, False, False, False]


def test_the_mean_of_no_tokens_is_no_tokens() -> None:
    assert sequence_mean(tensor([]), torch.zeros(0, dtype=torch.long), 0).shape == (0,)


def test_the_gradients_of_means_and_estimates_are_those_of_finite_differences() -> None:
    values, other = normal(6, seed=0, scale=1).requires_grad_(), normal(6, seed=1, scale=1)
    ratio = (other / 10).exp().requires_grad_()  # within the clip or well beyond, never at its edge
    assert torch.autograd.gradcheck(lambda x: sequence_mean(x, SEQUENCE, 4).exp(), values)
    assert torch.autograd.gradcheck(lambda x: importance_ratio(x, other), values)
    assert torch.autograd.gradcheck(lambda x: k3(x, other), values)
    assert torch.autograd.gradcheck(lambda x: cispo_loss(x, ratio, other, 0.28), values)
    assert torch.autograd.gradcheck(lambda x: clipped_loss(x, other, **CLIP, dual_clip=3.0), ratio)


@given(seed=seeds)
def test_gspo_moves_each_sequence_as_one_action_of_its_geometric_mean_ratio(seed: int) -> None:
    logprobs, old = normal(6, seed=seed, scale=0.3), normal(6, seed=seed + 1, scale=0.3)
    advantage_B = normal(4, seed=seed + 2)
    lengths = torch.bincount(SEQUENCE)[SEQUENCE].tolist()
    weights = tensor([token_share(length, "sequence-mean", 9)[0] for length in lengths])

    def by_token(x: Tensor) -> Tensor:
        means = sequence_mean(x - old, SEQUENCE, 4)
        ratio = importance_ratio(means, torch.zeros_like(means))
        return weights * clipped_loss(ratio, advantage_B[SEQUENCE], **CLIP, dual_clip=None)

    def by_token_with_its_own_gradient(x: Tensor) -> Tensor:
        means = sequence_mean(x.detach() - old, SEQUENCE, 4)
        ratio = importance_ratio(means, torch.zeros_like(means)) * (x - x.detach()).exp()
        return weights * clipped_loss(ratio, advantage_B[SEQUENCE], **CLIP, dual_clip=None)

    def by_sequence(x: Tensor) -> Tensor:
        ratios = [((x - old)[number == SEQUENCE].mean()).exp() for number in (0, 2, 3)]
        return clipped_loss(torch.stack(ratios), advantage_B[[0, 2, 3]], **CLIP, dual_clip=None)

    for loss in (by_token, by_token_with_its_own_gradient):
        assert loss(logprobs).sum().item() == pytest.approx(by_sequence(logprobs).sum().item())
        assert torch.allclose(gradient(loss, logprobs), gradient(by_sequence, logprobs))


# --- cispo_loss


@given(seed=seeds)
def test_cispo_is_reinforce_with_a_weight_that_is_truncated_above(seed: int) -> None:
    logprobs, old, advantages = (normal(9, seed=seed + number, scale=1) for number in range(3))
    ratios = [min(math.exp(new - before), 1.28) for new, before in zip(logprobs.tolist(), old.tolist(), strict=True)]
    loss = cispo_loss(logprobs, importance_ratio(logprobs, old), advantages, 0.28)
    assert torch.allclose(loss, -tensor(ratios) * advantages * logprobs)
    result = gradient(lambda x: cispo_loss(x, importance_ratio(x, old), advantages, 0.28), logprobs)
    assert torch.allclose(result, -tensor(ratios) * advantages)


@pytest.mark.parametrize("ratio", [1e-6, 0.5, 1.27, 1.3, 1e6])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_cispo_leaves_no_token_without_a_gradient(ratio: float, advantage: float) -> None:
    result = gradient(lambda x: cispo_loss(x, tensor([ratio]), tensor([advantage]), 0.28), tensor([-2.0]))
    assert result.item() == pytest.approx(-advantage * min(ratio, 1.28))


# --- k3


@given(logprob=st.floats(-15, 0), reference=st.floats(-15, 0))
def test_the_estimate_is_that_of_a_plain_formula_and_at_least_zero(logprob: float, reference: float) -> None:
    value = k3(tensor([logprob]), tensor([reference])).item()
    assert value >= 0
    ratio = math.exp(reference - logprob)
    assert value == pytest.approx(ratio - 1 - math.log(ratio), rel=1e-9, abs=1e-9 * ratio)


@given(seed=seeds)
def test_the_estimate_is_unbiased_in_value_and_its_gradient_is_that_of_the_other_divergence(seed: int) -> None:
    logits, reference = normal(6, seed=seed, scale=1), normal(6, seed=seed + 1, scale=1).log_softmax(-1)
    probabilities = logits.softmax(-1)  # the exact expectation over the token that might have been sampled
    value = (probabilities * k3(logits.log_softmax(-1), reference)).sum()
    assert value.item() == pytest.approx(divergence(logits.log_softmax(-1), reference, 1.0).item())
    average = gradient(lambda x: probabilities * k3(x.log_softmax(-1), reference), logits)
    other = gradient(lambda x: divergence(x.log_softmax(-1), reference, 0.0), logits)
    assert torch.allclose(average, other, atol=1e-9)


@given(seed=seeds)
def test_the_estimate_is_zero_and_flat_where_the_policy_is_the_reference(seed: int) -> None:
    logprobs = -normal(5, seed=seed).abs()
    assert k3(logprobs, logprobs).eq(0).all()
    assert gradient(lambda x: k3(x, logprobs), logprobs).eq(0).all()


def test_a_small_distance_is_not_lost_to_rounding() -> None:
    assert k3(torch.tensor([-1.0]), torch.tensor([-1.0 + 2**-10])).item() == pytest.approx(2**-21, rel=1e-2)


# --- what is broken is seen


def test_a_nan_in_a_policy_is_seen_in_every_loss() -> None:
    broken, whole, advantages = tensor([math.nan]), tensor([-1.0]), tensor([1.0])
    assert importance_weight(broken, whole, 2.0).isnan()
    assert clipped_loss(importance_ratio(broken, whole), advantages, **CLIP, dual_clip=3.0).isnan()
    assert clipped_loss(importance_ratio(broken, whole), -advantages, **CLIP, dual_clip=3.0).isnan()
    assert cispo_loss(broken, importance_ratio(broken, whole), advantages, 0.28).isnan()
    assert k3(broken, whole).isnan()
    assert k3(whole, broken).isnan()
