"""The mathematics of GRPO and SDPO: tensors in, tensors out. No settings, no model, no defaults.

A name carries its axes: G attempts of a group, N action tokens laid end to end without padding, K kept categories,
B sequences. Log-probabilities, divergences and losses are in nats, in float32 or wider. Losses are per token; what one
weighs in the mean, `token_share` says.

Probabilities may be zero. Log-probabilities are floored where float runs out (-87 nats in float32), so that every
p * log p is finite. A NaN in an input stays NaN, because a broken model should be seen.

Sources: SDPO (arXiv 2601.20802), GRPO (DeepSeekMath, 2402.03300), Dr. GRPO (2503.20783), DAPO (2503.14476), GSPO
(2507.18071), CISPO (MiniMax-M1, 2506.13585), REINFORCE leave-one-out (2402.14740), dual clip (1912.09729).
"""

import math
from typing import Literal

import torch
from torch import Tensor

Aggregation = Literal["token-mean", "sequence-mean", "length-mean", "released"]
Baseline = Literal["mean", "leave-one-out"]
Scale = Literal["none", "std"]


def token_share(tokens: int, how: Aggregation, limit: int) -> tuple[float, float]:
    """Say what each token of a sequence weighs, and what the sequence adds to the total that the loss is divided by.

    The mean of a mini-batch is sum(weight * loss) / sum(total), so that it does not matter how it is cut into
    micro-batches or spread over processes.

    Args:
        tokens: Written in the sequence.
        how: ``"token-mean"``: every token weighs the same (DAPO, equation 8; SDPO, equation 12). ``"sequence-mean"``:
            the mean of each sequence, then over the sequences (GRPO, equation 3), so that a token of a long attempt
            weighs less. ``"length-mean"``: the sum of each sequence over a constant, `limit` (Dr. GRPO, section 3.2).
            ``"released"``: as ``"sequence-mean"``; the caller counts sequences that teach nothing too, as SDPO's
            released code does.
        limit: The longest action, in tokens.

    Returns:
        The weight, and the total.

    Raises:
        ValueError: `how` is none of these.
    """
    if how == "token-mean":
        return 1.0, float(tokens)
    if how in ("sequence-mean", "released"):
        return 1.0 / max(1, tokens), 1.0
    if how == "length-mean":
        return 1.0, float(limit)
    raise ValueError(f"how={how!r} is not offered. Choose 'token-mean', 'sequence-mean', 'length-mean' or 'released'.")


def group_advantages(rewards_G: Tensor, baseline: Baseline, scale: Scale) -> Tensor:
    """Compare each reward of a group with the others.

    Args:
        rewards_G: Float, finite.
        baseline: ``"mean"``: A = r - mean of all (GRPO). ``"leave-one-out"``: less the mean of the others (RLOO), which
            is the same times G / (G - 1).
        scale: ``"none"`` (Dr. GRPO, section 3.2), or ``"std"``: divided by the sample standard deviation of the group
            + 1e-4 (DeepSeekMath, section 4.1.2; the constant is TRL's), so that groups which nearly agree weigh much.

    Returns:
        advantages_G, which sum to 0; 0 for an attempt without others.

    Raises:
        ValueError: `baseline` or `scale` is not offered.
    """
    if baseline not in ("mean", "leave-one-out") or scale not in ("none", "std"):
        raise ValueError(
            f"baseline={baseline!r} and scale={scale!r} is not offered. "
            "Choose 'mean' or 'leave-one-out', and 'none' or 'std'."
        )
    count = len(rewards_G)
    if count < 2:
        return torch.zeros_like(rewards_G)
    advantages_G = rewards_G - rewards_G.mean()
    if baseline == "leave-one-out":
        advantages_G = advantages_G * count / (count - 1)
    return advantages_G / (rewards_G.std() + 1e-4) if scale == "std" else advantages_G


def importance_ratio(logprobs_N: Tensor, old_logprobs_N: Tensor) -> Tensor:
    """Return exp(logprob - old logprob), in [exp(-20), exp(20)] so that it is finite. The old side is detached."""
    return (logprobs_N - old_logprobs_N.detach()).clamp(-20, 20).exp()


def importance_weight(logprobs_N: Tensor, old_logprobs_N: Tensor, limit: float) -> Tensor:
    """Return min(importance ratio, `limit`), detached: truncated importance sampling. SDPO's limit is 2."""
    return importance_ratio(logprobs_N.detach(), old_logprobs_N).clamp(max=limit)


def sequence_mean(values_N: Tensor, sequence_N: Tensor, count: int) -> Tensor:
    """Replace each value by the mean of its sequence.

    Args:
        values_N: Of tokens.
        sequence_N: The number of each token's sequence, in [0, `count`).
        count: Of sequences, B.
    """
    sums_B = values_N.new_zeros(count).index_add(0, sequence_N, values_N)
    tokens_B = torch.bincount(sequence_N, minlength=count).clamp(min=1)
    return (sums_B / tokens_B)[sequence_N]


def clipped_loss(
    ratio_N: Tensor, advantages_N: Tensor, clip_low: float, clip_high: float, dual_clip: float | None
) -> Tensor:
    """PPO's clipped surrogate, as GRPO has it, with uneven clips and a dual clip.

    L = max(-ratio A, -clip(ratio, 1 - low, 1 + high) A), and L <= -c A where A < 0 (DeepSeekMath, equation 3; DAPO,
    section 3.1; arXiv 1912.09729). On the policy that sampled its gradient is REINFORCE's.

    Args:
        ratio_N: `importance_ratio`; for GSPO its sequence's value, with the gradient of the token's. Carries it.
        advantages_N: One for all tokens of an attempt. Detached.
        clip_low: Nothing is gained by pushing the ratio below 1 - this; 0.2 in the papers.
        clip_high: Nor above 1 + this; 0.2 in GRPO, 0.28 in DAPO.
        dual_clip: c > 1 bounds the loss of a bad action that became much likelier; 3 is usual, None sets no bound.

    Returns:
        loss_N.
    """
    advantages_N = advantages_N.detach()
    clipped_N = ratio_N.clamp(1 - clip_low, 1 + clip_high)
    loss_N = torch.maximum(-ratio_N * advantages_N, -clipped_N * advantages_N)
    if dual_clip is None:
        return loss_N
    return torch.where(advantages_N < 0, torch.minimum(loss_N, -dual_clip * advantages_N), loss_N)


def cispo_loss(logprobs_N: Tensor, ratio_N: Tensor, advantages_N: Tensor, clip_high: float) -> Tensor:
    """REINFORCE with a truncated importance weight, so that no token loses its gradient (MiniMax-M1, equation 4).

    L = -stopgrad(min(ratio, 1 + high)) A log p, with no lower clip, as in the paper's experiments.

    Args:
        logprobs_N: Of the sampled tokens. Carries the gradient.
        ratio_N: `importance_ratio`. Detached.
        advantages_N: One for all tokens of an attempt. Detached.
        clip_high: The weight is at most 1 + this.

    Returns:
        loss_N.
    """
    return -(ratio_N.clamp(max=1 + clip_high) * advantages_N).detach() * _floor(logprobs_N)


def k3(logprobs_N: Tensor, reference_logprobs_N: Tensor) -> Tensor:
    """Estimate KL(policy || reference) from sampled tokens: r - 1 - log r with r = reference / policy, at least 0.

    The third estimator of Schulman (DeepSeekMath, equation 4): unbiased in value over tokens drawn from the policy. Its
    expected gradient is that of KL(reference || policy), here as wherever it is differentiated.
    """
    distance_N = (reference_logprobs_N.detach() - logprobs_N).clamp(-20, 20)
    return distance_N.expm1() - distance_N


def entropy(logits_NV: Tensor) -> Tensor:
    """Return the entropy_N of the distributions over the last axis, nats."""
    logprobs_NV = logits_NV.log_softmax(-1)
    return -(logprobs_NV.exp() * _floor(logprobs_NV)).sum(-1)


def complete(logprobs_NK: Tensor, tail: bool) -> Tensor:
    """Make a distribution of the log-probabilities of some categories.

    With `tail` the rest of the mass becomes one more category, the last: log(1 - mass), with the mass at least 1e-7
    below 1, as closer float32 does not tell it from 1. Without, the kept ones are renormalised, and what either side
    thinks of the rest is lost.
    """
    logprobs_NK = _floor(logprobs_NK)
    log_mass_N1 = logprobs_NK.logsumexp(-1, keepdim=True)
    if not tail:
        return logprobs_NK - log_mass_N1
    return torch.cat([logprobs_NK, (-log_mass_N1.clamp(max=-1e-7).expm1()).log()], dim=-1)


def divergence(
    student_logprobs_NK: Tensor, teacher_logprobs_NK: Tensor, alpha: float, advantage_clip: float | None = None
) -> Tensor:
    """Divergence of the student S from the teacher T, exact over the last axis (SDPO; its equation 1 has `alpha` = 1).

    At `alpha` = 0 it is the forward KL(T||S), at 1 the reverse KL(S||T), and between them the generalised
    Jensen-Shannon divergence (1 - alpha) KL(S||M) + alpha KL(T||M) with M = (1 - alpha) S + alpha T, at most log 2.
    That tends to 0 at both ends, so `alpha` cannot be annealed into either.

    Its gradient is a policy gradient over every category at once: sum of -A S dlog S. The advantage A is -dD/dS, up to
    a constant that weighs nothing: log(T / S) for the reverse KL, T / S for the forward (a ratio around 1, not nats),
    (1 - alpha) log(M / S) between. `advantage_clip` bounds it.

    Args:
        student_logprobs_NK: A distribution over the last axis. Carries the gradient.
        teacher_logprobs_NK: Over the same categories. Detached.
        alpha: In [0, 1].
        advantage_clip: Bound on the magnitude of the advantage, None for none. It changes the gradient, not the value.

    Returns:
        divergence_N, at least 0 up to rounding.

    Raises:
        ValueError: `alpha` is out of range.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha} must lie in [0, 1]: 0 is the forward KL(T||S), 1 the reverse KL(S||T).")
    student, teacher = _floor(student_logprobs_NK), _floor(teacher_logprobs_NK.detach())
    if alpha in (0, 1):
        mixture = teacher
        value = _kl(teacher, student) if alpha == 0 else _kl(student, teacher)
    else:
        mixture = torch.logaddexp(student + math.log1p(-alpha), teacher + math.log(alpha))
        value = (1 - alpha) * _kl(student, mixture) + alpha * _kl(teacher, mixture)
    if advantage_clip is None:
        return value
    with torch.no_grad():
        distance = mixture - student
        advantage = distance.exp() if alpha == 0 else distance * (1 - alpha if alpha < 1 else 1)
        weight = student.exp() * advantage.clamp(-advantage_clip, advantage_clip)
    surrogate = -(weight * student).sum(-1)
    return value.detach() + (surrogate - surrogate.detach())


def sampled_token_loss(logprobs_N: Tensor, advantages_N: Tensor, advantage_clip: float | None = None) -> Tensor:
    """Reverse KL seen through the sampled token alone: REINFORCE with the advantage `teacher_gap`.

    L = -stopgrad(log T - log S) log S. Over tokens drawn from the student its expected gradient is that of KL(S||T);
    its value means nothing.

    Args:
        logprobs_N: Of the sampled tokens under the student. Carries the gradient.
        advantages_N: The `teacher_gap` of each token, or its mean over each sequence. Detached.
        advantage_clip: Bound on the magnitude of the advantage, in nats; None for none.

    Returns:
        loss_N.
    """
    if advantage_clip is not None:
        advantages_N = advantages_N.clamp(-advantage_clip, advantage_clip)
    return -advantages_N.detach() * _floor(logprobs_N)


def teacher_gap(student_logprobs_N: Tensor, teacher_logprobs_N: Tensor) -> Tensor:
    """Return log T - log S of the sampled tokens, detached: what the teacher likes better than the student did."""
    return (_floor(teacher_logprobs_N) - _floor(student_logprobs_N)).detach()


def _floor(logprobs: Tensor) -> Tensor:
    """Raise log 0 to the log of the smallest normal number, with a gradient of 0 there."""
    return logprobs.clamp(min=math.log(torch.finfo(logprobs.dtype).tiny))


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return (p.exp() * (p - q)).sum(-1)
