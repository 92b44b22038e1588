"""Worked episodes: that their prompts are those of training and test time, and that their answers are right."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from sums import wall

from sdpo_agent import Attempt, Conversation, Group, Turn, hindsight
from sdpo_agent.discover import DiscoverSettings, MultiTurn
from sdpo_agent.episodes import KINDS, Journey, Story, episodes
from sdpo_agent.reprompt import Reprompt
from sdpo_agent.warmstart import Example
from sdpo_envs import Feedback, Outcome, SettingError, Task, Verdict, explain
from sdpo_envs.feedback import redact
from sdpo_envs.microtool import MicroTool, judge

TOOL = "sdpo/MicroTool-v0"
CODE = "sdpo/MicroCode-v0"


class Speechless(MicroTool):
    """Nobody can say what somebody might write here."""

    def guess(self, task: Task, rng: np.random.Generator, known: float = 0.0) -> Any:
        return None


class Unsolved(MicroTool):
    """Nobody knows what is right here."""

    def oracle(self, task: Task) -> Any:
        return None


gymnasium.register("agent-test/Speechless-v0", entry_point=Speechless)
gymnasium.register("agent-test/Unsolved-v0", entry_point=Unsolved)


def first(number: int, seed: int = 0, env_ids: tuple[str, ...] = (TOOL,), kinds: Any = KINDS) -> list[Example]:
    return list(itertools.islice(episodes(env_ids, seed, kinds), number))


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    """The stories behind the episodes of two blocks."""
    told: list[Story] = []

    def plain(story: Story) -> Any:
        told.append(story)
        return story.plain()

    first(3000, kinds={"plain": (1.0, plain)})
    return told


def some(stories: list[Story], failures: int) -> Iterator[Story]:
    """Ten stories with so many failures."""
    found = [story for story in stories if len(story.failures) == failures][:10]
    assert len(found) == 10
    return iter(found)


def attempts(story: Story, peer: str | None = None) -> list[Attempt]:
    """The failures of a story, as they are when a policy plays them."""
    played = []
    for action, _ in story.failures:
        verdict = judge(story.task, action)
        turn = Turn(story.task.prompt, action, (1, 2), (0.0, 0.0))
        feedback = Feedback(explain(verdict).text, peer=peer)
        played.append(Attempt(story.task.id, (turn,), 0.0, redact(verdict), feedback))
    return played


# Stories


def test_answers_are_right_and_failures_fail(stories: list[Story]) -> None:
    for story in stories:
        assert judge(story.task, story.right) == Verdict(Outcome.PASSED, 1.0)
        for action, feedback in story.failures:
            verdict = judge(story.task, action)
            assert not verdict.passed
            assert str(feedback) == verdict.findings[0].title


def test_a_story_has_up_to_three_failures_mostly_one(stories: list[Story]) -> None:
    counts = Counter(len(story.failures) for story in stories)
    assert set(counts) == {0, 1, 2, 3}
    assert counts[1] > counts[2] > counts[3] > 20


def test_later_tries_are_not_always_the_first_again(stories: list[Story]) -> None:
    several = [story for story in stories if len(story.failures) > 1]
    assert sum(story.failures[0][0] != story.failures[1][0] for story in several) > len(several) / 3


def test_no_task_comes_twice(stories: list[Story]) -> None:
    assert len({story.task.id for story in stories}) == len(stories)


# Prompts


def test_the_question_alone_is_what_the_policy_is_asked(stories: list[Story]) -> None:
    story = stories[0]
    assert story.plain() == Conversation(story.task.prompt).messages()
    system = Story(Task("own", "What?", None, "Be brief."), "That.", ())
    assert system.plain() == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"}]


@pytest.mark.parametrize(
    ("kind", "peer", "reprompt"),
    [
        ("feedback", False, Reprompt()),
        ("peer", True, Reprompt()),
        ("feedback and peer", True, Reprompt(feedback="always")),
        ("feedback and attempt", False, Reprompt(attempt=True)),
    ],
)
def test_what_is_taught_is_what_the_self_teacher_reads(
    stories: list[Story], kind: str, peer: bool, reprompt: Reprompt
) -> None:
    for story in some(stories, 2):
        own = attempts(story, story.right if peer else None)[0]
        told = hindsight(Group(story.task.id, (own,)), own, story.task.prompt, reprompt)
        assert told is not None
        assert KINDS[kind][1](story) == Conversation(told).messages()
        assert (story.right in told) == peer
        assert (str(own.feedback) in told) == (kind != "peer")


class _Room:
    """A sampler that has room for everything."""

    def fits(self, conversation: Conversation, max_tokens: int) -> bool:
        return True


@pytest.mark.parametrize(("kind", "conversation"), [("all feedback", False), ("conversation", True)])
@pytest.mark.parametrize("failures", [1, 2, 3])
def test_several_failures_are_shown_as_at_test_time(
    stories: list[Story], kind: str, conversation: bool, failures: int
) -> None:
    for story in some(stories, failures):
        room: Any = _Room()
        strategy = MultiTurn(room, DiscoverSettings(), conversation=conversation)
        for number, attempt in enumerate(attempts(story)):
            strategy.hear(Group(story.task.id, (attempt,)), number)
        asked = strategy.ask(0, Conversation(story.task.prompt, story.task.system))
        assert KINDS[kind][1](story) == asked.messages()


def test_where_nobody_failed_there_is_nothing_to_tell(stories: list[Story]) -> None:
    story = next(some(stories, 0))
    told = {kind: writer(story) for kind, (_, writer) in KINDS.items()}
    assert told.pop("bare") == story.plain()
    assert set(map(repr, told.values())) == {"None"}


def test_no_prompt_but_a_peer_s_gives_the_answer_away(stories: list[Story]) -> None:
    for story in some(stories, 3):
        for kind, (_, writer) in KINDS.items():
            read = "\n".join(message["content"] for message in writer(story) or ())
            assert (story.right in read) == ("peer" in kind)


# Episodes


def test_equal_seeds_give_equal_episodes_and_others_others() -> None:
    one, same, other = first(300), first(300), first(300, seed=1)
    assert one == same
    assert len({repr(each) for each in one} & {repr(each) for each in other}) < 30


def test_kinds_come_as_often_as_their_shares_say() -> None:
    counts = Counter(messages[0]["content"] for messages, _ in first(2500, kinds=_named({"one": 3.0, "other": 1.0})))
    assert counts["one"] / 2500 == pytest.approx(0.75, abs=0.04)


def _named(shares: dict[str, float]) -> Any:
    def writer(name: str) -> Any:
        return lambda story: [{"role": "user", "content": name}]

    return {name: (share, writer(name)) for name, share in shares.items()}


def test_every_kind_comes_and_of_several_environments_each() -> None:
    wall()
    drawn = first(3000, env_ids=(TOOL, CODE))
    asked = [messages[0]["content"] for messages, _ in drawn]
    assert 0.3 < np.mean([text.startswith("Write f(x): ") for text in asked]) < 0.7
    bare = np.mean([len(messages) == 1 and "\n" not in messages[0]["content"] for messages, _ in drawn])
    assert 0.12 < bare < 0.35
    assert any(len(messages) == 7 for messages, _ in drawn)
    for messages, answer in drawn:
        assert messages[-1]["role"] == "user"
        assert answer.startswith("return " if messages[0]["content"].startswith("Write") else "Action: ")


def test_episodes_do_not_end() -> None:
    drawn = first(4200)  # of more than two blocks
    assert len({repr(each) for each in drawn[-200:]} & {repr(each) for each in drawn[:200]}) < 30


@pytest.mark.parametrize("env_id", ["agent-test/Speechless-v0", "agent-test/Unsolved-v0"])
def test_an_environment_must_know_a_right_action_and_a_guess(env_id: str) -> None:
    with pytest.raises(SettingError, match=r"must define oracle\(task\) and guess\(task, rng, known\) to warm up on"):
        first(1, env_ids=(env_id,))


# Journeys


HOUSE = "sdpo/MicroHouse-v0"


@pytest.fixture(scope="module")
def journeys() -> list[Journey]:
    """Those behind the episodes of a block."""
    told: list[Journey] = []

    def plain(journey: Journey) -> Any:
        told.append(journey)
        return journey.plain()

    first(1500, env_ids=(HOUSE,), kinds={"plain": (1.0, plain)})
    return told


def test_a_journey_is_asked_as_a_conversation_is_and_answered_as_is_usual(journeys: list[Journey]) -> None:
    for journey in journeys[:50]:
        messages, answer = journey.plain()
        assert [message["role"] for message in messages] == ["user", "assistant"] * len(journey.turns) + ["user"]
        assert answer == journey.usual
        assert messages[0]["content"].startswith("Fetch: ")
        assert all("\n" not in message["content"] for message in messages[1:]), "only what is new is shown"


def test_a_journey_has_the_system_prompt_of_its_task(journeys: list[Journey]) -> None:
    journey = next(each for each in journeys if each.failure is not None)
    assert journey.plain()[0][0]["role"] == "user", "this world has none"
    journey.system = "Be brief."
    for example in (journey.plain(), journey.taught(Reprompt())):
        assert example is not None
        assert example[0][0] == {"role": "system", "content": "Be brief."}
    journey.system = ""


def test_a_taught_journey_has_its_hindsight_in_front_and_the_right_answer(journeys: list[Journey]) -> None:
    kinds = {
        "skill": Reprompt(peer="none", feedback="never", skill=True),
        "feedback": Reprompt(),
        "feedback and attempt": Reprompt(attempt=True),
        "peer": Reprompt(),
        "peer's transcript": Reprompt(transcript=True),
    }
    for kind, reprompt in kinds.items():
        told = [(journey, journey.taught(reprompt, peer="peer" in kind)) for journey in journeys[:200]]
        assert {example is None for journey, example in told} == {True, False}, "who never fails is not taught"
        for journey, example in told:
            assert (example is None) == (journey.failure is None)
            if example is None or journey.failure is None:
                continue
            messages, answer = example
            attempt = journey.failure
            peer = journey.peer.text if "peer" in kind else None
            attempt = dataclasses.replace(attempt, feedback=Feedback(str(attempt.feedback), peer=peer))
            question = journey.turns[0].observation if journey.turns else journey.seen
            group = Group("t", (attempt, journey.peer) if peer else (attempt,))
            assert messages[0]["content"] == hindsight(group, attempt, question, reprompt)
            assert messages[1:] == journey.plain()[0][1:]
            assert answer == journey.right


def test_a_peer_has_succeeded_and_not_always_by_the_shortest_way(journeys: list[Journey]) -> None:
    assert all(journey.peer.passed for journey in journeys)
    in_vain = np.mean([": nothing." in journey.peer.transcript for journey in journeys])
    assert 0.1 < in_vain < 0.9


def test_who_knows_nothing_often_differs_from_who_knows(journeys: list[Journey]) -> None:
    apart = sum(journey.usual != journey.right for journey in journeys) / len(journeys)
    assert 0.1 < apart < 0.5
    assert {len(journey.turns) for journey in journeys} >= {0, 1, 2, 3, 4, 5}


def test_kinds_are_those_that_suit_the_environment() -> None:
    asked = [messages[0]["content"] for messages, _ in first(600, env_ids=(HOUSE, TOOL), kinds=None)]
    assert any("What is known about such tasks" in each for each in asked)
    assert any(each.startswith("Do: ") for each in asked)
    assert any(each.startswith("Fetch: ") for each in asked)
    assert first(20, env_ids=(HOUSE,), kinds=None) == first(20, env_ids=(HOUSE,), kinds=None)
