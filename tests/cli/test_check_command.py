"""`sdpo check` says of each law how it fared, and of one that is broken what to do."""

import json
import re
import sys
from typing import Any

import gymnasium
import pytest
from addition import ADDITION

from sdpo_envs.check import LAWS
from sdpo_envs.cli import main

BROKEN = "tests/Broken-v0"
LAWS_BY_NAME = {law.name: law for law in LAWS}


@pytest.fixture
def broken() -> Any:
    """Register an environment without groups, whose spec JSON cannot hold, and which breaks on silence."""
    gymnasium.register(BROKEN, entry_point=_broken)
    yield BROKEN
    del gymnasium.registry[BROKEN]


def _broken(**settings: Any) -> Any:
    from addition import Addition

    class Broken(Addition):
        def step(self, action: str) -> Any:
            return super().step(action or action[3])

    return Broken(**settings)


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = 0
    try:
        main(["check", *arguments])
    except SystemExit as error:
        code = int(str(error.code))
    told = capsys.readouterr()
    return code, told.out, told.err


def test_each_law_that_is_kept_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = check(capsys, ADDITION)
    assert code == 0
    assert out.splitlines() == [f"passed       {law.name}: {law.demand}" for law in LAWS]


def test_a_broken_law_says_what_failed_why_it_matters_and_how_to_mend_it(
    capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    code, out, _ = check(capsys, broken)
    assert code == 1
    law = LAWS_BY_NAME["hostile_actions"]
    place = out.index(f"failed       hostile_actions: {law.demand}\n")
    assert out[place:].splitlines()[1].strip().startswith(f"What failed: IndexError was raised in {__file__}, line ")
    assert f"Why it matters: {law.why}\n" in out[place:]
    assert f"How to mend it: {law.mend}\n" in out[place:]
    assert "not checked  groups: " in out
    assert "Not checked: There are no groups;" in out
    assert "passed       oracle: " in out


def test_on_a_terminal_what_is_long_goes_on_beside_the_state(
    capsys: pytest.CaptureFixture[str], broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    lines = re.sub(r"\x1b\[[\d;]*m", "", check(capsys, broken)[1]).splitlines()
    assert max(map(len, lines)) <= 60
    states = [line[:13].strip() for line in lines]
    assert len(states) > 2 * len(LAWS)
    assert set(states) == {"", "passed", "failed", "not checked"}


def test_a_script_reads_the_same(capsys: pytest.CaptureFixture[str], broken: str) -> None:
    code, out, _ = check(capsys, broken, "--json")
    assert code == 1
    rows = {row["law"]: row for row in json.loads(out)}
    assert list(rows) == list(LAWS_BY_NAME)
    assert rows["oracle"]["state"] == "passed"
    assert rows["groups"]["state"] == "not checked"
    assert rows["hostile_actions"]["state"] == "failed"
    assert rows["hostile_actions"]["mend"] == LAWS_BY_NAME["hostile_actions"].mend


def test_settings_reach_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = check(capsys, "sdpo/MicroTool-v0", "--settings", '{"level": "hard", "reveal": true}', "--json")
    assert code == 0
    assert {row["state"] for row in json.loads(out)} == {"passed"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((ADDITION, "--settings", "{"), "--settings"),
        ((ADDITION, "--settings", "[1]"), "--settings"),
        ((ADDITION, "--settings", '{"limit": -1}'), "limit=-1 is not offered"),
        (("sdpo/NoSuch-v0",), "NoSuch"),
        (("no_such_module:some/Env-v0",), "no_such_module"),
        (("CartPole-v1",), "must be a FeedbackEnv, not CartPole"),
    ],
)
def test_what_cannot_be_checked_at_all_is_an_error(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = check(capsys, *arguments)
    assert code == 1
    assert out == ""
    assert says in err
    assert "Traceback" not in err
