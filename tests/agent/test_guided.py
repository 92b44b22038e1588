"""SDAR and its kin, from groups to gradients, against the same by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from byhand import (
    ASKED,
    ONE_BATCH,
    attempt,
    flat_gradient,
    group,
    moved,
    old,
    precise,
    read,
    relative,
    spoken,
    told_of,
)
from torch import Tensor

from sdpo_agent import GRPO, Group, GRPOSettings, Policy, PolicyGradient, Reprompt, make_algorithm
from sdpo_agent.credit import Credit
from sdpo_agent.guided import Guided, GuidedSettings
from sdpo_agent.opsd import OPSD, OPSDSettings
from sdpo_agent.reprompt import INSTRUCTION, SKILL
from sdpo_agent.rlsd import RLSD, RLSDSettings
from sdpo_agent.sdar import SDAR, SDARSettings
from sdpo_agent.skillsd import SkillSD, SkillSDSettings
from sdpo_envs import SettingError

KNOWN = "Letters come early."
OPENING = f"{ASKED}{SKILL}{KNOWN}{INSTRUCTION}"
GRADIENT = PolicyGradient(clip_low=1.0, clip_high=1e9, dual_clip=None)  # so that by hand it is ratio * advantage

Loss = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""From student, teacher and old log-probabilities, and the advantage, to what a method adds to each token's loss."""


def knowing(policy: Policy, *pairs: tuple[str, float], off: float = 0.1, skill: str = KNOWN) -> Group:
    return group(*(replace(attempt(policy, said, reward, off=off), skill=skill) for said, reward in pairs))


def a_group(policy: Policy, skill: str = KNOWN) -> Group:
    return knowing(policy, ("a", 1.0), ("bcd", 0.0), ("ef", 0.5), skill=skill)


def by_hand(policy: Policy, initial: Any, groups: list[Group], settings: GuidedSettings, extra: Loss) -> Tensor:
    """The gradient of a batch of attempts of one turn, all of which know something, under a live teacher."""
    model = precise(policy)
    total, tokens = torch.zeros((), dtype=torch.float64), 0
    for each in groups:
        mean = sum(one.reward for one in each.attempts) / len(each.attempts)
        for one in each.attempts:
            student_TV = read(policy, model, one.turns)
            student = spoken(student_TV, one.turns)
            with torch.no_grad():
                teacher = spoken(read(policy, model, one.turns, OPENING), one.turns)
                reference = spoken(read(policy, initial, one.turns), one.turns)
            advantage = one.reward - mean
            losses = -settings.policy_weight * advantage * (student - old(one.turns)).exp()
            losses = losses + settings.coefficient * extra(student, teacher, old(one.turns), advantage)
            distance = reference - student
            losses = losses + settings.kl * (distance.exp() - distance - 1)
            losses = losses + settings.entropy * (student_TV.exp() * student_TV).sum(-1)
            total, tokens = total + losses.sum(), tokens + len(losses)
    return flat_gradient(total / tokens, model)


def gate(beta: float, less: float = 0.0) -> Loss:
    return lambda s, t, _old, _advantage: -(torch.sigmoid(beta * (t - s).detach()) - less) * s


def reverse_kl(student: Tensor, teacher: Tensor, _old: Tensor, _advantage: float) -> Tensor:
    return -(teacher - student).detach() * student


def weighed_k3(student: Tensor, teacher: Tensor, before: Tensor, _advantage: float) -> Tensor:
    distance = student - teacher
    return (student - before).exp() * ((-distance).exp() - 1 + distance)


BOTH: dict[str, Any] = {"gradient": GRADIENT, "coefficient": 0.5, "kl": 0.3, "entropy": 0.2}
METHODS: dict[str, tuple[type[Guided], Any, Loss]] = {
    "sdar": (SDAR, SDARSettings(**BOTH), gate(5.0)),
    "sdar-flat": (SDAR, SDARSettings(**BOTH, beta=1.0), gate(1.0)),
    "sdar-centred": (SDAR, SDARSettings(**BOTH, centred=True), gate(5.0, 0.5)),
    "grpo-opsd as shipped": (SDAR, SDARSettings(**BOTH, beta=0.0), gate(0.0)),
    "opsd as shipped": (SDAR, SDARSettings(**BOTH, policy_weight=0.0), gate(5.0)),
    "opsd as meant": (OPSD, OPSDSettings(**BOTH), reverse_kl),
    "skill-sd": (SkillSD, SkillSDSettings(**BOTH), weighed_k3),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("microbatch", [1, 8])
def test_the_gradient_is_that_by_hand(policy: Policy, name: str, microbatch: int) -> None:
    kind, settings, extra = METHODS[name]
    algorithm = kind(policy, settings)
    initial = precise(policy)
    moved(policy)
    groups = [a_group(policy), knowing(policy, ("f", 1.0), ("ab", 0.0))]
    _, gradient = told_of(policy, algorithm, groups, replace(ONE_BATCH, microbatch=microbatch))
    assert relative(gradient, by_hand(policy, initial, groups, settings, extra)) < 1e-3


def test_rlsd_scales_each_advantage_by_the_teacher_s_word(policy: Policy) -> None:
    settings = RLSDSettings(**{**BOTH, "kl": 0.0, "entropy": 0.0}, share=0.8, share_steps=4)
    algorithm = RLSD(policy, settings)
    algorithm.follow(policy, "step")

    def scaled(student: Tensor, teacher: Tensor, before: Tensor, advantage: float) -> Tensor:
        sign = 1 if advantage > 0 else -1
        scale = (sign * (teacher - student)).exp().clamp(0.8, 1.2).detach()
        return -advantage * 0.6 * (scale - 1) * (student - before).exp() / settings.coefficient

    groups = [a_group(policy)]
    assert algorithm.share == pytest.approx(0.6)
    _, gradient = told_of(policy, algorithm, groups)
    assert algorithm.share == pytest.approx(0.4), "a training step has been made"
    assert relative(gradient, by_hand(policy, precise(policy), groups, settings, scaled)) < 1e-3


def test_the_share_of_the_teacher_s_word_falls_and_is_kept_in_a_checkpoint(policy: Policy) -> None:
    algorithm = RLSD(policy, RLSDSettings(share_steps=2, kl=0.0))
    shares = []
    for pace in ("step", "optimizer-step", "step", "step"):
        shares.append(algorithm.share)
        algorithm.follow(policy, pace)  # type: ignore[arg-type]
    assert shares == [0.5, 0.25, 0.25, 0.0]
    again = RLSD(policy, RLSDSettings(share_steps=2, kl=0.0))
    again.restore(algorithm.state())
    assert (again.steps, again.share) == (3, 0.0)
    assert RLSD(policy, RLSDSettings(share_steps=0, kl=0.0)).share == 0.5


def test_a_constant_gate_pushes_all_tokens_alike_and_comes_to_nothing_where_it_is_centred(policy: Policy) -> None:
    quiet: dict[str, Any] = {"policy_weight": 0.0, "kl": 0.0, "entropy": 0.0, "coefficient": 1.0, "beta": 0.0}
    groups = [a_group(policy)]
    told, gradient = told_of(policy, SDAR(policy, SDARSettings(**quiet)), groups)
    assert (told["gate_mean"], told["gate_open_share"]) == (0.5, 0.0)
    pushed = by_hand(policy, precise(policy), groups, SDARSettings(**quiet), gate(0.0))
    assert relative(gradient, pushed) < 1e-3
    _, nothing = told_of(policy, SDAR(policy, SDARSettings(**quiet, centred=True)), groups)
    assert not nothing.any()


def test_in_expectation_a_constant_gate_is_noise_and_the_reverse_kl_is_not() -> None:
    """Over every token weighed by its probability, as the score identity has it (docs/sdar.md)."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, generator=generator, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(7, generator=generator, dtype=torch.float64).log_softmax(-1)
    student = logits.log_softmax(-1)

    def expected(weights: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(
            -(student.exp().detach() * weights * student).sum(), logits, retain_graph=True
        )
        return gradient

    gap = (teacher - student).detach()
    assert expected(torch.full((7,), 0.5, dtype=torch.float64)).abs().max() < 1e-12
    (exact,) = torch.autograd.grad((student.exp() * (student - teacher)).sum(), logits, retain_graph=True)
    torch.testing.assert_close(expected(gap), exact)
    gate_of_5 = torch.sigmoid(5 * gap)
    torch.testing.assert_close(expected(gate_of_5), expected(gate_of_5 - (student.exp() * gate_of_5).sum().detach()))


def test_who_knows_nothing_learns_from_rewards_alone(policy: Policy) -> None:
    settings = SDARSettings(gradient=GRADIENT, kl=0.0, entropy=0.0)
    (one, *_) = samples = SDAR(policy, settings).samples(a_group(policy, skill=""))
    assert one.hindsight is None
    assert not any(sample.is_taught for sample in samples)
    _, gradient = told_of(policy, SDAR(policy, settings), [a_group(policy, skill="")])
    nothing = by_hand(policy, precise(policy), [a_group(policy)], settings, lambda s, _t, _o, _a: 0 * s)
    assert relative(gradient, nothing) < 1e-3


def test_without_rewards_and_skills_only_divergence_and_entropy_are_left(policy: Policy) -> None:
    settings = SDARSettings(gradient=GRADIENT, policy_weight=0.0, kl=0.3, entropy=0.2)
    initial = precise(policy)
    algorithm = SDAR(policy, settings)
    moved(policy)
    groups = [a_group(policy, skill="")]
    _, gradient = told_of(policy, algorithm, groups)
    assert relative(gradient, by_hand(policy, initial, groups, settings, lambda s, _t, _o, _a: 0 * s)) < 1e-3


def test_each_turn_is_a_sample_with_its_own_credit_and_the_skill_in_front(policy: Policy) -> None:
    said = [("Say letter 0.", "a"), ("Again.", "b")]
    long = replace(attempt(policy, said, 1.0, together=False), skill=KNOWN)
    short = replace(attempt(policy, said[:1], 0.0, together=False), skill=KNOWN)
    settings = SDARSettings(gradient=replace(GRADIENT, credit=Credit(discount=0.5, over="turns")))
    samples = SDAR(policy, settings).samples(group(long, short))
    assert [sample.advantages for sample in samples] == [(0.0,), (0.5,), (-0.5,)]
    assert samples[0].hindsight == OPENING
    assert samples[1].hindsight == f"Again.{SKILL}{KNOWN}{INSTRUCTION}"
    together = replace(attempt(policy, said, 1.0), skill=KNOWN)
    (whole, _) = SDAR(policy, settings).samples(group(together, short))
    assert (whole.advantages, whole.hindsight) == ((0.0, 0.5), OPENING)


def test_turns_that_the_teacher_forgot_are_learned_from_rewards_alone(policy: Policy) -> None:
    """In one micro-batch: a conversation half of which is taught, and an attempt of which nothing is."""
    settings = SDARSettings(**{**BOTH, "kl": 0.0, "entropy": 0.0})
    said = [("Say letter 0.", "ab"), ("Again.", "cde"), ("Once more.", "f")]
    talk, other = replace(attempt(policy, said, 1.0, off=0.1), skill=KNOWN), attempt(policy, "bc", 0.0, off=0.1)
    opening = f"{OPENING}\n\nOnce more."
    room = policy.max_positions
    policy.max_positions = len(policy.chat.script(talk.turns[2:], opening).token_ids)
    algorithm = SDAR(policy, settings)
    samples = algorithm.samples(group(talk, other))
    assert [(sample.forgotten, sample.hindsight) for sample in samples] == [(2, opening), (0, None)]
    policy.max_positions = room
    algorithm.samples = lambda group: samples  # type: ignore[method-assign]
    told, gradient = told_of(policy, algorithm, [group(talk, other)])

    model, total, tokens = precise(policy), torch.zeros((), dtype=torch.float64), 0
    for one, advantage in ((talk, 0.5), (other, -0.5)):
        student = spoken(read(policy, model, one.turns), one.turns)
        total = total - (advantage * (student - old(one.turns)).exp()).sum()
        tokens += len(student)
        if one is talk:
            with torch.no_grad():
                teacher = spoken(read(policy, model, one.turns[2:], opening), one.turns[2:])
            taught = student[-len(teacher) :]
            total = total - 0.5 * (torch.sigmoid(5 * (teacher - taught)).detach() * taught).sum()
    assert relative(gradient, flat_gradient(total / tokens, model)) < 1e-3
    assert told["hindsight_share"] == len(teacher) / tokens
    assert told["teacher_gap"] == pytest.approx(float((teacher - taught.detach()).mean()), rel=1e-3)


def test_where_nothing_is_taught_nothing_is_said_of_the_teacher(policy: Policy) -> None:
    """A gap of 0 would read as a teacher that says what the student says."""
    told, _ = told_of(policy, SDAR(policy), [a_group(policy, skill="")])
    assert told["hindsight_share"] == 0
    assert not {"teacher_gap", "teacher_gap_size", "gate_mean", "gate_open_share"} & set(told)
    told, _ = told_of(policy, SDAR(policy), [a_group(policy)])
    assert told["hindsight_share"] == 1
    assert {"teacher_gap", "teacher_gap_size", "gate_mean", "gate_open_share"} <= set(told)


@pytest.mark.parametrize("settings", [SDARSettings(coefficient=0.0), RLSDSettings(coefficient=0.0)])
def test_at_a_coefficient_of_0_the_teacher_is_not_asked(policy: Policy, settings: GuidedSettings) -> None:
    settings = replace(settings, gradient=GRADIENT, entropy=0.0)
    groups = [a_group(policy)]
    told, gradient = told_of(policy, make_algorithm(policy, settings), groups)  # type: ignore[arg-type]
    assert told["hindsight_share"] == 0
    plain = GRPO(GRPOSettings(GRADIENT, kl=settings.kl), policy)
    assert relative(gradient, told_of(policy, plain, groups)[1]) < 1e-5


def test_what_is_privileged_may_be_a_peer_or_feedback_too(policy: Policy) -> None:
    failed = replace(attempt(policy, "b", 0.0, text="Too late.", peer="a"), skill=KNOWN)
    settings = SDARSettings(reprompt=Reprompt(feedback="always", skill=True))
    (sample, _) = SDAR(policy, settings).samples(group(failed, attempt(policy, "a", 1.0)))
    assert sample.hindsight is not None
    assert [sample.hindsight.index(each) for each in (ASKED, KNOWN, "\n\na", "Too late.")] == sorted(
        sample.hindsight.index(each) for each in (ASKED, KNOWN, "\n\na", "Too late.")
    )


def test_what_is_known_is_never_cut(policy: Policy) -> None:
    """Feedback gives way; where even so there is no room, the teacher says nothing."""
    room = policy.max_positions
    fits, too_long = "k" * (room // 2), "k" * room
    failed = attempt(policy, "b", 0.0, text="f" * room)
    settings = SDARSettings(reprompt=Reprompt(feedback="always", skill=True))
    algorithm = SDAR(policy, settings)
    (sample,) = algorithm.samples(group(replace(failed, skill=fits)))
    assert sample.hindsight is not None
    assert fits in sample.hindsight
    (sample,) = algorithm.samples(group(replace(failed, skill=too_long)))
    assert sample.hindsight is None


def test_a_checkpoint_keeps_teacher_and_reference(policy: Policy) -> None:
    algorithm = SDAR(policy, SDARSettings(teacher="ema"))
    moved(policy)
    other = SDAR(policy, SDARSettings(teacher="ema"))
    other.restore(algorithm.state())
    for name, weight in algorithm.state().items():
        assert torch.equal(weight, other.state()[name])
    assert {name.split(".")[0] for name in algorithm.state()} == {"teacher", "reference"}
    assert SDAR(policy, SDARSettings(kl=0.0)).state() == {}


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (SDARSettings, {"beta": -1}),
        (SDARSettings, {"kl": -1}),
        (SDARSettings, {"coefficient": -1}),
        (SDARSettings, {"teacher": "wise"}),
        (OPSDSettings, {"advantage_clip": 0}),
        (RLSDSettings, {"share": 2}),
        (RLSDSettings, {"clip": -0.1}),
        (RLSDSettings, {"share_steps": -1}),
        (SkillSDSettings, {"entropy": -1}),
    ],
)
def test_other_settings_are_refused(kind: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        kind(**wrong)
