"""What a step tells, in plain JSON and in the words of the record: for a trace or an observation of somebody else's."""

from collections.abc import Mapping
from typing import Any

from sdpo_envs.core import Feedback, Verdict


def told(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the info of a step says about the attempt.

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
