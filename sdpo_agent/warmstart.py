"""Supervised learning on worked examples: gives a small policy something to be right about before RL begins."""

from collections.abc import Sequence

import torch
from rich.console import Console
from rich.progress import track

from sdpo_agent.attempt import Message
from sdpo_agent.chat import Script
from sdpo_agent.policy import Policy

Example = tuple[Sequence[Message], str]
"""The messages of a prompt, and the answer to it."""


def warm_start(
    policy: Policy,
    examples: Sequence[Example],
    *,
    steps: int,
    batch: int = 8,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> list[float]:
    """Fit `policy` to `examples` in place by maximum likelihood of the answers, each with an end token.

    Args:
        policy: Learns.
        examples: Drawn with replacement. The same prompt with several answers teaches their mixture.
        steps: Optimizer steps of AdamW; the learning rate falls linearly to 0.
        batch: Examples per step.
        learning_rate: At the start.
        seed: Of the draws.

    Returns:
        The loss of every step, nats per answer token.
    """
    scripts = [_script(policy, *example) for example in examples]
    optimizer = torch.optim.AdamW(policy.trainable(), learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in track(range(steps), "warm-up", console=Console(stderr=True)):
        drawn = torch.randint(len(examples), (batch,), generator=generator).tolist()
        loss = -policy.logprobs([scripts[i] for i in drawn]).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(policy.trainable(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def _script(policy: Policy, messages: Sequence[Message], answer: str) -> Script:
    prompt, action = policy.chat.prompt_ids(messages), policy.chat.answer_ids(answer)
    return Script((*prompt, *action), tuple(range(len(prompt), len(prompt) + len(action))))
