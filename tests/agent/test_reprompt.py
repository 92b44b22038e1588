"""What the self-teacher reads."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_agent import Attempt, Reprompt, Turn, hindsight
from sdpo_agent.reprompt import CUT_SHORT
from sdpo_envs import Feedback, Outcome, Verdict

QUESTION = "How much is {this}?"


def write(text: str = "", solution: str | None = None, *, cut_short: bool = False, **settings: Any) -> str | None:
    turn = Turn(QUESTION, "7", (1, 2), (0.0, 0.0), cut_short)
    verdict = Verdict(Outcome.MALFORMED, 0.0)
    attempt = Attempt("task", (turn,), 0.0, verdict, Feedback(text, peer=solution))
    return hindsight(attempt, turn, Reprompt(**settings))


def test_the_template_of_a_peer_is_the_papers() -> None:
    expected = f"{QUESTION}\nCorrect solution:\n\n42\n\nCorrectly solve the original question."
    assert write("It is not 7.", "42") == expected


def test_the_template_of_feedback_is_the_papers() -> None:
    expected = (
        f"{QUESTION}\nThe following is feedback from your unsuccessful earlier attempt:\n\nIt is not 7."
        "\n\nCorrectly solve the original question."
    )
    assert write("It is not 7.") == expected


def test_both_are_shown_when_feedback_is_always_wanted() -> None:
    written = write("It is not 7.", "42", feedback="always")
    assert written is not None
    assert written.index("Correct solution:\n\n42\n") < written.index("attempt:\n\nIt is not 7.")


def test_neither_peer_nor_feedback_teaches_nothing() -> None:
    assert write() is None
    assert write(" \n ") is None
    assert write("It is not 7.", feedback="never") is None
    assert write("", "42", peer=False) is None


def test_thinking_is_taken_out_of_a_peer() -> None:
    written = write("", "<think>hm\nhm</think>\n42")
    assert written is not None
    assert "hm" not in written
    kept = write("", "<think>hm</think>42", thinking=True)
    assert kept is not None
    assert "<think>hm</think>42" in kept


def test_a_peer_that_only_thought_is_none() -> None:
    assert write("", "<think>hm</think>") is None
    assert "It is not 7." in (write("It is not 7.", "<think>hm</think>") or "")


def test_an_answer_without_form_because_it_was_cut_short_is_told_so() -> None:
    assert CUT_SHORT in (write("No form.", cut_short=True) or "")
    assert CUT_SHORT not in (write("No form.") or "")


def test_braces_in_texts_are_just_text() -> None:
    assert "{peer} {0}" in (write("", "{peer} {0}") or "")


@given(st.text(), st.text(max_size=400), st.integers(0, 300))
def test_the_limit_cuts_the_parts_and_never_the_question(text: str, solution: str, limit: int) -> None:
    written = write(text, solution, limit=limit, feedback="always")
    if written is None:
        return
    assert written.startswith(QUESTION)
    assert written.endswith("\n\nCorrectly solve the original question.")
    frame = write("f", "p", feedback="always")
    assert frame is not None
    assert len(written) <= len(frame) - 2 + limit


def test_the_peer_is_cut_before_the_feedback() -> None:
    written = write("F" * 50, "P" * 500, limit=100, feedback="always")
    assert written is not None
    assert written.count("F") >= 50
    assert 0 < written.count("P") < 60


@pytest.mark.parametrize("limit", [1, 5, 6, 7])
def test_a_limit_too_small_for_anything_gives_no_half_words(limit: int) -> None:
    assert write("F" * 50, limit=limit) is None or "F" in (write("F" * 50, limit=limit) or "")
