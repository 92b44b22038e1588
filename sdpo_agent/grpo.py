"""GRPO as the SDPO paper's baseline runs it (arXiv 2601.20802, section 3; released configuration `baseline_grpo.yaml`).

An attempt's advantage is its reward less the mean of its group, the same for each of its tokens, and the importance
ratio is clipped unevenly (DAPO's clip-higher). No KL penalty, no entropy bonus, no critic. A group in which all fail,
or all succeed, teaches nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from sdpo_agent.attempt import Group, Sample, messages
from sdpo_agent.losses import (
    Aggregation,
    Scale,
    aggregate,
    group_advantages,
    importance_ratio,
    inside,
    policy_gradient_loss,
)
from sdpo_agent.policy import Policy, pad
from sdpo_agent.rollout import decided
from sdpo_envs.errors import choose, within


@dataclass(frozen=True, slots=True)
class GRPOSettings:
    """The defaults are the SDPO paper's baseline."""

    scale: Scale = "none"
    """Whether advantages are divided by the standard deviation of their group."""
    clip_low: float = 0.2
    """How far below 1 the importance ratio still counts."""
    clip_high: float = 0.28
    """How far above 1 the importance ratio still counts."""
    dual_clip: float | None = 3.0
    """Bound on the loss of a bad token that became likelier, in units of the advantage; None for no bound."""
    aggregate: Aggregation = "token-mean"
    """Whether each token or each attempt weighs the same."""

    def __post_init__(self) -> None:
        choose("scale", self.scale, get_args(Scale))
        choose("aggregate", self.aggregate, get_args(Aggregation))
        within("clip_low", self.clip_low, 0, 1)
        within("clip_high", self.clip_high, 0)
        within("dual_clip", self.dual_clip or 1, 1)


class GRPO:
    """Learns from rewards alone."""

    def __init__(self, settings: GRPOSettings | None = None) -> None:
        self.settings = settings or GRPOSettings()

    def samples(self, groups: Sequence[Group]) -> list[Sample]:
        """Give each turn of each attempt that was decided the advantage of its attempt."""
        samples = []
        for group in groups:
            attempts = decided(group)
            rewards_B = torch.tensor([attempt.reward for attempt in attempts], dtype=torch.float64)
            group_B = torch.zeros(len(attempts), dtype=torch.long)
            advantages = group_advantages(rewards_B, group_B, self.settings.scale).tolist()
            for attempt, advantage in zip(attempts, advantages, strict=True):
                samples += [Sample(turn, advantage=advantage) for turn in attempt.turns]
        return samples

    def loss(self, policy: Policy, samples: Sequence[Sample], temperature: float) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of one micro-batch, a scalar with a gradient, and what to log of it."""
        actions = [sample.turn.token_ids for sample in samples]
        prompts = [policy.prompt_ids(messages(sample.turn.system, sample.turn.observation)) for sample in samples]
        logprobs_BT, mask_BT = policy.logprobs(prompts, actions, temperature)
        old = [sample.turn.logprobs for sample in samples]
        old_logprobs_BT, _ = pad(old, dtype=torch.float32, device=policy.device)
        advantages_B = torch.tensor([sample.advantage for sample in samples], device=policy.device)
        clips = (self.settings.clip_low, self.settings.clip_high, self.settings.dual_clip)
        loss_BT = policy_gradient_loss(logprobs_BT, old_logprobs_BT, advantages_B, *clips)
        ratio_BT = importance_ratio(logprobs_BT.detach(), old_logprobs_BT)
        outside_BT = (ratio_BT < 1 - self.settings.clip_low) | (ratio_BT > 1 + self.settings.clip_high)
        metrics = {"clipped_share": float(inside(outside_BT.float(), mask_BT).sum() / mask_BT.sum())}
        return aggregate(loss_BT, mask_BT, self.settings.aggregate), metrics

    def after_step(self, policy: Policy) -> None:
        """Keep nothing between steps."""

    def state(self) -> dict[str, Tensor]:
        """Return nothing: there is no teacher."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up nothing."""
