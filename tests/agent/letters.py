"""A tiny world for the agent's tests: say a letter, and be told which one was right."""

import functools

import gymnasium

from sdpo_envs import Finding, GroupEnv, JudgedEnv, JudgeError, Outcome, Task, Verdict
from sdpo_envs.env import Step

LETTERS = "abcdef"
TASKS = [Task(f"say/{letter}", f"Say letter {number}.", letter) for number, letter in enumerate(LETTERS)]


def judge(task: Task, action: str) -> Verdict:
    if action == task.answer:
        return Verdict(Outcome.PASSED, 1.0)
    outcome = Outcome.WRONG if action in LETTERS else Outcome.MALFORMED
    return Verdict(outcome, 0.0, (Finding("Not that letter.", answer={"Right": task.answer}),))


class Say(JudgedEnv):
    """Breaks on the first `broken` judgements."""

    def __init__(self, broken: int = 0, **settings: object) -> None:
        self.broken = broken
        super().__init__(TASKS, self._judge, **settings)

    def _judge(self, task: Task, action: str) -> Verdict:
        if self.broken:
            raise JudgeError("the judge is out")
        return judge(task, action)


class SayHalf(Say):
    """Three of the letters, or for a test the others; which ones is a matter of the world."""

    def __init__(self, world: int = 0, split: str = "train", **settings: object) -> None:
        super().__init__(**settings)
        start = 0 if split == "train" else 3
        self.tasks = [TASKS[(world + start + number) % 6] for number in range(3)]
        self._index = {task.id: number for number, task in enumerate(self.tasks)}


class SayTwice(Say):
    """Two turns: the first is not judged."""

    def step(self, action: str) -> Step:
        self.accept(action)
        if len(self._transcript) < 3:
            return self.proceed(f"And again: {self.task.prompt}")
        return self.conclude(judge(self.task, action))


def is_even(task: Task, action: str) -> Verdict:
    """About half of what an untrained policy writes passes."""
    if sum(action.encode(errors="replace")) % 2 == 0:
        return Verdict(Outcome.PASSED, 1.0)
    return Verdict(Outcome.WRONG, 0.0, (Finding(f"{action!r} is odd."),))


class SayEven(JudgedEnv):
    """Can be learned from with no warm-up."""

    def __init__(self, **settings: object) -> None:
        super().__init__(TASKS, is_even, **settings)


gymnasium.register("agent-test/Say-v0", entry_point=Say, vector_entry_point=functools.partial(GroupEnv, Say))
gymnasium.register(
    "agent-test/SayHalf-v0", entry_point=SayHalf, vector_entry_point=functools.partial(GroupEnv, SayHalf)
)
