"""The policy that the laptop benchmark starts from is what its card says."""

import hashlib
import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sdpo_agent import Conversation, Policy
from sdpo_agent.card import WarmStartSettings, examine, warm_policy
from sdpo_envs import bundled

FOLDER = bundled("tasks", "micro", "policy")
CARD: dict[str, Any] = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))
SETTINGS = WarmStartSettings(**{**CARD["settings"], "envs": tuple(CARD["settings"]["envs"])})
ENVS = sorted({*SETTINGS.envs})


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.load(FOLDER, device="cpu")


def test_the_weights_are_those_of_the_card_and_small() -> None:
    weights = FOLDER / "model.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == CARD["sha256"]
    assert weights.stat().st_size <= 4_000_000
    tensors = load_file(weights)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert sum(tensor.numel() for tensor in tensors.values()) == CARD["parameters"]


def test_the_command_s_defaults_are_what_it_was_made_with() -> None:
    assert WarmStartSettings() == SETTINGS


def test_its_first_steps_are_made_again() -> None:
    _, losses = warm_policy(SETTINGS, steps=3)
    assert losses == pytest.approx(CARD["first_losses"][:3], abs=2e-3)


@pytest.mark.parametrize(("env_id", "kind"), [("sdpo/MicroCode-v0", "feedback"), ("sdpo/MicroTool-v0", "peer")])
def test_the_card_s_chances_are_found_again(policy: Policy, env_id: str, kind: str) -> None:
    found = examine(policy, env_id, SETTINGS.seed, [kind])
    assert found[kind] == pytest.approx(CARD["chance_of_the_right_action"][env_id][kind], abs=2e-3)


@pytest.mark.parametrize("env_id", ENVS)
def test_it_reads_feedback_and_copies_peers(env_id: str) -> None:
    chances = CARD["chance_of_the_right_action"][env_id]
    assert chances["peer"] > 0.9
    assert chances["feedback"] > 1.3 * chances["bare"]


def test_it_writes_what_it_may_be_asked_for(policy: Policy) -> None:
    code, tool = policy.write(
        [Conversation("Write f(x): turn"), Conversation("Do: dim")], max_tokens=48, temperature=0.0, seeds=[0, 1]
    )
    assert code.action.startswith("return ")
    assert tool.action.startswith("Action: ")
    assert not code.cut_short
