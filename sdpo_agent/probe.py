"""Before any training: how much does this feedback help this policy?

A self-teacher can only teach what it does better than the student. So, for each task: how often is the policy right;
how often is it right when it reads the hindsight on its own attempts, under each way to write it; and on the attempts
that failed, how much less does the teacher think of what the student wrote, and where in it. The last needs
log-probabilities, so a policy in this process; the others also work through a server.

To try again helps by itself: of those who failed, some succeed with no help at all. So attempts with hindsight are
compared with as many new ones without it, by the same draws, and not with those that the hindsight is on.

The initial gap between teacher and student is reported to predict what self-distillation gains (arXiv 2605.30070);
``benchmarks/gap.py`` looks whether it does.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from sdpo_agent.attempt import Attempt, Conversation, Group
from sdpo_agent.head import peek
from sdpo_agent.losses import teacher_gap
from sdpo_agent.policy import Policy
from sdpo_agent.reprompt import Reprompt, hindsight
from sdpo_agent.rollout import Groups, Sampler, collect
from sdpo_envs.errors import within

INPUTS: Mapping[str, Reprompt] = {
    "feedback": Reprompt(peer="none", feedback="always"),
    "peer": Reprompt(feedback="never"),
    "peer, else feedback": Reprompt(),
    "peer and feedback": Reprompt(feedback="always"),
    "peer, feedback, own attempt": Reprompt(feedback="always", attempt=True),
}
"""What the teacher may be shown, by name (SDPO, Table 6)."""
PARTS = 10
"""Equal parts of an action, over which the gap is averaged."""


Hint = Callable[[int, Conversation], str | None]
"""What the policy of a slot reads in place of an observation, None for nothing else."""


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """How to play."""

    tasks: int = 16
    """Tasks to probe, in the environment's order; all, if it has fewer."""
    max_tokens: int = 512
    """The longest action."""
    temperature: float = 1.0
    """Of the sampling; probe at that of the training."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self) -> None:
        for name in ("tasks", "max_tokens"):
            within(name, getattr(self, name), 1)
        within("temperature", self.temperature, 1e-12)
        within("seed", self.seed, 0)


@dataclass(frozen=True, slots=True)
class Lift:
    """What one kind of hindsight does on one task, or on average over tasks.

    Attributes:
        shown: Share of attempts that there is such hindsight on.
        accuracy: Of the policy that reads it; None where there is none.
        lift: That less the accuracy of as many attempts, by the same draws, at the bare question.
        gap: Mean log-probability of teacher less student per token of the failed attempts, nats; None if not known.
        gap_size: Mean of its magnitude.
        profile: The gap in each of `PARTS` equal parts of the action.
    """

    shown: float
    accuracy: float | None = None
    lift: float | None = None
    gap: float | None = None
    gap_size: float | None = None
    profile: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskProbe:
    """What was found on one task.

    Attributes:
        task_id: The task.
        attempts: How many at the bare question were decided, besides those that the hindsight is on.
        accuracy: Share of them that passed.
        reveals_answer: Share of the feedback on failures that gives away the answer; None without any.
        lifts: By the name of the teacher's input.
    """

    task_id: str
    attempts: int
    accuracy: float
    reveals_answer: float | None
    lifts: Mapping[str, Lift]


def probe(
    sampler: Sampler,
    envs: Groups,
    settings: ProbeSettings,
    *,
    inputs: Mapping[str, Reprompt] = INPUTS,
    task_ids: Sequence[str] | None = None,
) -> list[TaskProbe]:
    """Probe a policy on tasks, as many at once as there are groups.

    Args:
        sampler: A policy, or a server.
        envs: Groups of attempts.
        settings: See there.
        inputs: What the teacher is shown, by name.
        task_ids: The tasks; None takes the first ones of the environment.

    Returns:
        What was found, a task each. A task of which every attempt at the bare question broke is left out.
    """
    chosen = list(task_ids or envs.task_ids[: settings.tasks])
    found = []
    for start in range(0, len(chosen), envs.num_groups):
        batch = chosen[start : start + envs.num_groups]
        padded = batch + [batch[-1]] * (envs.num_groups - len(batch))
        groups = _play(sampler, envs, padded, settings, (0, start))
        again = _play(sampler, envs, padded, settings, (1, start))
        lifts: list[dict[str, Lift]] = [{} for _ in groups]
        for name, reprompt in inputs.items():
            hint = _hints(sampler, groups, reprompt, settings)
            taught = _play(sampler, envs, padded, settings, (1, start), hint)
            for position, (lift, group, bare, after) in enumerate(zip(lifts, groups, again, taught, strict=True)):
                told = [
                    hint(slot, Conversation(attempt.turns[0].observation, attempt.turns[0].system))
                    for slot, attempt in enumerate(group.attempts, start=position * envs.group_size)
                ]
                lift[name] = _lift(sampler, group, told, bare, after, settings)
        whole = list(zip(groups, again, lifts, strict=True))[: len(batch)]
        found += [_found(*each) for each in whole if each[0].decided and each[1].decided]
    return found


def mean_with_interval(
    values: Sequence[float], *, level: float = 0.95, draws: int = 2000
) -> tuple[float, float, float]:
    """Return the mean over tasks, and its bootstrap interval; NaN for no values."""
    if not values:
        return (float("nan"),) * 3
    rng = np.random.default_rng(0)
    means = np.mean(np.asarray(values)[rng.integers(len(values), size=(draws, len(values)))], axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(np.mean(values)), float(low), float(high)


def _play(
    sampler: Sampler,
    envs: Groups,
    task_ids: Sequence[str],
    settings: ProbeSettings,
    number: tuple[int, int],
    hint: Hint | None = None,
) -> list[Group]:
    """Play a batch of tasks: `number` is that of the play, and of the batch's first task, and seeds follow from it."""

    def ask(slot: int, conversation: Conversation) -> Conversation:
        text = hint(slot, conversation) if hint else None
        return conversation if text is None else replace(conversation, observation=text)

    play, start = number
    seeds = np.random.SeedSequence([settings.seed, play]).generate_state(start + envs.num_groups)[start:].tolist()
    return collect(
        envs,
        sampler,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        seeds=seeds,
        task_ids=task_ids,
        ask=ask,
    )


def _hints(sampler: Sampler, groups: Sequence[Group], reprompt: Reprompt, settings: ProbeSettings) -> Hint:
    """Return what writes the hindsight on the attempt of a slot, if there is any and room for it."""
    attempts = [(group, attempt) for group in groups for attempt in group.attempts]

    def hint(slot: int, conversation: Conversation) -> str | None:
        group, attempt = attempts[slot]
        text = hindsight(group, attempt, conversation.observation, reprompt) if attempt.decided else None
        fits = text is not None and sampler.fits(replace(conversation, observation=text), settings.max_tokens)
        return text if fits else None

    return hint


def _lift(
    sampler: Sampler, group: Group, told: Sequence[str | None], again: Group, taught: Group, settings: ProbeSettings
) -> Lift:
    """Compare attempts with hindsight on those of a group with others without it."""
    shown = [each for each in zip(group.attempts, told, again.attempts, taught.attempts, strict=True) if each[1]]
    played = [(bare.passed, after.passed) for _, _, bare, after in shown if bare.decided and after.decided]
    lift = Lift(len(shown) / max(1, len(group.decided)))
    if played:
        bare, read = np.mean(played, axis=0).tolist()
        lift = replace(lift, accuracy=read, lift=read - bare)
    failed = [(before, text) for before, text, _, _ in shown if text and not before.passed]
    if not isinstance(sampler, Policy) or not failed:
        return lift
    gaps = [_gap(sampler, attempt, text, settings.temperature) for attempt, text in failed]
    gap_N = np.concatenate(gaps)
    part_N = np.concatenate([np.arange(len(gap)) * PARTS // max(1, len(gap)) for gap in gaps])
    profile = [float(gap_N[part_N == part].mean()) if (part_N == part).any() else math.nan for part in range(PARTS)]
    return replace(lift, gap=float(gap_N.mean()), gap_size=float(np.abs(gap_N).mean()), profile=tuple(profile))


@torch.no_grad()
def _gap(policy: Policy, attempt: Attempt, text: str, temperature: float) -> npt.NDArray[np.float64]:
    """Return the log-probability of teacher less student of each token of the first thread of an attempt."""
    turns = attempt.threads[0]
    ids_N = torch.tensor([token for turn in turns for token in turn.token_ids], device=policy.device)
    scripts = policy.chat.script(turns), policy.chat.script(turns, text)
    student_N, teacher_N = (peek(policy.scores([script], temperature), ids_N) for script in scripts)
    return teacher_gap(student_N, teacher_N).double().cpu().numpy()


def _found(group: Group, again: Group, lifts: Mapping[str, Lift]) -> TaskProbe:
    told = [attempt.feedback for attempt in group.decided if not attempt.passed and attempt.feedback]
    reveals = sum(feedback.reveals_answer for feedback in told) / len(told) if told else None
    accuracy = sum(attempt.passed for attempt in again.decided) / len(again.decided)
    return TaskProbe(group.task_id, len(again.decided), accuracy, reveals, lifts)
