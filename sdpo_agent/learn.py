"""Learning from one batch of groups: mini-batches, micro-batches, optimizer steps. Plays nothing, writes no files."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sdpo_agent.attempt import Group, Sample
from sdpo_agent.head import peek
from sdpo_agent.losses import Aggregation, importance_weight, token_share
from sdpo_agent.policy import Policy
from sdpo_agent.processes import Processes
from sdpo_agent.teacher import Pace
from sdpo_agent.tokens import Tally, add, sampled_logprobs
from sdpo_envs.errors import within


class Averaged(Protocol):
    """What is read of an algorithm's settings."""

    @property
    def aggregate(self) -> Aggregation:
        """Whether each token or each attempt weighs the same."""


class Algorithm(Protocol):
    """What is asked of an algorithm: which samples, which loss, and what it keeps between steps."""

    @property
    def settings(self) -> Averaged:
        """The algorithm's own settings, a dataclass."""

    def samples(self, group: Group) -> list[Sample]:
        """Return what there is to learn from a group."""

    def loss(
        self, policy: Policy, samples: Sequence[Sample], shares: Sequence[float], temperature: float
    ) -> tuple[Tensor, Tally]:
        """Return what a micro-batch adds to the loss of its mini-batch, and what to log of it.

        Each token of a sample has that sample's share in the mean that the loss is.
        """

    def follow(self, policy: Policy, pace: Pace) -> None:
        """Follow the policy, where there is a teacher; called after each optimizer step and each training step."""

    def state(self) -> Mapping[str, Tensor]:
        """Return what a checkpoint must hold."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up the `state` of a checkpoint."""


@dataclass(frozen=True, slots=True)
class LearnSettings:
    """How to sample and how to learn, whatever the algorithm."""

    learning_rate: float = 1e-5
    """Of AdamW, at its highest."""
    warmup_steps: int = 0
    """Training steps over which the learning rate rises from 0."""
    decay_steps: int = 0
    """Training steps, those of the warm-up included, after which it has fallen to 0 again, in a line; 0 keeps it."""
    weight_decay: float = 0.01
    """Of AdamW."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    minibatches: int = 1
    """Optimizer steps per training step, each on whole groups; at 1, learning is on-policy."""
    microbatch: int = 8
    """Attempts per forward pass. Changes memory and speed, not the result."""
    rollout_correction: float | None = None
    """Bound on the weight by which the trainer makes up for a sampler that computes otherwise: old log-probabilities
    are computed anew, and each token weighed by min(old / sampled, this). None takes the sampler's word."""
    max_tokens: int = 512
    """The longest action."""
    temperature: float = 1.0
    """Of the sampling, and so of every probability that is learned from."""
    seed: int = 0
    """Of everything random. Equal seeds meet equal tasks in equal order, whatever the algorithm."""

    def __post_init__(self) -> None:
        for name in ("minibatches", "microbatch", "max_tokens"):
            within(name, getattr(self, name), 1)
        for name in ("warmup_steps", "decay_steps", "weight_decay", "seed"):
            within(name, getattr(self, name), 0)
        for name in ("learning_rate", "max_grad_norm", "temperature"):
            within(name, getattr(self, name), 1e-12)
        if self.decay_steps:
            within("decay_steps", self.decay_steps, self.warmup_steps + 1)
        if self.rollout_correction is not None:
            within("rollout_correction", self.rollout_correction, 1e-12)


def make_optimizer(policy: Policy, settings: LearnSettings) -> torch.optim.Optimizer:
    """Return AdamW over what is trained of `policy`."""
    return torch.optim.AdamW(policy.trainable(), settings.learning_rate, weight_decay=settings.weight_decay)


def learning_rate(settings: LearnSettings, step: int) -> float:
    """Return the learning rate of a training step, the first being step 0: it rises, and later falls, in a line."""
    share = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    if settings.decay_steps:
        left = (settings.decay_steps - step) / (settings.decay_steps - settings.warmup_steps)
        share = min(share, max(0.0, left))
    return settings.learning_rate * share


def learn(
    policy: Policy,
    algorithm: Algorithm,
    optimizer: torch.optim.Optimizer,
    groups: Sequence[Group],
    settings: LearnSettings,
    *,
    step: int,
    processes: Processes,
) -> Tally:
    """Take one optimizer step per mini-batch, and let the algorithm follow.

    A step is not taken where the gradient is zero, as momentum would move the policy with nothing learned, or where it
    is not finite.

    Args:
        policy: Learns, in place.
        algorithm: What is learned.
        optimizer: Of the policy's weights.
        groups: What this process played.
        settings: See there.
        step: The training step, from 0.
        processes: Who else learns.

    Returns:
        What to log; of all processes together, the same in each.
    """
    for parameters in optimizer.param_groups:
        parameters["lr"] = learning_rate(settings, step)
    samples = [algorithm.samples(group) for group in groups]
    if settings.rollout_correction is not None:
        samples = [_corrected(policy, each, settings) for each in samples]
    everything = [sample for each in samples for sample in each]
    told: Tally = {"taught_share": (float(sum(each.teaches for each in everything)), float(len(everything)))}
    counts = processes.gather(len(groups))
    own = dict(enumerate(samples, start=sum(counts[: processes.rank])))  # groups are numbered over all processes
    order = np.random.default_rng([settings.seed, step]).permutation(sum(counts))
    taken = 0
    for numbers in np.array_split(order, settings.minibatches):
        mine = [sample for number in numbers.tolist() for sample in own.get(number, [])]
        finite, more = _optimize(policy, algorithm, optimizer, mine, settings, processes)
        add(told, more)
        if finite:
            taken += 1
            algorithm.follow(policy, "optimizer-step")
    if taken:
        algorithm.follow(policy, "step")
    whole: Tally = {}
    for each in processes.gather(told):
        add(whole, each)
    return whole


def _optimize(
    policy: Policy,
    algorithm: Algorithm,
    optimizer: torch.optim.Optimizer,
    samples: Sequence[Sample],
    settings: LearnSettings,
    processes: Processes,
) -> tuple[bool, Tally]:
    """Take an optimizer step on a mini-batch; return whether it was taken, and what to log."""
    optimizer.zero_grad(set_to_none=True)
    how = algorithm.settings.aggregate
    counted = [sample for sample in samples if sample.counts or how == "released"]
    shares = [token_share(sample.learned_tokens, how, settings.max_tokens) for sample in counted]
    total = processes.sum(sum(share for _, share in shares))
    weighed = [(sample, weight / total) for sample, (weight, _) in zip(counted, shares, strict=True) if sample.teaches]
    weighed.sort(key=lambda pair: _place(policy, pair[0]))
    told: Tally = {}
    for start in range(0, len(weighed), settings.microbatch):
        micro, parts = zip(*weighed[start : start + settings.microbatch], strict=True)
        loss, more = algorithm.loss(policy, micro, parts, settings.temperature)
        loss.backward()  # type: ignore[no-untyped-call]
        add(told, {"loss": (float(loss.detach()), 0.0), **more})
    processes.sum_gradients(policy.trainable())
    norm = float(torch.nn.utils.clip_grad_norm_(policy.trainable(), settings.max_grad_norm))
    taken = 0 < norm < math.inf
    if not taken:
        told = {}
    else:
        optimizer.step()
    mine = 1.0 if processes.first else 0.0  # what is the same in each process is told once
    told["loss"] = (told.get("loss", (0.0, 0.0))[0], mine * taken)
    told["grad_norm"] = (norm * mine, mine) if taken else (0.0, 0.0)
    told["optimizer_steps"] = (mine * taken, 0.0)
    told["broken_gradients"] = (mine * (not math.isfinite(norm)), 0.0)
    return taken, told


def _place(policy: Policy, sample: Sample) -> tuple[int, tuple[int, ...], int]:
    """Say where a sample belongs among others: beside those of the same prompt, and then of like length."""
    script = policy.chat.script(sample.turns)
    prompt = script.token_ids[: script.written[0]]
    return len(prompt), prompt, len(script.token_ids)


@torch.no_grad()
def _corrected(policy: Policy, samples: Sequence[Sample], settings: LearnSettings) -> list[Sample]:
    """Compute the old log-probabilities anew, and weigh each token by how far the sampler was off."""
    corrected = []
    for sample in samples:
        ids_N = torch.tensor(sample.token_ids, dtype=torch.long, device=policy.device)
        old_N = peek(policy.scores([policy.chat.script(sample.turns)], settings.temperature), ids_N)
        sampled_N = torch.tensor(sampled_logprobs(sample), dtype=old_N.dtype, device=old_N.device)
        weights_N = importance_weight(old_N, sampled_N, settings.rollout_correction or math.inf)
        old, weights = tuple(old_N.tolist()), tuple(weights_N.tolist())
        corrected.append(replace(sample, old_logprobs=old, token_weights=weights))
    return corrected
