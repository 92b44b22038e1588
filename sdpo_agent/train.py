"""The loop. The only loop: sample groups, learn from them, write down what happened.

Left out on purpose: several processes. One process plays the environments and holds the policy, on the CPU or one GPU.
"""

import json
import math
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from sdpo_agent.attempt import Group, Sample
from sdpo_agent.losses import Aggregation
from sdpo_agent.policy import Policy
from sdpo_agent.rollout import collect, decided
from sdpo_envs import GroupEnv, InfrastructureError, SettingError
from sdpo_envs.errors import within

Metrics = dict[str, float]


class Averaged(Protocol):
    """What the loop reads of an algorithm's settings."""

    @property
    def aggregate(self) -> Aggregation:
        """Whether each token or each attempt weighs the same."""


class Algorithm(Protocol):
    """What the loop asks of an algorithm: which samples, which loss, and what it keeps between steps."""

    @property
    def settings(self) -> Averaged:
        """The algorithm's own settings."""

    def samples(self, groups: Sequence[Group]) -> list[Sample]:
        """Return what there is to learn from."""

    def loss(self, policy: Policy, samples: Sequence[Sample], temperature: float) -> tuple[Tensor, Metrics]:
        """Return the mean loss of a micro-batch, and what to log of it."""

    def after_step(self, policy: Policy) -> None:
        """Follow the policy, where there is a teacher."""

    def state(self) -> Mapping[str, Tensor]:
        """Return what a checkpoint must hold."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up the `state` of a checkpoint."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to sample and how to learn, whatever the algorithm."""

    steps: int = 100
    """Training steps: one batch of groups each."""
    learning_rate: float = 1e-5
    """Of AdamW, constant after the warm-up."""
    warmup_steps: int = 0
    """Training steps over which the learning rate rises from 0."""
    weight_decay: float = 0.01
    """Of AdamW."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    minibatches: int = 1
    """Optimizer steps per training step; at 1, learning is on-policy."""
    microbatch: int = 8
    """Attempts per forward pass. Changes memory and speed, not the result."""
    max_tokens: int = 512
    """The longest action."""
    temperature: float = 1.0
    """Of the sampling, and so of every probability that is learned from."""
    seed: int = 0
    """Of everything random. Equal seeds meet equal tasks in equal order, whatever the algorithm."""
    checkpoint_every: int = 10
    """Training steps between checkpoints, besides the one at the end; 0 for none in between."""

    def __post_init__(self) -> None:
        for name in ("minibatches", "microbatch", "max_tokens"):
            within(name, getattr(self, name), 1)
        for name in ("steps", "warmup_steps", "weight_decay", "checkpoint_every", "seed"):
            within(name, getattr(self, name), 0)
        for name in ("learning_rate", "max_grad_norm", "temperature"):
            within(name, getattr(self, name), 1e-12)


def train(
    policy: Policy,
    algorithm: Algorithm,
    envs: GroupEnv,
    settings: TrainSettings,
    run: str | Path,
    *,
    resume: bool = False,
    told: Mapping[str, object] | None = None,
) -> list[Metrics]:
    """Train `policy` in place.

    Writes into the folder `run`: ``config.json``; ``metrics.jsonl``, a row per step; and ``checkpoint/``, the last
    whole state. A step's tasks, seeds and draws follow from the settings' seed and its number alone, so that a resumed
    run repeats what an uninterrupted one does.

    Args:
        policy: Learns.
        algorithm: What is learned, such as `sdpo_agent.GRPO` or `sdpo_agent.SDPO`.
        envs: Groups of attempts; its size is the batch.
        settings: See there.
        run: A new folder, or with `resume` one that holds a run.
        resume: Go on after the checkpoint in `run`, or from the start if it has none yet.
        told: What else to write into ``config.json``.

    Returns:
        The metrics of every step, those before a resumption included.

    Raises:
        FileExistsError: `run` holds a run already, and `resume` was not asked for.
        FileNotFoundError: there is no run to resume.
        SettingError: the run to resume was of another algorithm or other settings.
        InfrastructureError: in some step every attempt broke, so there was nothing to learn from.
    """
    run = Path(run)
    config = _config(algorithm, settings, told or {})
    optimizer = torch.optim.AdamW(policy.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    rows = _resume(run, config, policy, algorithm, optimizer) if resume else _begin(run, config)
    with _progress(settings.steps) as progress, (run / "metrics.jsonl").open("a", encoding="utf-8") as log:
        bar = progress.add_task("", total=settings.steps, completed=len(rows), said="")
        for step in range(len(rows), settings.steps):
            row = {"step": float(step + 1), **train_step(policy, algorithm, envs, optimizer, settings, step)}
            rows.append(row)
            log.write(json.dumps(row) + "\n")
            log.flush()
            progress.update(bar, advance=1, said=f"success {row['success_rate']:.2f}  loss {row['loss']:.4f}")
            last = step + 1 == settings.steps
            if last or (settings.checkpoint_every and (step + 1) % settings.checkpoint_every == 0):
                _checkpoint(run, policy, algorithm, optimizer, step + 1)
    return rows


def train_step(
    policy: Policy,
    algorithm: Algorithm,
    envs: GroupEnv,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    step: int,
) -> Metrics:
    """Sample one batch of groups, learn from it, and return what there is to tell. `step` counts from 0."""
    start = time.perf_counter()
    draws = np.random.SeedSequence([settings.seed, step]).generate_state(1 + envs.num_groups).tolist()
    groups = collect(
        envs,
        policy,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        generator=torch.Generator(policy.device).manual_seed(draws[0]),
        seeds=draws[1:],
        task_ids=_tasks(envs.task_ids, envs.num_groups, settings.seed, step),
    )
    sampled = time.perf_counter()
    told = _describe(groups)
    samples = algorithm.samples(groups)
    for parameters in optimizer.param_groups:
        parameters["lr"] = settings.learning_rate * min(1.0, (step + 1) / (settings.warmup_steps + 1))
    learned = _learn(policy, algorithm, optimizer, samples, settings, draws[0])
    if learned["optimizer_steps"]:
        algorithm.after_step(policy)
    turns = sum(len(attempt.turns) for group in groups for attempt in group.attempts)
    taught = sum(sample.advantage != 0 or sample.hindsight is not None for sample in samples)
    seconds = {"seconds_sampling": sampled - start, "seconds_learning": time.perf_counter() - sampled}
    return {**told, "taught_share": taught / turns, **learned, **seconds}


def _learn(
    policy: Policy,
    algorithm: Algorithm,
    optimizer: torch.optim.Optimizer,
    samples: Sequence[Sample],
    settings: TrainSettings,
    seed: int,
) -> Metrics:
    """Take one optimizer step per mini-batch; each counts its own samples, however they are cut into micro-batches.

    No step is taken where the gradient is zero, as momentum would move the policy with nothing learned, or not finite.
    """
    order = np.random.default_rng(seed).permutation(len(samples))
    totals: dict[str, float] = {}
    taken = broken = 0
    for mini in np.array_split(order, settings.minibatches):
        optimizer.zero_grad(set_to_none=True)
        told: dict[str, float] = {}
        for share, micro in _microbatches([samples[index] for index in mini], algorithm, settings.microbatch):
            loss, metrics = algorithm.loss(policy, micro, settings.temperature)
            (loss * share).backward()  # type: ignore[no-untyped-call]
            for name, value in {"loss": float(loss.detach()), **metrics}.items():
                told[name] = told.get(name, 0.0) + value * share
        norm = float(torch.nn.utils.clip_grad_norm_(policy.parameters(), settings.max_grad_norm))
        broken += not math.isfinite(norm)
        if 0 < norm < math.inf:
            optimizer.step()
            taken += 1
            for name, value in {"grad_norm": norm, **told}.items():
                totals[name] = totals.get(name, 0.0) + value
    means = {"loss": 0.0, "grad_norm": 0.0} | {name: total / taken for name, total in totals.items()}
    return {"optimizer_steps": float(taken), "broken_gradients": float(broken), **means}


def _microbatches(
    samples: Sequence[Sample], algorithm: Algorithm, size: int
) -> Iterator[tuple[float, Sequence[Sample]]]:
    """Yield micro-batches, and the share of each in the mean over the whole mini-batch."""
    how = algorithm.settings.aggregate
    weights = [1 if how == "sequence-mean" else len(sample.turn.token_ids) for sample in samples]
    for start in range(0, len(samples), size):
        yield sum(weights[start : start + size]) / sum(weights), samples[start : start + size]


def _describe(groups: Sequence[Group]) -> Metrics:
    """Tell of the attempts; those that broke are counted, and count for nothing else."""
    attempts = [attempt for group in groups for attempt in decided(group)]
    everything = [attempt for group in groups for attempt in group.attempts]
    if not attempts:
        raise InfrastructureError(f"Every attempt broke; the first because of {everything[0].error}")
    turns = [turn for attempt in attempts for turn in attempt.turns]
    tokens = sum(len(turn.token_ids) for turn in turns)
    told = [attempt.feedback for attempt in attempts if attempt.feedback is not None]
    successes = [attempt.verdict is not None and attempt.verdict.passed for attempt in attempts]
    return {
        "attempts": float(len(everything)),
        "broken_attempts": float(len(everything) - len(attempts)),
        "reward_mean": sum(attempt.reward for attempt in attempts) / len(attempts),
        "success_rate": sum(successes) / len(attempts),
        "mixed_groups": sum(len({attempt.reward for attempt in decided(group)}) > 1 for group in groups) / len(groups),
        "peer_share": sum(feedback.peer is not None for feedback in told) / len(attempts),
        "reveals_answer_share": sum(feedback.reveals_answer for feedback in told) / len(attempts),
        "tokens_mean": tokens / len(turns),
        "cut_short_share": sum(turn.cut_short for turn in turns) / len(turns),
        "entropy_estimate": -sum(sum(turn.logprobs) for turn in turns) / max(1, tokens),
    }


def _tasks(task_ids: Sequence[str], count: int, seed: int, step: int) -> list[str]:
    """Choose the tasks of a step: every task once, in an order of its own, before any comes again."""
    positions = range(step * count, (step + 1) * count)
    orders = {
        epoch: np.random.default_rng([seed, epoch]).permutation(len(task_ids))
        for epoch in {position // len(task_ids) for position in positions}
    }
    return [task_ids[orders[position // len(task_ids)][position % len(task_ids)]] for position in positions]


def _config(algorithm: Algorithm, settings: TrainSettings, told: Mapping[str, object]) -> dict[str, Any]:
    own: Any = algorithm.settings
    described = {**told, "algorithm": type(algorithm).__name__, "settings": asdict(own), "loop": asdict(settings)}
    config: dict[str, Any] = json.loads(json.dumps(described, default=str))
    return config


def _begin(run: Path, config: Mapping[str, Any]) -> list[Metrics]:
    if (run / "config.json").exists():
        raise FileExistsError(f"{run} already holds a run. Name another folder, or resume it.")
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return []


def _resume(
    run: Path, config: Mapping[str, Any], policy: Policy, algorithm: Algorithm, optimizer: torch.optim.Optimizer
) -> list[Metrics]:
    if not (run / "config.json").exists():
        raise FileNotFoundError(f"{run} holds no run to resume. Start one there without resume.")
    _require_same(json.loads((run / "config.json").read_text(encoding="utf-8")), config, run)
    folder = next((run / name for name in ("checkpoint", "checkpoint.old") if (run / name).is_dir()), None)
    steps = 0
    if folder is not None:
        state = torch.load(folder / "state.pt", map_location=policy.device, weights_only=True)
        policy.model.load_state_dict(Policy.load(folder / "policy", device=policy.device).model.state_dict())
        optimizer.load_state_dict(state["optimizer"])
        algorithm.restore(state["algorithm"])
        steps = state["steps"]
    log = run / "metrics.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines()[:steps] if log.exists() else []
    log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return [json.loads(line) for line in lines]


def _require_same(old: Mapping[str, Any], new: Mapping[str, Any], run: Path) -> None:
    """Refuse to go on with a run of another kind; how long it is and how it is stored may change."""
    free = dict.fromkeys(("steps", "checkpoint_every", "microbatch"))
    for name in ("algorithm", "settings", "loop"):
        before, now = old[name], new[name]
        if name == "loop":
            before, now = {**before, **free}, {**now, **free}
        if before != now:
            raise SettingError(
                f"{run} was begun with the {name} {before}, not {now}. Resume it with those, or begin anew."
            )


def _checkpoint(run: Path, policy: Policy, algorithm: Algorithm, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Write the whole state beside the last one, then put it in its place. At any moment one is whole."""
    fresh, folder, old = run / "checkpoint.new", run / "checkpoint", run / "checkpoint.old"
    shutil.rmtree(fresh, ignore_errors=True)
    policy.save(fresh / "policy")
    state = {"steps": steps, "optimizer": optimizer.state_dict(), "algorithm": dict(algorithm.state())}
    torch.save(state, fresh / "state.pt")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _progress(steps: int) -> Progress:
    columns = (MofNCompleteColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    return Progress(TextColumn("step"), *columns, console=Console(stderr=True), disable=steps == 0)
