"""Divergences between student and teacher: plain Python in float64, identities, clipped advantages, and garbage."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sdpo_agent.losses import complete, divergence, sampled_token_loss, teacher_gap

ALPHAS = [0.0, 0.1, 0.5, 0.9, 1.0]
reals = st.floats(-30, 30)
seeds = st.integers(0, 2**32 - 1)
alphas = pytest.mark.parametrize("alpha", ALPHAS)
tails = pytest.mark.parametrize("tail", [True, False])


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def normal(*shape: int, seed: int, scale: float = 3.0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * scale


def gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    at = at.clone().requires_grad_()
    (result,) = torch.autograd.grad(loss(at).sum(), at)
    return result


def top(logits: Tensor, others: Tensor, k: int, tail: bool) -> tuple[Tensor, Tensor]:
    """Make distributions of the `k` likeliest categories of the first, as the agent does."""
    ids = logits.topk(k).indices
    return tuple(complete(each.log_softmax(-1).gather(-1, ids), tail) for each in (logits, others))  # type: ignore[return-value]


def taught(student: Tensor, teacher: Tensor, clip: float | None = None) -> Tensor:
    """The loss of sampled tokens towards a teacher."""
    return sampled_token_loss(student, teacher_gap(student, teacher), clip)


def softmax(logits: Sequence[float]) -> list[float]:
    most = max(logits)
    weights = [math.exp(logit - most) for logit in logits]
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


def reference_advantages(s: Sequence[float], t: Sequence[float], alpha: float) -> list[float]:
    if alpha == 0:
        return [b / a for a, b in zip(s, t, strict=True)]
    if alpha == 1:
        return [math.log(b / a) for a, b in zip(s, t, strict=True)]
    return [(1 - alpha) * math.log(((1 - alpha) * a + alpha * b) / a) for a, b in zip(s, t, strict=True)]


# --- complete


@tails
@given(seed=seeds, k=st.integers(1, 7))
def test_what_is_kept_is_that_of_a_plain_loop(tail: bool, seed: int, k: int) -> None:
    logits = normal(8, seed=seed)
    kept = complete(logits.log_softmax(-1)[:k], tail)
    probabilities = softmax(logits.tolist())
    mass, rest = math.fsum(probabilities[:k]), math.fsum(probabilities[k:])
    expected = [*probabilities[:k], rest] if tail else [p / mass for p in probabilities[:k]]
    assert kept.exp().tolist() == pytest.approx(expected, abs=2e-7)


@tails
@given(seed=seeds, k=st.integers(1, 8), scale=st.floats(0.01, 40))
def test_what_is_kept_is_a_distribution(tail: bool, seed: int, k: int, scale: float) -> None:
    kept = complete(normal(2, 3, 8, seed=seed, scale=scale).log_softmax(-1)[..., :k], tail)
    assert kept.shape == (2, 3, k + tail)
    assert torch.allclose(kept.exp().sum(-1), torch.ones(2, 3).double(), atol=2e-7)


@tails
@alphas
def test_keeping_the_whole_vocabulary_is_the_full_divergence(tail: bool, alpha: float) -> None:
    student, teacher = normal(2, 3, 8, seed=0), normal(2, 3, 8, seed=1)
    full = divergence(student.log_softmax(-1), teacher.log_softmax(-1), alpha)
    assert torch.allclose(divergence(*top(student, teacher, 8, tail), alpha), full, atol=1e-6)
    kept = gradient(lambda x: divergence(*top(x, teacher, 8, tail), alpha), student)
    whole = gradient(lambda x: divergence(x.log_softmax(-1), teacher.log_softmax(-1), alpha), student)
    assert torch.allclose(kept, whole, atol=1e-6)


@alphas
@given(seed=seeds, k=st.integers(1, 7))
def test_lumping_the_tail_never_raises_the_divergence(alpha: float, seed: int, k: int) -> None:
    student, teacher = normal(8, seed=seed), normal(8, seed=seed + 1)
    full = divergence(student.log_softmax(-1), teacher.log_softmax(-1), alpha)
    assert divergence(*top(student, teacher, k, tail=True), alpha) <= full + 1e-6


def test_the_tail_tells_the_student_of_mass_that_the_teacher_puts_elsewhere() -> None:
    student, teacher = tensor([5.0, 4.0, 0.0, 0.0]), tensor([5.0, 4.0, 9.0, 0.0])
    lost = gradient(lambda x: divergence(*top(x, teacher, 2, tail=False), 1.0), student)
    told = gradient(lambda x: divergence(*top(x, teacher, 2, tail=True), 1.0), student)
    assert lost.abs().max() < 1e-12
    assert told[0] > 0 > told[2]


@tails
@alphas
def test_the_gradient_through_what_is_kept_is_that_of_finite_differences(tail: bool, alpha: float) -> None:
    student, teacher = normal(2, 6, seed=3, scale=1).requires_grad_(), normal(2, 6, seed=4, scale=1)
    assert torch.autograd.gradcheck(lambda x: divergence(*top(x, teacher, 3, tail), alpha), student)


@tails
def test_the_order_of_categories_does_not_matter(tail: bool) -> None:
    student, teacher, order = normal(5, seed=0), normal(5, seed=1), torch.tensor([3, 0, 2])
    moved, kept = (
        divergence(*(complete(each.log_softmax(-1)[ids], tail) for each in (student, teacher)), 0.5)
        for ids in (order, order.sort().values)
    )
    assert moved == pytest.approx(kept.item())


# --- divergence


@alphas
@given(student=st.lists(reals, min_size=4, max_size=4), teacher=st.lists(reals, min_size=4, max_size=4))
def test_the_divergence_is_that_of_a_plain_loop(alpha: float, student: list[float], teacher: list[float]) -> None:
    value = divergence(tensor(student).log_softmax(-1), tensor(teacher).log_softmax(-1), alpha)
    expected = reference_divergence(softmax(student), softmax(teacher), alpha)
    assert value.item() == pytest.approx(expected, abs=1e-9)


@alphas
@given(seed=seeds, size=st.integers(1, 9), scale=st.floats(0.01, 40))
def test_no_divergence_is_below_zero(alpha: float, seed: int, size: int, scale: float) -> None:
    student, teacher = normal(size, seed=seed, scale=scale), normal(size, seed=seed + 1, scale=scale)
    assert divergence(student.log_softmax(-1), teacher.log_softmax(-1), alpha) >= -1e-12


@alphas
@given(seed=seeds)
def test_the_divergence_is_zero_and_flat_where_student_and_teacher_agree(alpha: float, seed: int) -> None:
    logits = normal(5, seed=seed)
    result = gradient(lambda x: divergence(x.log_softmax(-1), logits.log_softmax(-1), alpha), logits)
    assert divergence(logits.log_softmax(-1), logits.log_softmax(-1), alpha).abs() < 1e-12
    assert result.abs().max() < 1e-12


@alphas
def test_the_divergence_is_above_zero_where_they_differ(alpha: float) -> None:
    assert divergence(tensor([0.5, 0.5]).log(), tensor([0.6, 0.4]).log(), alpha) > 1e-3


@given(seed=seeds, scale=st.floats(0.01, 100))
def test_the_jensen_shannon_divergence_is_symmetric_and_at_most_log_two(seed: int, scale: float) -> None:
    student, teacher = (normal(6, seed=seed + i, scale=scale).log_softmax(-1) for i in range(2))
    value = divergence(student, teacher, 0.5)
    assert value == pytest.approx(divergence(teacher, student, 0.5).item(), abs=1e-12)
    assert value <= math.log(2) + 1e-12


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_between_the_ends_strangers_are_apart_by_the_entropy_of_alpha(alpha: float) -> None:
    strangers = divergence(tensor([1.0, 0.0]).log(), tensor([0.0, 1.0]).log(), alpha)
    assert strangers.item() == pytest.approx(-(1 - alpha) * math.log(1 - alpha) - alpha * math.log(alpha))


def test_the_two_ends_are_mirror_images() -> None:
    student, teacher = normal(6, seed=0).log_softmax(-1), normal(6, seed=1).log_softmax(-1)
    assert divergence(student, teacher, 0.0) == divergence(teacher, student, 1.0)


@pytest.mark.parametrize("alpha", [1e-6, 1 - 1e-6])
def test_the_middle_vanishes_towards_both_ends(alpha: float) -> None:
    assert divergence(normal(6, seed=0).log_softmax(-1), normal(6, seed=1).log_softmax(-1), alpha) < 1e-4


@pytest.mark.parametrize("advantage_clip", [None, 0.5])
@alphas
def test_the_teacher_never_receives_a_gradient(alpha: float, advantage_clip: float | None) -> None:
    student, teacher = normal(2, 5, seed=0).requires_grad_(), normal(2, 5, seed=1).requires_grad_()
    kept, whole = top(student, teacher, 2, tail=True), (student.log_softmax(-1), teacher.log_softmax(-1))
    loss = divergence(*kept, alpha, advantage_clip) + divergence(*whole, alpha, advantage_clip)
    (loss + taught(student[:, 0], teacher[:, 0], advantage_clip)).sum().backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert teacher.grad is None


@alphas
def test_following_the_gradient_brings_the_student_to_the_teacher(alpha: float) -> None:
    logits, teacher = normal(5, seed=0, scale=1), normal(5, seed=1, scale=1).log_softmax(-1)
    for _ in range(2000):
        logits = logits - gradient(lambda x: divergence(x.log_softmax(-1), teacher, alpha), logits)
    assert torch.allclose(logits.log_softmax(-1), teacher, atol=1e-2)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
def test_an_alpha_out_of_range_is_an_error(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        divergence(tensor([0.0]), tensor([0.0]), alpha)


# --- divergence with a bound on its advantages


@alphas
@given(seed=seeds, clip=st.sampled_from([0.0, 0.05, 0.5, 2.0]))
def test_a_clip_leaves_the_value_as_it_was(alpha: float, seed: int, clip: float) -> None:
    student, teacher = normal(6, seed=seed).log_softmax(-1), normal(6, seed=seed + 1).log_softmax(-1)
    unclipped = divergence(student, teacher, alpha)
    assert torch.allclose(divergence(student, teacher, alpha, clip), unclipped, rtol=1e-12, atol=1e-12)


@alphas
@given(seed=seeds, clip=st.sampled_from([0.0, 0.05, 0.5, 2.0, 1e3]))
def test_the_gradient_is_the_policy_gradient_over_every_category_with_clipped_advantages(
    alpha: float, seed: int, clip: float
) -> None:
    logits, teacher = normal(6, seed=seed), normal(6, seed=seed + 1)
    s, t = softmax(logits.tolist()), softmax(teacher.tolist())
    advantages = [min(max(a, -clip), clip) for a in reference_advantages(s, t, alpha)]
    baseline = math.fsum(p * a for p, a in zip(s, advantages, strict=True))
    expected = [-p * (a - baseline) for p, a in zip(s, advantages, strict=True)]
    result = gradient(lambda x: divergence(x.log_softmax(-1), teacher.log_softmax(-1), alpha, clip), logits)
    assert result.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)


@tails
@alphas
@given(seed=seeds)
def test_a_clip_that_is_never_reached_leaves_the_gradient_as_it_was(tail: bool, alpha: float, seed: int) -> None:
    logits, teacher = normal(6, seed=seed), normal(6, seed=seed + 1)
    clipped = gradient(lambda x: divergence(*top(x, teacher, 4, tail), alpha, 1e12), logits)
    unclipped = gradient(lambda x: divergence(*top(x, teacher, 4, tail), alpha), logits)
    assert torch.allclose(clipped, unclipped, rtol=1e-6, atol=1e-9)


@alphas
def test_a_clip_bounds_what_one_category_can_ask_for(alpha: float) -> None:
    student, teacher = tensor([0.5, 0.5 - 1e-9, 1e-9]).log(), tensor([1e-9, 0.5 - 1e-9, 0.5]).log()
    asked = gradient(lambda x: divergence(x, teacher, alpha, 0.1), student)
    assert (asked.abs() <= 0.1 * student.exp() + 1e-12).all()
    assert asked[2] < 0  # what the teacher likes better becomes likelier


@alphas
def test_a_clip_of_zero_teaches_nothing(alpha: float) -> None:
    logits, teacher = normal(6, seed=0), normal(6, seed=1).log_softmax(-1)
    assert gradient(lambda x: divergence(x.log_softmax(-1), teacher, alpha, 0.0), logits).eq(0).all()


# --- sampled_token_loss, teacher_gap


@pytest.mark.parametrize("clip", [None, 0.5, 5.0])
@given(seed=seeds)
def test_the_sampled_token_loss_has_the_gradient_of_the_reverse_kl_on_average(clip: float | None, seed: int) -> None:
    logits, teacher = normal(6, seed=seed), normal(6, seed=seed + 1).log_softmax(-1)
    probabilities = logits.softmax(-1)  # the exact expectation over the token that might have been sampled
    average = gradient(lambda x: probabilities * taught(x.log_softmax(-1), teacher, clip), logits)
    exact = gradient(lambda x: divergence(x.log_softmax(-1), teacher, 1.0, clip), logits)
    assert torch.allclose(average, exact, atol=1e-9)


def test_the_sampled_token_loss_pushes_towards_what_the_teacher_prefers() -> None:
    result = gradient(lambda x: taught(x, tensor([-1.0, -3.0])), tensor([-2.0, -2.0]))
    assert result.tolist() == [-1.0, 1.0]  # down the gradient: the first becomes likelier


def test_the_sampled_token_loss_is_clipped_on_both_sides() -> None:
    teacher = tensor([-1.0, -2.5, -9.0])
    result = gradient(lambda x: taught(x, teacher, 0.75), tensor([-3.0, -3.0, -3.0]))
    assert result.tolist() == [-0.75, -0.5, 0.75]


def test_the_sampled_token_loss_takes_any_advantage_as_a_constant() -> None:
    logprobs, advantages = normal(5, seed=0).requires_grad_(), normal(5, seed=1).requires_grad_()
    sampled_token_loss(logprobs, advantages, 1.0).sum().backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None
    assert torch.equal(logprobs.grad, -advantages.detach().clamp(-1, 1))
    assert advantages.grad is None


def test_the_teacher_gap_is_what_the_teacher_likes_better_and_a_constant() -> None:
    student = tensor([-2.0, -2.0, -math.inf]).requires_grad_()
    gap = teacher_gap(student, tensor([-1.0, -3.0, -math.inf]))
    assert gap.tolist() == [1.0, -1.0, 0.0]
    assert not gap.requires_grad


# --- garbage


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@tails
@alphas
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
    for clip in (None, 0.5, 1e30):
        losses: list[Callable[[Tensor], Tensor]] = [
            lambda x, clip=clip: divergence(*top(x, teacher_logits, 3, tail), alpha, clip),  # type: ignore[misc]
            lambda x, clip=clip: divergence(x.log_softmax(-1), teacher_logits.log_softmax(-1), alpha, clip),  # type: ignore[misc]
            lambda x, clip=clip: taught(x.log_softmax(-1), teacher_logits.log_softmax(-1), clip),  # type: ignore[misc]
        ]
        for loss in losses:
            assert loss(student_logits).isfinite().all()
            assert gradient(loss, student_logits).isfinite().all()


@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_nan_in_a_model_is_seen_in_the_loss(clip: float | None) -> None:
    broken, whole = tensor([math.nan, 1.0, 2.0]), tensor([0.0, 1.0, 2.0])
    for alpha in ALPHAS:
        assert divergence(*top(broken, whole, 2, tail=True), alpha, clip).isnan()
        assert divergence(*top(whole, broken, 2, tail=True), alpha, clip).isnan()
    assert taught(broken[0], whole[0], clip).isnan()
    assert taught(whole[0], broken[0], clip).isnan()
