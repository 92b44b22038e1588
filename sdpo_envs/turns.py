"""Episodes of many turns: how an action is read, what each turn shows, and when an episode has run out of turns.

Agents differ in what they read. With ``prompt="complete"`` each observation stands for itself: the task, the last few
turns, what is seen now and what may be done, as verl-agent renders it (arXiv 2505.10978), whose templates the families
quote. With ``prompt="new"`` an observation is only what the last command led to, for a conversation that grows.
"""

import functools
import re
import tomllib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from sdpo_envs.core import Feedback, Finding, Outcome, Task, Verdict
from sdpo_envs.env import FeedbackEnv, Step, natural
from sdpo_envs.errors import SettingError, choose
from sdpo_envs.feedback import LIMIT, explain
from sdpo_envs.files import bundled

Prompt = Literal["complete", "new"]
Form = Literal["thought", "tagged", "bare"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a turn shows.

    Attributes:
        text: What the world says.
        commands: Those that may be given now, in order; empty where they cannot be listed.
        findings: Why nothing came of the last command.
    """

    text: str
    commands: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """An action as it was read.

    Attributes:
        command: What is done.
        faults: Why the action is not in the form that was asked for; its command is done nevertheless.
    """

    command: str
    faults: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Past:
    """A turn that is over: what the world said, and the command that answered it."""

    seen: str
    command: str


class TurnsEnv(FeedbackEnv):
    """A `FeedbackEnv` of several turns.

    A family writes `open`, `act`, `run_out` and `written`, and `read` where its actions have a form of their own.
    At each step ``info["valid"]`` says whether the action had the form that was asked for, ``info["seen"]`` what the
    world shows, without the prompt around it, and ``info["commands"]`` which commands may be given, as the last two do
    at a reset beside ``info["skill"]``: what is known about tasks of this type, from the task's `meta`, for a teacher
    to read.

    Args:
        tasks: As in `FeedbackEnv`.
        turns: Actions of one episode, at most.
        history: How many of the last turns a complete prompt shows; 0 for none.
        prompt: ``"complete"`` or ``"new"``; see the module.
        tell: Whether an observation also says why nothing came of the last action. The published ones do not.
        reveal: As in `FeedbackEnv`.
        limit: As in `FeedbackEnv`.
        render_mode: As in `FeedbackEnv`.

    Attributes:
        past: The turns of this episode that are over.
        seen: What the world shows now.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        turns: int,
        history: int = 2,
        prompt: Prompt = "complete",
        tell: bool = True,
        reveal: bool = False,
        limit: int = LIMIT,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(tasks, reveal=reveal, limit=limit, render_mode=render_mode)
        self.turns = natural("turns", turns)
        self.history = natural("history", history, least=0)
        self.prompt = choose("prompt", prompt, get_args(Prompt))
        if not isinstance(tell, bool):
            raise SettingError(f"tell={tell!r} is not offered; it is True or False.")
        self.tell = tell
        self.past: tuple[Past, ...] = ()
        self.seen = Seen("")

    @abstractmethod
    def open(self, task: Task) -> Seen:
        """Set the world up for `task`, and show it."""

    @abstractmethod
    def act(self, command: str) -> Seen | Verdict:
        """Do what the command says; return what is seen then, or the verdict if that ends the episode."""

    @abstractmethod
    def run_out(self) -> Verdict:
        """Judge an episode that has used up its turns."""

    @abstractmethod
    def written(self) -> str:
        """Write the observation: `seen`, after `past`, by `prompt`."""

    def read(self, action: str) -> Move:
        """Read an action; here all of it is the command."""
        return Move(action.strip())

    def begin(self, task: Task) -> str:
        """Open the world."""
        self.past = ()
        self.seen = self.open(task)
        return self.written()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Choose a task and show it, as `FeedbackEnv` does."""
        observation, info = super().reset(seed=seed, options=options)
        return observation, {**info, **self._shown(), "skill": self.task.meta.get("skill", "")}

    def step(self, action: str) -> Step:
        """Do what the action says.

        Returns:
            The next observation, or the feedback's text at the end; the reward; whether it has ended; False; and info,
            with ``valid``, ``seen`` and ``commands`` beside what every `FeedbackEnv` tells.

        Raises:
            ActionError: `action` is not a str.
            ResetNeeded: the episode has ended.
            InfrastructureError: the world behind it broke.
        """
        move = self.read(self.accept(action))
        reply = self.act(move.command)
        self.past += (Past(self.seen.text, move.command),)
        if isinstance(reply, Seen):
            self.seen = reply
            reply = self.run_out() if len(self.past) == self.turns else reply
        if isinstance(reply, Verdict):
            if not reply.passed:
                reply = replace(reply, findings=(*move.faults, *reply.findings))
            observation, reward, terminated, truncated, info = self.conclude(reply)
        else:
            feedback = self._feedback((*move.faults, *reply.findings))
            shown = "\n\n".join(part for part in (feedback.text if self.tell else "", self.written()) if part)
            observation, reward, terminated, truncated, info = self.proceed(shown, feedback)
        return observation, reward, terminated, truncated, {**info, "valid": not move.faults, **self._shown()}

    def _shown(self) -> dict[str, Any]:
        return {"seen": self.seen.text, "commands": self.seen.commands}

    def _feedback(self, findings: tuple[Finding, ...]) -> Feedback:
        if not findings:
            return Feedback()
        return explain(Verdict(Outcome.INVALID, 0.0, findings), reveal=self.reveal, limit=self.limit)


def between_tags(action: str, *, form: Form, last: int) -> Move:
    """Read the command between the first ``<action>`` and ``</action>``, in lower case.

    Without both tags, in this order, the last characters of the action are the command. At fault is such an action,
    one without ``<think>`` and ``</think>``, in lower case, and one that holds a Chinese character. (verl-agent's
    `projection`, which minds no order.)

    Args:
        action: What the policy wrote.
        form: ``"thought"``: a thought is asked for; ``"tagged"``: only the tags are; ``"bare"``: no tag is, and the
            whole action is the command.
        last: How many characters are the command where the tags are missing.
    """
    if form == "bare":
        return Move(" ".join(action.split()))
    said = action.lower()
    opened, closed = said.find("<action>"), said.find("</action>")
    faults = []
    if opened < 0 or closed < opened:
        command = said[-last:].strip()
        faults.append(Finding("No command stands between <action> and </action>.", {"Taken for one": command}))
    else:
        command = said[opened + len("<action>") : closed].strip()
    if form == "thought" and not ("<think>" in action and "</think>" in action):
        faults.append(Finding("No thought stands between <think> and </think>."))
    if re.search("[\u4e00-\u9fff]", action):
        faults.append(Finding("The action holds a Chinese character."))
    return Move(command, tuple(faults))


@functools.cache
def skill(family: str, kind: str) -> str:
    """Return what is known about all tasks of a family, and about those of a kind, for a teacher to read.

    That is written in ``tasks/FAMILY/skills.toml``; of a kind that does not stand there no more is known.
    """
    told = tomllib.loads(bundled("tasks", family, "skills.toml").read_text("utf-8"))
    return f"{told['all']}{told['kinds'].get(kind, '')}".strip()


def recalled(past: Sequence[Past], history: int) -> str:
    """Return the last turns as verl-agent's SimpleMemory renders them, a line each."""
    first = max(0, len(past) - history)
    return "\n".join(
        f"[Observation {number}: '{each.seen}', Action {number}: '{each.command}']"
        for number, each in enumerate(past[first:], start=first + 1)
    )
