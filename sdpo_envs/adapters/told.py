"""What an environment tells, in the plain data of somebody else: a chat, a trace, an observation."""

from collections.abc import Mapping
from typing import Any

from sdpo_envs.core import Feedback, Verdict

UNDECIDED: Mapping[str, Any] = {"verdict": None, "feedback": Feedback()}
"""What the info of a step says while, or because, nobody has decided."""


def chat(system: str, user: str) -> list[dict[str, str]]:
    """Return a chat that opens with `system`, if there is one, and asks `user`."""
    opening = [{"role": "system", "content": system}] if system else []
    return [*opening, {"role": "user", "content": user}]


def told(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the info of a step says about the attempt, in plain JSON and in the words of the record.

    Returns:
        ``outcome``, the `Outcome`'s value, or None while there is no verdict; ``feedback``, text; ``reveals_answer``,
        whether that gives away what was right; and ``findings``, a list of ``{"title", "details", "answer"}``, in which
        ``answer`` is empty unless the environment reveals.
    """
    verdict: Verdict | None = info["verdict"]
    feedback: Feedback = info["feedback"]
    findings = () if verdict is None else verdict.findings
    return {
        "outcome": None if verdict is None else verdict.outcome.value,
        "feedback": feedback.text,
        "reveals_answer": feedback.reveals_answer,
        "findings": [
            {"title": each.title, "details": dict(each.details), "answer": dict(each.answer)} for each in findings
        ],
    }
