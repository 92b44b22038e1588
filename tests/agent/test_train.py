"""The loop: what is played, what is told of it, and when it ends."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from byhand import weights_of
from letters import Say, SayTwice

from sdpo_agent import GRPO, SDPO, Algorithm, Attempt, Group, Policy, Sample, SDPOSettings, TrainSettings, Turn, train
from sdpo_agent.learn import make_optimizer
from sdpo_agent.train import _tasks, describe, train_step
from sdpo_envs import Feedback, GroupEnv, InfrastructureError, Outcome, SettingError, Verdict


def settings(**changes: Any) -> TrainSettings:
    return TrainSettings(**{"steps": 2, "learning_rate": 1e-3, "max_tokens": 4, "weight_decay": 0.0, **changes})


def algorithms(policy: Policy) -> dict[str, Algorithm]:
    # A teacher that follows quickly unlearns to read hindsight, since only plain prompts are trained.
    return {"grpo": GRPO(), "sdpo": SDPO(policy, SDPOSettings(teacher_rate=0.01))}


class Watched(GroupEnv):
    """Remembers what was asked of it."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.asked: list[list[str]] = []
        self.seeds: list[Any] = []

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.asked.append(list(options["task_id"]))
        self.seeds.append(seed)
        return super().reset(seed=seed, options=options)


class Listening(GRPO):
    """Remembers what it was to learn from."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[Group] = []

    def samples(self, group: Group) -> list[Sample]:
        self.groups.append(group)
        return super().samples(group)


@pytest.mark.parametrize("name", ["grpo", "sdpo"])
def test_learning_raises_the_success_rate(policy: Policy, envs: GroupEnv, tmp_path: Path, name: str) -> None:
    rows = train(policy, algorithms(policy)[name], envs, settings(steps=40), tmp_path)
    assert sum(row["success_rate"] for row in rows[:2]) / 2 < 0.7
    assert sum(row["success_rate"] for row in rows[-5:]) / 5 > 0.9


@pytest.mark.parametrize("history", ["observation", "conversation"])
@pytest.mark.parametrize("name", ["grpo", "sdpo"])
def test_learning_over_two_turns(policy: Policy, tmp_path: Path, name: str, history: Any) -> None:
    envs = GroupEnv(SayTwice, num_envs=24, group_size=4, reveal=True)
    rows = train(policy, algorithms(policy)[name], envs, settings(history=history), tmp_path)
    assert sum(row["optimizer_steps"] for row in rows) > 0
    assert all(math.isfinite(value) for row in rows for value in row.values())


# --- what is told


def test_every_step_is_a_line_of_json(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    rows = train(policy, SDPO(policy), envs, settings(), folder)
    metrics, timing = (
        [json.loads(line) for line in (folder / name).read_text().splitlines()]
        for name in ("metrics.jsonl", "timing.jsonl")
    )
    assert [{**row, **seconds} for row, seconds in zip(metrics, timing, strict=True)] == rows
    assert [row["step"] for row in rows] == [1, 2]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert {"loss", "grad_norm", "taught_share", "teacher_gap", "success_rate", "peer_share"} <= set(metrics[0])
    assert set(timing[0]) == {"step", "seconds_sampling", "seconds_learning"}
    assert all(row["seconds_sampling"] > 0 and row["seconds_learning"] > 0 for row in timing)


def attempt(reward: float, tokens: int = 2, text: str = "", peer: str | None = None, cut: bool = False) -> Attempt:
    turn = Turn("Say.", "a", tuple(range(tokens)), (-0.5,) * tokens, cut)
    if math.isnan(reward):
        return Attempt("say/a", (turn,) * 3, reward, None, None, "JudgeError: out")
    verdict = Verdict(Outcome.PASSED if reward == 1 else Outcome.WRONG, reward)
    return Attempt("say/a", (turn,), reward, verdict, Feedback(text, bool(text), peer))


def test_what_is_told_of_attempts() -> None:
    groups = [
        Group("say/a", (attempt(1.0), attempt(0.0, 4, "It is a.", "a"), attempt(math.nan), attempt(0.5, cut=True))),
        Group("say/b", (attempt(0.0), attempt(0.0), attempt(math.nan, 9), attempt(math.nan, 9))),
        Group("say/c", (attempt(math.nan),) * 4),
    ]
    told = describe(groups)
    assert told == {
        "reward_mean": (1.5, 5),
        "success_rate": (1, 5),
        "pass_at_k": (1, 2),  # of groups in which somebody was judged
        "mixed_groups": (1, 2),
        "peer_share": (1, 5),
        "reveals_answer_share": (1, 5),
        "tokens_mean": (12, 5),
        "cut_short_share": (1, 5),
        "entropy_estimate": (6.0, 12),
        "attempts": (12, 0),
        "broken_attempts": (7, 0),
    }


def test_nothing_is_told_of_no_attempts_and_nothing_divides_by_zero(policy: Policy) -> None:
    assert all(value == (0, 0) for value in describe([]).values())
    broken = describe([Group("say/a", (attempt(math.nan),))])
    assert {name for name, value in broken.items() if value != (0, 0)} == {"attempts", "broken_attempts"}


# --- what is played


def test_equal_seeds_meet_equal_tasks_whatever_the_algorithm(policy: Policy, tmp_path: Path) -> None:
    ids = [f"task {number}" for number in range(10)]
    assert _tasks(ids, 4, seed=1, number=7) == _tasks(ids, 4, seed=1, number=7)
    assert [_tasks(ids, 4, 1, number) for number in range(5)] != [_tasks(ids, 4, 2, number) for number in range(5)]
    asked = []
    for name in ("grpo", "sdpo"):
        envs, student = Watched(Say, num_envs=8, group_size=2, reveal=True), policy.copy()
        train(student, algorithms(student)[name], envs, settings(steps=3), tmp_path / name)
        asked.append((envs.asked, envs.seeds))
    assert asked[0] == asked[1]
    assert len({tuple(seeds) for seeds in asked[0][1]}) == 3


@pytest.mark.parametrize(("count", "tasks"), [(4, 10), (3, 3), (7, 2), (1, 5)])
def test_every_task_comes_once_before_any_comes_again(count: int, tasks: int) -> None:
    ids = [f"task {number}" for number in range(tasks)]
    chosen = [task for number in range(tasks * 3) for task in _tasks(ids, count, seed=0, number=number)]
    for epoch in range(len(chosen) // tasks):
        assert Counter(chosen[epoch * tasks : (epoch + 1) * tasks]) == Counter(ids)


def test_the_first_step_samples_what_its_seeds_say(policy: Policy) -> None:
    rows = []
    for seed in (0, 0, 1):
        student, envs = policy.copy(), GroupEnv(Say, num_envs=8, group_size=4)
        optimizer = make_optimizer(student, settings())
        rows.append(train_step(student, GRPO(), envs, optimizer, settings(seed=seed), 0)[0])
    assert rows[0] == rows[1]
    assert rows[0]["entropy_estimate"] != rows[2]["entropy_estimate"]


# --- dynamic sampling


def mixed(group: Group) -> bool:
    return len({each.reward for each in group.decided}) > 1


def test_it_plays_on_until_enough_groups_are_mixed_and_learns_from_those(policy: Policy) -> None:
    plays = []
    for seed in range(6):
        envs, student, algorithm = Watched(Say, num_envs=6, group_size=2), policy.copy(), Listening()
        loop = settings(batches=8, seed=seed)
        row, _ = train_step(student, algorithm, envs, make_optimizer(student, loop), loop, 0)
        assert row["attempts"] == 6 * len(envs.asked)
        assert all(map(mixed, algorithm.groups))
        assert len(algorithm.groups) == 3 or len(envs.asked) == 8
        assert row["taught_share"] == 1
        plays.append(len(envs.asked))
        assert len({tuple(seeds) for seeds in envs.seeds}) == len(envs.asked)  # every batch is another
    assert min(plays) > 1
    assert len(set(plays)) > 1


def test_the_first_batch_is_enough_if_it_is_mixed(policy: Policy, envs: GroupEnv) -> None:
    alone, on = (
        train_step(each, GRPO(), envs, make_optimizer(each, settings()), settings(batches=batches, seed=3), 0)[0]
        for each, batches in ((policy.copy(), 1), (policy.copy(), 5))
    )
    if alone["mixed_groups"] == 1:
        assert on == alone
    else:
        assert on["attempts"] > alone["attempts"]


def test_where_no_group_is_ever_mixed_it_gives_up_after_so_many_batches(policy: Policy) -> None:
    envs, algorithm = Watched(Say, num_envs=6, group_size=1), Listening()
    row, _ = train_step(policy, algorithm, envs, make_optimizer(policy, settings()), settings(batches=3), 0)
    assert len(envs.asked) == 3
    assert algorithm.groups == []
    assert (row["attempts"], row["optimizer_steps"], row["taught_share"], row["mixed_groups"]) == (18, 0, 0, 0)
    assert math.isfinite(row["success_rate"])


def test_batches_of_later_steps_are_none_of_the_earlier_ones(policy: Policy) -> None:
    envs, loop = Watched(Say, num_envs=6, group_size=2), settings(batches=4)
    optimizer = make_optimizer(policy, loop)
    for step in range(4):
        train_step(policy, GRPO(), envs, optimizer, loop, step)
    assert len({tuple(seeds) for seeds in envs.seeds}) == len(envs.seeds)


def test_without_dynamic_sampling_everything_is_learned_from(policy: Policy) -> None:
    envs, algorithm = Watched(Say, num_envs=6, group_size=2), Listening()
    train_step(policy, algorithm, envs, make_optimizer(policy, settings()), settings(), 0)
    assert (len(envs.asked), len(algorithm.groups)) == (1, 3)


# --- what breaks


def break_(envs: GroupEnv, times: int, every: int = 1) -> None:
    for env in envs.envs[::every]:
        env.unwrapped.broken = times


class Recovering(Say):
    """Breaks so many times, and then no more."""

    def _judge(self, task: Any, action: str) -> Verdict:
        try:
            return super()._judge(task, action)
        finally:
            self.broken = max(0, self.broken - 1)


def test_broken_attempts_are_counted_and_teach_nothing(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    break_(envs, 1, every=2)
    (row,) = train(policy, GRPO(), envs, settings(steps=1), tmp_path)
    assert (row["broken_attempts"], row["attempts"]) == (12, 24)
    assert all(math.isfinite(value) for value in row.values())


def test_a_broken_slot_is_left_out_as_if_it_had_not_been(policy: Policy, tmp_path: Path) -> None:
    algorithm, envs = Listening(), GroupEnv(Say, num_envs=8, group_size=4)
    break_(envs, 1, every=4)
    train(policy, algorithm, envs, settings(steps=1), tmp_path)
    for group in algorithm.groups:
        assert [each.decided for each in group.attempts] == [False, True, True, True]
        rewards = [each.reward for each in group.decided]
        advantages = [sample.advantage for sample in GRPO().samples(group)]
        assert advantages == pytest.approx([reward - sum(rewards) / 3 for reward in rewards])


def test_a_step_in_which_everything_broke_is_played_again(policy: Policy, tmp_path: Path) -> None:
    whole, broken = (GroupEnv(Recovering, num_envs=8, group_size=4) for _ in range(2))
    break_(broken, 2)
    results = []
    for name, envs in (("whole", whole), ("broken", broken)):
        student = policy.copy()
        train(student, GRPO(), envs, settings(retries=2), tmp_path / name)
        results.append(((tmp_path / name / "metrics.jsonl").read_text(), weights_of(student)))
    assert results[0][0] == results[1][0]
    assert results[0][1].equal(results[1][1])


@pytest.mark.parametrize("retries", [0, 2])
def test_a_step_in_which_everything_breaks_every_time_ends_the_run(
    policy: Policy, tmp_path: Path, retries: int
) -> None:
    envs = Watched(Recovering, num_envs=2, group_size=2, broken=retries + 1)
    times = "1 times" if retries == 0 else "3 times"
    with pytest.raises(InfrastructureError, match=f"In step 1 every attempt broke, {times} in a row") as caught:
        train(policy, GRPO(), envs, settings(retries=retries), tmp_path)
    assert "JudgeError: the judge is out" in str(caught.value)
    assert "Mend that, and resume the run" in str(caught.value)
    assert len(envs.asked) == retries + 1
    rows = train(policy, GRPO(), envs, settings(retries=retries), tmp_path, resume=True)
    assert [row["step"] for row in rows] == [1, 2]


def test_dynamic_sampling_tries_each_of_its_batches_again(policy: Policy) -> None:
    envs, algorithm = Watched(Recovering, num_envs=6, group_size=2, broken=1), Listening()
    row, _ = train_step(policy, algorithm, envs, make_optimizer(policy, settings()), settings(batches=3), 0)
    assert envs.asked[0] == envs.asked[1]
    assert row["broken_attempts"] == 0
    assert all(map(mixed, algorithm.groups))


# --- warnings


def test_the_watch_s_words_are_written_down_once(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    break_(envs, 1, every=2)
    train(policy, GRPO(), envs, settings(steps=3), tmp_path)
    (line,) = (tmp_path / "warnings.txt").read_text().splitlines()
    assert line == "step 1: 12 of the last 24 attempts broke in the machinery and were dropped."


def test_a_run_that_is_well_has_nothing_to_say(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    train(policy, GRPO(), envs, settings(steps=3), tmp_path)
    assert not (tmp_path / "warnings.txt").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"steps": -1}, {"batches": 0}, {"retries": -1}, {"checkpoint_every": -1}, {"history": "all"}, {"minibatches": 0}],
    ids=str,
)
def test_a_setting_that_makes_no_sense_is_refused_before_anything_runs(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        TrainSettings(**wrong)


def test_no_steps_are_no_error(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    before = weights_of(policy)
    assert train(policy, GRPO(), envs, settings(steps=0), tmp_path) == []
    assert weights_of(policy).equal(before)
