"""What `sdpo doctor` looks at: each part on this machine, and on machines that lack something."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sdpo_envs.cli import machine
from sdpo_envs.cli.envs import Family
from sdpo_envs.errors import SdpoError
from sdpo_envs.registry import ENVIRONMENTS
from sdpo_envs.sandbox.doctor import Row


def by_name(rows: Any) -> dict[str, Row]:
    return {row.name: row for row in rows}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that these versions are installed, None for none, and of all else what is."""

    def pretend(**versions: str | None) -> None:
        def told(name: str) -> str:
            if versions.get(name, "") is None:
                raise PackageNotFoundError(name)
            return versions.get(name) or version(name)

        monkeypatch.setattr(machine, "version", told)

    return pretend


def test_the_core_works_where_the_tests_run() -> None:
    rows = by_name(machine.core())
    assert list(rows) == ["python", "gymnasium", "numpy", "environments"]
    assert all(row.works for row in rows.values())
    assert rows["python"].found.startswith(platform.python_version())
    assert rows["gymnasium"].found == version("gymnasium")
    assert f"of {len(ENVIRONMENTS)} can be made" in rows["environments"].found


def test_an_older_python_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "python_version", lambda: "3.10.2")
    row = next(machine.core())
    assert (row.works, row.cure) == (False, "Install Python >=3.11.")


@pytest.mark.parametrize(("there", "works"), [("1.4.0", True), ("1.4.0a1", False), ("1.3.0", False), ("2.0.0", False)])
def test_a_library_of_another_version_is_found_out(there: str, works: bool, installed: Any) -> None:
    installed(gymnasium=there)
    row = by_name(machine.core())["gymnasium"]
    assert row.works is works
    assert row.cure == "pip install 'gymnasium<2,>=1.4'"
    assert works or row.found == f"gymnasium {there}, where <2,>=1.4 is asked for"


def test_a_missing_library_is_found_out(installed: Any) -> None:
    installed(numpy=None)
    row = by_name(machine.core())["numpy"]
    assert (row.works, row.found) == (False, "no numpy")


def test_tasks_that_are_damaged_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(env_id: str) -> Family:
        raise SdpoError("The bundled tasks/x is missing.")

    monkeypatch.setattr(machine, "find", broken)
    row = by_name(machine.core())["environments"]
    assert not row.works
    assert "The bundled tasks/x is missing." in row.found
    assert "pip install --force-reinstall" in row.cure


def test_every_extra_that_a_user_may_want_is_looked_at() -> None:
    asked = {line.partition("extra == ")[2].strip("'\"") for line in requires("sdpo-envs") or () if "extra == " in line}
    assert set(by_name(machine.extras())) == asked - {"all"}


def test_an_extra_tells_what_is_there_and_what_is_not(installed: Any) -> None:
    installed(rich="15.0.0", tyro="1.0.17", rapidfuzz=None, docker="6.1")
    rows = by_name(machine.extras())
    assert "rich 15.0.0" in rows["cli"].found
    assert "tyro 1.0.17" in rows["cli"].found
    assert not rows["webshop"].works
    assert "no rapidfuzz" in rows["webshop"].found
    assert rows["webshop"].cure == "pip install 'sdpo-envs[webshop]'"
    assert (rows["docker"].works, rows["docker"].found) == (False, "docker 6.1, where >=7 is asked for")
    assert rows["verl"].cure == "pip install 'sdpo-envs[verl]', in a virtual environment of its own"


def test_where_there_is_no_torch_nothing_is_started(installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(torch=None)
    monkeypatch.delattr(subprocess, "run")
    (row,) = machine.devices()
    assert (row.works, row.found) == (False, "not installed")
    assert "sdpo-envs[agent]" in row.cure


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("raise OSError('libcudart.so: cannot open')", "OSError: libcudart.so: cannot open"),
        ("import os; os.abort()", "ended with code -6"),
        ("import time; time.sleep(60)", "did not load within 0.5 seconds"),
        ('print(\'["2.9", ["NVIDIA A", "NVIDIA B"], false, 8]\')', "2.9, NVIDIA A, NVIDIA B; 8 threads"),
        ("print('[\"2.9\", [], true, 8]')", "2.9, Metal; 8 threads"),
    ],
)
def test_a_torch_that_does_not_load_breaks_nothing(
    code: str, found: str, installed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(torch="2.9")
    monkeypatch.setattr(machine, "_TORCH", code)
    monkeypatch.setattr(machine, "_SECONDS", 0.5 if "sleep" in code else 60)
    (row,) = machine.devices()
    assert row.works is code.startswith("print")
    assert row.found.startswith(found)


def test_room_is_looked_at_where_it_is_written_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "not" / "made" / "yet"))
    free = {"free": 8 * 2**30}
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(**free))
    rows = by_name(machine.room())
    assert rows["models"].found == f"8.0 GiB free in {tmp_path}/not/made/yet"
    assert rows["runs"].found == f"8.0 GiB free in {tmp_path}"
    assert all(row.works for row in rows.values())
    free["free"] = 2**30
    assert not any(row.works for row in machine.room())
    assert rows["models"].cure == "Set HF_HOME to a folder with more room."


def test_a_folder_that_cannot_be_written_to_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    for row in machine.room():
        assert not row.works
        assert row.found.endswith(", which cannot be written to")


def test_the_walls_are_those_of_the_sandbox_s_own_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "examine", lambda: iter([Row("local wall", True, "ran")]))
    assert [*machine.walls()] == [Row("local wall", True, "ran")]
