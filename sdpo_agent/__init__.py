"""A thin student against the environments of `sdpo_envs`: SDPO, GRPO, SDAR and their kin, one loop."""

from sdpo_envs import MissingExtra

try:
    from sdpo_agent.answers import Answers
    from sdpo_agent.attempt import Attempt, Conversation, Group, Sample, Turn
    from sdpo_agent.credit import Credit
    from sdpo_agent.grpo import GRPO, GRPOSettings, PolicyGradient
    from sdpo_agent.learn import Algorithm
    from sdpo_agent.opsd import OPSD, OPSDSettings
    from sdpo_agent.policy import Policy
    from sdpo_agent.presets import PRESETS, Preset, make_algorithm
    from sdpo_agent.reprompt import Reprompt, hindsight
    from sdpo_agent.rlsd import RLSD, RLSDSettings
    from sdpo_agent.rollout import Sampler, collect
    from sdpo_agent.sdar import SDAR, SDARSettings
    from sdpo_agent.sdpo import SDPO, SDPOSettings
    from sdpo_agent.server import Server
    from sdpo_agent.skillsd import SkillSD, SkillSDSettings
    from sdpo_agent.train import TrainSettings, train
    from sdpo_agent.warmstart import warm_start
except ModuleNotFoundError as error:
    message = f"sdpo_agent needs the module {error.name!r}. Install it with: pip install 'sdpo-envs[agent]'"
    raise MissingExtra(message) from error

__all__ = [
    "GRPO",
    "OPSD",
    "PRESETS",
    "RLSD",
    "SDAR",
    "SDPO",
    "Algorithm",
    "Answers",
    "Attempt",
    "Conversation",
    "Credit",
    "GRPOSettings",
    "Group",
    "OPSDSettings",
    "Policy",
    "PolicyGradient",
    "Preset",
    "RLSDSettings",
    "Reprompt",
    "SDARSettings",
    "SDPOSettings",
    "Sample",
    "Sampler",
    "Server",
    "SkillSD",
    "SkillSDSettings",
    "TrainSettings",
    "Turn",
    "collect",
    "hindsight",
    "make_algorithm",
    "train",
    "warm_start",
]
