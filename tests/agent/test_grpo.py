"""GRPO and its family, from groups to gradients, against the same by hand."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from byhand import (
    ASKED,
    ONE_BATCH,
    TEMPERATURE,
    attempt,
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

from sdpo_agent import GRPO, Group, GRPOSettings, Policy, PolicyGradient
from sdpo_agent.learn import LearnSettings, learn
from sdpo_agent.processes import Processes
from sdpo_envs import SettingError


def two_groups(policy: Policy, off: float = 0.0) -> list[Group]:
    """Attempts of unequal length, of which one group lost a member."""
    one = (attempt(policy, said, reward, off=off) for said, reward in (("a", 1.0), ("bcd", 0.0), ("ef", 0.25)))
    other = (attempt(policy, said, reward, off=off) for said, reward in (("b", 0.5), ("cc", math.nan), ("fade", 0.0)))
    return [group(*one), group(*other)]


def advantages_of(rewards: list[float], settings: PolicyGradient) -> list[float]:
    rewards = [reward for reward in rewards if not math.isnan(reward)]
    mean, count = sum(rewards) / len(rewards), len(rewards)
    spread = math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / (count - 1))
    if settings.baseline == "leave-one-out":
        baselines = [(sum(rewards) - reward) / (count - 1) for reward in rewards]
    else:
        baselines = [mean] * count
    differences = [reward - baseline for reward, baseline in zip(rewards, baselines, strict=True)]
    return [each / (spread + 1e-4) if settings.scale == "std" else each for each in differences]


def token_losses(logprobs: Tensor, before: Tensor, advantage: float, settings: PolicyGradient) -> Tensor:
    ratio = (logprobs - before).exp()
    if settings.ratio == "sequence":
        ratio = (logprobs - before).mean().exp().expand_as(ratio)
    losses = []
    for each, logprob in zip(ratio, logprobs, strict=True):
        if settings.surrogate == "cispo":
            losses.append(-min(each.item(), 1 + settings.clip_high) * advantage * logprob)
            continue
        clipped = each.clamp(1 - settings.clip_low, 1 + settings.clip_high)
        loss = -torch.minimum(each * advantage, clipped * advantage)
        if settings.dual_clip is not None and advantage < 0:
            loss = loss.clamp(max=-settings.dual_clip * advantage)
        losses.append(loss)
    return torch.stack(losses)


def by_hand(policy: Policy, model: Any, initial: Any, groups: list[Group], settings: GRPOSettings) -> Tensor:
    """The loss of a batch."""
    total, divisor = torch.tensor(0.0, dtype=torch.float64), 0.0
    for each in groups:
        rewards = [attempt.reward for attempt in each.attempts]
        for one, advantage in zip(each.decided, advantages_of(rewards, settings.gradient), strict=True):
            logprobs = spoken(read(policy, model, one.turns), one.turns)
            losses = token_losses(logprobs, old(one.turns), advantage, settings.gradient)
            with torch.no_grad():
                distance = spoken(read(policy, initial, one.turns), one.turns) - logprobs.detach()
            distance = distance + logprobs.detach() - logprobs
            losses = losses + settings.kl * (distance.exp() - distance - 1)
            loss, share = shared(losses, settings.aggregate)
            total, divisor = total + loss, divisor + share
    return total / divisor


FAMILY = {
    "the paper's baseline": GRPOSettings(),
    "sequence mean": GRPOSettings(aggregate="sequence-mean"),
    "Dr. GRPO": GRPOSettings(PolicyGradient(clip_high=0.2, dual_clip=None), aggregate="length-mean"),
    "as released": GRPOSettings(aggregate="released"),
    "std": GRPOSettings(PolicyGradient(scale="std")),
    "RLOO": GRPOSettings(PolicyGradient(baseline="leave-one-out", scale="std"), aggregate="length-mean"),
    "GSPO": GRPOSettings(PolicyGradient(ratio="sequence"), aggregate="sequence-mean"),
    "GSPO, narrow": GRPOSettings(PolicyGradient(ratio="sequence", clip_low=3e-4, clip_high=4e-4, dual_clip=None)),
    "CISPO": GRPOSettings(PolicyGradient(surrogate="cispo", clip_high=0.2)),
    "narrow": GRPOSettings(PolicyGradient(clip_low=0.01, clip_high=0.02, dual_clip=None)),
    "tight dual clip": GRPOSettings(PolicyGradient(dual_clip=1.05)),
    "no clip": GRPOSettings(PolicyGradient(clip_low=1.0, clip_high=1e9, dual_clip=None)),
    "KL": GRPOSettings(kl=0.3),
    "GSPO with KL": GRPOSettings(PolicyGradient(ratio="sequence"), aggregate="sequence-mean", kl=0.3),
    "long and unequal KL": GRPOSettings(aggregate="length-mean", kl=0.3),
}


@pytest.mark.parametrize("off", [0.0, 0.24], ids=["on-policy", "off-policy"])
@pytest.mark.parametrize("name", FAMILY)
def test_loss_and_gradient_are_what_they_are_by_hand(policy: Policy, name: str, off: float) -> None:
    settings, initial = FAMILY[name], precise(policy)
    algorithm = GRPO(settings, policy)
    groups = two_groups(policy, off)
    if settings.kl:
        moved(policy)
    model = precise(policy)
    expected = by_hand(policy, model, initial, groups, settings)
    told, gradient = told_of(policy, algorithm, groups)
    assert told["loss"] == pytest.approx(expected.item(), rel=1e-4, abs=3e-6)
    assert relative(gradient, flat_gradient(expected, model)) < 1e-4
    assert told["grad_norm"] == pytest.approx(float(gradient.norm()), rel=1e-5)


def test_the_clips_above_are_reached(policy: Policy) -> None:
    groups = two_groups(policy, 0.24)  # ratios 1.27, within the range, and 0.79
    told, _ = told_of(policy, GRPO(), groups)
    lengths = [len(one.turns[0].token_ids) for each in groups for one in each.decided]
    assert sum(length // 2 for length in lengths) != sum(lengths) / 2  # every second token, and an odd one is left
    assert told["clipped_share"] == sum(length // 2 for length in lengths) / sum(lengths)
    reference, clipped = (
        told_of(policy, GRPO(FAMILY[name]), groups)[1] for name in ("no clip", "the paper's baseline")
    )
    assert relative(clipped, reference) > 0.05


def test_nothing_is_clipped_on_the_policy_that_sampled(policy: Policy) -> None:
    told, _ = told_of(policy, GRPO(), two_groups(policy))
    assert told["clipped_share"] == 0


@pytest.mark.parametrize("name", ["the paper's baseline", "CISPO", "narrow", "tight dual clip", "no clip", "KL"])
def test_on_policy_the_gradient_is_reinforce_s(policy: Policy, name: str) -> None:
    groups = two_groups(policy)
    model, total, count = precise(policy), torch.tensor(0.0), 0
    for each in groups:
        advantages = advantages_of([attempt.reward for attempt in each.attempts], PolicyGradient())
        for one, advantage in zip(each.decided, advantages, strict=True):
            logprobs = spoken(read(policy, model, one.turns), one.turns)
            total, count = total - advantage * logprobs.sum(), count + len(logprobs)
    _, gradient = told_of(policy, GRPO(FAMILY[name], policy), groups)
    assert relative(gradient, flat_gradient(total / count, model)) < 1e-4


def test_the_ratio_of_the_sequence_changes_nothing_on_policy(policy: Policy) -> None:
    groups, by = two_groups(policy), PolicyGradient(ratio="sequence")
    token, sequence = (
        told_of(policy, GRPO(GRPOSettings(gradient, aggregate="sequence-mean")), groups)[1]
        for gradient in (PolicyGradient(), by)
    )
    assert relative(sequence, token) < 1e-5


def test_leave_one_out_is_the_mean_s_times_g_over_g_minus_1(policy: Policy) -> None:
    four = group(*(attempt(policy, said, reward) for said, reward in (("a", 1.0), ("bb", 0), ("c", 0), ("d", 1.0))))
    mean, others = (
        told_of(policy, GRPO(GRPOSettings(PolicyGradient(baseline=baseline))), [four])
        for baseline in ("mean", "leave-one-out")
    )
    assert relative(others[1], mean[1] * 4 / 3) < 1e-5
    assert others[0]["loss"] == pytest.approx(mean[0]["loss"] * 4 / 3, rel=1e-5)


def test_each_turn_gets_the_advantage_of_its_attempt(policy: Policy) -> None:
    twice = [(ASKED, "a"), ("Again.", "b")]
    three = group(attempt(policy, twice, 1.0, together=False), attempt(policy, "b", 0.0), attempt(policy, "c", 0.0))
    assert [sample.advantages[0] for sample in GRPO().samples(three)] == pytest.approx([2 / 3, 2 / 3, -1 / 3, -1 / 3])
    (sample, *_) = GRPO().samples(group(attempt(policy, twice, 1.0), attempt(policy, "b", 0.0)))
    assert (len(sample.turns), sample.advantages) == (2, (0.5, 0.5))


@pytest.mark.parametrize("together", [True, False], ids=["conversation", "observation"])
def test_turns_are_read_as_they_were_read_when_they_were_written(policy: Policy, together: bool) -> None:
    attempts = [
        attempt(policy, [(ASKED, "ab"), ("Say letter 1.", "cde")], 1.0, together=together),
        attempt(policy, [(ASKED, "f"), ("Say letter 2.", "a")], 0.0, together=together),
    ]
    model, total = precise(policy), torch.tensor(0.0)
    for one, advantage in zip(attempts, (0.5, -0.5), strict=True):
        for turns in [one.turns] if together else [(turn,) for turn in one.turns]:
            total = total - advantage * spoken(read(policy, model, turns), turns).sum()
    told, gradient = told_of(policy, GRPO(), [group(*attempts)])
    assert relative(gradient, flat_gradient(total / 11, model)) < 1e-4
    assert told["clipped_share"] == 0


def test_broken_attempts_are_left_out_of_the_baseline(policy: Policy) -> None:
    three = group(attempt(policy, "a", 1.0), attempt(policy, "b", math.nan), attempt(policy, "c", 0.0))
    assert [sample.advantages[0] for sample in GRPO().samples(three)] == pytest.approx([0.5, -0.5])
    assert GRPO().samples(group(attempt(policy, "b", math.nan))) == []
    assert [sample.advantages[0] for sample in GRPO().samples(group(attempt(policy, "a", 1.0)))] == [0.0]


@pytest.mark.parametrize("name", [name for name in FAMILY if "KL" not in name])
def test_a_group_that_agrees_teaches_nothing(policy: Policy, name: str) -> None:
    told, gradient = told_of(policy, GRPO(FAMILY[name]), [group(*(attempt(policy, "ab", 1.0) for _ in range(3)))])
    assert gradient.abs().max() == 0
    assert (told["taught_share"], told["optimizer_steps"], told["loss"]) == (0, 0, 0)


def test_a_group_that_agrees_still_counts_in_the_mean(policy: Policy) -> None:
    mixed = group(attempt(policy, "a", 1.0), attempt(policy, "b", 0.0))
    agreed = group(attempt(policy, "a", 1.0), attempt(policy, "c", 1.0))
    alone, beside = (told_of(policy, GRPO(), groups)[1] for groups in ([mixed], [mixed, agreed]))
    assert relative(beside, alone / 2) < 1e-5


# --- the divergence from the initial policy


def test_the_divergence_is_zero_at_the_start(policy: Policy) -> None:
    groups = two_groups(policy)
    with_kl, without = (told_of(policy, GRPO(GRPOSettings(kl=kl), policy), groups) for kl in (5.0, 0.0))
    assert with_kl[0]["reference_kl"] == pytest.approx(0, abs=1e-9)
    assert relative(with_kl[1], without[1]) < 1e-4


def test_the_divergence_pulls_back(policy: Policy) -> None:
    algorithm = GRPO(GRPOSettings(kl=1.0), policy)
    agreed = [group(*(attempt(policy, said, 1.0) for said in ("a", "b", "c", "de")))]  # no advantage: only the pull
    moved(policy)
    settings, optimizer = replace(ONE_BATCH, learning_rate=2e-3), torch.optim.SGD(policy.trainable(), 1.0)
    told = [learn(policy, algorithm, optimizer, agreed, settings, step=0, processes=Processes()) for _ in range(6)]
    assert all(each["taught_share"] == (4, 4) for each in told)
    distances = [each["reference_kl"][0] for each in told]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.6 * distances[0]


def test_a_reference_needs_a_policy() -> None:
    with pytest.raises(SettingError, match=r"pass the policy: GRPO\(settings, policy\)"):
        GRPO(GRPOSettings(kl=0.1))


def test_only_a_reference_is_kept_in_a_checkpoint(policy: Policy) -> None:
    assert GRPO().state() == {}
    algorithm = GRPO(GRPOSettings(kl=0.1), policy)
    before = {name: weight.clone() for name, weight in algorithm.state().items()}
    moved(policy)
    algorithm.follow(policy, "step")
    algorithm.follow(policy, "optimizer-step")
    assert all(torch.equal(before[name], weight) for name, weight in algorithm.state().items())
    other = GRPO(GRPOSettings(kl=0.1), policy)
    other.restore(before)
    groups = two_groups(policy)
    assert told_of(policy, other, groups)[0] == told_of(policy, algorithm, groups)[0]


# --- what must not matter


@pytest.mark.parametrize("name", ["the paper's baseline", "GSPO", "RLOO", "KL"])
def test_the_order_of_the_attempts_does_not_matter(policy: Policy, name: str) -> None:
    algorithm = GRPO(FAMILY[name], policy)
    groups = two_groups(policy, 0.4)
    turned = [Group(each.task_id, each.attempts[::-1]) for each in groups[::-1]]
    one, other = told_of(policy, algorithm, groups), told_of(policy, algorithm, turned)
    assert relative(other[1], one[1]) < 1e-5
    assert other[0] == pytest.approx(one[0], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", FAMILY)
def test_the_size_of_a_microbatch_and_so_its_padding_do_not_matter(policy: Policy, name: str) -> None:
    algorithm, groups = GRPO(FAMILY[name], policy), two_groups(policy, 0.4)
    moved(policy, 0.005)
    one, two, all_ = (told_of(policy, algorithm, groups, replace(ONE_BATCH, microbatch=size)) for size in (1, 2, 50))
    for other in (one, two):
        assert relative(other[1], all_[1]) < 1e-5
        assert other[0] == pytest.approx(all_[0], rel=1e-4, abs=1e-6)


def test_rewards_that_are_shifted_mean_the_same(policy: Policy) -> None:
    groups = two_groups(policy, 0.4)
    shifted = [
        Group(each.task_id, tuple(replace(one, reward=one.reward + 10) for one in each.attempts)) for each in groups
    ]
    assert relative(told_of(policy, GRPO(), shifted)[1], told_of(policy, GRPO(), groups)[1]) < 1e-4


def test_the_temperature_is_that_of_the_sampling(policy: Policy) -> None:
    groups = two_groups(policy)
    told, _ = told_of(policy, GRPO(), groups, LearnSettings(max_grad_norm=1e9, temperature=TEMPERATURE))
    other, _ = told_of(policy, GRPO(), groups, LearnSettings(max_grad_norm=1e9, temperature=TEMPERATURE * 3))
    assert (told["clipped_share"], other["clipped_share"] > 0) == (0, True)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: PolicyGradient(scale="sdt"),  # type: ignore[arg-type]
        lambda: PolicyGradient(baseline="median"),  # type: ignore[arg-type]
        lambda: PolicyGradient(surrogate="ppo"),  # type: ignore[arg-type]
        lambda: PolicyGradient(ratio="word"),  # type: ignore[arg-type]
        lambda: PolicyGradient(surrogate="cispo", ratio="sequence"),
        lambda: PolicyGradient(clip_low=-0.1),
        lambda: PolicyGradient(clip_low=1.1),
        lambda: PolicyGradient(clip_high=-0.1),
        lambda: PolicyGradient(clip_high=math.nan),
        lambda: PolicyGradient(dual_clip=0.5),
        lambda: PolicyGradient(dual_clip=math.nan),
        lambda: PolicyGradient(dual_clip=0.0),
        lambda: GRPOSettings(aggregate="mean"),  # type: ignore[arg-type]
        lambda: GRPOSettings(kl=-1.0),
        lambda: GRPOSettings(kl=math.nan),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(SettingError):
        wrong()
