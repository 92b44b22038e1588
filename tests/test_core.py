import copy
import dataclasses
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs import Feedback, Finding, Outcome, Task, Verdict

FINDING = Finding("Too small.", {"You wrote": "3"}, {"The sum is": "4"})
INSTANCES = [
    Task("add/1", "1 + 1?", {"hidden": [2]}, "You add up.", {"difficulty": "easy"}),
    FINDING,
    Verdict(Outcome.WRONG, 0.25, (FINDING,)),
    Feedback("Too small.", True, "4"),
]
each_instance = pytest.mark.parametrize("instance", INSTANCES, ids=lambda instance: type(instance).__name__)


@pytest.mark.parametrize("outcome", Outcome)
def test_only_the_outcome_passed_is_a_success(outcome: Outcome) -> None:
    assert Verdict(outcome, 1.0).passed is (outcome.name == "PASSED")


@pytest.mark.parametrize("outcome", Outcome)
def test_an_outcome_is_neither_true_nor_false(outcome: Outcome) -> None:
    with pytest.raises(TypeError, match=r"outcome is Outcome\.PASSED"):
        bool(outcome)


@pytest.mark.parametrize("verdict", [Verdict(Outcome.PASSED, 1.0), Verdict(Outcome.WRONG, 0.0)])
def test_a_verdict_is_neither_true_nor_false(verdict: Verdict) -> None:
    with pytest.raises(TypeError, match=r"verdict\.passed"):
        bool(verdict)


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_a_verdict_refuses_a_reward_that_is_not_finite(reward: float) -> None:
    with pytest.raises(ValueError, match="raise JudgeError if undecided"):
        Verdict(Outcome.WRONG, reward)


@pytest.mark.parametrize("outcome", ["passed", True, None, "PASSED"])
def test_a_verdict_refuses_an_outcome_of_another_type(outcome: Any) -> None:
    with pytest.raises(TypeError, match=r"must be an Outcome, such as Outcome\.WRONG, not"):
        Verdict(outcome, 1.0)


@pytest.mark.parametrize(
    "texts", [(7,), ("Too small.", {"You wrote": 3}), ("Too small.", {}, {"The sum is": None})], ids=str
)
def test_a_finding_refuses_what_is_not_text(texts: Any) -> None:
    with pytest.raises(TypeError, match=r"A finding is told in str, not (int|NoneType)"):
        Finding(*texts)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53))
def test_a_verdict_keeps_any_finite_reward_as_a_float(reward: float) -> None:
    kept = Verdict(Outcome.WRONG, reward).reward
    assert type(kept) is float
    assert kept == reward


@pytest.mark.parametrize("reward", [1, True, np.float32(1), np.int64(1)])
def test_a_verdict_turns_every_kind_of_number_into_a_float(reward: Any) -> None:
    assert type(Verdict(Outcome.PASSED, reward).reward) is float


def test_a_verdict_keeps_findings_of_any_iterable_as_a_tuple() -> None:
    listed: Any = [FINDING]
    assert Verdict(Outcome.WRONG, 0.0, listed) == Verdict(Outcome.WRONG, 0.0, (FINDING,))


def test_verdicts_with_equal_facts_are_equal() -> None:
    facts = [Verdict(Outcome.WRONG, 0.0, (Finding("Too small.", {"You wrote": "3"}),)) for _ in range(2)]
    assert facts[0] == facts[1]
    assert facts[0] != dataclasses.replace(facts[0], findings=())


@pytest.mark.parametrize("answer", ["SECRET", ["SECRET"], {"SECRET": 1}, FINDING])
def test_the_answer_stays_out_of_the_repr_of_a_task(answer: Any) -> None:
    task = Task("add/1", "1 + 1?", answer)
    assert "SECRET" not in f"{task!r} {task} {[task]}"
    assert "The sum is" not in repr(task)


def test_feedback_reads_as_its_text() -> None:
    assert str(Feedback("Too small.")) == "Too small."
    assert str(Feedback()) == ""


def test_feedback_gives_nothing_away_by_default() -> None:
    assert Feedback("Too small.") == Feedback("Too small.", reveals_answer=False, peer=None)


def test_feedback_without_text_is_falsy_even_with_a_peer() -> None:
    assert Feedback("Too small.")
    assert not Feedback()
    assert not Feedback(peer="4")


@each_instance
def test_data_cannot_be_changed(instance: Any) -> None:
    first = dataclasses.fields(instance)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(instance, first, "other")
    assert not hasattr(instance, "__dict__")


@each_instance
@pytest.mark.parametrize("travel", [copy.deepcopy, lambda instance: pickle.loads(pickle.dumps(instance))])
def test_data_travels_between_processes_unchanged(instance: Any, travel: Any) -> None:
    assert travel(instance) == instance


@pytest.mark.parametrize("outcome", Outcome)
def test_an_outcome_is_itself_after_travel(outcome: Outcome) -> None:
    assert pickle.loads(pickle.dumps(outcome)) is outcome
    assert copy.deepcopy(outcome) is outcome


def test_mappings_left_out_are_not_shared_between_instances() -> None:
    assert Finding("one").details is not Finding("other").details
    assert Task("1", "", 0).meta is not Task("2", "", 0).meta
