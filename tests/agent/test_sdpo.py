"""SDPO, from groups to gradients, against the same by hand, and its identities."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from byhand import (
    ASKED,
    ONE_BATCH,
    attempt,
    distances,
    flat_gradient,
    group,
    moved,
    old,
    precise,
    read,
    relative,
    shared,
    spoken,
    told_of,
)
from torch import Tensor

from sdpo_agent import GRPO, SDPO, Attempt, Group, GRPOSettings, Policy, PolicyGradient, Reprompt, SDPOSettings
from sdpo_envs import SettingError

PEER = f"{ASKED}\nCorrect solution:\n\na\n\nCorrectly solve the original question."
FEEDBACK = (
    f"{ASKED}\nThe following is feedback from your unsuccessful earlier attempt:\n\nNot c.\n\n"
    "Correctly solve the original question."
)
HINDSIGHT = [None, PEER, FEEDBACK, None]
"""Of the attempts below: a success with no peer, a failure with one, one with feedback, one with neither."""


def one_group(policy: Policy, off: float = 0.0) -> Group:
    return group(
        attempt(policy, "a", 1.0, off=off),
        attempt(policy, "bcd", 0.0, "Not b.", peer="a", off=off),
        attempt(policy, "e", math.nan),
        attempt(policy, "c", 0.0, "Not c.", off=off),
        attempt(policy, "ff", 0.5, off=off),
    )


def by_hand(
    policy: Policy, model: Any, teacher: Any, attempts: list[Attempt], settings: SDPOSettings, hindsight: list[Any]
) -> Tensor:
    """The loss of one group of SDPO alone; `teacher` is a model, or a function of an attempt and its hindsight."""
    total, divisor = torch.tensor(0.0, dtype=torch.float64), 0.0
    for one, opening in zip(attempts, hindsight, strict=True):
        ids = [token for turn in one.turns for token in turn.token_ids]
        if opening is None:
            divisor += 1 if settings.aggregate == "released" else 0
            continue
        student = read(policy, model, one.turns)
        with torch.no_grad():
            is_model = isinstance(teacher, torch.nn.Module)
            shown = read(policy, teacher, one.turns, opening) if is_model else teacher(one, opening)
        losses = distances(student, shown, ids, settings)
        if settings.importance_clip is not None:
            ratio = (spoken(student, one.turns).detach() - old(one.turns)).exp()
            losses = losses * ratio.clamp(max=settings.importance_clip)
        loss, share = shared(losses, settings.aggregate)
        total, divisor = total + loss, divisor + share
    return total / divisor


SUPPORTS = {
    "default": SDPOSettings(),
    "no tail": SDPOSettings(top_k=5, tail=False),
    "few": SDPOSettings(top_k=3),
    "few, reverse": SDPOSettings(top_k=3, alpha=1.0),
    "few, forward": SDPOSettings(top_k=3, alpha=0.0),
    "no tail, reverse": SDPOSettings(top_k=5, tail=False, alpha=1.0),
    "no tail, forward": SDPOSettings(top_k=5, tail=False, alpha=0.0),
    "skewed": SDPOSettings(top_k=7, alpha=0.2),
    "more than there are": SDPOSettings(top_k=100_000, tail=False),
    "the teacher's": SDPOSettings(support="teacher-top-k", top_k=4),
    "the teacher's, reverse, no tail": SDPOSettings(support="teacher-top-k", top_k=4, alpha=1.0, tail=False),
    "the teacher's, forward": SDPOSettings(support="teacher-top-k", top_k=4, alpha=0.0),
    "full": SDPOSettings(support="full"),
    "full, reverse": SDPOSettings(support="full", alpha=1.0),
    "full, forward": SDPOSettings(support="full", alpha=0.0),
    "sampled token": SDPOSettings(support="sampled-token"),
    "sequence": SDPOSettings(support="sequence"),
}
MORE = {
    "sequence mean": SDPOSettings(top_k=5, aggregate="sequence-mean"),
    "length mean": SDPOSettings(top_k=5, aggregate="length-mean"),
    "released": SDPOSettings(top_k=5, aggregate="released"),
    "no importance": SDPOSettings(top_k=5, importance_clip=None),
    "tight importance": SDPOSettings(top_k=5, importance_clip=0.5),
    "clipped": SDPOSettings(advantage_clip=0.3),
    "clipped, reverse": SDPOSettings(top_k=20, alpha=1.0, advantage_clip=0.5),
    "clipped, forward": SDPOSettings(support="full", alpha=0.0, advantage_clip=2.0),
    "clipped token": SDPOSettings(support="sampled-token", advantage_clip=0.5),
    "clipped sequence": SDPOSettings(support="sequence", advantage_clip=0.1),
}


def precision(name: str) -> float:
    """Of a gradient: what a policy gives to all but three tokens is 1 minus nearly 1, and forward KL divides by it."""
    return 1e-3 if name == "few, forward" else 1e-4


@pytest.mark.parametrize("off", [0.0, 1.0], ids=["on-policy", "off-policy"])
@pytest.mark.parametrize("name", [*SUPPORTS, *MORE])
def test_loss_and_gradient_are_what_they_are_by_hand(policy: Policy, name: str, off: float) -> None:
    settings = {**SUPPORTS, **MORE}[name]
    algorithm, teacher = SDPO(policy, settings), precise(policy)
    one = one_group(policy, off)
    model = precise(moved(policy, 0.01))
    told, gradient = told_of(policy, algorithm, [one])
    expected = by_hand(policy, model, teacher, list(one.decided), settings, HINDSIGHT)
    cancels = settings.support in ("sampled-token", "sequence")  # such a loss is a sum of both signs
    assert told["loss"] == pytest.approx(expected.item(), rel=1e-4, abs=5e-5 if cancels else 1e-6)
    assert relative(gradient, flat_gradient(expected, model)) < precision(name)
    assert told["taught_share"] == 0.5


def test_the_importance_ratio_is_bounded(policy: Policy) -> None:
    one = attempt(policy, "bcd", 0.0, "Not b.")
    (turn,) = one.turns
    unlikely = replace(one, turns=(replace(turn, logprobs=tuple(value - 5 for value in turn.logprobs)),))
    plain, weighed = (told_of(policy, SDPO(policy), [group(each)])[1] for each in (one, unlikely))
    assert relative(weighed, 2 * plain) < 1e-4


@pytest.mark.parametrize("kind", ["ema", "frozen", "live", "trust-region"])
def test_each_kind_of_teacher_is_what_it_says(policy: Policy, kind: Any) -> None:
    settings = SDPOSettings(teacher=kind, teacher_rate=0.3, support="full")
    algorithm, initial = SDPO(policy, settings), precise(policy)
    one = one_group(policy)
    model = precise(moved(policy, 0.01))
    algorithm.follow(policy, "step")

    def blend(one: Attempt, opening: str) -> Tensor:
        first, second = (read(policy, each, one.turns, opening) for each in (initial, model))
        return (0.7 * first + 0.3 * second).log_softmax(-1)  # normalised ones differ from logits by a constant

    averaged = precise(policy)
    with torch.no_grad():
        for mine, theirs in zip(averaged.parameters(), initial.parameters(), strict=True):
            mine.copy_(0.7 * theirs + 0.3 * mine)
    teachers: dict[str, Any] = {"ema": averaged, "frozen": initial, "live": model, "trust-region": blend}
    expected = by_hand(policy, model, teachers[kind], list(one.decided), settings, HINDSIGHT)
    told, gradient = told_of(policy, algorithm, [one])
    assert told["loss"] == pytest.approx(expected.item(), rel=1e-4)
    assert relative(gradient, flat_gradient(expected, model)) < 1e-4


def test_the_gap_is_what_the_teacher_thinks_more(policy: Policy) -> None:
    algorithm, one = SDPO(policy), one_group(policy)
    model, gaps = precise(policy), []
    for each, opening in zip(one.decided, HINDSIGHT, strict=True):
        if opening is not None:
            with torch.no_grad():
                shown, plain = (read(policy, model, each.turns, text) for text in (opening, None))
                gaps += (spoken(shown, each.turns) - spoken(plain, each.turns)).tolist()
    told, _ = told_of(policy, algorithm, [one])
    assert told["teacher_gap"] == pytest.approx(sum(gaps) / len(gaps), rel=1e-4)
    assert told["teacher_gap_size"] == pytest.approx(sum(map(abs, gaps)) / len(gaps), rel=1e-4)


# --- identities


class Deaf(SDPO):
    """Its teacher reads what the student reads."""

    def samples(self, group: Group) -> list[Any]:
        return [
            replace(each, hindsight=each.turns[0].observation if each.hindsight else None)
            for each in super().samples(group)
        ]


@pytest.mark.parametrize("kind", ["ema", "frozen", "live", "trust-region"])
@pytest.mark.parametrize("name", [*SUPPORTS, "clipped", "clipped, forward", "sequence mean"])
def test_a_teacher_that_reads_the_same_gives_no_gradient(policy: Policy, name: str, kind: Any) -> None:
    settings = replace({**SUPPORTS, **MORE}[name], teacher=kind)
    one = one_group(policy)
    told, nothing = told_of(policy, Deaf(policy, settings), [one])
    _, something = told_of(policy, SDPO(policy, settings), [one])
    assert nothing.norm() < 1e-4 * something.norm()
    assert told.get("teacher_gap_size", 0) < 1e-4
    assert abs(told["loss"]) < 1e-5


@pytest.mark.parametrize("name", ["default", "full, reverse", "sampled token", "released"])
@pytest.mark.parametrize("off", [0.0, 0.6])
def test_the_hybrid_is_grpo_at_one_end_and_sdpo_at_the_other(policy: Policy, name: str, off: float) -> None:
    settings = {**SUPPORTS, **MORE}[name]
    one = [one_group(policy, off), group(attempt(policy, "a", 1.0, peer="a"), attempt(policy, "b", 0.0, "Not b."))]
    all_grpo = told_of(policy, SDPO(policy, replace(settings, policy_share=1.0)), one)
    grpo = told_of(policy, GRPO(GRPOSettings(aggregate=settings.aggregate)), one)
    assert torch.equal(all_grpo[1], grpo[1])
    assert all_grpo[0] == grpo[0]
    all_sdpo = told_of(policy, SDPO(policy, replace(settings, policy_share=0.0)), one)
    sdpo = told_of(policy, SDPO(policy, settings), one)
    assert torch.equal(all_sdpo[1], sdpo[1])
    assert all_sdpo[0] == sdpo[0]
    assert "clipped_share" not in sdpo[0]


@pytest.mark.parametrize("off", [0.0, 0.4])
@pytest.mark.parametrize("name", ["default", "sequence", "full, forward"])
@pytest.mark.parametrize("gradient", [PolicyGradient(), PolicyGradient(ratio="sequence"), PolicyGradient(scale="std")])
def test_the_hybrid_is_that_much_of_the_one_and_the_rest_of_the_other(
    policy: Policy, gradient: PolicyGradient, name: str, off: float
) -> None:
    """Where all are taught, so that both are means over the same tokens."""
    one = [group(attempt(policy, "ab", 1.0, peer="a", off=off), attempt(policy, "bcd", 0.0, peer="a", off=off))]
    settings = replace(SUPPORTS[name], gradient=gradient)
    ends = [told_of(policy, SDPO(policy, replace(settings, policy_share=share)), one)[1] for share in (0.0, 1.0)]
    _, grpo = told_of(policy, GRPO(GRPOSettings(gradient)), one)
    assert torch.equal(ends[1], grpo)
    _, mixed = told_of(policy, SDPO(policy, replace(settings, policy_share=0.3)), one)
    assert relative(mixed, 0.7 * ends[0] + 0.3 * ends[1]) < 1e-5


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_the_hybrid_of_sampled_tokens_is_reinforce_with_the_advantages_mixed(policy: Policy, share: float) -> None:
    one, model = one_group(policy), precise(policy)
    total, count = torch.tensor(0.0), 0
    rewards = [each.reward for each in one.decided]
    for each, opening in zip(one.decided, HINDSIGHT, strict=True):
        logprobs = spoken(read(policy, model, each.turns), each.turns)
        gap = torch.zeros_like(logprobs)
        if opening is not None:
            with torch.no_grad():
                gap = spoken(read(policy, model, each.turns, opening), each.turns) - logprobs
        advantage = share * (each.reward - sum(rewards) / 4) + (1 - share) * gap.detach()
        total, count = total - (advantage * logprobs).sum(), count + len(logprobs)
    settings = SDPOSettings(support="sampled-token", policy_share=share)
    _, gradient = told_of(policy, SDPO(policy, settings), [one])
    assert relative(gradient, flat_gradient(total / count, model)) < 1e-4


def test_routing_leaves_successes_to_grpo_and_failures_to_the_teacher(policy: Policy) -> None:
    lone = attempt(policy, "d", 0.0)  # nothing to read: GRPO's
    met = attempt(policy, "a", 1.0, peer="aa")
    one = group(met, attempt(policy, "b", 0.0, peer="a"), attempt(policy, "c", 0.0, "Not c."), lone)
    samples = SDPO(policy, SDPOSettings(route="failures")).samples(one)
    assert [(each.policy_weight, each.teacher_weight) for each in samples] == [(1, 0), (0, 1), (0, 1), (1, 0)]
    assert [each.is_taught for each in samples] == [False, True, True, False]
    assert [each.counts for each in samples] == [True] * 4

    _, routed = told_of(policy, SDPO(policy, SDPOSettings(route="failures")), [one])
    model, total, count = precise(policy), torch.tensor(0.0), 0
    for each, advantage in ((met, 0.75), (lone, -0.25)):
        logprobs = spoken(read(policy, model, each.turns), each.turns)
        total, count = total - advantage * logprobs.sum(), count + len(logprobs)
    for each, opening in zip(one.attempts[1:3], (PEER, FEEDBACK), strict=True):
        student = read(policy, model, each.turns)
        with torch.no_grad():
            teacher = read(policy, model, each.turns, opening)
        ids = list(each.turns[0].token_ids)
        total, count = total + distances(student, teacher, ids, SDPOSettings()).sum(), count + len(ids)
    assert relative(routed, flat_gradient(total / count, model)) < 1e-4


def test_weighing_is_by_the_spread_of_the_success_rate(policy: Policy) -> None:
    settings = SDPOSettings(weigh="by-success-rate", policy_share=0.25)
    third = group(
        attempt(policy, "a", 1.0),
        attempt(policy, "b", 0.0, peer="a"),
        attempt(policy, "c", math.nan),
        attempt(policy, "d", 0.0, peer="a"),
    )
    weight = math.sqrt(1 / 3 * 2 / 3)
    for each in SDPO(policy, settings).samples(third):
        assert (each.policy_weight, each.teacher_weight) == pytest.approx((0.25 * weight, 0.75 * weight))
    failed = group(attempt(policy, "b", 0.0, "Not b."), attempt(policy, "c", 0.0, "Not c."))
    assert not any(each.teaches or each.counts for each in SDPO(policy, settings).samples(failed))
    _, weighed = told_of(policy, SDPO(policy, settings), [third])
    _, plain = told_of(policy, SDPO(policy, replace(settings, weigh="evenly")), [third])
    assert relative(weighed, plain * weight) < 1e-5


def test_full_is_what_top_k_tends_to(policy: Policy) -> None:
    one = [one_group(policy)]
    losses = {k: told_of(policy, SDPO(policy, SDPOSettings(top_k=k)), one)[0]["loss"] for k in (1, 5, 50, 360)}
    full = told_of(policy, SDPO(policy, SDPOSettings(support="full")), one)[0]["loss"]
    assert np.diff(list(losses.values())).min() > -1e-6  # merging categories cannot raise a divergence
    assert losses[360] == pytest.approx(full, rel=1e-3)
    assert losses[1] < full * 0.999


# --- what must not matter, and what must


@pytest.mark.parametrize("name", [*SUPPORTS, *MORE, "hybrid"])
def test_neither_order_nor_micro_batches_matter(policy: Policy, name: str) -> None:
    settings = {**SUPPORTS, **MORE, "hybrid": SDPOSettings(policy_share=0.5)}[name]
    algorithm = SDPO(policy, replace(settings, teacher="frozen"))
    one, other = one_group(policy, 0.4), group(attempt(policy, "bbbb", 0.0, peer="a"), attempt(policy, "a", 1.0))
    moved(policy, 0.005)
    whole = told_of(policy, algorithm, [one, other])
    turned = [Group(each.task_id, each.attempts[::-1]) for each in (other, one)]
    for size in (1, 2, 3):
        told, gradient = told_of(policy, algorithm, turned, replace(ONE_BATCH, microbatch=size))
        assert relative(gradient, whole[1]) < 2 * precision(name)
        assert told == pytest.approx(whole[0], rel=precision(name), abs=1e-6)


def test_samples_that_are_not_taught_dilute_only_as_released(policy: Policy) -> None:
    taught = [attempt(policy, "b", 0.0, peer="a"), attempt(policy, "c", 0.0, "Not c.")]
    alone, beside = group(*taught), group(*taught, attempt(policy, "d", 0.0), attempt(policy, "a", 1.0))
    for how in ("token-mean", "sequence-mean", "length-mean"):
        gradients = [told_of(policy, SDPO(policy, SDPOSettings(aggregate=how)), [one])[1] for one in (alone, beside)]  # type: ignore[arg-type]
        assert relative(gradients[1], gradients[0]) < 1e-5
    gradients = [told_of(policy, SDPO(policy, SDPOSettings(aggregate="released")), [one])[1] for one in (alone, beside)]
    assert relative(gradients[1], gradients[0] / 2) < 1e-5


def test_a_batch_without_hindsight_teaches_nothing(policy: Policy) -> None:
    told, _ = told_of(policy, SDPO(policy), [group(attempt(policy, "a", 1.0), attempt(policy, "b", 0.0))])
    assert (told["optimizer_steps"], told["taught_share"], told["loss"]) == (0, 0, 0)
    assert "teacher_gap" not in told
    told, _ = told_of(policy, SDPO(policy), [group(attempt(policy, "a", math.nan))])
    assert (told["optimizer_steps"], told["broken_gradients"]) == (0, 0)


@pytest.mark.parametrize("name", SUPPORTS)
def test_steps_on_the_loss_bring_the_student_to_the_teacher(policy: Policy, name: str) -> None:
    one = group(attempt(policy, "b", 0.0, peer="a"))
    algorithm, gaps = SDPO(policy, replace(SUPPORTS[name], teacher="frozen", importance_clip=None)), []
    optimizer = torch.optim.SGD(policy.trainable(), 0.01)
    for _ in range(4):
        told, _ = told_of(policy, algorithm, [one], replace(ONE_BATCH, max_grad_norm=1.0))
        gaps.append(told["teacher_gap_size"])
        optimizer.step()
    assert gaps[-1] < gaps[0]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SDPOSettings(top_k=0),
        lambda: SDPOSettings(alpha=2.0),
        lambda: SDPOSettings(alpha=math.nan),
        lambda: SDPOSettings(teacher_rate=7),
        lambda: SDPOSettings(policy_share=1.5),
        lambda: SDPOSettings(support="fulll"),  # type: ignore[arg-type]
        lambda: SDPOSettings(teacher="student"),  # type: ignore[arg-type]
        lambda: SDPOSettings(teacher_pace="epoch"),  # type: ignore[arg-type]
        lambda: SDPOSettings(aggregate="mean"),  # type: ignore[arg-type]
        lambda: SDPOSettings(weigh="oddly"),  # type: ignore[arg-type]
        lambda: SDPOSettings(route="successes"),  # type: ignore[arg-type]
        lambda: SDPOSettings(route="failures", policy_share=0.5),
        lambda: SDPOSettings(importance_clip=-1.0),
        lambda: SDPOSettings(advantage_clip=math.nan),
        lambda: SDPOSettings(gradient=PolicyGradient(clip_low=2.0)),
        lambda: Reprompt(feedback="of"),  # type: ignore[arg-type]
        lambda: Reprompt(limit=-1),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(SettingError):
        wrong()
