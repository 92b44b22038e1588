"""How far a judge agrees with the judge of an environment: on right, wrong and malformed actions at its tasks."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from sdpo_envs.core import Judge, Outcome, Task
from sdpo_envs.env import FeedbackEnv, JudgedEnv, natural
from sdpo_envs.errors import JudgeError, SettingError

KINDS = ("right", "wrong", "malformed")
"""What an action is meant to be; what it is, the judge of the environment says."""
_TAG = re.compile(r"</?\w+>")
_GUESSES = 50


@dataclass(frozen=True, slots=True)
class Trial:
    """One action, judged twice.

    Attributes:
        task: The task's id.
        kind: One of `KINDS`.
        action: What was judged.
        rule: What the judge of the environment found.
        found: What the other judge found; None if it could not decide.
        error: Why not.
    """

    task: str
    kind: str
    action: str
    rule: Outcome
    found: Outcome | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two judges found of the same actions.

    Attributes:
        trials: Every action.
    """

    trials: tuple[Trial, ...]

    @property
    def table(self) -> dict[tuple[Outcome, Outcome], int]:
        """How often the environment's judge found the first outcome and the other judge the second."""
        return dict(Counter((each.rule, each.found) for each in self.trials if each.found is not None))

    @property
    def judged(self) -> int:
        """How many actions both judges decided about."""
        return sum(self.table.values())

    @property
    def agreed(self) -> int:
        """How many of them they agree about."""
        return sum(count for (rule, found), count in self.table.items() if rule is found)

    @property
    def rate(self) -> float:
        """The share that they agree about, in [0, 1]; NaN if there is nothing to share."""
        return self.agreed / self.judged if self.judged else math.nan

    @property
    def kappa(self) -> float:
        """Cohen's kappa, at most 1: how far they agree beyond chance. NaN if both always find the same one outcome."""
        if not self.judged:
            return math.nan
        mine, theirs = Counter[Outcome](), Counter[Outcome]()
        for (rule, found), count in self.table.items():
            mine[rule] += count
            theirs[found] += count
        chance = sum(mine[each] * theirs[each] for each in mine) / self.judged**2
        return (self.rate - chance) / (1 - chance) if chance < 1 else math.nan

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return Wilson's interval of the `rate`, as if all actions were independent, though three share a task."""
        if not self.judged:
            return math.nan, math.nan
        squared = NormalDist().inv_cdf((1 + confidence) / 2) ** 2 / self.judged
        middle, half = self.rate + squared / 2, math.sqrt(squared * (self.rate * (1 - self.rate) + squared / 4))
        return max(0.0, (middle - half) / (1 + squared)), min(1.0, (middle + half) / (1 + squared))


def agreement(env: FeedbackEnv, judge: Judge, tasks: int = 20, *, seed: int = 0, concurrent: int = 8) -> Agreement:
    """Have `judge` judge what the environment's own judge judges: a right, a wrong and a malformed action per task.

    The right one is the oracle's, the wrong one a guess, and the malformed one the oracle's without its tags.

    Args:
        env: Whose episodes are one action.
        judge: The other judge, of the same tasks and whole actions.
        tasks: How many, drawn from all of them; all, if there are fewer.
        seed: Draws tasks and guesses.
        concurrent: Most judgements at a time.

    Raises:
        SettingError: the environment has episodes of many turns, no oracle or no guess; or a number is below 1.
        InfrastructureError: the environment's own judge broke.
    """
    if not isinstance(env, JudgedEnv):
        raise SettingError(f"{type(env).__name__} has episodes of many turns; agreement is asked about single actions.")
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(env.tasks))[: natural("tasks", tasks)].tolist()
    asked = [
        (task, kind, action) for at in chosen for task in [env.tasks[at]] for kind, action in _actions(env, task, rng)
    ]
    ruled = [env.judge(task, action).outcome for task, _, action in asked]

    def compare(place: int) -> Trial:
        task, kind, action = asked[place]
        found, error = _found(judge, task, action)
        return Trial(task.id, kind, action, ruled[place], found, error)

    with ThreadPoolExecutor(natural("concurrent", concurrent)) as pool:
        return Agreement(tuple(pool.map(compare, range(len(asked)))))


def _found(judge: Judge, task: Task, action: str) -> tuple[Outcome | None, str]:
    try:
        return judge(task, action).outcome, ""
    except JudgeError as error:
        return None, str(error)


def _actions(env: JudgedEnv, task: Task, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    right = env.oracle(task)
    guesses = (env.guess(task, rng) for _ in range(_GUESSES))
    wrong = next((guess for guess in guesses if guess is not None and not env.judge(task, guess).passed), None)
    if right is None or wrong is None:
        raise SettingError(f"{type(env).__name__} must know an oracle(task), and guess(task, rng), to compare judges.")
    bare = _TAG.sub("", right).strip()
    return zip(KINDS, (right, wrong, bare if bare != right else right[: len(right) // 2]), strict=True)
