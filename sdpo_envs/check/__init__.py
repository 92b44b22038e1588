"""The contract as code: holds an environment to its laws, in a notebook, on the command line and in anybody's tests.

`check_env(id)` raises with every law that is broken. `examine(id)` tells of each law how it fared, for a report.
`conformance(id)` is a test for pytest, a case per law. What each law demands, why and how to mend it: `laws`.
"""

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sdpo_envs.check.episodes import HOSTILE_ACTIONS, made
from sdpo_envs.check.laws import LAWS, Law
from sdpo_envs.errors import ContractError, MissingExtra, require

__all__ = ["HOSTILE_ACTIONS", "LAWS", "Law", "Result", "check_env", "conformance", "examine"]


@dataclass(frozen=True, slots=True)
class Result:
    """How an environment fared with a law.

    Attributes:
        law: Which.
        broken: What is wrong; ``""`` if the law is kept.
        left_out: What could not be checked and why, a sentence each.
    """

    law: Law
    broken: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def state(self) -> Literal["passed", "failed", "not checked"]:
        """Whether the law is kept; ``"not checked"`` where it is as far as it could be checked, and that is not all."""
        return "failed" if self.broken else "not checked" if self.left_out else "passed"


def check_env(env_id: str, **settings: Any) -> list[str]:
    """Check the environment registered as `env_id` against the contract (docs/contract.md).

    Args:
        env_id: As for `gymnasium.make`.
        settings: Keywords for `gymnasium.make`.

    Returns:
        What could not be checked and why, a sentence each: for example that no task knows its oracle action.

    Raises:
        ContractError: a law is broken; the message lists every one, why it matters and how to mend it.
        Exception: whatever the environment raises where it should not, with its own traceback.
    """
    made(env_id, settings).close()
    broken, left_out = [], []
    for law in LAWS:
        try:
            left_out += list(law(env_id, **settings))
        except ContractError as error:
            broken.append(f"- {law.name}: {error}\n{law.advice}")
    if broken:
        raise ContractError(f"{env_id} breaks the contract:\n" + "\n".join(broken))
    return left_out


def examine(env_id: str, **settings: Any) -> Iterator[Result]:
    """Hold an environment to one law after the other, and tell how it fared with each.

    An exception of the environment breaks the law that it was tried by.

    Args:
        env_id: As for `gymnasium.make`.
        settings: Keywords for `gymnasium.make`.

    Raises:
        ContractError: what is registered is no `FeedbackEnv`.
        Exception: whatever making the environment raises.
    """
    made(env_id, settings).close()
    for law in LAWS:
        left_out, trial = tuple[str, ...](), _Trial()
        with trial:
            left_out = tuple(law(env_id, **settings))
        yield Result(law, trial.broken, left_out)


def conformance(*env_ids: str, **settings: Any) -> Callable[..., None]:
    """Return a test for pytest that holds environments to the contract, a case for each law.

    In a test file, these two lines are enough::

        from sdpo_envs.check import conformance

        test_contract = conformance("my/Sum-v0")

    A case is skipped, saying why, where something of the law could not be checked though what could be is kept, and
    where an environment needs an extra that is not installed.

    Args:
        env_ids: As for `gymnasium.make`; ``"module:id"`` imports the module that registers it.
        settings: Keywords for `gymnasium.make`.

    Raises:
        MissingExtra: pytest is not installed.
    """
    pytest = require("pytest", "dev")

    def test_an_environment_keeps_the_law(law: Law, env_id: str) -> None:
        try:
            left_out = list(law(env_id, **settings))
        except MissingExtra as error:
            pytest.skip(str(error))
        if left_out:
            pytest.skip(" ".join(left_out))

    each_law = pytest.mark.parametrize("law", LAWS, ids=[law.name for law in LAWS])
    test: Callable[..., None] = pytest.mark.parametrize("env_id", env_ids)(each_law(test_an_environment_keeps_the_law))
    return test


class _Trial:
    """Keeps an exception of the environment that is tried, whatever it is, instead of letting it through."""

    broken = ""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, place: Any) -> bool:
        if isinstance(error, Exception):
            self.broken = _told(error)
        return isinstance(error, Exception)


def _told(error: Exception) -> str:
    """Say what an environment broke a law by: the law's own words, or where which exception was raised."""
    if isinstance(error, ContractError):
        return str(error)
    *_, place = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} was raised in {place.filename}, line {place.lineno}, {place.name}: {error}"
