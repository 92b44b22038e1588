"""What a user can reach: it is complete, sorted, explained, and light to import."""

import doctest
import importlib
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import sdpo_envs

ROOT = Path(__file__).parents[1]


@pytest.fixture(params=["sdpo_envs", "sdpo_agent"])
def package(request: pytest.FixtureRequest) -> ModuleType:
    if request.param == "sdpo_agent":
        pytest.importorskip("torch", reason="skips the agent: the extra 'agent' is not installed")
    return importlib.import_module(request.param)


def _isort_style(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_the_public_names_are_sorted_and_each_stands_once(package: ModuleType) -> None:
    assert list(package.__all__) == sorted(set(package.__all__), key=_isort_style)


def test_every_public_name_can_be_imported(package: ModuleType) -> None:
    taken: dict[str, Any] = {}
    exec(f"from {package.__name__} import *", taken)
    assert set(package.__all__) <= taken.keys()


def test_no_public_name_is_left_out(package: ModuleType) -> None:
    names = {name for name, value in vars(package).items() if name[0] != "_" and not isinstance(value, ModuleType)}
    names -= {"message"}  # what a failed import would say
    assert names - {"MissingExtra"} == set(package.__all__) - {"MissingExtra"}


def test_every_public_class_and_function_is_explained(package: ModuleType) -> None:
    silent = []
    for name in package.__all__:
        value = getattr(package, name)
        if not inspect.isclass(value) and not inspect.isfunction(value):
            continue
        members = vars(value).items() if inspect.isclass(value) else ()
        functions = [(f"{name}.{key}", each) for key, each in members if key[0] != "_" and _explainable(each)]
        for path, each in [(name, value), *functions]:
            text = each.__doc__ or ""
            if not text or text.startswith(f"{name}("):  # what dataclasses write by themselves
                silent.append(path)
    assert silent == []


def _explainable(member: Any) -> bool:
    return inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod)


@pytest.mark.parametrize("name", ["sdpo_envs", "sdpo_agent"])
def test_a_package_says_that_it_is_typed(name: str) -> None:
    assert (ROOT / name / "py.typed").is_file()


def test_the_version_stands_in_both_places() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sdpo_envs.__version__ == project["version"]


def _modules() -> list[str]:
    files = sorted((ROOT / "sdpo_envs").rglob("*.py"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]


@pytest.mark.filterwarnings("ignore:You are importing from .trl.experimental.")
@pytest.mark.parametrize("name", _modules())
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    if name == "sdpo_envs.adapters.verl_agent":
        pytest.importorskip("verl", reason="verl lives in a Python of its own; run `make verl`")
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def _import_in_a_new_process(then: str) -> str:
    code = f"import time; start = time.process_time(); import sdpo_envs; end = time.process_time(); import sys; {then}"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout


def test_importing_loads_nothing_heavy() -> None:
    loaded = set(_import_in_a_new_process("print(*sys.modules)").split())
    heavy = {"torch", "docker", "datasets", "transformers", "accelerate", "pandas", "pyarrow", "matplotlib", "rich"}
    assert not loaded & heavy
    assert not loaded & {f"sdpo_envs.{family}" for family in ("livecodebench", "sciknoweval", "tooluse")}
    assert "sdpo_envs.sandbox.local" not in loaded


def test_importing_prints_nothing() -> None:
    assert _import_in_a_new_process("pass") == ""


def test_importing_takes_less_than_300_milliseconds_of_a_processor() -> None:
    seconds = (float(_import_in_a_new_process("print(end - start)")) for _ in range(20))
    assert next((taken for taken in seconds if taken < 0.3), None) is not None
