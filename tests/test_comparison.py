"""What equals what, and where it differs: the rules of the judge, on text that nobody can trust."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs.comparison import output_difference, same_output, same_value, value_difference

NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text(max_size=2),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=2), values, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("3", "3\n"),
        ("\n 1 2 \r\n3\n\n", "1 2\n3"),
        ("1  2", "1 2"),
        ("1.50", "1.5"),
        ("1e3 0.0", "1000 -0"),
        ("a b", "a b"),
        ("", "\n"),
        ("100000000000000000000.10", "100000000000000000000.1"),
    ],
)
def test_outputs_that_are_equal(found: str, expected: str) -> None:
    assert same_output(found, expected)
    assert same_output(expected, found)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("YES", "Yes"),
        ("a  b", "a b"),
        ("1\n2", "1 2"),
        ("1\n\n2", "1\n2"),
        ("", "0"),
        ("1 2 3", "1 2"),
        ("6.06449510224598", "6.06449510224597979401"),
        ("50000000000000000", "50000000000000001"),
        ("nan", "NaN"),
        ("sNaN", "1"),
        ("1e99999999999999999999", "1"),
        ("1e999999999999999999", "1"),
        ("0x10", "16"),
        ("True", "1"),
    ],
)
def test_outputs_that_differ(found: str, expected: str) -> None:
    assert not same_output(found, expected)
    assert not same_output(expected, found)


@given(st.lists(st.lists(NUMBERS, min_size=1, max_size=4), min_size=1, max_size=4), st.data())
def test_outputs_are_equal_exactly_if_their_numbers_are(rows: list[list[Decimal]], data: st.DataObject) -> None:
    text = "\n".join(" ".join(f"{number:f}" for number in row) for row in rows)
    assert same_output("\n".join("  ".join(f"{number:E}" for number in row) for row in rows), text)
    row, change = data.draw(st.sampled_from(rows)), data.draw(NUMBERS.filter(bool))
    row[0] += change
    assert not same_output("\n".join(" ".join(f"{number:f}" for number in row) for row in rows), text)


def test_megabytes_of_output_are_compared_in_one_pass() -> None:
    numbers = [str(number) for number in range(200_000)]
    assert same_output(" ".join(numbers) + ".0", " ".join(numbers))
    assert same_output("\n".join(numbers), "\n".join(f"{number}.0" for number in numbers))
    assert not same_output("\n" * 1_000_000 + "1\n" * 500_000, "1\n" * 500_001)
    assert not same_output("9" * 2_000_000, "8" * 2_000_000)
    assert same_value(json.dumps(numbers), json.dumps(numbers, indent=1))


@given(VALUES, VALUES)
def test_values_are_equal_as_python_has_it_but_for_truth(left: object, right: object) -> None:
    assert same_value(json.dumps(left), json.dumps(left))
    if json.dumps(left) == json.dumps(right):
        assert same_value(json.dumps(left), json.dumps(right))
    elif left != right:
        assert not same_value(json.dumps(left), json.dumps(right))


@pytest.mark.parametrize(
    ("found", "expected", "same"),
    [
        ("1", "1.0", True),
        ("[1, [2]]", "[1.0, [2]]", True),
        ("true", "1", False),
        ("[0]", "[false]", False),
        ('{"a": 1}', '{"a": true}', False),
        ("null", "false", False),
        ("0.30000000000000004", "0.3", False),
        ("NaN", "NaN", False),
        ("[1]", "1", False),
        ("1 1", "1", False),
        ("", "1", False),
        ("[" * 200_000, "[]", False),
        ("9" * 5000, "1", False),
    ],
)
def test_values_of_functions(found: str, expected: str, same: bool) -> None:
    assert same_value(found, expected) is same


def test_an_expected_value_that_is_not_json_is_nobody_s_wrong_answer() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        same_value("1", "one")


# Hostile texts: what is told of them matters less than that it is told soon.

MANY = 1_000_000
HOSTILE = {
    "digits": "9" * MANY,
    "digits behind the point": "0." + "9" * MANY,
    "a gigantic exponent": "1e999999999999999999",
    "a tiny exponent": "1e-999999999999999999",
    "digits and an exponent": "9" * MANY + "e999999999999",
    "no numbers": "sNaN NaN -Infinity " * 50_000,
    "open brackets": "[" * MANY,
    "nested lists": "[" * 900 + "]" * 900,
    "nested objects": '{"a":' * 900 + "1" + "}" * 900,
    "many keys": "{" + ",".join(f'"{number}": 1' for number in range(50_000)) + "}",
    "blank lines": "1" + "\n" * MANY + "1",
    "one long word": "a" * MANY,
    "spaces": "1" + " " * MANY + "1",
    "half of a surrogate pair": '"\\ud800"',
    "null characters": "\x00" * MANY,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("expected", ["1.5", "[1, 2]", '{"a": [1.5]}', "1 2.5\n3"])
@pytest.mark.parametrize("tolerance", [None, 1e-6])
def test_a_hostile_text_is_only_another_text(text: str, expected: str, tolerance: float | None) -> None:
    assert not same_output(text, expected, tolerance)
    assert len(output_difference(text, expected, tolerance)) < 300
    if "\n" not in expected:
        assert not same_value(text, expected, tolerance)
        assert len(value_difference(text, expected, tolerance)) < 300


def test_a_key_that_stands_twice_makes_no_value() -> None:
    assert not same_value('{"a": 2, "a": 1}', '{"a": 1}')
    assert not same_value('[{"b": {"a": 1, "a": 1}}]', '[{"b": {"a": 1}}]')
    assert same_value('{"a": 1, "b": {"a": 1}}', '{"b": {"a": 1}, "a": 1}')


# Tolerances.


@pytest.mark.parametrize(
    ("found", "expected", "same"),
    [
        ("0.3333333", "0.33333334", True),
        ("0.334", "0.333", False),
        ("1000000.5", "1000001.0", True),
        ("1e-9", "0", True),
        ("3.0", "3", True),
        ("3", "4", False),
        ("50000000000000000", "50000000000000001", False),
        ("-50000000000000000", "-50000000000000001", False),
        ("YES 0.5", "YES 0.50000001", True),
        ("YES 0.5", "NO 0.5", False),
        ("a  b", "a b", True),
        ("1\n2", "1 2", False),
        ("nan", "nan 1", False),
        ("nan 1.0", "nan 1", True),
        ("nan 1", "NaN 1", False),
        ("inf 1", "Infinity 1", True),
        ("inf", "1", False),
        ("1", "inf", False),
        ("9" * 400 + ".5", "8" * 400, False),
        ("1e400", "1e401", False),
    ],
)
def test_outputs_within_a_tolerance(found: str, expected: str, same: bool) -> None:
    assert same_output(found, expected, 1e-6) is same
    assert same_output(expected, found, 1e-6) is same


@pytest.mark.parametrize(
    ("found", "expected", "same"),
    [
        ("0.30000000000000004", "0.3", True),
        ("[1, 2.0000001]", "[1, 2]", True),
        ("2", "3", False),
        ("50000000000000000", "50000000000000001", False),
        ("true", "1.0", False),
        ("NaN", "NaN", False),
        ("9" * 400, "1.5", False),
        ('["1.5"]', '["1.50"]', False),
    ],
)
def test_values_within_a_tolerance(found: str, expected: str, same: bool) -> None:
    assert same_value(found, expected, 1e-6) is same


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=4), st.floats(0.0, 0.01))
def test_a_tolerance_is_absolute_or_relative(numbers: list[float], tolerance: float) -> None:
    moved = [number + tolerance / 2 * max(1.0, abs(number)) for number in numbers]
    assert same_output(" ".join(map(repr, moved)), " ".join(map(repr, numbers)), tolerance)
    assert same_value(json.dumps(moved), json.dumps(numbers), tolerance)
    far = [*numbers[1:], numbers[0] + 3 * tolerance * max(1.0, abs(numbers[0])) + 1e-3]
    assert not same_value(json.dumps(far), json.dumps([*numbers[1:], numbers[0]]), tolerance)


# Where they differ.


@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [
        ("4", "3", ""),
        ("", "3", ""),
        ("3\n", " 3", ""),
        ("1 2 3", "1 5 3", 'line 1, word 2: found "2", expected "5"'),
        ("\n\n1\n2\n", "1\n3", 'line 2, word 1: found "2", expected "3"'),
        ("1.0 2", "1 3", 'line 1, word 2: found "2", expected "3"'),
        ("YES 1.0", "YES 1", 'line 1, word 2: found "1.0", expected "1"'),
        ("1 2", "1 2 3", 'line 1, word 3: found nothing, expected "3"'),
        ("1 2 3", "1 2", 'line 1, word 3: found "3", expected nothing'),
        ("1\n2", "1\n2\n3 4", 'line 3: found nothing, expected "3 4"'),
        ("1\n2\n3", "1\n2", 'line 3: found "3", expected nothing'),
        ("a  b", "a b", "line 1, only the spaces between the words differ"),
        (
            "x " + "a" * 50 + "b" + "c" * 50,
            "x " + "a" * 50 + "d",
            f'line 1, word 2: found ..."{"a" * 10}b{"c" * 29}"..., expected ..."{"a" * 10}d"',
        ),
    ],
)
def test_the_place_where_outputs_differ(found: str, expected: str, words: str) -> None:
    assert output_difference(found, expected) == words


def test_the_place_where_outputs_differ_by_more_than_a_tolerance() -> None:
    words = 'line 2, word 1: found "2", expected "3"'
    assert output_difference("1.00001\n2", "1\n3", 1e-3) == words
    assert output_difference("1.00001\n2.00001", "1\n2", 1e-3) == ""


@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [
        ("1", "2", ""),
        ("[1, 2]", "[1, 3]", "result[1]: found 2, expected 3"),
        ("[1]", "[1, 3]", "result: found a list of 1, expected a list of 2"),
        ("3", "[3]", "result: found 3, expected a list of 1"),
        ('{"a": {"b": "x"}}', '{"a": {"b": "y"}}', 'result["a"]["b"]: found "x", expected "y"'),
        ('{"a": 1}', '{"b": 1}', "result: found an object with 1 keys, expected an object with 1 keys"),
        ("[[true]]", "[[1]]", "result[0][0]: found true, expected 1"),
        ("[1, 2, 3, 4]", "[1, 0, 3, 0]", "result[1]: found 2, expected 0"),
        ("no JSON", "[1]", ""),
        ("[1.0]", "[1]", ""),
    ],
)
def test_the_place_where_values_differ(found: str, expected: str, words: str) -> None:
    assert value_difference(found, expected) == words


@given(VALUES, VALUES)
def test_values_differ_at_a_place_exactly_if_they_are_not_the_same(left: object, right: object) -> None:
    found, expected = json.dumps(left), json.dumps(right)
    if value_difference(found, expected):
        assert not same_value(found, expected)
    elif isinstance(right, list | dict):
        assert same_value(found, expected)
    assert not value_difference(found, found)
