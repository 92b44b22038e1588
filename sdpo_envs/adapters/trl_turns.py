"""TRL: a registered environment of several turns is acted in by tools, by a policy that `GRPOTrainer` trains.

`Episodes` is what TRL calls an environment factory, and comes with the data set to train on. TRL is known here by how
it calls, as of 1.16.
"""

import copy
import functools
import inspect
import math
from collections.abc import Callable, Collection
from typing import Any
from weakref import WeakSet

import gymnasium
import numpy as np

from sdpo_envs.adapters.made import made
from sdpo_envs.adapters.told import chat
from sdpo_envs.adapters.trl import Judged
from sdpo_envs.core import Feedback
from sdpo_envs.env import Tool
from sdpo_envs.errors import InfrastructureError, SettingError, require

_BROKE = "The environment broke. This attempt does not count."
_OVER = "The episode is over."
_ACT = "\n\nAct by calling a tool. Nothing else that you write is read."
_ACT_UNTAGGED = (
    "\n\nAct by calling a tool, without the tags that may be named above. Nothing else that you write is read."
)


class Episodes:
    """An `environment_factory` for `GRPOTrainer`: each call returns an environment that a policy acts in by tools.

    The tools are those that the environment offers (`FeedbackEnv.tools`), or else one, ``act(action)``. A tool returns
    the next observation, and at the end the feedback. An episode that the policy leaves before its end earns 0.0; one
    whose machinery broke earns None, which TRL leaves out of means and advantages. Where all of them broke, or one by
    what is no `InfrastructureError`, asking for a reward raises.

    All rollouts of a group get the same row of the data set, so they start alike: at its ``task_id``, by its ``seed``.

    Args:
        env_id: A registered environment.
        asks: What ends the first observation, to ask for tools; None for a sentence that does.
        **settings: Keywords for it. Observations that hold only what is new, ``prompt="new"``, suit a conversation.

    Raises:
        SettingError: the environment gives no feedback, or has a tool of a name that is taken.
    """

    def __init__(self, env_id: str, *, asks: str | None = None, **settings: Any) -> None:
        self._env = made(env_id, settings)
        tools = self._env.get_wrapper_attr("tools")()
        methods = {tool.__name__: _method(tool) for tool in tools or (act,)}
        for taken in methods.keys() & {"reset", "get_reward", "task_id", "judged"}:
            raise SettingError(f"{env_id} has a tool {taken!r}, a name that an episode needs for itself; rename it.")
        if asks is None:
            asks = _ACT_UNTAGGED if tools else _ACT
        name = type(self._env.unwrapped).__name__
        self._episode: type[Episode] = type(name, (Episode,), {**methods, "_asks": asks})
        self._episodes: WeakSet[Episode] = WeakSet()

    def __call__(self) -> "Episode":
        """Return an environment of its own, which shares tasks, judge and sandbox with the others."""
        episode = self._episode(copy.deepcopy(self._env), self._episodes)
        self._episodes.add(episode)
        return episode

    def dataset(self, seed: int = 0) -> Any:
        """Return a `datasets.Dataset` of every task: ``prompt``, its system turn and an empty one, which `reset` fills;
        ``task_id``; and the ``seed`` of its episodes, drawn by `seed`.
        """  # noqa: D205
        tasks = self._env.get_wrapper_attr("tasks")
        seeds = np.random.SeedSequence(seed).generate_state(len(tasks)).tolist()
        rows = [
            {"prompt": chat(task.system, ""), "task_id": task.id, "seed": drawn}
            for task, drawn in zip(tasks, seeds, strict=True)
        ]
        return require("datasets", "trl").Dataset.from_list(rows)

    def close(self) -> None:
        """Close the environment behind all episodes."""
        self._env.close()


class Episode:
    """One rollout's environment, as TRL asks for it: `reset`, `get_reward`, and beside them only tools.

    Attributes:
        task_id: What is attempted.
        judged: What was said of the episode so far.
    """

    _asks: str = _ACT

    def __init__(self, env: gymnasium.Env[str, str], episodes: Collection["Episode"]) -> None:
        self._env = env
        self._episodes = episodes
        self._running = False
        self._bug: Exception | None = None
        self.task_id = ""
        self.judged = Judged(0.0, None, Feedback())

    def reset(self, **row: Any) -> str:
        """Begin the episode of a row and return its prompt.

        Raises:
            SettingError: the row has neither a ``task_id`` nor a ``seed``, so that a group would start from anywhere.
        """
        task_id, seed = row.get("task_id"), row.get("seed")
        if task_id is None and seed is None:
            raise SettingError("A row needs a task_id or a seed, or its rollouts start apart; use Episodes.dataset().")
        self.judged, self._bug = Judged(0.0, None, Feedback()), None
        try:
            observation, info = self._env.reset(seed=seed, options={"task_id": task_id})
        except InfrastructureError as error:
            return self._broken(error)
        self._running, self.task_id = True, info["task_id"]
        return observation + self._asks

    def get_reward(self) -> float | None:
        """Return the reward of the episode, None if its machinery broke.

        Raises:
            InfrastructureError: that of all episodes broke.
            Exception: what the environment raised that is no `InfrastructureError`; TRL showed it to the policy.
        """
        if self._bug is not None:
            raise self._bug
        if all(each.judged.error for each in self._episodes):
            raise InfrastructureError(f"Each of {len(self._episodes)} episodes broke: {self.judged.error}")
        return None if self.judged.error else self.judged.reward

    def _act(self, action: str) -> str:
        if not self._running:
            return _BROKE if self.judged.error else _OVER
        try:
            observation, reward, terminated, truncated, info = self._env.step(action)
        except InfrastructureError as error:
            return self._broken(error)
        except Exception as error:
            self._bug = error
            raise
        self._running = not (terminated or truncated)
        self.judged = Judged(float(reward), info["verdict"], info["feedback"])
        return observation if self._running else f"{observation}\n\n{_OVER}".lstrip()

    def _broken(self, error: InfrastructureError) -> str:
        self._running = False
        self.judged = Judged(math.nan, None, Feedback(), f"{type(error).__name__}: {error}")
        return _BROKE


def act(action: str) -> str:
    """Take one action.

    Args:
        action: What you do, in the form that is asked for.
    """
    return str(action)  # a policy may give a number


def _method(tool: Tool) -> Callable[..., str]:
    """Return a method that acts as `tool` writes, with its name, its arguments and its docstring."""

    @functools.wraps(tool)
    def call(self: Episode, *arguments: Any, **named: Any) -> str:
        return self._act(tool(*arguments, **named))

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    given = inspect.signature(tool)
    call.__signature__ = given.replace(parameters=[own, *given.parameters.values()])  # type: ignore[attr-defined]
    return call
