"""Skill-SD: a divergence from the teacher that knows the skill, estimated by k3 and weighed by the importance ratio.

As released beside SDAR (arXiv 2605.15155): rho k3 with d = log S - log T, k3 = exp(-d) - 1 + d, and rho the ratio of
the student to the policy that sampled, through which the gradient goes too.
"""

from dataclasses import dataclass

from torch import Tensor

from sdpo_agent.guided import Guided, GuidedSettings, Said
from sdpo_agent.losses import importance_ratio, k3
from sdpo_agent.policy import Policy
from sdpo_agent.tokens import Tally, tally_of


@dataclass(frozen=True, slots=True)
class SkillSDSettings(GuidedSettings):
    """The default is that of the released scripts; the released code's own is 0.1."""

    coefficient: float = 0.001
    """Weight of the divergence."""


class SkillSD(Guided):
    """Learns from rewards, and is drawn towards itself with the skill at hand."""

    def __init__(self, policy: Policy, settings: SkillSDSettings | None = None) -> None:
        super().__init__(policy, settings or SkillSDSettings())

    def token_loss(self, said: Said) -> tuple[Tensor, Tally]:
        """Return the ratio times k3, with the gradient of both."""
        ratio_C = importance_ratio(said.student_C, said.tokens.old_logprobs_N)
        distance_C = k3(said.student_C, said.teacher_C)
        return ratio_C * distance_C, tally_of("teacher_kl", distance_C[said.tokens.taught_N])
