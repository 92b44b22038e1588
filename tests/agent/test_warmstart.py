"""Supervised learning on worked examples."""

import pytest
import torch

from sdpo_agent import Policy, warm_start
from sdpo_agent.attempt import messages

EXAMPLES = [(messages("", "Left or right?"), "left"), (messages("", "Left or right?"), "right")]


@pytest.fixture(scope="module")
def fitted() -> tuple[Policy, list[float]]:
    policy = Policy.small(hidden=32, layers=1, heads=2)
    return policy, warm_start(policy, EXAMPLES, steps=120, batch=8, learning_rate=5e-3)


def test_the_loss_falls_and_every_step_is_reported(fitted: tuple[Policy, list[float]]) -> None:
    _, losses = fitted
    assert len(losses) == 120
    assert losses[-1] < losses[0] / 5


def test_two_answers_to_one_prompt_are_learned_as_a_mixture(fitted: tuple[Policy, list[float]]) -> None:
    policy, _ = fitted
    prompts = [policy.prompt_ids(said) for said, _ in EXAMPLES]
    logprobs, _ = policy.logprobs(prompts, [policy.answer_ids(answer) for _, answer in EXAMPLES])
    assert logprobs.sum(1).exp().tolist() == pytest.approx([0.5, 0.5], abs=0.2)


def test_the_answer_ends(fitted: tuple[Policy, list[float]]) -> None:
    policy, _ = fitted
    sampled = policy.sample([policy.prompt_ids(EXAMPLES[0][0])] * 8, 12, generator=torch.Generator().manual_seed(0))
    assert sum(not each.cut_short for each in sampled) >= 6


def test_equal_seeds_fit_equally() -> None:
    runs = [warm_start(Policy.small(hidden=32, layers=1, heads=2), EXAMPLES, steps=3, seed=5) for _ in range(2)]
    assert runs[0] == runs[1]
