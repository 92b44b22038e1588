"""A thin student against the environments of `sdpo_envs`: SDPO and GRPO, one loop."""

from sdpo_envs import MissingExtra

try:
    from sdpo_agent.attempt import Attempt, Group, Sample, Turn
    from sdpo_agent.grpo import GRPO, GRPOSettings
    from sdpo_agent.policy import Policy
    from sdpo_agent.reprompt import Reprompt, hindsight
    from sdpo_agent.rollout import collect
    from sdpo_agent.sdpo import SDPO, SDPOSettings
    from sdpo_agent.train import Algorithm, TrainSettings, train
    from sdpo_agent.warmstart import warm_start
except ModuleNotFoundError as error:
    message = f"sdpo_agent needs the module {error.name!r}. Install it with: pip install 'sdpo-envs[agent]'"
    raise MissingExtra(message) from error

__all__ = [
    "GRPO",
    "SDPO",
    "Algorithm",
    "Attempt",
    "GRPOSettings",
    "Group",
    "Policy",
    "Reprompt",
    "SDPOSettings",
    "Sample",
    "TrainSettings",
    "Turn",
    "collect",
    "hindsight",
    "train",
    "warm_start",
]
