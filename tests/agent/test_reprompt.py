"""What the self-teacher reads."""

import dataclasses
import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_agent import Attempt, Group, Reprompt, Turn, hindsight
from sdpo_agent.reprompt import CUT_SHORT, INSTRUCTION, peer_of
from sdpo_envs import Feedback, Outcome, SettingError, Verdict

QUESTION = "How much is {this}?"


def attempt(
    said: str = "7",
    text: str = "",
    peer: str | None = None,
    *,
    outcome: Outcome = Outcome.WRONG,
    cut_short: bool = False,
) -> Attempt:
    turns = tuple(Turn("Asked.", line, (1, 2), (0.0, 0.0), cut_short) for line in said.split("\n"))
    return Attempt("task", turns, float(outcome is Outcome.PASSED), Verdict(outcome, 0.0), Feedback(text, peer=peer))


def success(said: str, peer: str | None = None, text: str = "") -> Attempt:
    return attempt(said, text, peer, outcome=Outcome.PASSED)


def write(own: Attempt, *others: Attempt, **settings: Any) -> str | None:
    return hindsight(Group("task", (*others, own)), own, QUESTION, Reprompt(**settings))


def must(own: Attempt, *others: Attempt, **settings: Any) -> str:
    written = write(own, *others, **settings)
    assert written is not None
    return written


# --- what is shown

PEER = "\nCorrect solution:\n\n42"
OWN = "\nThe following is your unsuccessful earlier attempt:\n\n7"
FEEDBACK = "\nThe following is feedback from your unsuccessful earlier attempt:\n\nIt is not 7."


def test_the_templates_are_the_papers() -> None:
    assert must(attempt(peer="42")) == f"{QUESTION}{PEER}\n\nCorrectly solve the original question."
    assert must(attempt(text="It is not 7.")) == f"{QUESTION}{FEEDBACK}\n\nCorrectly solve the original question."


# For each way to show feedback: what is shown where there are a peer and feedback, a peer alone, feedback alone.
SHOWN = {
    ("without-peer", False): (PEER, PEER, FEEDBACK),
    ("without-peer", True): (PEER, PEER, OWN + FEEDBACK),
    ("always", False): (PEER + FEEDBACK, PEER, FEEDBACK),
    ("always", True): (PEER + OWN + FEEDBACK, PEER, OWN + FEEDBACK),
    ("never", False): (PEER, PEER, None),
    ("never", True): (PEER, PEER, None),
}


@pytest.mark.parametrize("choice", ["random", "first", "shortest"])
@pytest.mark.parametrize(("feedback", "own"), SHOWN)
def test_every_combination_of_peer_attempt_and_feedback(choice: Any, feedback: Any, own: bool) -> None:
    settings = {"peer": choice, "feedback": feedback, "attempt": own}
    both = write(attempt(text="It is not 7.", peer="42"), success("42"), **settings)
    peer_alone = write(attempt(peer="42"), success("42"), **settings)
    feedback_alone = write(attempt(text="It is not 7."), attempt("8"), **settings)
    neither = write(attempt(), attempt("8"), **settings)
    assert neither is None
    for written, shown in zip((both, peer_alone, feedback_alone), SHOWN[feedback, own], strict=True):
        assert written == (None if shown is None else f"{QUESTION}{shown}{INSTRUCTION}")


@pytest.mark.parametrize(("feedback", "own"), SHOWN)
def test_every_combination_without_peers(feedback: Any, own: bool) -> None:
    settings = {"peer": "none", "feedback": feedback, "attempt": own}
    written = write(attempt(text="It is not 7.", peer="42"), success("42"), **settings)
    shown = SHOWN[feedback, own][2]
    assert written == (None if shown is None else f"{QUESTION}{shown}{INSTRUCTION}")
    assert write(attempt(peer="42"), success("42"), **settings) is None


def test_what_is_blank_is_nothing() -> None:
    assert write(attempt(text=" \n ", peer="\t")) is None
    assert write(attempt(text="It is not 7.", peer=" \n")) == f"{QUESTION}{FEEDBACK}{INSTRUCTION}"
    assert must(attempt("  ", "It is not 7."), attempt=True) == f"{QUESTION}{FEEDBACK}{INSTRUCTION}"
    assert must(attempt(text="\n It is not 7. \n")) == f"{QUESTION}{FEEDBACK}{INSTRUCTION}"


def test_feedback_is_never_that_of_a_success() -> None:
    told = {"text": "Passed, and praised."}
    for feedback, own in itertools.product(("always", "without-peer"), (False, True)):
        assert write(success("42", **told), feedback=feedback, attempt=own) is None
        shown = write(success("42", peer="6 * 7", **told), feedback=feedback, attempt=own)
        assert shown == f"{QUESTION}\nCorrect solution:\n\n6 * 7{INSTRUCTION}"


def test_an_attempt_whose_machinery_broke_is_told_nothing_of_its_own() -> None:
    broken = Attempt("task", (Turn("Asked.", "7", (), ()),), math.nan, None, None, "the judge is out")
    assert write(broken, success("42")) is None
    assert write(broken, success("42"), feedback="always", attempt=True) is None
    assert write(broken, success("42"), peer="first") == f"{QUESTION}{PEER}{INSTRUCTION}"


def test_an_attempt_of_several_turns_is_shown_an_action_a_line() -> None:
    shown = must(attempt("left\nright", "Wrong way."), attempt=True)
    assert "earlier attempt:\n\nleft\nright\nThe following is feedback" in shown
    assert "Correct solution:\n\nup\ndown\n\nCorrectly" in must(attempt(), success("up\ndown"), peer="first")


def test_braces_and_headings_in_texts_are_just_text() -> None:
    assert "\n\n{peer} {0} %s\n\n" in must(attempt(peer="{peer} {0} %s"))
    assert must(attempt("\\1", "{text}"), attempt=True).count("{text}") == 1
    assert must(attempt(peer=INSTRUCTION + "42")).endswith("Correctly solve the original question.42" + INSTRUCTION)


# --- which peer


def test_a_random_peer_is_the_one_that_the_environment_drew() -> None:
    assert peer_of(Group("task", (success("1"),)), attempt(peer="2"), Reprompt()) == "2"
    assert peer_of(Group("task", (success("1"),)), attempt(), Reprompt()) == ""


def test_the_first_or_the_shortest_peer_is_one_of_the_group() -> None:
    group = (attempt("0"), success("333"), success("22"), success("4444"), success("55"))
    assert must(attempt(peer="9"), *group, peer="first") == f"{QUESTION}\nCorrect solution:\n\n333{INSTRUCTION}"
    assert must(attempt(peer="9"), *group, peer="shortest") == f"{QUESTION}\nCorrect solution:\n\n22{INSTRUCTION}"


texts = st.text("ab", max_size=2)


@given(
    said=st.lists(st.tuples(texts, st.booleans(), st.booleans()), min_size=1, max_size=6),
    choice=st.sampled_from(["first", "shortest"]),
)
def test_a_peer_is_a_success_and_never_oneself_nor_an_equal_text(said: list[Any], choice: Any) -> None:
    attempts = [success(text) if passed else attempt(text) for text, passed, _ in said]
    attempts = [  # one whose machinery broke is no success
        dataclasses.replace(each, verdict=None, feedback=None, reward=math.nan) if broke else each
        for each, (_, _, broke) in zip(attempts, said, strict=True)
    ]
    group = Group("task", tuple(attempts))
    for own in attempts:
        others = [other.text for other in attempts if other.passed and other.text not in (own.text, "")]
        peer = peer_of(group, own, Reprompt(peer=choice))
        if choice == "shortest":
            others.sort(key=len)
        assert peer == (others[0] if others else "")
        assert peer != own.text or peer == ""


def test_a_lone_success_has_no_peer_and_another_like_it_is_none() -> None:
    one, twin, other = success("42"), success("42"), success("6 * 7")
    for choice in ("first", "shortest"):
        assert write(one, peer=choice) is None
        assert write(one, twin, peer=choice) is None
        assert "6 * 7" in must(one, twin, other, peer=choice)


# --- thinking


def test_thinking_is_taken_out_of_a_peer() -> None:
    assert must(attempt(peer="<think>hm\nhm</think>\n42")) == f"{QUESTION}{PEER}{INSTRUCTION}"
    assert must(attempt(peer="<think>a</think>4<think>b</think>2")) == f"{QUESTION}{PEER}{INSTRUCTION}"
    assert "<think>hm</think>42" in must(attempt(peer="<think>hm</think>42"), thinking=True)


def test_a_peer_that_only_thought_is_none() -> None:
    assert write(attempt(peer="<think>hm</think>")) is None
    assert must(attempt(text="It is not 7.", peer="<think>hm</think>")) == f"{QUESTION}{FEEDBACK}{INSTRUCTION}"
    assert "<think>hm</think>" in must(attempt(peer="<think>hm</think>"), thinking=True)


def test_the_shortest_peer_is_so_by_what_is_shown_of_it() -> None:
    group = (success("<think>long and wide</think>1"), success("22"), success("<think>hm</think>"))
    assert "\n\n1\n\n" in must(attempt(), *group, peer="shortest")
    assert "\n\n22\n\n" in must(attempt(), *group, peer="shortest", thinking=True)
    assert "\n\n22\n\n" in must(attempt(), *group[::-1], peer="first")


# --- answers that were cut short


def test_an_answer_without_form_because_it_was_cut_short_is_told_so() -> None:
    malformed = attempt(text="No form.", outcome=Outcome.MALFORMED)
    cut = attempt(text="No form.", outcome=Outcome.MALFORMED, cut_short=True)
    assert CUT_SHORT in must(cut)
    assert "No form." not in must(cut)
    assert "No form." in must(malformed)
    assert CUT_SHORT in must(attempt(outcome=Outcome.MALFORMED, cut_short=True))
    assert "No form." in must(attempt(text="No form.", cut_short=True))  # it has a form, but is wrong
    assert write(cut, feedback="never") is None


def test_what_was_cut_short_in_an_earlier_turn_is_not_the_reason() -> None:
    own = attempt("a\nb", "No form.", outcome=Outcome.MALFORMED)
    first = dataclasses.replace(own.turns[0], cut_short=True)
    assert "No form." in must(dataclasses.replace(own, turns=(first, own.turns[1])))
    last = dataclasses.replace(own.turns[1], cut_short=True)
    assert CUT_SHORT in must(dataclasses.replace(own, turns=(own.turns[0], last)))


# --- skills and transcripts


def test_what_is_known_about_such_tasks_stands_first_and_is_enough() -> None:
    own = dataclasses.replace(attempt(text="It is not 7.", peer="42"), skill="Count twice.")
    skill = "\nWhat is known about such tasks:\n\nCount twice."
    assert must(own, skill=True) == f"{QUESTION}{skill}{PEER}{INSTRUCTION}"
    assert must(own, skill=True, peer="none") == f"{QUESTION}{skill}{FEEDBACK}{INSTRUCTION}"
    assert must(own, skill=True, peer="none", feedback="never") == f"{QUESTION}{skill}{INSTRUCTION}"
    assert write(own, peer="none", feedback="never") is None
    assert must(own, skill=True, limit=0) == f"{QUESTION}{skill}{INSTRUCTION}", "it is never cut"
    known = dataclasses.replace(success("42"), skill="Count twice.")
    assert must(known, skill=True) == f"{QUESTION}{skill}{INSTRUCTION}", "also to a success"


@pytest.mark.parametrize("choice", ["random", "first", "shortest"])
def test_a_peer_of_several_turns_may_be_shown_with_what_it_saw(choice: Any) -> None:
    turns = tuple(
        dataclasses.replace(turn, state=f"Door {number}.")
        for number, turn in enumerate(success("<think>left?</think>right\nright").turns)
    )
    peer = dataclasses.replace(success("right\nright"), turns=turns)
    own = attempt("left", peer=peer.text)
    seen = "\nCorrect solution:\n\nDoor 0.\n> right\nDoor 1.\n> right"
    assert must(own, peer, peer=choice, transcript=True) == f"{QUESTION}{seen}{INSTRUCTION}"
    assert "Door" not in must(own, peer, peer=choice)
    assert write(own, peer="random", transcript=True) is None, "a peer that is not of the group was not seen"


# --- limits

FRAME = must(attempt("o", "f", "p"), feedback="always", attempt=True)
whole = st.text(max_size=120)


@given(whole, whole, whole, st.integers(0, 300), st.sampled_from(["always", "without-peer"]), st.booleans())
def test_the_limit_cuts_the_parts_and_never_the_question(
    text: str, peer: str, said: str, limit: int, feedback: Any, own: bool
) -> None:
    said = said.replace("\n", " ")
    settings = {"feedback": feedback, "attempt": own}
    written = write(attempt(said, text, peer), limit=limit, **settings)
    uncut = write(attempt(said, text, peer), **settings)
    if uncut is None:
        assert written is None
        return
    total = sum(len(part.strip()) for part in (text, peer, said))
    if total <= limit:
        assert written == uncut
    if written is None:
        assert limit < max(len(text.strip()), len(peer.strip()))
        return
    assert written.startswith(f"{QUESTION}\n")
    assert written.endswith(INSTRUCTION)
    assert len(written) <= len(FRAME) - 3 + limit


@pytest.mark.parametrize(
    ("limit", "kept"),
    [  # of 50 characters of feedback, 50 of a peer and 50 of the attempt
        (150, (50, 50, 50)),
        (149, (50, 50, 43)),
        (107, (50, 50, 1)),
        (106, (50, 50, 0)),
        (100, (50, 50, 0)),
        (99, (50, 43, 0)),
        (57, (50, 1, 0)),
        (56, (50, 0, 0)),
        (50, (50, 0, 0)),
        (49, (43, 0, 0)),
        (7, (1, 0, 0)),
    ],
)
def test_the_attempt_is_cut_first_then_the_peer_then_the_feedback(limit: int, kept: tuple[int, int, int]) -> None:
    texts = {"text": "§" * 50, "peer": "¶" * 50}
    written = must(attempt("#" * 50, **texts), feedback="always", attempt=True, limit=limit)
    assert tuple(map(written.count, "§¶#")) == kept
    assert written.count(" [...]") == sum(0 < count < 50 for count in kept)
    assert ("unsuccessful earlier attempt:\n\n#" in written) == (kept[2] > 0)
    assert ("Correct solution" in written) == (kept[1] > 0)


@pytest.mark.parametrize("limit", range(7))
def test_a_limit_too_small_for_anything_teaches_nothing(limit: int) -> None:
    assert write(attempt("o" * 50, "f" * 50, "p" * 50), limit=limit, feedback="always", attempt=True) is None


def test_the_attempt_is_shown_only_where_its_feedback_is() -> None:
    written = must(attempt("7", "f" * 50, "42"), limit=3, feedback="always", attempt=True)
    assert written == f"{QUESTION}{PEER}{INSTRUCTION}"


@pytest.mark.parametrize(
    "settings", [{"peer": "best"}, {"feedback": "sometimes"}, {"limit": -1}, {"peer": True}, {"peer": ""}]
)
def test_a_setting_that_is_not_offered_is_an_error(settings: Any) -> None:
    with pytest.raises(SettingError, match=next(iter(settings))):
        Reprompt(**settings)
