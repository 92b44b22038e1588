"""The command line."""

import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest
from letters import Say

from sdpo_agent.__main__ import make_groups, parse_settings
from sdpo_envs import SettingError


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sdpo_agent", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("algorithm", ["sdpo", "grpo"])
def test_train_writes_a_run(tmp_path: Path, algorithm: str) -> None:
    folder = tmp_path / "run"
    done = run(
        *("train", "--algorithm", algorithm, "--env", "sdpo/SciKnowEval-v0", "--env-settings", '{"domain": "physics"}'),
        *("--run", str(folder), "--steps", "2", "--tasks", "2", "--group-size", "2", "--max-tokens", "8"),
        *("--sdpo.teacher-rate", "0.5", "--seed", "3"),
    )
    assert done.returncode == 0, done.stderr
    assert "2 steps" in done.stdout
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
    config = json.loads((folder / "config.json").read_text())
    assert config["algorithm"].lower() == algorithm
    assert config["settings"].get("teacher_rate") == (0.5 if algorithm == "sdpo" else None)
    assert config["loop"]["seed"] == 3
    assert config["env"] == "sdpo/SciKnowEval-v0"


def test_the_help_names_every_setting_with_its_meaning() -> None:
    done = run("train", "--help")
    assert done.returncode == 0
    for flag in (
        "--algorithm",
        "--env",
        "--learning-rate",
        "--sdpo.alpha",
        "--sdpo.reprompt.feedback",
        "--grpo.clip-high",
    ):
        assert flag in done.stdout
    assert "Jensen-Shannon" in done.stdout


def test_an_unknown_environment_ends_with_an_error() -> None:
    done = run("train", "--env", "sdpo/NoSuch-v0")
    assert done.returncode != 0
    assert "NoSuch" in done.stderr


@pytest.mark.parametrize("text", ["{", "[1]", "domain=physics"])
def test_settings_that_are_no_json_object_are_refused(text: str) -> None:
    with pytest.raises(SettingError, match="JSON object"):
        parse_settings(text)


def test_an_environment_without_groups_is_refused_with_the_remedy() -> None:
    gymnasium.register("agent-test/Alone-v0", entry_point=Say)
    try:
        for env_id in ("agent-test/Alone-v0", "CartPole-v1"):
            with pytest.raises(SettingError, match="has no groups; register it with"):
                make_groups(env_id, 2, 2, {})
    finally:
        del gymnasium.registry["agent-test/Alone-v0"]


def test_a_misspelt_keyword_of_the_environment_is_not_mistaken_for_a_lack_of_groups() -> None:
    with pytest.raises(TypeError, match="domian"):
        make_groups("sdpo/SciKnowEval-v0", 1, 2, {"domian": "physics"})
