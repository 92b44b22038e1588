"""`sdpo doctor`: what it writes, and when it is content."""

import importlib.util
from importlib.metadata import version
from typing import Any

import pytest
from commandline import run

from sdpo_envs.cli import doctor
from sdpo_envs.cli.machine import PARTS
from sdpo_envs.sandbox.doctor import Row

OK = Row("a", True, "there", "never told")
NO = Row("b", False, "gone [red]\x1b[2J", "do this\nor that")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have parts find these rows."""

    def rows(**parts: list[Row]) -> None:
        monkeypatch.setattr(doctor, "PARTS", {name: lambda told=told: iter(told) for name, told in parts.items()})

    return rows


def test_only_the_core_decides_the_exit_code(found: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found(core=[OK], extras=[OK, NO], walls=[NO])
    assert run(capsys, "doctor").code == 0
    assert run(capsys, "doctor", "--json").code == 0
    found(core=[OK, NO], extras=[OK])
    assert run(capsys, "doctor").code == 1
    assert run(capsys, "doctor", "--json").code == 1


def test_what_works_is_a_line_and_what_does_not_has_its_cure_below(
    found: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    found(core=[OK, NO], extras=[NO])
    ended = run(capsys, "doctor")
    lines = [line.rstrip() for line in ended.out.splitlines()]
    assert lines[1:5] == [
        "ok  a  there",
        "NO  b  gone [red]\\x1b[2J",
        "       do this",
        "       or that",
    ]
    assert lines[6] == "no  b  gone [red]\\x1b[2J"
    assert "never told" not in ended.out
    assert ended.err == ""


def test_json_holds_every_row(found: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found(core=[OK], walls=[NO])
    assert run(capsys, "doctor", "--json").json() == [
        {"part": "core", "name": "a", "works": True, "found": "there", "cure": "never told", "needed": True},
        {"part": "walls", "name": "b", "works": False, "found": NO.found, "cure": NO.cure, "needed": False},
    ]


def test_on_this_machine_every_part_finds_something_and_the_core_works(capsys: pytest.CaptureFixture[str]) -> None:
    ended = run(capsys, "doctor", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert {each["part"] for each in ended.json()} == set(PARTS)
    (device,) = (each for each in ended.json() if each["part"] == "devices")
    there = importlib.util.find_spec("torch") is not None
    assert device["works"] is there
    assert device["found"].startswith(f"{version('torch')}, " if there else "not installed")
