"""`sdpo show` writes what a policy reads, and nothing that only the judge may know."""

import functools
import re
from collections.abc import Iterator
from typing import Any

import gymnasium
import pytest
from addition import Addition
from commandline import run

from sdpo_envs import Task
from sdpo_envs.errors import MissingExtra
from sdpo_envs.feedback import printable
from sdpo_envs.registry import ENVIRONMENTS


def made(env_id: str, **settings: Any) -> Any:
    try:
        return gymnasium.make(env_id, disable_env_checker=True, **settings).unwrapped
    except MissingExtra as error:
        pytest.skip(f"skips {env_id}: {error}")


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_a_task_is_shown_as_a_policy_reads_it_and_no_secret_is(env_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    env = made(env_id)
    for task in env.tasks[:: max(1, len(env.tasks) // 3)]:
        prompt, info = env.reset(options={"task_id": task.id})
        told = run(capsys, "show", env_id, "--task", task.id, "--json").json()
        assert told == {
            "env": env_id,
            "task_id": task.id,
            "system": info["system"],
            "prompt": prompt,
            "meta": dict(task.meta),
        }
        page = run(capsys, "show", env_id, "--task", task.id).out
        assert prompt.strip("\n") in page
        assert info["system"].strip("\n") in page
        beside = page.replace(prompt.strip("\n"), "")
        assert [secret for secret in env.secrets(task) if secret in beside] == []
    env.close()


def test_a_seed_draws_the_task_that_it_always_draws(capsys: pytest.CaptureFixture[str]) -> None:
    env = made("sdpo/ToolUse-v0")
    for seed in (0, 1, 2):
        _, info = env.reset(seed=seed)
        told = run(capsys, "show", "sdpo/ToolUse-v0", "--seed", str(seed), "--json").json()
        assert told["task_id"] == info["task_id"]


def test_settings_reach_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    settings = '{"domain": "physics", "split": "test"}'
    told = run(capsys, "show", "sdpo/SciKnowEval-v0", "--settings", settings, "--json").json()
    assert told["meta"] == {"domain": "physics", "split": "test"}


def test_ids_are_listed_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    task_ids = made("sdpo/ToolUse-v0").task_ids
    assert run(capsys, "show", "sdpo/ToolUse-v0", "--ids").out.splitlines() == list(task_ids)
    assert run(capsys, "show", "sdpo/ToolUse-v0", "--ids", "--json").json() == list(task_ids)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sdpo/ToolUs-v0",), "SettingError: No environment .*did you mean 'sdpo/ToolUse-v0'"),
        (("sdpo/ToolUse",), "SettingError: No environment .*did you mean 'sdpo/ToolUse-v0'"),
        (("sdpo/ToolUse-v0", "--task", "tooluse/399"), "TaskNotFound: .*did you mean 'tooluse/39'"),
        (("sdpo/ToolUse-v0", "--settings", "split=test"), "SettingError: --settings must be a JSON object"),
        (("sdpo/ToolUse-v0", "--settings", "[" * 100_000), "SettingError: --settings must be a JSON object"),
        (("sdpo/ToolUse-v0", "--settings", '{"splt": "test"}'), "SettingError: .*'splt' .*did you mean 'split'"),
        (("sdpo/ToolUse-v0", "--settings", '{"split": "tset"}'), "SettingError: split='tset'.*did you mean 'test'"),
        (("sdpo/ToolUse-v0", "--seed", "-1"), "SettingError: seed=-1"),
        (("no_module:sdpo/ToolUse-v0",), "ModuleNotFoundError: No module named 'no_module'"),
        ((":sdpo/ToolUse-v0",), "SettingError: '' is not the name of a module"),
        (("../mine.py:sdpo/ToolUse-v0",), "SettingError: '../mine.py' is not the name of a module"),
        (("CartPole-v1",), "SettingError: CartPole-v1 is a CartPoleEnv, and no FeedbackEnv"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_told_with_what_to_do(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = run(capsys, "show", *arguments)
    assert (ended.code, ended.out) == (1, "")
    assert re.match(said, ended.err)


HOSTILE = Task(
    "odd/[red]1\x1b[2J",
    "Read [bold]this[/bold] \x1b]0;mine\x07 and [/nothing] \u202e.",
    "",
    "[link=x]",
    {"a": "\x1b[H"},
)


@pytest.fixture
def hostile() -> Iterator[str]:
    """Register an environment whose task tries to write on the terminal."""
    gymnasium.register("tests/Hostile-v0", entry_point=functools.partial(Addition, tasks=[HOSTILE]))
    yield "tests/Hostile-v0"
    del gymnasium.registry["tests/Hostile-v0"]


def test_what_stands_in_a_task_moves_no_cursor_and_is_no_mark_up(
    hostile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = run(capsys, "show", hostile)
    assert (ended.code, ended.err) == (0, "")
    assert not {"\x1b", "\x07", "\u202e"} & set(ended.out)
    for text in (HOSTILE.id, HOSTILE.prompt, HOSTILE.system, HOSTILE.meta["a"]):
        assert printable(text) in ended.out
    assert run(capsys, "show", hostile, "--ids").out == f"{printable(HOSTILE.id)}\n"
    assert run(capsys, "show", hostile, "--json").json()["prompt"] == HOSTILE.prompt
