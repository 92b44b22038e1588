"""`sdpo judge-agreement` against judges behind a server on this machine."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gullible import PASSED, WRONG, Model, honest, read, refused, serving

from sdpo_envs.cli import main

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Run the command against a model; return how it ended and what it wrote."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def run(model: Model, *arguments: str) -> tuple[int, str, str]:
        code = 0
        with serving(model) as server:
            try:
                main(["judge-agreement", "--model", "judge-1", "--url", server.url, *arguments])
            except SystemExit as error:
                code = int(str(error.code))
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def numbers(told: tuple[int, str, str]) -> dict[str, Any]:
    code, out, _ = told
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    return found


def test_an_honest_judge_agrees_with_the_rule(ask: Ask) -> None:
    told = numbers(ask(honest, "--tasks", "6", "--json"))
    assert (told["agreement"], told["kappa"], told["errors"]) == (1.0, 1.0, 0)
    assert told["table"] == {
        "passed": {"passed": 6, "wrong": 0, "malformed": 0},
        "wrong": {"passed": 0, "wrong": 6, "malformed": 0},
        "malformed": {"passed": 0, "wrong": 0, "malformed": 6},
    }
    assert (told["requests"], told["prompt_tokens"], told["answer_tokens"]) == (18, 1800, 180)
    assert 0.8 < told["low"] < 1.0 == told["high"]


def test_a_lenient_judge_is_told_by_the_table_and_by_kappa(ask: Ask) -> None:
    code, out, _ = ask(lambda body: PASSED, "--tasks", "3")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["agreement", "3", "of", "9,", "0.333", "[0.121,", "0.646]"] in lines
    assert ["Cohen's", "kappa", "0.000"] in lines
    assert ["judge", "errors", "0", "of", "9"] in lines
    assert ["wrong", "3", "0", "0"] in lines
    assert sum("by the rule; by the model: passed" in line for line in out.splitlines()) == 6


def test_errors_are_counted_and_the_rest_is_compared(ask: Ask) -> None:
    def model(body: Any) -> Any:
        return honest(body) if "<answer>" in read(body["messages"]).said("SUBMISSION") else refused(400, "no")

    told = numbers(ask(model, "--tasks", "4", "--json"))
    assert (told["errors"], told["judged"], told["agreement"]) == (4, 8, 1.0)


def test_a_judge_that_decides_about_nothing_is_no_agreement(ask: Ask) -> None:
    code, out, err = ask(lambda body: "no", "--tasks", "2")
    assert (code, out) == (1, "")
    assert err.startswith("JudgeError: The model decided about none of 6 actions: The judge 'judge-1' gave no valid")


def test_answers_are_remembered_where_asked(ask: Ask, tmp_path: Path) -> None:
    first = numbers(ask(honest, "--tasks", "2", "--cache", str(tmp_path), "--json"))
    again = numbers(ask(lambda body: WRONG, "--tasks", "2", "--cache", str(tmp_path), "--json"))
    assert (first["requests"], again["requests"]) == (6, 0)
    assert again["table"] == first["table"]


def test_a_rubric_of_ones_own_and_settings_reach_the_judge(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "rubric.txt").write_text("passed: always.")
    bodies: list[Any] = []

    def model(body: Any) -> str:
        bodies.append(body)
        return PASSED

    numbers(
        ask(
            model,
            *("--tasks", "1", "--json", "--criteria", str(tmp_path / "rubric.txt")),
            *("--settings", '{"domain": "physics", "split": "test"}', "--judge-settings", '{"max_tokens": 77}'),
        )
    )
    assert {body["max_tokens"] for body in bodies} == {77}
    assert all("Rubric:\npassed: always." in body["messages"][1]["content"] for body in bodies)


@pytest.mark.parametrize("settings", ['{"trie": 1}', '{"url": "http://localhost"}'])
def test_a_keyword_that_the_judge_does_not_take_is_an_error(ask: Ask, settings: str) -> None:
    code, _, err = ask(honest, "--judge-settings", settings)
    assert code == 1
    assert err.startswith("SettingError: keyword=")


def test_an_environment_that_cannot_be_asked_says_why(ask: Ask) -> None:
    code, _, err = ask(honest, "--env", "sdpo/MicroHouse-v0")
    assert code == 1
    assert "SettingError: MicroHouse has episodes of many turns" in err
