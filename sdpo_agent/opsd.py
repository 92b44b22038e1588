"""On-policy self-distillation beside rewards: the reverse KL to the teacher, seen through the sampled tokens.

That is what SDAR's comparison calls GRPO+OPSD. What its scripts run is another thing, SDAR with a gate that is always a
half (`sdpo_agent.sdar`, ``beta=0``); docs/opsd.md has both. With ``policy_weight=0`` there are no rewards.
"""

from dataclasses import dataclass

from torch import Tensor

from sdpo_agent.guided import Guided, GuidedSettings, Said
from sdpo_agent.losses import sampled_token_loss
from sdpo_agent.policy import Policy
from sdpo_agent.tokens import Tally
from sdpo_envs.errors import within


@dataclass(frozen=True, slots=True)
class OPSDSettings(GuidedSettings):
    """As SDAR's, but for the gate."""

    advantage_clip: float | None = None
    """Bound on the magnitude of log(teacher / student), in nats; None for none."""

    def __post_init__(self) -> None:
        GuidedSettings.__post_init__(self)
        within("advantage_clip", 1 if self.advantage_clip is None else self.advantage_clip, 1e-12)


class OPSD(Guided):
    """Learns from rewards, and to write what its teacher would."""

    settings: OPSDSettings

    def __init__(self, policy: Policy, settings: OPSDSettings | None = None) -> None:
        super().__init__(policy, settings or OPSDSettings())

    def token_loss(self, said: Said) -> tuple[Tensor, Tally]:
        """Return -stopgrad(log T - log S) log S."""
        return sampled_token_loss(said.student_C, said.gap_C, self.settings.advantage_clip), {}
