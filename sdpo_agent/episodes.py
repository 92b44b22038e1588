"""Worked episodes to warm a policy up on: it is shown what it will be shown, and answers right.

An environment that knows a right action for its tasks, and what somebody who does not might write, shows by itself how
its feedback is read. So a policy can learn that, on tasks that it is never trained on, before RL begins.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np

from sdpo_agent.attempt import Attempt, Conversation, Group, Message, Turn
from sdpo_agent.reprompt import FEEDBACK, INSTRUCTION, Reprompt, hindsight
from sdpo_agent.warmstart import Example
from sdpo_envs import Feedback, FeedbackEnv, SettingError, Task, TurnsEnv

_TRIES = 3

Kind = Callable[["Story"], list[Message] | None]
"""Writes the prompt of an episode from its story; None where that has nothing to tell."""


class Story:
    """A task, its right action, and failures at it with what was said of them.

    Attributes:
        task: The task.
        right: What earns 1.0.
        failures: Actions, each with its feedback; of later ones more was known.
    """

    def __init__(self, task: Task, right: str, failures: Sequence[tuple[str, Feedback]]) -> None:
        self.task, self.right, self.failures = task, right, failures

    def plain(self) -> list[Message]:
        """Ask the question."""
        return Conversation(self.task.prompt, self.task.system).messages()

    def taught(self, reprompt: Reprompt, peer: bool = False) -> list[Message] | None:
        """Ask as the self-teacher is asked, with the first failure's feedback or a peer's right action."""
        if not self.failures:
            return None
        action, feedback = self.failures[0]
        feedback = Feedback(str(feedback), peer=self.right if peer else None)
        attempt = Attempt(self.task.id, (Turn(self.task.prompt, action, (), ()),), 0.0, None, feedback)
        told = hindsight(Group(self.task.id, (attempt,)), attempt, self.task.prompt, reprompt)
        return None if told is None else Conversation(told, self.task.system).messages()

    def told(self) -> list[Message] | None:
        """Ask with the feedback on all failures, as `discover` does where it shows feedback alone."""
        if not self.failures:
            return None
        feedback = "\n\n".join(str(told) for _, told in self.failures)
        return Conversation(f"{self.task.prompt}\n{FEEDBACK}{feedback}{INSTRUCTION}", self.task.system).messages()

    def conversation(self) -> list[Message] | None:
        """Ask again after each failure, as `discover` does where it shows the conversation."""
        if not self.failures:
            return None
        asked = [self.task.prompt, *(f"{FEEDBACK.lstrip()}{told}{INSTRUCTION}" for _, told in self.failures)]
        turns = [Turn(said, action, (), ()) for said, (action, _) in zip(asked, self.failures, strict=False)]
        return Conversation(asked[-1], self.task.system, tuple(turns)).messages()


class Journey:
    """A place in an episode of several turns, and what others would do there.

    Attributes:
        system: The system prompt, ``""`` for none.
        turns: What was seen and done before, by somebody who may know something.
        seen: What is seen now.
        usual: What somebody does here who knows nothing of this very task.
        right: What somebody does who knows it.
        failure: An attempt that failed, with what was said of it.
        peer: A success, not always by the shortest way.
    """

    def __init__(
        self,
        system: str,
        turns: Sequence[Turn],
        seen: str,
        usual: str,
        right: str,
        failure: Attempt | None,
        peer: Attempt,
    ) -> None:
        self.system, self.turns, self.seen, self.usual, self.right = system, turns, seen, usual, right
        self.failure, self.peer = failure, peer

    def plain(self) -> Example:
        """Ask, after what was seen and done before."""
        return self._asked(None), self.usual

    def taught(self, reprompt: Reprompt, peer: bool = False) -> Example | None:
        """Ask as the self-teacher is asked, with feedback on the failure, a peer, or a skill."""
        if self.failure is None:
            return None
        feedback = Feedback(str(self.failure.feedback), peer=self.peer.text if peer else None)
        attempt = replace(self.failure, feedback=feedback)
        group = Group(attempt.task_id, (attempt, self.peer) if peer else (attempt,))
        question = self.turns[0].observation if self.turns else self.seen
        told = hindsight(group, attempt, question, reprompt)
        return None if told is None else (self._asked(told), self.right)

    def _asked(self, opening: str | None) -> list[Message]:
        turns, seen = tuple(self.turns), self.seen
        if opening is not None and turns:
            turns = (replace(turns[0], observation=opening), *turns[1:])
        elif opening is not None:
            seen = opening
        return Conversation(seen, self.system, turns).messages()


KINDS: Mapping[str, tuple[float, Kind]] = {
    "bare": (0.18, lambda story: story.plain()),
    "feedback": (0.30, lambda story: story.taught(Reprompt())),
    "peer": (0.12, lambda story: story.taught(Reprompt(), peer=True)),
    "feedback and peer": (0.08, lambda story: story.taught(Reprompt(feedback="always"), peer=True)),
    "feedback and attempt": (0.08, lambda story: story.taught(Reprompt(attempt=True))),
    "all feedback": (0.08, lambda story: story.told()),
    "conversation": (0.16, lambda story: story.conversation()),
}
"""What is read besides the question, by a self-teacher or in `discover`, and how often."""


TURN_KINDS: Mapping[str, tuple[float, Callable[[Journey], Example | None]]] = {
    "bare": (0.25, lambda journey: journey.plain()),
    "skill": (0.15, lambda journey: journey.taught(Reprompt(peer="none", feedback="never", skill=True))),
    "feedback": (0.05, lambda journey: journey.taught(Reprompt())),
    "feedback and attempt": (0.15, lambda journey: journey.taught(Reprompt(attempt=True))),
    "feedback and skill": (0.1, lambda journey: journey.taught(Reprompt(skill=True))),
    "peer": (0.15, lambda journey: journey.taught(Reprompt(), peer=True)),
    "transcript": (0.1, lambda journey: journey.taught(Reprompt(transcript=True), peer=True)),
    "feedback and peer": (0.05, lambda journey: journey.taught(Reprompt(feedback="always"), peer=True)),
}
"""The same of episodes of several turns, at one of their turns."""


def episodes(
    env_ids: Sequence[str], seed: int, kinds: Mapping[str, tuple[float, Any]] | None = None
) -> Iterator[Example]:
    """Yield episodes without end, of each environment in turn.

    Args:
        env_ids: Environments that have the split ``"warm"``, with new tasks in every ``world``, an `oracle` for them,
            or a `walkthrough`, and a `guess`.
        seed: Which tasks, guesses and kinds.
        kinds: Of prompts, with their shares; None for `KINDS`, or `TURN_KINDS` where there are several turns.

    Raises:
        SettingError: an environment knows no right action, or no guess.
    """
    block = 0
    while True:
        rng = np.random.default_rng([seed, block])
        drawn: list[Example] = []
        for env_id in env_ids:
            env = gymnasium.make(env_id, split="warm", world=int(rng.integers(2**31))).unwrapped
            assert isinstance(env, FeedbackEnv)
            block_of = _turn_block if isinstance(env, TurnsEnv) else _block
            drawn += block_of(env, rng, kinds or kinds_of(env))
            env.close()
        yield from (drawn[place] for place in rng.permutation(len(drawn)))
        block += 1


def kinds_of(env: FeedbackEnv) -> Mapping[str, tuple[float, Any]]:
    """Return the kinds of prompts that suit an environment."""
    return TURN_KINDS if isinstance(env, TurnsEnv) else KINDS


def _turn_block(
    env: FeedbackEnv, rng: np.random.Generator, kinds: Mapping[str, tuple[float, Any]]
) -> Iterator[Example]:
    """Yield an episode of one turn of each task of `env`, but for those where the kind needs what there is not."""
    assert isinstance(env, TurnsEnv)
    env.prompt = "new"
    weights, writers = zip(*kinds.values(), strict=True)
    chosen = rng.choice(len(writers), size=len(env.tasks), p=np.divide(weights, sum(weights)))
    for task, kind in zip(env.tasks, chosen, strict=True):
        example = writers[kind](_journey(env, task, rng))
        if example is not None:
            yield example


def _journey(env: TurnsEnv, task: Task, rng: np.random.Generator) -> Journey:
    """Play a task with no knowledge of it, and again with some, and stop at one of the turns."""
    failure, _ = _played(env, task, rng, 0.0)
    peer = next(each for each, _ in (_played(env, task, rng, known) for known in (rng.random(), 1.0)) if each.passed)
    _, places = _played(env, task, rng, float(rng.choice([0.0, rng.random(), 1.0])))
    turns, seen, usual, right = places[rng.integers(len(places))]
    return Journey(task.system, turns, seen, usual, right, None if failure.passed else failure, peer)


def _played(
    env: TurnsEnv, task: Task, rng: np.random.Generator, known: float
) -> tuple[Attempt, list[tuple[tuple[Turn, ...], str, str, str]]]:
    """Play an episode; return it, and of each turn what was before it, what is seen, and what others would do."""
    seen, told = env.reset(options={"task_id": task.id})
    turns: tuple[Turn, ...] = ()
    places = []
    while True:
        usual, right, taken = (_try(env, task, rng, chance) for chance in (0.0, 1.0, known))
        places.append((turns, seen, usual, right))
        turns += (Turn(seen, taken, (), (), state=env.seen.text),)
        seen, reward, terminated, truncated, info = env.step(taken)
        if terminated or truncated:
            return Attempt(task.id, turns, reward, info["verdict"], info["feedback"], skill=told["skill"]), places


def _block(env: FeedbackEnv, rng: np.random.Generator, kinds: Mapping[str, tuple[float, Kind]]) -> Iterator[Example]:
    """Yield an episode for each task of `env`, but for those that nobody fails at where the kind needs a failure."""
    weights, writers = zip(*kinds.values(), strict=True)
    chosen = rng.choice(len(writers), size=len(env.tasks), p=np.divide(weights, sum(weights)))
    for story, kind in zip(_stories(env, rng), chosen, strict=True):
        messages = writers[kind](story)
        if messages is not None:
            yield messages, story.right


def _stories(env: FeedbackEnv, rng: np.random.Generator) -> Iterator[Story]:
    tries = [(task, _try(env, task, rng, _known(rng, number))) for task in env.tasks for number in range(_TRIES)]
    env.expect(tries)
    counts = rng.choice(_TRIES, size=len(env.tasks), p=(0.6, 0.25, 0.15)) + 1
    for place, (task, count) in enumerate(zip(env.tasks, counts.tolist(), strict=True)):
        failures = []
        for _, action in tries[place * _TRIES : (place + 1) * _TRIES]:
            env.reset(options={"task_id": task.id})
            *_, info = env.step(action)
            if not info["verdict"].passed:
                failures.append((action, info["feedback"]))
        yield Story(task, env.oracle(task) or "", failures[:count])


def _known(rng: np.random.Generator, number: int) -> float:
    """Say how much is known at a task's first try, or a later one, that knows more; one in two first tries does too."""
    return float(rng.random()) if number or rng.random() < 0.5 else 0.0


def _try(env: FeedbackEnv, task: Task, rng: np.random.Generator, known: float) -> str:
    action = env.guess(task, rng, known)
    if action is None or env.walkthrough(task) is None:
        raise SettingError(f"{type(env).__name__} must define oracle(task) and guess(task, rng, known) to warm up on.")
    return action
