"""The nouns: Task, Outcome, Finding, Verdict, Feedback, Judge. Data only, standard library only.

A `Task` is put to a policy; the policy answers with an action, which is text; a `Judge` returns a `Verdict`, which is
facts; `sdpo_envs.feedback.explain` puts the facts into words, which are `Feedback`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn


class Outcome(Enum):
    """How an attempt ended. Exactly one of these holds, and only `PASSED` is a success."""

    PASSED = "passed"
    WRONG = "wrong"
    """It was understood and judged, and it is not right."""
    MALFORMED = "malformed"
    """It does not have the form that the task asks for, so there was nothing to judge."""
    INVALID = "invalid"
    """It has the form, but breaks the rules of what it is written in: a program that does not compile, a call of an
    unknown tool."""
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    TOO_MUCH_OUTPUT = "too_much_output"
    NOT_RUN = "not_run"
    """One part of an attempt, given up because an earlier part used up what the attempt was allowed."""

    def __bool__(self) -> NoReturn:
        raise TypeError("An Outcome is neither true nor false; compare it: outcome is Outcome.PASSED")


@dataclass(frozen=True, slots=True)
class Task:
    """One problem.

    Attributes:
        id: Unique within its family and stable across releases of this package.
        prompt: What the policy reads: the first observation.
        answer: What the judge needs and nobody else may see: a letter, a gold call, hidden tests. Out of `repr`.
        system: The system prompt, ``""`` for none.
        meta: Public facts to filter or analyse by, such as ``{"difficulty": "easy"}``.
    """

    id: str
    prompt: str
    answer: Any = field(repr=False)
    system: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about an attempt.

    Attributes:
        title: The fact in one line.
        details: Label to text: what the policy did, and anything else it may know.
        answer: Label to text: what the fact gives away. Left out of feedback unless it was asked to reveal.

    Raises:
        TypeError: one of these texts is not a str.
    """

    title: str
    details: Mapping[str, str] = field(default_factory=dict)
    answer: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for text in (self.title, *self.details.values(), *self.answer.values()):
            if not isinstance(text, str):
                raise TypeError(f"A finding is told in str, not {type(text).__name__} ({text!r}); pass str(...) of it.")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge found.

    Attributes:
        outcome: How the attempt ended.
        reward: Finite; 1.0 for a success, and by custom in [0, 1].
        findings: The facts, the most useful first.

    Raises:
        TypeError: `outcome` is not an Outcome.
        ValueError: `reward` is not finite. A judge that cannot decide raises `JudgeError` instead.
    """

    outcome: Outcome
    reward: float
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.outcome, Outcome):
            raise TypeError(f"A verdict's outcome must be an Outcome, such as Outcome.WRONG, not {self.outcome!r}.")
        if not math.isfinite(self.reward):
            raise ValueError(f"A verdict's reward must be finite, not {self.reward}; raise JudgeError if undecided.")
        object.__setattr__(self, "reward", float(self.reward))
        object.__setattr__(self, "findings", tuple(self.findings))

    @property
    def passed(self) -> bool:
        """Whether the attempt is a success."""
        return self.outcome is Outcome.PASSED

    def __bool__(self) -> NoReturn:
        raise TypeError("A Verdict is neither true nor false; ask verdict.passed or read verdict.reward")

    def _repr_html_(self) -> str:
        from sdpo_envs.html import verdict_html  # only a notebook asks

        return verdict_html(self)


@dataclass(frozen=True, slots=True)
class Feedback:
    """A verdict in words. ``str(feedback)`` is the text, and feedback without text is falsy.

    Attributes:
        text: What the policy, or its self-teacher, may read.
        reveals_answer: Whether `text` gives away what was right: the main confound when methods are compared.
        peer: The action of another attempt of the same group that succeeded, if there is one.
    """

    text: str = ""
    reveals_answer: bool = False
    peer: str | None = None

    def __str__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        return bool(self.text)

    def _repr_html_(self) -> str:
        from sdpo_envs.html import feedback_html

        return feedback_html(self)


Judge = Callable[[Task, str], Verdict]
"""Decides about one action. Raises `JudgeError` or `SandboxError` when it cannot."""
