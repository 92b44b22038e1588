"""Every registered environment against every law of the contract, a test each."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from sdpo_envs.check import CHECKS, check_env
from sdpo_envs.errors import MissingExtra
from sdpo_envs.registry import ENVIRONMENTS


@contextlib.contextmanager
def skipping_without_extras() -> Iterator[None]:
    try:
        yield
    except MissingExtra as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_an_environment_keeps_the_law(check: Callable[..., Iterator[str]], env_id: str) -> None:
    with skipping_without_extras():
        assert list(check(env_id)) == []


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_check_env_has_nothing_to_say(env_id: str) -> None:
    with skipping_without_extras():
        assert check_env(env_id) == []
