"""The self-teacher's weights: an average of the student, a blend with it, the initial policy, or the student itself.

With LoRA what is averaged is the product of the adapter's factors, added to the weight that it adapts, and not the
factors: the average of products is no product of averages. So the teacher is then a copy without adapters. The initial
policy of a fresh adapter needs no copy: it is the model with the adapter off.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from sdpo_agent.chat import Script
from sdpo_agent.head import Blend, Scores
from sdpo_agent.policy import Policy

Kind = Literal["ema", "trust-region", "frozen", "live"]
Pace = Literal["step", "optimizer-step"]


class Teacher:
    """Scores what the student wrote, without a gradient.

    Args:
        policy: The student.
        kind: ``"ema"``: weights (1 - rate) teacher + rate student, in float32, as bfloat16 would swallow the average.
            ``"trust-region"``: logits (1 - rate) initial + rate student, both shown the hindsight. ``"frozen"``: the
            initial policy. ``"live"``: the student as it is; in the paper that diverges (SDPO, Table 4).
        rate: In [0, 1]; read by the first two.
        pace: Whether an average moves once per training step, as in the released code, or at each optimizer step.

    Attributes:
        initial: A copy of the policy, which an average then moves; None where none is needed.
    """

    def __init__(self, policy: Policy, kind: Kind, rate: float = 0.0, pace: Pace = "step") -> None:
        self.kind, self.rate, self.pace = kind, rate, pace
        fresh = bool(policy.adapters) and all(map(_adds_nothing, policy.adapters.values()))
        self.initial = None if kind == "live" or (kind != "ema" and fresh) else policy.copy()
        if self.initial is not None:
            self.initial.model.requires_grad_(False)
            if kind == "ema":
                narrow = next(iter(policy.model.parameters())).dtype
                self.initial.autocast = policy.autocast or (None if narrow == torch.float32 else narrow)
                self.initial.model.float()

    @torch.no_grad()
    def scores(self, policy: Policy, scripts: Sequence[Script], temperature: float) -> Scores:
        """Score the written tokens of `scripts`, which hold the hindsight."""
        if self.kind == "live":
            return policy.scores(scripts, temperature)
        if self.initial is not None:
            initial = self.initial.scores(scripts, temperature)
        else:
            with policy.without_adapters():
                initial = policy.scores(scripts, temperature)
        if self.kind == "trust-region":
            return Blend(initial, policy.scores(scripts, temperature), self.rate)
        return initial

    @torch.no_grad()
    def follow(self, policy: Policy, pace: Pace) -> None:
        """Move an average towards the student, if it is its time."""
        if self.kind == "ema" and self.initial is not None and pace == self.pace and self.rate:
            for mine, theirs in zip(self.initial.model.parameters(), policy.merged(), strict=True):
                mine.lerp_(theirs.to(mine), self.rate)

    def state(self) -> dict[str, Tensor]:
        """Return the copy's weights, for a checkpoint."""
        return {} if self.initial is None else dict(self.initial.model.state_dict())

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up the copy of a checkpoint."""
        if self.initial is not None:
            self.initial.model.load_state_dict(state)


@torch.no_grad()
def _adds_nothing(layer: Any) -> bool:
    return not any(layer.get_delta_weight(adapter).any() for adapter in layer.active_adapters)
