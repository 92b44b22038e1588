"""The folder of a run: begun, killed at any point, resumed as if nothing had been."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import runs
import torch
from byhand import weights_of
from letters import Say

from sdpo_agent import GRPO, SDPO, Algorithm, GRPOSettings, Policy, SDPOSettings, TrainSettings, train
from sdpo_agent.run import Run, State, require_run, saved_attempts
from sdpo_envs import GroupEnv, InfrastructureError, SettingError

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # of peft


def settings(**changes: Any) -> TrainSettings:
    return TrainSettings(**{"steps": 2, "learning_rate": 1e-3, "max_tokens": 4, "checkpoint_every": 2, **changes})


def ran(*arguments: str) -> dict[str, Any]:
    """Run `runs.py` in a process of its own; return what it tells."""
    here = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, runs.__file__, *arguments]
    done = subprocess.run(command, env=here, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


# --- killed


def test_a_run_that_is_killed_over_and_over_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    told = ran("kill", str(tmp_path), "grpo", "kl", "ema", "trust-region", "lora-ema", "dynamic")
    assert len(told) == 6
    for kind, found in told.items():
        for name in (*runs.SAME, "warnings", "ends", "states", "files"):
            assert found[name] is True, (kind, name, found)
        assert found["rows"] == runs.STEPS
    assert sum(found["clock"] for found in told.values()) >= 6
    assert sum(found["file"] for found in told.values()) >= 6


def test_a_run_that_is_killed_at_any_operation_on_files_goes_on(tmp_path: Path) -> None:
    told = ran("once", str(tmp_path))
    assert told["wrong"] == []
    assert told["kills"] > 40
    assert told["unbegun"] > 3  # there was a recording, or part of one, and no run


def test_a_checkpoint_that_is_killed_at_any_operation_is_the_old_or_the_new(tmp_path: Path) -> None:
    found = ran("save", str(tmp_path / "save"))["found"]
    olds, news = [1, 1.0, 3], [2, 2.0, 3]  # steps, weights, and steps of the checkpoint made afterwards
    files = ["checkpoint", "config.json", "metrics.jsonl", "timing.jsonl"]
    assert len(found) > 15
    states = [each[:3] for each in found]
    assert states == [olds] * states.count(olds) + [news] * states.count(news)
    assert min(states.count(olds), states.count(news)) > 3
    assert all(each[3] == files for each in found)


# --- what a crash may leave behind


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs of one kind: of six steps, and of three with a checkpoint at the second and at the third."""
    folder = tmp_path_factory.mktemp("whole")
    runs.play("ema", folder / "six", resume=False)
    runs.play("ema", folder / "three", resume=False, steps=3)
    return folder / "six", folder / "three"


@pytest.fixture
def broken(whole: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole[1], tmp_path / "broken"))


def assert_goes_on(broken: Path, whole: Path) -> None:
    runs.play("ema", broken, resume=True)
    for name in ("metrics.jsonl", "tests.jsonl"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    ends = [torch.load(each.parent / f"{each.name}-0.pt") for each in (broken, whole)]
    assert runs.same(*ends)
    assert sorted(path.name for path in broken.iterdir()) == sorted(path.name for path in whole.iterdir())
    assert len((broken / "timing.jsonl").read_text().splitlines()) == runs.STEPS
    assert runs.warnings(broken) == runs.warnings(whole)


def between_the_renames(folder: Path) -> None:
    shutil.copytree(folder / "checkpoint", folder / "checkpoint.new")
    (folder / "checkpoint").rename(folder / "checkpoint.old")


def before_the_old_one_is_removed(folder: Path) -> None:
    shutil.copytree(folder / "checkpoint", folder / "checkpoint.old")
    shutil.rmtree(folder / "checkpoint.old" / "policy")


def in_the_middle_of_writing(folder: Path) -> None:
    (folder / "checkpoint.new" / "policy").mkdir(parents=True)
    (folder / "checkpoint.new" / "policy" / "model.safetensors").write_bytes(b"half")


def torn_row(folder: Path) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4.0, "rew')


def torn_test(folder: Path) -> None:
    with (folder / "tests.jsonl").open("a") as file:
        file.write('{"step": 4.0, "rew')


def torn_byte(folder: Path) -> None:
    for name in ("metrics.jsonl", "tests.jsonl"):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-40])


def rows_after_the_checkpoint(folder: Path) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4.0, "loss": 7.0}\n{"step": 5.0, "loss": 8.0}\n')
    with (folder / "tests.jsonl").open("a") as file:
        file.write('{"step": 4.0, "success_rate": 7.0}\n')


def rows_are_missing(folder: Path) -> None:
    for name in ("metrics.jsonl", "timing.jsonl", "tests.jsonl"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(lines[:1]))


def rows_are_gone(folder: Path) -> None:
    for name in ("metrics.jsonl", "tests.jsonl"):
        (folder / name).unlink()
    (folder / "timing.jsonl").write_text("")


def new_files_are_left(folder: Path) -> None:
    for name in ("metrics.jsonl.new", "config.json.new", "timing.jsonl.new", "tests.jsonl.new"):
        (folder / name).write_text("half")


def torn_warning(folder: Path) -> None:
    with (folder / "warnings.txt").open("a") as file:
        file.write("step 4: what the watch said\nst")


def torn_number_of_a_warning(folder: Path) -> None:
    with (folder / "warnings.txt").open("a") as file:
        file.write("step 1")  # of "step 12: ..."


def there_is_no_checkpoint(folder: Path) -> None:
    shutil.rmtree(folder / "checkpoint")


CRASHES = [
    between_the_renames,
    before_the_old_one_is_removed,
    in_the_middle_of_writing,
    torn_row,
    torn_test,
    torn_byte,
    rows_after_the_checkpoint,
    rows_are_missing,
    rows_are_gone,
    new_files_are_left,
    torn_warning,
    torn_number_of_a_warning,
    there_is_no_checkpoint,
]


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_is_made_good(broken: Path, whole: tuple[Path, Path], crash: Any) -> None:
    crash(broken)
    assert_goes_on(broken, whole[0])


@pytest.mark.parametrize("crash", [before_the_old_one_is_removed, in_the_middle_of_writing])
def test_what_a_crash_left_goes_even_if_there_is_nothing_left_to_do(broken: Path, crash: Any) -> None:
    before = sorted(path.name for path in broken.iterdir())
    crash(broken)
    runs.play("ema", broken, resume=True, steps=3)
    assert sorted(path.name for path in broken.iterdir()) == before


def test_warnings_of_steps_that_are_kept_are_kept(broken: Path) -> None:
    (broken / "warnings.txt").write_text("step 2: a: b\nstep 3: c\nstep 4: d\nstep 30: e\nste")
    Run(broken, {}, resume=True, owner=False).load(runs.begin("ema")[0])
    assert (broken / "warnings.txt").read_text().endswith("ste")  # one that does not own it changes nothing
    runs.play("ema", broken, resume=True, steps=3)
    assert (broken / "warnings.txt").read_text() == "step 2: a: b\nstep 3: c\n"


# --- resumed, refused


@pytest.mark.parametrize("name", ["grpo", "sdpo"])
def test_a_resumed_run_repeats_an_uninterrupted_one(policy: Policy, envs: GroupEnv, tmp_path: Path, name: str) -> None:
    def begun() -> tuple[Policy, Algorithm]:
        fresh = policy.copy()
        return fresh, GRPO() if name == "grpo" else SDPO(fresh, SDPOSettings(teacher_rate=0.01))

    ends = []
    for folder, lengths in (("whole", [5]), ("parts", [1, 3, 5])):
        for steps in lengths:
            student, algorithm = begun()
            loop = settings(steps=steps, minibatches=2)
            rows = train(student, algorithm, envs, loop, tmp_path / folder, resume=steps != lengths[0])
        ends.append(weights_of(student))
        assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert torch.equal(*ends)
    whole, parts = ((tmp_path / folder / "metrics.jsonl").read_bytes() for folder in ("whole", "parts"))
    assert whole == parts


def test_a_run_that_is_done_is_done(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    rows = train(policy, GRPO(), envs, settings(), tmp_path)
    after, fresh = weights_of(policy), policy.copy()
    assert train(fresh, GRPO(), envs, settings(), tmp_path, resume=True) == rows
    assert train(fresh, GRPO(), envs, settings(steps=1), tmp_path, resume=True) == rows
    assert torch.equal(weights_of(fresh), after)


def test_a_run_is_never_overwritten(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    train(policy, GRPO(), envs, settings(steps=1), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for algorithm in (GRPO(), SDPO(policy)):
        with pytest.raises(FileExistsError, match="already holds a run"):
            train(policy, algorithm, envs, settings(steps=1), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_there_is_nothing_to_resume_in_an_empty_folder(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no run"):
        train(policy, GRPO(), envs, settings(), tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()


def test_a_run_that_broke_before_its_first_checkpoint_resumes_from_the_start(policy: Policy, tmp_path: Path) -> None:
    envs = GroupEnv(Say, num_envs=4, group_size=2, broken=1)
    with pytest.raises(InfrastructureError):
        train(policy, GRPO(), envs, settings(), tmp_path)
    envs = GroupEnv(Say, num_envs=4, group_size=2)
    assert [row["step"] for row in train(policy, GRPO(), envs, settings(), tmp_path, resume=True)] == [1, 2]


def test_a_run_is_not_resumed_by_another_algorithm(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    train(policy, GRPO(), envs, settings(steps=1), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    others: list[tuple[Algorithm, dict[str, Any], str]] = [
        (SDPO(policy), {}, "begun with the algorithm GRPO, not SDPO"),
        (GRPO(GRPOSettings(aggregate="sequence-mean")), {}, "begun with the settings"),
        (GRPO(), {"learning_rate": 1.0}, "begun with the loop"),
        (GRPO(), {"minibatches": 2}, "begun with the loop"),
        (GRPO(), {"seed": 1}, "begun with the loop"),
        (GRPO(), {"history": "conversation"}, "begun with the loop"),
        (GRPO(), {"batches": 2}, "begun with the loop"),
    ]
    for algorithm, changes, words in others:
        with pytest.raises(SettingError, match=words):
            train(policy, algorithm, envs, settings(steps=2, **changes), tmp_path, resume=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_how_long_it_is_and_how_it_is_stored_may_change(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    train(policy, GRPO(), envs, settings(steps=1), tmp_path)
    changes: dict[str, Any] = {"checkpoint_every": 1, "test_every": 1, "microbatch": 3, "retries": 9}
    rows = train(policy, GRPO(), envs, settings(**changes), tmp_path, resume=True)
    assert len(rows) == 2
    assert json.loads((tmp_path / "config.json").read_text())["loop"]["retries"] == 9


def test_a_run_is_not_resumed_in_another_world(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    train(policy, GRPO(), envs, settings(steps=1), tmp_path, told={"tasks": 4})
    for told in ({"tasks": 8}, {}, {"tasks": 4, "group_size": 2}):
        with pytest.raises(SettingError, match=r"begun with the (tasks 4, not|group_size None, not 2)"):
            train(policy, GRPO(), envs, settings(steps=2), tmp_path, resume=True, told=told)


# --- what is in it


def test_the_settings_are_written_down(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    train(policy, SDPO(policy), envs, settings(steps=0), tmp_path, told={"env": "say", "path": Path("x")})
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["algorithm"], config["env"], config["path"]) == ("SDPO", "say", "x")
    assert config["settings"]["alpha"] == 0.5
    assert config["settings"]["reprompt"]["feedback"] == "without-peer"
    assert config["loop"]["max_tokens"] == 4


def test_a_checkpoint_holds_a_policy_to_load(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    train(policy, GRPO(), envs, settings(checkpoint_every=1), tmp_path)
    loaded = Policy.load(tmp_path / "checkpoint" / "policy")
    assert torch.equal(weights_of(loaded), weights_of(policy))
    assert not (tmp_path / "checkpoint.new").exists()
    assert not (tmp_path / "checkpoint.old").exists()


def test_checkpoints_come_as_often_as_they_should(
    policy: Policy, envs: GroupEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(Run, "save", lambda self, policy, state: saved.append(len(state.metrics)))
    for every, expected in ((2, [2, 4, 5]), (0, [5]), (9, [5]), (1, [1, 2, 3, 4, 5])):
        saved.clear()
        train(policy, GRPO(), envs, settings(steps=5, checkpoint_every=every), tmp_path / str(every))
        assert saved == expected


def test_one_that_does_not_own_it_reads_and_writes_nothing(policy: Policy, envs: GroupEnv, tmp_path: Path) -> None:
    train(policy, GRPO(), envs, settings(), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    reader = Run(tmp_path, {}, resume=True, owner=False)
    fresh = policy.copy()
    with torch.no_grad():
        next(iter(fresh.trainable())).zero_()
    state = reader.load(fresh)
    assert state is not None
    assert len(state.metrics) == 2
    assert torch.equal(weights_of(fresh), weights_of(policy))
    reader.save(fresh, State([], [], {}, {}))
    reader.append("metrics.jsonl", [{"step": 9.0}])
    reader.rewrite("metrics.jsonl", [])
    reader.rewrite("tests.jsonl", [{"step": 9.0}])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_none_are_no_reason_to_begin_a_file(tmp_path: Path) -> None:
    folder = Run(tmp_path / "run", {}, resume=False)
    folder.rewrite("tests.jsonl", [])
    assert not (folder.folder / "tests.jsonl").exists()
    folder.rewrite("tests.jsonl", [{"step": 0.0}])
    assert folder.read("tests.jsonl") == [{"step": 0.0}]
    folder.rewrite("tests.jsonl", [])
    assert (folder.folder / "tests.jsonl").read_bytes() == b""


def test_a_checkpoint_from_before_there_were_tests_is_taken_up(broken: Path) -> None:
    path = broken / "checkpoint" / "state.pt"
    old = torch.load(path)
    del old["tests"]
    torch.save(old, path)
    state = Run(broken, json.loads((broken / "config.json").read_text()), resume=True).load(runs.begin("ema")[0])
    assert state is not None
    assert (len(state.metrics), state.tests) == (3, [])


# --- how many attempts there were


def test_attempts_are_counted_up_to_the_last_whole_state(whole: tuple[Path, Path], broken: Path) -> None:
    assert saved_attempts(whole[0]) == 12 * runs.STEPS
    rows_after_the_checkpoint(broken)
    assert saved_attempts(broken) == 12 * 3
    in_the_middle_of_writing(broken)
    assert saved_attempts(broken) == 12 * 3
    shutil.rmtree(broken / "checkpoint.new")
    between_the_renames(broken)
    assert saved_attempts(str(broken)) == 12 * 3
    shutil.rmtree(broken / "checkpoint.old")
    assert saved_attempts(broken) is None
    assert saved_attempts(broken / "none") is None


def test_a_run_is_there_once_it_has_begun(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run holds no run to resume"):
        require_run(tmp_path / "run")
    Run(tmp_path / "run", {}, resume=False)
    require_run(tmp_path / "run")
