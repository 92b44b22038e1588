"""verifiers' own evaluation, over a server with OpenAI's protocol, records what the environment says by itself."""

import asyncio
import contextlib
import functools
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import addition
import gymnasium
import pytest
import sums
import uvicorn
import verifiers.v1 as vf
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic_config import cli
from verifiers.v1.cli.eval.runner import run_eval
from verifiers.v1.cli.resolve import narrow_config, with_positional_taskset
from verifiers.v1.configs.cli.eval import EvalConfig
from verifiers.v1.utils.loaders import load_environment, load_taskset, resolve_env_config

from sdpo_envs import SettingError
from sdpo_envs.adapters.told import told
from sdpo_envs.adapters.verifiers import FeedbackTaskset, FeedbackTasksetConfig
from sdpo_envs.registry import ENVIRONMENTS

Reply = Callable[[list[dict[str, Any]]], str | int]
"""What the policy says to a conversation, or the HTTP status by which its server fails."""


class Policy:
    """Served as OpenAI's protocol has it, at `url`."""

    url: str
    reply: Reply


@pytest.fixture(scope="module")
def policy() -> Iterator[Policy]:
    app, policy = FastAPI(), Policy()

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Any:
        body = await request.json()
        said = policy.reply(body["messages"])
        if isinstance(said, int):
            return JSONResponse({"error": {"message": "no model today"}}, said)
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        return {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    socket = server.config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        policy.url = f"http://127.0.0.1:{socket.getsockname()[1]}/v1"
        yield policy
    finally:
        server.should_exit = True
        thread.join()
        socket.close()


class Evaluation:
    """verifiers' own evaluation of an environment with a policy, each in a folder of its own."""

    def __init__(self, folder: Path, policy: Policy) -> None:
        self.root = folder
        self.policy = policy
        self.runs = 0

    @property
    def folder(self) -> Path:
        return self.root / f"run-{self.runs}"

    def __call__(
        self,
        env_id: str,
        reply: Reply,
        *,
        agent: Any = None,
        select: Any = None,
        rollouts: int = 1,
        resume: bool = False,
        **taskset: Any,
    ) -> list[vf.Episode]:
        self.runs += not resume
        env = {"taskset": {"id": "sdpo-verifiers", "env": env_id, **taskset}, **({"agent": agent} if agent else {})}
        self.policy.reply = reply
        settings = {
            "env": env,
            "model": "scripted",
            "client": {"base_url": self.policy.url, "api_key_var": "NO_KEY"},
            "select": select or {},
            "num_rollouts": rollouts,
            "push": False,
            "rich": None,
            "output_dir": self.root,
            "run": {"name": self.folder.name},
            "resume": resume,
        }
        return asyncio.run(run_eval(EvalConfig.model_validate(settings)))


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: Policy) -> Evaluation:
    monkeypatch.setattr("verifiers.v1.runtimes.subprocess.CACHE_DIR", tmp_path)
    monkeypatch.setenv("VF_RUN_ID", "tests")
    monkeypatch.delenv("PRIME_API_KEY", raising=False)
    return Evaluation(tmp_path, policy)


def script(actions: Sequence[str]) -> Reply:
    """Say one after the other in every conversation."""
    return lambda messages: actions[sum(each["role"] == "assistant" for each in messages)]


def alone(env: Any, trace: vf.Trace, actions: Sequence[str]) -> dict[str, Any]:
    """Play in the environment itself what a trace says was played, and compare all that was seen and said."""
    prompt, info = env.reset(seed=trace.task.data.seed, options={"task_id": trace.task.data.id})
    shown = [("system", info["system"])] * bool(info["system"]) + [("user", prompt)]
    reward, turns, done = 0.0, list[str](), False
    for action in actions:
        shown.append(("assistant", action))
        text, earned, terminated, truncated, info = env.step(action)
        reward, done = reward + earned, terminated or truncated
        turns.append(info["feedback"].text)
        if done:
            break
        shown.append(("user", text))
    assert done
    assert [(each.role, each.content or "") for each in trace.messages] == shown
    assert trace.rewards == {"reward": vf.Reward(score=reward)}
    assert trace.metrics == {"passed": info["verdict"] is not None and info["verdict"].passed}
    said = {**told(info), "turns": turns, "attempt": env.get_wrapper_attr("attempt")}
    assert trace.info == {**said, "task_id": trace.task.data.id, "seed": trace.task.data.seed}
    return said


GROWING: dict[str, dict[str, Any]] = {
    "sdpo/ALFWorld-v0": {"prompt": "new", "turns": 20},
    "sdpo/MicroHouse-v0": {"prompt": "new"},
    "sdpo/SearchQA-v0": {"prompt": "new"},
    "sdpo/WebShop-v0": {"prompt": "new"},
}
WALLED = ("sdpo/LiveCodeBench-v0", "sdpo/MicroCode-v0")


@pytest.mark.parametrize("env_id", [addition.ADDITION, addition.GUESSING, *ENVIRONMENTS])
def test_an_evaluation_records_what_the_environment_says(env_id: str, evaluate: Evaluation) -> None:
    if env_id in WALLED:
        sums.wall()
    settings = GROWING.get(env_id, {})
    with contextlib.closing(gymnasium.make(env_id, **settings)) as env:
        first = env.get_wrapper_attr("task_ids")[0]
        opening = env.reset(options={"task_id": first})[0]
        nonsense = [" ", "<answer>Z</answer>\n", "<search>zebra</search>", *["look"] * 60]
        solution = env.unwrapped.walkthrough(env.unwrapped.find(first)) or nonsense

        def reply(messages: list[dict[str, Any]]) -> str | int:
            knows = opening in [each["content"] for each in messages]
            return script(solution if knows else nonsense)(messages)

        episodes = evaluate(env_id, reply, settings=settings, select={"limit": 2})
        for episode, actions in zip(episodes, (solution, nonsense), strict=True):
            assert (episode.ok, episode.errors) == (True, [])
            (trace,) = episode.traces
            said = alone(env, trace, actions)
            assert (said["outcome"] == "passed") == (actions is not nonsense)


def right(messages: list[dict[str, Any]]) -> str | int:
    """Add up."""
    first, second = (int(word) for word in messages[1]["content"].removesuffix("?").split() if word.isdecimal())
    return str(first + second)


def test_tasks_are_listed_with_their_ids_and_without_their_answers() -> None:
    taskset = FeedbackTaskset(FeedbackTasksetConfig(id="sdpo-verifiers", env=addition.ADDITION, seed=7))
    tasks = list(taskset)
    assert [task.data.id for task in tasks] == [task.id for task in addition.TASKS]
    assert len({task.key for task in tasks}) == len(tasks)
    assert [task.key for task in tasks] == [task.key for task in taskset]
    for task in tasks:
        assert (task.data.seed, task.data.system_prompt) == (7, "You add up.")
        assert addition.answer(task.data.id) not in task.data.model_dump_json() + repr(task.data)
    chosen = taskset.include(ids=["add/1157-2615", "add/1399-2877"]).shuffle(seed=1)
    assert {task.data.prompt for task in chosen} == {"What is 1157 + 2615?", "What is 1399 + 2877?"}


def test_drawn_tasks_are_those_that_the_seeds_draw_by_themselves(evaluate: Evaluation) -> None:
    env = gymnasium.make(addition.ADDITION)
    expected = [env.reset(seed=100 + number)[1]["task_id"] for number in range(20)]
    assert len(set(expected)) < 20  # some are drawn twice, and stay two
    episodes = evaluate(addition.ADDITION, right, seed=100, draws=20)
    played = sorted((episode.traces[0] for episode in episodes), key=lambda trace: trace.info["seed"])
    assert [(trace.info["seed"], trace.info["task_id"]) for trace in played] == list(
        zip(range(100, 120), expected, strict=True)
    )
    assert {trace.reward for trace in played} == {1.0}
    assert len({trace.task.key for trace in played}) == 20


@pytest.mark.parametrize(
    ("action", "kind", "words"),
    [
        (addition.BREAK_JUDGE, "TaskError", "JudgeError: the judge lost its glasses"),
        (addition.BREAK_WALL, "SandboxError", "SandboxError: the wall has a hole"),
    ],
)
def test_what_breaks_is_marked_and_is_no_reward_of_zero(
    action: str, kind: str, words: str, evaluate: Evaluation
) -> None:
    unlucky = addition.TASKS[1].prompt

    def reply(messages: list[dict[str, Any]]) -> str | int:
        return action if messages[1]["content"] == unlucky else right(messages)

    episodes = evaluate(addition.GUESSING, reply, select={"limit": 3})
    assert [episode.ok for episode in episodes] == [True, False, True]
    assert [episode.traces[0].rewards["reward"] for episode in episodes[::2]] == [vf.Reward(score=1.0)] * 2
    broken = episodes[1].traces[0]
    assert (broken.ok, broken.rewards, broken.metrics) == (False, {"reward": None}, {"passed": None})
    assert (broken.errors[0].type, broken.errors[0].message) == (kind, words)
    assert (broken.info["task_id"], broken.info["outcome"]) == (addition.TASKS[1].id, None)
    again = evaluate(addition.GUESSING, right, select={"limit": 3}, resume=True)  # verifiers makes only that one again
    assert [episode.ok for episode in again] == [True] * 3
    assert {episode.id for episode in episodes[::2]} < {episode.id for episode in again}


def test_what_breaks_is_tried_again_where_verifiers_is_told_to(evaluate: Evaluation) -> None:
    tries: list[int] = []

    def reply(messages: list[dict[str, Any]]) -> str | int:
        tries.append(1)
        return addition.BREAK_JUDGE if len(tries) == 1 else right(messages)

    config = {"taskset": {"id": "sdpo-verifiers", "env": addition.ADDITION}, "retries": {"max_retries": 1}}
    env = load_environment(resolve_env_config(config))
    task = next(iter(env.taskset))

    async def play() -> vf.Episode:
        client = vf.EvalClientConfig(base_url=evaluate.policy.url, api_key_var="NO_KEY")
        async with env.serving():
            return await env.run_slot(env.slots(task)[0], vf.ModelContext("scripted", client))

    evaluate.policy.reply = reply
    episode = asyncio.run(play())
    assert (episode.ok, episode.traces[0].reward, len(tries)) == (True, 1.0, 2)
    assert episode.errors[0].message == "JudgeError: the judge lost its glasses"


def test_a_policy_that_cannot_be_reached_earns_nothing_and_no_zero(evaluate: Evaluation) -> None:
    def reply(messages: list[dict[str, Any]]) -> str | int:
        return 400 if len(messages) > 3 else "1"

    (episode,) = evaluate(addition.GUESSING, reply, select={"limit": 1})
    trace = episode.traces[0]
    assert (episode.ok, trace.rewards, trace.errors[0].type) == (False, {"reward": None}, "ProviderError")
    assert trace.info["attempt"] == "1"


def test_a_bug_fails_the_episode(evaluate: Evaluation) -> None:
    (episode,) = evaluate(addition.ADDITION, lambda messages: addition.BUG, select={"limit": 1})
    assert (episode.ok, episode.traces[0].rewards) == (False, {"reward": None})
    assert "a bug in the judge" in episode.last_error.message


def test_a_limit_of_turns_cuts_an_episode_short_without_a_verdict(evaluate: Evaluation) -> None:
    (episode,) = evaluate(addition.GUESSING, script(["1", "2", "3"]), agent={"max_turns": 2}, select={"limit": 1})
    trace = episode.traces[0]
    assert (episode.ok, trace.is_truncated, trace.stop_condition) == (True, True, "max_turns")
    assert (trace.reward, trace.info["outcome"], trace.info["attempt"]) == (0.0, None, "1\n2")


def test_a_successful_peer_is_found_among_the_traces_of_a_task(evaluate: Evaluation) -> None:
    turns = iter(["3027", "1", "2", "3027 "])
    episodes = evaluate(addition.ADDITION, lambda messages: next(turns), rollouts=4, select={"limit": 1})
    traces = [episode.traces[0] for episode in episodes]
    assert len({trace.task.key for trace in traces}) == 1
    peers = {trace.info["attempt"] for trace in traces if trace.info["outcome"] == "passed"}
    assert peers == {"3027", "3027 "}


class Meeting(addition.Addition):
    """Judges only when four episodes are being judged."""

    waits = True
    barrier = threading.Barrier(4)

    def step(self, action: str) -> Any:
        self.barrier.wait(timeout=20)
        return super().step(action)


class Alone(addition.Addition):
    """Cannot bear to be judged in company."""

    busy = threading.Lock()

    def step(self, action: str) -> Any:
        assert self.busy.acquire(blocking=False)
        time.sleep(0.05)
        self.busy.release()
        return super().step(action)


@pytest.mark.parametrize("cls", [Meeting, Alone])
def test_episodes_are_judged_at_once_where_the_environment_waits_for_others(
    evaluate: Evaluation, cls: type[addition.Addition], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    gymnasium.register("tests/Company-v0", entry_point=functools.partial(cls))
    episodes = evaluate("tests/Company-v0", right, select={"limit": 4})
    assert [episode.traces[0].reward for episode in episodes] == [1.0] * 4


PAGE = (Path(__file__).parents[2] / "docs" / "verifiers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", re.findall(r"^vf-eval .*$", PAGE, re.MULTILINE))
def test_the_commands_of_the_page_are_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = with_positional_taskset(shlex.split(command)[1:])
    monkeypatch.setattr(sys, "argv", ["vf-eval", *arguments])
    config = cli(narrow_config(EvalConfig, arguments))
    assert next(iter(FeedbackTaskset(config.env.taskset))).data.env == config.env.taskset.env
    assert not config.push


@pytest.mark.parametrize("text", ["", "\0\x1b[2J", "名" * 10_000, " 3027\n", "</s>[INST]"])
def test_whatever_the_policy_writes_reaches_the_judge_as_it_is(text: str, evaluate: Evaluation) -> None:
    (episode,) = evaluate(addition.ADDITION, lambda messages: text, select={"limit": 1})
    assert (episode.ok, episode.traces[0].info["attempt"]) == (True, text)
    assert episode.traces[0].reward == float(text.strip() == "3027")


def test_the_environment_is_closed_with_the_evaluation(evaluate: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Any] = []
    monkeypatch.setattr(addition.Addition, "close", lambda env: closed.append(env))
    evaluate(addition.ADDITION, right, select={"limit": 2})
    assert len({id(env) for env in closed}) == len(closed) == 4  # the one that shows, two that play, and the first


def test_a_taskset_without_an_environment_or_with_a_wrong_setting_says_so() -> None:
    with pytest.raises(SettingError, match=r"--env\.taskset\.env"):
        load_taskset(resolve_env_config({"taskset": {"id": "sdpo-verifiers"}}).taskset)
    for env, error, words in [
        ("sdpo/ToolUse-v9", gymnasium.error.Error, "ToolUse"),
        ("CartPole-v1", SettingError, "CartPole-v1 is a CartPoleEnv and gives no feedback"),
    ]:
        with pytest.raises(error, match=words):
            load_taskset(resolve_env_config({"taskset": {"id": "sdpo-verifiers", "env": env}}).taskset)


def test_the_example_evaluates(evaluate: Evaluation) -> None:
    path = Path(__file__).parents[2] / "examples" / "verifiers_eval.py"
    traces = runpy.run_path(str(path))["main"]()
    assert len(traces) == 32
    assert 0.0 < sum(trace.reward for trace in traces) / 32 < 0.6


def test_the_command_line_of_verifiers_evaluates_and_writes_nothing_secret(tmp_path: Path, policy: Policy) -> None:
    env = gymnasium.make("sdpo/SciKnowEval-v0", domain="physics").unwrapped
    policy.reply = lambda messages: "It is <answer>\nB\n</answer>"
    command = [
        *(sys.executable, "-c", "from verifiers.v1.cli.eval.main import main; main()"),
        *("sdpo-verifiers", "-m", "scripted", "-n", "6"),
        *("--env.taskset.env", "sdpo/SciKnowEval-v0", "--env.taskset.settings", '{"domain": "physics"}'),
        *("--client.base-url", policy.url, "--no-push", "--no-rich", "-o", str(tmp_path), "--run.name", "run"),
    ]
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONWARNINGS": "error"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "run" / "traces.jsonl").read_text(encoding="utf-8").splitlines()
    episodes = [vf.WireEpisode.model_validate(json.loads(line)) for line in lines]
    assert {episode.traces[0].info["task_id"] for episode in episodes} == {task.id for task in env.tasks[:6]}
    for episode in episodes:
        (trace,) = episode.traces
        task = env.find(trace.info["task_id"])
        env.reset(options={"task_id": task.id})
        _, reward, _, _, info = env.step("It is <answer>\nB\n</answer>")
        assert (trace.reward, trace.info["feedback"]) == (reward, info["feedback"].text)
        told_to_all = json.dumps({"info": trace.info, "task": trace.task.data.model_dump(exclude={"prompt"})})
        assert not [secret for secret in env.secrets(task) if secret in told_to_all and reward == 0.0]
