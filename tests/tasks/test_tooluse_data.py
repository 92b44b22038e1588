"""The bundled tool-use tasks: right by their documentation, unique, told in full, and built from their source."""

import importlib.util
import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sdpo_envs import Task
from sdpo_envs.apidoc import breaches
from sdpo_envs.tooluse import ToolUse, judge

FOLDER = Path(__file__).parents[2] / "tasks" / "tooluse"
SPLITS = {split: ToolUse(split=split) for split in ("train", "test")}
TASKS = [pytest.param(task, id=task.id) for env in SPLITS.values() for task in env.tasks]


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_tooluse", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


def spelled(text: str) -> list[str]:
    """Return what a question says for an argument: a date in words, a time by itself, anything else as it is."""
    moment = re.fullmatch(r"(\d{4}-\d{2}-\d{2})(?:T(\d{2}:\d{2}))?", text)
    if moment is None:
        return [text]
    day = date.fromisoformat(moment[1])
    return [f"{day.day} {day:%B} {day.year}", *filter(None, [moment[2]])]


def test_the_splits_have_forty_and_twenty_tasks_over_different_apis() -> None:
    apis = {split: {task.meta["api"] for task in env.tasks} for split, env in SPLITS.items()}
    assert [len(env.tasks) for env in SPLITS.values()] == [40, 20]
    assert [len(names) for names in apis.values()] == [8, 4]
    assert not apis["train"] & apis["test"]


def test_no_row_is_skipped_and_no_parameter_escapes_the_checks() -> None:
    for env in SPLITS.values():
        assert env.skipped == {}
        documented = [tool for task in env.tasks for tool in task.answer.tools.values()]
        assert all(tool is not None and all(parameter.type for parameter in tool.values()) for tool in documented)


def test_ids_prompts_and_questions_are_unique() -> None:
    tasks = [task for env in SPLITS.values() for task in env.tasks]
    assert len({task.id for task in tasks}) == len({task.answer.question for task in tasks}) == len(tasks)


@pytest.mark.parametrize("task", TASKS)
def test_the_right_calls_keep_to_the_documentation_and_earn_one(task: Task) -> None:
    assert list(breaches(task.answer.right, task.answer.tools)) == []
    assert judge(task, SPLITS["train"].oracle(task)).passed


@pytest.mark.parametrize("task", TASKS)
def test_every_value_stands_in_the_question_or_is_offered_by_the_documentation(task: Task) -> None:
    question = task.answer.question.casefold()
    numbers = {float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", question)}
    for call in task.answer.right:
        offered = [text for parameter in (task.answer.tools[call.name] or {}).values() for text in parameter.choices]
        for leaf in leaves(call.arguments):
            if isinstance(leaf, str):
                assert leaf in offered or all(text.casefold() in question for text in spelled(leaf)), leaf
            elif not isinstance(leaf, bool):
                assert leaf in numbers, leaf


def test_tasks_vary_in_how_many_calls_they_need_and_what_these_hold() -> None:
    answers = [task.answer.right for env in SPLITS.values() for task in env.tasks]
    types = {type(value) for right in answers for call in right for value in call.arguments.values()}
    assert {len(right) for right in answers} == {1, 2, 3}
    assert types == {str, int, float, bool, list, dict}
    assert sum(len(right) == 1 and not right[0].arguments for right in answers) >= 5


def test_building_again_writes_the_same_bytes(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["build.py", str(tmp_path)])
    build.main()
    for split in SPLITS:
        assert (tmp_path / f"{split}.json").read_bytes() == (FOLDER / f"{split}.json").read_bytes()


def test_the_same_apis_as_toolalpaca_records_give_the_same_tasks(build: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "apis.json"
    file.write_text(json.dumps([build.api_record(api) for api in build.read_apis()]), "utf-8")
    tasks = [task for env in SPLITS.values() for task in env.tasks]
    from_records = ToolUse(source=file).tasks
    assert [(task.prompt, task.answer) for task in from_records] == [(task.prompt, task.answer) for task in tasks]


def test_the_folder_says_where_it_comes_from_and_under_which_licence() -> None:
    assert "python tasks/tooluse/build.py" in (FOLDER / "SOURCE").read_text("utf-8")
    assert "Apache License, Version 2.0" in (FOLDER / "LICENSE").read_text("utf-8")
