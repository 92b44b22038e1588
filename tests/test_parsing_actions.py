"""The reader of Action / Action Input, attacked."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs.core import Finding
from sdpo_envs.parsing import Call, calls, json_type

NAMES = st.from_regex(r"[A-Za-z][\w.-]{0,30}", fullmatch=True)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4)
)
CALLS = st.builds(Call, NAMES, st.dictionaries(st.text(), VALUES, max_size=4))
LINES = st.text(st.characters(exclude_characters="\n")).map(lambda text: f"Thought: {text}")


def written(call: Call, indent: int | None = None) -> str:
    return f"Action: {call.name}\nAction Input: {json.dumps(call.arguments, indent=indent)}"


def only(text: str) -> Any:
    (found,) = calls(text)
    return found


def title(text: str) -> str:
    found = only(text)
    assert isinstance(found, Finding)
    return found.title


@given(st.lists(CALLS, max_size=4), st.sampled_from([None, 0, 2]), LINES)
def test_what_is_written_is_read_back_in_order(made: list[Call], indent: int | None, thought: str) -> None:
    text = "\n".join(f"{thought}\n{written(call, indent)}\n{thought}" for call in made)
    assert list(calls(text)) == made


@given(CALLS, st.text())
def test_what_follows_an_object_does_not_change_its_call(call: Call, rest: str) -> None:
    assert next(iter(calls(f"{written(call)} {rest}"))) == call


@given(st.text(st.sampled_from("Action Input:{}[]\"'`*\\\n\t 0a,")))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    assert all(isinstance(each, Call | Finding) for each in calls(text))


@pytest.mark.parametrize(
    "text",
    [
        'Action: f\nAction Input: {"a": {"b": [1]}}',
        'Action: f\nAction Input:\n\n  {"a":\n {"b":\n [1]}}',
        'Action: f\nAction Input: ```json\n{"a": {"b": [1]}}\n```',
        'Action: f\nAction Input: `{"a": {"b": [1]}}`',
        '```\nAction: f\nAction Input: {"a": {"b": [1]}}\n```',
        '**Action:** `f`\n**Action Input:** {"a": {"b": [1]}}',
        '  Action : "f"\r\n  Action Input : {"a": {"b": [1]}}\r\n',
        'Action: f Action Input: {"a": {"b": [1]}}',
        'Action: f\nThis needs one argument.\nAction Input: {"a": {"b": [1]}} // done\nObservation: {}',
    ],
)
def test_one_call_may_be_written_in_many_ways(text: str) -> None:
    assert only(text) == Call("f", {"a": {"b": [1]}})


def test_a_marker_inside_a_string_is_part_of_the_string() -> None:
    arguments = {"text": "Action: g Action Input: {}", "note": "a\nAction: g"}
    assert only(written(Call("f", arguments))).arguments == arguments


def test_words_in_the_middle_of_a_line_are_not_markers() -> None:
    assert list(calls("My Action: is to think. No Action Input: needed.")) == []


def test_a_name_may_hold_any_character_but_a_line_break() -> None:
    assert only("Action: preferred-routes.get/v2\nAction Input: {}").name == "preferred-routes.get/v2"


def test_an_action_without_input_is_reported_at_its_own_line() -> None:
    assert title("Thought: hm\nAction: f\n") == "Line 2, column 1: the Action 'f' has no Action Input."


def test_an_action_followed_by_another_has_no_input() -> None:
    first, second = calls("Action: f\nAction: g\nAction Input: {}")
    assert isinstance(first, Finding)
    assert "'f' has no Action Input" in first.title
    assert second == Call("g", {})


def test_an_input_without_an_action_is_reported() -> None:
    assert title("Action Input: {}") == "Line 1, column 1: this Action Input has no Action above it."


def test_a_second_input_of_one_action_is_reported() -> None:
    _, second = calls("Action: f\nAction Input: {}\nAction Input: {}")
    assert isinstance(second, Finding)
    assert second.title == "Line 3, column 1: this Action Input has no Action above it."


def test_an_action_without_a_name_is_reported() -> None:
    assert title("Action:\nAction Input: {}").endswith("belongs to an Action that names no tool.")


def test_invalid_json_is_reported_with_its_place_and_what_is_there() -> None:
    found = only('Action: f\nAction Input: {"a": 1,\n  b: 2}')
    assert found.title.startswith("Line 3, column 3: the Action Input of 'f' is not valid JSON: ")
    assert found.details == {"Found there": "b: 2}"}


def test_json_that_breaks_off_says_that_the_text_ends() -> None:
    assert only('Action: f\nAction Input: {"a": ').details == {"Found there": "the end of the text"}


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_json_lacks_are_not_valid(constant: str) -> None:
    assert f"{constant} is not a JSON value" in title(f'Action: f\nAction Input: {{"a": {constant}}}')


@pytest.mark.parametrize(
    ("text", "kind"),
    [("[1]", "an array"), ('"a"', "a string"), ("7", "an integer"), ("0.5", "a number"), ("true", "a boolean")],
)
def test_an_input_that_is_no_object_is_reported_by_its_type(text: str, kind: str) -> None:
    assert title(f"Action: f\nAction Input: {text}").endswith(f"must be a JSON object, not {kind}.")


def test_after_an_unreadable_input_the_next_call_is_read() -> None:
    first, second = calls("Action: f\nAction Input: nothing\n  Action: g\nAction Input: {}")
    assert isinstance(first, Finding)
    assert second == Call("g", {})


@pytest.mark.parametrize("nested", ['{"a": ' * 100_000, '{"a": ' + "[" * 1_000_000])
def test_nesting_beyond_measure_is_reported(nested: str) -> None:
    assert title(f"Action: f\nAction Input: {nested}").endswith("is nested too deeply.")


def test_a_number_beyond_measure_is_reported() -> None:
    assert "is not valid JSON" in title(f'Action: f\nAction Input: {{"a": {"9" * 1_000_000}}}')


def test_a_long_name_is_cut_in_what_is_told() -> None:
    assert len(title(f"Action: {'f' * 1_000_000}")) < 200


def test_every_json_type_has_a_name() -> None:
    values = ["", 0, 0.5, False, [], {}, None]
    assert [json_type(value) for value in values] == [
        "a string",
        "an integer",
        "a number",
        "a boolean",
        "an array",
        "an object",
        "null",
    ]
