"""Tasks for discover and probe: riddles with a word of feedback on every action, and samplers that remember."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
from letters import TASKS, Say

from sdpo_agent import Conversation, Turn
from sdpo_envs import Finding, GroupEnv, JudgedEnv, JudgeError, Outcome, Task, Verdict
from sdpo_envs.env import Step

RIDDLES = [Task(f"riddle/{number}", f"Riddle {number}?", "a", "Be brief.") for number in range(8)]
HARD = Task("say/hard", "Say letter 0.", "f")
"""The policy of `conftest` says a, b or c here, and nearly never f; but it reads hindsight about f."""


def guess(task: Task, action: str) -> Verdict:
    """Tell what was said, so that each attempt has feedback of its own; break when asked to."""
    if action == "!":
        raise JudgeError("the judge is out")
    if action == task.answer:
        return Verdict(Outcome.PASSED, 1.0)
    return Verdict(Outcome.WRONG, 0.0, (Finding(f"{action!r} is wrong.", answer={"Right": task.answer}),))


class Riddle(JudgedEnv):
    def __init__(self, **settings: Any) -> None:
        super().__init__(RIDDLES, guess, **settings)


class TwoTurns(Riddle):
    """Asks again, with more words, before it judges."""

    def step(self, action: str) -> Step:
        self.accept(action)
        if len(self._actions) < 1:
            return self.proceed(f"You said {action!r}. Once more, and take your time: {self.task.prompt}")
        return self.conclude(guess(self.task, action))


class Hard(Say):
    """One task at which the warm policy nearly always fails."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.tasks, self._index = [HARD], {HARD.id: 0}


class Scripted:
    """A sampler like a server: it knows no tokens, and remembers what it was asked.

    Args:
        says: From the number of a conversation since the start, what is read, and a seed, to an action.
        room: Most characters it reads.
    """

    def __init__(self, says: Callable[[int, Conversation, int], str], room: int = 10**9) -> None:
        self.says, self.room = says, room
        self.asked: list[list[Conversation]] = []
        self.seeds: list[list[int]] = []
        self.written = 0

    def write(
        self, conversations: Sequence[Conversation], *, max_tokens: int, temperature: float, seeds: Sequence[int]
    ) -> list[Turn]:
        self.asked.append(list(conversations))
        self.seeds.append(list(seeds))
        turns = []
        for conversation, seed in zip(conversations, seeds, strict=True):
            said = self.says(self.written, conversation, seed)
            turns.append(Turn(conversation.observation, said, (), (), system=conversation.system))
            self.written += 1
        return turns

    def fits(self, conversation: Conversation, max_tokens: int) -> bool:
        return length(conversation) + max_tokens <= self.room


def length(conversation: Conversation) -> int:
    return sum(len(message["content"]) for message in conversation.messages())


def script(*rounds: Sequence[str], room: int = 10**9) -> Scripted:
    """Says these texts, one after the other, and "z" ever after."""
    texts = [text for each in rounds for text in each]
    return Scripted(lambda number, conversation, seed: texts[number] if number < len(texts) else "z", room)


def chance(conversation: Conversation, seed: int, letters: str = "abcdefghijkl!") -> str:
    """Say what follows from everything that is read, and the seed."""
    said = repr((conversation.messages(), seed)).encode()
    return letters[int.from_bytes(hashlib.sha256(said).digest()[:4]) % len(letters)]


gymnasium.register("agent-test/Hard-v0", entry_point=Hard, vector_entry_point=functools.partial(GroupEnv, Hard))
assert TASKS[0].prompt == HARD.prompt
