"""`sdpo evaluate` and `sdpo discover` against a real server, `transformers serve`, and what goes wrong."""

import json
import re
import shlex
import socket
from pathlib import Path
from typing import Any

import pytest

from sdpo_agent import Answers, Server
from sdpo_agent.__main__ import parse
from sdpo_agent.evaluation import Evaluate
from sdpo_envs.bench import evaluate
from sdpo_envs.cli import main, read
from sdpo_envs.errors import InfrastructureError, SettingError
from sdpo_envs.record import rows, told

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
SMALL = ["--tasks", "3", "--attempts", "2", "--slots", "6", "--max-tokens", "12"]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def of(served: tuple[str, str]) -> list[str]:
    return ["--model", served[0], "--url", served[1]]


def numbers(command: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    read("evaluate", [*command, "--json"])()
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_served_model_is_scored_and_its_tokens_are_in_the_record(
    transformers_serve: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = [*of(transformers_serve), *SMALL, "--env", "sdpo/ToolUse-v0", "--run", str(run)]
    found = numbers(command, capsys)
    (score,) = found["scores"]
    assert (score["name"], score["tasks"], score["attempts"], score["broken"]) == ("sdpo/ToolUse-v0", 3, 2, 0)
    assert score["average"]["value"] == 0, "A model that writes a and b calls no tool."
    written = rows(run)
    assert len(written) == found["written"] == 6
    assert all(re.fullmatch("[ab]{0,12}", row.actions[0]) for row in written)
    assert len({row.actions for row in written}) > 1
    for row in written:
        assert row.tokens == min(len(row.actions[0]) + 1, 12)
        assert row.cut_short == (row.tokens == 12)
        assert row.prompt_tokens is not None
        assert row.prompt_tokens > 100
    assert found["tokens"] == sum(row.tokens or 0 for row in written)
    assert found["prompt_tokens"] == sum(row.prompt_tokens or 0 for row in written)
    assert found["cut_short"] == sum(row.cut_short for row in written)
    assert told(run)["policy"] == transformers_serve[0]
    again = numbers([*command, "--resume"], capsys)
    assert again["scores"] == found["scores"]
    assert again["written"] == 0, "What stands in the record is not asked for again."


def test_episodes_of_many_turns_are_conversations_with_a_served_model(
    transformers_serve: tuple[str, str], tmp_path: Path
) -> None:
    world = ("sdpo/MicroHouse-v0", {"prompt": "new"})
    answers = Answers(Server(*transformers_serve, concurrent=4), max_tokens=6)
    scores = evaluate(answers, [world], attempts=2, tasks=1, slots=2, history="conversation", run=tmp_path)
    assert scores.overall.broken == 0
    assert all(len(row.actions) > 1 for row in rows(tmp_path))
    assert answers.written == sum(len(row.actions) for row in rows(tmp_path))


def test_tasks_are_discovered_with_a_served_model(transformers_serve: tuple[str, str], tmp_path: Path) -> None:
    options = ["--ways", "best-of-k", "feedback", "--batch", "2", "--attempts", "4", "--max-tokens", "8"]
    parse(["discover", *of(transformers_serve), *options, "--env", "sdpo/ToolUse-v0", "--run", str(tmp_path)])()
    for way in ("best-of-k", "feedback"):
        (record,) = (tmp_path / way).rglob("attempts.jsonl")
        found = [json.loads(line) for line in record.read_text().splitlines()]
        assert len(found) == 4
        assert all(row["tokens"] > 0 and row["prompt_tokens"] > 100 and not row["error"] for row in found)
        longer = found[-1]["prompt_tokens"] > found[0]["prompt_tokens"]
        assert longer == (way == "feedback"), "Feedback is in the prompt of later rounds."


def test_a_table_says_what_it_cost(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = ["--policy", "micro", "--suite", "micro", "--tasks", "2", "--attempts", "2", "--max-tokens", "16"]
    read("evaluate", [*command, "--run", str(tmp_path / "run")])()
    shown = capsys.readouterr().out
    assert "sdpo/MicroCode-v0 split=test" in shown
    assert "all" in shown
    assert re.search(r"8 actions, \d+ of them cut short; \d+ written; recorded in", " ".join(shown.split()))


def test_a_server_that_is_not_there_ends_the_command_and_is_no_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        command = ["--url", url, "--model", "m", "--tries", "1", *SMALL, "--run", str(tmp_path)]
        with pytest.raises(SystemExit) as ended:
            main(["evaluate", *command])
    assert ended.value.code == 1
    assert "InfrastructureError" in capsys.readouterr().err
    assert rows(tmp_path) == []


def test_a_model_that_the_server_does_not_have_is_told(transformers_serve: tuple[str, str], tmp_path: Path) -> None:
    command = ["--url", transformers_serve[1], "--model", "other", *SMALL, "--run", str(tmp_path)]
    with pytest.raises(InfrastructureError, match="pinned"):
        read("evaluate", command)()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["--suite", "micro", "--env-settings", '{"reveal": true}'], "leave out --env-settings"),
        (["--suite", "bundeld"], "did you mean 'bundled'"),
        (["--env-settings", "[]"], "JSON object"),
        (["--url", "nowhere", "--model", "m"], "http"),
    ],
)
def test_a_setting_that_makes_no_sense_is_told(command: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=words):
        read("evaluate", [*command, "--run", str(tmp_path)])()


def test_patience_and_tries_reach_the_server() -> None:
    flags = ["--patience", "7", "--tries", "3", "--concurrent", "3"]
    command: Any = read("evaluate", ["--url", "http://a/v1", "--model", "m", *flags])
    sampler = command.remote.sampler(command.source, None, 0)
    assert (sampler._seconds, sampler._tries, sampler._concurrent) == (7, 3, 3)


EXAMPLES = re.findall(r"^ +(sdpo evaluate .*)$", Evaluate.__doc__ or "", re.MULTILINE)
SHOWN = [line for page in DOCS for line in re.findall(r"^(sdpo evaluate .*)$", page.read_text("utf-8"), re.MULTILINE)]


@pytest.mark.parametrize("line", sorted({*EXAMPLES, *SHOWN}))
def test_the_commands_that_are_shown_are_understood(line: str) -> None:
    assert isinstance(read("evaluate", shlex.split(line)[2:]), Evaluate)
