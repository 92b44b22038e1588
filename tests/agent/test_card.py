"""The small policy of the laptop benchmark, in miniature, and its card."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import answered, bare

from sdpo_agent import Conversation, Policy, card
from sdpo_agent.card import WarmStartSettings, examine, save_with_card, warm_policy
from sdpo_agent.episodes import KINDS
from sdpo_envs import SettingError

TOOL = "sdpo/MicroTool-v0"
SETTINGS = WarmStartSettings(
    envs=(TOOL,), steps=6, batch=4, warmup_steps=2, vocab_size=300, hidden=16, layers=1, heads=2, seed=3
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("policy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(card, "_READ_BY_THE_TOKENIZER", 200)
        patch.setattr(card, "_EXAMINED", 6)
        return folder, dict(save_with_card(SETTINGS, folder))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "_READ_BY_THE_TOKENIZER", 200)
    monkeypatch.setattr(card, "_EXAMINED", 6)


def test_the_policy_can_be_loaded_and_asked(made: tuple[Path, dict[str, Any]]) -> None:
    policy = Policy.load(str(made[0]), device="cpu")
    (turn,) = policy.write([Conversation("Do: dim")], max_tokens=8, temperature=1.0, seeds=[0])
    assert 1 <= len(turn.token_ids) <= 8
    assert sum(weight.numel() for weight in policy.trainable()) == made[1]["parameters"]


def test_the_card_tells_what_was_made_and_how(made: tuple[Path, dict[str, Any]]) -> None:
    folder, told = made
    written = json.loads((folder / "card.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(told))
    assert written["sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert written["settings"] == json.loads(json.dumps(asdict(SETTINGS)))
    assert written["episodes"] == 24
    assert written["torch"] == torch.__version__
    assert set(written["chance_of_the_right_action"]) == {TOOL}
    assert set(written["chance_of_the_right_action"][TOOL]) == set(KINDS)


@pytest.mark.usefixtures("few")
def test_it_is_made_again_alike_and_with_another_seed_otherwise(
    made: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    again = dict(save_with_card(SETTINGS, tmp_path))
    assert {**again, "minutes": 0} == {**made[1], "minutes": 0}
    _, losses = warm_policy(replace(SETTINGS, seed=4))
    assert [round(loss, 4) for loss in losses] != again["first_losses"]


@pytest.mark.usefixtures("few")
def test_the_losses_of_the_card_are_those_of_the_steps_and_a_part_can_be_checked(
    made: tuple[Path, dict[str, Any]],
) -> None:
    _, losses = warm_policy(SETTINGS)
    assert len(losses) == 6
    assert made[1]["first_losses"] == [round(loss, 4) for loss in losses]
    assert made[1]["last_loss"] == round(sum(losses) / 6, 4)
    _, start = warm_policy(SETTINGS, steps=2)
    assert start == losses[:2]


@pytest.mark.usefixtures("few")
def test_single_precision_is_left_for_those_who_use_it() -> None:
    policy, _ = warm_policy(SETTINGS, steps=1)
    assert policy.autocast is None
    assert {weight.dtype for weight in policy.trainable()} == {torch.float32}


@torch.no_grad()
def test_the_chance_of_the_right_action_is_its_mean_probability() -> None:
    policy = Policy.small(hidden=16, layers=1, heads=2, device="cpu")
    asked, answers = Conversation("Do: dim").messages(), ("a", "b", "cc", "")
    expected = []
    for answer in answers:
        script = answered(policy.chat.prompt_ids(asked), policy.chat.answer_ids(answer))
        expected.append(float(bare(policy, script).sum().exp()))
    found = card._chance(policy, [(asked, answer) for answer in answers])
    assert found == pytest.approx(sum(expected) / 4, rel=1e-4)
    assert found > 0


@pytest.mark.usefixtures("few")
def test_examining_asks_about_tasks_that_nothing_was_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    own = card.episodes
    monkeypatch.setattr(card, "episodes", lambda envs, seed, *more: asked.append(seed) or own(envs, seed, *more))
    policy, _ = warm_policy(SETTINGS, steps=1)
    learned = set(asked)
    asked.clear()
    examine(policy, TOOL, SETTINGS.seed)
    assert learned == {SETTINGS.seed}
    assert not learned & set(asked)


@pytest.mark.parametrize("name", ["steps", "batch", "hidden", "layers", "heads", "max_positions"])
def test_sizes_below_1_are_refused(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name}=0 must lie in"):
        WarmStartSettings(**{name: 0})  # type: ignore[arg-type]
