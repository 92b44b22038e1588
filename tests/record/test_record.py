import contextlib
import copy
import json
import math
import os
import pickle
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from addition import (
    ADDITION,
    BREAK_JUDGE,
    BREAK_WALL,
    BUG,
    GUESSING,
    TASKS,
    Addition,
    AdditionGroup,
    Guessing,
    GuessingGroup,
    answer,
)
from gymnasium.error import ResetNeeded
from gymnasium.wrappers import TimeLimit

from sdpo_envs import (
    ActionError,
    GroupEnv,
    JudgeError,
    MultiAttempt,
    Outcome,
    Recording,
    SandboxError,
    SettingError,
    TaskNotFound,
    check_env,
    record,
)
from sdpo_envs.record import RecordedEnv, RecordedGroups
from sdpo_envs.record.row import Row, World, clock, rows, worlds

FIRST, SECOND, THIRD = TASKS[:3]
ON_FIRST, ON_SECOND = {"task_id": FIRST.id}, {"task_id": SECOND.id}
RIGHT = str(FIRST.answer)
LARGE = "9999"


def addition(num_envs: int, group_size: int = 1, **settings: Any) -> GroupEnv:
    return AdditionGroup(num_envs=num_envs, group_size=group_size, **settings)


def guessing(num_envs: int, group_size: int = 1, **settings: Any) -> GroupEnv:
    return GuessingGroup(num_envs=num_envs, group_size=group_size, **settings)


def on(slots: Sequence[int], num_envs: int, *task_ids: str) -> dict[str, Any]:
    """Options that reset some slots to tasks, one per group."""
    return {"reset_mask": np.isin(np.arange(num_envs), slots), "task_id": list(task_ids)}


def shown(found: list[Row], *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(row, column) for column in columns) for row in found]


def same(one: Any, other: Any) -> bool:
    """Whether two steps or resets are the same, arrays and NaN included."""
    return pickle.dumps(one) == pickle.dumps(other)


# Groups


def test_a_group_is_written_when_it_has_ended(tmp_path: Path) -> None:
    envs = record(addition(4, 2), tmp_path)
    envs.reset(seed=0, options={"task_id": [FIRST.id, SECOND.id]})
    assert rows(tmp_path) == []
    envs.step([RIGHT, LARGE, "what?", LARGE])
    told = "You wrote: "
    too_large = f"This is too large.\n{told}{LARGE}"
    assert rows(tmp_path) == [
        Row(task=FIRST.id, actions=(RIGHT,), reward=1.0, outcome=Outcome.PASSED, passed=True),
        Row(
            task=FIRST.id,
            actions=(LARGE,),
            reward=0.0,
            outcome=Outcome.WRONG,
            passed=False,
            feedback=too_large,
            peer=True,
        ),
        Row(
            group=1,
            task=SECOND.id,
            actions=("what?",),
            reward=0.0,
            outcome=Outcome.MALFORMED,
            passed=False,
            feedback=f"This is not a number.\n{told}what?",
        ),
        Row(
            group=1,
            task=SECOND.id,
            actions=(LARGE,),
            reward=0.0,
            outcome=Outcome.WRONG,
            passed=False,
            feedback=too_large,
        ),
    ]


def test_generations_are_the_attempts_of_training_before(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    train, test = record(addition(4, 2), recording), record(addition(3), recording, phase="test")
    for envs in (test, train, train, test, train):
        envs.reset(seed=0)
        envs.step([LARGE] * envs.num_envs)
    assert [(tick.phase, tick.generations) for tick in clock(tmp_path)] == [
        ("test", 0),
        ("train", 0),
        ("train", 4),
        ("test", 8),
        ("train", 8),
    ]
    assert [row.group for row in rows(tmp_path) if row.phase == "test"] == list(range(6))
    assert recording.generations == 12


def test_what_gives_the_answer_away_is_marked(tmp_path: Path) -> None:
    envs = record(addition(1, reveal=True), tmp_path)
    envs.reset(seed=0, options=ON_FIRST)
    envs.step([LARGE])
    (row,) = rows(tmp_path)
    assert row.reveals_answer
    assert RIGHT in row.feedback


def test_a_slot_that_broke_says_so(tmp_path: Path) -> None:
    envs = record(addition(3, 3), tmp_path)
    envs.reset(seed=0, options=ON_FIRST)
    envs.step([BREAK_JUDGE, RIGHT, BREAK_WALL])
    judge, right, wall = rows(tmp_path)
    assert (judge.broken, judge.outcome, judge.passed, judge.feedback, judge.peer) == (True, None, False, "", False)
    assert judge.error == "JudgeError: the judge lost its glasses"
    assert wall.error == "SandboxError: the wall has a hole"
    assert (right.broken, right.error, right.reward) == (False, "", 1.0)
    assert [json.loads(line)["reward"] for line in (tmp_path / "attempts.jsonl").read_text().splitlines()] == [
        None,
        1.0,
        None,
    ]


def test_several_turns_are_one_row_written_when_the_slowest_has_ended(tmp_path: Path) -> None:
    envs = record(guessing(4, 2), tmp_path)
    envs.reset(seed=0, options={"task_id": [FIRST.id, SECOND.id]})
    envs.step([RIGHT, "1", "1", "2"])
    envs.step(["idle", "2", str(SECOND.answer), str(SECOND.answer)])
    assert shown(rows(tmp_path), "task", "actions", "group") == [
        (SECOND.id, ("1", str(SECOND.answer)), 0),
        (SECOND.id, ("2", str(SECOND.answer)), 0),
    ]
    envs.step(["idle", "3", "idle", "idle"])
    first, second = rows(tmp_path)[2:]
    assert (first.actions, first.group, first.generations, first.peer) == ((RIGHT,), 1, 2, False)
    assert (second.actions, second.outcome, second.peer) == (("1", "2", "3"), Outcome.WRONG, True)
    assert [tick.rows for tick in clock(tmp_path)] == [2, 2]


def test_a_slot_that_breaks_in_its_second_turn_keeps_its_actions(tmp_path: Path) -> None:
    envs = record(guessing(2, 2), tmp_path)
    envs.reset(seed=0, options=ON_FIRST)
    for actions in (["1", "2"], [BREAK_WALL, "3"], ["idle", RIGHT]):
        envs.step(actions)
    assert shown(rows(tmp_path), "actions", "broken") == [(("1", BREAK_WALL), True), (("2", "3", RIGHT), False)]


def test_groups_that_are_reset_apart_are_written_apart(tmp_path: Path) -> None:
    envs = record(guessing(4, 2), tmp_path)
    envs.reset(seed=0, options={"task_id": [FIRST.id, SECOND.id]})
    envs.step([RIGHT, RIGHT, "1", "2"])
    envs.reset(options=on([0, 1], 4, THIRD.id, THIRD.id))
    envs.step(["1", "2", str(SECOND.answer), str(SECOND.answer)])
    envs.step([answer(THIRD.id)] * 4)
    assert shown(rows(tmp_path), "task", "actions") == [
        (FIRST.id, (RIGHT,)),
        (FIRST.id, (RIGHT,)),
        (SECOND.id, ("1", str(SECOND.answer))),
        (SECOND.id, ("2", str(SECOND.answer))),
        (THIRD.id, ("1", answer(THIRD.id))),
        (THIRD.id, ("2", answer(THIRD.id))),
    ]
    assert [row.group for row in rows(tmp_path)] == [0, 0, 1, 1, 2, 2]


def test_what_is_reset_before_its_group_has_ended_leaves_no_row(tmp_path: Path) -> None:
    envs = record(guessing(2, 2), tmp_path)
    envs.reset(seed=0, options=ON_FIRST)
    envs.step([RIGHT, "1"])
    envs.reset(seed=0, options=ON_SECOND)
    envs.step([str(SECOND.answer)] * 2)
    assert shown(rows(tmp_path), "task", "actions") == [(SECOND.id, (str(SECOND.answer),))] * 2


def test_a_reset_that_fails_leaves_no_row_of_another_task(tmp_path: Path) -> None:
    envs = record(guessing(2), tmp_path)
    envs.reset(seed=0, options={"task_id": [FIRST.id, SECOND.id]})
    with pytest.raises(TaskNotFound):
        envs.reset(options={"task_id": [THIRD.id, "nothing"]})
    envs.step([answer(THIRD.id), "1"])
    assert rows(tmp_path) == []
    envs.reset(seed=0, options=ON_FIRST)
    envs.step([RIGHT, RIGHT])
    assert len(rows(tmp_path)) == 2


def test_what_was_begun_unrecorded_stays_so(tmp_path: Path) -> None:
    bare = addition(2, 2)
    bare.reset(seed=0)
    record(bare, tmp_path).step([LARGE] * 2)
    assert rows(tmp_path) == []


def test_a_step_that_raises_leaves_no_trace(tmp_path: Path) -> None:
    envs = record(addition(1), tmp_path)
    envs.reset(seed=0, options=ON_FIRST)
    bad: Any = [None]
    with pytest.raises(ActionError):
        envs.step(bad)
    with pytest.raises(ZeroDivisionError):
        envs.step([BUG])
    envs.step([LARGE])
    with pytest.raises(ResetNeeded):
        envs.step([LARGE])
    assert shown(rows(tmp_path), "actions") == [((LARGE,),)]


def test_an_episode_cut_short_has_no_outcome(tmp_path: Path) -> None:
    envs = record(guessing(1, max_episode_steps=2), tmp_path)
    envs.reset(seed=0, options=ON_FIRST)
    envs.step(["1"])
    envs.step(["2"])
    assert shown(rows(tmp_path), "actions", "reward", "outcome", "passed", "error") == [
        (("1", "2"), 0, None, False, "")
    ]


@pytest.mark.parametrize("make", [addition, guessing])
def test_what_steps_and_resets_return_is_unchanged(tmp_path: Path, make: Callable[..., GroupEnv]) -> None:
    plain, recorded = make(4, 2), record(make(4, 2), tmp_path)
    assert same(plain.reset(seed=3), recorded.reset(seed=3))
    assert same(plain.step([LARGE, BREAK_WALL, RIGHT, "1"]), recorded.step([LARGE, BREAK_WALL, RIGHT, "1"]))
    everything = {"reset_mask": np.ones(4, dtype=np.bool_)}
    assert same(plain.reset(seed=[1, 2], options=everything), recorded.reset(seed=[1, 2], options=everything))


def test_it_looks_like_the_groups_that_it_wraps(tmp_path: Path) -> None:
    plain = addition(6, 3)
    envs = record(plain, tmp_path)
    names = ("group_size", "num_groups", "num_envs", "task_ids", "envs", "metadata", "single_action_space")
    assert all(getattr(envs, name) == getattr(plain, name) for name in names)
    envs.close()
    assert plain.closed


def test_equal_runs_are_equal_to_the_byte(tmp_path: Path) -> None:
    for name in ("one", "two"):
        envs = record(guessing(6, 3), tmp_path / name)
        for seed in range(5):
            envs.reset(seed=seed)
            for action in ("1", "9999", BREAK_WALL):
                envs.step([action, RIGHT, "é\n\ud800"] * 2)
    one, two = ((tmp_path / name / "attempts.jsonl").read_bytes() for name in ("one", "two"))
    assert one == two
    assert len(one.splitlines()) == 30


# One environment


def test_an_episode_is_a_group_of_one(tmp_path: Path) -> None:
    env = record(gymnasium.make(GUESSING), tmp_path)
    env.reset(options=ON_FIRST)
    for action in ("1", "2", RIGHT):
        env.step(action)
    env.reset(options=ON_SECOND)
    env.step(str(SECOND.answer))
    assert shown(rows(tmp_path), "group", "generations", "task", "actions", "passed") == [
        (0, 0, FIRST.id, ("1", "2", RIGHT), True),
        (1, 1, SECOND.id, (str(SECOND.answer),), True),
    ]


@pytest.mark.parametrize("name", [ADDITION, GUESSING])
def test_alone_and_in_groups_of_one_the_rows_are_equal(tmp_path: Path, name: str) -> None:
    actions = [RIGHT, LARGE, "what?", "", "\u2028 \ud800", BREAK_WALL]
    envs: Any = gymnasium.make_vec(name, num_envs=1, group_size=1)
    envs = record(envs, tmp_path / "groups")
    env = record(gymnasium.make(name), tmp_path / "alone")
    for action in actions:
        envs.reset(seed=0, options=ON_FIRST)
        env.reset(seed=0, options=ON_FIRST)
        for _ in range(3):
            with contextlib.suppress(SandboxError, ResetNeeded):
                env.step(action)
            with contextlib.suppress(ResetNeeded):
                envs.step([action])
    env.close()
    alone, groups = ((tmp_path / each / "attempts.jsonl").read_bytes() for each in ("alone", "groups"))
    assert alone == groups
    assert len(alone.splitlines()) == len(actions)
    assert worlds(tmp_path / "alone") == worlds(tmp_path / "groups") == {"train": World(name)}


def test_several_attempts_are_one_row(tmp_path: Path) -> None:
    env = record(MultiAttempt(gymnasium.make(ADDITION), attempts=3), tmp_path)
    env.reset(options=ON_FIRST)
    for action in ("1", LARGE, RIGHT):
        env.step(action)
    (row,) = rows(tmp_path)
    assert (row.actions, row.reward, row.outcome, row.feedback) == (("1", LARGE, RIGHT), 1.0, Outcome.PASSED, "")


def test_what_one_environment_returns_is_unchanged(tmp_path: Path) -> None:
    plain, recorded = Guessing(), record(Guessing(), tmp_path)
    assert same(plain.reset(seed=3), recorded.reset(seed=3))
    for action in ("1", LARGE, RIGHT):
        assert same(plain.step(action), recorded.step(action))


def test_what_broke_may_be_tried_again(tmp_path: Path) -> None:
    env = record(Addition(), tmp_path)
    env.reset(options=ON_FIRST)
    with pytest.raises(JudgeError):
        env.step(BREAK_JUDGE)
    env.step(RIGHT)
    env.reset(options=ON_FIRST)
    env.close()
    assert shown(rows(tmp_path), "actions", "passed", "error") == [((RIGHT,), True, "")]


def test_what_broke_was_tried_again_and_is_left_leaves_no_row(tmp_path: Path) -> None:
    env = record(Guessing(), tmp_path)
    env.reset(options=ON_FIRST)
    with pytest.raises(JudgeError):
        env.step(BREAK_JUDGE)
    env.step("1")
    env.close()
    assert rows(tmp_path) == []


@pytest.mark.parametrize("leave", [lambda env: env.reset(options=ON_SECOND), lambda env: env.close()])
def test_what_broke_and_is_given_up_says_so(tmp_path: Path, leave: Callable[[RecordedEnv], Any]) -> None:
    env = record(Guessing(), tmp_path)
    env.reset(options=ON_FIRST)
    env.step("1")
    for _ in range(2):
        with pytest.raises(SandboxError):
            env.step(BREAK_WALL)
    leave(env)
    env.close()
    (row,) = rows(tmp_path)
    assert (row.task, row.actions, row.broken) == (FIRST.id, ("1", BREAK_WALL), True)
    assert (row.outcome, row.error) == (None, "SandboxError: the wall has a hole")


def test_an_episode_that_is_left_leaves_no_row(tmp_path: Path) -> None:
    env = record(Guessing(), tmp_path)
    env.reset(options=ON_FIRST)
    env.step("1")
    with pytest.raises(TaskNotFound):
        env.reset(options={"task_id": "nothing"})
    env.step(RIGHT)  # a reset that failed has left nothing behind
    env.reset(options=ON_SECOND)
    env.step("1")
    env.reset(options=ON_SECOND)
    env.close()
    assert shown(rows(tmp_path), "task", "actions") == [(FIRST.id, ("1", RIGHT))]


# Tokens


def test_tokens_add_up_over_an_episode(tmp_path: Path) -> None:
    envs = record(guessing(2, 2), tmp_path)
    envs.reset(seed=0, options=ON_FIRST)
    for tokens, actions in (([3, np.int64(5)], [RIGHT, "1"]), ([100, 7], ["idle", "2"])):
        envs.tell(tokens)
        envs.step(actions)
    envs.step(["idle", RIGHT])
    assert [row.tokens for row in rows(tmp_path)] == [3, 12]


def test_tokens_are_told_anew_for_each_step_and_null_unless_told(tmp_path: Path) -> None:
    env = record(Addition(), tmp_path)
    for tokens in (3, None, 5):
        env.reset(options=ON_FIRST)
        if tokens is not None:
            env.tell(99)
            env.tell(tokens)
        env.step(RIGHT)
    assert [row.tokens for row in rows(tmp_path)] == [3, None, 5]


def test_what_was_read_and_what_was_cut_short_is_told_beside(tmp_path: Path) -> None:
    envs = record(guessing(2, 2), tmp_path)
    envs.reset(seed=0, options=ON_FIRST)
    envs.tell([3, 5], prompt_tokens=[30, 50], cut_short=[False, True])
    envs.step([RIGHT, "1"])
    envs.tell([0, 7], prompt_tokens=[0, 70])
    envs.step(["idle", RIGHT])
    told = [(row.tokens, row.prompt_tokens, row.cut_short) for row in rows(tmp_path)]
    assert told == [(3, 30, False), (12, 120, True)]


WRONG = [{"prompt_tokens": [1]}, {"prompt_tokens": [1, -1]}, {"cut_short": [True]}]


@pytest.mark.parametrize("told", WRONG, ids=str)
def test_what_is_no_cost_is_refused(tmp_path: Path, told: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(told))):
        record(addition(2), tmp_path).tell([1, 2], **told)


@pytest.mark.parametrize("tokens", [[], [1], [1, 2, 3], [1, -1], [1, 2.5], [1, "2"]])
def test_what_are_no_tokens_is_refused(tmp_path: Path, tokens: list[Any]) -> None:
    with pytest.raises(SettingError, match="tokens must be"):
        record(addition(2), tmp_path).tell(tokens)


# Worlds


def test_a_world_is_the_id_and_the_settings_of_the_environment(tmp_path: Path) -> None:
    settings = {"guesses": 2, "limit": 40, "max_episode_steps": 5}
    envs: Any = gymnasium.make_vec(GUESSING, num_envs=4, group_size=2, **settings)
    recording = Recording(tmp_path)
    record(envs, recording)
    record(gymnasium.make(GUESSING, **settings), recording)  # type: ignore[arg-type]
    assert worlds(tmp_path) == {"train": World(GUESSING, settings)}


def test_wrappers_are_part_of_a_world(tmp_path: Path) -> None:
    env = MultiAttempt(gymnasium.make(ADDITION, max_episode_steps=5), attempts=3)
    record(TimeLimit(env, 2), tmp_path)
    attempts = {"attempts": 3, "history": "feedback", "limit": 100_000}
    wrappers = (
        ("sdpo_envs.wrappers:MultiAttempt", attempts),
        (f"{TimeLimit.__module__}:TimeLimit", {"max_episode_steps": 2}),
    )
    assert worlds(tmp_path) == {"train": World(ADDITION, {"max_episode_steps": 5}, wrappers)}


class Shout(gymnasium.Wrapper[str, str, str, str]):
    """Keeps no keywords."""


def test_what_is_no_json_is_named(tmp_path: Path) -> None:
    env = record(Shout(gymnasium.make(ADDITION, tasks=TASKS, limit=40)), tmp_path)
    assert worlds(tmp_path) == {"train": World(ADDITION, {"limit": 40}, (), ("tasks", "Shout"))}
    env.close()


def test_what_was_made_by_hand_has_no_id(tmp_path: Path) -> None:
    record(addition(2), tmp_path)
    record(Addition(), tmp_path, resume=True)
    content = json.loads((tmp_path / "recording.json").read_text())
    assert content == {"told": {}, "phases": {"train": {"env": None, "settings": {}}}}


def test_another_world_is_another_phase(tmp_path: Path) -> None:
    record(gymnasium.make(ADDITION), tmp_path)
    with pytest.raises(SettingError, match="'train' was begun in"):
        record(gymnasium.make(ADDITION, limit=40), tmp_path, resume=True)


# What may be recorded


def test_only_what_tells_verdicts_can_be_recorded(tmp_path: Path) -> None:
    many = gymnasium.make_vec(ADDITION, num_envs=2, vectorization_mode="sync")
    for env in (many, gymnasium.make("CartPole-v1"), None, "env"):
        with pytest.raises(SettingError, match=r"cannot be recorded\. Give a GroupEnv"):
            record(env, tmp_path / "run")  # type: ignore[call-overload]
    assert not (tmp_path / "run").exists()


def test_a_recording_that_is_open_was_told_already(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for keywords in ({"told": {}}, {"resume": True}):
        with pytest.raises(SettingError, match="open already"):
            record(Addition(), recording, **keywords)  # type: ignore[arg-type]


def test_a_run_is_not_recorded_over(tmp_path: Path) -> None:
    record(Addition(), tmp_path, told={"seed": 0})
    with pytest.raises(FileExistsError):
        record(Addition(), tmp_path)
    with pytest.raises(SettingError, match="seed"):
        record(Addition(), tmp_path, told={"seed": 1}, resume=True)


# Travel


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_recorded_environment_travels_in_the_middle_of_an_episode(
    tmp_path: Path, travel: Callable[[Any], Any]
) -> None:
    envs = record(guessing(2, 2), tmp_path)
    envs.reset(seed=0, options=ON_FIRST)
    envs.step(["1", "2"])
    for each in (travel(envs), envs):
        each.step([RIGHT, RIGHT])
    env = record(Guessing(), tmp_path, phase="test", resume=True)
    env.reset(options=ON_FIRST)
    for one in (travel(env), env):
        one.step(RIGHT)
    assert shown(rows(tmp_path), "phase", "group", "generations") == [
        ("train", 0, 0),
        ("train", 0, 0),
        ("train", 1, 2),
        ("train", 1, 2),
        ("test", 0, 4),
        ("test", 1, 4),
    ]
    assert {row.actions for row in rows(tmp_path)} == {("1", RIGHT), ("2", RIGHT), (RIGHT,)}


def recorded_addition(**settings: Any) -> RecordedEnv:
    return record(Addition(**settings), os.environ["TEST_RECORDING"], resume=True)


def recorded_groups(num_envs: int, group_size: int, **settings: Any) -> RecordedGroups:
    return record(addition(num_envs, group_size, **settings), os.environ["TEST_RECORDING"], phase="groups", resume=True)


def test_a_recorded_environment_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_RECORDING", str(tmp_path))
    name, place = "tests/Recorded-v0", "test_record:recorded_"
    gymnasium.register(name, entry_point=f"{place}addition", vector_entry_point=f"{place}groups")
    try:
        assert check_env(name) == []
    finally:
        del gymnasium.registry[name]
    found = rows(tmp_path)
    alone = [row for row in found if row.phase == "train"]
    assert [row.group for row in alone] == list(range(len(alone)))
    assert [row.generations for row in alone] == list(range(len(alone)))
    assert len([row for row in found if row.phase == "groups" and row.broken]) == 1


# The clock


def test_only_training_takes_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    recording = Recording(tmp_path)
    train, test = record(guessing(2), recording), record(guessing(2), recording, phase="test")
    for envs, start in ((train, 1), (test, 10), (test, 100), (train, 200)):
        now = start
        envs.reset(seed=0, options=ON_FIRST)
        now = start + 2
        envs.step([RIGHT, "1"])
        now = start + 4
        envs.reset(options=on([0], 2, FIRST.id, FIRST.id))
        now = start + 5
        envs.step([RIGHT, RIGHT])
    assert [tick.seconds for tick in clock(tmp_path)] == [3, 6, 10, 10, 95, 95, 192, 195]


def test_only_training_takes_time_alone_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    recording = Recording(tmp_path)
    train, test = record(Guessing(), recording), record(Guessing(), recording, phase="test")
    for env, start in ((train, 1), (test, 10), (train, 20)):
        now = start
        env.reset(options=ON_FIRST)
        for later, action in ((2, "1"), (5, RIGHT)):
            now = start + later
            env.step(action)
    assert [tick.seconds for tick in clock(tmp_path)] == [6, 10, 20]


def test_nothing_in_an_episode_is_lost_but_what_is_not_a_number(tmp_path: Path) -> None:
    envs = record(guessing(2, 2), tmp_path)
    envs.reset(seed=0)
    rewards = np.zeros(2)
    for actions in (["1", "2"], [BREAK_WALL, "2"], ["", "2"]):
        rewards += envs.step(actions)[1]
    assert [math.isnan(row.reward) for row in rows(tmp_path)] == np.isnan(rewards).tolist() == [True, False]
