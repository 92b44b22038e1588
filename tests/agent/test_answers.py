"""A sampler as `evaluate` takes a policy: what it is asked, with which seeds, what that cost, and what breaks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sdpo_agent.answers import Answers
from sdpo_agent.attempt import Conversation, Turn
from sdpo_envs import InfrastructureError, SettingError
from sdpo_envs.bench import Reply, evaluate
from sdpo_envs.record import rows

TOOLS = ("sdpo/ToolUse-v0", {"split": "test"})


class Fake:
    """Writes its seed, and keeps what it was asked; breaks where it is told to."""

    def __init__(self, broken: int = 0) -> None:
        self.asked: list[tuple[Conversation, int]] = []
        self.calls: list[dict[str, Any]] = []
        self.broken = broken

    def write(
        self, conversations: Sequence[Conversation], *, max_tokens: int, temperature: float, seeds: Sequence[int]
    ) -> list[Turn]:
        self.calls.append({"max_tokens": max_tokens, "temperature": temperature})
        if self.broken:
            self.broken -= 1
            raise InfrastructureError("The server is down.")
        asked = list(zip(conversations, seeds, strict=True))
        self.asked += asked
        cost = {"prompt_tokens": 10, "action_tokens": 3}
        return [
            Turn(each.observation, f"{seed}", (), (), cut_short=seed % 2 == 1, system=each.system, **cost)
            for each, seed in asked
        ]

    def fits(self, conversation: Conversation, max_tokens: int) -> bool:
        return True


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_a_chat_is_read_as_a_conversation() -> None:
    fake = Fake()
    chat = [{"role": "system", "content": "Be brief."}, user("a"), assistant("b"), user("c")]
    Answers(fake, max_tokens=5, temperature=0.3)([chat, [user("d")]])
    (first, _), (second, _) = fake.asked
    assert first.messages() == chat
    assert second == Conversation("d")
    assert fake.calls == [{"max_tokens": 5, "temperature": 0.3}]


WRONG = [[], [assistant("a")], [user("a"), assistant("b")], [user("a"), user("b")], [{"role": "system", "content": ""}]]


@pytest.mark.parametrize("chat", WRONG, ids=len)
def test_what_is_no_chat_to_answer_is_refused(chat: list[dict[str, str]]) -> None:
    with pytest.raises(SettingError, match="cannot be answered"):
        Answers(Fake())([chat])


def test_equal_chats_get_different_seeds_and_the_next_call_others() -> None:
    fake = Fake()
    answers = Answers(fake)
    for _ in range(2):
        answers([[user("a")], [user("b")], [user("a")]])
    seeds = [seed for _, seed in fake.asked]
    assert len(set(seeds)) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_follow_from_the_chat_and_not_from_what_is_answered_beside_it() -> None:
    chats = [[user(f"{number // 4}")] for number in range(12)]
    together, apart, other = Fake(), Fake(), Fake()
    Answers(together, seed=5)(chats)
    one_by_one = Answers(apart, seed=5)
    for chat in chats:
        one_by_one([chat])
    assert together.asked == apart.asked
    Answers(other, seed=6)(chats)
    assert {seed for _, seed in other.asked}.isdisjoint(seed for _, seed in together.asked)


def test_a_call_that_broke_is_made_again_with_the_same_seeds() -> None:
    fake, whole = Fake(broken=1), Fake()
    answers = Answers(fake)
    with pytest.raises(InfrastructureError):
        answers([[user("a")]] * 2)
    answers([[user("a")]] * 2)
    Answers(whole)([[user("a")]] * 2)
    assert fake.asked == whole.asked
    assert answers.written == 2


def test_what_it_cost_is_in_the_replies_and_adds_up() -> None:
    answers = Answers(Fake())
    replies = answers([[user(f"{number}")] for number in range(20)])
    assert all(isinstance(reply, Reply) and (reply.tokens, reply.prompt_tokens) == (3, 10) for reply in replies)
    assert (answers.written, answers.tokens, answers.prompt_tokens) == (20, 60, 200)
    assert answers.cut_short == sum(reply.cut_short for reply in replies) > 0


def test_an_evaluation_does_not_depend_on_how_much_is_played_at_once(tmp_path: Path) -> None:
    for slots in (2, 7, 64):
        evaluate(Answers(Fake()), [TOOLS], attempts=2, tasks=5, slots=slots, run=tmp_path / f"{slots}")
    seen = {slots: {(row.task, row.actions) for row in rows(tmp_path / f"{slots}")} for slots in (2, 7, 64)}
    assert seen[2] == seen[7] == seen[64]
    assert len(seen[2]) == 10
    assert {(row.tokens, row.prompt_tokens) for row in rows(tmp_path / "7")} == {(3, 10)}
    assert {row.cut_short for row in rows(tmp_path / "7")} == {True, False}


def test_a_server_that_fails_is_no_failure_of_the_policy_and_the_evaluation_goes_on_where_it_was(
    tmp_path: Path,
) -> None:
    class Dying(Fake):
        def write(self, conversations: Sequence[Conversation], **keywords: Any) -> list[Turn]:
            self.broken = len(self.calls) == 2
            return super().write(conversations, **keywords)

    settings: dict[str, Any] = {"attempts": 2, "tasks": 6, "slots": 2}
    with pytest.raises(InfrastructureError, match="down"):
        evaluate(Answers(Dying()), [TOOLS], run=tmp_path / "run", **settings)
    assert len(rows(tmp_path / "run")) == 4
    fake = Fake()
    scores = evaluate(Answers(fake), [TOOLS], run=tmp_path / "run", resume=True, **settings)
    assert len(fake.asked) == 8
    whole = evaluate(Answers(Fake()), [TOOLS], run=tmp_path / "whole", **settings)
    assert scores == whole
    told = [[(row.task, row.actions, row.passed) for row in rows(tmp_path / name)] for name in ("run", "whole")]
    assert told[0] == told[1]
    again = Fake()
    assert evaluate(Answers(again), [TOOLS], run=tmp_path / "run", resume=True, **settings) == whole
    assert again.asked == []


def test_resuming_needs_the_same_evaluation(tmp_path: Path) -> None:
    evaluate(Answers(Fake()), [TOOLS], attempts=1, tasks=2, run=tmp_path)
    with pytest.raises(SettingError, match="attempts"):
        evaluate(Answers(Fake()), [TOOLS], attempts=2, tasks=2, run=tmp_path, resume=True)
    with pytest.raises(FileExistsError):
        evaluate(Answers(Fake()), [TOOLS], attempts=1, tasks=2, run=tmp_path)
    with pytest.raises(SettingError, match="needs run="):
        evaluate(Answers(Fake()), [TOOLS], attempts=1, tasks=2, resume=True)
