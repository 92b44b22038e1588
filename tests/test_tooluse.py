"""Tool use: the loader, the judge and its words, on a small API and on the released data where that is at hand."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs import Feedback, GroupEnv, Outcome, RecordError, SettingError, Task, check_env, explain
from sdpo_envs.apidoc import breaches, tools
from sdpo_envs.feedback import redact
from sdpo_envs.parsing import Call
from sdpo_envs.tooluse import PROMPT, ToolUse, judge, same

DATA = Path(__file__).parents[1] / "../shared/data/toolalpaca"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="skips ToolAlpaca and SDPO's released rows: not beside this")

DOCUMENTATION = """\
find: Find places.
Over two lines: this is the second.
Parameters: {"near": "Required. string. The town.", "km": "integer. The radius.", "kind": "string. What. One of: \
[inn, well].", "least": "number. The least score.", "open": "boolean. Whether open."}
Output: Places.
Note: sorted.
 - Format: application/json
 - Structure: Array[Object{name}]
plan: Plan a walk.
Parameters: {"stops": "Required. Array[string]. The stops.", "legs": "Array[Object{km: number. Far., by: string. One \
of: [foot, boat].}. ]. The legs.", "options": "Object{by: string. How. One of: [foot, boat].}. More.", "when": \
"string. OR integer. The time."}
Output: OK.
 - Format: application/json
 - Structure: Object{id}
status: Get the status.
Parameters: {}
Output: OK.
 - Format:
 - Structure:
quoted: The released texts do not escape.
Parameters: {"word": "Required. string. Such as "this"."}
Output: OK.
 - Format: \n - Structure: \n
The detailed output format for the tools is outlined below:
#Place: Object{name}
"""
QUESTION = "Find an inn within 3 km of Skellin."
RIGHT = [{"Action": "find", "Action_Input": '{"near": "Skellin", "km": 3, "kind": "inn"}'}]


def row(idx: int | str = 0, steps: Any = RIGHT, documentation: str = DOCUMENTATION, **columns: Any) -> dict[str, Any]:
    prompt = PROMPT.format(name="Walks", description="Walks.", documentation=documentation, question=QUESTION)
    return {"idx": idx, "prompt": prompt, "answer": json.dumps(steps), "system": None} | columns


def env_of(folder: Path, *rows: dict[str, Any], **settings: Any) -> ToolUse:
    file = folder / "rows.json"
    file.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return ToolUse(source=file, **settings)


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return env_of(tmp_path_factory.mktemp("rows"), row()).tasks[0]


def call(name: str, **arguments: Any) -> str:
    return f"Action: {name}\nAction Input: {json.dumps(arguments)}"


def words(task: Task, action: str, reveal: bool = False) -> str:
    return explain(judge(task, action), reveal=reveal).text


# What earns 1.0


@pytest.mark.parametrize(
    "action",
    [
        call("find", near="Skellin", km=3, kind="inn"),
        call("find", kind="inn", km=3.0, near="Skellin"),
        "Thought: easy\n" + call("find", near="Skellin", km=3, kind="inn") + "\nObservation: []",
    ],
)
def test_the_right_call_earns_one_however_it_is_written(task: Task, action: str) -> None:
    verdict = judge(task, action)
    assert (verdict.outcome, verdict.reward, verdict.findings) == (Outcome.PASSED, 1.0, ())


def test_the_order_of_calls_is_free_but_their_number_is_not(tmp_path: Path) -> None:
    steps = [{"Action": name, "Action_Input": "{}"} for name in ("status", "find", "status")]
    task = env_of(tmp_path, row(steps=steps)).tasks[0]
    assert judge(task, "\n".join([call("find"), call("status"), call("status")])).passed
    assert not judge(task, "\n".join([call("find"), call("status")])).passed
    assert not judge(task, "\n".join([call("find"), call("status"), call("find")])).passed


def test_each_call_keeps_its_own_arguments(tmp_path: Path) -> None:
    steps = [{"Action": "find", "Action_Input": text} for text in ('{"near": "A", "km": 1}', '{"near": "B", "km": 2}')]
    task = env_of(tmp_path, row(steps=steps)).tasks[0]
    assert judge(task, f"{call('find', near='B', km=2)}\n{call('find', near='A', km=1)}").passed
    assert not judge(task, f"{call('find', near='A', km=2)}\n{call('find', near='B', km=1)}").passed


def test_right_calls_that_break_the_documentation_still_earn_one(tmp_path: Path) -> None:
    task = env_of(tmp_path, row(steps=[{"Action": "getDetails", "Action_Input": '{"km": "three"}'}])).tasks[0]
    assert judge(task, call("getDetails", km="three")).passed


JSON = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 0.0, 1.0, -0.0, 0.5, "", "1", "a", 10**20, 1e20]),
    lambda values: st.lists(values, max_size=2) | st.dictionaries(st.sampled_from(["", "a"]), values, max_size=2),
    max_leaves=4,
)


def tagged(value: Any) -> Any:
    """Give every number, and every boolean, a mark of its own, so that Python's == tells them apart."""
    if isinstance(value, dict):
        return {key: tagged(item) for key, item in value.items()}
    if isinstance(value, list):
        return [tagged(item) for item in value]
    return ("boolean" if isinstance(value, bool) else "other", value)


@given(JSON, JSON)
def test_values_are_the_same_when_equal_with_booleans_set_apart_from_numbers(one: Any, other: Any) -> None:
    assert same(one, other) == (tagged(one) == tagged(other))


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), ([1], [1.0]), ({"a": 10**20}, {"a": 1e20}), (0.0, -0.0)])
def test_numbers_are_the_same_by_value(one: Any, other: Any) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *[(1, True), (0, False), ([1], [True]), ({"a": 0}, {"a": False}), (None, False)],
        *[("1", 1), ("a", "A"), (None, ""), ([], {})],
        *[([1, 2], [2, 1]), ([1], [1, 1]), ({"a": 1}, {"a": 1, "b": 1})],
    ],
)
def test_types_strings_and_order_within_arrays_count(one: Any, other: Any) -> None:
    assert not same(one, other)


# What fails, and what is said of it

MALFORMED = {
    "I would look for an inn.": "No line starts with 'Action:'.",
    "": "No line starts with 'Action:'.",
    "Action: find": "the Action 'find' has no Action Input.",
    "Action Input: {}": "this Action Input has no Action above it.",
    "Action:\nAction Input: {}": "belongs to an Action that names no tool.",
    'Action: find\nAction Input: {"near": }': "the Action Input of 'find' is not valid JSON",
    "Action: find\nAction Input: [1]": "the Action Input of 'find' must be a JSON object, not an array.",
}
INVALID = {
    call("finds", near="A"): "there is no tool 'finds'; did you mean 'find'?",
    call("xyz"): "there is no tool 'xyz'.",
    call("find", km=3): "the required argument 'near' is missing.",
    call("find", near="A", radius=3): "there is no parameter 'radius'.",
    call("find", near="A", kinds="inn"): "there is no parameter 'kinds'; did you mean 'kind'?",
    call("find", near=7): "the argument 'near' must be a string, not an integer.",
    call("find", near=None): "the argument 'near' must be a string, not null.",
    call("find", near="A", km="3"): "the argument 'km' must be an integer, not a string.",
    call("find", near="A", km=3.5): "the argument 'km' must be an integer, not a number.",
    call("find", near="A", km=True): "the argument 'km' must be an integer, not a boolean.",
    call("find", near="A", least="0.5"): "the argument 'least' must be a number, not a string.",
    call("find", near="A", open="true"): "the argument 'open' must be a boolean, not a string.",
    call("find", near="A", open=1): "the argument 'open' must be a boolean, not an integer.",
    call("find", near="A", kind="castle"): "the argument 'kind' must be one of inn, well.",
    call("plan", stops="A"): "the argument 'stops' must be an array, not a string.",
    call("plan", stops=["A", 2]): "'stops' must be an array in which each item is a string, not an integer.",
    call("plan", stops=[], legs=[3]): "'legs' must be an array in which each item is an object, not an integer.",
    call("plan", stops=[], options=[]): "the argument 'options' must be an object, not an array.",
    call("status", verbose=True): "there is no parameter 'verbose'.",
}
FITTING = [
    call("find", near="A", km=3.0),
    call("find", near="A", least=1, open=False, kind="well"),
    call("find", near="A", km="", kind=""),
    call("plan", stops=[], legs=[{"km": 2, "by": "foot"}], options={"by": "kite"}, when=7),
    call("status"),
    call("quoted", anything=[1]),
]


@pytest.mark.parametrize(("action", "said"), MALFORMED.items())
def test_what_cannot_be_read_is_malformed_and_said_in_its_own_words(task: Task, action: str, said: str) -> None:
    assert judge(task, action).outcome is Outcome.MALFORMED
    assert said in words(task, action)


@pytest.mark.parametrize(("action", "said"), INVALID.items())
def test_what_breaks_the_documentation_is_invalid_and_said_in_its_own_words(task: Task, action: str, said: str) -> None:
    verdict = judge(task, action)
    assert (verdict.outcome, len(verdict.findings)) == (Outcome.INVALID, 1)
    assert verdict.findings[0].title.endswith(said)


@pytest.mark.parametrize("action", FITTING)
def test_what_fits_the_documentation_is_only_wrong(task: Task, action: str) -> None:
    assert judge(task, action).outcome is Outcome.WRONG


def test_every_breach_of_every_call_is_told(task: Task) -> None:
    action = "\n".join([call("find", kind="castle"), call("finds"), call("status", a=1)])
    titles = [finding.title for finding in judge(task, action).findings]
    assert [title.partition(":")[0] for title in titles] == [
        "Action 1, find",
        "Action 1, find",
        "Action 2",
        "Action 3, status",
    ]


def test_a_breach_shows_what_was_given_and_what_is_documented(task: Task) -> None:
    (finding,) = judge(task, call("find", near="A", km="3")).findings
    assert finding.details == {"Given": '"3"', "Documentation": "integer. The radius."}


def test_wrong_calls_are_repeated_with_the_values_that_the_question_lacks(task: Task) -> None:
    action = f"{call('find', near='skellin', km=5)}\n{call('status')}"
    assert words(task, action).splitlines() == [
        "The calls fit the documentation, but they are not what the question asks for.",
        'Action 1: find {"near": "skellin", "km": 5}',
        "Action 2: status {}",
        "Not word for word in the question: km 5",
    ]


def test_revealing_tells_what_is_missing_what_is_too_much_and_what_differs(tmp_path: Path) -> None:
    steps = [*RIGHT, {"Action": "plan", "Action_Input": '{"stops": ["A"]}'}]
    task = env_of(tmp_path, row(steps=steps)).tasks[0]
    action = f"{call('find', near='Skellin', km=5, open=True)}\n{call('status')}"
    (finding,) = judge(task, action).findings
    assert finding.answer == {
        "Different arguments 1, find": 'km: yours 5, right 3\nkind: yours left out, right "inn"\n'
        "open: yours true, right left out",
        "Missing call 2": 'plan {"stops": ["A"]}',
        "Extra call 1": "status {}",
    }


@pytest.mark.parametrize("action", [*MALFORMED, *INVALID, *FITTING])
def test_every_failure_reveals_the_right_call_when_asked(task: Task, action: str) -> None:
    feedback = explain(judge(task, action), reveal=True)
    assert feedback.reveals_answer
    assert "Skellin" in feedback.text


ARGUMENTS = st.dictionaries(st.sampled_from(["near", "km"]), JSON, max_size=2)
RIGHTS = st.lists(st.builds(Call, st.sampled_from(["find", "plan", "other"]), ARGUMENTS), min_size=1, max_size=3)


@given(st.sampled_from([*MALFORMED, *INVALID, *FITTING]), RIGHTS)
def test_without_reveal_nothing_told_depends_on_the_right_calls(task: Task, action: str, right: list[Call]) -> None:
    other = replace(task, answer=replace(task.answer, right=tuple(right)))
    verdict = judge(other, action)
    if not verdict.passed:
        assert redact(verdict) == redact(judge(task, action))
        assert words(other, action) == words(task, action)


@given(st.text(st.sampled_from("Action Input:{}[]\"'`*\\\n\tfind0a,")))
def test_any_text_gets_a_verdict_with_words(task: Task, action: str) -> None:
    verdict = judge(task, action)
    assert verdict.reward == 0.0
    assert explain(verdict).text


@pytest.mark.parametrize(
    "action",
    [
        (call("find", near="A") + "\n") * 20_000,
        "Action: find\nAction Input: {" + ", ".join(f'"{number}": 0' for number in range(60_000)) + "}",
        call("find", near="A" * 1_000_000),
        f"Action: {'f' * 1_000_000}\nAction Input: {{}}",
        "Action: find\n" * 70_000,
        'Action: find\nAction Input: {"near": ' + "[" * 400 + "]" * 400 + "}",
        "Action: Action Input:" * 50_000,
    ],
)
def test_a_megabyte_gets_few_findings(task: Task, action: str) -> None:
    verdict = judge(task, action)
    assert not verdict.passed
    assert len(verdict.findings) <= 8
    assert len(explain(verdict, reveal=True, limit=500).text) <= 500


# The documentation


def test_documentation_is_read_whole_and_nothing_else_is() -> None:
    documented = tools(DOCUMENTATION)
    assert list(documented) == ["find", "plan", "status", "quoted"]
    assert list(documented["plan"] or ()) == ["stops", "legs", "options", "when"]
    assert documented["quoted"] is None


def test_required_parameters_and_choices_are_read() -> None:
    find = tools(DOCUMENTATION)["find"] or {}
    assert [name for name, parameter in find.items() if parameter.required] == ["near"]
    assert find["kind"].choices == ("inn", "well")


def test_text_that_begins_with_a_type_word_by_chance_has_no_type() -> None:
    text = 'f: F.\nParameters: {"n": "Required.  number of things."}\nOutput: \n - Format: \n - Structure: \n'
    parameter = (tools(text)["f"] or {})["n"]
    assert (parameter.type, parameter.required) == ("", True)


# The loader


def test_api_records_give_one_task_for_each_instruction(tmp_path: Path) -> None:
    record = {"Name": "Walks", "Description": "Walks.", "NLDocumentation": DOCUMENTATION}
    env = env_of(tmp_path, record | {"Instructions": [QUESTION, "Again?"], "Golden_Answers": [RIGHT, RIGHT]})
    assert env.task_ids == ("Walks/0", "Walks/1")
    assert env.tasks[0].prompt == row()["prompt"]
    assert env.tasks[0].meta == {"api": "Walks"}
    assert judge(env.tasks[1], call("find", near="Skellin", km=3, kind="inn")).passed


def test_rows_get_ids_by_their_index_and_an_empty_system_prompt(tmp_path: Path) -> None:
    env = env_of(tmp_path, row(7), row("own/8", system="Be brief."))
    assert [(task.id, task.system) for task in env.tasks] == [("tooluse/7", ""), ("own/8", "Be brief.")]


def test_a_folder_is_read_by_split(tmp_path: Path) -> None:
    for idx, split in enumerate(("train", "test")):
        (tmp_path / f"{split}.json").write_text(json.dumps(row(idx)), "utf-8")
    assert ToolUse(source=tmp_path, split="train").task_ids == ("tooluse/0",)
    assert ToolUse(source=tmp_path, split="test").task_ids == ("tooluse/1",)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"Action": "find", "Action_Input": '{"near": ${a town}}'}, "holds a placeholder, ${a town}"),
        ({"Action": "find", "Action_Input": '{"near": "${town}"}'}, "holds a placeholder, ${town}"),
        ({"Action": "find", "Action_Input": '{"near": "a": "b"}'}, 'is not a JSON object: {"near": "a": "b"}'),
        ({"Action": "find", "Action_Input": "[]"}, "is not a JSON object: []"),
        ({"Action": "[Optional]find", "Action_Input": "{}"}, "'[Optional]find' is not a tool's name"),
    ],
)
def test_right_calls_that_no_policy_could_give_are_skipped_and_listed(tmp_path: Path, step: Any, reason: str) -> None:
    env = env_of(tmp_path, row(1), row(2, [*RIGHT, step]))
    assert env.task_ids == ("tooluse/1",)
    assert list(env.skipped) == ["tooluse/2"]
    assert env.skipped["tooluse/2"].endswith(reason)


def test_rows_without_calls_or_tools_are_skipped_and_listed(tmp_path: Path) -> None:
    env = env_of(tmp_path, row(1), row(2, []), row(3, documentation="None"))
    assert env.skipped == {"tooluse/2": "the answer has no call", "tooluse/3": "the prompt documents no tool"}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"answer": "find"}, "line 1: the column 'answer' must be JSON of the form"),
        ({"answer": '{"Action": "find"}'}, "the column 'answer' must be JSON of the form"),
        ({"answer": '[{"Action": "find"}]'}, "the column 'answer' must be JSON of the form"),
        ({"answer": '[{"Action": "find", "Action_Input": {}}]'}, "the column 'answer' must be JSON of the form"),
        ({"answer": None}, "the column 'answer' must be str, not NoneType"),
        ({"prompt": "Find an inn."}, "the prompt does not have the form of SDPO's data"),
        ({"idx": None}, "the column 'idx' must be int or str"),
    ],
)
def test_a_row_of_another_form_is_an_error_that_names_its_place(tmp_path: Path, columns: Any, said: str) -> None:
    with pytest.raises(RecordError, match=re.escape(said)):
        env_of(tmp_path, row(**columns))


def test_instructions_without_answers_are_an_error(tmp_path: Path) -> None:
    record = {"Name": "W", "Description": "W.", "NLDocumentation": DOCUMENTATION, "Instructions": ["?"]}
    with pytest.raises(RecordError, match="'Golden_Answers' is missing"):
        env_of(tmp_path, record)
    with pytest.raises(RecordError, match="1 Instructions have 0 Golden_Answers"):
        env_of(tmp_path, record | {"Golden_Answers": []})


def test_two_rows_with_one_index_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="already used"):
        env_of(tmp_path, row(1), row(1))


def test_an_unknown_split_is_an_error() -> None:
    with pytest.raises(SettingError, match="tests"):
        ToolUse(split="tests")


# The environment


def test_the_environment_keeps_the_contract() -> None:
    assert check_env("sdpo/ToolUse-v0") == []


def test_secrets_are_the_arguments_that_can_be_told_apart(tmp_path: Path) -> None:
    env = env_of(tmp_path, row(steps=[*RIGHT, {"Action": "status", "Action_Input": "{}"}]))
    assert env.secrets(env.tasks[0]) == ['{"near": "Skellin", "km": 3, "kind": "inn"}']
    assert "Skellin" not in repr(env.tasks[0].meta)


def test_a_group_hands_its_success_to_the_others() -> None:
    envs = gymnasium.make_vec("sdpo/ToolUse-v0", num_envs=2, group_size=2)
    assert isinstance(envs, GroupEnv)
    envs.reset(options={"task_id": "tooluse/0"})
    right = call("listOpeningHours")
    *_, infos = envs.step([right, "no"])
    assert infos["feedback"][1].peer == right
    assert infos["feedback"][0] == Feedback()


# The released data

SKIPPED = {
    "sdpo_tooluse_test.json": {"not a tool's name": ["tooluse/4079"]},
    "trainlike_from_eval_real.jsonl": {"placeholder": ["tooluse/111"]},
    "eval_real.json": {"not a JSON object": [f"CurrencyBeacon/{number}" for number in (4, 8, 9, 10)]},
    "eval_simulated.json": {
        "not a tool's name": ["Auth0/11"],
        "placeholder": [
            *(f"AniAPI/{number}" for number in (0, 2, 3, 4, 5, 7, 8)),
            *(f"AbuseIPDB/{number}" for number in (0, 3, 4, 5, 7)),
            *(f"Améthyste/{number}" for number in (0, 2, 3, 10, 11)),
            *(f"Auth0/{number}" for number in (5, 10)),
            *(f"Abstract Public Holidays/{number}" for number in (1, 2, 6, 10)),
            *(f"1Forge/{number}" for number in (0, 2, 5, 6)),
            *(f"Apache Superset/{number}" for number in (2, 5, 6, 10)),
        ],
    },
}
LOADED = {
    "sdpo_tooluse_test.json": 67,
    "trainlike_from_eval_real.jsonl": 111,
    "eval_real.json": 110,
    "eval_simulated.json": 68,
}
BREAKING = {
    "sdpo_tooluse_test.json": [f"tooluse/{idx}" for idx in (4056, 4106, 4107)],
    "trainlike_from_eval_real.jsonl": [f"tooluse/{idx}" for idx in (*range(30, 36), 106, 108, 109)],
    "eval_real.json": [
        *(f"AviationAPI/{number}" for number in range(5, 11)),
        *(f"CurrencyBeacon/{number}" for number in (3, 6, 7)),
    ],
    "eval_simulated.json": ["AniAPI/1", "Apache Superset/7", "Apache Superset/8"],
}


@needs_data
@pytest.mark.parametrize("name", LOADED)
def test_every_released_row_loads_or_is_skipped_for_a_known_reason(name: str) -> None:
    env = ToolUse(source=DATA / name)
    assert len(env.tasks) == LOADED[name]
    reasons = {task_id: reason for reason, task_ids in SKIPPED[name].items() for task_id in task_ids}
    assert env.skipped.keys() == reasons.keys()
    assert all(reason in env.skipped[task_id] for task_id, reason in reasons.items())


@needs_data
@pytest.mark.parametrize("name", LOADED)
def test_every_released_answer_earns_one_even_where_it_breaks_its_documentation(name: str) -> None:
    env = ToolUse(source=DATA / name)
    assert all(judge(task, env.oracle(task)).passed for task in env.tasks)
    breaking = [task.id for task in env.tasks if any(breaches(task.answer.right, task.answer.tools))]
    assert breaking == BREAKING[name]


@needs_data
@pytest.mark.parametrize("name", LOADED)
def test_every_released_tool_is_documented_in_a_way_that_can_be_checked(name: str) -> None:
    for task in ToolUse(source=DATA / name).tasks:
        assert all(parameters is not None for parameters in task.answer.tools.values())
        assert all(parameter.type for tool in task.answer.tools.values() for parameter in (tool or {}).values())


@needs_data
def test_prompts_rendered_from_api_records_equal_the_released_ones() -> None:
    lines = (DATA / "sdpo_tooluse_test.json").read_text("utf-8").splitlines()
    rendered = {
        PROMPT.format(
            name=api["Name"], description=api["Description"], documentation=api["NLDocumentation"], question=question
        )
        for api in json.loads((DATA / "eval_simulated.json").read_text("utf-8"))
        for question in api["Instructions"]
    }
    assert len(lines) == 68
    assert {json.loads(line)["prompt"] for line in lines} <= rendered


@needs_data
def test_what_earns_one_here_also_earns_one_by_the_released_scorer_if_that_can_read_it() -> None:
    env = ToolUse(source=DATA / "sdpo_tooluse_test.json")
    low = [task.id for task in env.tasks if not _released_scorer(env.oracle(task), task)]
    assert low == ["tooluse/4072"]  # its arguments are nested


def _released_scorer(action: str, task: Task) -> bool:
    """Compare as data.md tells of SDPO's scorer: a multiset of names, and one dict of all flat arguments."""
    names = Counter(re.findall(r"Action:\s*(\w+)", action))
    merged: dict[str, Any] = {}
    for text in re.findall(r"Action Input:\s*({.*?})", action):
        try:
            merged |= json.loads(text)
        except json.JSONDecodeError:
            continue
    right: dict[str, Any] = {}
    for each in task.answer.right:
        right |= each.arguments
    return names == Counter(each.name for each in task.answer.right) and merged == right


def test_a_source_that_is_no_path_is_an_error() -> None:
    with pytest.raises(SettingError, match="source=3 is not offered; give a path"):
        ToolUse(source=3)  # type: ignore[arg-type]
