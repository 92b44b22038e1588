"""Where the policy comes from, and what it is put to."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import pytest
import torch
from letters import Say

from sdpo_agent import Conversation, Policy
from sdpo_agent.options import WARM, Remote, Source, World
from sdpo_agent.server import Server
from sdpo_envs import GroupEnv, SettingError
from sdpo_envs.cli import parse_settings

# Of peft and of the transformers library, whose names change with version 6.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.(is_gradient_checkpointing|gradient_checkpointing_enable):FutureWarning"
)
SCIENCE = "sdpo/SciKnowEval-v0"


@pytest.fixture
def registered() -> Iterator[None]:
    gymnasium.register("agent-test/Alone-v0", entry_point=Say)
    gymnasium.register("agent-test/Other-v0", vector_entry_point=Other)
    gymnasium.register("agent-test/Broken-v0", vector_entry_point=functools.partial(GroupEnv, lambda: undefined()))
    yield
    for name in ("Alone", "Other", "Broken"):
        del gymnasium.registry[f"agent-test/{name}-v0"]


class Other(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """It takes a group size, and is something else."""

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": gymnasium.vector.AutoresetMode.DISABLED}

    def __init__(self, num_envs: int, group_size: int) -> None:
        self.num_envs = num_envs


def undefined() -> Any:
    raise TypeError("this environment has a mistake in it")


def prompts() -> GroupEnv:
    return GroupEnv(Say, 2, 2)


# --- the world


def test_groups_are_made_of_any_registered_environment() -> None:
    envs = World("letters:agent-test/Say-v0", '{"reveal": true}').groups(3, 2)
    assert (envs.num_envs, envs.group_size, envs.num_groups) == (6, 2, 3)
    assert envs.envs[0].unwrapped.reveal is True
    assert World(SCIENCE, '{"domain": "physics"}').groups(1, 1).task_ids[0].startswith("physics/")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("env", ["agent-test/Alone-v0", "agent-test/Other-v0", "CartPole-v1"])
def test_an_environment_without_groups_is_refused_with_the_remedy(env: str) -> None:
    with pytest.raises(SettingError, match=f"{env} has no groups; register it with vector_entry_point"):
        World(env).groups(2, 2)


@pytest.mark.usefixtures("registered")
def test_a_mistake_of_the_environment_is_not_taken_for_a_lack_of_groups() -> None:
    with pytest.raises(TypeError, match="has a mistake in it"):
        World("agent-test/Broken-v0").groups(1, 2)
    with pytest.raises(TypeError, match="domian"):
        World(SCIENCE, '{"domian": "physics"}').groups(1, 2)


@pytest.mark.parametrize("text", ["{", "[1]", "domain=physics", "", "null", '"a"'])
def test_settings_that_are_no_json_object_are_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"--settings must be a JSON object, not "):
        parse_settings(text)
    with pytest.raises(SettingError, match="--env-settings must be a JSON object"):
        World(SCIENCE, text).groups(1, 1)


@pytest.mark.parametrize("settings", [{}, {"domain": "physics", "reveal": True}, {"a": [1, None, {"b": "é"}]}])
def test_settings_are_read(settings: dict[str, Any]) -> None:
    assert parse_settings(json.dumps(settings)) == settings


def test_a_world_is_changed_by_keywords_on_top_of_its_own() -> None:
    world = World(SCIENCE, '{"domain": "physics", "split": "train", "reveal": true}')
    changed = world.changed('{"split": "test", "limit": 7}')
    assert changed.env == SCIENCE
    assert json.loads(changed.env_settings) == {"domain": "physics", "split": "test", "reveal": True, "limit": 7}
    assert json.loads(world.env_settings)["split"] == "train"
    assert json.loads(world.changed("{}").env_settings) == json.loads(world.env_settings)
    ids = [each.groups(1, 1).task_ids for each in (world, world.changed('{"split": "test"}'))]
    assert not {*ids[0]} & {*ids[1]}


def test_the_flag_that_is_wrong_is_named() -> None:
    with pytest.raises(SettingError, match=r"--test-settings must be a JSON object, not 'split=test'"):
        World(SCIENCE).changed("split=test")
    with pytest.raises(SettingError, match=r"--env-settings must be a JSON object, not '\[1\]'"):
        World(SCIENCE, "[1]").changed("{}")


# --- the policy


def test_without_a_name_a_small_policy_is_built_and_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    one, same, other = (Source().load(prompts(), seed) for seed in (0, 0, 1))
    assert "untrained" in capsys.readouterr().err
    weights = [next(iter(policy.model.parameters())) for policy in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert one.max_positions == 16_384
    assert not one.adapters


def test_what_is_said_of_the_weights_holds_for_a_small_policy_too() -> None:
    policy = Source(dtype="bfloat16", autocast="bfloat16", recompute=True).load(prompts(), 0)
    assert next(iter(policy.model.parameters())).dtype is torch.bfloat16
    assert policy.autocast is torch.bfloat16
    assert policy.recompute
    plain = Source().load(prompts(), 0)
    assert (next(iter(plain.model.parameters())).dtype, plain.autocast, plain.recompute) == (torch.float32, None, False)


def test_a_policy_is_loaded_from_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = Policy.small(hidden=16, layers=1, heads=2, seed=3)
    saved.save(tmp_path)
    policy = Source(str(tmp_path), dtype="bfloat16", autocast="bfloat16", recompute=True).load(prompts(), 0)
    assert "untrained" not in capsys.readouterr().err
    weights = [next(iter(each.model.parameters())) for each in (policy, saved)]
    assert torch.equal(weights[0], weights[1].to(torch.bfloat16))
    assert policy.autocast is torch.bfloat16
    assert policy.recompute


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_what_it_reads_can_be_bounded_but_not_stretched(tmp_path: Path, lora_rank: int) -> None:
    if lora_rank:
        pytest.importorskip("peft")
    Policy.small(hidden=16, layers=1, heads=2, max_positions=100).save(tmp_path)
    least = len(Policy.load(tmp_path).chat.context_ids(Conversation("a"))) + 1
    for context, expected in ((None, 100), (least, least), (99, 99), (101, 100)):
        policy = Source(str(tmp_path), context=context, lora_rank=lora_rank).load(prompts(), 0)
        assert policy.max_positions == expected
        assert policy.fits(Conversation("a"), expected - least + 1)
        assert not policy.fits(Conversation("a"), expected - least + 2)


@pytest.mark.parametrize("name", WARM)
def test_some_policies_come_with_the_package(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    saved = Policy.small(hidden=16, layers=1, heads=2, seed=3)
    saved.save(tmp_path / "tasks" / name / "policy")
    monkeypatch.setattr("sdpo_agent.options.bundled", tmp_path.joinpath)
    policy = Source(name).load(prompts(), 0)
    weights = [next(iter(each.model.parameters())) for each in (policy, saved)]
    assert torch.equal(*weights)


def test_adapters_are_put_on_and_they_alone_are_trained() -> None:
    pytest.importorskip("peft")
    policy = Source(lora_rank=2).load(prompts(), 0)
    assert policy.adapters
    trained = sum(weight.numel() for weight in policy.trainable())
    assert 0 < trained < 0.1 * sum(weight.numel() for weight in policy.model.parameters())
    again = Source(lora_rank=2).load(prompts(), 0)
    assert all(torch.equal(*pair) for pair in zip(policy.trainable(), again.trainable(), strict=True))


# --- a server in its place


def test_a_url_names_a_server() -> None:
    pytest.importorskip("openai")
    server = Remote("http://localhost:1/v1", "some/model", "secret", 30).sampler(Source(), prompts(), 0)
    assert isinstance(server, Server)
    assert (server.url, server.model) == ("http://localhost:1/v1", "some/model")
    assert [server.fits(Conversation("a" * length), 9) for length in (30, 31)] == [True, False]


@pytest.mark.parametrize(
    ("remote", "source", "message"),
    [
        (Remote("http://localhost:1/v1"), Source(), "needs --model"),
        (Remote(model="some/model"), Source(), "--model needs --url"),
        (Remote("http://localhost:1/v1", "some/model"), Source("micro"), "leave one out"),
    ],
)
def test_half_a_server_and_a_second_policy_are_refused(remote: Remote, source: Source, message: str) -> None:
    """Rather than that another policy is scored under that name."""
    with pytest.raises(SettingError, match=message):
        remote.sampler(source, prompts(), 0)


def test_without_a_url_the_policy_writes() -> None:
    assert isinstance(Remote().sampler(Source(), prompts(), 0), Policy)
