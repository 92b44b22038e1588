"""The loop."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from letters import Say

from sdpo_agent import GRPO, SDPO, Algorithm, GRPOSettings, Policy, Reprompt, SDPOSettings, TrainSettings, train
from sdpo_agent.train import _tasks, train_step
from sdpo_envs import GroupEnv, InfrastructureError, SettingError


def settings(**changes: Any) -> TrainSettings:
    return TrainSettings(**{"steps": 2, "learning_rate": 1e-3, "max_tokens": 4, "weight_decay": 0.0, **changes})


def algorithms(policy: Policy) -> dict[str, Algorithm]:
    # A teacher that follows quickly unlearns to read hindsight, since only plain prompts are trained.
    return {"grpo": GRPO(), "sdpo": SDPO(policy, SDPOSettings(teacher_rate=0.01))}


@pytest.mark.parametrize("name", ["grpo", "sdpo"])
def test_learning_raises_the_success_rate(policy: Policy, envs: GroupEnv, tmp_path: Path, name: str) -> None:
    rows = train(policy, algorithms(policy)[name], envs, settings(steps=40, learning_rate=1e-3), tmp_path)
    assert sum(row["success_rate"] for row in rows[:2]) / 2 < 0.7
    assert sum(row["success_rate"] for row in rows[-5:]) / 5 > 0.9


def test_every_step_is_a_line_of_json(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    rows = train(policy, SDPO(policy), envs, settings(), tmp_path / "new" / "run")
    lines = (tmp_path / "new" / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert [row["step"] for row in rows] == [1, 2]
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert {"loss", "grad_norm", "taught_share", "teacher_gap", "success_rate", "peer_share"} <= set(rows[0])


@pytest.mark.parametrize("name", ["grpo", "sdpo"])
def test_a_resumed_run_repeats_an_uninterrupted_one(policy: Policy, envs: GroupEnv, tmp_path: Path, name: str) -> None:
    whole, parts = policy.copy(), policy.copy()
    train(whole, algorithms(whole)[name], envs, settings(steps=4, minibatches=2), tmp_path / "whole")
    train(parts, algorithms(parts)[name], envs, settings(steps=2, minibatches=2), tmp_path / "parts")
    fresh = policy.copy()
    rows = train(
        fresh, algorithms(fresh)[name], envs, settings(steps=4, minibatches=2), tmp_path / "parts", resume=True
    )
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    for ours, theirs in zip(fresh.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_a_run_is_never_overwritten(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    train(policy, GRPO(), envs, settings(steps=1), tmp_path)
    with pytest.raises(FileExistsError, match="already holds a run"):
        train(policy, GRPO(), envs, settings(steps=1), tmp_path)


def test_a_refused_run_leaves_what_was_there(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    train(policy, GRPO(), envs, settings(steps=1), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError):
        train(policy, SDPO(policy), envs, settings(steps=1), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_there_is_nothing_to_resume_in_an_empty_folder(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no run"):
        train(policy, GRPO(), envs, settings(), tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()


def test_a_run_that_broke_before_its_first_checkpoint_resumes_from_the_start(
    policy: Policy, envs: GroupEnv, tmp_path: Path
) -> None:
    for env in envs.envs:
        env.unwrapped.broken = 1
    with pytest.raises(InfrastructureError):
        train(policy, GRPO(), envs, settings(), tmp_path)
    for env in envs.envs:
        env.unwrapped.broken = 0
    assert [row["step"] for row in train(policy, GRPO(), envs, settings(), tmp_path, resume=True)] == [1, 2]


def test_a_run_is_not_resumed_by_another_algorithm(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    train(policy, GRPO(), envs, settings(steps=1), tmp_path)
    with pytest.raises(SettingError, match="begun with the algorithm GRPO, not SDPO"):
        train(policy, SDPO(policy), envs, settings(steps=2), tmp_path, resume=True)
    with pytest.raises(SettingError, match="begun with the settings"):
        train(policy, GRPO(GRPOSettings(scale="std")), envs, settings(steps=2), tmp_path, resume=True)
    with pytest.raises(SettingError, match="begun with the loop"):
        train(policy, GRPO(), envs, settings(steps=2, learning_rate=1.0), tmp_path, resume=True)


def test_a_crash_between_two_renames_leaves_a_state_to_resume(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    train(policy, GRPO(), envs, settings(steps=1), tmp_path)
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.old")
    rows = train(policy, GRPO(), envs, settings(steps=2), tmp_path, resume=True)
    assert [row["step"] for row in rows] == [1, 2]
    assert not (tmp_path / "checkpoint.old").exists()


def test_a_checkpoint_holds_the_policy(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    train(policy, GRPO(), envs, settings(checkpoint_every=1), tmp_path)
    loaded = Policy.load(tmp_path / "checkpoint" / "policy")
    for ours, theirs in zip(loaded.parameters(), policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert not (tmp_path / "checkpoint.new").exists()


@pytest.mark.parametrize("aggregate", ["token-mean", "sequence-mean"])
@pytest.mark.parametrize("name", ["grpo", "sdpo"])
def test_the_size_of_a_microbatch_changes_nothing(policy: Policy, envs: GroupEnv, name: str, aggregate: Any) -> None:
    results = []
    for microbatch in (3, 24):
        student = policy.copy()
        algorithm: Algorithm = GRPO(GRPOSettings(aggregate=aggregate))
        if name == "sdpo":
            algorithm = SDPO(student, SDPOSettings(aggregate=aggregate))
        optimizer = torch.optim.SGD(student.parameters(), 0.1)
        row = train_step(student, algorithm, envs, optimizer, settings(microbatch=microbatch, max_grad_norm=1e9), 0)
        results.append((row["loss"], row["grad_norm"], torch.cat([p.detach().flatten() for p in student.parameters()])))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-3, abs=1e-7)
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-3)
    torch.testing.assert_close(results[0][2], results[1][2], rtol=1e-3, atol=1e-5)


def test_equal_seeds_meet_equal_tasks_whatever_the_algorithm() -> None:
    ids = [f"task {number}" for number in range(10)]
    assert _tasks(ids, 4, seed=1, step=7) == _tasks(ids, 4, seed=1, step=7)
    assert [_tasks(ids, 4, 1, step) for step in range(5)] != [_tasks(ids, 4, 2, step) for step in range(5)]


@pytest.mark.parametrize(("count", "tasks"), [(4, 10), (3, 3), (7, 2), (1, 5)])
def test_every_task_comes_once_before_any_comes_again(count: int, tasks: int) -> None:
    ids = [f"task {number}" for number in range(tasks)]
    chosen = [task for step in range(tasks * 3) for task in _tasks(ids, count, seed=0, step=step)]
    for epoch in range(len(chosen) // tasks):
        assert Counter(chosen[epoch * tasks : (epoch + 1) * tasks]) == Counter(ids)


def test_broken_attempts_are_counted_and_teach_nothing(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    for env in envs.envs[::2]:
        env.unwrapped.broken = 1
    (row,) = train(policy, GRPO(), envs, settings(steps=1), tmp_path)
    assert row["broken_attempts"] == 12
    assert row["taught_share"] <= 0.5
    assert np.isfinite(row["reward_mean"])


def test_a_step_in_which_everything_breaks_ends_the_run(policy: Policy, tmp_path: Path) -> None:
    envs = GroupEnv(Say, num_envs=2, group_size=2, broken=1)
    with pytest.raises(InfrastructureError, match="the judge is out"):
        train(policy, GRPO(), envs, settings(), tmp_path)


def test_a_step_with_nothing_to_teach_changes_nothing_in_spite_of_momentum(policy: Policy, envs: GroupEnv) -> None:
    optimizer = torch.optim.AdamW(policy.parameters(), 1e-2)
    train_step(policy, GRPO(), envs, optimizer, settings(learning_rate=1e-2), 0)
    before = [parameter.detach().clone() for parameter in policy.parameters()]
    alone = GroupEnv(Say, num_envs=3, group_size=1)
    row = train_step(policy, GRPO(), alone, optimizer, settings(learning_rate=1e-2), 1)
    assert (row["optimizer_steps"], row["taught_share"], row["loss"]) == (0, 0, 0)
    for ours, theirs in zip(policy.parameters(), before, strict=True):
        assert torch.equal(ours, theirs)


def test_a_gradient_that_is_not_finite_is_counted_and_not_followed(policy: Policy, envs: GroupEnv) -> None:
    class Broken(GRPO):
        def loss(self, *args: Any) -> Any:
            loss, metrics = super().loss(*args)
            return loss * torch.nan, metrics

    before = [parameter.detach().clone() for parameter in policy.parameters()]
    optimizer = torch.optim.SGD(policy.parameters(), 1.0)
    row = train_step(policy, Broken(), envs, optimizer, settings(), 0)
    assert (row["optimizer_steps"], row["broken_gradients"]) == (0, 1)
    assert np.isfinite(list(row.values())).all()
    for ours, theirs in zip(policy.parameters(), before, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: TrainSettings(minibatches=0),
        lambda: TrainSettings(microbatch=0),
        lambda: TrainSettings(temperature=0),
        lambda: TrainSettings(learning_rate=float("nan")),
        lambda: SDPOSettings(top_k=0),
        lambda: SDPOSettings(alpha=2.0),
        lambda: SDPOSettings(teacher_rate=7),
        lambda: SDPOSettings(support="fulll"),
        lambda: Reprompt(feedback="of"),
        lambda: Reprompt(limit=-1),
        lambda: GRPOSettings(scale="sdt"),
        lambda: GRPOSettings(clip_low=-0.1),
        lambda: GRPOSettings(dual_clip=0.5),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_before_anything_runs(wrong: Any) -> None:
    with pytest.raises(SettingError):
        wrong()


def test_the_warm_up_raises_the_learning_rate_step_by_step(policy: Policy, envs: GroupEnv) -> None:
    optimizer = torch.optim.SGD(policy.parameters(), 1.0)
    rates = []
    for step in range(4):
        train_step(policy, GRPO(), envs, optimizer, settings(learning_rate=0.3, warmup_steps=2), step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.3])
