"""The mathematics of GRPO and SDPO: tensors in, tensors out. No settings, no model, no defaults.

A name carries its axes: B attempts, T action tokens, V vocabulary, K kept categories. Log-probabilities, divergences
and losses are in nats, in float32 or wider; losses are per token until `aggregate` averages them.

Two traps:

* What lies outside the mask may be garbage. `inside` zeroes it, in the value and in the gradient, and belongs around
  *inputs*: after the arithmetic it would stop a NaN in the value only, because the backward pass computes 0 * NaN.
* Probabilities may be zero. Log-probabilities are floored where float runs out (-87 nats in float32), so that every
  p * log p is finite. A NaN in an input stays NaN, because a broken model should be seen.

Left out on purpose: a KL penalty to a reference model, which the SDPO paper uses for neither method.

Sources: SDPO (arXiv 2601.20802), GRPO (DeepSeekMath, 2402.03300), Dr. GRPO (2503.20783), DAPO (2503.14476).
"""

import math
from typing import Literal

import torch
from torch import Tensor

Aggregation = Literal["token-mean", "sequence-mean"]
Scale = Literal["none", "std"]


def inside(values: Tensor, mask: Tensor) -> Tensor:
    """Return `values` where `mask` is true, and 0 elsewhere with a gradient of exactly 0, whatever stood there."""
    return torch.where(mask, values, torch.zeros_like(values))


def aggregate(loss_BT: Tensor, mask_BT: Tensor, how: Aggregation) -> Tensor:
    """Average the loss over the tokens inside the mask.

    Args:
        loss_BT: Loss per token.
        mask_BT: Bool.
        how: ``"token-mean"``: every token weighs the same (DAPO, section 3.3; SDPO, equation 12). ``"sequence-mean"``:
            the mean of each sequence, then the mean over the sequences that have a token (GRPO, equation 3), so that a
            token of a long attempt weighs less (Dr. GRPO, section 3.1, on what that does).

    Returns:
        A scalar; 0, with a gradient of 0, when the mask is empty.

    Raises:
        ValueError: `how` is neither.
    """
    loss_BT = inside(loss_BT, mask_BT)
    tokens_B = mask_BT.sum(dim=1)
    if how == "token-mean":
        return loss_BT.sum() / tokens_B.sum().clamp(min=1)
    if how == "sequence-mean":
        mean_B = loss_BT.sum(dim=1) / tokens_B.clamp(min=1)
        return mean_B.sum() / (tokens_B > 0).sum().clamp(min=1)
    raise ValueError(f"how={how!r} is not offered. Choose 'token-mean' or 'sequence-mean'.")


def group_advantages(rewards_B: Tensor, group_B: Tensor, scale: Scale) -> Tensor:
    """Compare each reward with the mean of its group.

    Args:
        rewards_B: Float; NaN where nobody decided.
        group_B: Integers; attempts with equal ones are a group.
        scale: ``"none"``: A = r - mean (Dr. GRPO, section 3.2). ``"std"``: divided by the sample standard deviation of
            the group + 1e-4 (DeepSeekMath, section 4.1.2), so that groups which nearly agree weigh much.

    Returns:
        advantages_B, which sum to 0 in each group. A NaN reward is left out of the mean and gets 0, as does an attempt
        without a peer.

    Raises:
        ValueError: `scale` is neither.
    """
    if scale not in ("none", "std"):
        raise ValueError(f"scale={scale!r} is not offered. Choose 'none' or 'std'.")
    advantages_B = torch.zeros_like(rewards_B)
    for group in set(group_B.tolist()):
        rows_B = (group_B == group) & ~rewards_B.isnan()
        if rows_B.sum() > 1:
            rewards = rewards_B[rows_B]
            advantages_B[rows_B] = (rewards - rewards.mean()) / (rewards.std() + 1e-4 if scale == "std" else 1.0)
    return advantages_B


def policy_gradient_loss(
    logprobs_BT: Tensor,
    old_logprobs_BT: Tensor,
    advantages_B: Tensor,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None,
) -> Tensor:
    """GRPO's clipped surrogate, with DAPO's two clips.

    L = max(-ratio A, -clip(ratio, 1 - low, 1 + high) A), and L <= -c A where A < 0 (DeepSeekMath, equation 3; DAPO,
    section 3.1; the dual clip is that of arXiv 1912.09729). On the policy that sampled its gradient is REINFORCE's.

    Args:
        logprobs_BT: Of the sampled tokens under the policy that learns. Carries the gradient.
        old_logprobs_BT: Under the policy that sampled. Detached.
        advantages_B: One for all tokens of an attempt. Detached.
        clip_low: Nothing is gained by pushing the ratio below 1 - this; 0.2 in the papers.
        clip_high: Nor above 1 + this; 0.2 in GRPO, 0.28 in DAPO.
        dual_clip: c > 1 bounds the loss of a bad action that became much likelier; 3 is usual, None sets no bound.

    Returns:
        loss_BT, unmasked.
    """
    ratio_BT = importance_ratio(logprobs_BT, old_logprobs_BT)
    advantages_B1 = advantages_B.detach()[:, None]
    clipped_BT = ratio_BT.clamp(1 - clip_low, 1 + clip_high)
    loss_BT = torch.maximum(-ratio_BT * advantages_B1, -clipped_BT * advantages_B1)
    if dual_clip is None:
        return loss_BT
    return torch.where(advantages_B1 < 0, torch.minimum(loss_BT, -dual_clip * advantages_B1), loss_BT)


def importance_ratio(logprobs_BT: Tensor, old_logprobs_BT: Tensor) -> Tensor:
    """Return exp(logprob - old logprob), in [exp(-20), exp(20)] so that it is finite. The old side is detached."""
    return (logprobs_BT - old_logprobs_BT.detach()).clamp(-20, 20).exp()


def importance_weight(logprobs_BT: Tensor, old_logprobs_BT: Tensor, limit: float) -> Tensor:
    """Return min(importance ratio, `limit`), detached: truncated importance sampling. SDPO's limit is 2."""
    return importance_ratio(logprobs_BT.detach(), old_logprobs_BT).clamp(max=limit)


def keep_top(student_logits_BTV: Tensor, teacher_logits_BTV: Tensor, k: int, tail: bool) -> tuple[Tensor, Tensor]:
    """Reduce two distributions over the vocabulary to the student's `k` likeliest tokens, as SDPO does to save memory.

    Args:
        student_logits_BTV: At the sampling temperature. Carries the gradient.
        teacher_logits_BTV: Of the same tokens, as the teacher reads them. Detached.
        k: At least 1; the whole vocabulary where that is smaller.
        tail: Whether the rest of the mass becomes one more category, the last. If not, the kept ones are renormalised,
            and what either side thinks of the rest is lost.

    Returns:
        student_logprobs_BTK, teacher_logprobs_BTK: distributions over the same k (+ 1 with `tail`) categories.
    """
    teacher_logits_BTV = teacher_logits_BTV.detach()
    top_logits_BTK, top_BTK = student_logits_BTV.topk(min(k, student_logits_BTV.shape[-1]))
    # Each side is normalised by its own sum over the whole vocabulary.
    student_BTK = top_logits_BTK - student_logits_BTV.logsumexp(-1, keepdim=True)
    teacher_BTK = teacher_logits_BTV.gather(-1, top_BTK) - teacher_logits_BTV.logsumexp(-1, keepdim=True)
    complete = _add_tail if tail else _renormalise
    return complete(_floor(student_BTK)), complete(_floor(teacher_BTK))


def divergence(student_logprobs_BTK: Tensor, teacher_logprobs_BTK: Tensor, alpha: float) -> Tensor:
    """Divergence of the student S from the teacher T, exact over the last axis (SDPO; its equation 1 has `alpha` = 1).

    At `alpha` = 0 it is the forward KL(T||S), at 1 the reverse KL(S||T), and between them the generalised
    Jensen-Shannon divergence (1 - alpha) KL(S||M) + alpha KL(T||M) with M = (1 - alpha) S + alpha T, at most log 2.
    That tends to 0 at both ends, so `alpha` cannot be annealed into either.

    Args:
        student_logprobs_BTK: A distribution over the last axis. Carries the gradient.
        teacher_logprobs_BTK: Over the same categories. Detached.
        alpha: In [0, 1].

    Returns:
        divergence_BT, at least 0 up to rounding, unmasked.

    Raises:
        ValueError: `alpha` is out of range.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha} must lie in [0, 1]: 0 is the forward KL(T||S), 1 the reverse KL(S||T).")
    student, teacher = _floor(student_logprobs_BTK), _floor(teacher_logprobs_BTK.detach())
    if alpha == 0:
        return _kl(teacher, student)
    if alpha == 1:
        return _kl(student, teacher)
    mixture = torch.logaddexp(student + math.log1p(-alpha), teacher + math.log(alpha))
    return (1 - alpha) * _kl(student, mixture) + alpha * _kl(teacher, mixture)


def sampled_token_loss(student_logprobs_BT: Tensor, teacher_logprobs_BT: Tensor) -> Tensor:
    """Reverse KL seen through the sampled token alone: REINFORCE with the advantage log T - log S.

    L = stopgrad(log S - log T) log S. Over tokens drawn from the student its expected gradient is that of KL(S||T);
    its value means nothing.

    Args:
        student_logprobs_BT: Of the sampled tokens. Carries the gradient, in the second factor only.
        teacher_logprobs_BT: Of the same tokens. Detached.

    Returns:
        loss_BT, unmasked.
    """
    student_BT, teacher_BT = _floor(student_logprobs_BT), _floor(teacher_logprobs_BT)
    return (student_BT - teacher_BT).detach() * student_BT


def _floor(logprobs: Tensor) -> Tensor:
    """Raise log 0 to the log of the smallest normal number, with a gradient of 0 there."""
    return logprobs.clamp(min=math.log(torch.finfo(logprobs.dtype).tiny))


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return (p.exp() * (p - q)).sum(-1)


def _add_tail(logprobs: Tensor) -> Tensor:
    """Append log(1 - mass), with the mass at least 1e-7 below 1: closer, float32 does not tell it from 1."""
    log_mass = logprobs.logsumexp(-1, keepdim=True).clamp(max=-1e-7)
    return torch.cat([logprobs, (-log_mass.expm1()).log()], dim=-1)


def _renormalise(logprobs: Tensor) -> Tensor:
    return logprobs - logprobs.logsumexp(-1, keepdim=True)
