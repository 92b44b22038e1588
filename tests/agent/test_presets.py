"""The presets: each number that a paper or its code states, and that each can be made and trained with."""

from dataclasses import asdict
from pathlib import Path

import pytest

from sdpo_agent import (
    GRPO,
    PRESETS,
    SDPO,
    GRPOSettings,
    OPSDSettings,
    Policy,
    PolicyGradient,
    Preset,
    RLSDSettings,
    SDARSettings,
    SDPOSettings,
    SkillSDSettings,
    make_algorithm,
)
from sdpo_agent.guided import GuidedSettings
from sdpo_agent.train import TrainSettings, train
from sdpo_envs import GroupEnv


def sdpo(name: str) -> SDPOSettings:
    settings = PRESETS[name].settings
    assert isinstance(settings, SDPOSettings)
    return settings


def grpo(name: str) -> GRPOSettings:
    settings = PRESETS[name].settings
    assert isinstance(settings, GRPOSettings)
    return settings


def test_the_default_is_the_released_actor_yaml() -> None:
    settings = sdpo("sdpo")
    assert settings == SDPOSettings()
    assert (settings.support, settings.top_k, settings.tail, settings.alpha) == ("student-top-k", 100, True, 0.5)
    assert (settings.teacher, settings.teacher_rate, settings.teacher_pace) == ("ema", 0.05, "step")
    assert (settings.importance_clip, settings.advantage_clip) == (2.0, None)
    assert (settings.policy_share, settings.route, settings.weigh) == (0.0, "all", "evenly")
    reprompt = settings.reprompt
    assert (reprompt.peer, reprompt.feedback, reprompt.attempt, reprompt.thinking) == (
        "random",
        "without-peer",
        False,
        False,
    )


def test_science_and_tool_use_are_those_of_table_12() -> None:
    preset, settings = PRESETS["sdpo-no-feedback"], sdpo("sdpo-no-feedback")
    assert (preset.tasks, preset.group_size, preset.loop.minibatches) == (32, 8, 1)
    assert (settings.alpha, settings.top_k, settings.tail, settings.support) == (0.5, 100, True, "student-top-k")
    assert (settings.teacher, settings.teacher_rate) == ("ema", 0.05)
    assert (preset.loop.learning_rate, preset.loop.warmup_steps) == (1e-5, 10)
    assert (settings.importance_clip, settings.advantage_clip) == (2.0, None)
    assert settings.reprompt.feedback == "never"


def test_livecodebench_is_that_of_table_12() -> None:
    preset, settings = PRESETS["sdpo-lcbv6"], sdpo("sdpo-lcbv6")
    assert (preset.tasks, preset.group_size) == (32, 8)
    assert preset.tasks / preset.loop.minibatches == 1  # a mini-batch is one question
    assert (settings.alpha, settings.top_k, settings.tail, settings.support) == (1.0, 20, True, "student-top-k")
    assert (settings.teacher, settings.teacher_rate) == ("ema", 0.01)
    assert (preset.loop.learning_rate, preset.loop.warmup_steps) == (1e-6, 0)
    assert (settings.importance_clip, settings.advantage_clip) == (2.0, None)
    assert settings.reprompt.feedback == "without-peer"


def test_test_time_is_that_of_table_12() -> None:
    preset, settings = PRESETS["sdpo-test-time"], sdpo("sdpo-test-time")
    assert (preset.tasks, preset.group_size, preset.loop.minibatches) == (1, 16, 1)
    assert (settings.alpha, settings.top_k, settings.tail, settings.support) == (1.0, 20, True, "student-top-k")
    assert (settings.teacher, settings.teacher_rate) == ("ema", 0.01)
    assert (preset.loop.learning_rate, preset.loop.warmup_steps) == (1e-6, 0)
    assert (settings.importance_clip, settings.advantage_clip) == (2.0, 5.0)
    assert settings.reprompt.feedback == "without-peer"  # before the first success, all there is


def test_the_hybrid_is_equation_3_s() -> None:
    settings = sdpo("sdpo-grpo")
    assert (settings.policy_share, settings.route, settings.weigh) == (0.9, "all", "evenly")
    assert (settings.gradient, settings.alpha, settings.top_k) == (PolicyGradient(), 1.0, 20)


def test_the_mixtures_are_what_their_papers_say() -> None:
    assert (sdpo("sdpo-routed").route, sdpo("sdpo-routed").policy_share) == ("failures", 0.0)
    assert (sdpo("sdpo-weighed").weigh, sdpo("sdpo-weighed").route) == ("by-success-rate", "all")


@pytest.mark.parametrize(("name", "rate", "minibatches"), [("grpo", 1e-6, 4), ("grpo-on-policy", 1e-5, 1)])
def test_the_baselines_are_those_of_table_13(name: str, rate: float, minibatches: int) -> None:
    preset, settings = PRESETS[name], grpo(name)
    assert settings == GRPOSettings()
    assert (preset.loop.learning_rate, preset.loop.warmup_steps, preset.loop.minibatches) == (rate, 10, minibatches)
    assert (preset.tasks, preset.group_size) == (32, 8)  # so mini-batches of 8 and 32 questions
    gradient = settings.gradient
    assert (gradient.clip_low, gradient.clip_high, gradient.dual_clip) == (0.2, 0.28, 3.0)
    assert (gradient.baseline, gradient.scale, gradient.surrogate, gradient.ratio, settings.kl) == (
        "mean",
        "none",
        "clipped",
        "token",
        0.0,
    )


def test_the_optimizer_is_the_released_one() -> None:
    for preset in PRESETS.values():
        assert (preset.loop.weight_decay, preset.loop.max_grad_norm, preset.loop.temperature) == (0.01, 1.0, 1.0)


def test_the_family_is_what_its_papers_say() -> None:
    deepseek = grpo("grpo-deepseekmath")
    assert (deepseek.kl, deepseek.aggregate, deepseek.gradient.scale) == (0.04, "sequence-mean", "std")
    assert (deepseek.gradient.clip_low, deepseek.gradient.clip_high, deepseek.gradient.dual_clip) == (0.2, 0.2, None)
    assert (PRESETS["grpo-deepseekmath"].loop.learning_rate, PRESETS["grpo-deepseekmath"].loop.minibatches) == (1e-6, 1)

    assert (grpo("dr-grpo").aggregate, grpo("dr-grpo").gradient.scale, grpo("dr-grpo").kl) == ("length-mean", "none", 0)

    dapo, loop = grpo("dapo"), PRESETS["dapo"].loop
    assert (dapo.aggregate, dapo.gradient.scale, dapo.kl) == ("token-mean", "std", 0.0)
    assert (dapo.gradient.clip_low, dapo.gradient.clip_high, dapo.gradient.dual_clip) == (0.2, 0.28, None)
    assert (loop.learning_rate, loop.warmup_steps, loop.minibatches, loop.batches) == (1e-6, 20, 16, 10)

    gspo = grpo("gspo")
    assert (gspo.gradient.ratio, gspo.gradient.surrogate, gspo.aggregate) == ("sequence", "clipped", "sequence-mean")
    assert (gspo.gradient.clip_low, gspo.gradient.clip_high, PRESETS["gspo"].loop.minibatches) == (3e-4, 4e-4, 4)

    assert (grpo("cispo").gradient.surrogate, grpo("cispo").aggregate) == ("cispo", "token-mean")
    assert (grpo("rloo").gradient.baseline, grpo("rloo").gradient.scale) == ("leave-one-out", "none")


AGENTS = ("grpo-agent", "gigpo", "sdar", "sdar-opsd", "sdar-grpo-opsd", "grpo-opsd", "skill-sd", "rlsd")


@pytest.mark.parametrize("name", AGENTS)
def test_agents_share_what_sdar_s_scripts_share(name: str) -> None:
    preset = PRESETS[name]
    settings, loop = preset.settings, preset.loop
    assert (preset.tasks, preset.group_size, loop.learning_rate, loop.max_tokens) == (16, 8, 1e-6, 512)
    gradient, credit = settings.gradient, settings.gradient.credit
    assert (gradient.clip_low, gradient.clip_high, gradient.dual_clip) == (0.2, 0.2, 3.0)
    assert (gradient.baseline, gradient.scale, gradient.ratio, settings.aggregate) == (
        "mean",
        "std",
        "token",
        "token-mean",
    )
    assert (credit.over, credit.discount, credit.states) == ("turns", 1.0, float(name == "gigpo"))
    assert not isinstance(settings, SDPOSettings)
    assert settings.kl == 0.01
    if isinstance(settings, GuidedSettings):
        assert (settings.entropy, settings.teacher) == (0.001, "live")
        assert (settings.reprompt.skill, settings.reprompt.peer, settings.reprompt.feedback) == (True, "none", "never")
        assert settings.policy_weight == float(name != "sdar-opsd")


def test_the_kin_differ_as_its_scripts_do() -> None:
    sdar, opsd, shipped, meant, skill, rlsd = (PRESETS[name].settings for name in AGENTS[2:])
    for settings, beta in ((sdar, 5.0), (opsd, 5.0), (shipped, 0.0)):
        assert isinstance(settings, SDARSettings)
        assert (settings.beta, settings.coefficient, settings.centred) == (beta, 0.01, False)
    assert isinstance(meant, OPSDSettings)
    assert (meant.coefficient, meant.advantage_clip) == (0.01, None)
    assert isinstance(skill, SkillSDSettings)
    assert skill.coefficient == 0.001
    assert isinstance(rlsd, RLSDSettings)
    assert (rlsd.share, rlsd.share_steps, rlsd.clip) == (0.5, 100, 0.2)
    gigpo = grpo("gigpo").gradient.credit
    assert (gigpo.states, gigpo.state_discount) == (1.0, 0.95)


@pytest.mark.parametrize("name", PRESETS)
def test_each_can_be_trained_with(policy: Policy, envs: GroupEnv, tmp_path: Path, name: str) -> None:
    preset = PRESETS[name]
    assert 10 < len(preset.about) < 100
    algorithm = make_algorithm(policy, preset.settings)
    assert algorithm.settings is preset.settings
    loop = TrainSettings(**{**asdict(preset.loop), "steps": 1, "max_tokens": 4, "batches": min(2, preset.loop.batches)})
    (row,) = train(policy, algorithm, envs, loop, tmp_path)
    assert row["optimizer_steps"] > 0
    assert row["grad_norm"] > 0


def test_settings_make_their_algorithm(policy: Policy) -> None:
    assert type(make_algorithm(policy, SDPOSettings())) is SDPO
    assert type(make_algorithm(policy, GRPOSettings())) is GRPO
    assert isinstance(PRESETS["sdpo"], Preset)
    with_reference = make_algorithm(policy, GRPOSettings(kl=0.1))
    assert isinstance(with_reference, GRPO)
    assert with_reference.reference is not None
