"""How far two judges agree: counts by hand, and the actions that they are asked about."""

import functools
import math
from collections import Counter

import pytest
from addition import Addition, Guessing

from sdpo_envs import JudgeError, Outcome, SettingError, Task, Verdict
from sdpo_envs.agreement import Agreement, Trial, agreement
from sdpo_envs.microtool import MicroTool
from sdpo_envs.sciknoweval import SciKnowEval, judge

P, W, M = Outcome.PASSED, Outcome.WRONG, Outcome.MALFORMED


def of(*pairs: tuple[Outcome, Outcome | None]) -> Agreement:
    return Agreement(tuple(Trial(str(number), "right", "", *pair) for number, pair in enumerate(pairs)))


def test_agreement_by_hand() -> None:
    found = of(*[(P, P)] * 20, *[(P, W)] * 5, *[(W, P)] * 10, *[(W, W)] * 15, (P, None))
    assert (found.judged, found.agreed, found.rate) == (50, 35, 0.7)
    assert found.table == {(P, P): 20, (P, W): 5, (W, P): 10, (W, W): 15}
    assert found.kappa == pytest.approx(0.4)  # the textbook's example of 50 cases
    assert found.interval() == pytest.approx((0.5625, 0.8090), abs=1e-4)  # Wilson's interval of 35 in 50


def test_full_agreement_is_not_certainty() -> None:
    found = of(*[(P, P)] * 10, *[(W, W)] * 10)
    assert (found.rate, found.kappa) == (1.0, 1.0)
    low, high = found.interval()
    assert (low, high) == (pytest.approx(0.8389, abs=1e-4), 1.0)
    assert of(*[(P, W)] * 10).interval()[0] == 0.0


def test_a_judge_that_answers_alike_whatever_it_reads_agrees_by_chance_alone() -> None:
    found = of((P, W), (W, W), (M, W))
    assert found.rate == pytest.approx(1 / 3)
    assert found.kappa == 0.0


def test_where_there_is_nothing_to_tell_nothing_is_told() -> None:
    assert math.isnan(of((P, P), (P, P)).kappa)
    undecided = of((P, None))
    assert math.isnan(undecided.rate)
    assert math.isnan(undecided.kappa)
    assert all(map(math.isnan, undecided.interval()))


def test_a_judge_agrees_with_itself_on_actions_of_each_kind() -> None:
    found = agreement(SciKnowEval(), judge, 12)
    assert found.rate == 1.0
    assert Counter((each.kind, each.rule) for each in found.trials) == {
        ("right", P): 12,
        ("wrong", W): 12,
        ("malformed", M): 12,
    }


def test_tasks_and_guesses_follow_from_the_seed() -> None:
    env = SciKnowEval()
    assert agreement(env, judge, 5, seed=3).trials == agreement(env, judge, 5, seed=3, concurrent=1).trials
    assert agreement(env, judge, 5, seed=3).trials != agreement(env, judge, 5, seed=4).trials
    assert len({each.task for each in agreement(env, judge, 10**6).trials}) == len(env.tasks)


def test_what_breaks_is_counted_apart() -> None:
    def breaks(task: Task, action: str) -> Verdict:
        if "<answer>" not in action:
            raise JudgeError("out of order")
        return judge(task, action)

    found = agreement(SciKnowEval(), breaks, 4)
    assert (found.judged, found.rate) == (8, 1.0)
    assert [(each.found, each.error) for each in found.trials if each.kind == "malformed"] == [
        (None, "out of order")
    ] * 4


def test_actions_without_tags_are_cut_to_be_malformed() -> None:
    env = MicroTool()
    found = agreement(env, env.judge, 5)
    assert all((each.rule is P) == (each.kind == "right") for each in found.trials)


@pytest.mark.parametrize(
    ("env", "complaint"),
    [(Guessing, "episodes of many turns"), (Addition, r"must know an oracle\(task\), and guess")],
    ids=["turns", "no guess"],
)
def test_an_environment_that_cannot_be_asked_is_an_error(env: type[Addition], complaint: str) -> None:
    with pytest.raises(SettingError, match=complaint):
        agreement(env(), judge)


@pytest.mark.parametrize("settings", [{"tasks": 0}, {"concurrent": 0}], ids=str)
def test_numbers_are_checked(settings: dict[str, int]) -> None:
    with pytest.raises(SettingError, match="an int of at least 1"):
        functools.partial(agreement, SciKnowEval(), judge)(**settings)
