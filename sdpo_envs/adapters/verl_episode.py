"""verl: the episode of a row, for whoever judges it: the reward function, or the agent loop."""

import contextlib
import copy
import functools
import json
import threading
from collections.abc import Mapping
from typing import Any

import gymnasium

from sdpo_envs.adapters.made import made, turns

_LOADING = threading.Lock()


class Episode:
    """One attempt at one task, on a copy of an environment that this process has made once. Safe in any thread.

    Args:
        env_id: The row's ``data_source``.
        task_id: The row's ``reward_model["ground_truth"]``.
        extra_info: The row's; only ``index`` and ``settings`` are read, and neither must be there.

    Attributes:
        observation: The first one.
        system: The system prompt, ``""`` for none.

    Raises:
        SettingError: this is no environment with feedback, or it cannot be made so.
        TaskNotFound: there is no such task.
        InfrastructureError: the world behind it broke.
    """

    def __init__(self, env_id: str, task_id: str, extra_info: Mapping[str, Any] | None = None) -> None:
        extra = {} if extra_info is None else extra_info
        with _LOADING:  # or threads that begin together would each make one
            env, self._turn = loaded(env_id, extra.get("settings") or "{}")
        with self._turn:
            self._env = copy.deepcopy(env)
            self.observation, info = self._env.reset(seed=int(extra.get("index", 0)), options={"task_id": task_id})
        self.system: str = info["system"]

    def step(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Take an action; return the next observation, the reward, whether the episode has ended, and info.

        Raises:
            InfrastructureError: the judge could not decide.
        """
        with self._turn:
            observation, reward, terminated, truncated, info = self._env.step(action)
        return observation, float(reward), terminated or truncated, info


@functools.cache
def loaded(env_id: str, settings: str) -> tuple[gymnasium.Env[str, str], contextlib.AbstractContextManager[Any]]:
    """Return an environment to copy, and what its copies take turns by."""
    env = made(env_id, json.loads(settings))
    return env, turns(env)
