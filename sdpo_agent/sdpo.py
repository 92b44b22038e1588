"""SDPO: Self-Distillation Policy Optimization (arXiv 2601.20802).

The policy is its own teacher. Shown a successful peer, or the feedback on its own attempt, it predicts the tokens of
that attempt anew; the student, who saw neither, is pulled towards those predictions wherever the two differ. The reward
only says who is a success. The teacher is a slow average of the student (Table 4: without that it diverges).

Three settings mix in GRPO: `policy_share` (the paper's hybrid, equation 3), `route` (arXiv 2604.02288, its routing
alone) and `weigh` (arXiv 2605.27765).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from sdpo_agent.attempt import Attempt, Group, Sample, Turn
from sdpo_agent.grpo import PolicyGradient
from sdpo_agent.head import Hidden, Scores, gather, minimise, peek
from sdpo_agent.losses import (
    Aggregation,
    complete,
    divergence,
    importance_weight,
    sampled_token_loss,
    sequence_mean,
    teacher_gap,
)
from sdpo_agent.policy import Policy
from sdpo_agent.reprompt import Reprompt, hindsight
from sdpo_agent.teacher import Kind, Pace, Teacher
from sdpo_agent.tokens import Tally, Tokens, add, lay_out, tally_of
from sdpo_envs import SettingError
from sdpo_envs.errors import choose, within

Support = Literal["student-top-k", "teacher-top-k", "full", "sampled-token", "sequence"]
Route = Literal["all", "failures"]
Weigh = Literal["evenly", "by-success-rate"]


@dataclass(frozen=True, slots=True)
class SDPOSettings:
    """The defaults are those of SDPO's released configuration, `actor.yaml`.

    The paper's experiments differ from it and from one another; `sdpo_agent.presets` has them by name.
    """

    support: Support = "student-top-k"
    """Over what student and teacher are compared at each position: the student's likeliest tokens, the teacher's, the
    whole vocabulary, only the token that was sampled, or that token with its advantage averaged over the sequence."""
    top_k: int = 100
    """How many tokens a top k keeps."""
    tail: bool = True
    """Whether the mass outside the top k is one more category; else the kept tokens are renormalised."""
    alpha: float = 0.5
    """0: forward KL(teacher || student). 1: reverse KL(student || teacher). Between: generalised Jensen-Shannon. Read
    by the first three supports; the sampled token sees the reverse KL."""
    importance_clip: float | None = 2.0
    """Upper bound of the importance ratio that weighs each token; None does not weigh."""
    advantage_clip: float | None = None
    """Bound on the magnitude of each advantage, such as log(teacher / student); None for none."""
    teacher: Kind = "ema"
    """An average of the student, a blend of its logits with the initial ones, the initial policy, or the student."""
    teacher_rate: float = 0.05
    """Share of the student that goes into the average each time, or into the blend."""
    teacher_pace: Pace = "step"
    """When the average moves."""
    aggregate: Aggregation = "token-mean"
    """Whether each taught token or each taught attempt weighs the same. Attempts with nothing to teach do not count,
    except in "released": there they do, as in the released code, and dilute the mean."""
    policy_share: float = 0.0
    """Lambda of the hybrid: this much of GRPO's loss, the rest of it SDPO's."""
    route: Route = "all"
    """Whether every attempt is taught, or only failures, while the others are left to GRPO (whatever the share)."""
    weigh: Weigh = "evenly"
    """Whether every group weighs the same, or sqrt(p (1 - p)) by its success rate p."""
    gradient: PolicyGradient = field(default_factory=PolicyGradient)
    """Of GRPO's loss, where it has a share."""
    reprompt: Reprompt = field(default_factory=Reprompt)
    """What the teacher reads."""

    def __post_init__(self) -> None:
        for name, offered in (("support", Support), ("teacher", Kind), ("teacher_pace", Pace), ("weigh", Weigh)):
            choose(name, getattr(self, name), get_args(offered))
        choose("aggregate", self.aggregate, get_args(Aggregation))
        choose("route", self.route, get_args(Route))
        within("top_k", self.top_k, 1)
        for name in ("alpha", "teacher_rate", "policy_share"):
            within(name, getattr(self, name), 0, 1)
        for name in ("importance_clip", "advantage_clip"):
            within(name, 1 if getattr(self, name) is None else getattr(self, name), 1e-12)
        if self.route == "failures" and self.policy_share:
            raise SettingError("route='failures' decides by itself what is left to GRPO; policy_share must be 0.")


class SDPO:
    """Learns from feedback and peers."""

    def __init__(self, policy: Policy, settings: SDPOSettings | None = None) -> None:
        self.settings = settings or SDPOSettings()
        self.teacher = Teacher(policy, self.settings.teacher, self.settings.teacher_rate, self.settings.teacher_pace)
        self._student = policy

    def samples(self, group: Group) -> list[Sample]:
        """Give each thread of each attempt that was decided its hindsight, its advantage, and their weights."""
        weight = _weight(group, self.settings.weigh)
        return [
            self._sample(group, attempt, turns, advantages, weight)
            for attempt, turns, advantages in self.settings.gradient.threads(group)
        ]

    def loss(
        self, policy: Policy, samples: Sequence[Sample], shares: Sequence[float], temperature: float
    ) -> tuple[Tensor, Tally]:
        """Return what a micro-batch adds to the loss of its mini-batch, with a gradient, and what to log of it."""
        tokens = lay_out(samples, shares, policy.device)
        student = policy.scores([policy.chat.script(sample.turns) for sample in samples], temperature)
        taught = [sample for sample in samples if sample.is_taught]
        shown = [policy.chat.script(sample.turns[sample.forgotten :], sample.hindsight) for sample in taught]
        loss, told = torch.zeros((), device=policy.device), Tally()
        rewarded = self.settings.gradient.prepared(student, tokens) if tokens.policy_N.any() else tokens
        if shown:
            teacher, at = self.teacher.scores(policy, shown, temperature), tokens.taught_N
            loss, told = self._distill(student[at], teacher, tokens[at], rewarded[at])
        others = ~tokens.taught_N & (tokens.policy_N != 0)
        if others.any():
            more, also_told = self.settings.gradient.minimise(student[others], rewarded[others])
            loss = loss + more
            add(told, also_told)
        return loss, told

    def follow(self, policy: Policy, pace: Pace) -> None:
        """Move the teacher towards the student."""
        self.teacher.follow(policy, pace)

    def state(self) -> dict[str, Tensor]:
        """Return the teacher's weights, for a checkpoint."""
        return self.teacher.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up the teacher of a checkpoint."""
        self.teacher.restore(state)

    def _sample(
        self, group: Group, attempt: Attempt, turns: tuple[Turn, ...], advantages: tuple[float, ...], weight: float
    ) -> Sample:
        settings = self.settings
        text, forgotten = fitted_hindsight(self._student, group, attempt, turns, settings.reprompt)
        share = settings.policy_share
        if settings.route == "failures":
            share = 1.0 if attempt.passed or text is None else 0.0
        return Sample(
            turns,
            advantages=advantages,
            hindsight=text,
            forgotten=forgotten,
            policy_weight=share * weight,
            teacher_weight=(1 - share) * weight,
        )

    def _distill(self, student: Hidden, teacher: Scores, tokens: Tokens, rewarded: Tokens) -> tuple[Tensor, Tally]:
        """Return what the taught tokens add to the loss, with a gradient, and what to log.

        The tokens are the same twice: as they are taught, and as GRPO wants them, for its share.
        """
        settings, told = self.settings, Tally()
        advantages_N = None
        if settings.support == "sequence":
            gap_N = teacher_gap(peek(student, tokens.ids_N), peek(teacher, tokens.ids_N))
            advantages_N = sequence_mean(gap_N, tokens.sequence_N, int(tokens.sequence_N.max()) + 1)

        def objective(student_CV: Tensor, at: slice) -> Tensor:
            here = tokens[at]
            with torch.no_grad():
                teacher_CV = teacher.logits(at)
            student_CK, teacher_CK = _compared(student_CV, teacher_CV, here.ids_N, settings)
            del teacher_CV  # the backward pass is where memory is short
            gap_C = teacher_gap(student_CK[:, 0], teacher_CK[:, 0])
            add(told, tally_of("teacher_gap", gap_C))
            add(told, tally_of("teacher_gap_size", gap_C.abs()))
            student_CK, teacher_CK, student_C = student_CK[:, 1:], teacher_CK[:, 1:], student_CK[:, 0]
            if settings.support in ("sampled-token", "sequence"):
                advantages_C = gap_C if advantages_N is None else advantages_N[at]
                loss_C = sampled_token_loss(student_C, advantages_C, settings.advantage_clip)
            else:
                if settings.support != "full":
                    student_CK, teacher_CK = complete(student_CK, settings.tail), complete(teacher_CK, settings.tail)
                loss_C = divergence(student_CK, teacher_CK, settings.alpha, settings.advantage_clip)
            if settings.importance_clip is not None:
                loss_C = loss_C * importance_weight(student_C, here.old_logprobs_N, settings.importance_clip)
            loss = (loss_C * here.teacher_N).sum()
            if here.policy_N.any():
                policy_loss_C, more = settings.gradient.loss(student_C, rewarded[at])
                add(told, more)
                loss = loss + (policy_loss_C * here.policy_N).sum()
            return loss

        return minimise(student, objective), told


def fitted_hindsight(
    policy: Policy, group: Group, attempt: Attempt, turns: tuple[Turn, ...], reprompt: Reprompt
) -> tuple[str | None, int]:
    """Write the hindsight of a thread, and say how many turns to forget so that the teacher has room for it.

    History goes before hindsight does: first the oldest turns are forgotten, then peer and feedback are cut. The
    question never is, nor the last action, which the teacher scores.
    """
    forgotten = 0
    while (text := hindsight(group, attempt, turns[0].observation, reprompt)) is not None:
        if forgotten:
            text = f"{text}\n\n{turns[forgotten].observation}"
        script = policy.chat.script(turns[forgotten:], text)
        if len(script.token_ids) <= policy.max_positions:
            return text, forgotten
        if forgotten < len(turns) - 1:
            forgotten += 1
        elif reprompt.limit:
            reprompt = replace(reprompt, limit=reprompt.limit // 2)
        else:
            break
    return None, 0


def _compared(student_CV: Tensor, teacher_CV: Tensor, ids_C: Tensor, settings: SDPOSettings) -> tuple[Tensor, Tensor]:
    """Return log-probabilities of student and teacher: first of the sampled token, then of what is compared."""
    ids_CK = ids_C[:, None]
    if settings.support == "full":
        student_CV, teacher_CV = student_CV.log_softmax(-1), teacher_CV.log_softmax(-1)
        return (
            torch.cat([student_CV.gather(-1, ids_CK), student_CV], dim=-1),
            torch.cat([teacher_CV.gather(-1, ids_CK), teacher_CV], dim=-1),
        )
    if settings.support in ("student-top-k", "teacher-top-k"):
        chooser_CV = teacher_CV if settings.support == "teacher-top-k" else student_CV.detach()
        top_CK = chooser_CV.topk(min(settings.top_k, chooser_CV.shape[-1])).indices
        ids_CK = torch.cat([ids_CK, top_CK], dim=-1)
    return gather(student_CV, ids_CK), gather(teacher_CV, ids_CK)


def _weight(group: Group, weigh: Weigh) -> float:
    if weigh == "evenly" or not group.decided:
        return 1.0
    rate = sum(attempt.passed for attempt in group.decided) / len(group.decided)
    return math.sqrt(rate * (1 - rate))
