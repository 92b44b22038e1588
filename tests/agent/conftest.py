"""Fixtures of the agent's tests: the world of `letters`, and a policy that half knows it."""

from collections.abc import Iterator

import pytest
import torch
from letters import LETTERS, TASKS, Say

from sdpo_agent import Conversation, Policy, warm_start
from sdpo_agent.attempt import Message
from sdpo_agent.reprompt import FEEDBACK, INSTRUCTION, SOLUTION
from sdpo_envs import GroupEnv

torch.set_num_threads(1)  # workers with several each, on a machine with few, spend their time waiting for one another


@pytest.fixture
def envs() -> Iterator[GroupEnv]:
    made = GroupEnv(Say, num_envs=24, group_size=4, reveal=True)
    yield made
    made.close()


def asked(text: str) -> list[Message]:
    return Conversation(text).messages()


@pytest.fixture(scope="session")
def _warm() -> Policy:
    """Right about half of the time when asked, and nearly always with hindsight."""
    told = f"{FEEDBACK}Not that letter.\nRight: "
    plain = [(asked(task.prompt), said) for task in TASKS for said in (*"abc", task.answer, task.answer)]
    hinted = [
        (asked(f"{task.prompt}{hint}{said}{INSTRUCTION}"), said)
        for task in TASKS
        for hint in (told, SOLUTION)
        for said in LETTERS
    ]
    texts = [said[0]["content"] for said, _ in hinted]
    policy = Policy.small(texts=texts, vocab_size=400, hidden=64, layers=2, heads=2, seed=1)
    warm_start(policy, [*plain, *hinted], steps=450, batch=24, learning_rate=3e-3)
    return policy


@pytest.fixture
def policy(_warm: Policy) -> Policy:
    return _warm.copy()


@pytest.fixture(scope="session")
def transformers_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The name of a model and the url where `transformers serve` serves it."""
    pytest.importorskip("openai", reason="skips served models: the extra 'server' is not installed")
    from serving import serving

    with serving(tmp_path_factory.mktemp("serve")) as served:
        yield served
