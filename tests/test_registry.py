import functools
import importlib
import re
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec

import sdpo_envs
from sdpo_envs import FeedbackEnv, GroupEnv
from sdpo_envs.registry import ADAPTED, ENVIRONMENTS

REGISTERED = ENVIRONMENTS | ADAPTED
each_environment = pytest.mark.parametrize(("env_id", "entry_point"), REGISTERED.items(), ids=list(REGISTERED))


def _load(entry_point: str) -> Any:
    module, name = entry_point.split(":")
    return getattr(importlib.import_module(module), name)


@each_environment
def test_an_id_has_a_namespace_a_name_in_pascal_case_and_a_version(env_id: str, entry_point: str) -> None:
    name = entry_point.partition(":")[2]
    assert re.fullmatch(rf"sdpo/{name}-v[0-9]+", env_id)
    assert re.fullmatch(r"[A-Z][A-Za-z0-9]+", name)


@each_environment
def test_an_id_is_registered_by_strings_only(env_id: str, entry_point: str) -> None:
    spec = gymnasium.spec(env_id)
    assert spec.entry_point == entry_point
    assert spec.vector_entry_point == f"{entry_point}Group"
    assert EnvSpec.from_json(spec.to_json()) == spec


@each_environment
def test_an_entry_point_is_an_environment_with_feedback_and_its_group(env_id: str, entry_point: str) -> None:
    family, group = _load(entry_point), _load(f"{entry_point}Group")
    assert issubclass(family, FeedbackEnv)
    assert isinstance(group, functools.partial)
    assert (group.func, group.args) == (GroupEnv, (family,))


def test_every_family_in_the_package_is_registered() -> None:
    families = set()
    for path in Path(sdpo_envs.__file__).parent.glob("*.py"):
        for name in re.findall(r"^class (\w+)\((?:Feedback|Judged|Turns)Env\):", path.read_text(), re.MULTILINE):
            families.add(f"sdpo_envs.{path.stem}:{name}")
    assert families - {"sdpo_envs.env:JudgedEnv", "sdpo_envs.turns:TurnsEnv"} == set(ENVIRONMENTS.values())


def test_no_id_of_ours_is_registered_elsewhere() -> None:
    assert {env_id for env_id in gymnasium.registry if env_id.startswith("sdpo/")} == set(REGISTERED)


def test_the_package_can_be_handed_to_gymnasium() -> None:
    gymnasium.register_envs(sdpo_envs)
