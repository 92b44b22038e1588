"""What each turn of an episode is given credit for: discounts, penalties, and how it compares with others.

An episode has one reward, at its end. By default all its turns share it, and so does each token, as in GRPO. GiGPO
(arXiv 2505.10978) also compares turns of a group that met the same state: `Credit.states`.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch

from sdpo_agent.attempt import Attempt, Group
from sdpo_agent.losses import Baseline, Scale, group_advantages
from sdpo_envs.errors import choose, within

Over = Literal["attempts", "turns"]


@dataclass(frozen=True, slots=True)
class Credit:
    """How the reward of an episode becomes a return for each of its turns, and that an advantage.

    With the defaults every turn has the advantage of its attempt.
    """

    discount: float = 1.0
    """What a reward is worth one turn earlier."""
    invalid_penalty: float = 0.0
    """What is taken from the return of a turn whose action did not have the form that was asked for."""
    over: Over = "attempts"
    """What weighs the same in the mean and the standard deviation of a group: each attempt, or each turn (as
    verl-agent has it), where long attempts weigh more."""
    states: float = 0.0
    """GiGPO's omega: the weight of what a turn's return says against those of the group's turns in the same state."""
    state_discount: float = 0.95
    """What a reward is worth one turn earlier where turns in the same state are compared, in place of `discount`."""

    def __post_init__(self) -> None:
        choose("over", self.over, get_args(Over))
        for name in ("discount", "state_discount"):
            within(name, getattr(self, name), 0, 1)
        for name in ("invalid_penalty", "states"):
            within(name, getattr(self, name), 0)

    def returns(self, attempt: Attempt) -> list[float]:
        """Return what each turn is given credit for: discount ** (turns left) * reward, less its penalty."""
        last = len(attempt.turns) - 1
        return [
            self.discount ** (last - number) * attempt.reward - (0.0 if turn.valid else self.invalid_penalty)
            for number, turn in enumerate(attempt.turns)
        ]

    def advantages(self, group: Group, baseline: Baseline, scale: Scale) -> list[list[float]]:
        """Return the advantage of each turn of each attempt of `group` that was decided.

        Args:
            group: Its attempts have at least one turn each.
            baseline: As for `sdpo_agent.losses.group_advantages`.
            scale: The same.
        """
        returns = [self.returns(attempt) for attempt in group.decided]
        found = (_by_turn if self.over == "turns" else _by_attempt)(returns, baseline, scale)
        if not self.states:
            return found
        returns = [replace(self, discount=self.state_discount).returns(attempt) for attempt in group.decided]
        beside = _by_state(group.decided, returns, baseline, scale)
        return [
            [one + self.states * other for one, other in zip(*pair, strict=True)]
            for pair in zip(found, beside, strict=True)
        ]


def _by_turn(returns: Sequence[Sequence[float]], baseline: Baseline, scale: Scale) -> list[list[float]]:
    flat = iter(_compared([value for each in returns for value in each], baseline, scale))
    return [[next(flat) for _ in each] for each in returns]


def _by_attempt(returns: Sequence[Sequence[float]], baseline: Baseline, scale: Scale) -> list[list[float]]:
    """Compare returns as `group_advantages` does, but with each attempt, however long, of the same weight."""
    means = [_mean(each) for each in returns]
    found = [
        [advantage + (value - mean) for value in each]
        for each, mean, advantage in zip(returns, means, _compared(means, baseline, "none"), strict=True)
    ]
    if scale == "none":
        return found
    centre = _mean(means)
    variances = [_mean([(value - centre) ** 2 for value in each]) for each in returns]
    deviation = math.sqrt(sum(variances) / max(1, len(variances) - 1))
    return [[value / (deviation + 1e-4) for value in each] for each in found]  # the constant is that of `_compared`


def _by_state(
    attempts: Sequence[Attempt], returns: Sequence[Sequence[float]], baseline: Baseline, scale: Scale
) -> list[list[float]]:
    """Compare each return with those of the group's turns that answered the same state (GiGPO, equations 6 and 7)."""
    met: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, attempt in enumerate(attempts):
        for place, turn in enumerate(attempt.turns):
            met[turn.state or turn.observation].append((number, place))
    found = [[0.0] * len(each) for each in returns]
    for places in met.values():
        advantages = _compared([returns[number][place] for number, place in places], baseline, scale)
        for (number, place), advantage in zip(places, advantages, strict=True):
            found[number][place] = advantage
    return found


def _compared(values: Sequence[float], baseline: Baseline, scale: Scale) -> list[float]:
    if len(set(values)) < 2:
        return [0.0] * len(values)  # to the bit, so that what agrees teaches nothing
    return group_advantages(torch.tensor(values, dtype=torch.float64), baseline, scale).tolist()


def _mean(values: Sequence[float]) -> float:
    """Return the mean, which of equal values is that value to the bit; 0 of none."""
    return min(max(values), max(min(values), sum(values) / len(values))) if values else 0.0
