"""The written tokens of some samples, laid end to end: one number per token for each thing that a loss asks for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sdpo_agent.attempt import Sample

Tally = dict[str, tuple[float, float]]
"""What to log: for each metric its sum and its count, so that micro-batches and processes add up."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """N tokens.

    Attributes:
        ids_N: The tokens.
        sequence_N: The number of each token's sample.
        old_logprobs_N: Under the policy before this step, nats.
        advantages_N: Of each token's turn.
        share_N: What each token weighs in the mean of the mini-batch.
        policy_N: What its policy loss weighs in it.
        teacher_N: What its loss towards the self-teacher weighs.
        reference_N: What its divergence from the reference policy weighs.
        taught_N: Bool: whether the self-teacher scores it.
    """

    ids_N: Tensor
    sequence_N: Tensor
    old_logprobs_N: Tensor
    advantages_N: Tensor
    share_N: Tensor
    policy_N: Tensor
    teacher_N: Tensor
    reference_N: Tensor
    taught_N: Tensor

    def __getitem__(self, at: slice | Tensor) -> "Tokens":
        """Return some of the tokens, by a slice or a mask."""
        return Tokens(*(getattr(self, name)[at] for name in self.__slots__))

    def __len__(self) -> int:
        return len(self.sequence_N)


def lay_out(samples: Sequence[Sample], shares: Sequence[float], device: torch.device) -> Tokens:
    """Lay out `samples`, each token of which has that share in the mean of the mini-batch."""
    lengths = torch.tensor([sample.tokens for sample in samples], dtype=torch.long, device=device)

    def spread(values: Iterable[float]) -> Tensor:
        whole = torch.tensor(list(values), dtype=torch.float32, device=device)
        return whole.repeat_interleave(lengths)

    def joined(rows: Iterable[Sequence[float]]) -> Tensor:
        return torch.tensor([value for row in rows for value in row], dtype=torch.float32, device=device)

    share_N = spread(shares) * joined(sample.token_weights or [1.0] * sample.tokens for sample in samples)
    taught = (
        sample.is_taught and number >= sample.forgotten
        for sample in samples
        for number, turn in enumerate(sample.turns)
        for _ in turn.token_ids
    )
    return Tokens(
        ids_N=torch.tensor(
            [token for sample in samples for token in sample.token_ids], dtype=torch.long, device=device
        ),
        sequence_N=torch.arange(len(samples), device=device).repeat_interleave(lengths),
        old_logprobs_N=joined(sample.old_logprobs or sampled_logprobs(sample) for sample in samples),
        advantages_N=joined(_of_tokens(sample) for sample in samples),
        share_N=share_N,
        policy_N=spread(sample.policy_weight for sample in samples) * share_N,
        teacher_N=spread(sample.teacher_weight for sample in samples) * share_N,
        reference_N=spread(sample.reference_weight for sample in samples) * share_N,
        taught_N=torch.tensor(list(taught), dtype=torch.bool, device=device),
    )


def _of_tokens(sample: Sample) -> list[float]:
    """Return the advantage of each written token: that of its turn."""
    advantages = sample.advantages or [0.0] * len(sample.turns)
    turns = zip(sample.turns, advantages, strict=True)
    return [advantage for turn, advantage in turns for _ in turn.token_ids]


def sampled_logprobs(sample: Sample) -> tuple[float, ...]:
    """Return what the sampler said of each written token, nats."""
    return tuple(logprob for turn in sample.turns for logprob in turn.logprobs)


def add(tally: Tally, more: Tally) -> None:
    """Add to a tally, in place."""
    for name, (value, count) in more.items():
        before, counted = tally.get(name, (0.0, 0.0))
        tally[name] = (before + value, counted + count)


def tally_of(name: str, values_N: Tensor) -> Tally:
    """Tally a metric of every token."""
    return {name: (float(values_N.detach().double().sum()), float(len(values_N)))}
