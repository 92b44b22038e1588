"""What is told of an answer that is not right, and that it does not tell the right one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs.adapters.hints import hints

BESIDE = "The right answer stands in yours, beside something else; write nothing else."
WORDING = "Your answer differs from the right one only in case, spaces or punctuation."
NO_NUMBER = "The right answer is a number, and yours is none."


@pytest.mark.parametrize(
    ("answer", "right", "told"),
    [
        ("7", "8", ["Your answer is too small."]),
        ("1,000.5", "-3", ["Your answer is too large."]),
        ("1e999999999", "5", ["Your answer is too large."]),
        ("62.0", "62", ["Your number is right, but not written as it was asked for."]),
        ("seven", "7", [NO_NUMBER]),
        ("NaN", "7", [NO_NUMBER]),
        ("x = 62", "62", [BESIDE]),
        ("It is 162 or -62 or 62.5", "62", [NO_NUMBER]),
        ("yes, of course", "yes", [BESIDE]),
        ("YES!", "yes", [WORDING]),
        ("['a']", "{}", []),
        ("a", '["a"]', [WORDING]),
        ("b", '["a"]', ["The right answer is a list, and yours cannot be read as one."]),
        ("a\nx\nc", "a\nb\nc", ["Line 2 of your answer is the first that is not right."]),
        ("a\nb", "a\nb\nc", ["Your answer has 2 lines, the right one 3."]),
        (
            "a b c x",
            "a b d",
            ["Word 3 of your answer is the first that is not right.", "Your answer has 4 words, the right one 3."],
        ),
        ("", "a b", ["Your answer has 0 words, the right one 2."]),
        ("wrong", "right", []),
        ("anything", "", []),
        ("anything", None, []),
    ],
)
def test_what_is_told(answer: str, right: str | None, told: list[str]) -> None:
    assert hints(answer, right, single=True) == told


def test_where_others_may_be_right_too_only_the_kind_is_told() -> None:
    assert hints("a b c", "a b d", single=False) == []
    assert hints("yes, of course", "yes", single=False) == []
    assert hints("seven", "7", single=False) == [NO_NUMBER]


@given(st.text(), st.text(), st.booleans())
def test_whatever_was_written_words_are_all_that_comes_of_it(answer: str, right: str, single: bool) -> None:
    assert all(told.endswith(".") and told.isprintable() for told in hints(answer, right, single=single))


@given(st.text(), st.text(alphabet="bdfgjkvxz", min_size=4), st.booleans())
def test_the_right_answer_stands_in_no_hint(answer: str, right: str, single: bool) -> None:
    assert right not in " ".join(hints(answer, right, single=single))


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_number_is_told_which_way_to_go_and_no_digit(answer: int, right: int) -> None:
    (told,) = hints(str(answer), str(right), single=False)
    assert not any(character.isdigit() for character in told)
    assert ("small" in told, "large" in told) == (answer < right, answer > right)
