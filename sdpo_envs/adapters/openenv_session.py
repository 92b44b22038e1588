"""A session of OpenEnv 0.3 on any registered environment: what its server calls."""

import contextlib
import copy
import math
import uuid
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import EnvironmentMetadata

from sdpo_envs.adapters.openenv import FeedbackAction, FeedbackObservation, FeedbackState
from sdpo_envs.adapters.told import UNDECIDED, told
from sdpo_envs.errors import InfrastructureError, SettingError, choose

_TOLD = ("task_id", "system", "verdict", "feedback")
"""What has a field of its own in an observation; the rest of an environment's info is in `info`."""


class ServedEnv(Environment):  # type: ignore[misc]
    """One session's environment: a copy of `env`, which shares its tasks, judge and sandbox and leaves it as it is.

    Args:
        env: Has not been reset; many threads may copy it at once.
        turn: What its copies take turns by, see `sdpo_envs.adapters.made.turns`.
        characters: Of one action, at most.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(
        self, env: gymnasium.Env[str, str], turn: contextlib.AbstractContextManager[Any], characters: int
    ) -> None:
        super().__init__()
        self.env = copy.deepcopy(env)
        self.turn = turn
        self.characters = characters
        self._id = "" if env.spec is None else env.spec.id
        self._system = ""
        self._state = FeedbackState(env=self._id)

    def reset(
        self, seed: int | None = None, episode_id: str | None = None, task_id: str | None = None, **unknown: Any
    ) -> FeedbackObservation:
        """Begin an episode: the one that the environment alone begins with this seed, or with this task.

        Raises:
            SettingError: an argument is of another type, or unknown: OpenEnv itself would drop it without a word.
            TaskNotFound: no task has that id.
            InfrastructureError: the world behind the task could not be opened.
        """
        for name in unknown:
            choose("argument of reset", name, ("seed", "episode_id", "task_id"))
        with self.turn:
            text, info = self.env.reset(seed=seed, options=None if task_id is None else {"task_id": task_id})
        self._system = info["system"]
        self._state = FeedbackState(
            episode_id=str(episode_id or uuid.uuid4()), env=self._id, task_id=info["task_id"], step_count=0
        )
        return self._observation(text, {**UNDECIDED, **info}, done=False)

    def step(
        self, action: FeedbackAction, request_id: str | None = None, task_id: str | None = None, **unknown: Any
    ) -> FeedbackObservation:
        """Take an action. What breaks behind it is no failure of the policy: reward NaN, `error`, and `done`.

        Over HTTP, where no session remembers a reset, `task_id` names the task, and the action is the first.

        Raises:
            ActionError: the action is not a str.
            SettingError: it is longer than this server takes, or an argument is unknown.
            ResetNeeded: the episode has ended, or none has begun.
        """
        for name in unknown:
            choose("argument of step", name, ("action", "task_id"))
        if isinstance(action.text, str) and len(action.text) > self.characters:
            raise SettingError(f"An action of {len(action.text)} characters; this server takes {self.characters}.")
        if task_id is not None:
            self.reset(task_id=task_id)
        try:
            with self.turn:
                text, reward, terminated, truncated, info = self.env.step(action.text)
        except InfrastructureError as error:
            broken, why = {**UNDECIDED, "task_id": self._state.task_id}, f"{type(error).__name__}: {error}"
            return self._observation("", broken, reward=math.nan, done=True, truncated=True, error=why)
        self._state.step_count += 1
        return self._observation(text, info, reward=reward, done=terminated or truncated, truncated=truncated)

    @property
    def state(self) -> FeedbackState:
        """Where the session stands."""
        return self._state

    def get_metadata(self) -> EnvironmentMetadata:
        """What is served here."""
        about = (type(self.env.unwrapped).__doc__ or "An environment with feedback.").strip().splitlines()[0]
        return EnvironmentMetadata(name=self._id, description=about, version=version("sdpo-envs"))

    def close(self) -> None:
        """Close the session's environment."""
        self.env.close()

    def _observation(self, text: str, info: Mapping[str, Any], **standing: Any) -> FeedbackObservation:
        rest = {name: value for name, value in info.items() if name not in _TOLD}
        said = {"text": text, "task_id": info["task_id"], "system": self._system, "info": rest, **told(info)}
        return FeedbackObservation(**_plain({**said, **standing}))


def _plain(value: Any) -> Any:
    """Return `value` as JSON has it: lists for arrays, escapes for lone surrogates, which UTF-8 cannot hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_plain(name): _plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
