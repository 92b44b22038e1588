"""Algorithms by name: the paper's experiments, GRPO's family, and mixtures, each a few settings.

Values that a paper states are named with their source in the docs, a page for each algorithm (docs/algorithms.md).
What a preset does not set, such as the environment, is the caller's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sdpo_agent.credit import Credit
from sdpo_agent.grpo import GRPO, GRPOSettings, PolicyGradient
from sdpo_agent.learn import Algorithm
from sdpo_agent.opsd import OPSD, OPSDSettings
from sdpo_agent.policy import Policy
from sdpo_agent.reprompt import Reprompt
from sdpo_agent.rlsd import RLSD, RLSDSettings
from sdpo_agent.sdar import SDAR, SDARSettings
from sdpo_agent.sdpo import SDPO, SDPOSettings
from sdpo_agent.skillsd import SkillSD, SkillSDSettings
from sdpo_agent.train import TrainSettings

Settings = SDPOSettings | GRPOSettings | SDARSettings | OPSDSettings | SkillSDSettings | RLSDSettings


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings that belong together.

    Attributes:
        about: What it is, in a line.
        settings: Of the algorithm.
        loop: How to play and learn.
        tasks: Per training step.
        group_size: Attempts per task.
    """

    about: str
    settings: Settings
    loop: TrainSettings = field(default_factory=TrainSettings)
    tasks: int = 32
    group_size: int = 8


def make_algorithm(policy: Policy, settings: Settings) -> Algorithm:
    """Return the algorithm that has such settings."""
    match settings:
        case SDPOSettings():
            return SDPO(policy, settings)
        case SDARSettings():
            return SDAR(policy, settings)
        case OPSDSettings():
            return OPSD(policy, settings)
        case SkillSDSettings():
            return SkillSD(policy, settings)
        case RLSDSettings():
            return RLSD(policy, settings)
        case GRPOSettings():
            return GRPO(settings, policy)


_RICH = SDPOSettings(alpha=1.0, top_k=20, teacher_rate=0.01)
_SLOW = TrainSettings(learning_rate=1e-6)
_TWO_SIDED = PolicyGradient(clip_high=0.2, dual_clip=None)
_OVER_TURNS = PolicyGradient(scale="std", clip_high=0.2, credit=Credit(invalid_penalty=0.01, over="turns"))
_AGENT = replace(_SLOW, max_tokens=512)

PRESETS: Mapping[str, Preset] = {
    "sdpo": Preset("SDPO with the defaults of the released code", SDPOSettings()),
    "sdpo-no-feedback": Preset(
        "SDPO from peers alone: the paper's science and tool use (Table 12)",
        SDPOSettings(reprompt=Reprompt(feedback="never")),
        TrainSettings(learning_rate=1e-5, warmup_steps=10),
    ),
    "sdpo-lcbv6": Preset(
        "SDPO with rich feedback: the paper's LiveCodeBench v6 (Table 12)",
        _RICH,
        replace(_SLOW, minibatches=32),
    ),
    "sdpo-test-time": Preset(
        "SDPO on one task until it is solved (Table 12); for discover",
        replace(_RICH, advantage_clip=5.0),
        _SLOW,
        tasks=1,
        group_size=16,
    ),
    "sdpo-grpo": Preset(
        "the paper's hybrid for small models: lambda 0.9 (equation 3)", replace(_RICH, policy_share=0.9), _SLOW
    ),
    "sdpo-routed": Preset(
        "failures to SDPO, successes to GRPO (arXiv 2604.02288, its routing alone)",
        replace(_RICH, route="failures"),
        _SLOW,
    ),
    "sdpo-weighed": Preset(
        "SDPO with groups weighed by sqrt(p (1 - p)) (arXiv 2605.27765)", replace(_RICH, weigh="by-success-rate"), _SLOW
    ),
    "grpo": Preset(
        "the SDPO paper's baseline (Table 13)", GRPOSettings(), replace(_SLOW, warmup_steps=10, minibatches=4)
    ),
    "grpo-on-policy": Preset(
        "the same with one optimizer step (Table 13)",
        GRPOSettings(),
        TrainSettings(learning_rate=1e-5, warmup_steps=10),
    ),
    "grpo-deepseekmath": Preset(
        "GRPO as first published: std, sequence mean, KL (arXiv 2402.03300)",
        GRPOSettings(replace(_TWO_SIDED, scale="std"), aggregate="sequence-mean", kl=0.04),
        _SLOW,
    ),
    "dr-grpo": Preset(
        "no std, sums over a constant length (arXiv 2503.20783)",
        GRPOSettings(_TWO_SIDED, aggregate="length-mean"),
        _SLOW,
    ),
    "dapo": Preset(
        "clip-higher, token mean, dynamic sampling (arXiv 2503.14476)",
        GRPOSettings(PolicyGradient(scale="std", dual_clip=None)),
        replace(_SLOW, warmup_steps=20, minibatches=16, batches=10),
    ),
    "gspo": Preset(
        "the ratio of the sequence (arXiv 2507.18071)",
        GRPOSettings(
            replace(_TWO_SIDED, scale="std", ratio="sequence", clip_low=3e-4, clip_high=4e-4), aggregate="sequence-mean"
        ),
        replace(_SLOW, minibatches=4),
    ),
    "cispo": Preset(
        "truncated weights in place of clipping (arXiv 2506.13585)",
        GRPOSettings(PolicyGradient(scale="std", surrogate="cispo", clip_high=4.0, dual_clip=None)),
        replace(_SLOW, minibatches=4),
    ),
    "grpo-agent": Preset(
        "GRPO as SDAR's comparison runs it, over turns (arXiv 2605.15155)",
        GRPOSettings(_OVER_TURNS, kl=0.01),
        _AGENT,
        tasks=16,
    ),
    "gigpo": Preset(
        "the same with turns compared that met one state (arXiv 2505.10978)",
        GRPOSettings(replace(_OVER_TURNS, credit=replace(_OVER_TURNS.credit, states=1.0)), kl=0.01),
        _AGENT,
        tasks=16,
    ),
    "sdar": Preset(
        "GRPO and a gated teacher that knows the skill (arXiv 2605.15155)",
        SDARSettings(_OVER_TURNS),
        _AGENT,
        tasks=16,
    ),
    "sdar-opsd": Preset(
        "its comparison OPSD, as shipped: the gated teacher without rewards",
        SDARSettings(_OVER_TURNS, policy_weight=0.0),
        _AGENT,
        tasks=16,
    ),
    "sdar-grpo-opsd": Preset(
        "its comparison GRPO+OPSD, as shipped: a gate that is always a half, so noise",
        SDARSettings(_OVER_TURNS, beta=0.0),
        _AGENT,
        tasks=16,
    ),
    "grpo-opsd": Preset(
        "GRPO+OPSD as meant: the reverse KL of the sampled tokens", OPSDSettings(_OVER_TURNS), _AGENT, tasks=16
    ),
    "skill-sd": Preset(
        "GRPO and a weighed divergence from the teacher that knows the skill",
        SkillSDSettings(_OVER_TURNS),
        _AGENT,
        tasks=16,
    ),
    "rlsd": Preset(
        "advantages scaled by the teacher's word on each token", RLSDSettings(_OVER_TURNS), _AGENT, tasks=16
    ),
    "rloo": Preset(
        "REINFORCE against the mean of the others (arXiv 2402.14740)",
        GRPOSettings(replace(_TWO_SIDED, baseline="leave-one-out"), aggregate="length-mean"),
        _SLOW,
    ),
}
"""By the name that the command line knows."""
