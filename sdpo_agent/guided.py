"""Rewards, beside a teacher that reads more than the student: what SDAR and its kin have in common.

All have GRPO's loss over the turns of an episode. Beside it, the student's own weights read the same turns with a
privileged text in front: what is known about such tasks, feedback, or how a peer succeeded. It stands inside the first
user turn, and is never what gets cut. What the methods make of the teacher's word on each token that the student wrote
is all that they differ in: a file each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import torch
from torch import Tensor

from sdpo_agent.attempt import Group, Sample
from sdpo_agent.grpo import PolicyGradient
from sdpo_agent.head import Scores, minimise, peek, pick
from sdpo_agent.losses import Aggregation, entropy, k3, teacher_gap
from sdpo_agent.policy import Policy
from sdpo_agent.reprompt import Reprompt
from sdpo_agent.sdpo import fitted_hindsight
from sdpo_agent.teacher import Kind, Pace, Teacher
from sdpo_agent.tokens import Tally, Tokens, add, lay_out, tally_of
from sdpo_envs.errors import choose, within


@dataclass(frozen=True, slots=True)
class GuidedSettings:
    """What all of them are set by. The defaults are those of SDAR's scripts (arXiv 2605.15155) on ALFWorld."""

    gradient: PolicyGradient = field(default_factory=PolicyGradient)
    """Of GRPO's loss."""
    policy_weight: float = 1.0
    """Weight of GRPO's loss; 0 leaves the teacher alone to teach."""
    coefficient: float = 0.01
    """Weight of what is made of the teacher's word; at 0 the teacher is not asked."""
    kl: float = 0.01
    """Weight of the divergence from the initial policy, estimated by k3."""
    entropy: float = 0.001
    """Weight of the entropy, which is raised; with ``kl=0`` only where there is something else to learn."""
    teacher: Kind = "live"
    """The student as it is, as published; or another that follows it, or does not."""
    teacher_rate: float = 0.05
    """Of an average or a blend."""
    aggregate: Aggregation = "token-mean"
    """Whether each token or each thread weighs the same."""
    reprompt: Reprompt = field(default_factory=lambda: Reprompt(peer="none", feedback="never", skill=True))
    """What the teacher reads."""

    def __post_init__(self) -> None:
        choose("teacher", self.teacher, get_args(Kind))
        choose("aggregate", self.aggregate, get_args(Aggregation))
        within("teacher_rate", self.teacher_rate, 0, 1)
        for name in ("policy_weight", "coefficient", "kl", "entropy"):
            within(name, getattr(self, name), 0)


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of C tokens that the student wrote.

    Attributes:
        tokens: The tokens.
        student_C: Log-probabilities under the student, nats. Carries the gradient.
        teacher_C: Under the teacher; the student's, detached, where the teacher has nothing to read.
    """

    tokens: Tokens
    student_C: Tensor
    teacher_C: Tensor

    @property
    def gap_C(self) -> Tensor:
        """The gap log T - log S, detached."""
        return teacher_gap(self.student_C, self.teacher_C)


class Guided:
    """GRPO with a teacher beside it. A method defines `token_loss`, or `advantages`, or both.

    Args:
        policy: The student; the teacher and the reference are made of it.
        settings: See there.
    """

    def __init__(self, policy: Policy, settings: GuidedSettings) -> None:
        self.settings = settings
        self.teacher = Teacher(policy, settings.teacher, settings.teacher_rate)
        self.reference = Teacher(policy, "frozen") if settings.kl else None
        self._student = policy

    def token_loss(self, said: Said) -> tuple[Tensor, Tally]:
        """Return loss_C of what is made of the teacher's word, nothing unless a method says what, and what to log."""
        return torch.zeros_like(said.student_C), {}

    def advantages(self, said: Said) -> Tensor:
        """Return the advantages_C that GRPO's loss is to see: those of the turns, unless a method has others."""
        return said.tokens.advantages_N

    def samples(self, group: Group) -> list[Sample]:
        """Give each thread its advantages and, where there is one, its privileged prompt."""
        settings, found = self.settings, []
        for attempt, turns, advantages in settings.gradient.threads(group):
            text, forgotten = fitted_hindsight(self._student, group, attempt, turns, settings.reprompt)
            found.append(
                Sample(
                    turns,
                    advantages=advantages,
                    hindsight=text,
                    forgotten=forgotten,
                    policy_weight=settings.policy_weight,
                    teacher_weight=settings.coefficient,
                    reference_weight=settings.kl,
                )
            )
        return found

    def loss(
        self, policy: Policy, samples: Sequence[Sample], shares: Sequence[float], temperature: float
    ) -> tuple[Tensor, Tally]:
        """Return what a micro-batch adds to the loss of its mini-batch, with a gradient, and what to log of it."""
        settings, told = self.settings, Tally()
        tokens = lay_out(samples, shares, policy.device)
        scripts = [policy.chat.script(sample.turns) for sample in samples]
        student = policy.scores(scripts, temperature)
        reference = None if self.reference is None else self.reference.scores(policy, scripts, temperature)
        prepared = settings.gradient.prepared(student, tokens)
        teacher_N = self._teacher_logprobs(policy, samples, tokens, temperature)

        def objective(logits_CV: Tensor, at: slice) -> Tensor:
            here = tokens[at]
            student_C = pick(logits_CV, here.ids_N)
            said = Said(here, student_C, torch.where(here.taught_N, teacher_N[at], student_C.detach()))
            rewarded = replace(prepared[at], advantages_N=self.advantages(said))
            policy_loss_C, more = settings.gradient.loss(student_C, rewarded)
            add(told, more)
            loss = (policy_loss_C * rewarded.policy_N).sum()
            add(told, tally_of("hindsight_share", here.taught_N))
            if here.taught_N.any():
                loss = loss + self._taught(said, told)
            return loss + self._kept_near(logits_CV, student_C, here, at, reference, told)

        return minimise(student, objective), told

    def follow(self, policy: Policy, pace: Pace) -> None:
        """Move the teacher towards the student, if it follows."""
        self.teacher.follow(policy, pace)

    def state(self) -> dict[str, Tensor]:
        """Return the weights of teacher and reference, for a checkpoint."""
        reference = {} if self.reference is None else self.reference.state()
        return {f"teacher.{name}": each for name, each in self.teacher.state().items()} | {
            f"reference.{name}": each for name, each in reference.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up the teacher and the reference of a checkpoint."""
        self.teacher.restore(_under("teacher.", state))
        if self.reference is not None:
            self.reference.restore(_under("reference.", state))

    def _teacher_logprobs(
        self, policy: Policy, samples: Sequence[Sample], tokens: Tokens, temperature: float
    ) -> Tensor:
        """Return logprobs_N under the teacher, 0 where it has nothing to read."""
        taught = [sample for sample in samples if sample.is_taught]
        if not taught:
            return torch.zeros_like(tokens.share_N)
        shown = [policy.chat.script(sample.turns[sample.forgotten :], sample.hindsight) for sample in taught]
        known = peek(self.teacher.scores(policy, shown, temperature), tokens.ids_N[tokens.taught_N])
        return known.new_zeros(len(tokens)).masked_scatter(tokens.taught_N, known)

    def _taught(self, said: Said, told: Tally) -> Tensor:
        """Return what the teacher's word adds to the loss, and tell how far it is from the student's."""
        at = said.tokens.taught_N
        gap = said.gap_C[at]
        add(told, {**tally_of("teacher_gap", gap), **tally_of("teacher_gap_size", gap.abs())})
        token_loss_C, more = self.token_loss(said)
        add(told, more)
        return (token_loss_C * said.tokens.teacher_N)[at].sum()

    def _kept_near(
        self, logits_CV: Tensor, student_C: Tensor, tokens: Tokens, at: slice, reference: Scores | None, told: Tally
    ) -> Tensor:
        """Return what the divergence from the reference adds to the loss, less the entropy."""
        loss = torch.zeros((), dtype=student_C.dtype, device=student_C.device)
        if reference is not None:
            with torch.no_grad():
                reference_C = pick(reference.logits(at), tokens.ids_N)
            distance_C = k3(student_C, reference_C)
            add(told, tally_of("reference_kl", distance_C))
            loss = loss + (distance_C * tokens.reference_N).sum()
        if self.settings.entropy:
            entropy_C = entropy(logits_CV)
            add(told, tally_of("entropy", entropy_C))
            loss = loss - self.settings.entropy * (entropy_C * tokens.share_N).sum()
        return loss


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): each for name, each in state.items() if name.startswith(prefix)}
