"""A search that was killed ends as one that was not: its record the same to the last byte, its weights to the bit."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from byhand import weights_of
from riddles import RIDDLES, Riddle, Scripted, TwoTurns, chance

from sdpo_agent import SDPO, Policy, SDPOSettings
from sdpo_agent.discover import BestOfK, DiscoverSettings, MultiTurn, Row, Strategy, TestTime, discover
from sdpo_envs import GroupEnv, SettingError

TASK = RIDDLES[0].id
SLOTS = 2
RECORD = "attempts.jsonl"


def settings(**changes: Any) -> DiscoverSettings:
    return DiscoverSettings(**{"attempts": 12, "max_tokens": 4, "learning_rate": 1e-2} | changes)


def sampler(letters: str = "bcdefghijkl!", room: int = 10**9) -> Scripted:
    """Never right, now and then broken, and what it says depends on all that it reads."""
    return Scripted(lambda number, conversation, seed: chance(conversation, seed, letters), room)


STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "best-of-k": lambda: BestOfK(sampler()),
    "reprompt": lambda: MultiTurn(sampler(), settings(), memory=1),
    "feedback": lambda: MultiTurn(sampler(), settings()),
    "conversation": lambda: MultiTurn(sampler(), settings(), conversation=True),
    "feedback, forgetting": lambda: MultiTurn(sampler(room=200), settings()),
    "conversation, forgetting": lambda: MultiTurn(sampler(room=300), settings(), conversation=True),
}
each_strategy = pytest.mark.parametrize("name", STRATEGIES)


def play(strategy: Strategy, folder: Path, env: Any = Riddle, slots: int = SLOTS, **changes: Any) -> list[Row]:
    """Begin a run, or resume it."""
    envs = GroupEnv(env, slots, slots, reveal=True)
    return discover(strategy, envs, TASK, settings(**changes), folder, resume=(folder / "config.json").exists())


def kill_after(folder: Path, record: bytes, killed: Path) -> Path:
    """Make the folder that a run leaves behind which was killed when so much of its record was on disk."""
    killed.mkdir(exist_ok=True)
    shutil.copy(folder / "config.json", killed)
    (killed / RECORD).write_bytes(record)
    return killed


@each_strategy
def test_killed_at_any_byte_of_the_last_two_rows(tmp_path: Path, name: str) -> None:
    rows = play(STRATEGIES[name](), tmp_path / "whole")
    record = (tmp_path / "whole" / RECORD).read_bytes()
    *_, start, middle = itertools.accumulate(map(len, record.splitlines(keepends=True)[:-1]))
    offsets = {*range(start, len(record), 43), *range(middle - 2, middle + 3), *range(len(record) - 2, len(record) + 1)}
    for offset in sorted(offsets):
        killed = kill_after(tmp_path / "whole", record[:offset], tmp_path / "killed")
        assert play(STRATEGIES[name](), killed) == rows
        assert (killed / RECORD).read_bytes() == record


@each_strategy
def test_killed_after_any_row(tmp_path: Path, name: str) -> None:
    rows = play(STRATEGIES[name](), tmp_path / "whole")
    lines = (tmp_path / "whole" / RECORD).read_bytes().splitlines(keepends=True)
    assert len(lines) == len(rows) >= 12
    for count in range(len(lines) + 1):
        killed = kill_after(tmp_path / "whole", b"".join(lines[:count]), tmp_path / "killed")
        assert play(STRATEGIES[name](), killed) == rows
        assert (killed / RECORD).read_bytes().splitlines(keepends=True) == lines


def test_killed_before_the_first_row(tmp_path: Path) -> None:
    play(STRATEGIES["feedback"](), tmp_path / "whole")
    killed = kill_after(tmp_path / "whole", b"", tmp_path / "killed")
    (killed / RECORD).unlink()
    play(STRATEGIES["feedback"](), killed)
    assert (killed / RECORD).read_bytes() == (tmp_path / "whole" / RECORD).read_bytes()


@pytest.mark.parametrize("conversation", [False, True])
def test_what_was_forgotten_in_a_later_turn_of_an_episode_is_forgotten_again(
    tmp_path: Path, conversation: bool
) -> None:
    def made() -> Strategy:
        return MultiTurn(sampler("bcdefghijkl", room=260), settings(), conversation=conversation)

    play(made(), tmp_path / "whole", TwoTurns)
    record = (tmp_path / "whole" / RECORD).read_bytes()
    lines = record.splitlines(keepends=True)
    for count in range(0, len(lines), SLOTS):
        killed = kill_after(tmp_path / "whole", b"".join(lines[:count]), tmp_path / "killed")
        play(made(), killed, TwoTurns)
        assert (killed / RECORD).read_bytes() == record


# --- a finished run, a longer one, and another


@each_strategy
def test_a_finished_run_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    rows = play(STRATEGIES[name](), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*")}
    strategy = STRATEGIES[name]()
    assert play(strategy, tmp_path) == rows
    assert not strategy.sampler.asked
    assert {path: path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_a_run_that_succeeded_is_left_as_it_is(tmp_path: Path) -> None:
    rows = play(BestOfK(sampler("ab")), tmp_path)
    assert any(row["passed"] for row in rows)
    again = BestOfK(sampler("ab"))
    assert play(again, tmp_path) == rows
    assert not again.sampler.asked


@each_strategy
def test_with_more_attempts_it_goes_on_as_if_it_had_them_from_the_start(tmp_path: Path, name: str) -> None:
    play(STRATEGIES[name](), tmp_path / "long", attempts=20)
    short = play(STRATEGIES[name](), tmp_path / "short", attempts=8)
    rows = play(STRATEGIES[name](), tmp_path / "short", attempts=20)
    assert len(short) < len(rows)
    assert (tmp_path / "short" / RECORD).read_bytes() == (tmp_path / "long" / RECORD).read_bytes()


@pytest.mark.parametrize(
    ("strategy", "changes"),
    [
        (lambda: BestOfK(sampler()), {}),
        (lambda: MultiTurn(sampler(), settings(), conversation=True), {}),
        (lambda: MultiTurn(sampler(), settings(), memory=1), {}),
        (STRATEGIES["feedback"], {"seed": 1}),
        (STRATEGIES["feedback"], {"temperature": 0.5}),
        (STRATEGIES["feedback"], {"max_tokens": 5}),
        (STRATEGIES["feedback"], {"slots": 4}),
    ],
)
def test_another_run_is_refused_and_the_record_is_left(
    tmp_path: Path, strategy: Callable[[], Strategy], changes: dict[str, Any]
) -> None:
    play(STRATEGIES["feedback"](), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(SettingError, match="was begun with the"):
        play(strategy(), tmp_path, **changes, attempts=40)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_another_task_and_other_facts_are_refused(tmp_path: Path) -> None:
    envs = GroupEnv(Riddle, 2, 2)
    discover(BestOfK(sampler()), envs, TASK, settings(), tmp_path, told={"way": "x"})
    for task_id, told in ((RIDDLES[1].id, {"way": "x"}), (TASK, {"way": "y"}), (TASK, None)):
        with pytest.raises(SettingError, match="begun with the settings"):
            discover(BestOfK(sampler()), envs, task_id, settings(), tmp_path, resume=True, told=told)


# --- a policy that learns


class Killed(BaseException):
    """The process ends."""


def learner(teacher: Any = "ema", **changes: Any) -> TestTime:
    policy = Policy.small(hidden=16, layers=1, heads=2, device="cpu")
    algorithm = SDPO(policy, SDPOSettings(teacher=teacher, teacher_rate=0.3, top_k=20))
    return TestTime(policy, algorithm, settings(**changes))


def end_of(strategy: TestTime) -> list[torch.Tensor]:
    """Everything that it has learned."""
    return [weights_of(strategy.policy), *strategy.algorithm.state().values()]


def assert_same_end(one: TestTime, other: TestTime) -> None:
    for mine, theirs in zip(end_of(one), end_of(other), strict=True):
        assert torch.equal(mine, theirs)


def dies(target: Any, name: str, call: int, *, first: Callable[[Any], None] = lambda told: None) -> None:
    """Have the process die at some call of a method, counted from 1, after it did `first`."""
    whole, calls = getattr(target, name), [0]

    def dying(*told: Any, **keywords: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            first(told)
            raise Killed
        return whole(*told, **keywords)

    setattr(target, name, dying)


def half_saved(told: Any) -> None:
    (folder,) = told
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"half of it")


@pytest.mark.parametrize(("teacher", "every"), [("ema", 1), ("ema", 3), ("trust-region", 1)])
@pytest.mark.parametrize("point", ["playing", "learning", "saving"])
def test_a_learner_that_is_killed_learns_the_same(tmp_path: Path, teacher: str, every: int, point: str) -> None:
    whole = learner(teacher, checkpoint_every=every)
    start = weights_of(whole.policy)
    play(whole, tmp_path / "whole", checkpoint_every=every)
    assert (weights_of(whole.policy) != start).any()
    record = (tmp_path / "whole" / RECORD).read_bytes()
    for call in (1, 4) if every == 1 or point != "saving" else (1,):
        folder = tmp_path / f"killed-{call}"
        strategy = learner(teacher, checkpoint_every=every)
        if point == "playing":
            dies(strategy.policy, "write", call)
        elif point == "learning":
            dies(strategy.algorithm, "loss", call)
        else:
            dies(strategy.policy, "save", call, first=half_saved)
        with pytest.raises(Killed):
            play(strategy, folder, checkpoint_every=every)
        strategy = learner(teacher, checkpoint_every=every)
        play(strategy, folder, checkpoint_every=every)
        assert (folder / RECORD).read_bytes() == record
        assert_same_end(strategy, whole)


def test_a_learner_that_is_killed_in_every_round_learns_the_same(tmp_path: Path) -> None:
    whole = learner()
    rows = play(whole, tmp_path / "whole")
    for _ in range(100):
        strategy = learner()
        dies(strategy.policy, "write", 2)
        try:
            again = play(strategy, tmp_path / "killed")
            break
        except Killed:
            pass
    assert again == rows
    assert_same_end(strategy, whole)
    for name in (RECORD, "metrics.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("checkpoint", ["there", "gone", "between two renames", "of the first round"])
@pytest.mark.parametrize("torn", [0, 1, 300, -1])
def test_a_torn_record_and_any_checkpoint_lead_to_the_same_end(tmp_path: Path, checkpoint: str, torn: int) -> None:
    whole, folder = learner(), tmp_path / "killed"
    play(whole, tmp_path / "whole")
    record = (tmp_path / "whole" / RECORD).read_bytes()
    strategy = learner()
    dies(strategy.policy, "write", 2 if checkpoint == "of the first round" else 6)
    with pytest.raises(Killed):
        play(strategy, folder)
    # the last round was being written when the process was killed
    whole_rows = len(b"".join(record.splitlines(keepends=True)[:-SLOTS]))
    (folder / RECORD).write_bytes(record[: whole_rows + torn if torn >= 0 else -1])
    if checkpoint == "gone":
        shutil.rmtree(folder / "checkpoint")
    elif checkpoint == "between two renames":
        (folder / "checkpoint").rename(folder / "checkpoint.old")
    strategy = learner()
    play(strategy, folder)
    assert (folder / RECORD).read_bytes() == record
    assert_same_end(strategy, whole)


@pytest.mark.parametrize("every", [1, 3])
def test_resuming_a_finished_learner_gives_what_it_had_learned(tmp_path: Path, every: int) -> None:
    whole = learner(checkpoint_every=every)
    rows = play(whole, tmp_path, checkpoint_every=every)
    before = (tmp_path / RECORD).read_bytes()
    strategy = learner(checkpoint_every=every)
    assert play(strategy, tmp_path, checkpoint_every=every) == rows
    assert (tmp_path / RECORD).read_bytes() == before
    assert_same_end(strategy, whole)


@pytest.mark.parametrize("every", [1, 3])
def test_with_more_attempts_a_learner_goes_on(tmp_path: Path, every: int) -> None:
    whole = learner(checkpoint_every=every)
    play(whole, tmp_path / "long", attempts=20, checkpoint_every=every)
    play(learner(checkpoint_every=every), tmp_path / "short", attempts=8, checkpoint_every=every)
    strategy = learner(checkpoint_every=every)
    play(strategy, tmp_path / "short", attempts=20, checkpoint_every=every)
    assert (tmp_path / "short" / RECORD).read_bytes() == (tmp_path / "long" / RECORD).read_bytes()
    assert_same_end(strategy, whole)


def test_a_learner_with_another_teacher_is_refused(tmp_path: Path) -> None:
    play(learner("ema"), tmp_path)
    with pytest.raises(SettingError, match="begun with the settings"):
        play(learner("trust-region"), tmp_path, attempts=20)


def test_equal_seeds_learn_the_same(tmp_path: Path) -> None:
    one, other, third = learner(), learner(), learner(seed=5)
    rows = [play(one, tmp_path / "one"), play(other, tmp_path / "other")]
    assert rows[0] == rows[1]
    assert_same_end(one, other)
    play(third, tmp_path / "third", seed=5)
    assert (weights_of(third.policy) != weights_of(one.policy)).any()
