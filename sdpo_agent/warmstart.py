"""Supervised learning on worked examples: gives a small policy something to be right about before RL begins."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from sdpo_agent.attempt import Message
from sdpo_agent.chat import Script
from sdpo_agent.policy import Policy

Example = tuple[Sequence[Message], str]
"""The messages of a prompt, and the answer to it."""

_SORTED = 16  # batches that are sorted by length together


def warm_start(
    policy: Policy,
    examples: Sequence[Example] | Iterator[Example],
    *,
    steps: int,
    batch: int = 8,
    learning_rate: float = 1e-3,
    warmup_steps: int = 0,
    prompt_weight: float = 0.0,
    seed: int = 0,
    stop: int | None = None,
) -> list[float]:
    """Fit `policy` to `examples` in place by maximum likelihood of the answers, each with an end token.

    Args:
        policy: Learns.
        examples: A sequence, drawn from with replacement: the same prompt with several answers teaches their mixture.
            Or an endless iterator, which is taken as it comes, but for batches being made of examples of like length.
        steps: Optimizer steps of AdamW.
        batch: Examples per step.
        learning_rate: Its height after the warm-up; it falls linearly to 0 at the end.
        warmup_steps: Over which it rises from 0.
        prompt_weight: What a token of the prompt counts, beside 1 for one of the answer.
        seed: Of the draws.
        stop: Stop after so many of the steps.

    Returns:
        The loss of every step, nats per answer token; that of the prompt is not in it.
    """
    optimizer = torch.optim.AdamW(policy.trainable(), learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (warmup_steps + 1), (steps - step) / max(1, steps - warmup_steps))
    )
    rng = np.random.default_rng(seed)
    batches = _sorted(examples, batch, rng) if isinstance(examples, Iterator) else _drawn(examples, batch, rng)
    losses = []
    taken = steps if stop is None else min(stop, steps)
    for drawn in track(islice(batches, taken), "warm-up", total=taken, console=Console(stderr=True)):
        scripts, answer_N = _scripts(policy, drawn, whole=prompt_weight > 0)
        logprob_N = policy.logprobs(scripts)
        loss = -logprob_N[answer_N].mean()
        objective = loss - prompt_weight * logprob_N[~answer_N].sum() / answer_N.sum()
        optimizer.zero_grad()
        objective.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(policy.trainable(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def _drawn(examples: Sequence[Example], batch: int, rng: np.random.Generator) -> Iterator[list[Example]]:
    while True:
        yield [examples[place] for place in rng.integers(len(examples), size=batch)]


def _sorted(examples: Iterator[Example], batch: int, rng: np.random.Generator) -> Iterator[list[Example]]:
    """Yield batches of neighbours in length, the short ones no sooner than the long ones."""
    while True:
        pool = sorted(islice(examples, batch * _SORTED), key=_length)
        for number in rng.permutation(_SORTED):
            yield pool[number * batch : (number + 1) * batch]


def _length(example: Example) -> int:
    messages, answer = example
    return sum(len(message["content"]) for message in messages) + len(answer)


def script(policy: Policy, messages: Sequence[Message], answer: str, *, whole: bool = False) -> Script:
    """Write an example as tokens, of which the answer's are scored, or with `whole` all that follow something."""
    prompt, action = policy.chat.prompt_ids(messages), policy.chat.answer_ids(answer)
    return Script((*prompt, *action), tuple(range(1 if whole else len(prompt), len(prompt) + len(action))))


def _scripts(policy: Policy, examples: Sequence[Example], whole: bool) -> tuple[list[Script], torch.Tensor]:
    """Write examples; return the scripts, and of each scored token whether it is an answer's: answer_N."""
    scripts = [script(policy, *example, whole=whole) for example in examples]
    lengths = [len(policy.chat.answer_ids(answer)) for _, answer in examples]
    answers = [
        place >= len(each.token_ids) - length
        for each, length in zip(scripts, lengths, strict=True)
        for place in each.written
    ]
    return scripts, torch.tensor(answers, device=policy.device)
