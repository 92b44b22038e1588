"""Makes the environment that a command is about."""

import importlib
import inspect
from typing import Annotated, Any

import gymnasium
import tyro
from gymnasium.envs.registration import load_env_creator

from sdpo_envs.cli import parse_settings
from sdpo_envs.env import FeedbackEnv
from sdpo_envs.errors import SettingError, choose, nearest

EnvId = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(
        metavar="ID", help="A registered environment; MODULE:ID imports the module first, also from this folder."
    ),
]
"""An argument that names an environment."""
Settings = Annotated[str, tyro.conf.arg(metavar="JSON", help="Keywords for the environment, as a JSON object.")]
"""An option that holds them."""
TaskId = Annotated[
    str | None, tyro.conf.arg(metavar="ID", help="A task's id.", help_behavior_hint="(default: one is drawn)")
]
"""An option that names one."""
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help_behavior_hint="")]
"""A flag without its opposite."""
ForScript = Annotated[
    bool,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.arg(help="Write JSON for a script to read.", help_behavior_hint=""),
]
"""The flag of the commands that tell something."""


def bring(module: str) -> None:
    """Import a module that somebody named, since it registers environments.

    Raises:
        SettingError: it is not the name of a module.
        ModuleNotFoundError: there is no such module.
    """
    if not all(part.isidentifier() for part in module.split(".")):
        raise SettingError(f"{module!r} is not the name of a module; one is written as in Python, without .py.")
    importlib.import_module(module)


def creator(env_id: str) -> Any:
    """Return what makes an environment: as a rule its class.

    Raises:
        SettingError: no environment has that id; the message names the nearest. Or as `bring`.
        ModuleNotFoundError: as `bring`, of the module in ``"module:id"``.
    """
    module, colon, name = env_id.rpartition(":")
    if colon:
        bring(module)
    if name not in gymnasium.registry:
        hint = nearest(name, gymnasium.registry) or "."
        raise SettingError(f"No environment is registered as {name!r}{hint} `sdpo envs` lists those of this package.")
    entry_point = gymnasium.spec(name).entry_point
    return load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point


def make(env_id: str, settings: str = "{}", **more: Any) -> tuple[gymnasium.Env[str, str], FeedbackEnv]:
    """Make an environment; return it as `gymnasium.make` wraps it, and its innermost.

    Args:
        env_id: A registered id, or ``"module:id"``, which imports the module first.
        settings: Keywords, as a JSON object.
        **more: Keywords on top of these.

    Raises:
        SettingError: as `creator`; or the settings are no JSON object, or a keyword is not offered, or it is no
            `FeedbackEnv`.
        ModuleNotFoundError: as `creator`.
    """
    made, given = creator(env_id), parse_settings(settings) | more
    taken = inspect.signature(made).parameters
    if not any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        for keyword in given:
            choose("keyword", keyword, taken)
    env = gymnasium.make(env_id, disable_env_checker=True, **given)
    innermost = env.unwrapped
    if not isinstance(innermost, FeedbackEnv):
        raise SettingError(
            f"{env_id} is a {type(innermost).__name__}, and no FeedbackEnv, so nothing can be asked of it."
        )
    return env, innermost
