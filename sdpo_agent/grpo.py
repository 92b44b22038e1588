"""GRPO and its family: what an attempt's reward says against its group's is pushed into each of its tokens.

The defaults are the SDPO paper's baseline (arXiv 2601.20802, section 3; released configuration `baseline_grpo.yaml`):
reward less the group's mean, importance ratio clipped unevenly, no KL penalty. `sdpo_agent.presets` has the others by
name: Dr. GRPO, DAPO, GSPO, CISPO, RLOO. A group in which all fail, or all succeed, teaches none of them anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from sdpo_agent.attempt import Attempt, Group, Sample, Turn
from sdpo_agent.credit import Credit
from sdpo_agent.head import Hidden, Scores, minimise, peek, pick
from sdpo_agent.losses import (
    Aggregation,
    Baseline,
    Scale,
    cispo_loss,
    clipped_loss,
    importance_ratio,
    k3,
    sequence_mean,
)
from sdpo_agent.policy import Policy
from sdpo_agent.teacher import Pace, Teacher
from sdpo_agent.tokens import Tally, Tokens, add, lay_out, tally_of
from sdpo_envs import SettingError
from sdpo_envs.errors import choose, within

Ratio = Literal["token", "sequence"]
Surrogate = Literal["clipped", "cispo"]


@dataclass(frozen=True, slots=True)
class PolicyGradient:
    """How rewards become a loss."""

    baseline: Baseline = "mean"
    """What a reward is compared with: the mean of its group, or of the others in it (RLOO)."""
    scale: Scale = "none"
    """Whether advantages are divided by the standard deviation of their group."""
    surrogate: Surrogate = "clipped"
    """Whether a token whose ratio left the clip range loses its gradient (PPO), or is weighed less (CISPO)."""
    ratio: Ratio = "token"
    """Whether each token has its own importance ratio, or the geometric mean of its sequence (GSPO)."""
    clip_low: float = 0.2
    """How far below 1 the importance ratio still counts."""
    clip_high: float = 0.28
    """How far above 1 the importance ratio still counts."""
    dual_clip: float | None = 3.0
    """Bound on the loss of a bad token that became likelier, in units of the advantage; None for no bound."""
    credit: Credit = field(default_factory=Credit)
    """How the reward of an episode becomes returns of its turns."""

    def __post_init__(self) -> None:
        for name, offered in (("baseline", Baseline), ("scale", Scale), ("surrogate", Surrogate), ("ratio", Ratio)):
            choose(name, getattr(self, name), get_args(offered))
        within("clip_low", self.clip_low, 0, 1)
        within("clip_high", self.clip_high, 0)
        within("dual_clip", 1 if self.dual_clip is None else self.dual_clip, 1)
        if self.surrogate == "cispo" and self.ratio == "sequence":
            raise SettingError("surrogate='cispo' weighs each token by itself; ratio must be 'token'.")

    def threads(self, group: Group) -> Iterator[tuple[Attempt, tuple[Turn, ...], tuple[float, ...]]]:
        """Yield the threads of each attempt of `group` that was decided, with the advantage of each turn."""
        advantages = self.credit.advantages(group, self.baseline, self.scale)
        for attempt, mine in zip(group.decided, advantages, strict=True):
            start = 0
            for turns in attempt.threads:
                yield attempt, turns, tuple(mine[start : start + len(turns)])
                start += len(turns)

    def prepared(self, student: Hidden, tokens: Tokens) -> Tokens:
        """Return `tokens` with old log-probabilities against which each token has the importance ratio that it should.

        For GSPO that is the value of its sequence's ratio (arXiv 2507.18071, equation 7) with the gradient of its own
        (equation 14), which needs a look at the whole sequence first; else nothing changes.
        """
        if self.ratio == "token" or not len(tokens):
            return tokens
        logprobs_N = peek(student, tokens.ids_N)
        distance_N = logprobs_N - tokens.old_logprobs_N
        mean_N = sequence_mean(distance_N, tokens.sequence_N, int(tokens.sequence_N.max()) + 1)
        return replace(tokens, old_logprobs_N=logprobs_N - mean_N)

    def loss(self, logprobs_C: Tensor, tokens: Tokens) -> tuple[Tensor, Tally]:
        """Return loss_C of `prepared` tokens, with the gradient of `logprobs_C`, and what to log."""
        ratio_C = importance_ratio(logprobs_C, tokens.old_logprobs_N)
        told = tally_of("clipped_share", (ratio_C < 1 - self.clip_low) | (ratio_C > 1 + self.clip_high))
        if self.surrogate == "cispo":
            return cispo_loss(logprobs_C, ratio_C, tokens.advantages_N, self.clip_high), told
        return clipped_loss(ratio_C, tokens.advantages_N, self.clip_low, self.clip_high, self.dual_clip), told

    def minimise(self, student: Hidden, tokens: Tokens, reference: Scores | None = None) -> tuple[Tensor, Tally]:
        """Return what `prepared` tokens add to the loss, with a gradient, and what to log."""
        told: Tally = {}

        def objective(logits_CV: Tensor, at: slice) -> Tensor:
            here = tokens[at]
            logprobs_C = pick(logits_CV, here.ids_N)
            loss_C, more = self.loss(logprobs_C, here)
            add(told, more)
            loss = (loss_C * here.policy_N).sum()
            if reference is not None:
                with torch.no_grad():
                    reference_C = pick(reference.logits(at), here.ids_N)
                distance_C = k3(logprobs_C, reference_C)
                add(told, tally_of("reference_kl", distance_C))
                loss = loss + (distance_C * here.reference_N).sum()
            return loss

        return minimise(student, objective), told


@dataclass(frozen=True, slots=True)
class GRPOSettings:
    """The defaults are the SDPO paper's baseline."""

    gradient: PolicyGradient = field(default_factory=PolicyGradient)
    """How rewards become a loss."""
    aggregate: Aggregation = "token-mean"
    """Whether each token or each attempt weighs the same."""
    kl: float = 0.0
    """Weight of the divergence from the initial policy, estimated by k3."""

    def __post_init__(self) -> None:
        choose("aggregate", self.aggregate, get_args(Aggregation))
        within("kl", self.kl, 0)


class GRPO:
    """Learns from rewards alone.

    Args:
        settings: See there.
        policy: Where the reference policy is copied from; needed when ``settings.kl`` is not 0.

    Raises:
        SettingError: a reference is needed and there is no policy.
    """

    def __init__(self, settings: GRPOSettings | None = None, policy: Policy | None = None) -> None:
        self.settings = settings or GRPOSettings()
        if self.settings.kl and policy is None:
            raise SettingError(f"kl={self.settings.kl:g} needs a reference; pass the policy: GRPO(settings, policy).")
        self.reference = Teacher(policy, "frozen") if self.settings.kl and policy is not None else None

    def samples(self, group: Group) -> list[Sample]:
        """Give each thread of each attempt that was decided the advantages of its turns."""
        return [
            Sample(turns, advantages=advantages, policy_weight=1.0, reference_weight=self.settings.kl)
            for _, turns, advantages in self.settings.gradient.threads(group)
        ]

    def loss(
        self, policy: Policy, samples: Sequence[Sample], shares: Sequence[float], temperature: float
    ) -> tuple[Tensor, Tally]:
        """Return what a micro-batch adds to the loss of its mini-batch, with a gradient, and what to log of it."""
        tokens = lay_out(samples, shares, policy.device)
        scripts = [policy.chat.script(sample.turns) for sample in samples]
        student = policy.scores(scripts, temperature)
        reference = None if self.reference is None else self.reference.scores(policy, scripts, temperature)
        gradient = self.settings.gradient
        return gradient.minimise(student, gradient.prepared(student, tokens), reference)

    def follow(self, policy: Policy, pace: Pace) -> None:
        """Follow nothing: a reference stays where it is."""

    def state(self) -> dict[str, Tensor]:
        """Return the reference, if there is one."""
        return {} if self.reference is None else self.reference.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up the reference of a checkpoint."""
        if self.reference is not None:
            self.reference.restore(state)
