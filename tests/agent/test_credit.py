"""What each turn is given credit for."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_agent import Attempt, Group, Turn
from sdpo_agent.credit import Credit
from sdpo_envs import Feedback, Outcome, SettingError, Verdict


def played(reward: float, *turns: str) -> Attempt:
    """An attempt whose turns met these states; a state that ends in "!" was answered without form."""
    said = tuple(Turn(f"prompt {each}", "a", (1,), (0.0,), valid=not each.endswith("!"), state=each) for each in turns)
    verdict = None if math.isnan(reward) else Verdict(Outcome.WRONG, reward)
    return Attempt("t", said, reward, verdict, Feedback(), "broken" if verdict is None else "")


def advantages(*attempts: Attempt, scale: Any = "none", baseline: Any = "mean", **credit: Any) -> list[list[float]]:
    return Credit(**credit).advantages(Group("t", attempts), baseline, scale)


def test_by_default_every_turn_has_the_advantage_of_its_attempt() -> None:
    assert advantages(played(1.0, "a", "b", "c"), played(0.0, "a")) == [[0.5] * 3, [-0.5]]
    assert advantages(played(1.0, "a"), played(math.nan, "a"), played(0.0, "a")) == [[0.5], [-0.5]]
    assert advantages(played(1.0, "a")) == [[0.0]]
    assert advantages(played(1.0, "a"), played(0.0, "b"), baseline="leave-one-out") == [[1.0], [-1.0]]


def test_an_earlier_turn_is_worth_less_where_rewards_are_discounted() -> None:
    assert Credit(discount=0.5).returns(played(1.0, "a", "b", "c")) == [0.25, 0.5, 1.0]
    assert Credit(discount=0.0).returns(played(1.0, "a", "b")) == [0.0, 1.0]


def test_a_turn_without_form_pays_for_it() -> None:
    assert Credit(invalid_penalty=0.1).returns(played(1.0, "a", "b!")) == [1.0, 0.9]
    (one, other) = advantages(played(0.0, "a", "b!"), played(0.0, "a", "b"), invalid_penalty=0.1)
    assert one == pytest.approx([0.025, -0.075])
    assert other == pytest.approx([0.025, 0.025])


def test_attempts_weigh_the_same_or_turns_do() -> None:
    long, short = played(1.0, "a", "b", "c"), played(0.0, "a")
    assert advantages(long, short, over="attempts") == [[0.5] * 3, [-0.5]]
    assert advantages(long, short, over="turns") == [[0.25] * 3, [-0.75]]
    (one, *_), (other,) = advantages(long, short, over="turns", scale="std")
    assert (one, other) == pytest.approx((0.25 / (0.5 + 1e-4), -0.75 / (0.5 + 1e-4)))


def test_the_deviation_is_that_of_all_turns_with_attempts_of_the_same_weight() -> None:
    one, other = advantages(played(1.0, "a", "b!"), played(0.0, "a"), scale="std", invalid_penalty=0.2)
    unit = 1 / (math.sqrt((0.55**2 + 0.35**2) / 2 + 0.45**2) + 1e-4)
    assert one == pytest.approx([0.55 * unit, 0.35 * unit])
    assert other == pytest.approx([-0.45 * unit])
    plain = advantages(played(1.0, "a", "b"), played(0.0, "a"), scale="std")
    assert [each for turns in plain for each in turns] == pytest.approx(
        [0.5 / (math.sqrt(0.5) + 1e-4)] * 2 + [-0.5 / (math.sqrt(0.5) + 1e-4)]
    ), "where the turns of an attempt agree, it is that of the rewards"


@pytest.mark.parametrize("over", ["attempts", "turns"])
def test_attempts_that_agree_on_the_whole_do_not_blow_up_what_their_turns_differ_by(over: str) -> None:
    """All have the mean -0.05: that their deviation is 0 is no reason to divide by 0.0001."""
    failed = [played(0.0, "a", "b!"), played(0.0, "a!", "b"), played(0.0, "a", "b!")]
    found = advantages(*failed, scale="std", invalid_penalty=0.1, over=over)
    assert {round(abs(value), 1) for each in found for value in each} <= {0.8, 0.9}


@pytest.mark.parametrize("over", ["attempts", "turns"])
@pytest.mark.parametrize("scale", ["none", "std"])
@pytest.mark.parametrize("lengths", [(3, 3, 3), (1, 2, 3, 6), (7,)])
def test_what_agrees_is_0_to_the_bit(over: str, scale: str, lengths: Sequence[int]) -> None:
    """Three times 0.1 over 3 is not 0.1; what is left of that would be a gradient, and moves Adam's momentum."""
    attempts = [played(0.1, *"abcdefg"[:length]) for length in lengths]
    assert not any(map(any, advantages(*attempts, scale=scale, over=over, states=1.0, state_discount=1.0)))


def test_turns_that_met_the_same_state_are_compared() -> None:
    """GiGPO: both began at "a"; one went on to "b", and only one of them came back to "a"."""
    won, lost = played(1.0, "a", "b"), played(0.0, "a", "c", "a")
    one, other = advantages(won, lost, states=2.0, state_discount=1.0)
    assert one == pytest.approx([0.5 + 2 * 2 / 3, 0.5])
    assert other == pytest.approx([-0.5 - 2 / 3, -0.5, -0.5 - 2 / 3])


def test_only_where_states_are_compared_does_the_way_that_is_left_count() -> None:
    """GiGPO (equations 3, 5 and 8): the episode's advantage is the same for all turns, whatever the discount."""
    quick, slow = played(1.0, "a", "b"), played(1.0, "a", "c", "b")
    lost = played(0.0, "a")
    by_episode = advantages(quick, slow, lost, over="turns")
    one, other, last = advantages(quick, slow, lost, over="turns", states=1.0, state_discount=0.5)
    start = [0.5, 0.25, 0.0]
    assert one == pytest.approx([by_episode[0][0] + start[0] - 0.25, by_episode[0][1]])
    assert other == pytest.approx([by_episode[1][0] + start[1] - 0.25, by_episode[1][1], by_episode[1][2]])
    assert last == pytest.approx([by_episode[2][0] + start[2] - 0.25])
    assert Credit(states=1.0).state_discount == 0.95, "that of the released scripts"


def test_a_state_that_nobody_else_met_says_nothing() -> None:
    assert advantages(played(1.0, "a"), played(0.0, "b"), states=1.0) == [[0.5], [-0.5]]


def test_without_a_state_of_its_own_the_observation_is_one() -> None:
    bare = [
        Attempt("t", (Turn("seen", "a", (1,), (0.0,)),), reward, Verdict(Outcome.WRONG, reward), Feedback())
        for reward in (1.0, 0.0)
    ]
    assert advantages(*bare, states=1.0) == [[1.0], [-1.0]]


@given(
    rewards=st.lists(st.floats(-1, 1), min_size=2, max_size=5),
    lengths=st.lists(st.integers(1, 4), min_size=5, max_size=5),
    baseline=st.sampled_from(["mean", "leave-one-out"]),
    discount=st.sampled_from([1.0, 0.9]),
)
def test_advantages_weigh_up(rewards: Sequence[float], lengths: Sequence[int], baseline: str, discount: float) -> None:
    attempts = [played(reward, *"abcd"[:length]) for reward, length in zip(rewards, lengths, strict=False)]
    by_attempt = advantages(*attempts, baseline=baseline, discount=discount)
    assert sum(sum(each) / len(each) for each in by_attempt) == pytest.approx(0, abs=1e-6)
    by_turn = advantages(*attempts, baseline=baseline, discount=discount, over="turns", states=0.5)
    assert sum(map(sum, by_turn)) == pytest.approx(0, abs=1e-6)
    scaled = advantages(*attempts, baseline=baseline, discount=discount, scale="std")
    assert all(abs(value) < 3 * len(attempts) for each in scaled for value in each)


@pytest.mark.parametrize(
    "wrong", [{"discount": 1.1}, {"invalid_penalty": -1}, {"states": -0.5}, {"over": "tokens"}, {"state_discount": 2}]
)
def test_other_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        Credit(**wrong)
