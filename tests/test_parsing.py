"""The readers of fenced code and of tags, attacked. (What reads an Action has test_parsing_actions.py.)"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs.parsing import code_block, tagged

LINES = st.lists(st.text(st.characters(exclude_characters="`\n\r"), max_size=20), min_size=1, max_size=6)
PROSE = LINES.map("\n".join)


@given(PROSE, LINES.map("\n".join), PROSE, st.sampled_from(["", "python", "Python3", "py", "c++", " python "]))
def test_what_is_fenced_is_read_back(before: str, code: str, after: str, language: str) -> None:
    assert code_block(f"{before}\n```{language}\n{code}\n```\n{after}") == code


@given(PROSE)
def test_text_without_a_fence_has_no_block(text: str) -> None:
    assert code_block(text) is None


@given(st.text(st.sampled_from("`\n a=")))
def test_any_mess_of_fences_is_read_or_refused(text: str) -> None:
    block = code_block(text)
    assert block is None or len(block) <= len(text)


def test_the_longest_block_wins_over_an_earlier_and_a_later_snippet() -> None:
    text = "```\nx = 1\n```\nso\n```python\nfor i in range(3):\n    print(i)\n```\nprints\n```\n0\n```"
    assert code_block(text) == "for i in range(3):\n    print(i)"


def test_of_two_equally_long_blocks_the_first_wins() -> None:
    assert code_block("```\nfirst\n```\n```\nother\n```") == "first"


def test_a_fence_may_open_after_other_text_on_its_line() -> None:
    assert code_block("Here: ```python\nprint(1)\n```") == "print(1)"


def test_a_block_that_is_never_closed_runs_to_the_end() -> None:
    assert code_block("```python\nprint(1)\nprint(2)") == "print(1)\nprint(2)"


def test_a_block_may_close_at_the_end_of_its_last_line() -> None:
    assert code_block("```python\nprint(1)```\nThis prints 1, at great length and more.") == "print(1)"


def test_words_after_a_closing_fence_do_not_keep_it_open() -> None:
    assert code_block("```python\nprint(1)\n``` and that is all there is to say.\nIndeed.") == "print(1)"


def test_a_fence_with_a_language_opens_a_block_where_the_one_before_was_forgotten() -> None:
    assert code_block("```\nplan\n```python\nprint(1)\nprint(2)\n```") == "print(1)\nprint(2)"


def test_backticks_inside_a_line_of_code_are_code() -> None:
    code = 'fence = "```python"\nprint(f"see ```{fence}``` there")'
    assert code_block(f"```python\n{code}\n```") == code


def test_inline_backticks_in_prose_do_not_open_a_block() -> None:
    assert code_block("Enclose it in ``` ```.\nUse ```x = 1``` here.\nDone.") is None


def test_indented_and_longer_fences_count() -> None:
    assert code_block("  ```python\n  print(1)\n  ```") == "  print(1)"
    assert code_block("````python\nprint(1)\n````") == "print(1)"


def test_carriage_returns_stay_inside_and_do_not_hide_the_fences() -> None:
    assert code_block("```python\r\nprint(1)\r\nprint(2)\r\n```\r\n") == "print(1)\r\nprint(2)\r"


def test_an_empty_block_is_a_block() -> None:
    assert code_block("```python\n```") == ""


@pytest.mark.parametrize("piece", ["```\n", "```python\n", "``` ", "`", "x ```", "```" + " " * 50, "a``` b\n"])
def test_a_million_characters_of_fences_are_read_in_one_pass(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    assert len(code_block(text) or "") <= len(text)


def test_the_last_tag_counts() -> None:
    assert tagged("<a>1</a> no, <a> 2 </a>", "a") == "2"


@pytest.mark.parametrize("text", ["", "<a>", "</a>", "</a><a>", "<a>1", "<b>1</b>"])
def test_a_tag_that_is_not_there_or_not_closed_holds_nothing(text: str) -> None:
    assert tagged(text, "a") is None
