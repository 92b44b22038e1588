"""Makes the environment that an adapter adapts, and whose copies it plays in threads."""

import contextlib
import threading
from collections.abc import Mapping
from typing import Any

import gymnasium

from sdpo_envs.env import FeedbackEnv
from sdpo_envs.errors import SettingError


def made(env_id: str, settings: Mapping[str, Any]) -> gymnasium.Env[str, str]:
    """Return the environment of that id, without gymnasium's checker, which looks at the first step only.

    Args:
        env_id: As for `gymnasium.make`.
        settings: Keywords for the environment.

    Raises:
        SettingError: it is no `FeedbackEnv`, or refuses its settings.
    """
    env: gymnasium.Env[str, str] = gymnasium.make(env_id, disable_env_checker=True, **settings)
    if not isinstance(env.unwrapped, FeedbackEnv):
        raise SettingError(f"{env_id} is a {type(env.unwrapped).__name__} and gives no feedback; it is no FeedbackEnv.")
    return env


def turns(env: gymnasium.Env[str, str]) -> contextlib.AbstractContextManager[Any]:
    """Return what copies of `env` take turns by: nothing where they wait for others, and so may act side by side."""
    return contextlib.nullcontext() if env.get_wrapper_attr("waits") else threading.Lock()
