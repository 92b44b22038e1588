"""`sdpo envs` tells what is there, and what is not."""

import sys
from pathlib import Path
from typing import Any

import addition
import gymnasium
import pytest
from commandline import run

from sdpo_envs.alfredgame import shipped
from sdpo_envs.cli import envs
from sdpo_envs.registry import ENVIRONMENTS, EXTRAS
from sdpo_envs.sandbox.doctor import Row

assert addition  # registers its environments, before one lists what a module does

MODULES = {"alfworld": "alfworld", "retrieval": "bm25s", "webshop": "rapidfuzz"}
"""A module that each extra of an environment brings."""


@pytest.fixture(autouse=True)
def _a_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envs, "wall", lambda *_: Row("local wall", True, "ran"))


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    ended = run(capsys, "envs", "--json", *arguments)
    assert (ended.code, ended.err) == (0, "")
    return {each["id"]: each for each in ended.json()}


def test_every_environment_is_listed_with_what_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys)
    assert list(found) == list(ENVIRONMENTS)
    for env_id, each in found.items():
        assert each["about"].endswith(".")
        if each["missing"]:
            continue
        env: Any = gymnasium.make(env_id, disable_env_checker=True).unwrapped
        assert each["tasks"] == len(env.tasks)
        assert each["turns"] == getattr(env, "turns", 1)
        assert ("wall" in each["needs"]) == hasattr(env, "sandbox")
        env.close()
    assert found["sdpo/SciKnowEval-v0"]["test_tasks"] == 40
    assert found["sdpo/LiveCodeBench-v0"]["test_tasks"] is None  # it has windows, and no splits


@pytest.mark.parametrize("extra", sorted(set(EXTRAS.values())))
def test_an_environment_whose_extra_is_missing_says_how_to_get_it(
    extra: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that the registry says need it, and no others."""
    monkeypatch.setitem(sys.modules, MODULES[extra], None)
    shipped.cache_clear()  # ALFWorld's rules, which another test may have read
    found = listed(capsys)
    missing = {env_id for env_id, each in found.items() if f"'sdpo-envs[{extra}]'" in each["missing"]}
    needed = {env_id for env_id, own in EXTRAS.items() if extra == own}
    assert all(extra in found[env_id]["needs"] for env_id in needed)
    assert missing == needed | ({"sdpo/WebShop-v0"} if extra == "retrieval" else set())  # which `webshop` brings too
    table = run(capsys, "envs").out
    assert f"pip install 'sdpo-envs[{extra}]'" in " ".join(table.split())


def test_where_no_wall_stands_those_that_run_programs_are_not_ready(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envs, "wall", lambda *_: Row("local wall", False, "no namespaces"))
    broken = {env_id for env_id, each in listed(capsys).items() if "no namespaces" in each["missing"]}
    assert broken == {"sdpo/LiveCodeBench-v0", "sdpo/MicroCode-v0"}


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_the_table_keeps_to_the_width(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    table = run(capsys, "envs").out
    assert max(map(len, table.splitlines())) <= columns
    if columns >= 80:
        assert all(env_id in table for env_id in ENVIRONMENTS)


def test_a_module_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    ended = run(capsys, "envs", "no_such_module")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "ModuleNotFoundError: No module named 'no_such_module'\n"


MINE = """
import functools

import gymnasium
from addition import Addition

from sdpo_envs.errors import choose


class Asking(Addition):
    'Sums that ask for a setting.'

    def __init__(self, level, *, split="first", **settings):
        choose("split", split, ["first", "second"])
        super().__init__(**settings)


gymnasium.register("mine/Asking-v0", entry_point=Asking)
gymnasium.register("mine/Level-v0", entry_point=functools.partial(Asking, 3))
gymnasium.register("mine/Other-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv")
"""


def test_what_a_module_registers_is_listed_after_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where a keyword is given already, or is still asked for; but nothing that gives no feedback."""
    (tmp_path / "mine_to_list.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        found = listed(capsys, "mine_to_list")
    finally:
        for name in ("Asking", "Level", "Other"):
            gymnasium.registry.pop(f"mine/{name}-v0", None)
    assert list(found) == [*ENVIRONMENTS, "mine/Asking-v0", "mine/Level-v0"]
    assert found["mine/Asking-v0"]["missing"] == "It asks for --settings: level."
    assert found["mine/Level-v0"]["about"] == "Sums that ask for a setting."
    level = found["mine/Level-v0"]
    assert (level["tasks"], level["test_tasks"], level["turns"]) == (16, None, 1)
