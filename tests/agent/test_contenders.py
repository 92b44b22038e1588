"""What the benchmark compares: every contender is a command line that is understood, and all are tuned alike."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdpo_agent import PRESETS
from sdpo_agent.__main__ import Train, parse
from sdpo_agent.contenders import CONTENDERS, Contender, contenders
from sdpo_envs import SettingError


def understood(command: tuple[str, ...]) -> Train:
    train = parse(["train", *command])
    assert isinstance(train, Train)
    return train


def told(train: Train) -> tuple[Any, ...]:
    return train.settings, train.loop, train.tasks, train.group_size


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_variant_is_understood_and_no_two_are_the_same(name: str) -> None:
    contender = CONTENDERS[name]
    variants = [told(understood(command)) for command in contender.commands(150)]
    assert len(variants) == len(contender.variants)
    assert all(one not in variants[:number] for number, one in enumerate(variants))
    preset = PRESETS[contender.preset]
    assert {type(settings) for settings, *_ in variants} == {type(preset.settings)}


def test_all_choose_among_equally_many() -> None:
    assert len({len(each.variants) for each in CONTENDERS.values()}) == 1


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_step_of_every_variant_is_paid_for_with_as_many_attempts(name: str) -> None:
    job = ("--tasks", "8", "--group-size", "8")
    made = [understood((preset, *job, *flags)) for preset, *flags in CONTENDERS[name].commands(150)]
    assert {train.tasks * train.group_size for train in made} == {64}
    assert any(train.tasks != 8 for train in made)


def test_a_variant_has_the_last_word() -> None:
    contender = CONTENDERS["hybrid"]
    shares = [understood(command).settings.policy_share for command in contender.commands(150)]
    assert (shares[0], max(shares)) == (0.5, 0.9)


def test_the_hybrid_is_sdpo_but_for_its_share_of_the_policy_gradient() -> None:
    one, other = (understood(CONTENDERS[name].commands(150)[-1]).settings for name in ("sdpo", "hybrid"))
    assert (one.policy_share, other.policy_share) == (0.0, 0.9)
    assert one == replace(other, policy_share=0.0)


def test_a_pace_may_follow_from_the_steps_of_the_run() -> None:
    falling = understood(CONTENDERS["sdpo"].commands(170)[0]).loop
    assert falling.decay_steps == 170
    assert Contender("sdpo", "--name '{steps} of {steps}'").commands(3) == [("sdpo", "--name", "3 of 3")]


def test_the_released_recipe_is_the_preset_s() -> None:
    for command in CONTENDERS["sdpo-released"].commands(150):
        assert understood(command).settings == PRESETS["sdpo"].settings


def test_a_command_is_the_preset_its_flags_and_those_of_a_variant() -> None:
    contender = Contender("grpo", "--kl 0.1 --name 'a b'", ("", "--seed 2"))
    assert contender.commands(150) == [
        ("grpo", "--kl", "0.1", "--name", "a b"),
        ("grpo", "--kl", "0.1", "--name", "a b", "--seed", "2"),
    ]
    assert Contender("grpo").commands(150) == [("grpo",)]


def test_they_come_in_the_order_they_are_named() -> None:
    chosen = contenders(["sdpo", "grpo"])
    assert list(chosen.items()) == [("sdpo", CONTENDERS["sdpo"]), ("grpo", CONTENDERS["grpo"])]


def test_one_is_made_of_a_preset_and_flags() -> None:
    flags = """--teacher frozen --env-settings '{"a": "b=c"}'"""
    chosen = contenders(["mine=sdpo --teacher frozen", "dapo-2=dapo", f"json=sdpo {flags}", "sdpo=grpo"])
    assert chosen == {
        "mine": Contender("sdpo", "--teacher frozen"),
        "dapo-2": Contender("dapo"),
        "json": Contender("sdpo", flags),
        "sdpo": Contender("grpo"),
    }
    assert understood(*chosen["mine"].commands(150)).settings.teacher == "frozen"
    assert json.loads(understood(*chosen["json"].commands(150)).world.env_settings) == {"a": "b=c"}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["grpo", "grpo"], "Two contenders are called 'grpo'"),
        (["grpo", "grpo=sdpo"], "Two contenders are called 'grpo'"),
        (["gppo"], "algorithms='gppo' is not offered.*grpo"),
        (["mine=gppo --kl 1"], "preset='gppo' is not offered.*grpo"),
        (["mine="], "preset='' is not offered"),
        (["cispo"], "algorithms='cispo' is not offered"),  # a preset, which no variants have been written for
        (["=sdpo"], "'' cannot be the name"),
        (["tuning=sdpo"], "'tuning' cannot be the name"),
        (["report=sdpo"], "'report' cannot be the name"),
        (["..=sdpo"], r"'\.\.' cannot be the name"),
        (["a/b=sdpo"], "'a/b' cannot be the name"),
        (["sdpo --alpha=0.5"], "'sdpo --alpha' cannot be the name"),
    ],
)
def test_what_makes_no_sense_is_refused(names: list[str], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        contenders(names)


def test_every_name_is_that_of_a_folder() -> None:
    assert all(Path("runs", name).name == name for name in contenders([*CONTENDERS]))
