"""Supervised learning on worked examples."""

import math

import pytest
import torch
from tiny import SIZE, answered

from sdpo_agent import Conversation, Policy, warm_start
from sdpo_agent.attempt import Message

ASKED: list[Message] = Conversation("Left or right?").messages()
EXAMPLES = [(ASKED, "left"), (ASKED, "right")]


def fresh() -> Policy:
    return Policy.small(**SIZE | {"layers": 1}, device="cpu")


@pytest.fixture(scope="module")
def fitted() -> tuple[Policy, list[float]]:
    policy = fresh()
    return policy, warm_start(policy, EXAMPLES, steps=120, batch=8, learning_rate=5e-3)


def probability(policy: Policy, answer: str) -> float:
    script = answered(policy.chat.prompt_ids(ASKED), policy.chat.answer_ids(answer))
    return float(policy.logprobs([script]).detach().sum().exp())


def test_the_loss_falls_and_every_step_is_reported(fitted: tuple[Policy, list[float]]) -> None:
    _, losses = fitted
    assert len(losses) == 120
    assert losses[0] == pytest.approx(math.log(261), abs=0.5)  # at first every token is as likely as another
    assert losses[-1] < losses[0] / 5


def test_two_answers_to_one_prompt_are_learned_as_a_mixture(fitted: tuple[Policy, list[float]]) -> None:
    policy, _ = fitted
    assert [probability(policy, answer) for answer in ("left", "right")] == pytest.approx([0.5, 0.5], abs=0.2)


def test_the_answer_ends(fitted: tuple[Policy, list[float]]) -> None:
    policy, _ = fitted
    turns = policy.write([Conversation("Left or right?")] * 8, max_tokens=12, temperature=1.0, seeds=range(8))
    assert sum(not turn.cut_short for turn in turns) >= 6
    assert {"left", "right"} & {turn.action for turn in turns}


def test_equal_seeds_fit_equally_and_others_otherwise() -> None:
    many = [(ASKED, letter * 3) for letter in "abcdefgh"]
    one, same, other = (warm_start(fresh(), many, steps=3, batch=3, seed=seed) for seed in (5, 5, 6))
    assert one == pytest.approx(same, abs=1e-5)
    assert one != pytest.approx(other, abs=1e-5)


def test_fitting_leaves_the_global_generator_alone() -> None:
    policy, before = fresh(), torch.get_rng_state()
    warm_start(policy, EXAMPLES, steps=2)
    assert torch.equal(before, torch.get_rng_state())


def test_the_loss_is_the_mean_over_answer_tokens_and_not_over_the_prompt() -> None:
    policy = fresh()
    ids = policy.chat.answer_ids("left")
    expected = -policy.logprobs([answered(policy.chat.prompt_ids(ASKED), ids)]).mean().item()
    (loss,) = warm_start(policy, EXAMPLES[:1], steps=1, batch=4)
    assert loss == pytest.approx(expected, abs=1e-4)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_with_adapters_they_alone_are_fitted() -> None:
    pytest.importorskip("peft")
    policy = fresh().with_lora(8)
    frozen = {name: weight.clone() for name, weight in policy.core.named_parameters() if not weight.requires_grad}
    losses = warm_start(policy, EXAMPLES, steps=40, batch=4, learning_rate=2e-2)
    assert losses[-1] < losses[0] - 0.3
    assert all(torch.equal(dict(policy.core.named_parameters())[name], weight) for name, weight in frozen.items())
