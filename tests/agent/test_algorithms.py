"""GRPO and SDPO, from groups to gradients."""

import dataclasses
import math

import pytest
import torch

from sdpo_agent import GRPO, SDPO, Attempt, Group, GRPOSettings, Policy, Reprompt, Sample, SDPOSettings, Turn
from sdpo_agent.attempt import messages
from sdpo_envs import Feedback, Outcome, Verdict


def attempt(policy: Policy, action: str, reward: float, text: str = "", peer: str | None = None) -> Attempt:
    """An attempt that the policy itself might have made just now."""
    ids = policy.answer_ids(action)
    with torch.no_grad():
        logprobs, _ = policy.logprobs([policy.prompt_ids(messages("", "Say letter 0."))], [ids])
    turn = Turn("Say letter 0.", action, tuple(ids), tuple(logprobs[0].tolist()))
    verdict = None if math.isnan(reward) else Verdict(Outcome.PASSED if reward == 1 else Outcome.WRONG, reward)
    return Attempt("say/a", (turn,), reward, verdict, None if verdict is None else Feedback(text, peer=peer))


def gradient(policy: Policy, loss: torch.Tensor) -> torch.Tensor:
    grads = torch.autograd.grad(loss, list(policy.parameters()), allow_unused=True, materialize_grads=True)
    return torch.cat([grad.flatten() for grad in grads])


def test_grpo_gives_each_turn_the_advantage_of_its_attempt(policy: Policy) -> None:
    group = Group("say/a", (attempt(policy, "a", 1.0), attempt(policy, "b", 0.0), attempt(policy, "c", 0.0)))
    samples = GRPO().samples([group])
    assert [sample.advantage for sample in samples] == pytest.approx([2 / 3, -1 / 3, -1 / 3])


def test_grpo_leaves_broken_attempts_out_of_the_baseline(policy: Policy) -> None:
    attempts = (attempt(policy, "a", 1.0), attempt(policy, "b", math.nan), attempt(policy, "c", 0.0))
    samples = GRPO().samples([Group("say/a", attempts)])
    assert [sample.advantage for sample in samples] == pytest.approx([0.5, -0.5])


def test_grpo_on_policy_has_reinforce_s_gradient(policy: Policy) -> None:
    attempts = (attempt(policy, "a", 1.0), attempt(policy, "bb", 0.0))
    samples = GRPO().samples([Group("say/a", attempts)])
    loss, metrics = GRPO().loss(policy, samples, 1.0)
    prompt = policy.prompt_ids(messages("", "Say letter 0."))
    expected = torch.tensor(0.0)
    for each, advantage in zip(attempts, (0.5, -0.5), strict=True):
        logprobs, _ = policy.logprobs([prompt], [each.turns[0].token_ids])
        expected = expected - advantage * logprobs.sum() / 5  # 2 tokens and 3
    torch.testing.assert_close(gradient(policy, loss), gradient(policy, expected), rtol=1e-3, atol=1e-6)
    assert metrics["clipped_share"] == 0


def test_a_group_that_agrees_teaches_grpo_nothing(policy: Policy) -> None:
    group = Group("say/a", (attempt(policy, "a", 1.0), attempt(policy, "a", 1.0)))
    loss, _ = GRPO(GRPOSettings(scale="std")).loss(policy, GRPO().samples([group]), 1.0)
    assert gradient(policy, loss).abs().max() == 0


def test_sdpo_leaves_out_what_has_no_hindsight(policy: Policy) -> None:
    taught = attempt(policy, "b", 0.0, "Not b.")
    group = Group("say/a", (attempt(policy, "a", 1.0), taught, attempt(policy, "b", math.nan)))
    (sample,) = SDPO(policy).samples([group])
    assert sample.turn == taught.turns[0]
    assert sample.hindsight is not None
    assert "Not b." in sample.hindsight


def test_sdpo_shows_the_peer_rather_than_the_feedback_by_default(policy: Policy) -> None:
    group = Group("say/a", (attempt(policy, "b", 0.0, "Not b.", peer="a"),))
    (sample,) = SDPO(policy).samples([group])
    assert "Correct solution:\n\na" in (sample.hindsight or "")
    assert "Not b." not in (sample.hindsight or "")
    both = SDPOSettings(reprompt=Reprompt(feedback="always"))
    (sample,) = SDPO(policy, both).samples([group])
    assert "Not b." in (sample.hindsight or "")


SUPPORTS = [
    SDPOSettings(),
    SDPOSettings(support="full", alpha=0.0),
    SDPOSettings(support="full", alpha=1.0),
    SDPOSettings(top_k=5, tail=False),
    SDPOSettings(support="sampled-token", alpha=1.0),
]


@pytest.mark.parametrize("settings", SUPPORTS, ids=lambda settings: f"{settings.support}-{settings.alpha}")
def test_a_teacher_that_knows_nothing_more_gives_no_gradient(policy: Policy, settings: SDPOSettings) -> None:
    turn = attempt(policy, "b", 0.0).turns[0]
    loss, metrics = SDPO(policy, settings).loss(policy, [Sample(turn, hindsight=turn.observation)], 1.0)
    assert gradient(policy, loss).abs().max() < 1e-5
    assert metrics["teacher_gap"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("settings", SUPPORTS, ids=lambda settings: f"{settings.support}-{settings.alpha}")
def test_a_step_on_the_loss_moves_the_student_towards_the_teacher(policy: Policy, settings: SDPOSettings) -> None:
    algorithm = SDPO(policy, settings)
    samples = algorithm.samples([Group("say/a", (attempt(policy, "b", 0.0, peer="a"),))])
    before = policy.logprobs([policy.prompt_ids(messages("", "Say letter 0."))], [policy.answer_ids("b")])[0].sum()
    optimizer = torch.optim.SGD(policy.parameters(), 0.05)
    for _ in range(3):
        optimizer.zero_grad()
        algorithm.loss(policy, samples, 1.0)[0].backward()
        optimizer.step()
    after = policy.logprobs([policy.prompt_ids(messages("", "Say letter 0."))], [policy.answer_ids("b")])[0].sum()
    assert after < before


def test_the_full_support_is_what_top_k_tends_to(policy: Policy) -> None:
    samples = SDPO(policy).samples([Group("say/a", (attempt(policy, "b", 0.0, peer="a"),))])
    full, _ = SDPO(policy, SDPOSettings(support="full")).loss(policy, samples, 1.0)
    most, _ = SDPO(policy, SDPOSettings(top_k=250)).loss(policy, samples, 1.0)
    few, _ = SDPO(policy, SDPOSettings(top_k=1)).loss(policy, samples, 1.0)
    assert most.item() == pytest.approx(full.item(), rel=1e-3)
    assert few.item() < full.item()  # merging categories cannot raise a divergence


def test_the_importance_ratio_is_bounded(policy: Policy) -> None:
    algorithm = SDPO(policy)
    (sample,) = algorithm.samples([Group("say/a", (attempt(policy, "b", 0.0, peer="a"),))])
    plain, _ = algorithm.loss(policy, [sample], 1.0)
    unlikely = dataclasses.replace(sample.turn, logprobs=tuple(value - 5 for value in sample.turn.logprobs))
    weighted, _ = algorithm.loss(policy, [dataclasses.replace(sample, turn=unlikely)], 1.0)
    assert weighted.item() == pytest.approx(2 * plain.item(), rel=1e-4)


def test_the_teacher_is_an_exponential_average(policy: Policy) -> None:
    algorithm = SDPO(policy, SDPOSettings(teacher_rate=0.25))
    start = next(policy.parameters()).detach().clone()
    for shift in (1.0, 3.0):
        with torch.no_grad():
            next(policy.parameters()).copy_(start + shift)
        algorithm.after_step(policy)
    expected = start + 0.75 * (0.25 * 1.0) + 0.25 * 3.0
    torch.testing.assert_close(next(algorithm.teacher.parameters()).detach(), expected)


def test_a_rate_of_zero_freezes_the_teacher(policy: Policy) -> None:
    algorithm = SDPO(policy, SDPOSettings(teacher_rate=0.0))
    before = {name: value.clone() for name, value in algorithm.state().items()}
    with torch.no_grad():
        next(policy.parameters()).add_(1.0)
    algorithm.after_step(policy)
    assert all(torch.equal(before[name], value) for name, value in algorithm.state().items())


def test_the_teacher_of_a_bfloat16_policy_is_float32_and_moves(policy: Policy) -> None:
    policy.model.to(torch.bfloat16)
    algorithm = SDPO(policy, SDPOSettings(teacher_rate=0.01))
    teacher = next(algorithm.teacher.parameters())
    assert teacher.dtype is torch.float32
    before = teacher.clone()
    with torch.no_grad():
        next(policy.parameters()).add_(0.01)
    algorithm.after_step(policy)
    assert not torch.equal(before, teacher)


def test_the_teacher_carries_no_gradient(policy: Policy) -> None:
    algorithm = SDPO(policy)
    samples = algorithm.samples([Group("say/a", (attempt(policy, "b", 0.0, peer="a"),))])
    algorithm.loss(policy, samples, 1.0)[0].backward()
    assert all(parameter.grad is None for parameter in algorithm.teacher.parameters())
    assert any(parameter.grad is not None for parameter in policy.parameters())


def test_hindsight_is_cut_to_the_teacher_s_room(policy: Policy) -> None:
    algorithm = SDPO(policy)
    group = Group("say/a", (attempt(policy, "b", 0.0, "Not b. " * 400),))
    question = len(policy.prompt_ids(messages("", "Say letter 0.")))
    algorithm.teacher.max_positions = question + 120
    (sample,) = algorithm.samples([group])
    read = policy.prompt_ids(messages("", sample.hindsight or ""))
    assert question < len(read) <= question + 120 - len(sample.turn.token_ids)
    assert (sample.hindsight or "").startswith("Say letter 0.\n")
    algorithm.teacher.max_positions = question
    assert algorithm.samples([group]) == []
