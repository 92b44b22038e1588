"""What the self-teacher reads: the question again, with hindsight. Strings only.

The templates are those that SDPO's released configuration runs with (arXiv 2601.20802; its Python defaults add line
breaks). The failed attempt itself is not shown, only scored: shown, it anchors the teacher (Table 6).
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from sdpo_agent.attempt import Attempt, Group
from sdpo_envs import Outcome
from sdpo_envs.errors import choose, within

Peer = Literal["random", "first", "shortest", "none"]
When = Literal["without-peer", "always", "never"]

SKILL = "\nWhat is known about such tasks:\n\n"
SOLUTION = "\nCorrect solution:\n\n"
ATTEMPT = "\nThe following is your unsuccessful earlier attempt:\n\n"
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
    """What goes into the self-teacher's prompt. The defaults are SDPO's."""

    peer: Peer = "random"
    """Which successful peer's action to show, never one's own: one that the environment drew, the first of the group,
    the shortest (which teaches brevity, and in the end nothing else), or none."""
    feedback: When = "without-peer"
    """When to show the attempt's own feedback: only where there is no peer to show, always, or never."""
    attempt: bool = False
    """Whether to show the failed attempt too, wherever its feedback is shown."""
    thinking: bool = False
    """Whether to keep ``<think>`` ... ``</think>`` in what a peer wrote."""
    transcript: bool = False
    """Whether a peer of several turns is shown with what it saw before each."""
    skill: bool = False
    """Whether to show what is known about tasks of this type, where the environment says."""
    limit: int = 30_000
    """Most characters of these together; fewer where the teacher has no room for so many. The attempt is cut first,
    then the peer, then the feedback; the question and the skill never are, nor the action that the teacher scores."""

    def __post_init__(self) -> None:
        choose("peer", self.peer, get_args(Peer))
        choose("feedback", self.feedback, get_args(When))
        within("limit", self.limit, 0)


def hindsight(group: Group, attempt: Attempt, question: str, reprompt: Reprompt) -> str | None:
    """Write the self-teacher's message in place of `question`, or None: there is nothing to learn here.

    An attempt whose feedback is empty and who has no peer teaches nothing, but for a skill; a lone success is one.
    Feedback is that of a failure: a success is shown a peer, or nothing.
    """
    peer = peer_of(group, attempt, reprompt)
    wanted = reprompt.feedback == "always" or (reprompt.feedback == "without-peer" and not peer)
    feedback = _feedback(attempt) if wanted else ""
    feedback = _cut(feedback, reprompt.limit)
    own = attempt.text.strip() if reprompt.attempt and feedback else ""
    peer = _cut(peer, reprompt.limit - len(feedback))
    own = _cut(own, reprompt.limit - len(feedback) - len(peer))
    skill = attempt.skill.strip() if reprompt.skill else ""
    if not peer and not feedback and not skill:
        return None
    parts = ((SKILL, skill), (SOLUTION, peer), (ATTEMPT, own), (FEEDBACK, feedback))
    told = "".join(f"{heading}{text}" for heading, text in parts if text)
    return f"{question}{told}{INSTRUCTION}"


def peer_of(group: Group, attempt: Attempt, reprompt: Reprompt) -> str:
    """Choose what a successful peer of `attempt` wrote, ``""`` if there is none."""
    if reprompt.peer == "none":
        return ""
    others = [other for other in group.attempts if other.passed and other.text != attempt.text]
    if reprompt.peer == "random":
        drawn = "" if attempt.feedback is None else attempt.feedback.peer or ""
        others = [other for other in others if other.text == drawn][:1]
        texts = [other.transcript for other in others] if reprompt.transcript else [drawn]
    else:
        texts = [other.transcript if reprompt.transcript else other.text for other in others]
    told = [(text if reprompt.thinking else _THINKING.sub("", text)).strip() for text in texts]
    told = [peer for peer in told if peer]
    if not told:
        return ""
    return min(told, key=len) if reprompt.peer == "shortest" else told[0]


def _feedback(attempt: Attempt) -> str:
    """The environment cannot know that an answer has no form because the sampler stopped; the agent does."""
    if attempt.passed:
        return ""
    malformed = attempt.verdict is not None and attempt.verdict.outcome is Outcome.MALFORMED
    if malformed and attempt.turns[-1].cut_short:
        return CUT_SHORT
    return str(attempt.feedback or "").strip()


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return text[: limit - len(_CUT)] + _CUT if limit > len(_CUT) else ""
