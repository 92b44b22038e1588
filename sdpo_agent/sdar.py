"""SDAR: self-distilled agentic RL (arXiv 2605.15155). GRPO, and a gate on each token that the teacher opens or shuts.

With the gap d = log T - log S of a sampled token, its gate is sigmoid(beta d), and the loss is gate (log T - log S),
through log S alone. So every token is pushed up, by a half where teacher and student agree, by more where the teacher
likes it better. Over tokens drawn from the student a constant push comes to nothing, so what is left in expectation is
a policy gradient with the advantage sigmoid(beta d), less its mean (docs/sdar.md, 2).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdpo_agent.guided import Guided, GuidedSettings, Said
from sdpo_agent.policy import Policy
from sdpo_agent.tokens import Tally, tally_of
from sdpo_envs.errors import within


@dataclass(frozen=True, slots=True)
class SDARSettings(GuidedSettings):
    """The defaults are those of the released scripts; the released code's own are a coefficient of 0.1."""

    beta: float = 5.0
    """How sharply the gate opens. At 0 it is a half, whatever the teacher says: the released GRPO+OPSD, which over
    tokens drawn from the student is noise with a mean of zero."""
    centred: bool = False
    """Whether a half is taken off the gate: the same in expectation, with less variance. Not in the paper."""

    def __post_init__(self) -> None:
        GuidedSettings.__post_init__(self)
        within("beta", self.beta, 0)


class SDAR(Guided):
    """Learns from rewards, and from the tokens that its teacher likes better."""

    settings: SDARSettings

    def __init__(self, policy: Policy, settings: SDARSettings | None = None) -> None:
        super().__init__(policy, settings or SDARSettings())

    def token_loss(self, said: Said) -> tuple[Tensor, Tally]:
        """Return gate_C (log T - log S), with the gradient of log S, and what the gates are like."""
        gate_C = torch.sigmoid(self.settings.beta * said.gap_C)
        taught = gate_C[said.tokens.taught_N]
        told = {**tally_of("gate_mean", taught), **tally_of("gate_open_share", taught > 0.5)}
        weight_C = gate_C - 0.5 if self.settings.centred else gate_C
        return weight_C * (said.teacher_C - said.student_C), told
