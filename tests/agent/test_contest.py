"""The benchmark: tuned alike, trained, compared. A sweep of real runs, and many of a fake that writes alike."""

import csv
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import riddles

from sdpo_agent import Policy
from sdpo_agent.__main__ import Bench, Train, parse
from sdpo_agent.contenders import CONTENDERS, Contender
from sdpo_agent.contest import ContestSettings, _job, command, contest
from sdpo_envs import InfrastructureError, SettingError

FAKE = """
import json, os, sys
given = dict(zip(sys.argv[3::2], sys.argv[4::2]))
assert "--resume" not in sys.argv
passed, seed = int(given.get("--alpha", 5)), int(given["--seed"])
if passed < 0:
    sys.exit("alpha is no good")
with open(os.path.join(given["--run"], "recording.json"), "w") as file:
    json.dump({"told": {"algorithm": given["--name"], "seed": seed}, "phases": {}}, file)
with open(os.path.join(given["--run"], "attempts.jsonl"), "w") as file:
    for generations in range(0, 5):
        for attempt in range(10):
            row = {"phase": "test", "generations": generations, "task": "t", "passed": attempt < passed + seed % 2}
            file.write(json.dumps(row) + chr(10))
        file.write(json.dumps({"phase": "train", "generations": generations, "task": "t", "passed": False}) + chr(10))
"""


@pytest.fixture
def fake(tmp_path: Path) -> tuple[str, ...]:
    """Makes a run whose success is a tenth of --alpha, and a tenth more for odd seeds."""
    path = tmp_path / "fake.py"
    path.write_text(FAKE)
    return sys.executable, "-I", "-S", str(path), "train"


@pytest.fixture
def settings(tmp_path: Path) -> ContestSettings:
    return ContestSettings(("one", "two"), seeds=2, tuning_seeds=1, steps=1, at_once=4, run=tmp_path / "sweep")


def named(monkeypatch: pytest.MonkeyPatch, **made: Contender) -> None:
    monkeypatch.setattr("sdpo_agent.contenders.CONTENDERS", made)


def commands(folder: Path) -> dict[str, list[str]]:
    """The command of each finished run."""
    return {
        str(path.parent.relative_to(folder)): json.loads(path.read_text()) for path in sorted(folder.rglob("done.json"))
    }


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*.json*")) if "report" not in path.parts}


# --- a sweep of real runs


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> ContestSettings:
    """Two algorithms, one seed, two steps; in the world of their seed."""
    folder = tmp_path_factory.mktemp("real")
    Policy.small(hidden=16, layers=1, heads=2, max_positions=256, seed=1).save(folder / "policy")
    settings = ContestSettings(
        algorithms=("mine=sdpo --teacher frozen --top-k 5", "grpo=grpo"),
        env="letters:agent-test/SayHalf-v0",
        env_settings='{"reveal": true}',
        policy=str(folder / "policy"),
        seeds=1,
        tuning_seeds=0,
        steps=2,
        tasks=2,
        group_size=2,
        test_every=1,
        max_tokens=4,
        flags="--temperature 0.9",
        run=folder / "sweep",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(riddles.__file__).parent))
        contest(settings)
    return settings


def test_the_runs_are_as_the_settings_say(real: ContestSettings) -> None:
    for name, algorithm in (("mine", "SDPO"), ("grpo", "GRPO")):
        folder = real.run / name / "0"
        config = json.loads((folder / "config.json").read_text())
        assert config["algorithm"] == algorithm
        assert (config["tasks"], config["group_size"], config["source"]["policy"]) == (2, 2, real.policy)
        loop = {key: config["loop"][key] for key in ("steps", "test_every", "max_tokens", "seed", "temperature")}
        assert loop == {"steps": 2, "test_every": 1, "max_tokens": 4, "seed": 0, "temperature": 0.9}
        recording = json.loads((folder / "recording.json").read_text())
        assert recording["told"] == {"algorithm": name, "seed": 0}
        assert recording["phases"]["train"]["settings"] == {"reveal": True, "world": 0}
        assert recording["phases"]["test"]["settings"] == {"reveal": True, "world": 0, "split": "test"}
        rows = [json.loads(line) for line in (folder / "attempts.jsonl").read_text().splitlines()]
        assert [row["phase"] for row in rows].count("train") == 2 * 4
        assert [row["phase"] for row in rows].count("test") == 3 * 6
        assert not (folder / "checkpoint").exists()
    assert json.loads((real.run / "mine" / "0" / "config.json").read_text())["settings"]["teacher"] == "frozen"


def test_they_start_alike(real: ContestSettings) -> None:
    """From the same policy, at the same tasks, with the same draws."""
    firsts = []
    for name in ("mine", "grpo"):
        rows = (real.run / name / "0" / "attempts.jsonl").read_text().splitlines()
        firsts.append(rows[: 6 + 4])
    assert firsts[0] == firsts[1]


def test_the_report_says_how_to_make_it(real: ContestSettings) -> None:
    page = (real.run / "report" / "report.html").read_text()
    assert "mine, grpo on letters:agent-test/SayHalf-v0" in page
    assert "sdpo bench --algorithms" in page


def test_what_is_finished_is_not_made_again(real: ContestSettings) -> None:
    before = stamps(real.run)
    contest(real, ("there is no such program",))
    assert stamps(real.run) == before
    with pytest.raises(SettingError, match="was made by"):
        contest(replace(real, steps=3), ("there is no such program",))
    assert stamps(real.run) == before


# --- tuned


def test_each_algorithm_takes_its_best_variant(
    settings: ContestSettings,
    fake: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = Contender("sdpo", "--tail 1", ("--alpha 2", "--alpha 7", "--alpha 4"))
    named(monkeypatch, one=one, two=Contender("grpo", "", ("--alpha 6", "--alpha 1", "")))
    contest(replace(settings, tuning_seeds=2), fake)
    told = json.loads((settings.run / "tuning" / "tuning.json").read_text())
    assert told == [
        {"variant": "one-0", "flags": "sdpo --tail 1 --alpha 2", "final": 0.25, "chosen": False},
        {"variant": "one-1", "flags": "sdpo --tail 1 --alpha 7", "final": 0.75, "chosen": True},
        {"variant": "one-2", "flags": "sdpo --tail 1 --alpha 4", "final": 0.45, "chosen": False},
        {"variant": "two-0", "flags": "grpo --alpha 6", "final": 0.65, "chosen": True},
        {"variant": "two-1", "flags": "grpo --alpha 1", "final": 0.15, "chosen": False},
        {"variant": "two-2", "flags": "grpo", "final": 0.55, "chosen": False},
    ]
    made = commands(settings.run)
    seeds = {name: command[command.index("--seed") + 1] for name, command in made.items()}
    tuning = {f"tuning/{each['variant']}/{seed}": str(seed) for each in told for seed in (1000, 1001)}
    assert seeds == tuning | {f"{name}/{seed}": str(seed) for name in ("one", "two") for seed in (0, 1)}
    assert made["one/0"][-4:] == ["--tail", "1", "--alpha", "7"]
    assert made["two/1"][-2:] == ["--alpha", "6"]
    said = capsys.readouterr().out
    assert "0.75" in said
    assert "report.html" in said


def test_of_equals_the_first_is_taken(
    settings: ContestSettings, fake: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    same = Contender("grpo", "", ("--alpha 3 --kl 0", "--alpha 3"))
    named(monkeypatch, one=same, two=same)
    contest(settings, fake)
    told = json.loads((settings.run / "tuning" / "tuning.json").read_text())
    assert [each["chosen"] for each in told] == [True, False, True, False]


def test_unlike_numbers_of_variants_are_refused_before_anything_runs(
    settings: ContestSettings, monkeypatch: pytest.MonkeyPatch, fake: tuple[str, ...]
) -> None:
    named(monkeypatch, one=Contender("grpo", "", ("", "--kl 1")), two=Contender("sdpo"))
    with pytest.raises(SettingError, match=r"same number of variants, not \{'one': 2, 'two': 1\}.*--tuning-seeds 0"):
        contest(settings, fake)
    assert not settings.run.exists()
    contest(replace(settings, tuning_seeds=0), fake)
    assert list(commands(settings.run)) == ["one/0", "one/1", "two/0", "two/1"]


def test_without_tuning_the_first_variant_is_taken(
    settings: ContestSettings, fake: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Contender("grpo", "", ("--alpha 3", "--alpha 9"))
    named(monkeypatch, one=both, two=both)
    contest(replace(settings, tuning_seeds=0), fake)
    made = commands(settings.run)
    assert all(command[-2:] == ["--alpha", "3"] for command in made.values())
    assert len(made) == 4


# --- compared


def test_only_the_seeds_that_are_asked_for_are_compared(
    settings: ContestSettings,
    fake: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An odd seed succeeds more often, and its folder stays where it is."""
    named(monkeypatch, one=Contender("grpo", "--alpha 4"), two=Contender("grpo", "--alpha 2"))
    for seeds, mean in ((2, 0.45), (1, 0.4)):
        contest(replace(settings, seeds=seeds, tuning_seeds=0), fake)
        with (settings.run / "report" / "summary.csv").open() as file:
            row = next(csv.DictReader(file))
        assert (row["algorithm"], row["quantity"], int(row["seeds"])) == ("one", "final", seeds)
        assert float(row["value"]) == pytest.approx(mean)
    assert len(commands(settings.run)) == 4


def test_a_run_that_fails_ends_the_sweep_which_goes_on_where_it_was(
    settings: ContestSettings, fake: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    untuned = replace(settings, tuning_seeds=0, at_once=1)
    named(monkeypatch, one=Contender("grpo", "--alpha 4"), two=Contender("grpo", "--alpha -1"))
    with pytest.raises(InfrastructureError, match="two/0 failed with exit code 1:\nalpha is no good"):
        contest(untuned, fake)
    assert list(commands(settings.run)) == ["one/0"]
    named(monkeypatch, one=Contender("grpo", "--alpha 4"), two=Contender("grpo", "--alpha 2"))
    before = stamps(settings.run / "one" / "0")
    contest(untuned, fake)
    assert list(commands(settings.run)) == ["one/0", "one/1", "two/0", "two/1"]
    assert stamps(settings.run / "one" / "0") == before
    named(monkeypatch, one=Contender("grpo", "--alpha 4"), two=Contender("grpo", "--alpha 3"))
    with pytest.raises(SettingError, match=r"two/0 was made by `grpo .*--alpha 2`, not by `grpo .*--alpha 3`"):
        contest(untuned, fake)


@pytest.mark.parametrize(
    ("algorithms", "words"),
    [(("one", "three"), "algorithms='three'"), (("one", "one"), "Two contenders are called 'one'")],
)
def test_algorithms_that_make_no_sense_are_refused(
    settings: ContestSettings, monkeypatch: pytest.MonkeyPatch, algorithms: tuple[str, ...], words: str
) -> None:
    named(monkeypatch, one=Contender("grpo"))
    with pytest.raises(SettingError, match=words):
        contest(replace(settings, algorithms=algorithms))
    assert not settings.run.exists()


# --- commands


def parsed(job_command: tuple[str, ...]) -> Train:
    train = parse(["train", *job_command])
    assert isinstance(train, Train)
    return train


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_variant_of_every_contender_is_a_run(name: str) -> None:
    settings = ContestSettings(flags="--reprompt.limit 99" if CONTENDERS[name].preset == "sdpo" else "")
    for flags in CONTENDERS[name].commands(150):
        job = _job(settings, f"{name}-1", flags, 1003, Path("runs"))
        train = parsed(job.command)
        assert (train.name, train.loop.seed, train.tasks * train.group_size) == (f"{name}-1", 1003, 64)
        assert (train.loop.steps, train.loop.max_tokens, train.loop.microbatch) == (job.steps, 64, 64)
        assert (train.loop.test_every, train.loop.checkpoint_every) == (10, 50)
        assert (train.world.env, json.loads(train.world.env_settings)) == ("sdpo/MicroCode-v0", {"world": 1003})
        assert json.loads(train.world.changed(train.test_settings).env_settings) == {"world": 1003, "split": "test"}
        if settings.flags:
            assert train.settings.reprompt.limit == 99
        alone = parsed(flags)
        assert train.loop.learning_rate == alone.loop.learning_rate
        assert train.loop.minibatches == alone.loop.minibatches


def test_what_an_algorithm_says_outweighs_what_all_are_told() -> None:
    job = _job(ContestSettings(flags="--kl 0.5 --temperature 0.7"), "a b", ("grpo", "--kl", "0.1"), 4, Path("runs"))
    train = parsed(job.command)
    assert (train.settings.kl, train.loop.temperature, train.name) == (0.1, 0.7, "a b")


@pytest.mark.parametrize(
    ("world", "own", "expected"),
    [("world", "{}", {"world": 3}), ("", '{"a": 1}', {"a": 1}), ("seed", '{"seed": 9, "b": 2}', {"seed": 3, "b": 2})],
)
def test_the_world_is_the_seed_if_it_has_a_name(world: str, own: str, expected: dict[str, Any]) -> None:
    job = _job(ContestSettings(world=world, env_settings=own), "grpo", ("grpo",), 3, Path("runs"))
    assert json.loads(parsed(job.command).world.env_settings) == expected


@pytest.mark.parametrize("steps", [1, 2, 3, 100])
def test_there_are_checkpoints_however_short_it_is(steps: int) -> None:
    every = parsed(_job(ContestSettings(steps=steps), "grpo", ("grpo",), 3, Path("runs")).command).loop.checkpoint_every
    assert 1 <= every <= steps


OTHER: dict[str, Any] = {
    "algorithms": ("grpo", "mine=sdpo --teacher frozen"),
    "env": "letters:agent-test/Say-v0",
    "env_settings": '{"a": "it\'s \\"b\\" --c"}',
    "test_settings": '{"split": "b"}',
    "world": "",
    "policy": "a folder",
    "seeds": 3,
    "tuning_seeds": 0,
    "steps": 7,
    "tasks": 2,
    "group_size": 4,
    "test_every": 0,
    "max_tokens": 9,
    "flags": "--reprompt.feedback never --kl 1",
    "at_once": 1,
    "run": Path("my runs/a"),
}


def test_another_value_of_every_setting_is_tried_below() -> None:
    assert list(OTHER) == list(ContestSettings.__slots__)
    assert all(getattr(ContestSettings(), name) != value for name, value in OTHER.items())


@pytest.mark.parametrize(
    "changes", [{}, OTHER, {"flags": "--resume"}, *({name: value} for name, value in OTHER.items())], ids=str
)
def test_the_command_makes_the_same_sweep(changes: dict[str, Any]) -> None:
    settings = ContestSettings(**changes)
    words = shlex.split(command(settings))
    assert words[:2] == ["sdpo", "bench"]
    assert len(words) - 2 == len(changes) + (2 if "algorithms" in changes else 0)  # the defaults are not said
    bench = parse(words[1:])
    assert isinstance(bench, Bench)
    assert bench.settings == settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"seeds": 0},
        {"steps": 0},
        {"tasks": 0},
        {"group_size": 0},
        {"at_once": 0},
        {"tuning_seeds": -1},
        {"env_settings": "world=1"},
        {"test_settings": "[]"},
    ],
    ids=str,
)
def test_a_setting_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong)).replace("_", "[-_]")):
        ContestSettings(**wrong)


def test_no_settings_for_a_test_are_none() -> None:
    job = _job(ContestSettings(test_settings=""), "grpo", ("grpo",), 3, Path("runs"))
    assert parsed(job.command).test_settings == ""
