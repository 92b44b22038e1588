"""One task, attempt after attempt: what is recorded, and what each strategy reads. How runs go on is tested apart."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from byhand import weights_of
from riddles import HARD, RIDDLES, Hard, Riddle, Scripted, chance, length, script

from sdpo_agent import PRESETS, SDPO, Conversation, Group, Policy, Reprompt, SDPOSettings
from sdpo_agent.chat import Script
from sdpo_agent.discover import BestOfK, DiscoverSettings, MultiTurn, Row, Strategy, TestTime, discover, first_success
from sdpo_agent.reprompt import FEEDBACK, INSTRUCTION
from sdpo_envs import GroupEnv, InfrastructureError, MultiAttempt, SettingError, TaskNotFound

TASK = RIDDLES[0]
EARLIER = "The following is feedback from your unsuccessful earlier attempt:\n\n"
AGAIN = "\n\nCorrectly solve the original question."


def settings(**changes: Any) -> DiscoverSettings:
    return DiscoverSettings(**{"attempts": 12, "max_tokens": 4, "learning_rate": 1e-3, "weight_decay": 0.0} | changes)


def groups(slots: int = 4, **keywords: Any) -> GroupEnv:
    return GroupEnv(Riddle, num_envs=slots, group_size=slots, **keywords)


def play(
    strategy: Strategy, folder: Path, slots: int = 4, *, told: dict[str, Any] | None = None, **changes: Any
) -> list[Row]:
    return discover(strategy, groups(slots), TASK.id, settings(**changes), folder / "run", told=told)


def recorded(folder: Path) -> list[Row]:
    return [json.loads(line) for line in (folder / "run" / "attempts.jsonl").read_text().splitlines()]


class Listening(BestOfK):
    """Remembers what it heard."""

    def __init__(self, sampler: Scripted) -> None:
        super().__init__(sampler)
        self.heard: list[tuple[int, Group]] = []

    def hear(self, group: Group, round: int) -> None:
        self.heard.append((round, group))


# --- what is played, and what is recorded of it


def test_it_stops_at_the_first_success_and_records_what_was_played_beside_it(tmp_path: Path) -> None:
    strategy = Listening(script("bcde", "faga"))
    rows = play(strategy, tmp_path)
    assert [row["turns"][0]["action"] for row in rows] == list("bcdefaga")
    assert [row["passed"] for row in rows] == [letter == "a" for letter in "bcdefaga"]
    assert [row["attempt"] for row in rows] == list(range(1, 9))
    assert [row["round"] for row in rows] == [0] * 4 + [1] * 4
    assert first_success(rows) == 6
    assert recorded(tmp_path) == rows
    assert [number for number, _ in strategy.heard] == [0]  # nothing is to be done after a success


def test_it_gives_up_when_the_attempts_are_used_up(tmp_path: Path) -> None:
    strategy = Listening(script())
    rows = play(strategy, tmp_path, attempts=12)
    assert len(rows) == 12
    assert first_success(rows) == math.inf
    assert [number for number, _ in strategy.heard] == [0, 1]


@pytest.mark.parametrize(("attempts", "played"), [(1, 4), (4, 4), (5, 8), (8, 8)])
def test_the_round_that_reaches_the_last_attempt_is_played_to_its_end(
    tmp_path: Path, attempts: int, played: int
) -> None:
    assert len(play(BestOfK(script()), tmp_path, attempts=attempts)) == played


def test_play_on_uses_up_all_attempts(tmp_path: Path) -> None:
    rows = play(BestOfK(script("baca", "aaaa")), tmp_path, play_on=True)
    assert [row["passed"] for row in rows] == [False, True, False, True, *[True] * 4, *[False] * 4]
    assert first_success(rows) == 2


def test_broken_attempts_are_recorded_and_do_not_count(tmp_path: Path) -> None:
    rows = play(BestOfK(script("b!c!", "de!a")), tmp_path, attempts=5)
    assert [row["attempt"] for row in rows] == [1, None, 2, None, 3, 4, None, 5]
    broken = [row for row in rows if row["attempt"] is None]
    assert all(row["error"] == "JudgeError: the judge is out" for row in broken)
    assert all(row["reward"] is None and row["outcome"] is None and not row["passed"] for row in broken)
    assert all(row["error"] == "" for row in rows if row not in broken)
    assert first_success(rows) == 5
    assert "NaN" not in (tmp_path / "run" / "attempts.jsonl").read_text()


def test_a_round_in_which_everything_broke_is_played_again(tmp_path: Path) -> None:
    sampler = script("bcde", "!!!!", "!!!!", "fgha")
    strategy = Listening(sampler)
    rows = play(strategy, tmp_path, retries=2)
    assert [row["turns"][0]["action"] for row in rows] == list("bcdefgha")
    assert [row["round"] for row in rows] == [0] * 4 + [1] * 4
    assert len(sampler.asked) == 4
    assert sampler.seeds[1] == sampler.seeds[2] == sampler.seeds[3] != sampler.seeds[0]


@pytest.mark.parametrize("retries", [0, 2])
def test_a_round_that_breaks_every_time_ends_the_run(tmp_path: Path, retries: int) -> None:
    sampler = script("bcde", *["!!!!"] * 9)
    with pytest.raises(InfrastructureError, match=rf"In round 1 .*{TASK.id}.* {retries + 1} times.*the judge is out"):
        play(BestOfK(sampler), tmp_path, retries=retries)
    assert len(sampler.asked) == 2 + retries
    assert len(recorded(tmp_path)) == 4


def test_a_row_tells_everything(tmp_path: Path) -> None:
    sampler = script("ab")
    envs = groups(2, reveal=True)
    rows = discover(BestOfK(sampler), envs, TASK.id, settings(), tmp_path / "run", told={"seed": 7, "way": "x"})
    told = {"task_id": TASK.id, "strategy": "BestOfK", "seed": 7, "way": "x", "round": 0, "tokens": 0, "error": ""}
    told["prompt_tokens"] = 0
    turn = {"observation": TASK.prompt, "token_ids": [], "logprobs": [], "cut_short": False, "system": "Be brief."}
    turn |= {"valid": True, "state": TASK.prompt, "prompt_tokens": 0, "action_tokens": 0}
    feedback = "'b' is wrong.\nRight: a"
    assert rows == [
        {
            **told,
            "attempt": 1,
            "passed": True,
            "reward": 1.0,
            "outcome": "passed",
            "feedback": "",
            "peer": None,
            "reveals_answer": False,
            "turns": [{**turn, "action": "a"}],
        },
        {
            **told,
            "attempt": 2,
            "passed": False,
            "reward": 0.0,
            "outcome": "wrong",
            "feedback": feedback,
            "peer": "a",
            "reveals_answer": True,
            "turns": [{**turn, "action": "b"}],
        },
    ]


def test_equal_seeds_give_equal_records_and_others_another(tmp_path: Path) -> None:
    def run(name: str, seed: int) -> list[Row]:
        sampler = Scripted(lambda number, conversation, seed: chance(conversation, seed))
        return play(BestOfK(sampler), tmp_path / name, seed=seed, play_on=True, attempts=24)

    rows = run("one", 1)
    assert rows == run("again", 1)
    actions = [[row["turns"][0]["action"] for row in each] for each in (rows, run("other", 2))]
    assert actions[0] != actions[1]
    assert len(set(actions[0])) > 5  # neither rounds nor slots repeat one another


def test_a_run_is_never_overwritten_and_nothing_is_resumed_from_nothing(tmp_path: Path) -> None:
    play(BestOfK(script("a")), tmp_path, 1)
    with pytest.raises(FileExistsError, match="already holds a run"):
        play(BestOfK(script("a")), tmp_path, 1)
    with pytest.raises(FileNotFoundError, match="holds no run"):
        discover(BestOfK(script()), groups(), TASK.id, settings(), tmp_path / "none", resume=True)


def test_a_task_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskNotFound, match="did you mean 'riddle/0'"):
        discover(BestOfK(script()), groups(), "riddel/0", settings(), tmp_path / "run")


def test_several_groups_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="one per group"):
        discover(BestOfK(script()), GroupEnv(Riddle, 4, 2), TASK.id, settings(), tmp_path / "run")


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"checkpoint_every": 0}, {"retries": -1}, {"temperature": 0}, {"max_tokens": 0}]
)
def test_a_setting_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        settings(**wrong)


# --- what each strategy reads


def read(sampler: Scripted, round: int, slot: int = 0) -> Conversation:
    return sampler.asked[round][slot]


def text(conversation: Conversation) -> str:
    return "\n".join(message["content"] for message in conversation.messages())


def test_best_of_k_reads_the_bare_question(tmp_path: Path) -> None:
    sampler = script()
    play(BestOfK(sampler), tmp_path)
    assert len(sampler.asked) == 3
    assert all(each == Conversation(TASK.prompt, "Be brief.") for asked in sampler.asked for each in asked)


def test_feedback_is_joined_in_one_turn(tmp_path: Path) -> None:
    sampler = script("b", "c")
    play(MultiTurn(sampler, settings()), tmp_path, 1, attempts=3)
    assert read(sampler, 0) == Conversation("Riddle 0?", "Be brief.")
    assert read(sampler, 1).observation == f"Riddle 0?\n\n{EARLIER}'b' is wrong.{AGAIN}"
    assert read(sampler, 2) == Conversation(f"Riddle 0?\n\n{EARLIER}'b' is wrong.\n\n'c' is wrong.{AGAIN}", "Be brief.")


def test_a_conversation_shows_the_attempts_too(tmp_path: Path) -> None:
    sampler = script("b", "c")
    play(MultiTurn(sampler, settings(), conversation=True), tmp_path, 1, attempts=3)
    assert read(sampler, 2).messages() == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Riddle 0?"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": f"{EARLIER}'b' is wrong.{AGAIN}"},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": f"{EARLIER}'c' is wrong.{AGAIN}"},
    ]


@pytest.mark.parametrize("history", ["feedback", "conversation"])
def test_it_reads_what_the_wrapper_of_the_environments_shows(tmp_path: Path, history: str) -> None:
    said = ["b", "c\nd", "", "<|end|>", "é" * 300]
    sampler = script(said)
    play(MultiTurn(sampler, settings(), conversation=history == "conversation"), tmp_path, 1, attempts=6)
    wrapped = MultiAttempt(Riddle(), 6, history)
    observation, info = wrapped.reset(options={"task_id": TASK.id})
    for (asked,), action in itertools.zip_longest(sampler.asked, said):
        if history == "feedback":
            assert (asked.observation, asked.turns) == (observation, ())
        else:
            assert asked.messages()[1:] == list(info["messages"])
        if action is not None:
            observation, _, _, _, info = wrapped.step(action)


@pytest.mark.parametrize("conversation", [False, True])
def test_slots_are_chains_of_their_own(tmp_path: Path, conversation: bool) -> None:
    sampler = script("bc", "de")
    play(MultiTurn(sampler, settings(), conversation=conversation), tmp_path, 2, attempts=6)
    told = [[letter for letter in "bcde" if f"'{letter}' is wrong." in text(read(sampler, 2, slot))] for slot in (0, 1)]
    assert told == [["b", "d"], ["c", "e"]]


@pytest.mark.parametrize("conversation", [False, True])
def test_what_broke_and_what_succeeded_is_no_earlier_failure(tmp_path: Path, conversation: bool) -> None:
    sampler = script("bb", "!a", "cc")
    play(MultiTurn(sampler, settings(), conversation=conversation), tmp_path, 2, attempts=8, play_on=True)
    assert [read(sampler, 2, slot) == read(sampler, 1, slot) for slot in (0, 1)] == [True, True]
    for slot in (0, 1):
        assert length(read(sampler, 3, slot)) > length(read(sampler, 2, slot))
        assert "'a'" not in text(read(sampler, 3, slot))
        assert "!" not in text(read(sampler, 3, slot))


@pytest.mark.parametrize("conversation", [False, True])
def test_the_oldest_is_forgotten_first_and_the_question_never(tmp_path: Path, conversation: bool) -> None:
    letters = "bcdefghijk"
    whole = script(*letters)
    play(MultiTurn(whole, settings(), conversation=conversation), tmp_path / "whole", 1, attempts=11)
    room = length(read(whole, 3)) + settings().max_tokens  # for three earlier attempts
    tight = script(*letters, room=room)
    play(MultiTurn(tight, settings(), conversation=conversation), tmp_path / "tight", 1, attempts=11)
    for round in range(11):
        asked = read(tight, round)
        assert tight.fits(asked, settings().max_tokens)
        assert text(asked).startswith("Be brief.\nRiddle 0?")
        kept = letters[max(0, round - 3) : round]
        assert [letter for letter in letters if f"'{letter}' is wrong." in text(asked)] == list(kept)
        if round <= 3:
            assert asked == read(whole, round)


@pytest.mark.parametrize("conversation", [False, True])
def test_no_more_is_remembered_than_was_asked_for(tmp_path: Path, conversation: bool) -> None:
    letters = "bcdef"
    sampler = script(*letters)
    play(MultiTurn(sampler, settings(), conversation=conversation, memory=2), tmp_path, 1, attempts=6)
    for round in range(6):
        asked = text(read(sampler, round))
        kept = letters[max(0, round - 2) : round]
        assert [letter for letter in letters if f"'{letter}' is wrong." in asked] == list(kept)


def test_with_no_room_for_any_history_the_bare_question_is_read(tmp_path: Path) -> None:
    sampler = script(room=30)
    play(MultiTurn(sampler, settings()), tmp_path, 1, attempts=3)
    assert [each for (each,) in sampler.asked] == [Conversation(TASK.prompt, "Be brief.")] * 3


@pytest.mark.parametrize("conversation", [False, True])
def test_a_policy_never_meets_more_than_it_reads(tmp_path: Path, conversation: bool) -> None:
    policy = Policy.small(hidden=16, layers=1, heads=2, max_positions=300)
    lengths: list[int] = []

    class Counting(MultiTurn):
        def ask(self, slot: int, conversation: Conversation) -> Conversation:
            asked = super().ask(slot, conversation)
            lengths.append(len(policy.chat.context_ids(asked)))
            return asked

    play(Counting(policy, settings(), conversation=conversation), tmp_path, 2, attempts=24)
    assert len(lengths) == 24
    assert lengths[0] < 60
    assert all(lengths[0] < each <= 300 - settings().max_tokens for each in lengths[2:])


def test_the_conversation_of_a_policy_holds_the_tokens_that_it_wrote(tmp_path: Path) -> None:
    policy = Policy.small(hidden=16, layers=1, heads=2)
    asked: list[Conversation] = []

    class Remembering(MultiTurn):
        def ask(self, slot: int, conversation: Conversation) -> Conversation:
            asked.append(super().ask(slot, conversation))
            return asked[-1]

    rows = play(Remembering(policy, settings(), conversation=True), tmp_path, 1, attempts=3)
    ids = policy.chat.context_ids(asked[2])
    for row in rows[:2]:
        written = row["turns"][0]["token_ids"]
        assert tuple(written) in {tuple(ids[at : at + len(written)]) for at in range(len(ids))}


# --- learning at test time


TEST_TIME = PRESETS["sdpo-test-time"].settings
assert isinstance(TEST_TIME, SDPOSettings)


def learn_hard(policy: Policy, folder: Path, algorithm: SDPOSettings = TEST_TIME, **changes: Any) -> list[Row]:
    chosen = settings(**{"attempts": 60, "learning_rate": 2e-3} | changes)
    envs = GroupEnv(Hard, 4, 4, reveal=True)
    return discover(TestTime(policy, SDPO(policy, algorithm), chosen), envs, HARD.id, chosen, folder)


def chance_of(policy: Policy, action: str) -> float:
    """The probability that the policy says `action` at the hard task."""
    prompt = policy.chat.prompt_ids(Conversation(HARD.prompt).messages())
    ids = policy.chat.answer_ids(action)
    written = range(len(prompt), len(prompt) + len(ids))
    return math.exp(float(policy.logprobs([Script((*prompt, *ids), tuple(written))]).sum().detach()))


def test_feedback_alone_teaches_before_the_first_success(policy: Policy, tmp_path: Path) -> None:
    before = weights_of(policy)
    chances = [chance_of(policy, "f")]
    rows = learn_hard(policy, tmp_path / "run", attempts=8)
    assert not any(row["passed"] or row["peer"] for row in rows)
    assert all(row["reveals_answer"] for row in rows)
    assert (weights_of(policy) != before).any()
    chances.append(chance_of(policy, "f"))
    assert chances[1] > 2 * chances[0]
    assert all(row["turns"][0]["observation"] == HARD.prompt for row in rows)  # no history is shown


def test_it_finds_sooner_what_best_of_k_does_not_find(policy: Policy, tmp_path: Path) -> None:
    found = {}
    for seed in range(3):
        student = policy.copy()
        found[seed] = first_success(learn_hard(student, tmp_path / f"sdpo-{seed}", seed=seed))
        plain = discover(
            BestOfK(policy),
            GroupEnv(Hard, 4, 4, reveal=True),
            HARD.id,
            settings(attempts=60, seed=seed),
            tmp_path / f"best-{seed}",
        )
        assert first_success(plain) > found[seed]
    assert np.mean(list(found.values())) <= 45


def test_without_feedback_there_is_nothing_to_learn(policy: Policy, tmp_path: Path) -> None:
    before = weights_of(policy)
    mute = SDPOSettings(reprompt=Reprompt(feedback="never"))
    rows = learn_hard(policy, tmp_path / "run", mute, attempts=8)
    assert not any(row["passed"] for row in rows)
    assert (weights_of(policy) == before).all()


def test_each_round_that_taught_something_has_its_metrics(policy: Policy, tmp_path: Path) -> None:
    rows = learn_hard(policy, tmp_path / "run", attempts=16)
    told = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["round"] for row in told] == list(range(rows[-1]["round"]))
    assert all(row["teacher_gap"] < 0 and row["optimizer_steps"] == 1 for row in told)
    assert (tmp_path / "run" / "checkpoint" / "policy" / "model.safetensors").exists()


def test_the_templates_are_those_of_the_paper() -> None:
    assert FEEDBACK.lstrip("\n") == EARLIER
    assert INSTRUCTION == AGAIN
