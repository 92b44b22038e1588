"""Every registered environment against every law of the contract, of which nothing is left out, a test each."""

import pytest

from sdpo_envs.check import LAWS, Law
from sdpo_envs.errors import MissingExtra
from sdpo_envs.registry import ENVIRONMENTS


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
@pytest.mark.parametrize("law", LAWS, ids=[law.name for law in LAWS])
def test_an_environment_keeps_the_law_and_nothing_of_it_is_left_out(law: Law, env_id: str) -> None:
    try:
        assert list(law(env_id)) == []
    except MissingExtra as error:
        pytest.skip(str(error))
