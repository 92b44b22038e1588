"""The contract, as two classes: FeedbackEnv, and JudgedEnv for one task, one action, one verdict."""

import copy
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from types import MethodType
from typing import Any, ClassVar, Self

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded

from sdpo_envs.core import Feedback, Judge, Task, Verdict
from sdpo_envs.errors import ActionError, RecordError, SettingError, TaskNotFound, choose, nearest
from sdpo_envs.feedback import LIMIT, explain, printable, redact
from sdpo_envs.sandbox import Sandbox
from sdpo_envs.spaces import FreeText

Step = tuple[str, float, bool, bool, dict[str, Any]]
"""What `step` returns: observation, reward, terminated, truncated, info."""

Tool = Callable[..., str]
"""Writes an action from arguments; see `FeedbackEnv.tools`."""

_UNDECIDED = Feedback()
_SHARED = ("tasks", "judge", "spec", "_index", "_task")


class FeedbackEnv(gymnasium.Env[str, str]):
    """A Gymnasium environment over tasks that says why an attempt failed.

    Observations and actions are text. A subclass writes `step` from three moves: `accept` the action, then either
    `proceed` with the next observation or `conclude` with a verdict. An episode ends only by a verdict.

    `info` holds the same keys at every reset, ``task_id`` and ``system``, and at every step, ``task_id``, ``verdict``
    (None until the end, and never with an answer in it unless `reveal`) and ``feedback``. Nothing in it is measured
    by a clock, so equal episodes have equal infos.

    Args:
        tasks: What `reset` chooses from, uniformly; ids are unique.
        reveal: Whether feedback may give away what was right.
        limit: Most characters of one feedback text; 0 leaves rewards alone to tell.
        render_mode: None or ``"ansi"``, the episode so far as text.

    Raises:
        SettingError: there are no tasks, `reveal` is not a bool, `limit` is below 0, or there is no such render mode.
        RecordError: two tasks share an id.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 1}  # type: ignore[misc]
    waits: bool = False
    """Whether `step` waits for other processes or machines, so that a `GroupEnv` should step its slots in threads."""
    abreast: int = 16
    """How many of them may wait at once; more where what they wait for has room for more, as a cluster has."""
    _opened: bool = False
    """Whether `close` must close a sandbox, because this environment opened it; a copy shares it and never must."""

    def __init__(
        self, tasks: Sequence[Task], *, reveal: bool = False, limit: int = LIMIT, render_mode: str | None = None
    ) -> None:
        if not tasks:
            raise SettingError("No task is left to choose from; loosen the filters (split, difficulty, dates, ...).")
        if not isinstance(reveal, bool):
            raise SettingError(f"reveal={reveal!r} is not offered; it is True or False.")
        if render_mode is not None:
            choose("render_mode", render_mode, self.metadata["render_modes"])
        self.tasks = tasks
        self.reveal = reveal
        self.limit = natural("limit", limit, least=0)
        self.render_mode = render_mode
        self.observation_space = FreeText()
        self.action_space = FreeText()
        self._index = {task.id: position for position, task in enumerate(tasks)}
        if len(self._index) != len(tasks):
            raise RecordError(f"{len(tasks)} tasks have only {len(self._index)} different ids; ids must be unique.")
        self._task: Task | None = None
        self._transcript: list[str] = []
        self._actions: list[str] = []
        self._accepted = ""
        self._running = False

    @property
    def task(self) -> Task:
        """The task of this episode, answer included: for judges and tests, not for policies.

        Raises:
            ResetNeeded: there has been no `reset` yet.
        """
        if self._task is None:
            raise ResetNeeded("There is no task yet; call reset() first.")
        return self._task

    @property
    def task_ids(self) -> tuple[str, ...]:
        """The id of every task, in order."""
        return tuple(self._index)

    @property
    def attempt(self) -> str:
        """What the policy has written in this episode, an action a line: what a peer is handed if it succeeds."""
        return "\n".join(self._actions)

    def oracle(self, task: Task) -> str | None:
        """Return an action that earns 1.0 on `task`, or None where none is known, as here."""
        return None

    def walkthrough(self, task: Task) -> Sequence[str] | None:
        """Return the actions of an episode that earns 1.0 on `task`, or None where none is known: here, the oracle."""
        oracle = self.oracle(task)
        return None if oracle is None else [oracle]

    def secrets(self, task: Task) -> Sequence[str]:
        """Return texts that feedback on a wrong action must not contain unless `reveal`: what the answer is made of."""
        return ()

    def guess(self, task: Task, rng: np.random.Generator, known: float = 0.0) -> str | None:
        """Return an action as somebody may write it who knows such tasks, or None where nobody can say, as here.

        Args:
            task: Of this environment.
            rng: Draws it.
            known: How much is known of this very task, from nothing, 0, to everything, 1.
        """
        return None

    def tools(self) -> Sequence[Tool]:
        """Return functions that each write an action of this episode, or none where an action is only text, as here.

        Their names, their typed arguments and their docstrings, with a line for each argument under ``Args:``, are
        what a policy reads that acts by calling tools.
        """
        return ()

    def expect(self, attempts: Sequence[tuple[Task, str]]) -> None:
        """Hear of all actions that a group is about to take, to judge them at once where that is faster."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Choose a task, by ``options={"task_id": ...}`` or else by the random generator, and show it.

        Raises:
            TaskNotFound: no task has that id.
            SettingError: an option is not known, or the seed or an option is of another type.
        """
        task_id = _task_id(options)
        super().reset(seed=checked_seed(seed))
        task = self._draw() if task_id is None else self.find(task_id)
        self._task, self._running = task, False  # until it has begun
        observation = self.begin(task)
        self._transcript = [f"[{task.id}]\n{observation}"]
        self._actions = []
        self._running = True
        return observation, {"task_id": task.id, "system": task.system}

    def step(self, action: str) -> Step:
        """Take one action. Subclasses write this; see the class."""
        raise NotImplementedError(f"{type(self).__name__} must define step(action); see FeedbackEnv's docstring.")

    def begin(self, task: Task) -> str:
        """Set up the episode of `task` and return its first observation: the prompt, unless a subclass overrides."""
        return task.prompt

    def find(self, task_id: str) -> Task:
        """Return the task of that id.

        Raises:
            TaskNotFound: there is none; the message names the nearest.
        """
        if task_id not in self._index:
            hint = nearest(str(task_id), self._index) or "."
            raise TaskNotFound(f"No task has the id {task_id!r} among the {len(self._index)} loaded{hint}")
        return self.tasks[self._index[task_id]]

    def accept(self, action: str) -> str:
        """Return `action` when it is a str and the episode is running; the first line of every `step`.

        Raises:
            ActionError: it is not a str.
            ResetNeeded: the episode has ended, or none has begun.
        """
        if not isinstance(action, str):
            raise ActionError(f"An action must be a str, not {type(action).__name__}; pass the text the policy wrote.")
        if not self._running:
            raise ResetNeeded("This episode has ended, or none has begun; call reset() before step().")
        self._accepted = action
        return action

    def proceed(self, observation: str, feedback: Feedback = _UNDECIDED) -> Step:
        """End this step and go on with the episode."""
        self._record(observation)
        return observation, 0.0, False, False, {"task_id": self.task.id, "verdict": None, "feedback": feedback}

    def conclude(self, verdict: Verdict) -> Step:
        """End the episode. Its last observation is the feedback, as there is nothing else to say."""
        feedback = explain(verdict, reveal=self.reveal, limit=self.limit)
        shown = verdict if self.reveal else redact(verdict)
        self._running = False
        self._record(f"{verdict.outcome.name} (reward {verdict.reward:g})\n{feedback}".rstrip())
        info = {"task_id": self.task.id, "verdict": shown, "feedback": feedback}
        return feedback.text, verdict.reward, True, False, info

    def render(self) -> str | None:
        """Return the episode so far as printable text in render mode ``"ansi"``, else None."""
        if self.render_mode != "ansi":
            return None
        return printable("\n\n".join(self._transcript))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy the episode. Tasks, judges and sandboxes, which no episode changes, are shared by the copy."""
        twin = copy.copy(self)
        memo[id(self)] = twin
        for name, value in vars(self).items():
            if isinstance(value, MethodType) and value.__self__ is self:  # a judge that is a method of the environment
                setattr(twin, name, MethodType(value.__func__, twin))
            elif name not in _SHARED and not isinstance(value, Sandbox):
                setattr(twin, name, copy.deepcopy(value, memo))
        twin._opened = False
        return twin

    def _record(self, reply: str) -> None:
        # Only now, as an action whose judge broke may be tried again.
        self._actions.append(self._accepted)
        self._transcript += [f"> {self._accepted}", reply]

    def _draw(self) -> Task:
        return self.tasks[int(self.np_random.random() * len(self.tasks))]


class JudgedEnv(FeedbackEnv):
    """One task, one action, one verdict.

    Args:
        tasks: As in `FeedbackEnv`.
        judge: Decides about an action. When it raises `JudgeError` or `SandboxError`, so does `step`, and the same
            action may be tried again. One with an attribute ``waits`` that is true makes the environment one that
            `waits`.
        reveal: As in `FeedbackEnv`.
        limit: As in `FeedbackEnv`.
        render_mode: As in `FeedbackEnv`.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        judge: Judge,
        *,
        reveal: bool = False,
        limit: int = LIMIT,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(tasks, reveal=reveal, limit=limit, render_mode=render_mode)
        self.judge = judge
        self.waits = self.waits or getattr(judge, "waits", False)

    def step(self, action: str) -> Step:
        """Judge `action` and end the episode.

        Returns:
            The feedback's text, the reward, True, False, and info with ``task_id``, ``verdict`` and ``feedback``.

        Raises:
            ActionError: `action` is not a str.
            ResetNeeded: the episode has ended.
            InfrastructureError: the judge could not decide.
        """
        return self.conclude(self.judge(self.task, self.accept(action)))


def natural(name: str, number: int, least: int = 1) -> int:
    """Return `number` if it is an int of at least `least`.

    Raises:
        SettingError: it is not.
    """
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise SettingError(f"{name}={number!r} is not offered; it is an int of at least {least}.")
    return number


def checked_seed(seed: Any) -> int | None:
    """Return `seed`, None or a whole number of numpy or of Python, as gymnasium takes it.

    Raises:
        SettingError: it is neither, or negative.
    """
    if seed is None:
        return None
    if not isinstance(seed, Integral) or int(seed) < 0:
        raise SettingError(f"seed={seed!r} is not offered; a seed is None or an int of at least 0.")
    return int(seed)


def checked_options(options: Any, offered: Sequence[str]) -> Mapping[str, Any]:
    """Return the `options` of a reset.

    Raises:
        SettingError: they are not a mapping, or one of them is not `offered`.
    """
    if not isinstance(options, Mapping):
        raise SettingError(f"options={options!r} must be a mapping, such as {{'task_id': 'family/1'}}.")
    for name in options:
        choose("option", name, offered)
    return options


def _task_id(options: Any) -> str | None:
    task_id = None if options is None else checked_options(options, ("task_id",)).get("task_id")
    if task_id is not None and not isinstance(task_id, str):
        raise SettingError(f"task_id={task_id!r} is not offered; an id is a str.")
    return task_id
