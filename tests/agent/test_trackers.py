"""TensorBoard, W&B without its server and trackio without a Space show what stands in the folder of a run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tracked
from letters import SayEven
from runs import begin, settings

from sdpo_agent import train
from sdpo_agent.__main__ import parse
from sdpo_agent.run import Run, State
from sdpo_agent.trackers import tracking
from sdpo_envs import GroupEnv, MissingExtra, SettingError

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio"}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the script with a home of its own; return what it tells, and leave nothing elsewhere."""
    for package in PACKAGES:
        pytest.importorskip(package, reason=f"skips trackers: {package} of the extra 'trackers' is not installed")
    folder = tmp_path_factory.mktemp("tracked")
    own = {
        "WANDB_MODE": "offline",
        "HOME": str(folder / "home"),
        "TRACKIO_DIR": str(folder / "trackio"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    (folder / "home").mkdir()
    here = {**kept, **own, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    arguments = [sys.executable, tracked.__file__, str(folder)]
    done = subprocess.run(arguments, env=here, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads((folder / "told.json").read_text())
    found["files"] = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return found


def expected(run: dict[str, Any], name: str) -> list[tuple[int, float]]:
    """What the record says of a metric such as ``train/loss``, by step."""
    kind, _, metric = name.partition("/")
    source = run["record"]["tests" if kind == "test" else "timing" if metric.startswith("seconds") else "metrics"]
    return [(int(row["step"]), row[metric]) for row in source]


def names_of(run: dict[str, Any]) -> set[str]:
    record = run["record"]
    train, test = (set().union(*map(set, record[name])) for name in ("metrics", "tests"))
    return {f"train/{name}" for name in train | set(record["timing"][0])} | {f"test/{name}" for name in test}


@pytest.mark.parametrize("kind", ["broken", "late"])
def test_tensorboard_shows_every_row_of_the_record_once(told: dict[str, Any], kind: str) -> None:
    values = told[kind]["tensorboard"]["values"]
    assert {name for name in names_of(told[kind]) if not name.endswith("/step")} <= set(values)
    for name, points in values.items():
        wanted = expected(told[kind], name)
        assert [step for step, _ in points] == [step for step, _ in wanted], name
        assert [value for _, value in points] == pytest.approx([value for _, value in wanted], rel=1e-6), name


@pytest.mark.parametrize("kind", ["broken", "late"])
def test_settings_are_told_once(told: dict[str, Any], kind: str) -> None:
    assert told[kind]["tensorboard"]["settings"] == 1
    (config,) = told[kind]["trackio"]["configs"]
    assert (config["algorithm"], config["made"]) == ("GRPO", {"by": "hand", "of": None})
    for run in told[kind]["wandb"]:
        assert (run["config"]["algorithm"], run["config"]["loop"]["steps"]) == ("GRPO", 4)


def test_wandb_keeps_an_offline_run_for_each_start_under_one_id(told: dict[str, Any]) -> None:
    first, second = told["broken"]["wandb"]
    assert first["id"] == second["id"] == told["broken"]["known"]["id"]
    assert (first["project"], first["name"]) == ("sdpo", "broken")
    loss, tests = expected(told["broken"], "train/loss"), expected(told["broken"], "test/success_rate")
    assert [tuple(each) for each in first["values"]["train/loss"]] == loss[:3]
    assert [tuple(each) for each in second["values"]["train/loss"]] == loss[2:]
    assert [tuple(each) for run in (first, second) for each in run["values"]["test/success_rate"]] == tests


def test_trackers_are_finished_and_a_run_that_broke_counts_as_failed(told: dict[str, Any]) -> None:
    assert [run["exit"] for run in told["broken"]["wandb"]] == [1, 0]


def test_trackio_goes_on_with_a_run_of_one_name(told: dict[str, Any]) -> None:
    assert told["broken"]["trackio"]["names"] == [f"broken-{told['broken']['known']['id']}"]
    points = [tuple(each) for each in told["broken"]["trackio"]["values"]["train/loss"]]
    loss = expected(told["broken"], "train/loss")
    assert points == [*loss[:3], *loss[2:]]  # step 3 was made again
    assert dict(points) == dict(loss)


def test_one_that_comes_late_is_told_of_the_steps_before(told: dict[str, Any]) -> None:
    late = told["late"]
    assert late["known"]["begun"] == ["tensorboard", "trackio"]
    for name in ("train/loss", "train/seconds_sampling", "test/success_rate"):
        assert [tuple(each) for each in late["trackio"]["values"][name]] == expected(late, name)


def test_nothing_is_written_elsewhere_but_the_logs_of_wandbs_own_service(told: dict[str, Any]) -> None:
    places = ("broken/", "late/", "refused/", "trackio/", "cache/", "told.json", "home/.cache/wandb/logs/")
    assert [name for name in told["files"] if not name.startswith(places)] == []


def test_wandb_without_an_account_says_what_to_do(told: dict[str, Any]) -> None:
    assert told["refused"].startswith("W&B cannot start: ")
    assert told["refused"].endswith(
        "Log in by `wandb login`, or set WANDB_MODE=offline and `wandb sync` the run later."
    )


@pytest.mark.parametrize("name", PACKAGES)
def test_a_tracker_that_is_not_installed_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    policy, algorithm = begin("grpo")
    envs: Any = GroupEnv(SayEven, num_envs=6, group_size=3)
    with pytest.raises(MissingExtra, match=rf"'{name}'.*sdpo-envs\[trackers\]"):
        train(policy, algorithm, envs, settings(tracker=(name,)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_is_not_offered_is_an_error() -> None:
    with pytest.raises(SettingError, match="tracker='tensorbord' is not offered; did you mean 'tensorboard'"):
        settings(tracker=("tensorbord",))


def test_trackers_are_named_on_the_command_line() -> None:
    command: Any = parse(["train", "sdpo", "--tracker", "tensorboard", "trackio"])
    assert command.loop.tracker == ("tensorboard", "trackio")
    assert parse(["train", "sdpo"]).loop.tracker == ()  # type: ignore[union-attr]


def test_of_several_processes_the_first_alone_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdpo_agent.trackers._made", None)
    other = Run(tmp_path / "run", {}, resume=False, owner=False)
    with tracking(("tensorboard", "wandb", "trackio"), other, State([], [], {}, {})) as log:
        log("train", {"step": 1.0, "loss": 0.5})
    assert not (tmp_path / "run").exists()
