"""What the agent remembers."""

import dataclasses
import math
from typing import Any

import pytest

from sdpo_agent import Attempt, Conversation, Group, Sample, Turn
from sdpo_envs import Feedback, Outcome, Verdict

FIRST = Turn("1+1?", "3", (51, 4), (-0.5, -0.1), system="Be brief.")
SECOND = Turn("No.", "2", (50,), (-0.2,), cut_short=True, system="Be brief.")


def attempt(
    *turns: Turn, outcome: Outcome | None = Outcome.WRONG, reward: float = 0.0, together: bool = False
) -> Attempt:
    verdict = None if outcome is None else Verdict(outcome, 0.0)
    return Attempt("task", turns, reward, verdict, Feedback(), one_conversation=together)


# --- conversations


def test_a_conversation_is_a_chat_with_its_system_prompt_first() -> None:
    assert Conversation("1+1?").messages() == [{"role": "user", "content": "1+1?"}]
    assert Conversation("Go on.", "Be brief.", (FIRST, SECOND)).messages() == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "No."},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "Go on."},
    ]


def test_messages_are_made_anew_each_time() -> None:
    asked = Conversation("1+1?", "Be brief.", (FIRST,))
    asked.messages()[0]["content"] = "Obey."
    asked.messages().clear()
    assert asked.messages()[0] == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize("data", [FIRST, Conversation("?"), attempt(FIRST), Group("task", ()), Sample((FIRST,))])
def test_what_is_remembered_cannot_be_changed_and_is_equal_if_its_parts_are(data: Any) -> None:
    assert data == dataclasses.replace(data)
    assert hash(data) == hash(dataclasses.replace(data))
    for field in dataclasses.fields(data):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(data, field.name, None)
    assert not hasattr(data, "__dict__")


# --- attempts and groups


def test_an_attempt_is_decided_unless_its_reward_is_nobody_s() -> None:
    assert attempt(FIRST).decided
    assert attempt(FIRST, outcome=None).decided
    assert not attempt(FIRST, outcome=None, reward=math.nan).decided


@pytest.mark.parametrize(("outcome", "passed"), [(Outcome.PASSED, True), (Outcome.WRONG, False), (None, False)])
def test_an_attempt_passes_by_its_verdict_and_not_by_its_reward(outcome: Outcome | None, passed: bool) -> None:
    assert attempt(FIRST, outcome=outcome, reward=0.0).passed is passed
    assert attempt(FIRST, outcome=outcome, reward=1.0).passed is passed


def test_an_attempt_is_read_an_action_a_line() -> None:
    assert attempt(FIRST).text == "3"
    assert attempt(FIRST, SECOND).text == "3\n2"
    assert attempt().text == ""


def test_turns_are_read_together_or_each_on_its_own() -> None:
    assert attempt(FIRST, SECOND).threads == ((FIRST,), (SECOND,))
    assert attempt(FIRST, SECOND, together=True).threads == ((FIRST, SECOND),)


def test_a_group_leaves_out_what_nobody_decided() -> None:
    good, bad = attempt(FIRST, outcome=Outcome.PASSED, reward=1.0), attempt(SECOND)
    broken = attempt(FIRST, outcome=None, reward=math.nan)
    group = Group("task", (broken, good, broken, bad))
    assert group.decided == (good, bad)
    assert Group("task", (broken,)).decided == ()


# --- samples


def test_a_sample_counts_the_tokens_that_were_written() -> None:
    assert Sample((FIRST,)).tokens == 2
    assert Sample((FIRST, SECOND)).tokens == 3
    assert Sample((Turn("?", "a", (), ()),)).tokens == 0


# What is said of a sample: whether it is taught, counts in the mean, and can have a gradient.
SAID: list[tuple[dict[str, Any], tuple[bool, bool, bool]]] = [
    ({}, (False, False, False)),
    ({"policy_weight": 1.0}, (False, True, False)),
    ({"policy_weight": 1.0, "advantages": (-0.5, -0.5)}, (False, True, True)),
    ({"advantages": (-0.5, -0.5)}, (False, False, False)),
    ({"teacher_weight": 1.0}, (False, False, False)),
    ({"teacher_weight": 1.0, "hindsight": "It is 2."}, (True, True, True)),
    ({"teacher_weight": 1.0, "hindsight": ""}, (True, True, True)),
    ({"hindsight": "It is 2."}, (False, False, False)),
    ({"hindsight": "It is 2.", "policy_weight": 1.0}, (False, True, False)),
    ({"reference_weight": 0.1}, (False, True, True)),
    ({"reference_weight": 0.1, "policy_weight": 1.0}, (False, True, True)),
]


@pytest.mark.parametrize(("keywords", "said"), SAID)
def test_a_sample_says_what_it_is_for(keywords: dict[str, Any], said: tuple[bool, bool, bool]) -> None:
    sample = Sample((FIRST, SECOND), **keywords)
    assert (sample.is_taught, sample.counts, sample.teaches) == said
    silent = dataclasses.replace(sample, turns=(Turn("?", "a", (), ()),))
    assert (silent.is_taught, silent.counts, silent.teaches) == (*said[:2], False)
