"""What the agent remembers: Turn, Conversation, Attempt, Group; and Sample, what it learns from. Data only."""

import math
from dataclasses import dataclass

from sdpo_envs import Feedback, Verdict
from sdpo_envs.html import Tried, attempt_html, card, group_html

Message = dict[str, str]
"""One turn of a chat: its ``"role"`` (system, user or assistant) and its ``"content"``."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One observation and the action that answered it.

    Attributes:
        observation: What the environment showed.
        action: The text that the environment received: `token_ids` decoded, without special tokens.
        token_ids: The sampled tokens, the end token included when it was reached. They, not `action`, are what is
            scored and trained on, since decoding loses what is not valid text. Empty where a server sampled.
        logprobs: One per token, nats: under the distribution that it was drawn from, so at the sampling temperature.
        cut_short: Whether the token limit came before an end token.
        system: The system prompt, ``""`` for none.
        valid: Whether the action had the form that was asked for, where the environment says so.
        state: What the world showed, without the prompt around it where the environment tells them apart.
        prompt_tokens: How many tokens were read before it, where a server sampled and told; else 0.
        action_tokens: How many were then written, thinking and end tokens included; else 0.
    """

    observation: str
    action: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    cut_short: bool = False
    system: str = ""
    valid: bool = True
    state: str = ""
    prompt_tokens: int = 0
    action_tokens: int = 0

    @property
    def tokens(self) -> int:
        """How many tokens were written, as far as that is known."""
        return len(self.token_ids) or self.action_tokens


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a policy reads before it writes: the turns so far, and what was said last.

    Attributes:
        observation: The last user turn, which asks for an action.
        system: The system prompt, ``""`` for none.
        turns: Earlier turns, the oldest first.
    """

    observation: str
    system: str = ""
    turns: tuple[Turn, ...] = ()

    def messages(self) -> list[Message]:
        """Return it as a chat."""
        opening = [{"role": "system", "content": self.system}] if self.system else []
        history = [
            message
            for turn in self.turns
            for message in (
                {"role": "user", "content": turn.observation},
                {"role": "assistant", "content": turn.action},
            )
        ]
        return [*opening, *history, {"role": "user", "content": self.observation}]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One episode.

    Attributes:
        task_id: The task that was attempted.
        turns: In order; a task of one action has one.
        reward: The sum over the episode; NaN if the machinery failed and nobody decided.
        verdict: What the judge found, None if it did not come to that.
        feedback: The verdict in words, and a peer; None if the machinery failed.
        error: What broke in the machinery, ``""`` if nothing did.
        one_conversation: Whether each turn was read after all the earlier ones; if not, each observation stood alone.
        skill: What is known about tasks of its type, for a teacher to read; ``""`` where nothing is.
    """

    task_id: str
    turns: tuple[Turn, ...]
    reward: float
    verdict: Verdict | None
    feedback: Feedback | None
    error: str = ""
    one_conversation: bool = False
    skill: str = ""

    @property
    def decided(self) -> bool:
        """Whether somebody decided about it: the machinery did not break."""
        return not math.isnan(self.reward)

    @property
    def passed(self) -> bool:
        """Whether it is a success."""
        return self.verdict is not None and self.verdict.passed

    @property
    def text(self) -> str:
        """What the policy wrote, an action a line: what a peer is handed."""
        return "\n".join(turn.action for turn in self.turns)

    @property
    def transcript(self) -> str:
        """What the world showed before each action, and the action: what happened in an attempt of several turns."""
        return "\n".join(f"{turn.state or turn.observation}\n> {turn.action}" for turn in self.turns)

    @property
    def threads(self) -> tuple[tuple[Turn, ...], ...]:
        """The turns that are read and scored together: all of one conversation, or each on its own."""
        return (self.turns,) if self.one_conversation else tuple((turn,) for turn in self.turns)

    @property
    def tried(self) -> Tried:
        """What there is to show of it."""
        actions = [turn.action for turn in self.turns]
        return Tried(actions, self.reward, self.verdict, self.feedback, self.error)

    def _repr_html_(self) -> str:
        return attempt_html(self.task_id, self.tried)


@dataclass(frozen=True, slots=True)
class Group:
    """Attempts at one task, made side by side by one policy: what an advantage and a peer are relative to."""

    task_id: str
    attempts: tuple[Attempt, ...]

    @property
    def decided(self) -> tuple[Attempt, ...]:
        """The attempts that somebody decided about."""
        return tuple(attempt for attempt in self.attempts if attempt.decided)

    def _repr_html_(self) -> str:
        asked = next((turn.observation for attempt in self.attempts for turn in attempt.turns), "")
        return card(group_html(self.task_id, [attempt.tried for attempt in self.attempts], asked))


@dataclass(frozen=True, slots=True)
class Sample:
    """Turns that are read together, and what is to be learned from what was written in them.

    Attributes:
        turns: One turn, or all turns of one conversation.
        advantages: Of each turn: how much better than its group the attempt did, in rewards; empty for 0.
        hindsight: What the self-teacher reads in place of the first observation, None if there is nothing to teach.
        forgotten: How many of the oldest turns the self-teacher has no room for; they are not taught.
        policy_weight: Of the loss on the advantage; 0 leaves it out.
        teacher_weight: Of the loss towards the self-teacher; 0 leaves it out.
        reference_weight: Of the divergence from the reference policy; 0 leaves it out.
        old_logprobs: Of each written token under the policy before this step, where the trainer computed them anew;
            None takes the sampler's word.
        token_weights: What the loss of each written token is multiplied by; None for 1.
    """

    turns: tuple[Turn, ...]
    advantages: tuple[float, ...] = ()
    hindsight: str | None = None
    forgotten: int = 0
    policy_weight: float = 0.0
    teacher_weight: float = 0.0
    reference_weight: float = 0.0
    old_logprobs: tuple[float, ...] | None = None
    token_weights: tuple[float, ...] | None = None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The tokens that were written, of all turns."""
        return tuple(token for turn in self.turns for token in turn.token_ids)

    @property
    def tokens(self) -> int:
        """How many tokens were written."""
        return sum(len(turn.token_ids) for turn in self.turns)

    @property
    def learned_tokens(self) -> int:
        """How many tokens its loss is a mean over: not those that only a self-teacher would score, and forgot."""
        turns = self.turns if self.policy_weight or self.reference_weight else self.turns[self.forgotten :]
        return sum(len(turn.token_ids) for turn in turns)

    @property
    def is_taught(self) -> bool:
        """Whether the self-teacher has something to say."""
        return self.hindsight is not None and self.teacher_weight != 0

    @property
    def counts(self) -> bool:
        """Whether it belongs to the mean that a loss is."""
        return self.is_taught or self.policy_weight != 0 or self.reference_weight != 0

    @property
    def teaches(self) -> bool:
        """Whether its loss can have a gradient; if not, nothing needs to be computed."""
        rewarded = self.policy_weight != 0 and any(self.advantages)
        return (rewarded or self.is_taught or self.reference_weight != 0) and self.tokens > 0
