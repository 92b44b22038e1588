"""How much feedback helps: what is played, what the teacher is shown, and where it disagrees."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from byhand import TEMPERATURE, attempt, precise, read, spoken
from letters import TASKS, Say
from riddles import RIDDLES, Riddle, Scripted, TwoTurns, chance, length, script
from tiny import small

from sdpo_agent import Attempt, Conversation, Group, Policy, Reprompt, Turn
from sdpo_agent.chat import Script
from sdpo_agent.probe import INPUTS, PARTS, Lift, ProbeSettings, TaskProbe, _lift, mean_with_interval, probe
from sdpo_envs import Feedback, GroupEnv, Outcome, SettingError, Verdict

ONE = {"feedback": INPUTS["feedback"]}
TOLD = "Say letter 0.\nThe following is feedback from your unsuccessful earlier attempt:\n\nNot that letter.\nRight: f"
AGAIN = "\n\nCorrectly solve the original question."


def settings(**changes: Any) -> ProbeSettings:
    return ProbeSettings(**{"max_tokens": 4} | changes)


def riddles(groups: int, size: int, env: Any = Riddle, **keywords: Any) -> GroupEnv:
    return GroupEnv(env, groups * size, size, **keywords)


# --- a policy that knows what to make of feedback, and one that does not


def test_feedback_that_reveals_lifts_a_policy_that_reads_it(policy: Policy) -> None:
    found = probe(policy, GroupEnv(Say, 96, 16, reveal=True), settings())
    assert [task.task_id for task in found] == [task.id for task in TASKS]
    assert all(task.attempts == 16 and task.reveals_answer == 1.0 for task in found)
    assert set(found[0].lifts) == set(INPUTS)
    assert 0.3 < np.mean([task.accuracy for task in found]) < 0.7
    assert np.mean([task.lifts["feedback"].accuracy for task in found]) > 0.9
    mean, low, high = mean_with_interval([task.lifts["feedback"].lift for task in found])
    assert 0.2 < low < mean < high < 0.8
    for task in found:
        shown = {task.lifts[name].shown for name in INPUTS}
        assert len(shown) == 1  # every failure, and no success, as all successes are one and the same word
        assert 0.2 < shown.pop() < 0.9
        assert task.lifts["feedback"].gap is not None
        assert task.lifts["feedback"].gap < -1


def test_a_policy_that_does_not_read_gets_no_lift() -> None:
    untrained = Policy.small(hidden=16, layers=1, heads=2, device="cpu")
    found = probe(untrained, riddles(4, 4, reveal=True), settings(tasks=4))
    for task in found:
        assert task.accuracy == task.lifts["feedback"].accuracy == task.lifts["feedback"].lift == 0
        gap = task.lifts["feedback"].gap
        assert gap is not None
        assert abs(gap) <= task.lifts["feedback"].gap_size < 0.3
        assert task.lifts["peer"] == Lift(0.0)


def test_to_try_again_is_no_lift() -> None:
    coin = Scripted(lambda number, conversation, seed: "ab"[seed % 2])  # it reads nothing
    found = probe(coin, riddles(8, 32, reveal=True), settings())
    assert 0.4 < np.mean([task.accuracy for task in found]) < 0.6
    assert all(task.lifts[name].shown > 0.2 for task in found for name in INPUTS)
    assert all(task.lifts[name].lift == 0 for task in found for name in INPUTS)


@pytest.mark.parametrize("reveal", [False, True])
def test_it_tells_what_share_of_the_feedback_reveals_the_answer(reveal: bool) -> None:
    (task,) = probe(script("bcda"), riddles(1, 4, reveal=reveal), settings(tasks=1), inputs=ONE)
    assert task.reveals_answer == float(reveal)
    (task,) = probe(script("aaaa", "aaba", "bbbb"), riddles(1, 4, reveal=reveal), settings(tasks=1), inputs=ONE)
    assert task.reveals_answer is None
    assert task.accuracy == 0.75
    assert task.lifts["feedback"] == Lift(0.0)


# --- where teacher and student disagree


@torch.no_grad()
def test_the_gap_is_that_of_the_bare_model_and_lies_at_the_wrong_word(policy: Policy) -> None:
    failed = [attempt(policy, word, 0.0) for word in ("b", "c")]
    group = Group("say/a", tuple(failed))
    lift = _lift(policy, group, [TOLD + AGAIN] * 2, group, group, settings(temperature=TEMPERATURE))
    model = precise(policy)
    gaps = [
        spoken(read(policy, model, each.turns, TOLD + AGAIN), each.turns)
        - spoken(read(policy, model, each.turns), each.turns)
        for each in failed
    ]
    assert lift.gap == pytest.approx(float(torch.cat(gaps).mean()), abs=1e-4)
    assert lift.gap_size == pytest.approx(float(torch.cat(gaps).abs().mean()), abs=1e-4)
    word, end = lift.profile[0], lift.profile[5]
    assert (word, end) == pytest.approx(torch.stack(gaps).mean(0).tolist(), abs=1e-4)
    assert word < -3
    assert abs(end) < 0.5
    assert np.isnan([each for part, each in enumerate(lift.profile) if part not in (0, 5)]).all()


@dataclass
class Table:
    """Scores that were written down."""

    logits_NV: torch.Tensor

    def __len__(self) -> int:
        return len(self.logits_NV)

    @property
    def vocabulary(self) -> int:
        return self.logits_NV.shape[1]

    def logits(self, at: slice) -> torch.Tensor:
        return self.logits_NV[at]


class Knowing(Policy):
    """Finds every token as likely as any other; with hindsight, the last token of an action `doubt` nats less so."""

    doubt = 3.0

    def scores(self, scripts: Sequence[Script], temperature: float = 1.0) -> Any:
        (each,) = scripts
        logits = torch.zeros(len(each.written), 10_000)
        if "hindsight" in self.tokenizer.decode(each.token_ids):
            logits[-1, each.written_ids[-1]] = -self.doubt
        return Table(logits / temperature)


def failure(*tokens: int) -> Attempt:
    turn = Turn("Riddle 0?", "", tokens, (0.0,) * len(tokens))
    return Attempt("riddle/0", (turn,), 0.0, Verdict(Outcome.WRONG, 0.0), Feedback("No."))


def test_the_profile_points_at_the_token_that_is_wrong() -> None:
    knowing = Knowing.small(hidden=16, layers=1, heads=2, device="cpu")
    lengths = (2, 3, 10, 25)
    group = Group("riddle/0", tuple(failure(*range(40, 40 + length)) for length in lengths))
    lift = _lift(knowing, group, ["hindsight"] * 4, group, group, settings())
    last = [(length - 1) * PARTS // length for length in lengths]
    assert last == [5, 6, 9, 9]
    parts = [number * PARTS // length for length in lengths for number in range(length)]
    expected = [-3.0 * last.count(part) / parts.count(part) for part in range(PARTS)]
    assert lift.profile == pytest.approx(expected, abs=1e-3)
    assert lift.gap == pytest.approx(-12 / sum(lengths), abs=1e-3)
    assert lift.gap_size == pytest.approx(12 / sum(lengths), abs=1e-3)
    cool = _lift(knowing, group, ["hindsight"] * 4, group, group, settings(temperature=2.0))
    assert cool.gap == pytest.approx(-6 / sum(lengths), abs=1e-3)


def test_only_failures_that_were_shown_something_have_a_gap() -> None:
    knowing = Knowing.small(hidden=16, layers=1, heads=2, device="cpu")
    passed = replace(failure(40, 41), reward=1.0, verdict=Verdict(Outcome.PASSED, 1.0))
    broken = replace(failure(40, 41), reward=math.nan, verdict=None, feedback=None)
    shown, unshown = failure(40, 41), failure(50)
    group = Group("riddle/0", (passed, broken, shown, unshown))
    lift = _lift(knowing, group, ["hindsight", None, "hindsight", None], group, group, settings())
    assert lift.gap == pytest.approx(-1.5, abs=1e-3)
    assert (lift.shown, lift.accuracy, lift.lift) == (pytest.approx(2 / 3), 0.5, 0)
    assert _lift(knowing, group, [None] * 4, group, group, settings()) == Lift(0.0)


# --- what the teacher is shown


def heard(*rounds: str, size: int = 2, **keywords: Any) -> tuple[Scripted, list[TaskProbe]]:
    sampler = script(*rounds)
    return sampler, probe(sampler, riddles(1, size, reveal=True, **keywords), settings(tasks=1))


def test_each_input_is_shown_as_the_self_teacher_would_read_it() -> None:
    sampler, (task,) = heard("ba", "cb", "ca", "ca", "ca", "ca", "ca")
    feedback = "\nThe following is feedback from your unsuccessful earlier attempt:\n\n'b' is wrong.\nRight: a"
    peer, own = "\nCorrect solution:\n\na", "\nThe following is your unsuccessful earlier attempt:\n\nb"
    bare = Conversation("Riddle 0?", "Be brief.")
    assert sampler.asked[:2] == [[bare, bare]] * 2
    shown = [feedback, peer, peer, peer + feedback, peer + own + feedback]
    for asked, told in zip(sampler.asked[2:], shown, strict=True):
        assert asked == [Conversation(f"Riddle 0?{told}{AGAIN}", "Be brief."), bare]
    assert all(lift == Lift(0.5, 0.0, 0.0) for lift in task.lifts.values())
    assert (task.accuracy, task.attempts) == (0, 2)


def test_attempts_are_compared_with_others_by_the_same_draws() -> None:
    sampler, (task,) = heard("bbaa", "abba", "aabb", "aabb", "aabb", "abbb", "bbaa", size=4)
    assert [task.lifts[name].shown for name in INPUTS] == [0.5] * 5
    assert [task.lifts[name].accuracy for name in INPUTS] == [1.0, 1.0, 1.0, 0.5, 0.0]
    assert [task.lifts[name].lift for name in INPUTS] == [0.5, 0.5, 0.5, 0.0, -0.5]
    assert task.accuracy == 0.5
    first, *others = sampler.seeds
    assert others == [others[0]] * (1 + len(INPUTS))
    assert not set(first) & set(others[0])


def test_without_a_peer_there_is_no_peer_to_show() -> None:
    _, (task,) = heard("bb", "ab", "aa", "bb", "aa", "aa", "aa")
    assert [task.lifts[name].shown for name in INPUTS] == [1, 0, 1, 1, 1]
    assert task.lifts["peer"] == Lift(0.0)


def test_hindsight_that_there_is_no_room_for_is_not_shown() -> None:
    sampler = script("bb", "ab", "aa", room=40)
    (task,) = probe(sampler, riddles(1, 2), settings(tasks=1), inputs=ONE)
    assert task.lifts["feedback"] == Lift(0.0)
    assert all(length(each) < 40 for asked in sampler.asked for each in asked)
    short = small(max_positions=40)
    (task,) = probe(short, riddles(1, 2), settings(tasks=1), inputs=ONE)
    assert task.lifts["feedback"] == Lift(0.0)


def test_in_an_episode_of_several_turns_each_is_read_with_hindsight() -> None:
    sampler = script("xb", "yz", "uv", "wb", "xb", "aa")
    (task,) = probe(sampler, riddles(1, 2, TwoTurns), settings(tasks=1), inputs=ONE)
    first, second = ([each.observation for each in asked] for asked in sampler.asked[4:])
    feedback = "\nThe following is feedback from your unsuccessful earlier attempt:\n\n"
    again = "Once more, and take your time: Riddle 0?"
    assert first == [f"Riddle 0?{feedback}'{said}' is wrong.{AGAIN}" for said in "yz"]
    assert second == [
        f"You said '{said}'. {again}{feedback}'{failed}' is wrong.{AGAIN}" for said, failed in (("x", "y"), ("b", "z"))
    ]
    assert task.lifts["feedback"] == Lift(1.0, 1.0, 1.0)


# --- tasks, groups, what breaks, and chance


def by_chance() -> Scripted:
    return Scripted(lambda number, conversation, seed: chance(conversation, seed, "ab"))


@pytest.mark.parametrize("groups", [1, 2, 3, 5, 8])
def test_what_is_found_on_a_task_does_not_depend_on_how_many_are_played_at_once(groups: int) -> None:
    alone = probe(by_chance(), riddles(5, 3), settings(tasks=5))
    assert len({(task.accuracy, task.lifts["feedback"].lift) for task in alone}) > 2
    assert probe(by_chance(), riddles(groups, 3), settings(tasks=5)) == alone
    assert [task.task_id for task in alone] == [task.id for task in RIDDLES[:5]]


def test_tasks_do_not_share_their_luck() -> None:
    sampler = Scripted(lambda number, conversation, seed: "ab"[seed % 2])
    found = probe(sampler, riddles(2, 6), settings(tasks=8), inputs=ONE)
    assert len({seed for seeds in sampler.seeds for seed in seeds}) == 8 * 6 * 2
    assert len({task.accuracy for task in found}) > 2


@pytest.mark.parametrize(("tasks", "found"), [(1, 1), (3, 3), (8, 8), (100, 8)])
def test_so_many_tasks_are_probed_as_asked_for_or_there_are(tasks: int, found: int) -> None:
    ids = [task.task_id for task in probe(by_chance(), riddles(3, 2), settings(tasks=tasks), inputs=ONE)]
    assert ids == [task.id for task in RIDDLES[:found]]


def test_tasks_may_be_named() -> None:
    named = ["riddle/5", "riddle/1", "riddle/3"]
    found = probe(by_chance(), riddles(2, 2), settings(tasks=1), inputs=ONE, task_ids=named)
    assert [task.task_id for task in found] == named


def test_what_broke_is_left_out() -> None:
    (task,) = probe(script("!bba", "ab!b", "aaa!"), riddles(1, 4), settings(tasks=1), inputs=ONE)
    assert (task.attempts, task.accuracy) == (3, pytest.approx(1 / 3))
    assert task.lifts["feedback"] == Lift(pytest.approx(2 / 3), 1.0, 1.0)  # of the one that was played each time
    (task,) = probe(script("bb", "bb", "!!"), riddles(1, 2), settings(tasks=1), inputs=ONE)
    assert task.lifts["feedback"] == Lift(1.0)


def test_a_task_of_which_everything_broke_is_left_out() -> None:
    found = probe(script("!!bbbb", "aabb!!", "aaaaaa"), riddles(3, 2), settings(tasks=3), inputs=ONE)
    assert [task.task_id for task in found] == ["riddle/1"]
    assert probe(script("!!!!", "!!!!", "!!!!"), riddles(2, 2), settings(tasks=2), inputs=ONE) == []


def test_equal_seeds_find_the_same(policy: Policy) -> None:
    def find(seed: int) -> list[TaskProbe]:
        return probe(policy, GroupEnv(Say, 12, 4, reveal=True), settings(tasks=3, seed=seed), inputs=ONE)

    found = find(0)
    assert find(0) == found
    assert any(find(seed) != found for seed in (1, 2))


def test_a_server_has_no_gap() -> None:
    _, (task,) = heard("bc", "ab", "aa", "bc", "aa", "aa", "aa")
    assert all((lift.gap, lift.gap_size, lift.profile) == (None, None, ()) for lift in task.lifts.values())
    assert task.lifts["feedback"] == Lift(1.0, 1.0, 0.5)


@pytest.mark.parametrize("wrong", [{"tasks": 0}, {"max_tokens": 0}, {"temperature": 0.0}, {"seed": -1}])
def test_a_setting_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        settings(**wrong)


def test_the_inputs_are_those_of_table_6() -> None:
    assert INPUTS["peer, else feedback"] == Reprompt()
    assert INPUTS["feedback"].peer == "none"


# --- intervals


def test_a_mean_has_an_interval() -> None:
    values = np.random.default_rng(0).normal(3.0, 1.0, 100).tolist()
    mean, low, high = mean_with_interval(values)
    assert mean == pytest.approx(np.mean(values))
    assert (high - low) == pytest.approx(2 * 1.96 * np.std(values) / 10, rel=0.15)
    assert (low + high) / 2 == pytest.approx(mean, abs=0.05)
    assert mean_with_interval(values) == (mean, low, high)
    assert mean_with_interval([0.1] * 3) == (pytest.approx(0.1),) * 3
    assert np.isnan(mean_with_interval([])).all()
