"""The command line: what it offers, what it writes, and how it ends."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import riddles
from letters import Say
from riddles import HARD

from sdpo_agent import PRESETS, Policy
from sdpo_agent.__main__ import main
from sdpo_envs import GroupEnv, Recording, record

assert riddles  # registers its environments
# Of peft and of the transformers library, whose names change with version 6.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.(is_gradient_checkpointing|gradient_checkpointing_enable):FutureWarning"
)

PHYSICS = ("--env", "sdpo/SciKnowEval-v0", "--env-settings", '{"domain": "physics"}', "--max-tokens", "8")
TINY = ("--tasks", "2", "--group-size", "2", "--steps", "1")
SEARCH = ("--batch", "2", "--attempts", "4")
TRAIN = ("train", "sdpo", *PHYSICS, *TINY)


@dataclass
class Ended:
    """How a command ended, and what it said; spaces and frames are one space."""

    code: Any
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs a command in this process, since starting another takes longer than most of what is tested."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["sdpo_agent", *arguments])
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return Ended(code, *(re.sub(r"[\s│╭╮╰╯─]+", " ", text) for text in (said.out, said.err)))

    return run


@pytest.fixture
def warm(policy: Policy, tmp_path: Path) -> str:
    policy.save(tmp_path / "warm")
    return str(tmp_path / "warm")


def started(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    line = [sys.executable, "-m", "sdpo_agent", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=240, check=False)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def config(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return read


# --- help


def test_the_commands_are_told(command: Command) -> None:
    ended = command("--help")
    assert ended.code == 0
    for said in (
        "train Train a policy",
        "discover Attempt hard tasks",
        "probe Tell, before any training",
        "bench Tune algorithms alike",
    ):
        assert said in ended.out


def test_every_preset_is_told_with_what_it_is(command: Command) -> None:
    ended = command("train", "--help")
    assert ended.code == 0
    for name, preset in PRESETS.items():
        assert f"{name} {preset.about}" in ended.out


@pytest.mark.parametrize(
    ("commands", "flags"),
    [
        (("train", "sdpo"), ("--name", "--test-settings", "--test-attempts", "--test-every", "--context")),
        (("train", "sdpo"), ("--alpha", "--reprompt.feedback", "--gradient.clip-high", "--learning-rate", "--resume")),
        (("train", "grpo"), ("--gradient.clip-high", "--kl", "--aggregate", "--steps", "--lora-rank")),
        (("discover",), ("--ways", "--play-on", "--attempts", "--sdpo.alpha", "--url", "--task-ids")),
        (("bench",), ("--algorithms", "--seeds", "--tuning-seeds", "--at-once", "--world", "--flags", "--run")),
        (("probe",), ("--at-once", "--tasks", "--temperature", "--url", "--policy")),
    ],
)
def test_the_help_names_every_setting_with_its_meaning(
    command: Command, commands: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    ended = command(*commands, "--help")
    assert ended.code == 0
    for flag in flags:
        assert f" {flag} " in ended.out or f" {flag}, " in ended.out
    if "sdpo" in commands:
        assert "Jensen-Shannon" in ended.out


# --- train


def test_train_runs_from_a_shell(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ended = started(*TRAIN, "--teacher-rate", "0.5", "--seed", "3", "--run", str(folder))
    assert ended.returncode == 0, ended.stderr
    assert f"1 steps; success rate of the last 0.000; written to {folder}" in ended.stdout
    assert len(rows(folder / "metrics.jsonl")) == 1
    told = config(folder)
    assert (told["algorithm"], told["settings"]["teacher_rate"], told["loop"]["seed"]) == ("SDPO", 0.5, 3)
    assert told["world"] == {"env": "sdpo/SciKnowEval-v0", "env_settings": '{"domain": "physics"}'}
    assert (told["source"]["policy"], told["tasks"], told["group_size"]) == ("", 2, 2)


def test_flags_change_a_preset(command: Command, tmp_path: Path) -> None:
    ended = command("train", "sdpo-lcbv6", *PHYSICS, *TINY, "--alpha", "0.25", "--run", str(tmp_path / "run"))
    assert ended.code == 0, ended.err
    told = config(tmp_path / "run")
    assert (told["settings"]["alpha"], told["settings"]["top_k"], told["loop"]["minibatches"]) == (0.25, 20, 32)
    assert (told["loop"]["steps"], told["loop"]["learning_rate"]) == (1, 1e-6)


def test_training_goes_on(command: Command, tmp_path: Path) -> None:
    train = ("train", "grpo", *PHYSICS, "--tasks", "1", "--group-size", "2", "--run", str(tmp_path / "run"))
    assert command(*train, "--steps", "1").code == 0
    refused = command(*train, "--steps", "2")
    assert (refused.code, "FileExistsError: " in refused.err) == (1, True)
    assert "already holds a recording. Name another folder, or resume it." in refused.err
    ended = command(*train, "--steps", "2", "--resume")
    assert (ended.code, "2 steps" in ended.out) == (0, True)
    assert [row["step"] for row in rows(tmp_path / "run" / "metrics.jsonl")] == [1, 2]
    nothing = command(*train[:-1], str(tmp_path / "none"), "--resume")
    assert (nothing.code, "holds no run to resume" in nothing.err) == (1, True)


def test_tasks_are_shared_among_processes_or_refused(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdpo_agent.__main__.Processes", lambda: SimpleNamespace(count=4, first=True))
    ended = command(*TRAIN, "--tasks", "6")
    assert (ended.code, "tasks=6 must be a multiple of the 4 processes" in ended.err) == (1, True)


def test_adapters_narrow_numbers_and_recomputation_work_together(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    flags = ("--lora-rank", "2", "--autocast", "bfloat16", "--recompute", "--run", str(tmp_path / "run"))
    assert command(*TRAIN, *flags).code == 0
    told = config(tmp_path / "run")["source"]
    assert (told["lora_rank"], told["autocast"], told["recompute"]) == (2, "bfloat16", True)
    saved = tmp_path / "run" / "checkpoint" / "policy"
    assert (saved / "adapter_config.json").exists()
    (row,) = rows(tmp_path / "run" / "metrics.jsonl")
    assert row["optimizer_steps"] == 1
    assert command(*TRAIN[:-1], "2", *flags, "--resume").code == 0


# --- train, tested and recorded

HALF = ("--env", "letters:agent-test/SayHalf-v0", "--max-tokens", "4", "--learning-rate", "1e-3", "--warmup-steps", "0")
TESTED = (
    *HALF,
    "--test-settings",
    '{"split": "test"}',
    "--tasks",
    "2",
    "--group-size",
    "4",
    "--checkpoint-every",
    "20",
)
SAME = ("metrics.jsonl", "tests.jsonl", "attempts.jsonl", "recording.json")


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def killed(until: Callable[[], bool], *arguments: str) -> None:
    """Run a command in a process of its own, and kill it as soon as that is so."""
    here = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(riddles.__file__).parent)}
    with subprocess.Popen(
        [sys.executable, "-m", "sdpo_agent", *arguments], env=here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        deadline = time.monotonic() + 200
        while not until() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.kill()
        said, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, said.decode()


def test_a_run_that_is_killed_goes_on_as_if_nothing_had_been(command: Command, warm: str, tmp_path: Path) -> None:
    train = ("train", "sdpo", *TESTED, "--policy", warm, "--steps", "50", "--test-every", "3")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert command(*train, "--run", str(whole)).code == 0

    killed(lambda: lines(broken / "metrics.jsonl") > 4, *train, "--run", str(broken))
    assert not (broken / "checkpoint").exists()
    assert 4 < lines(broken / "metrics.jsonl") < 20
    killed(lambda: lines(broken / "metrics.jsonl") > 24, *train, "--run", str(broken), "--resume")
    assert (broken / "checkpoint").exists()
    assert 24 < lines(broken / "metrics.jsonl") < 40
    assert command(*train, "--run", str(broken), "--resume").code == 0
    for name in SAME:
        assert (broken / name).read_bytes() == (whole / name).read_bytes(), name
    assert [row["step"] for row in rows(broken / "tests.jsonl")] == [*range(0, 50, 3), 50]
    assert lines(broken / "attempts.jsonl") == 50 * 8 + 18 * 6


def test_every_run_is_recorded(command: Command, warm: str, tmp_path: Path) -> None:
    world = ("--env-settings", '{"world": 2, "split": "train"}', "--test-attempts", "3")
    train = ("train", "grpo", *TESTED, *world, "--policy", warm, "--steps", "3", "--test-every", "2", "--seed", "7")
    assert command(*train, "--run", str(tmp_path / "run")).code == 0
    assert command(*train, "--name", "mine", "--run", str(tmp_path / "named")).code == 0
    recording = json.loads((tmp_path / "run" / "recording.json").read_text())
    assert recording["told"] == {"algorithm": "grpo", "seed": 7}
    assert {phase: each["settings"] for phase, each in recording["phases"].items()} == {
        "train": {"world": 2, "split": "train"},
        "test": {"world": 2, "split": "test"},
    }
    assert json.loads((tmp_path / "named" / "recording.json").read_text())["told"]["algorithm"] == "mine"
    attempts = rows(tmp_path / "run" / "attempts.jsonl")
    phases = [(row["phase"], row["generations"]) for row in attempts]
    for phase, generations, count in (("test", 0, 9), ("train", 0, 8), ("test", 16, 9), ("test", 24, 9)):
        assert phases.count((phase, generations)) == count
    tasks = {phase: {row["task"] for row in attempts if row["phase"] == phase} for phase in ("train", "test")}
    assert tasks == {"train": {"say/c", "say/d", "say/e"}, "test": {"say/f", "say/a", "say/b"}}
    tests = rows(tmp_path / "run" / "tests.jsonl")
    assert [(row["step"], row["attempts"]) for row in tests] == [(0, 9), (2, 9), (3, 9)]
    assert config(tmp_path / "run")["test_attempts"] == 3


def test_without_settings_for_it_there_is_no_test(command: Command, warm: str, tmp_path: Path) -> None:
    train = ("train", "grpo", *HALF, *TINY, "--policy", warm)
    assert command(*train, "--run", str(tmp_path / "run")).code == 0
    assert not (tmp_path / "run" / "tests.jsonl").exists()
    assert list(json.loads((tmp_path / "run" / "recording.json").read_text())["phases"]) == ["train"]


def test_a_run_is_not_resumed_as_another(command: Command, warm: str, tmp_path: Path) -> None:
    train = ("train", "grpo", *TESTED, "--policy", warm, "--run", str(tmp_path / "run"))
    assert command(*train, "--steps", "1").code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    for changes, words in (
        (("--name", "mine"), "was told algorithm='grpo', not 'mine'"),
        (("--seed", "3"), "was told seed=0, not 3"),
        (("--test-settings", '{"split": "test", "world": 1}'), "'test' was begun in"),
        (("--test-attempts", "3"), "begun with the test_attempts 2, not 3"),
    ):
        ended = command(*train, "--steps", "2", *changes, "--resume")
        assert (ended.code, words in ended.err) == (1, True), ended.err
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_what_is_not_there_is_not_resumed_and_then_begun(command: Command, warm: str, tmp_path: Path) -> None:
    train = ("train", "grpo", *HALF, *TINY, "--policy", warm, "--run", str(tmp_path / "run"))
    ended = command(*train, "--resume")
    assert (ended.code, "run holds no run to resume. Start one there without resume." in ended.err) == (1, True)
    assert not (tmp_path / "run").exists()
    Recording(tmp_path / "run", told={"algorithm": "grpo", "seed": 0})  # and there it was killed
    ended = command(*train, "--resume")
    assert (ended.code, "holds no run to resume. Start one there without" in ended.err) == (1, True)
    assert command(*train).code == 0
    assert lines(tmp_path / "run" / "attempts.jsonl") == 4


def test_a_recording_of_another_loop_is_left_alone(command: Command, warm: str, tmp_path: Path) -> None:
    with contextlib.closing(
        record(GroupEnv(Say, 2, 2), tmp_path / "run", told={"algorithm": "grpo", "seed": 0})
    ) as envs:
        envs.reset(seed=0)
        envs.step(["a", "b"])
    before = (tmp_path / "run" / "attempts.jsonl").read_bytes()
    train = ("train", "grpo", *HALF, *TINY, "--policy", warm, "--run", str(tmp_path / "run"))
    for more in ((), ("--resume",)):
        assert command(*train, *more).code == 1
    assert (tmp_path / "run" / "attempts.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("split=test", "SettingError: --test-settings must be a JSON object, not 'split=test'"),
        ('{"splt": "test"}', "splt"),
    ],
)
def test_a_test_that_makes_no_sense_is_refused(
    command: Command, warm: str, tmp_path: Path, settings: str, message: str
) -> None:
    train = ("train", "grpo", *HALF, *TINY, "--policy", warm, "--run", str(tmp_path / "run"))
    if "{" in settings:
        with pytest.raises(TypeError, match=message):
            command(*train, "--test-settings", settings)
    else:
        ended = command(*train, "--test-settings", settings)
        assert (ended.code, message in ended.err) == (1, True)
    assert not (tmp_path / "run").exists()


def test_the_tasks_of_a_test_are_shared_among_processes_or_refused(
    command: Command, warm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdpo_agent.__main__.Processes", lambda: SimpleNamespace(count=2, first=True))
    ended = command("train", "grpo", *TESTED, "--policy", warm)
    message = "3 tasks to test on must be a multiple of the 2 processes"
    assert (ended.code, message in ended.err) == (1, True)


# --- discover


def test_discover_runs_from_a_shell(tmp_path: Path) -> None:
    ways = ("best-of-k", "reprompt", "feedback", "conversation", "sdpo")
    ended = started("discover", *PHYSICS, *SEARCH, "--ways", *ways, "--run", str(tmp_path / "run"))
    assert ended.returncode == 0, ended.stderr
    for name in (*ways, "discovery@1", "discovery@4", "attempts until 0.5"):
        assert name in ended.stdout
    curves = json.loads((tmp_path / "run" / "discovery.json").read_text())
    assert list(curves) == list(ways)
    assert (tmp_path / "run" / "discovery.png").stat().st_size > 5_000
    for way in ways:
        (record,) = (tmp_path / "run" / way).glob("*/0/attempts.jsonl")
        told = rows(record)
        assert [row["attempt"] for row in told] == [1, 2, 3, 4]
        assert all((row["way"], row["seed"], row["env"]) == (way, 0, "sdpo/SciKnowEval-v0") for row in told)
        assert config(record.parent)["settings"]["env_settings"] == '{"domain": "physics"}'


def test_a_search_goes_on_and_each_way_starts_from_the_same_policy(command: Command, warm: str, tmp_path: Path) -> None:
    def search(folder: str, *more: str) -> Ended:
        world = ("--env", "agent-test/Hard-v0", "--env-settings", '{"reveal": true}', "--policy", warm)
        loop = ("--max-tokens", "4", "--learning-rate", "2e-3", "--batch", "4", "--seeds", "2")
        return command("discover", *world, *loop, *more, "--run", str(tmp_path / folder))

    def records(folder: str) -> dict[str, list[Any]]:
        paths = sorted((tmp_path / folder).rglob("attempts.jsonl"))
        return {str(path.relative_to(tmp_path / folder)): rows(path) for path in paths}

    ended = search("whole", "--ways", "sdpo", "best-of-k", "--attempts", "40")
    assert ended.code == 0, ended.err
    whole = records("whole")
    assert list(whole) == [f"{way}/say_hard/{seed}/attempts.jsonl" for way in ("best-of-k", "sdpo") for seed in (0, 1)]
    assert all(row["task_id"] == HARD.id for told in whole.values() for row in told)
    firsts = [[row["turns"][0] for row in told[:4]] for told in whole.values()]
    assert firsts[0] == firsts[2] != firsts[1] == firsts[3]  # the first round is that of the untaught policy
    curves = json.loads((tmp_path / "whole" / "discovery.json").read_text())
    assert (curves["sdpo"]["mean"][-1], curves["best-of-k"]["mean"][-1]) == (1.0, 0.0)

    assert search("parts", "--ways", "best-of-k", "--attempts", "8").code == 0
    assert search("parts", "--ways", "sdpo", "--attempts", "8").code == 0
    assert search("parts", "--ways", "best-of-k", "sdpo", "--attempts", "40").code == 1
    assert search("parts", "--ways", "best-of-k", "sdpo", "--attempts", "40", "--resume").code == 0
    assert records("parts") == whole
    refused = search("parts", "--ways", "sdpo", "--attempts", "40", "--resume", "--sdpo.alpha", "0.5")
    assert (refused.code, "was begun with the settings" in refused.err) == (1, True)


def test_playing_on_draws_pass_at_k(command: Command, warm: str, tmp_path: Path) -> None:
    world = ("--env", "agent-test/Say-v0", "--policy", warm, "--max-tokens", "4", "--task-ids", "say/d", "say/e")
    loop = ("--attempts", "16", "--play-on", "--ways", "best-of-k")
    assert command("discover", *world, *loop, "--run", str(tmp_path / "run")).code == 0
    (curve,) = json.loads((tmp_path / "run" / "discovery.json").read_text()).values()
    told = [[row["passed"] for row in rows(path)] for path in (tmp_path / "run").rglob("attempts.jsonl")]
    assert [len(passed) for passed in told] == [16, 16]
    assert curve["mean"][0] == pytest.approx(sum(map(sum, told)) / 32)


class Answering(BaseHTTPRequestHandler):
    """A server whose model says z, and keeps what it is asked."""

    asked: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        choice = {"index": 0, "message": {"role": "assistant", "content": "z"}, "finish_reason": "stop"}
        told = {"id": "", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, *told: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    pytest.importorskip("openai")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    Answering.asked.clear()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_searches_and_is_probed(command: Command, url: str, tmp_path: Path) -> None:
    world = ("--env", "agent-test/Hard-v0", "--max-tokens", "4", "--url", url, "--model", "m")
    ways = ("--ways", "best-of-k", "feedback", "conversation", "--batch", "1", "--attempts", "3", "--limit", "250")
    ended = command("discover", *world, *ways, "--run", str(tmp_path / "run"))
    assert ended.code == 0, ended.err
    assert len(Answering.asked) == 9
    lengths = [sum(len(message["content"]) for message in each["messages"]) for each in Answering.asked]
    assert lengths[0] == lengths[1] == lengths[2] == lengths[3] < lengths[4] <= max(lengths) <= 250
    assert all((each["model"], each["max_tokens"]) == ("m", 4) for each in Answering.asked)
    ended = command("probe", *world, "--at-once", "1", "--group-size", "2", "--run", str(tmp_path / "probe"))
    assert ended.code == 0, ended.err
    (task,) = json.loads((tmp_path / "probe" / "probe.json").read_text())
    assert (task["accuracy"], task["lifts"]["feedback"]["gap"]) == (0, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--url", "http://localhost:1/v1"), "cannot learn; leave 'sdpo' out of --ways, or leave out --url"),
        (("--ways", *PHYSICS), "--ways names none"),
        (("--memory", "0", *PHYSICS), "memory=0 must lie in [1, inf]"),
        (("--task-ids", "physics/train/eleven", *PHYSICS, "--run", "{run}"), "No task has the id"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    ended = command("discover", *(each.replace("{run}", str(tmp_path / "run")) for each in arguments))
    assert (ended.code, message in ended.err) == (1, True)


# --- probe


def test_probe_runs_from_a_shell(tmp_path: Path) -> None:
    flags = ("--tasks", "3", "--at-once", "2", "--group-size", "2", "--run", str(tmp_path / "run"))
    ended = started("probe", *PHYSICS, *flags)
    assert ended.returncode == 0, ended.stderr
    for said in ("(the question alone)", "peer, feedback, own attempt", "3 tasks, 6 attempts", "0.000 [0.000, 0.000]"):
        assert said in ended.stdout
    assert len(json.loads((tmp_path / "run" / "probe.json").read_text())) == 3
    assert (tmp_path / "run" / "probe.png").stat().st_size > 5_000


def test_a_probe_in_which_everything_broke_says_so(command: Command) -> None:
    ended = command("probe", "--env", "agent-test/Say-v0", "--env-settings", '{"broken": 1}', "--max-tokens", "4")
    assert ended.code == 1
    assert "InfrastructureError: Every attempt at every task broke; `python -m sdpo_envs.sandbox doctor`" in ended.err


# --- how it ends when something is wrong


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--env", "sdpo/NoSuch-v0"), "NameNotFound: Environment `NoSuch` doesn't exist in namespace sdpo."),
        (("--env", "nosuch:sdpo/NoSuch-v0"), "No module named 'nosuch'"),
        (("--env", "CartPole-v1"), "SettingError: CartPole-v1 has no groups"),
        (("--env-settings", "domain=physics"), "SettingError: --env-settings must be a JSON object"),
        (("--alpha", "7"), "SettingError: alpha=7.0 must lie in [0, 1]."),
        (("--temperature", "0"), "SettingError: temperature=0.0 must lie in [1e-12, inf]."),
        (("--env", "agent-test/Say-v0", "--env-settings", '{"broken": 1}'), "JudgeError: the judge is out"),
        (("--run", "{file}"), "FileExistsError: "),
    ],
)
def test_an_error_ends_with_its_message_and_no_traceback(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "file").write_text("not a folder")
    told = [each.replace("{file}", str(tmp_path / "file")) for each in arguments]
    ended = command(*TRAIN, "--run", str(tmp_path / "run"), *told)
    assert ended.code == 1
    assert message in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("arguments", [("train", "sdop"), ("train",), (), ("train", "sdpo", "--no-such-flag", "1")])
def test_what_is_not_offered_is_refused(command: Command, arguments: tuple[str, ...]) -> None:
    ended = command(*arguments)
    assert ended.code == 2
    assert re.search("Unrecognized options|Missing subcommand", ended.out + ended.err)


def test_brackets_in_a_message_are_shown(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    ended = command(*TRAIN, "--lora-rank", "2", "--run", str(tmp_path / "run"))
    assert ended.code == 1
    assert "MissingExtra: This needs the module 'peft'. Install it with: pip install 'sdpo-envs[lora]'" in ended.err
    assert command(*TRAIN, "--run", str(tmp_path / "a[/b]")).code == 0


def test_a_mistake_in_the_program_is_not_hidden(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Policy, "small", lambda **settings: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command(*TRAIN)
