import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from addition import ADDITION, BREAK_WALL, GUESSING, TASKS, Addition, AdditionGroup, Guessing, answer
from gymnasium.wrappers import TimeLimit
from sums import wall

from sdpo_envs import (
    MultiAttempt,
    Outcome,
    RecordError,
    Recording,
    SandboxError,
    SettingError,
    Verdict,
    record,
    replay,
)
from sdpo_envs.check import HOSTILE_ACTIONS
from sdpo_envs.record import RecordedEnv, RecordedGroups
from sdpo_envs.record.replay import Difference
from sdpo_envs.record.row import rows
from sdpo_envs.registry import ENVIRONMENTS

FIRST = TASKS[0]
RIGHT = str(FIRST.answer)
LARGE = "9999"


def play(env: RecordedEnv, *actions: str, task_id: str = FIRST.id) -> None:
    env.reset(options={"task_id": task_id})
    for action in actions:
        env.step(action)


def change(folder: Path, line: int, **columns: Any) -> None:
    path = folder / "attempts.jsonl"
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    lines[line] |= columns
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three attempts: right, wrong, right."""
    env = record(gymnasium.make(ADDITION, reveal=True), tmp_path / "run")
    for action in (RIGHT, LARGE, RIGHT):
        play(env, action)
    return tmp_path / "run"


# What is the same


def _knows_all(env: Any, slot: int, task_id: str) -> Sequence[str]:
    """What the oracle does, garbage, or what the oracle does at another task."""
    bare = env.unwrapped
    task = bare.find(task_id) if slot % 3 else bare.tasks[-1]
    actions = bare.walkthrough(task)
    return [HOSTILE_ACTIONS["garbage"]] if slot % 4 == 3 or actions is None else actions


def _at(turn: int, actions: Sequence[str]) -> str:
    """The action of a turn; the last one again where there are no more."""
    return actions[min(turn, len(actions) - 1)]


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_every_environment_judges_again_as_it_has_judged(tmp_path: Path, env_id: str) -> None:
    wall()
    envs: Any = gymnasium.make_vec(env_id, num_envs=8, group_size=4, reveal=True)
    groups: RecordedGroups = record(envs, tmp_path)
    env = record(gymnasium.make(env_id), tmp_path, phase="test", resume=True)
    for seed in (0, 2):
        _, infos = groups.reset(seed=seed)
        known = [_knows_all(envs.envs[0], slot, task_id) for slot, task_id in enumerate(infos["task_id"])]
        ended, turn = np.zeros(8, dtype=bool), 0
        while not ended.all():
            *_, terminated, truncated, _ = groups.step([_at(turn, actions) for actions in known])
            ended, turn = ended | terminated | truncated, turn + 1
        _, info = env.reset(seed=seed)
        actions, over, turn = _knows_all(env, seed, info["task_id"]), False, 0
        while not over:
            *_, terminated, truncated, _ = env.step(_at(turn, actions))
            over, turn = terminated or truncated, turn + 1
    groups.close()
    env.close()
    assert replay(tmp_path) == []
    assert {row.outcome for row in rows(tmp_path)} > {Outcome.PASSED}
    assert len(rows(tmp_path)) == 18


def test_an_episode_of_several_turns_is_played_again(tmp_path: Path) -> None:
    env = record(gymnasium.make(GUESSING, guesses=3), tmp_path)
    for actions in (("1", LARGE, RIGHT), ("1", "2", "3"), (RIGHT,)):
        play(env, *actions)
    assert replay(tmp_path) == []


def test_wrappers_are_put_on_again(tmp_path: Path) -> None:
    env = TimeLimit(MultiAttempt(gymnasium.make(ADDITION), attempts=3), 2)
    recorded = record(env, tmp_path)
    for actions in (("1", RIGHT), ("1", "2"), (RIGHT,)):
        play(recorded, *actions)
    assert [row.outcome for row in rows(tmp_path)] == [Outcome.PASSED, Outcome.WRONG, Outcome.PASSED]
    assert replay(tmp_path) == []


def test_an_episode_that_was_cut_short_is_cut_short_again(tmp_path: Path) -> None:
    env = record(gymnasium.make(GUESSING, max_episode_steps=2), tmp_path)
    play(env, "1", "2")
    assert rows(tmp_path)[0].outcome is None
    assert replay(tmp_path) == []


def test_what_broke_is_skipped(tmp_path: Path) -> None:
    envs: Any = gymnasium.make_vec(ADDITION, num_envs=2, group_size=2)
    recorded: RecordedGroups = record(envs, tmp_path)
    recorded.reset(seed=0)
    recorded.step([BREAK_WALL, LARGE])
    change(tmp_path, 0, feedback="not looked at")
    assert replay(tmp_path) == []


# What is different


@pytest.mark.parametrize(
    ("column", "stored", "now"),
    [
        ("outcome", "malformed", Outcome.WRONG),
        ("reward", 0.5, 0.0),
        ("passed", True, False),
        ("feedback", "well done", f"This is too large.\nYou wrote: {LARGE}\nThe sum is: {RIGHT}"),
        ("reveals_answer", False, True),
    ],
)
def test_what_is_different_in_a_column_is_found(run: Path, column: str, stored: Any, now: Any) -> None:
    change(run, 1, **{column: stored})
    (difference,) = replay(run)
    assert difference == Difference(1, column, getattr(rows(run)[1], column), now)


def test_another_judge_is_found_everywhere(run: Path) -> None:
    class Generous(Addition):
        def __init__(self) -> None:
            super().__init__()
            self.judge = lambda task, action: Verdict(Outcome.PASSED, 1.0)

    found = replay(run, envs=Generous())
    assert [(each.row, each.column) for each in found] == [
        (1, column) for column in ("outcome", "reward", "passed", "feedback", "reveals_answer")
    ]


def test_a_task_that_is_gone_is_found(run: Path) -> None:
    change(run, 0, task="add/nothing")
    assert replay(run) == [Difference(0, "task", "add/nothing", None)]


def test_an_episode_that_ends_earlier_is_found(tmp_path: Path) -> None:
    play(record(gymnasium.make(GUESSING), tmp_path), "1", "2", "3")
    found = replay(tmp_path, envs=Guessing(guesses=2))
    assert found[0] == Difference(0, "actions", ("1", "2", "3"), ("1", "2"))
    assert [each.column for each in found] == ["actions", "feedback"]


def test_an_episode_that_does_not_end_is_found(tmp_path: Path) -> None:
    play(record(gymnasium.make(GUESSING, guesses=2), tmp_path), "1", "2")
    found = replay(tmp_path, envs=Guessing(guesses=3))
    assert [(each.column, each.stored, each.now) for each in found] == [
        ("outcome", Outcome.WRONG, None),
        ("feedback", "This is too small.\nYou wrote: 2", ""),
    ]


def test_an_attempt_of_several_is_no_end(tmp_path: Path) -> None:
    play(record(MultiAttempt(Addition(), attempts=2), tmp_path), "1", "2")
    found = replay(tmp_path, envs=MultiAttempt(Addition(), attempts=3))
    assert found == [Difference(0, "outcome", Outcome.WRONG, None)]


def test_what_breaks_now_is_told(run: Path) -> None:
    change(run, 2, actions=[BREAK_WALL])
    assert replay(run) == [Difference(2, "error", "", f"{SandboxError.__name__}: the wall has a hole")]


def test_differences_come_in_the_order_of_the_rows(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for phase in ("train", "test", "train", "test"):
        play(record(gymnasium.make(ADDITION), recording, phase=phase), LARGE)
    for line in range(4):
        change(tmp_path, line, reward=0.5)
    assert [each.row for each in replay(tmp_path)] == [0, 1, 2, 3]


# Where it is judged


def test_an_environment_may_be_given(run: Path) -> None:
    kept = (run / "attempts.jsonl").read_bytes()
    groups = AdditionGroup(num_envs=4, group_size=2, reveal=True)
    alone = Addition(reveal=True)
    again = record(Addition(reveal=True), run / "elsewhere")
    for envs in (groups, alone, again, record(groups, run / "groups"), {"train": alone}):
        assert replay(run, envs=envs) == []
    assert len(replay(run, envs=Addition())) == 2
    assert rows(run / "elsewhere") == rows(run / "groups") == []
    assert (run / "attempts.jsonl").read_bytes() == kept


def test_an_environment_that_was_given_is_not_closed(run: Path) -> None:
    closed = []

    class Door(Addition):
        def close(self) -> None:
            closed.append(self)

    replay(run, envs=Door(reveal=True))
    assert closed == []


def test_what_was_made_by_hand_must_be_given(tmp_path: Path) -> None:
    play(record(Addition(), tmp_path), RIGHT)
    with pytest.raises(SettingError, match=r"does not say how to make .* 'train'. Give one: replay\(run, envs="):
        replay(tmp_path)
    assert replay(tmp_path, envs=Addition()) == []


def test_what_could_not_be_saved_is_named(tmp_path: Path) -> None:
    play(record(gymnasium.make(ADDITION, tasks=TASKS[:3]), tmp_path), RIGHT)
    with pytest.raises(SettingError, match=r"lacks \['tasks'\] of tests/Addition-v0"):
        replay(tmp_path)
    with pytest.raises(SettingError, match=r"lacks \['tasks'\]"):
        replay(tmp_path, envs={"test": Addition()})


def test_a_file_of_rows_needs_an_environment(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"task": TASKS[3].id, "actions": [answer(TASKS[3].id)], "reward": 1}) + "\n")
    with pytest.raises(SettingError, match="does not say"):
        replay(path)
    assert replay(path, envs=Addition()) == [Difference(0, "outcome", None, Outcome.PASSED)]


def test_a_damaged_recording_is_an_error(run: Path) -> None:
    (run / "recording.json").write_text("{")
    with pytest.raises(RecordError, match=r"recording.json"):
        replay(run)
