"""The mathematics, against plain Python in float64, against identities, and against garbage."""

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
    Scale,
    aggregate,
    divergence,
    group_advantages,
    importance_ratio,
    importance_weight,
    inside,
    keep_top,
    policy_gradient_loss,
    sampled_token_loss,
)

ALPHAS = [0.0, 0.1, 0.5, 0.9, 1.0]
CLIP = {"clip_low": 0.2, "clip_high": 0.28}
reals = st.floats(-30, 30)
seeds = st.integers(0, 2**32 - 1)


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def normal(*shape: int, seed: int, scale: float = 3.0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * scale


def gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    at = at.clone().requires_grad_()
    (result,) = torch.autograd.grad(loss(at).sum(), at)
    return result


def softmax(logits: Sequence[float]) -> list[float]:
    top = max(logits)
    weights = [math.exp(logit - top) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def kl(p: Sequence[float], q: Sequence[float]) -> float:
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def reference_divergence(s: Sequence[float], t: Sequence[float], alpha: float) -> float:
    if alpha == 0:
        return kl(t, s)
    if alpha == 1:
        return kl(s, t)
    m = [(1 - alpha) * a + alpha * b for a, b in zip(s, t, strict=True)]
    return (1 - alpha) * kl(s, m) + alpha * kl(t, m)


# --- aggregate

LOSS = [[1.0, 2.0, 3.0], [10.0, 0.0, 0.0], [5.0, 5.0, 5.0]]
MASK = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])


def test_token_mean_weighs_every_token_the_same() -> None:
    assert aggregate(tensor(LOSS), MASK, "token-mean").item() == pytest.approx((1 + 2 + 3 + 10) / 4)


def test_sequence_mean_weighs_every_sequence_that_has_a_token_the_same() -> None:
    assert aggregate(tensor(LOSS), MASK, "sequence-mean").item() == pytest.approx(((1 + 2 + 3) / 3 + 10) / 2)


@pytest.mark.parametrize("how", ["token-mean", "sequence-mean"])
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e300])
def test_what_lies_outside_the_mask_changes_neither_the_loss_nor_its_gradient(how: Aggregation, garbage: float) -> None:
    dirty = torch.where(MASK, tensor(LOSS), garbage)
    assert aggregate(dirty, MASK, how) == aggregate(tensor(LOSS), MASK, how)
    clean_gradient = gradient(lambda loss: aggregate(loss, MASK, how), tensor(LOSS))
    assert torch.equal(gradient(lambda loss: aggregate(loss, MASK, how), dirty), clean_gradient)


@pytest.mark.parametrize("how", ["token-mean", "sequence-mean"])
@pytest.mark.parametrize("shape", [(2, 3), (2, 0), (0, 3)])
def test_an_empty_mask_gives_a_loss_of_zero_and_no_gradient(how: Aggregation, shape: tuple[int, int]) -> None:
    mask = torch.zeros(shape, dtype=torch.bool)
    loss = normal(*shape, seed=0)
    assert aggregate(loss, mask, how) == 0
    assert torch.equal(gradient(lambda loss: aggregate(loss, mask, how), loss), torch.zeros(shape).double())


@pytest.mark.parametrize("how", ["token-mean", "sequence-mean"])
@given(seed=seeds, padding=st.integers(1, 4))
@settings(max_examples=20)
def test_padding_more_changes_nothing(how: Aggregation, seed: int, padding: int) -> None:
    loss, mask = normal(3, 4, seed=seed), normal(3, 4, seed=seed + 1) > 0
    wider = torch.nn.functional.pad(loss, (0, padding), value=7.0), torch.nn.functional.pad(mask, (0, padding))
    assert aggregate(*wider, how) == pytest.approx(aggregate(loss, mask, how).item(), abs=1e-12)


@given(seed=seeds)
@settings(max_examples=20)
def test_both_means_agree_where_all_sequences_are_equally_long(seed: int) -> None:
    loss, mask = normal(3, 4, seed=seed), torch.ones(3, 4, dtype=torch.bool)
    assert aggregate(loss, mask, "token-mean") == pytest.approx(
        aggregate(loss, mask, "sequence-mean").item(), abs=1e-12
    )


def test_an_unknown_mean_is_an_error_that_names_those_on_offer() -> None:
    with pytest.raises(ValueError, match=r"how='mean' is not offered\. Choose 'token-mean' or 'sequence-mean'"):
        aggregate(tensor(LOSS), MASK, "mean")  # type: ignore[arg-type]


def test_garbage_put_inside_the_mask_of_a_whole_chain_changes_no_gradient() -> None:
    mask = MASK[:2]
    logprobs, old, advantages = -normal(2, 3, seed=0).abs(), -normal(2, 3, seed=1).abs(), tensor([1.0, -1.0])

    def loss(logprobs: Tensor, old: Tensor) -> Tensor:
        logprobs, old = inside(logprobs, mask), inside(old, mask)
        loss_BT = policy_gradient_loss(logprobs, old, advantages, **CLIP, dual_clip=3.0)
        loss_BT = loss_BT * importance_weight(logprobs, old, 2.0) + sampled_token_loss(logprobs, old)
        return aggregate(loss_BT, mask, "token-mean")

    dirty_logprobs, dirty_old = torch.where(mask, logprobs, math.nan), torch.where(mask, old, -math.inf)
    dirty = gradient(lambda logprobs: loss(logprobs, dirty_old), dirty_logprobs)
    assert torch.equal(dirty, gradient(lambda logprobs: loss(logprobs, old), logprobs))
    assert dirty[~mask].eq(0).all()
    assert dirty[mask].ne(0).all()


# --- group_advantages


def reference_advantages(rewards: list[float], groups: list[int], scale: Scale) -> list[float]:
    advantages = []
    for reward, group in zip(rewards, groups, strict=True):
        peers = [r for r, g in zip(rewards, groups, strict=True) if g == group and not math.isnan(r)]
        if math.isnan(reward) or len(peers) < 2:
            advantages.append(0.0)
        else:
            spread = float(np.std(peers, ddof=1)) + 1e-4 if scale == "std" else 1.0
            advantages.append((reward - float(np.mean(peers))) / spread)
    return advantages


batches = st.lists(st.tuples(st.sampled_from([0.0, 1.0, 0.25, -3.0, math.nan]), st.integers(-2, 2)), max_size=12)


@pytest.mark.parametrize("scale", ["none", "std"])
@given(batch=batches)
def test_advantages_are_those_of_a_plain_loop(scale: Scale, batch: list[tuple[float, int]]) -> None:
    rewards, groups = [reward for reward, _ in batch], [group for _, group in batch]
    advantages = group_advantages(tensor(rewards), torch.tensor(groups, dtype=torch.long), scale)
    assert advantages.tolist() == pytest.approx(reference_advantages(rewards, groups, scale), abs=1e-9)


@pytest.mark.parametrize("scale", ["none", "std"])
@given(batch=batches)
def test_advantages_sum_to_zero_in_each_group(scale: Scale, batch: list[tuple[float, int]]) -> None:
    rewards, groups = tensor([reward for reward, _ in batch]), torch.tensor([g for _, g in batch], dtype=torch.long)
    advantages = group_advantages(rewards, groups, scale)
    for group in set(groups.tolist()):
        assert advantages[groups == group].sum().item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("scale", ["none", "std"])
@given(seed=seeds, shift=reals)
def test_a_shift_of_all_rewards_changes_no_advantage(scale: Scale, seed: int, shift: float) -> None:
    rewards, groups = normal(6, seed=seed), torch.tensor([0, 0, 0, 1, 1, 1])
    shifted = group_advantages(rewards + shift, groups, scale)
    assert torch.allclose(shifted, group_advantages(rewards, groups, scale), atol=1e-9)


@given(seed=seeds, factor=st.floats(0.1, 100))
def test_a_factor_scales_plain_advantages_and_hardly_moves_standardised_ones(seed: int, factor: float) -> None:
    rewards, groups = torch.tensor([0.0, 1.0, 5.0]).double() + normal(3, seed=seed, scale=0.1), torch.zeros(3)
    plain = group_advantages(rewards, groups, "none")
    assert torch.allclose(group_advantages(factor * rewards, groups, "none"), factor * plain)
    standardised = group_advantages(rewards, groups, "std")
    assert torch.allclose(group_advantages(factor * rewards, groups, "std"), standardised, atol=1e-3)


def test_equal_rewards_give_no_advantage_even_when_divided_by_their_spread() -> None:
    assert group_advantages(torch.full((4,), 0.1), torch.zeros(4), "std").abs().max() < 1e-3


def test_a_reward_that_nobody_decided_leaves_its_peers_as_if_it_were_not_there() -> None:
    advantages = group_advantages(tensor([1.0, math.nan, 0.0]), torch.zeros(3), "none")
    assert advantages.tolist() == [0.5, 0.0, -0.5]


def test_the_rewards_that_are_compared_stay_as_they_were() -> None:
    rewards = tensor([1.0, 0.0])
    group_advantages(rewards, torch.zeros(2), "std")
    assert rewards.tolist() == [1.0, 0.0]


def test_an_unknown_scale_is_an_error_that_names_those_on_offer() -> None:
    with pytest.raises(ValueError, match=r"scale='batch' is not offered\. Choose 'none' or 'std'"):
        group_advantages(tensor([1.0]), torch.zeros(1), "batch")  # type: ignore[arg-type]


# --- policy_gradient_loss, importance weights


@given(seed=seeds, dual_clip=st.sampled_from([None, 1.5, 3.0]))
def test_the_surrogate_is_that_of_a_plain_loop(seed: int, dual_clip: float | None) -> None:
    logprobs, old, advantages = (
        normal(3, 4, seed=seed, scale=1),
        normal(3, 4, seed=seed + 1, scale=1),
        normal(3, seed=9),
    )
    loss = policy_gradient_loss(logprobs, old, advantages, **CLIP, dual_clip=dual_clip)
    for b, t in np.ndindex(3, 4):
        ratio, advantage = math.exp(logprobs[b, t] - old[b, t]), advantages[b].item()
        expected = -min(ratio * advantage, min(max(ratio, 0.8), 1.28) * advantage)
        if dual_clip is not None and advantage < 0:
            expected = min(expected, -dual_clip * advantage)
        assert loss[b, t].item() == pytest.approx(expected)


@given(seed=seeds, dual_clip=st.sampled_from([None, 3.0]))
def test_on_the_policy_that_sampled_the_gradient_is_that_of_reinforce(seed: int, dual_clip: float | None) -> None:
    logprobs, advantages = normal(3, 4, seed=seed), normal(3, seed=seed + 1)
    result = gradient(lambda x: policy_gradient_loss(x, logprobs, advantages, **CLIP, dual_clip=dual_clip), logprobs)
    assert torch.allclose(result, -advantages[:, None].expand(3, 4))


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
    old, advantages = tensor([[-2.0]]), tensor([advantage])
    result = gradient(lambda x: policy_gradient_loss(x, old, advantages, **CLIP, dual_clip=3.0), old + math.log(ratio))
    assert result.item() == pytest.approx(-advantage * ratio if moves else 0.0)


def test_without_a_dual_clip_a_bad_action_that_became_much_likelier_has_no_bound() -> None:
    old, advantages = tensor([[-9.0]]), tensor([-2.0])
    assert policy_gradient_loss(old + 3, old, advantages, **CLIP, dual_clip=None).item() == pytest.approx(2 * math.e**3)
    assert policy_gradient_loss(old + 3, old, advantages, **CLIP, dual_clip=3.0).item() == pytest.approx(6)


def test_only_the_policy_that_learns_receives_a_gradient() -> None:
    logprobs, old, advantages = (normal(*shape, seed=0).requires_grad_() for shape in [(2, 3), (2, 3), (2,)])
    policy_gradient_loss(logprobs, old, advantages, **CLIP, dual_clip=3.0).sum().backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None
    assert old.grad is None
    assert advantages.grad is None


@pytest.mark.parametrize("advantage", [1.0, -1.0, 0.0])
@pytest.mark.parametrize("distance", [-math.inf, -1e4, 1e4, math.inf])
def test_policies_that_are_far_apart_keep_the_surrogate_finite(advantage: float, distance: float) -> None:
    old, advantages = torch.tensor([[-2.0]]), torch.tensor([advantage])

    def loss(logprobs: Tensor) -> Tensor:
        return policy_gradient_loss(logprobs, old, advantages, **CLIP, dual_clip=3.0)

    assert loss(old + distance).isfinite().all()
    assert gradient(loss, old + distance).isfinite().all()


def test_the_importance_ratio_is_clipped_at_twenty_nats() -> None:
    ratios = importance_ratio(tensor([-1e3, 0.0, 1.0, 1e3]), tensor([0.0, 0.0, 0.0, 0.0]))
    assert ratios.tolist() == pytest.approx([math.exp(-20), 1.0, math.e, math.exp(20)])


def test_importance_weights_are_truncated_above_only_and_constant() -> None:
    logprobs = tensor([-5.0, 0.1, 9.0]).requires_grad_()
    weights = importance_weight(logprobs, torch.zeros(3).double(), limit=2.0)
    assert weights.tolist() == pytest.approx([math.exp(-5), math.exp(0.1), 2.0])
    assert not weights.requires_grad


# --- keep_top


@pytest.mark.parametrize("tail", [True, False])
@given(seed=seeds, k=st.integers(1, 7))
def test_what_is_kept_is_that_of_a_plain_loop(tail: bool, seed: int, k: int) -> None:
    student_logits, teacher_logits = normal(8, seed=seed).tolist(), normal(8, seed=seed + 1).tolist()
    top = sorted(range(8), key=lambda v: -student_logits[v])[:k]
    for kept, logits in zip(
        keep_top(tensor([[student_logits]]), tensor([[teacher_logits]]), k, tail),
        [student_logits, teacher_logits],
        strict=True,
    ):
        probabilities = [softmax(logits)[v] for v in top]
        rest = math.fsum(softmax(logits)[v] for v in range(8) if v not in top)
        expected = [*probabilities, rest] if tail else [p / sum(probabilities) for p in probabilities]
        assert kept[0, 0].exp().tolist() == pytest.approx(expected, abs=2e-7)


@pytest.mark.parametrize("tail", [True, False])
@given(seed=seeds, k=st.integers(1, 12), scale=st.floats(0.01, 40))
def test_what_is_kept_is_a_distribution(tail: bool, seed: int, k: int, scale: float) -> None:
    for kept in keep_top(normal(2, 3, 8, seed=seed, scale=scale), normal(2, 3, 8, seed=seed + 1, scale=scale), k, tail):
        assert kept.shape == (2, 3, min(k, 8) + tail)
        assert torch.allclose(kept.exp().sum(-1), torch.ones(2, 3).double(), atol=2e-7)


@pytest.mark.parametrize("tail", [True, False])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_keeping_the_whole_vocabulary_is_the_full_divergence(tail: bool, alpha: float) -> None:
    student, teacher = normal(2, 3, 8, seed=0), normal(2, 3, 8, seed=1)
    full = divergence(student.log_softmax(-1), teacher.log_softmax(-1), alpha)
    assert torch.allclose(divergence(*keep_top(student, teacher, 8, tail), alpha), full, atol=1e-6)
    kept = gradient(lambda x: divergence(*keep_top(x, teacher, 8, tail), alpha), student)
    whole = gradient(lambda x: divergence(x.log_softmax(-1), teacher.log_softmax(-1), alpha), student)
    assert torch.allclose(kept, whole, atol=1e-6)


@pytest.mark.parametrize("alpha", ALPHAS)
@given(seed=seeds, k=st.integers(1, 7))
def test_lumping_the_tail_never_raises_the_divergence(alpha: float, seed: int, k: int) -> None:
    student, teacher = normal(8, seed=seed), normal(8, seed=seed + 1)
    full = divergence(student.log_softmax(-1), teacher.log_softmax(-1), alpha)
    assert divergence(*keep_top(student, teacher, k, tail=True), alpha) <= full + 1e-6


def test_the_tail_tells_the_student_of_mass_that_the_teacher_puts_elsewhere() -> None:
    student, teacher = tensor([5.0, 4.0, 0.0, 0.0]), tensor([5.0, 4.0, 9.0, 0.0])
    lost = gradient(lambda x: divergence(*keep_top(x, teacher, 2, tail=False), 1.0), student)
    told = gradient(lambda x: divergence(*keep_top(x, teacher, 2, tail=True), 1.0), student)
    assert lost.abs().max() < 1e-12
    assert told[0] > 0 > told[2]


@pytest.mark.parametrize("tail", [True, False])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_chosen_tokens_are_the_students_and_the_gradient_is_right(tail: bool, alpha: float) -> None:
    student, teacher = normal(2, 6, seed=3, scale=1).requires_grad_(), normal(2, 6, seed=4, scale=1)
    assert torch.autograd.gradcheck(lambda x: divergence(*keep_top(x, teacher, 3, tail), alpha), student)


@pytest.mark.parametrize("tail", [True, False])
def test_what_is_kept_of_the_teacher_is_detached(tail: bool) -> None:
    logits = normal(2, 6, seed=0).requires_grad_()
    student, teacher = keep_top(logits, logits, 3, tail)
    assert student.requires_grad
    assert not teacher.requires_grad


@pytest.mark.parametrize("shift", [-1e3, 1e3])
def test_a_constant_added_to_all_logits_changes_nothing(shift: float) -> None:
    student, teacher = normal(2, 8, seed=0), normal(2, 8, seed=1)
    for kept, shifted in zip(
        keep_top(student, teacher, 3, tail=True), keep_top(student + shift, teacher - shift, 3, tail=True), strict=True
    ):
        assert torch.allclose(kept, shifted, atol=1e-9)


# --- divergence


@pytest.mark.parametrize("alpha", ALPHAS)
@given(student=st.lists(reals, min_size=4, max_size=4), teacher=st.lists(reals, min_size=4, max_size=4))
def test_the_divergence_is_that_of_a_plain_loop(alpha: float, student: list[float], teacher: list[float]) -> None:
    value = divergence(tensor(student).log_softmax(-1), tensor(teacher).log_softmax(-1), alpha)
    expected = reference_divergence(softmax(student), softmax(teacher), alpha)
    assert value.item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("alpha", ALPHAS)
@given(seed=seeds, size=st.integers(1, 9), scale=st.floats(0.01, 40))
def test_no_divergence_is_below_zero(alpha: float, seed: int, size: int, scale: float) -> None:
    student, teacher = normal(size, seed=seed, scale=scale), normal(size, seed=seed + 1, scale=scale)
    assert divergence(student.log_softmax(-1), teacher.log_softmax(-1), alpha) >= -1e-12


@pytest.mark.parametrize("alpha", ALPHAS)
@given(seed=seeds)
def test_the_divergence_is_zero_and_flat_where_student_and_teacher_agree(alpha: float, seed: int) -> None:
    logits = normal(5, seed=seed)
    result = gradient(lambda x: divergence(x.log_softmax(-1), logits.log_softmax(-1), alpha), logits)
    assert divergence(logits.log_softmax(-1), logits.log_softmax(-1), alpha).abs() < 1e-12
    assert result.abs().max() < 1e-12


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_divergence_is_above_zero_where_they_differ(alpha: float) -> None:
    assert divergence(tensor([0.5, 0.5]).log(), tensor([0.6, 0.4]).log(), alpha) > 1e-3


@given(seed=seeds, scale=st.floats(0.01, 100))
def test_the_jensen_shannon_divergence_is_symmetric_and_at_most_log_two(seed: int, scale: float) -> None:
    student, teacher = (normal(6, seed=seed + i, scale=scale).log_softmax(-1) for i in range(2))
    value = divergence(student, teacher, 0.5)
    assert value == pytest.approx(divergence(teacher, student, 0.5).item(), abs=1e-12)
    assert value <= math.log(2) + 1e-12


def test_the_jensen_shannon_divergence_of_strangers_is_log_two() -> None:
    assert divergence(tensor([1.0, 0.0]).log(), tensor([0.0, 1.0]).log(), 0.5).item() == pytest.approx(math.log(2))


def test_the_two_ends_are_mirror_images() -> None:
    student, teacher = normal(6, seed=0).log_softmax(-1), normal(6, seed=1).log_softmax(-1)
    assert divergence(student, teacher, 0.0) == divergence(teacher, student, 1.0)


@pytest.mark.parametrize("alpha", [1e-6, 1 - 1e-6])
def test_the_middle_vanishes_towards_both_ends(alpha: float) -> None:
    assert divergence(normal(6, seed=0).log_softmax(-1), normal(6, seed=1).log_softmax(-1), alpha) < 1e-4


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_teacher_never_receives_a_gradient(alpha: float) -> None:
    student, teacher = normal(2, 5, seed=0).requires_grad_(), normal(2, 5, seed=1).requires_grad_()
    loss = divergence(*keep_top(student, teacher, 2, tail=True), alpha) + divergence(
        student.log_softmax(-1), teacher.log_softmax(-1), alpha
    )
    (loss + sampled_token_loss(student[:, 0], teacher[:, 0])).sum().backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert teacher.grad is None


@pytest.mark.parametrize("alpha", ALPHAS)
def test_following_the_gradient_brings_the_student_to_the_teacher(alpha: float) -> None:
    logits, teacher = normal(5, seed=0, scale=1), normal(5, seed=1, scale=1).log_softmax(-1)
    for _ in range(2000):
        logits = logits - gradient(lambda x: divergence(x.log_softmax(-1), teacher, alpha), logits)
    assert torch.allclose(logits.log_softmax(-1), teacher, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tail", [True, False])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ([0.0, -math.inf, -math.inf, -math.inf], [0.0, 1.0, 2.0, 3.0]),
        ([0.0, 1.0, 2.0, 3.0], [0.0, -math.inf, -math.inf, -math.inf]),
        ([0.0, -math.inf, -math.inf, -math.inf], [-math.inf, -math.inf, -math.inf, 0.0]),
        ([0.0, 1.0, -math.inf, -math.inf], [1.0, 0.0, -math.inf, -math.inf]),
        ([1e4, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1e4]),
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_zero_probabilities_keep_value_and_gradient_finite(
    student: list[float], teacher: list[float], alpha: float, tail: bool, dtype: torch.dtype
) -> None:
    student_logits, teacher_logits = torch.tensor(student, dtype=dtype), torch.tensor(teacher, dtype=dtype)
    losses: list[Callable[[Tensor], Tensor]] = [
        lambda x: divergence(*keep_top(x, teacher_logits, 3, tail), alpha),
        lambda x: divergence(x.log_softmax(-1), teacher_logits.log_softmax(-1), alpha),
        lambda x: sampled_token_loss(x.log_softmax(-1), teacher_logits.log_softmax(-1)),
    ]
    for loss in losses:
        assert loss(student_logits).isfinite().all()
        assert gradient(loss, student_logits).isfinite().all()


def test_a_nan_in_a_model_is_seen_in_the_loss() -> None:
    broken, whole = tensor([math.nan, 1.0, 2.0]), tensor([0.0, 1.0, 2.0])
    assert divergence(*keep_top(broken, whole, 2, tail=True), 0.5).isnan()
    assert divergence(*keep_top(whole, broken, 2, tail=True), 0.5).isnan()


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
def test_an_alpha_out_of_range_is_an_error(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        divergence(tensor([0.0]), tensor([0.0]), alpha)


# --- sampled_token_loss


@given(seed=seeds)
def test_the_sampled_token_loss_has_the_gradient_of_the_reverse_kl_on_average(seed: int) -> None:
    logits, teacher = normal(6, seed=seed), normal(6, seed=seed + 1).log_softmax(-1)
    probabilities = logits.softmax(-1)  # the exact expectation over the token that might have been sampled
    average = gradient(lambda x: probabilities * sampled_token_loss(x.log_softmax(-1), teacher), logits)
    exact = gradient(lambda x: divergence(x.log_softmax(-1), teacher, 1.0), logits)
    assert torch.allclose(average, exact, atol=1e-9)


def test_the_sampled_token_loss_pushes_towards_what_the_teacher_prefers() -> None:
    result = gradient(lambda x: sampled_token_loss(x, tensor([-1.0, -3.0])), tensor([-2.0, -2.0]))
    assert result.tolist() == [-1.0, 1.0]  # down the gradient: the first becomes likelier
