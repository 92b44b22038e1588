"""Everything this package raises on purpose.

    SdpoError
    ├── TaskNotFound      (LookupError)    no task has that id; the message names the nearest one
    ├── RecordError       (ValueError)     a row of task data does not have the shape of its family
    ├── ActionError       (TypeError)      an action is not a str
    ├── SettingError      (ValueError)     a keyword has a value that the environment does not offer
    ├── MissingExtra      (ImportError)    an optional dependency is not installed; the message names the extra
    ├── InfrastructureError                nothing was learned about the policy
    │   ├── JudgeError                     the judge could not decide
    │   └── SandboxError                   the wall broke, or could not be built
    └── ContractError     (AssertionError) an environment or a sandbox breaks the contract

A policy's failure is never an exception: it is a `Verdict`. What is raised here is somebody else's fault, and an
`InfrastructureError` above all must not be read as a reward of zero. Each class takes one message, so that it
survives pickling and the way gymnasium's workers raise it again.
"""

import difflib
import importlib
import math
from collections.abc import Iterable
from types import ModuleType


class SdpoError(Exception):
    """The root of the tree."""


class TaskNotFound(SdpoError, LookupError):
    """No task has that id."""


class RecordError(SdpoError, ValueError):
    """A row of task data does not have the shape of its family."""


class ActionError(SdpoError, TypeError):
    """An action is not a str."""


class SettingError(SdpoError, ValueError):
    """A keyword has a value that the environment does not offer."""


class MissingExtra(SdpoError, ImportError):
    """An optional dependency is not installed."""


class InfrastructureError(SdpoError):
    """The machinery failed, and nothing was learned about the policy."""


class JudgeError(InfrastructureError):
    """The judge could not decide."""


class SandboxError(InfrastructureError):
    """The wall broke, or could not be built."""


class ContractError(SdpoError, AssertionError):
    """An environment or a sandbox breaks the contract."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest of `names`, or ``""`` when none is close."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def choose(keyword: str, value: str, offered: Iterable[str]) -> str:
    """Return `value` if it is among those `offered`.

    Raises:
        SettingError: it is not; the message lists what is offered.
    """
    offered = list(offered)
    if value not in offered:
        hint = nearest(str(value), offered) or "."
        raise SettingError(f"{keyword}={value!r} is not offered{hint} Choose from {offered}.")
    return value


def within(keyword: str, value: float, low: float, high: float = math.inf) -> float:
    """Return `value` if it lies in [`low`, `high`].

    Raises:
        SettingError: it does not; the message names the range.
    """
    if not low <= value <= high:
        raise SettingError(f"{keyword}={value!r} must lie in [{low:g}, {high:g}].")
    return value


def require(module: str, extra: str) -> ModuleType:
    """Import an optional `module`, which the extra named `extra` brings.

    Raises:
        MissingExtra: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        message = f"This needs the module {error.name!r}. Install it with: pip install 'sdpo-envs[{extra}]'"
        raise MissingExtra(message) from error
