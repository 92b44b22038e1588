"""The policies that the laptop benchmark starts from are what their cards say."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sdpo_agent import Conversation, Policy
from sdpo_agent.card import WarmStartSettings, examine, warm_policy
from sdpo_agent.options import WARM
from sdpo_envs import bundled


@dataclass
class Made:
    """A policy, its card, and what it was made with."""

    folder: Path
    card: dict[str, Any]
    settings: WarmStartSettings
    policy: Policy

    def __init__(self, name: str) -> None:
        self.folder = bundled("tasks", name, "policy")
        self.card = json.loads((self.folder / "card.json").read_text(encoding="utf-8"))
        told = self.card["settings"]
        self.settings = WarmStartSettings(**{**told, "envs": tuple(told["envs"])})
        self.policy = Policy.load(self.folder, device="cpu")


MADE = {name: Made(name) for name in WARM}


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_the_weights_are_those_of_the_card_and_small(made: Made) -> None:
    weights = made.folder / "model.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == made.card["sha256"]
    assert weights.stat().st_size <= 4_000_000
    tensors = load_file(weights)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert sum(tensor.numel() for tensor in tensors.values()) == made.card["parameters"]


def test_the_command_s_defaults_are_what_the_first_was_made_with() -> None:
    assert WarmStartSettings() == MADE["micro"].settings


def test_the_command_beside_the_second_is_what_it_was_made_with() -> None:
    """`SOURCE` has the command; what its flags say is in the card."""
    words = bundled("tasks", "microhouse", "SOURCE").read_text(encoding="utf-8").split("warm-start", 1)[1].split()
    flags = dict(zip(words[::2], words[1::2], strict=True))
    assert flags.pop("--out") == "tasks/microhouse/policy"
    named = {name.removeprefix("--").replace("-", "_"): value for name, value in flags.items()}
    told = {"envs": (named.pop("envs"),), **{name: int(value) for name, value in named.items()}}
    assert WarmStartSettings(**told) == MADE["microhouse"].settings


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_its_first_steps_are_made_again(made: Made) -> None:
    _, losses = warm_policy(made.settings, steps=3)
    assert losses == pytest.approx(made.card["first_losses"][:3], abs=2e-3)


@pytest.mark.parametrize(
    ("name", "env_id", "kind"),
    [
        ("micro", "sdpo/MicroCode-v0", "feedback"),
        ("micro", "sdpo/MicroTool-v0", "peer"),
        ("microhouse", "sdpo/MicroHouse-v0", "skill"),
    ],
)
def test_the_card_s_chances_are_found_again(name: str, env_id: str, kind: str) -> None:
    made = MADE[name]
    found = examine(made.policy, env_id, made.settings.seed, [kind])
    assert found[kind] == pytest.approx(made.card["chance_of_the_right_action"][env_id][kind], abs=2e-3)


@pytest.mark.parametrize("env_id", ["sdpo/MicroCode-v0", "sdpo/MicroTool-v0"])
def test_it_reads_feedback_and_copies_peers(env_id: str) -> None:
    chances = MADE["micro"].card["chance_of_the_right_action"][env_id]
    assert chances["peer"] > 0.9
    assert chances["feedback"] > 1.3 * chances["bare"]


def test_over_turns_it_reads_skills_and_copies_peers() -> None:
    chances = MADE["microhouse"].card["chance_of_the_right_action"]["sdpo/MicroHouse-v0"]
    assert chances["peer"] > 0.9
    assert chances["skill"] > chances["bare"] + 0.05


def test_it_writes_what_it_may_be_asked_for() -> None:
    code, tool = MADE["micro"].policy.write(
        [Conversation("Write f(x): turn"), Conversation("Do: dim")], max_tokens=48, temperature=0.0, seeds=[0, 1]
    )
    assert code.action.startswith("return ")
    assert tool.action.startswith("Action: ")
    assert not code.cut_short


def test_over_turns_it_writes_commands() -> None:
    asked = Conversation("Fetch: cup key in 6\nYou are at the door.")
    (turn,) = MADE["microhouse"].policy.write([asked], max_tokens=16, temperature=0.0, seeds=[0])
    assert turn.action.split()[0] == "go"
    assert not turn.cut_short
