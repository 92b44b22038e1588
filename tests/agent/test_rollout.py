"""Playing episodes."""

import dataclasses
import functools
import itertools
import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from letters import LETTERS, TASKS, Say, SayTwice

from sdpo_agent import Conversation, Group, Policy, Turn, collect
from sdpo_envs import (
    FeedbackEnv,
    Finding,
    GroupEnv,
    JudgedEnv,
    JudgeError,
    Outcome,
    SettingError,
    Task,
    Verdict,
    record,
)
from sdpo_envs.env import Step
from sdpo_envs.turns import Move, Seen, TurnsEnv

play = functools.partial(collect, max_tokens=4)


class Parrot:
    """A sampler like a server: says what it is told to, knows no tokens, and remembers what it was asked."""

    def __init__(self, says: Callable[[Conversation, int], str]) -> None:
        self.says = says
        self.asked: list[list[Conversation]] = []
        self.seeds: list[list[int]] = []
        self.settings: list[tuple[int, float]] = []

    def write(
        self, conversations: Sequence[Conversation], *, max_tokens: int, temperature: float, seeds: Sequence[int]
    ) -> list[Turn]:
        self.asked.append(list(conversations))
        self.seeds.append(list(seeds))
        self.settings.append((max_tokens, temperature))
        return [
            Turn(each.observation, self.says(each, seed), (), (), system=each.system)
            for each, seed in zip(conversations, seeds, strict=True)
        ]

    def fits(self, conversation: Conversation, max_tokens: int) -> bool:
        return True


def scripted(*turns: Sequence[str]) -> Parrot:
    """Says these texts, one after the other."""
    texts = itertools.chain.from_iterable(turns)
    return Parrot(lambda conversation, seed: next(texts))


def says_number(conversation: Conversation, seed: int) -> str:
    return str(seed % 12)


NUMBERS = [Task(f"number/{number}", f"Say a number above {number}.", number, "Be brief.") for number in range(4, 9)]


class Number(JudgedEnv):
    """Many answers are right, so that which peer is handed over is a matter of chance."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(NUMBERS, self._judge, **settings)

    def _judge(self, task: Task, action: str) -> Verdict:
        passed = int(action) > task.answer
        return Verdict(Outcome.PASSED if passed else Outcome.WRONG, float(passed))


class Stairs(FeedbackEnv):
    """Pays 0.25 a step, for as many steps as the first action says."""

    def __init__(self, **settings: Any) -> None:
        super().__init__([Task("stairs", "How many?", None, "Be brief.")], **settings)

    def step(self, action: str) -> Step:
        self.accept(action)
        steps = int(self._actions[0] if self._actions else action)
        done = len(self._actions) + 1
        if done < steps:
            observation, _, *rest = self.proceed(f"Step {done}.")
            return observation, 0.25, *rest
        return self.conclude(Verdict(Outcome.PASSED if steps > 2 else Outcome.WRONG, 0.25))


def peers_of(group: Group) -> list[str | None]:
    return [None if attempt.feedback is None else attempt.feedback.peer for attempt in group.attempts]


# --- groups


def test_groups_hold_the_attempts_of_one_task_in_order(policy: Policy, envs: GroupEnv) -> None:
    groups = play(envs, policy, task_ids=[task.id for task in TASKS])
    assert [group.task_id for group in groups] == [task.id for task in TASKS]
    for group, task in zip(groups, TASKS, strict=True):
        assert len(group.attempts) == 4
        for attempt in group.attempts:
            (turn,) = attempt.turns
            assert attempt.task_id == task.id
            assert turn.observation == task.prompt
            assert attempt.reward == float(turn.action == task.answer)
            assert attempt.passed == (turn.action == task.answer)
            assert len(turn.token_ids) == len(turn.logprobs) > 0
    assert 0.2 < np.mean([attempt.reward for group in groups for attempt in group.attempts]) < 0.9


def test_a_sampler_needs_no_tokens() -> None:
    envs = GroupEnv(Say, num_envs=4, group_size=2, reveal=True)
    groups = play(envs, scripted(["a", "x", "b", "c"]), task_ids=["say/a", "say/b"], temperature=0.7)
    assert [[attempt.text for attempt in group.attempts] for group in groups] == [["a", "x"], ["b", "c"]]
    assert [attempt.passed for group in groups for attempt in group.attempts] == [True, False, True, False]
    assert all(turn.token_ids == () for group in groups for attempt in group.attempts for turn in attempt.turns)
    assert "Right: b" in str(groups[1].attempts[1].feedback)


def test_the_settings_of_the_sampling_reach_the_sampler() -> None:
    parrot = scripted(["a", "b"])
    collect(GroupEnv(Say, num_envs=2, group_size=2), parrot, max_tokens=17, temperature=0.3)
    assert parrot.settings == [(17, 0.3)]


def test_a_failed_attempt_brings_home_a_peer_of_its_group() -> None:
    envs = GroupEnv(Say, num_envs=4, group_size=2)
    first, second = play(envs, scripted(["a", "x", "x", "y"]), task_ids=["say/a", "say/b"])
    assert peers_of(first) == [None, "a"]
    assert peers_of(second) == [None, None]


def test_an_attempt_whose_judge_broke_is_kept_apart() -> None:
    envs = GroupEnv(Say, num_envs=2, group_size=2)
    envs.envs[1].unwrapped.broken = 1
    (group,) = play(envs, scripted(["a", "a"]), task_ids=["say/a"])
    whole, broken = group.attempts
    assert (whole.reward, whole.error, whole.decided) == (1.0, "", True)
    assert math.isnan(broken.reward)
    assert broken.verdict is None
    assert broken.feedback is None
    assert "the judge is out" in broken.error
    assert not broken.decided
    assert not broken.passed
    assert broken.text == "a"
    assert group.decided == (whole,)


def test_a_group_of_which_all_broke_is_a_group_still() -> None:
    (group,) = play(GroupEnv(Say, num_envs=2, group_size=2, broken=1), scripted(["a", "a"]))
    assert [math.isnan(attempt.reward) for attempt in group.attempts] == [True, True]
    assert group.decided == ()


# --- episodes of several turns


def test_an_episode_of_two_turns_has_two_turns_and_one_verdict() -> None:
    envs = GroupEnv(SayTwice, num_envs=2, group_size=2)
    (group,) = play(envs, scripted(["x", "y"], ["a", "b"]), task_ids=["say/a"])
    right, wrong = group.attempts
    assert [turn.action for turn in right.turns] == ["x", "a"]
    assert right.turns[1].observation.startswith("And again")
    assert (right.reward, wrong.reward) == (1.0, 0.0)
    assert right.text == "x\na"
    assert peers_of(group) == [None, "x\na"]


def test_slots_that_have_ended_are_not_asked_again_and_meet_their_peers_at_the_end() -> None:
    parrot = Parrot(lambda conversation, seed: numbers.pop(0) if conversation.observation == "How many?" else "on")
    numbers = ["1", "3", "2", "1"]
    first, second = play(GroupEnv(Stairs, num_envs=4, group_size=2), parrot)
    assert [len(asked) for asked in parrot.asked] == [4, 2, 1]
    assert [attempt.reward for attempt in (*first.attempts, *second.attempts)] == [0.25, 0.75, 0.5, 0.25]
    early, late = first.attempts
    assert [turn.observation for turn in late.turns] == ["How many?", "Step 1.", "Step 2."]
    assert (early.text, late.text) == ("1", "3\non\non")
    assert peers_of(first) == ["3\non\non", None]


class BreaksLate(SayTwice):
    """Its judge is out in the second turn of whoever said x in the first."""

    def step(self, action: str) -> Step:
        if self._actions == ["x"]:
            raise JudgeError("the judge is out")
        return super().step(action)


def test_a_slot_may_break_in_its_second_turn() -> None:
    envs = GroupEnv(BreaksLate, num_envs=3, group_size=3)
    (group,) = play(envs, scripted(["x", "y", "z"], ["a", "a", "b"]), task_ids=["say/a"])
    broken, right, wrong = group.attempts
    assert math.isnan(broken.reward)
    assert broken.text == "x\na"
    assert "the judge is out" in broken.error
    assert group.decided == (right, wrong)
    assert (right.reward, wrong.reward) == (1.0, 0.0)
    assert peers_of(group) == [None, None, "y\na"]


def test_an_episode_that_is_stopped_ends_without_a_verdict() -> None:
    envs = GroupEnv(SayTwice, num_envs=2, group_size=2, max_episode_steps=1)
    (group,) = play(envs, scripted(["a", "b"]), task_ids=["say/a"])
    for attempt in group.attempts:
        assert (attempt.reward, attempt.verdict, attempt.error, len(attempt.turns)) == (0.0, None, "", 1)
        assert attempt.decided
        assert not attempt.passed


# --- what is read


def test_each_observation_stands_alone_unless_told_otherwise() -> None:
    parrot = scripted(["x", "y"], ["a", "b"])
    (group,) = play(GroupEnv(SayTwice, num_envs=2, group_size=2), parrot, task_ids=["say/a"])
    again = f"And again: {TASKS[0].prompt}"
    assert parrot.asked == [[Conversation(TASKS[0].prompt)] * 2, [Conversation(again)] * 2]
    for attempt in group.attempts:
        assert not attempt.one_conversation
        assert attempt.threads == tuple((turn,) for turn in attempt.turns)


def test_a_conversation_is_read_from_its_beginning() -> None:
    parrot = Parrot(lambda conversation, seed: "3" if conversation.observation == "How many?" else str(seed % 7))
    (group,) = play(GroupEnv(Stairs, num_envs=2, group_size=2), parrot, history="conversation")
    assert [len(asked) for asked in parrot.asked] == [2, 2, 2]
    for slot, attempt in enumerate(group.attempts):
        observations = ["How many?", "Step 1.", "Step 2."]
        for number, observation in enumerate(observations):
            read = Conversation(observation, "Be brief.", attempt.turns[:number])
            assert parrot.asked[number][slot] == read
        assert attempt.one_conversation
        assert attempt.threads == (attempt.turns,)


def test_a_policy_reads_what_is_scored_later(policy: Policy) -> None:
    envs = GroupEnv(SayTwice, num_envs=8, group_size=4)
    for history in ("observation", "conversation"):
        groups = play(envs, policy, history=history, seeds=[1, 2], temperature=1.3, max_tokens=6)
        attempts = [attempt for group in groups for attempt in group.attempts]
        threads = [thread for attempt in attempts for thread in attempt.threads]
        assert len(threads) == 8 * (2 if history == "observation" else 1)
        scored = policy.logprobs([policy.chat.script(thread) for thread in threads], 1.3)
        drawn = [logprob for attempt in attempts for turn in attempt.turns for logprob in turn.logprobs]
        assert scored.tolist() == pytest.approx(drawn, abs=1e-4)


class Short(Parrot):
    """Has room for so many earlier turns."""

    def __init__(self, says: Callable[[Conversation, int], str], turns: int) -> None:
        super().__init__(says)
        self.turns = turns

    def fits(self, conversation: Conversation, max_tokens: int) -> bool:
        return len(conversation.turns) <= self.turns


def test_who_has_no_room_left_says_nothing_more_and_the_others_go_on() -> None:
    lengths = iter(["6", "3", "1"])
    parrot = Short(lambda conversation, seed: next(lengths, "on"), turns=2)
    (group,) = play(GroupEnv(Stairs, num_envs=3, group_size=3), parrot, history="conversation")
    assert [len(asked) for asked in parrot.asked] == [3, 2, 2, 0, 0, 0]
    long, fitting, short = group.attempts
    assert [turn.action for turn in long.turns] == ["6", "on", "on"]
    assert (long.reward, long.decided, long.threads) == (1.5, True, (long.turns,)), "the environment ended it"
    assert (fitting.reward, fitting.passed, short.reward) == (0.75, True, 0.25)


def test_silence_is_no_turn_and_says_nothing_of_the_last_one() -> None:
    """An empty action has no form here; that of the last one that was written had one."""

    class Strict(Walk):
        def read(self, action: str) -> Move:
            return Move(action, () if action else (Finding("Say something."),))

    (group,) = play(GroupEnv(Strict, 1, 1), Short(lambda conversation, seed: "left", 1), history="conversation")
    (lost,) = group.attempts
    assert [(turn.action, turn.valid) for turn in lost.turns] == [("left", True)] * 2
    assert (lost.reward, lost.passed, str(lost.feedback)) == (0.0, False, "Say something.")


def test_a_conversation_that_fills_the_model_can_be_read_again(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    write = policy.write
    nine = lambda *args, **settings: [dataclasses.replace(turn, action="9") for turn in write(*args, **settings)]  # noqa: E731
    monkeypatch.setattr(policy, "write", nine)  # nine steps, whatever was sampled
    policy.max_positions = len(policy.chat.context_ids(Conversation("How many?", "Be brief."))) + 60
    (group,) = play(GroupEnv(Stairs, num_envs=4, group_size=4), policy, history="conversation")
    for attempt in group.attempts:
        assert 0 < len(attempt.turns) < 9
        assert len(policy.chat.script(attempt.turns).token_ids) <= policy.max_positions
        assert attempt.reward == 9 * 0.25


def test_every_slot_reads_its_system_prompt() -> None:
    parrot = Parrot(lambda conversation, seed: "2")
    groups = play(GroupEnv(Stairs, num_envs=2, group_size=1), parrot)
    assert {each.system for asked in parrot.asked for each in asked} == {"Be brief."}
    assert {turn.system for group in groups for attempt in group.attempts for turn in attempt.turns} == {"Be brief."}


@pytest.mark.parametrize("history", ["observation", "conversation"])
def test_what_a_slot_reads_can_be_rewritten(history: Any) -> None:
    asked: list[tuple[int, Conversation]] = []

    def ask(slot: int, conversation: Conversation) -> Conversation:
        asked.append((slot, conversation))
        return dataclasses.replace(conversation, observation=f"{slot}: {conversation.observation}")

    parrot = Parrot(lambda conversation, seed: "12"[int(conversation.observation[0])])
    groups = play(GroupEnv(Stairs, num_envs=2, group_size=1), parrot, ask=ask, history=history)
    assert [(slot, each.observation) for slot, each in asked] == [(0, "How many?"), (1, "How many?"), (1, "Step 1.")]
    assert [each.observation for each in parrot.asked[0]] == ["0: How many?", "1: How many?"]
    assert [each.observation for each in parrot.asked[1]] == ["1: Step 1."]
    assert parrot.asked[1][0].turns == (groups[1].attempts[0].turns[:1] if history == "conversation" else ())
    assert [turn.observation for turn in groups[1].attempts[0].turns] == ["1: How many?", "1: Step 1."]


def test_another_history_is_not_offered(policy: Policy, envs: GroupEnv) -> None:
    with pytest.raises(SettingError, match="history"):
        play(envs, policy, history="all")  # type: ignore[arg-type]


def test_the_sampler_s_trouble_is_not_hidden(policy: Policy, envs: GroupEnv) -> None:
    with pytest.raises(ValueError, match="positions"):
        play(envs, policy, max_tokens=100_000)


# --- seeds


def outcome(group: Group) -> list[tuple[Any, ...]]:
    """All that an episode is but the last digits of its log-probabilities."""
    return [
        (
            attempt.task_id,
            [(turn.observation, turn.action, turn.token_ids) for turn in attempt.turns],
            attempt.reward,
            attempt.verdict,
            attempt.feedback,
        )
        for attempt in group.attempts
    ]


def test_equal_seeds_play_equal_episodes(policy: Policy, envs: GroupEnv) -> None:
    def once(seeds: Sequence[int]) -> list[object]:
        return [outcome(group) for group in play(envs, policy, seeds=seeds)]

    first = once(range(6))
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    assert once(range(6)) == first
    assert once(range(6, 12)) != first


def test_playing_leaves_global_generators_alone(policy: Policy, envs: GroupEnv) -> None:
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    play(envs, policy, seeds=range(6))
    play(envs, policy)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


@pytest.mark.parametrize("history", ["observation", "conversation"])
def test_a_group_plays_the_same_whatever_is_played_beside_it(policy: Policy, history: Any) -> None:
    def together(seeds: Sequence[int]) -> list[Any]:
        envs = GroupEnv(SayTwice, num_envs=4 * len(seeds), group_size=4)
        groups = play(envs, policy, seeds=seeds, temperature=2.0, max_tokens=6, history=history)
        return [outcome(group) for group in groups]

    seeds = [11, 5, 3, 77, 2**31, 0]
    whole = together(seeds)
    assert together(seeds[:3]) + together(seeds[3:]) == whole
    assert together(seeds[::-1]) == whole[::-1]


def test_a_group_hands_over_the_same_peers_whatever_is_played_beside_it() -> None:
    def together(seeds: Sequence[int]) -> list[Any]:
        envs = GroupEnv(Number, num_envs=8 * len(seeds), group_size=8)
        return [outcome(group) for group in play(envs, Parrot(says_number), seeds=seeds)]

    seeds = [11, 5, 3, 77, 2**31, 0]
    whole = together(seeds)
    peers = {attempt[-1].peer for group in whole for attempt in group}
    assert len(peers) > 4
    assert together(seeds[:3]) + together(seeds[3:]) == whole
    assert together(seeds[::-1]) == whole[::-1]
    assert [group for seed in seeds for group in together([seed])] == whole


def test_played_again_in_the_same_environments_peers_are_the_same() -> None:
    envs = GroupEnv(Number, num_envs=48, group_size=8)
    once, again = ([outcome(group) for group in play(envs, Parrot(says_number), seeds=range(6))] for _ in range(2))
    assert once == again


def test_a_peer_is_a_success_of_the_group_other_than_one_s_own_text() -> None:
    envs = GroupEnv(Number, num_envs=80, group_size=8)
    for group in play(envs, Parrot(says_number), seeds=range(10)):
        successes = {attempt.text for attempt in group.attempts if attempt.passed}
        for attempt, peer in zip(group.attempts, peers_of(group), strict=True):
            assert peer in (successes - {attempt.text} or {None})


def test_every_draw_has_a_seed_of_its_own_that_follows_from_its_group_s() -> None:
    def drawn(seeds: Sequence[int]) -> list[list[int]]:
        parrot = Parrot(lambda conversation, seed: "2")
        play(GroupEnv(Stairs, num_envs=3 * len(seeds), group_size=3), parrot, seeds=seeds)
        return parrot.seeds

    first, second = drawn([5, 6])
    assert len({*first, *second}) == 12
    assert all(type(seed) is int and 0 <= seed < 2**63 for seed in (*first, *second))
    assert drawn([6]) == [first[3:], second[3:]]
    assert not {*drawn([7])[0]} & {*first, *second}


def test_without_task_ids_the_environments_choose_by_seed(policy: Policy, envs: GroupEnv) -> None:
    groups = play(envs, policy, seeds=[5] * 6)
    assert len({group.task_id for group in groups}) == 1
    assert len({str(outcome(group)) for group in groups}) == 1
    chosen = scripted(["a"] * 24 * 20)
    everything = {group.task_id for seed in range(20) for group in play(envs, chosen, seeds=[seed] * 6)}
    assert everything == {f"say/{letter}" for letter in LETTERS}


def test_without_seeds_no_two_plays_are_alike() -> None:
    envs = GroupEnv(Number, num_envs=48, group_size=8)
    once, again = ([outcome(group) for group in play(envs, Parrot(says_number))] for _ in range(2))
    assert once != again


@pytest.mark.parametrize("seeds", [np.arange(6), np.arange(6, dtype=np.uint32), tuple(range(6)), range(6)])
def test_any_whole_numbers_are_seeds(envs: GroupEnv, seeds: Any) -> None:
    parrot, other = (Parrot(lambda conversation, seed: LETTERS[seed % 6]) for _ in range(2))
    assert play(envs, parrot, seeds=seeds) == play(envs, other, seeds=list(range(6)))
    assert parrot.seeds == other.seeds


def test_one_seed_too_few_is_an_error(envs: GroupEnv) -> None:
    with pytest.raises(SettingError, match="6 values"):
        play(envs, scripted(["a"] * 24), seeds=range(5))


# --- recorded


def written(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "attempts.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("history", ["observation", "conversation"])
def test_recorded_groups_are_played_as_others_and_told_of_tokens(policy: Policy, tmp_path: Path, history: Any) -> None:
    plain, recorded = (GroupEnv(SayTwice, num_envs=8, group_size=4) for _ in range(2))
    groups = play(plain, policy, seeds=[3, 4], history=history)
    assert play(record(recorded, tmp_path), policy, seeds=[3, 4], history=history) == groups
    attempts = [attempt for group in groups for attempt in group.attempts]
    for row, attempt in zip(written(tmp_path), attempts, strict=True):
        assert row["tokens"] == sum(len(turn.token_ids) for turn in attempt.turns)
        assert row["actions"] == [turn.action for turn in attempt.turns]
        assert row["passed"] == attempt.passed


def test_tokens_are_those_of_one_s_own_turns_where_others_play_on(tmp_path: Path) -> None:
    class Counted(Parrot):
        """Its actions have as many tokens as its number of writing, and more in later slots."""

        def write(self, conversations: Sequence[Conversation], **settings: Any) -> list[Turn]:
            turns = super().write(conversations, **settings)
            sizes = range(len(self.asked), len(self.asked) + len(turns))
            return [
                dataclasses.replace(turn, token_ids=(1,) * size, logprobs=(0.0,) * size)
                for turn, size in zip(turns, sizes, strict=True)
            ]

    lengths = iter(["3", "1", "2", "3"])
    parrot = Counted(lambda conversation, seed: next(lengths, "on"))
    play(record(GroupEnv(Stairs, num_envs=4, group_size=2), tmp_path), parrot)
    # First all write 1, 2, 3 and 4 tokens; then the slots 0, 2 and 3 write 2, 3 and 4; then 0 and 3 write 3 and 4.
    assert [row["tokens"] for row in written(tmp_path)] == [1 + 2 + 3, 2, 3 + 3, 4 + 4 + 4]
    assert [len(row["actions"]) for row in written(tmp_path)] == [3, 1, 2, 3]


def test_a_sampler_that_knows_no_tokens_tells_of_none(tmp_path: Path) -> None:
    play(record(GroupEnv(Say, num_envs=2, group_size=2), tmp_path), scripted(["a", "b"]), task_ids=["say/a"])
    assert [(row["passed"], row["tokens"]) for row in written(tmp_path)] == [(True, None), (False, None)]


def test_recorded_groups_are_played_again_and_again(policy: Policy, tmp_path: Path) -> None:
    envs = record(GroupEnv(Say, num_envs=4, group_size=2), tmp_path)
    assert (envs.num_envs, envs.num_groups, envs.group_size) == (4, 2, 2)
    play(envs, policy)
    play(envs, policy)
    assert [row["group"] for row in written(tmp_path)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert all(row["tokens"] > 0 for row in written(tmp_path))


# --- turns


class Walk(TurnsEnv):
    """Walk right to door 2; a step to the left leads nowhere, and shouting has no form."""

    def __init__(self, **settings: Any) -> None:
        tasks = [Task("walk/1", "Get to door 2.", 2, meta={"skill": "Doors are numbered."})]
        super().__init__(tasks, turns=4, **settings)
        self.place = 0

    def open(self, task: Task) -> Seen:
        self.place = 0
        return Seen("Door 0.")

    def read(self, action: str) -> Move:
        return Move(action.lower(), (Finding("Do not shout."),) if action.isupper() else ())

    def act(self, command: str) -> Seen | Verdict:
        self.place += command == "right"
        return Verdict(Outcome.PASSED, 1.0) if self.place == 2 else Seen(f"Door {self.place}.")

    def run_out(self) -> Verdict:
        return Verdict(Outcome.WRONG, 0.0)

    def written(self) -> str:
        return f"{self.task.prompt} {len(self.past)} steps so far. {self.seen.text}"


def test_turns_know_their_state_and_their_form_and_the_attempt_its_skill() -> None:
    says = {0: ["right", "LEFT", "right"], 1: ["left"] * 4}
    parrot = scripted(["right", "left"], ["LEFT", "left"], ["right", "left"], ["left"])
    (group,) = play(GroupEnv(Walk, 2, 2), parrot, seeds=[0])
    won, lost = group.attempts
    assert [turn.action for turn in won.turns] == says[0]
    assert [turn.action for turn in lost.turns] == says[1]
    assert [turn.state for turn in won.turns] == ["Door 0.", "Door 1.", "Door 1."]
    assert [turn.valid for turn in won.turns] == [True, False, True]
    assert [turn.valid for turn in lost.turns] == [True] * 4
    assert {turn.state for turn in lost.turns} == {"Door 0."}
    assert won.skill == lost.skill == "Doors are numbered."
    assert won.turns[1].observation.endswith("Get to door 2. 1 steps so far. Door 1.")
    assert won.transcript == "Door 0.\n> right\nDoor 1.\n> LEFT\nDoor 1.\n> right"
    assert str(lost.feedback) == "Wrong answer."
    assert lost.feedback is not None
    assert lost.feedback.peer == won.text


def test_an_environment_of_one_turn_says_nothing_of_states_and_forms() -> None:
    (group,) = play(GroupEnv(Say, 2, 2), scripted(["a", "b"]), seeds=[0])
    assert {(turn.valid, turn.state == turn.observation) for each in group.attempts for turn in each.turns} == {
        (True, True)
    }
    assert {each.skill for each in group.attempts} == {""}
