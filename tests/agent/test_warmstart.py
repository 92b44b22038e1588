"""Supervised learning on worked examples."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from tiny import SIZE, answered

from sdpo_agent import Conversation, Policy, warm_start, warmstart
from sdpo_agent.attempt import Message
from sdpo_agent.warmstart import Example

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


# Examples without end


def lines(*sizes: int) -> Iterator[Example]:
    """Answers of these lengths, over and over; the first letter tells the round."""
    for round in itertools.count():
        for size in sizes:
            yield ASKED, chr(97 + round % 26) * size


class Taking:
    """Remembers the batches that a policy is fitted to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[list[str]] = []
        written = warmstart._scripts

        def scripts(policy: Policy, examples: Sequence[Example], whole: bool) -> Any:
            self.batches.append([answer for _, answer in examples])
            return written(policy, examples, whole)

        monkeypatch.setattr(warmstart, "_scripts", scripts)


def test_an_iterator_is_taken_as_it_comes_in_batches_of_like_length(monkeypatch: pytest.MonkeyPatch) -> None:
    taking = Taking(monkeypatch)
    sizes = [1, 9, 5, 3, 7, 2, 8, 4]
    assert len(warm_start(fresh(), lines(*sizes), steps=16, batch=2)) == 16
    taken = sorted(answer for batch in taking.batches for answer in batch)
    assert taken == sorted(answer for _, answer in itertools.islice(lines(*sizes), 32))  # each once, none left out
    spans = [abs(len(one) - len(other)) for one, other in taking.batches]
    assert max(spans) <= 1
    lengths = [len(batch[0]) for batch in taking.batches]
    assert lengths not in (sorted(lengths), sorted(lengths, reverse=True))


def test_what_an_iterator_gives_is_learned_in_an_order_that_the_seed_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = []
    for seed in (0, 0, 1):
        with monkeypatch.context() as patch:
            taking = Taking(patch)
            warm_start(fresh(), lines(*range(1, 17)), steps=16, batch=1, seed=seed)
            orders.append(taking.batches)
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_an_iterator_teaches() -> None:
    losses = warm_start(fresh(), itertools.cycle(EXAMPLES), steps=60, batch=8, learning_rate=5e-3)
    assert losses[-1] < losses[0] / 3


# The prompt


def test_the_loss_of_the_prompt_is_not_reported_and_moves_the_policy() -> None:
    alone, both = fresh(), fresh()
    losses = [
        warm_start(policy, EXAMPLES[:1], steps=2, prompt_weight=weight)
        for policy, weight in ((alone, 0.0), (both, 1.0))
    ]
    assert losses[0][0] == pytest.approx(losses[1][0], abs=1e-5)
    assert losses[0][1] != pytest.approx(losses[1][1], abs=1e-5)


def test_a_prompt_that_counts_is_learned_too() -> None:
    def of_prompt(policy: Policy) -> float:
        ids = policy.chat.prompt_ids(ASKED)
        return float(policy.logprobs([answered(ids[:1], ids[1:])]).detach().mean())

    heavy, light, none = fresh(), fresh(), fresh()
    for policy, weight in ((heavy, 1.0), (light, 0.1), (none, 0.0)):
        warm_start(policy, EXAMPLES, steps=40, learning_rate=3e-3, prompt_weight=weight)
    assert of_prompt(heavy) > of_prompt(light) + 0.1 > of_prompt(none) + 0.2


def test_a_token_of_the_prompt_counts_its_weight_beside_1(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, gradients = fresh(), []
    ids, answer = policy.chat.prompt_ids(ASKED), policy.chat.answer_ids("left")
    logprobs = policy.logprobs([answered(ids[:1], [*ids[1:], *answer])])
    at = len(ids) - 1
    (-(logprobs[at:].sum() + 0.25 * logprobs[:at].sum()) / len(answer)).backward()  # type: ignore[no-untyped-call]
    expected = [weight.grad.clone() for weight in policy.trainable() if weight.grad is not None]
    monkeypatch.setattr(
        torch.nn.utils, "clip_grad_norm_", lambda *_: gradients.extend(w.grad.clone() for w in policy.trainable())
    )
    warm_start(policy, EXAMPLES[:1], steps=1, batch=3, prompt_weight=0.25)
    assert len(gradients) == len(expected)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


# The rate


def rates(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[float]:
    """The learning rate of every step, in units of its height."""
    found: list[float] = []

    class Noting(torch.optim.AdamW):
        def step(self, *args: Any, **more: Any) -> Any:
            found.append(self.param_groups[0]["lr"] / 1e-3)
            return super().step(*args, **more)

    monkeypatch.setattr(torch.optim, "AdamW", Noting)
    losses = warm_start(fresh(), EXAMPLES, batch=1, learning_rate=1e-3, **settings)
    assert len(losses) == len(found)
    return found


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"steps": 4}, [1, 3 / 4, 2 / 4, 1 / 4]),
        ({"steps": 6, "warmup_steps": 2}, [1 / 3, 2 / 3, 1, 3 / 4, 2 / 4, 1 / 4]),
        ({"steps": 6, "warmup_steps": 2, "stop": 4}, [1 / 3, 2 / 3, 1, 3 / 4]),
        ({"steps": 2, "warmup_steps": 3}, [1 / 4, 2 / 4]),
        ({"steps": 3, "stop": 9}, [1, 2 / 3, 1 / 3]),
        ({"steps": 3, "stop": 0}, []),
        ({"steps": 1}, [1]),
    ],
    ids=str,
)
def test_the_rate_rises_then_falls_and_a_stop_does_not_change_it(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, int], expected: list[float]
) -> None:
    assert rates(monkeypatch, **settings) == pytest.approx(expected)
