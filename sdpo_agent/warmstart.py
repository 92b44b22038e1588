"""Supervised learning on worked examples: gives a small policy something to be right about before RL begins."""

from collections.abc import Sequence

import torch
from rich.console import Console
from rich.progress import track

from sdpo_agent.losses import aggregate
from sdpo_agent.policy import Policy

Example = tuple[Sequence[dict[str, str]], str]
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
    prompts = [policy.prompt_ids(messages) for messages, _ in examples]
    answers = [policy.answer_ids(answer) for _, answer in examples]
    optimizer = torch.optim.AdamW(policy.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in track(range(steps), "warm-up", console=Console(stderr=True)):
        drawn = torch.randint(len(examples), (batch,), generator=generator).tolist()
        logprobs_BT, mask_BT = policy.logprobs([prompts[i] for i in drawn], [answers[i] for i in drawn])
        loss = aggregate(-logprobs_BT, mask_BT, "token-mean")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses
