"""MyEnv: words to put in order. Feedback says which word stands in the wrong place, and never the right order."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import gymnasium
from sdpo_envs import Finding, GroupEnv, JudgedEnv, Outcome, Task, Verdict

# 1. The tasks. What a policy reads is the prompt; what only the judge may know is the answer.
WORDS = ("plum", "fig", "pear", "melon", "apple", "lime", "date", "olive")
TASKS = [
    Task(f"my_env/{'-'.join(words)}", f"Write in alphabetical order: {', '.join(words)}", sorted(words))
    for words in itertools.combinations(WORDS, 4)
    if list(words) != sorted(words)
]


# 2. The judge. Whatever was written gets a verdict, with facts about it; what was right is kept apart, in `answer`.
def judge(task: Task, action: str) -> Verdict:
    """Compare the words of `action` with those of the task, then each with the next."""
    words = [word.strip() for word in action.split(",")]
    told, right = {"You wrote": action}, {"In order": ", ".join(task.answer)}
    if sorted(words) != task.answer:
        return Verdict(Outcome.MALFORMED, 0.0, (Finding("These are not the words, parted by commas.", told, right),))
    for first, second in itertools.pairwise(words):
        if first > second:
            return Verdict(Outcome.WRONG, 0.0, (Finding(f"'{second}' must come before '{first}'.", told, right),))
    return Verdict(Outcome.PASSED, 1.0)


# 3. The environment. An oracle lets every task prove its own answer, and secrets that no feedback gives it away.
class MyEnv(JudgedEnv):
    """Words to put in order."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(TASKS, judge, **settings)

    def oracle(self, task: Task) -> str:
        """Return the words in order."""
        return ", ".join(task.answer)

    def secrets(self, task: Task) -> Sequence[str]:
        """Return the words in order, which stand in no prompt."""
        return [", ".join(task.answer)]


MyEnvGroup = functools.partial(GroupEnv, MyEnv)

gymnasium.register("my_env/MyEnv-v0", entry_point="my_env:MyEnv", vector_entry_point="my_env:MyEnvGroup")
