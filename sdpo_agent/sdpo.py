"""SDPO: Self-Distillation Policy Optimization (arXiv 2601.20802).

The policy is its own teacher. Shown a successful peer, or the feedback on its own attempt, it predicts the tokens of
that attempt anew; the student, who saw neither, is pulled towards those predictions wherever the two differ. The reward
only says who is a success. The teacher is a slow average of the student (Table 4: without that it diverges).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from sdpo_agent.attempt import Attempt, Group, Sample, Turn, messages
from sdpo_agent.losses import (
    Aggregation,
    aggregate,
    divergence,
    importance_weight,
    inside,
    keep_top,
    sampled_token_loss,
)
from sdpo_agent.policy import Policy, pad, token_logprobs
from sdpo_agent.reprompt import Reprompt, hindsight
from sdpo_agent.rollout import decided
from sdpo_envs.errors import choose, within

Support = Literal["top-k", "full", "sampled-token"]


@dataclass(frozen=True, slots=True)
class SDPOSettings:
    """The defaults are those of SDPO's released configuration, `actor.yaml`.

    The paper's experiments differ from it and from one another; docs/algorithms.md has their settings.
    """

    support: Support = "top-k"
    """Over what student and teacher are compared at each position: the student's likeliest tokens, the whole
    vocabulary, or only the token that was sampled."""
    top_k: int = 100
    """How many tokens ``"top-k"`` keeps."""
    tail: bool = True
    """Whether the mass outside the top k is one more category; else the kept tokens are renormalised."""
    alpha: float = 0.5
    """0: forward KL(teacher || student). 1: reverse KL(student || teacher). Between: generalised Jensen-Shannon."""
    importance_clip: float = 2.0
    """Upper bound of the importance ratio that weighs each token."""
    teacher_rate: float = 0.05
    """Share of the student that goes into the teacher after each training step; 0 freezes the initial policy."""
    aggregate: Aggregation = "token-mean"
    """Whether each taught token or each taught attempt weighs the same. Attempts with nothing to teach do not count,
    unlike in the released code, where they dilute the mean."""
    reprompt: Reprompt = field(default_factory=Reprompt)
    """What the teacher reads."""

    def __post_init__(self) -> None:
        choose("support", self.support, get_args(Support))
        choose("aggregate", self.aggregate, get_args(Aggregation))
        within("top_k", self.top_k, 1)
        within("alpha", self.alpha, 0, 1)
        within("importance_clip", self.importance_clip, 0)
        within("teacher_rate", self.teacher_rate, 0, 1)


class SDPO:
    """Learns from feedback and peers.

    Attributes:
        teacher: A copy of the policy in float32, whatever its own precision: bfloat16 would swallow the average.
    """

    def __init__(self, policy: Policy, settings: SDPOSettings | None = None) -> None:
        self.settings = settings or SDPOSettings()
        self.teacher = policy.copy()
        self.teacher.model.float().requires_grad_(False)

    def samples(self, groups: Sequence[Group]) -> list[Sample]:
        """Give each turn its hindsight; leave out those with none."""
        told = [
            Sample(turn, hindsight=self._hindsight(attempt, turn))
            for group in groups
            for attempt in decided(group)
            for turn in attempt.turns
        ]
        return [sample for sample in told if sample.hindsight is not None]

    def _hindsight(self, attempt: Attempt, turn: Turn) -> str | None:
        """Write the hindsight of a turn, with as much of peer and feedback as the teacher has room for."""
        reprompt = self.settings.reprompt
        while (text := hindsight(attempt, turn, reprompt)) is not None:
            prompt = self.teacher.prompt_ids(messages(turn.system, text))
            if len(prompt) + len(turn.token_ids) <= self.teacher.max_positions:
                break
            reprompt = replace(reprompt, limit=reprompt.limit // 2)
        return text

    def loss(self, policy: Policy, samples: Sequence[Sample], temperature: float) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of one micro-batch, a scalar with a gradient, and what to log of it."""
        actions = [sample.turn.token_ids for sample in samples]
        asked = [messages(sample.turn.system, sample.turn.observation) for sample in samples]
        taught = [messages(sample.turn.system, sample.hindsight or "") for sample in samples]
        student_BTV, mask_BT = policy.action_logits(list(map(policy.prompt_ids, asked)), actions, temperature)
        with torch.no_grad():
            teacher_BTV, _ = self.teacher.action_logits(list(map(policy.prompt_ids, taught)), actions, temperature)
        student_BT, teacher_BT = token_logprobs(student_BTV, actions), token_logprobs(teacher_BTV, actions)
        old = [sample.turn.logprobs for sample in samples]
        old_BT, _ = pad(old, dtype=torch.float32, device=policy.device)
        if self.settings.support == "sampled-token":
            loss_BT = sampled_token_loss(student_BT, teacher_BT)
        else:
            if self.settings.support == "full":
                kept = student_BTV.log_softmax(-1), teacher_BTV.log_softmax(-1)
            else:
                kept = keep_top(student_BTV, teacher_BTV, self.settings.top_k, self.settings.tail)
            loss_BT = divergence(*kept, self.settings.alpha)
        loss_BT = loss_BT * importance_weight(student_BT, old_BT, self.settings.importance_clip)
        gap = inside((teacher_BT - student_BT).detach(), mask_BT).sum() / mask_BT.sum()
        return aggregate(loss_BT, mask_BT, self.settings.aggregate), {"teacher_gap": float(gap)}

    @torch.no_grad()
    def after_step(self, policy: Policy) -> None:
        """Move the teacher towards the student: teacher = (1 - rate) teacher + rate student."""
        for mine, theirs in zip(self.teacher.parameters(), policy.parameters(), strict=True):
            mine.lerp_(theirs.to(mine), self.settings.teacher_rate)

    def state(self) -> dict[str, Tensor]:
        """Return the teacher's weights, for a checkpoint."""
        return dict(self.teacher.model.state_dict())

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up the teacher of a checkpoint."""
        self.teacher.model.load_state_dict(state)
