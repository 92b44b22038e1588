"""What the agent remembers of an episode: Turn, Attempt, Group. Data only."""

from dataclasses import dataclass

from sdpo_envs import Feedback, Verdict


@dataclass(frozen=True, slots=True)
class Turn:
    """One observation and the action that answered it.

    Attributes:
        observation: What the environment showed.
        action: The text that the environment received: `token_ids` decoded, without special tokens.
        token_ids: The sampled tokens, the end token included when it was reached. They, not `action`, are what is
            scored and trained on, since decoding loses what is not valid text.
        logprobs: One per token, nats: under the distribution that it was drawn from, so at the sampling temperature.
        cut_short: Whether the token limit came before an end token.
        system: The system prompt, ``""`` for none.
    """

    observation: str
    action: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    cut_short: bool = False
    system: str = ""


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
    """

    task_id: str
    turns: tuple[Turn, ...]
    reward: float
    verdict: Verdict | None
    feedback: Feedback | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Attempts at one task, made side by side by one policy: what an advantage and a peer are relative to."""

    task_id: str
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One turn, and what is to be learned from it.

    Attributes:
        turn: What was read and written.
        advantage: How much better than its group the attempt did, in rewards.
        hindsight: What the self-teacher reads in place of the observation, None if there is nothing to teach.
    """

    turn: Turn
    advantage: float = 0.0
    hindsight: str | None = None


def messages(system: str, content: str) -> list[dict[str, str]]:
    """Return the chat that asks for an action: the system prompt, if there is one, and one user turn."""
    opening = [{"role": "system", "content": system}] if system else []
    return [*opening, {"role": "user", "content": content}]
