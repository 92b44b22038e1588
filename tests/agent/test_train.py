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
from sdpo_agent.run import saved_attempts
from sdpo_agent.train import _tasks, describe, play_test, train_step
from sdpo_envs import Feedback, GroupEnv, InfrastructureError, Outcome, Recording, SettingError, Verdict, record


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


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


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
        row, *_ = train_step(student, algorithm, envs, make_optimizer(student, loop), loop, 0)
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
    row, *_ = train_step(policy, algorithm, envs, make_optimizer(policy, settings()), settings(batches=3), 0)
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


# --- tests


def trained(policy: Policy, folder: Path, test: Any, **changes: Any) -> list[dict[str, Any]]:
    train(policy, GRPO(), GroupEnv(Say, 8, 4), settings(**changes), folder, test=test)
    return read(folder / "tests.jsonl")


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [(5, 2, [0, 2, 4, 5]), (4, 2, [0, 2, 4]), (2, 0, [0, 2]), (2, 9, [0, 2]), (2, 1, [0, 1, 2]), (0, 1, [0])],
)
def test_a_test_is_made_at_the_start_as_often_as_asked_and_at_the_end(
    policy: Policy, tmp_path: Path, steps: int, every: int, expected: list[int]
) -> None:
    rows = trained(policy, tmp_path, GroupEnv(Say, 6, 1), steps=steps, test_every=every)
    assert [row["step"] for row in rows] == expected
    assert {row["attempts"] for row in rows} == {6}


def test_a_test_plays_every_task_and_tells_how_it_went(policy: Policy) -> None:
    told = []
    for slots in (12, 6, 2):  # 6, 3 and 1 of the tasks at once
        envs = Watched(Say, num_envs=slots, group_size=2)
        told.append(play_test(policy, envs, settings(), steps=3))
        assert [task for asked in envs.asked for task in asked] == [f"say/{letter}" for letter in "abcdef"]
        assert {tuple(asked) for asked in envs.asked} == {
            tuple(envs.task_ids[start : start + slots // 2]) for start in range(0, 6, slots // 2)
        }
    assert told[1] == pytest.approx(told[0], rel=1e-4)
    assert told[2] == pytest.approx(told[0], rel=1e-4)
    assert (told[0]["attempts"], told[0]["broken_attempts"]) == (12, 0)
    assert 0 < told[0]["success_rate"] <= told[0]["pass_at_k"] <= 1
    assert "loss" not in told[0]


def test_a_test_tells_of_the_policy_as_it_is_then(policy: Policy, tmp_path: Path) -> None:
    envs, fresh = GroupEnv(Say, 12, 2), policy.copy()
    first, *_, last = trained(policy, tmp_path, envs, steps=3, test_every=2)
    assert first == {"step": 0, **play_test(fresh, envs, settings(), steps=0)}
    assert last == {"step": 3, **play_test(policy, envs, settings(), steps=3)}
    assert first["entropy_estimate"] != last["entropy_estimate"]


def test_nothing_is_learned_from_a_test(policy: Policy, tmp_path: Path) -> None:
    before = weights_of(policy)
    play_test(policy, GroupEnv(Say, 12, 2), settings(), steps=0)
    assert weights_of(policy).equal(before)
    ends = []
    for name, test in (("with", GroupEnv(Say, 12, 2)), ("without", None)):
        student = policy.copy()
        train(student, SDPO(student), GroupEnv(Say, 8, 4), settings(test_every=1), tmp_path / name, test=test)
        ends.append(((tmp_path / name / "metrics.jsonl").read_bytes(), weights_of(student)))
    assert ends[0][0] == ends[1][0]
    assert ends[0][1].equal(ends[1][1])
    assert not (tmp_path / "without" / "tests.jsonl").exists()


def test_every_test_has_draws_of_its_own_and_none_of_training(policy: Policy, tmp_path: Path) -> None:
    seeds = []
    for seed in (0, 1):
        envs, test = Watched(Say, 8, 4), Watched(Say, 6, 1)
        loop = settings(seed=seed, steps=3, test_every=1)
        train(policy.copy(), GRPO(), envs, loop, tmp_path / str(seed), test=test)
        seeds += [seed for each in (envs, test) for drawn in each.seeds for seed in drawn]
    assert len(seeds) == len(set(seeds)) == 2 * (3 * 2 + 4 * 6)


def test_a_number_of_tasks_that_cannot_be_shared_out_is_refused(policy: Policy) -> None:
    with pytest.raises(SettingError, match="6 tasks to test on cannot be played 4 at a time; choose a number"):
        play_test(policy, GroupEnv(Say, 8, 2), settings(), steps=0)


def test_a_test_whose_attempts_break_tells_of_the_others(policy: Policy, tmp_path: Path) -> None:
    envs = GroupEnv(Say, 12, 2)
    break_(envs, 1, every=2)
    whole, broken = (play_test(policy, each, settings(), steps=0) for each in (GroupEnv(Say, 12, 2), envs))
    assert (broken["attempts"], broken["broken_attempts"]) == (12, 6)
    assert broken["entropy_estimate"] != whole["entropy_estimate"]
    assert all(math.isfinite(value) for value in broken.values())


def test_a_test_is_not_made_again_when_a_run_goes_on(policy: Policy, tmp_path: Path) -> None:
    test = Watched(Say, 6, 1)
    loop = settings(steps=2, test_every=2)
    train(policy, GRPO(), GroupEnv(Say, 8, 4), loop, tmp_path, test=test)
    before = (tmp_path / "tests.jsonl").read_bytes()
    train(policy.copy(), GRPO(), GroupEnv(Say, 8, 4), loop, tmp_path, test=test, resume=True)
    assert (tmp_path / "tests.jsonl").read_bytes() == before
    assert len(test.asked) == 2
    longer = settings(steps=3, test_every=2)
    train(policy, GRPO(), GroupEnv(Say, 8, 4), longer, tmp_path, test=test, resume=True)
    assert [row["step"] for row in read(tmp_path / "tests.jsonl")] == [0, 2, 3]


def test_what_is_recorded_does_not_change_what_is_learned(policy: Policy, tmp_path: Path) -> None:
    ends = []
    for name in ("plain", "recorded"):
        student, envs, test = policy.copy(), GroupEnv(Say, 8, 4), GroupEnv(Say, 12, 2)
        recording = Recording(tmp_path / name)
        pair: Any = (envs, test)
        if name == "recorded":
            pair = record(envs, recording), record(test, recording, phase="test")
        train(student, GRPO(), pair[0], settings(test_every=1), tmp_path / name, test=pair[1])
        told = [(tmp_path / name / file).read_bytes() for file in ("metrics.jsonl", "tests.jsonl")]
        ends.append((told, weights_of(student)))
    assert ends[0][0] == ends[1][0]
    assert ends[0][1].equal(ends[1][1])
    attempts = read(tmp_path / "recorded" / "attempts.jsonl")
    order = [(row["phase"], row["generations"]) for row in attempts]
    assert (
        order
        == [*[("test", 0)] * 12, *[("train", 0)] * 8, *[("test", 8)] * 12, *[("train", 8)] * 8] + [("test", 16)] * 12
    )
    tests = read(tmp_path / "recorded" / "tests.jsonl")
    for number, row in enumerate(tests):
        own = [each for each in attempts if (each["phase"], each["generations"]) == ("test", 8 * number)]
        assert row["success_rate"] == pytest.approx(sum(each["passed"] for each in own) / 12)
        assert row["tokens_mean"] == pytest.approx(sum(each["tokens"] for each in own) / 12)


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
        advantages = [sample.advantages[0] for sample in GRPO().samples(group)]
        assert advantages == pytest.approx([reward - sum(rewards) / 3 for reward in rewards])


def test_a_step_in_which_everything_broke_is_played_again(policy: Policy, tmp_path: Path) -> None:
    whole, broken = (GroupEnv(Recovering, num_envs=8, group_size=4) for _ in range(2))
    break_(broken, 2)
    results = []
    for name, envs in (("whole", whole), ("broken", broken)):
        student = policy.copy()
        train(student, GRPO(), envs, settings(retries=2), tmp_path / name)
        results.append((read(tmp_path / name / "metrics.jsonl"), weights_of(student)))
    (rows, weights), (again, others) = results
    assert again == [{**rows[0], "attempts": 24, "broken_attempts": 16}, rows[1]]
    assert weights.equal(others)


def test_as_many_attempts_are_counted_as_the_environment_wrote(policy: Policy, tmp_path: Path) -> None:
    """A run goes on where the recording has so many; those that broke and were played again are in it."""
    envs = GroupEnv(Recovering, num_envs=8, group_size=4, broken=1)
    loop = settings(steps=2, batches=3, checkpoint_every=1)
    rows = train(policy, GRPO(), record(envs, tmp_path), loop, tmp_path)
    attempts = read(tmp_path / "attempts.jsonl")
    assert saved_attempts(tmp_path) == sum(row["attempts"] for row in rows) == len(attempts)
    assert rows[0]["broken_attempts"] == sum(row["error"] != "" for row in attempts) == 8


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
    row, *_ = train_step(policy, algorithm, envs, make_optimizer(policy, settings()), settings(batches=3), 0)
    assert envs.asked[0] == envs.asked[1]
    assert (row["broken_attempts"], row["attempts"]) == (6, 6 * len(envs.asked))
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
    [
        {"steps": -1},
        {"batches": 0},
        {"retries": -1},
        {"checkpoint_every": -1},
        {"test_every": -1},
        {"history": "all"},
        {"minibatches": 0},
    ],
    ids=str,
)
def test_a_setting_that_makes_no_sense_is_refused_before_anything_runs(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        TrainSettings(**wrong)


def test_no_steps_are_no_error(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    before = weights_of(policy)
    assert train(policy, GRPO(), envs, settings(steps=0), tmp_path) == []
    assert weights_of(policy).equal(before)
