"""Every registered environment against every law of the contract, a test each."""

import pytest

from sdpo_envs.check import check_env, conformance
from sdpo_envs.errors import MissingExtra
from sdpo_envs.registry import ENVIRONMENTS

test_contract = conformance(*ENVIRONMENTS)


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_nothing_of_the_contract_is_left_out(env_id: str) -> None:
    try:
        assert check_env(env_id) == []
    except MissingExtra as error:
        pytest.skip(str(error))
