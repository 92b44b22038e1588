"""What the self-teacher reads: the question again, with hindsight. Strings only.

The templates are those that SDPO's released configuration runs with (arXiv 2601.20802; its Python defaults add line
breaks). The failed attempt itself is not shown, only scored: shown, it anchors the teacher (Table 6).
"""

import re
from dataclasses import dataclass
from typing import Literal

from sdpo_agent.attempt import Attempt, Turn
from sdpo_envs import Outcome
from sdpo_envs.errors import choose, within

SOLUTION = "\nCorrect solution:\n\n"
FEEDBACK = "\nThe following is feedback from your unsuccessful earlier attempt:\n\n"
INSTRUCTION = "\n\nCorrectly solve the original question."
CUT_SHORT = (
    "Truncated Attempt: Your previous response was too long and truncated because it reached the maximum response "
    "length. Try again with a shorter response."
)
_THINKING = re.compile(r"<think>.*?</think>\s*", re.DOTALL)
_CUT = " [...]"


@dataclass(frozen=True, slots=True)
class Reprompt:
    """What goes into the self-teacher's prompt. The defaults are SDPO's.

    Attributes:
        peer: Whether to show a successful peer's action.
        feedback: When to show the attempt's own feedback: ``"without-peer"`` only if there is no peer to show,
            ``"always"``, or ``"never"``.
        thinking: Whether to keep ``<think>`` ... ``</think>`` in a peer's action.
        limit: Most characters of peer and feedback together; fewer where the teacher has no room for so many. The peer
            is cut first, then the feedback; the question never is, and neither is the action that the teacher scores.
    """

    peer: bool = True
    feedback: Literal["without-peer", "always", "never"] = "without-peer"
    thinking: bool = False
    limit: int = 30_000

    def __post_init__(self) -> None:
        choose("feedback", self.feedback, ("without-peer", "always", "never"))
        within("limit", self.limit, 0)


def hindsight(attempt: Attempt, turn: Turn, reprompt: Reprompt) -> str | None:
    """Write the self-teacher's message in place of what `turn` observed, or None: there is nothing to learn here.

    An attempt whose feedback is empty and who has no peer teaches nothing; a lone success is one.
    """
    peer = _peer(attempt, reprompt)
    feedback = _feedback(attempt) if reprompt.feedback == "always" or not peer else ""
    if reprompt.feedback == "never":
        feedback = ""
    peer = _cut(peer, reprompt.limit - len(feedback))
    feedback = _cut(feedback, reprompt.limit)
    if not peer and not feedback:
        return None
    solution = f"{SOLUTION}{peer}" if peer else ""
    told = f"{FEEDBACK}{feedback}" if feedback else ""
    return f"{turn.observation}{solution}{told}{INSTRUCTION}"


def _peer(attempt: Attempt, reprompt: Reprompt) -> str:
    if not reprompt.peer or attempt.feedback is None or attempt.feedback.peer is None:
        return ""
    peer = attempt.feedback.peer
    return (peer if reprompt.thinking else _THINKING.sub("", peer)).strip()


def _feedback(attempt: Attempt) -> str:
    """The environment cannot know that an answer has no form because the sampler stopped; the agent does."""
    malformed = attempt.verdict is not None and attempt.verdict.outcome is Outcome.MALFORMED
    if malformed and attempt.turns[-1].cut_short:
        return CUT_SHORT
    return str(attempt.feedback or "").strip()


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return text[: limit - len(_CUT)] + _CUT if limit > len(_CUT) else ""
