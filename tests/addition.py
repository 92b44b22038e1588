"""A small family to test with: sums to add up, in one turn or by guessing in several.

Some actions stand for what goes wrong behind a judge: `BREAK_JUDGE`, `BREAK_WALL`, and `BUG` for a mistake in its code.
"""

import functools
import re
from collections.abc import Sequence
from typing import Any

import gymnasium

from sdpo_envs import (
    FeedbackEnv,
    Finding,
    GroupEnv,
    JudgedEnv,
    JudgeError,
    Outcome,
    SandboxError,
    Task,
    Verdict,
)
from sdpo_envs.env import Step

BREAK_JUDGE = "break the judge"
BREAK_WALL = "break the wall"
BUG = "find a bug"

TASKS = tuple(
    Task(f"add/{a}-{b}", f"What is {a} + {b}?", a + b, "You add up.", {"carry": a % 10 + b % 10 > 9})
    for a in (1023, 1157, 1288, 1399)
    for b in (2004, 2615, 2746, 2877)
)


def judge(task: Task, action: str) -> Verdict:
    """Compare a number with the sum."""
    if action == BREAK_JUDGE:
        raise JudgeError("the judge lost its glasses")
    if action == BREAK_WALL:
        raise SandboxError("the wall has a hole")
    if action == BUG:
        raise ZeroDivisionError("a bug in the judge")
    number = action.strip()
    if number == str(task.answer):
        return Verdict(Outcome.PASSED, 1.0)
    told, answer = {"You wrote": action}, {"The sum is": str(task.answer)}
    if not re.fullmatch(r"-?[0-9]{1,9}", number):
        return Verdict(Outcome.MALFORMED, 0.0, (Finding("This is not a number.", told, answer),))
    title = "This is too small." if int(number) < task.answer else "This is too large."
    return Verdict(Outcome.WRONG, 0.0, (Finding(title, told, answer),))


class Addition(JudgedEnv):
    """One sum, one action."""

    def __init__(self, *, tasks: Sequence[Task] = TASKS, **settings: Any) -> None:
        super().__init__(tasks, judge, **settings)

    def oracle(self, task: Task) -> str:
        return str(task.answer)

    def secrets(self, task: Task) -> Sequence[str]:
        return (str(task.answer),)


class Guessing(FeedbackEnv):
    """One sum, `guesses` actions; each wrong one is told whether it is too small."""

    def __init__(self, *, tasks: Sequence[Task] = TASKS, guesses: int = 3, **settings: Any) -> None:
        super().__init__(tasks, **settings)
        self.guesses = guesses
        self._made: list[str] = []

    def begin(self, task: Task) -> str:
        self._made = []
        return task.prompt

    def step(self, action: str) -> Step:
        verdict = judge(self.task, self.accept(action))
        self._made.append(action)
        if verdict.passed or len(self._made) == self.guesses:
            return self.conclude(verdict)
        return self.proceed(f"{verdict.findings[0].title} Guesses so far: {len(self._made)}.")

    def oracle(self, task: Task) -> str:
        return str(task.answer)

    def secrets(self, task: Task) -> Sequence[str]:
        return (str(task.answer),)


class WaitingAddition(Addition):
    """As `Addition`, stepped in threads by `GroupEnv`."""

    waits = True


AdditionGroup = functools.partial(GroupEnv, Addition)
GuessingGroup = functools.partial(GroupEnv, Guessing)

ADDITION = "tests/Addition-v0"
GUESSING = "tests/Guessing-v0"

gymnasium.register(ADDITION, entry_point="addition:Addition", vector_entry_point="addition:AdditionGroup")
gymnasium.register(GUESSING, entry_point="addition:Guessing", vector_entry_point="addition:GuessingGroup")


def answer(task_id: str) -> str:
    """Return the right action for a task of this family."""
    return next(str(task.answer) for task in TASKS if task.id == task_id)
