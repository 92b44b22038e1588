"""MyEnv keeps the contract, and says what is wrong."""

import gymnasium
from sdpo_envs.check import conformance

test_contract = conformance("my_env:my_env/MyEnv-v0")


def test_a_word_in_the_wrong_place_is_named() -> None:
    env = gymnasium.make("my_env:my_env/MyEnv-v0")
    env.reset(options={"task_id": "my_env/plum-fig-pear-melon"})
    feedback, reward, *_ = env.step("fig, pear, melon, plum")
    assert reward == 0.0
    assert feedback.startswith("'melon' must come before 'pear'.")
