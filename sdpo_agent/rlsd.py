"""RLSD: the teacher says where in an attempt its reward was earned; there is no other loss.

As released beside SDAR (arXiv 2605.15155): A_t = A ((1 - lambda) + lambda clip(exp(sign(A) d), 1 - eps, 1 + eps)) with
d = log T - log S, and lambda falling from its start to 0 over the first steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sdpo_agent.guided import Guided, GuidedSettings, Said
from sdpo_agent.policy import Policy
from sdpo_agent.teacher import Pace
from sdpo_envs.errors import within

_STEPS = "steps"


@dataclass(frozen=True, slots=True)
class RLSDSettings(GuidedSettings):
    """The defaults are those of the released scripts; the released code's own are 50 steps.

    `coefficient` weighs nothing here, but at 0 the teacher is not asked.
    """

    share: float = 0.5
    """Lambda at the start: how much of each advantage the teacher's word scales."""
    share_steps: int = 100
    """Training steps over which it falls to 0, in a line; 0 keeps it."""
    clip: float = 0.2
    """Epsilon: how far from 1 the teacher's word scales."""

    def __post_init__(self) -> None:
        GuidedSettings.__post_init__(self)
        within("share", self.share, 0, 1)
        within("share_steps", self.share_steps, 0)
        within("clip", self.clip, 0, 1)


class RLSD(Guided):
    """Learns from rewards, more from the tokens on which its teacher agrees with them."""

    settings: RLSDSettings

    def __init__(self, policy: Policy, settings: RLSDSettings | None = None) -> None:
        super().__init__(policy, settings or RLSDSettings())
        self.steps = 0

    @property
    def share(self) -> float:
        """Lambda, now."""
        over = self.settings.share_steps
        return self.settings.share * (max(0.0, 1 - self.steps / over) if over else 1.0)

    def advantages(self, said: Said) -> Tensor:
        """Return the scaled advantages_C."""
        advantages_C = said.tokens.advantages_N
        scale_C = (advantages_C.sign() * said.gap_C).exp().clamp(1 - self.settings.clip, 1 + self.settings.clip)
        return advantages_C * (1 - self.share + self.share * scale_C)

    def follow(self, policy: Policy, pace: Pace) -> None:
        """Count the training steps."""
        super().follow(policy, pace)
        self.steps += pace == "step"

    def state(self) -> dict[str, Tensor]:
        """Return what the others keep, and the count."""
        return {**super().state(), _STEPS: torch.tensor(self.steps)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up what the others keep, and the count."""
        super().restore(state)
        self.steps = int(state[_STEPS])
