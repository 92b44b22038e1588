"""What OpenEnv's own client hears over the wire is what the environment says, and a session outlives what it should."""

import asyncio
import contextlib
import functools
import json
import math
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import addition
import gymnasium
import numpy as np
import pytest
import sums
import uvicorn
from openenv.cli._validation import validate_running_environment
from openenv.core import GenericEnvClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import sdpo_envs
from sdpo_envs import InfrastructureError, SettingError
from sdpo_envs.adapters import openenv_server
from sdpo_envs.adapters.openenv import FeedbackAction, FeedbackClient
from sdpo_envs.adapters.openenv_server import serve, served
from sdpo_envs.adapters.service import Service
from sdpo_envs.adapters.told import told
from sdpo_envs.registry import ENVIRONMENTS

SURROGATE = "\ud800 half a character"


@pytest.fixture(scope="module")
def adding() -> Iterator[str]:
    """One server for all who need no other: each of their sessions has an environment of its own."""
    with served(addition.ADDITION) as url:
        yield url


def client(url: str, **settings: Any) -> Any:
    return FeedbackClient(url, **settings).sync()


def act(session: Any, text: Any) -> Any:
    return session.step(FeedbackAction(text=text))


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def agree(heard: Any, said: tuple[Any, ...]) -> None:
    """Compare what a client heard with what the environment's own step returned."""
    text, reward, terminated, truncated, info = said
    seen = heard.observation
    assert (seen.text, heard.reward, heard.done, seen.truncated) == (text, reward, terminated or truncated, truncated)
    assert {name: getattr(seen, name) for name in told(info)} == plain(told(info))
    assert (seen.task_id, seen.error) == (info["task_id"], "")
    rest = {name: value for name, value in info.items() if name not in ("task_id", "verdict", "feedback")}
    assert seen.info == plain(rest)


def episodes(env: Any, task_id: str) -> Iterator[list[str]]:
    """Yield actions that solve a task, where somebody knows some, and actions that do not."""
    walkthrough = env.walkthrough(env.find(task_id))
    if walkthrough is not None:
        yield list(walkthrough)
    yield ["", "Action: nothing\n<answer>Z</answer>", "<search>zebra</search>"]


@pytest.mark.parametrize("env_id", [addition.ADDITION, addition.GUESSING, *ENVIRONMENTS])
def test_a_client_hears_what_the_environment_says(env_id: str) -> None:
    if env_id in ("sdpo/LiveCodeBench-v0", "sdpo/MicroCode-v0"):
        sums.wall()
    alone = gymnasium.make(env_id)
    with contextlib.closing(alone), served(env_id) as url, client(url) as session:
        for task_id in alone.get_wrapper_attr("task_ids")[:2]:
            for actions in episodes(alone.unwrapped, task_id):
                prompt, info = alone.reset(seed=5, options={"task_id": task_id})
                begun = session.reset(seed=5, task_id=task_id)
                assert (begun.observation.text, begun.observation.system) == (prompt, info["system"])
                assert (begun.observation.task_id, begun.reward, begun.done) == (task_id, None, False)
                for action in actions:
                    said = alone.step(action)
                    agree(act(session, action), said)
                    if said[2] or said[3]:
                        break


def test_a_seed_gives_the_task_that_it_gives_without_a_server(adding: str) -> None:
    alone = gymnasium.make(addition.ADDITION)
    with client(adding) as session:
        for seed in (0, 1, 2, 1234, 1234, 2**40):
            assert session.reset(seed=seed).observation.text == alone.reset(seed=seed)[0]
            for _ in range(3):  # and a session draws on from its seed
                assert session.reset().observation.text == alone.reset()[0]
        assert len({session.reset(seed=seed).observation.task_id for seed in range(30)}) > 8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sed": 3}, "did you mean 'seed'"),
        ({"seed": "3"}, "seed='3' is not offered"),
        ({"seed": -1}, "seed=-1 is not offered"),
        ({"task_id": "add/1023-2005"}, "did you mean 'add/1023-2004'"),
        ({"task_id": 7}, "an id is a str"),
    ],
)
def test_an_argument_of_reset_is_taken_or_refused_and_never_ignored(
    arguments: dict[str, Any], words: str, adding: str
) -> None:
    with client(adding) as session:
        with pytest.raises(RuntimeError, match=words):
            session.reset(**arguments)
        assert session.reset(seed=3).observation.task_id


class Together(addition.Guessing):
    """Judges a first action only when those of `size` sessions are there."""

    waits = True
    size = 8
    barrier = threading.Barrier(size)

    def step(self, action: str) -> Any:
        if not self._made:
            self.barrier.wait(timeout=20)
        return super().step(action)


def test_eight_sessions_play_at_once_and_each_keeps_its_task_and_seed(registered: Callable[..., str]) -> None:
    env_id, failures = registered(Together), []

    def play(url: str, number: int) -> None:
        alone, rng = gymnasium.make(addition.GUESSING), random.Random(number)
        try:
            with client(url) as session:
                for episode in range(3):
                    prompt, info = alone.reset(seed=100 * number + episode)
                    assert session.reset(seed=100 * number + episode).observation.text == prompt
                    done = False
                    while not done:
                        sure = rng.random() < 0.3
                        action = addition.answer(info["task_id"]) if sure else str(rng.randrange(4000))
                        said = alone.step(action)
                        agree(act(session, action), said)
                        done = said[2]
        except BaseException as error:
            failures.append(error)
            raise

    with served(env_id) as url:
        threads = [threading.Thread(target=play, args=(url, number)) for number in range(Together.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (addition.BREAK_JUDGE, "JudgeError: the judge lost its glasses"),
        (addition.BREAK_WALL, "SandboxError: the wall has a hole"),
    ],
)
def test_what_breaks_is_no_reward_of_zero(action: str, words: str, adding: str) -> None:
    with client(adding) as session:
        task_id = session.reset(seed=1).observation.task_id
        broken = act(session, action)
        assert math.isnan(broken.reward)
        seen = broken.observation
        assert (broken.done, seen.truncated, seen.outcome, seen.error) == (True, True, None, words)
        assert act(session, addition.answer(task_id)).reward == 1.0  # it was not counted, and may be tried again
    with wire(adding) as raw:
        ask(raw, {"type": "reset", "data": {}})
        assert ask(raw, {"type": "step", "data": {"text": action}})["data"]["reward"] is None


def test_a_bug_is_told_as_an_error_and_is_no_reward(adding: str) -> None:
    with client(adding) as session:
        session.reset(seed=1)
        with pytest.raises(RuntimeError, match="a bug in the judge"):
            act(session, addition.BUG)


def wire(url: str) -> Any:
    """Connect without OpenEnv's client."""
    return connect(url.replace("http", "ws") + "/ws")


def ask(raw: Any, message: Any) -> Any:
    raw.send(message if isinstance(message, str | bytes) else json.dumps(message))
    return json.loads(raw.recv(timeout=10))


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "INVALID_JSON"),
        ("", "INVALID_JSON"),
        ({}, "UNKNOWN_TYPE"),
        ({"type": "dance"}, "UNKNOWN_TYPE"),
        ({"type": ["step"]}, "UNKNOWN_TYPE"),
        ({"type": "step"}, "VALIDATION_ERROR"),
        ({"type": "step", "data": {}}, "VALIDATION_ERROR"),
        ({"type": "step", "data": {"text": "1", "reward": 1.0}}, "VALIDATION_ERROR"),
        ({"type": "step", "data": "1"}, "VALIDATION_ERROR"),
        ({"type": "step", "data": {"text": 5}}, "EXECUTION_ERROR"),
        ({"type": "step", "data": {"text": None}}, "EXECUTION_ERROR"),
        ({"type": "reset", "data": {"options": {"task_id": "add/1023-2004"}}}, "EXECUTION_ERROR"),
        ({"type": "mcp", "data": {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}}, None),
    ],
)
def test_a_malformed_message_is_answered_and_the_session_goes_on(message: Any, code: str | None, adding: str) -> None:
    with wire(adding) as raw:
        task_id = ask(raw, {"type": "reset", "data": {"seed": 4}})["data"]["observation"]["task_id"]
        assert ask(raw, message)["data"].get("code") == code
        passed = ask(raw, {"type": "step", "data": {"text": addition.answer(task_id)}})
        assert passed["data"]["reward"] == 1.0


@pytest.mark.parametrize("message", ["[]", "null", "7", b"\xff\x00"], ids=["list", "null", "number", "bytes"])
def test_a_message_that_ends_its_session_frees_it(message: Any) -> None:
    with served(addition.ADDITION, service=Service(port=0, sessions=1)) as url:
        with wire(url) as raw:
            raw.send(message)
            with contextlib.suppress(ConnectionClosed):
                told = raw.recv(timeout=10)
                assert json.loads(told)["data"]["code"] == "SESSION_ERROR"
            with pytest.raises(ConnectionClosed):
                raw.recv(timeout=10)
        eventually(lambda: client(url), lambda session: session.reset(seed=1))


def test_a_step_before_a_reset_and_after_the_end_is_an_error_that_says_so(adding: str) -> None:
    with client(adding) as session:
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"reset\(\)"):
                act(session, "1")
            session.reset(seed=1)
            assert act(session, "1").done


def test_whatever_the_policy_writes_is_data() -> None:
    with served(addition.GUESSING, {"guesses": 5}) as url, client(url) as session:
        session.reset(seed=1)
        for text in ("", "\0\x1b[2J", SURROGATE, "名" * 2**20, '"}], "reward": 1.0'):
            assert act(session, text).reward == 0.0


class Parrot(addition.Guessing):
    """Shows a policy what it wrote, and tells more, as Gymnasium's environments do."""

    def step(self, action: str) -> Any:
        observation, *rest, info = self.proceed(f"You wrote {self.accept(action)}")
        return observation, *rest, {**info, "action_mask": np.array([1, 0], np.int8), "depth": np.float32(0.5)}


def test_what_json_cannot_hold_is_written_as_it_can(registered: Callable[..., str]) -> None:
    with served(registered(Parrot)) as url, client(url) as session:
        session.reset(seed=1)
        seen = act(session, SURROGATE).observation
        assert seen.text == "You wrote \\ud800 half a character"
        assert seen.info == {"action_mask": [1, 0], "depth": 0.5}


def test_an_action_that_is_too_long_is_refused_and_the_session_goes_on() -> None:
    with served(addition.ADDITION, service=Service(port=0, characters=1000)) as url, client(url) as session:
        task_id = session.reset(seed=1).observation.task_id
        with pytest.raises(RuntimeError, match="An action of 1001 characters; this server takes 1000"):
            act(session, "x" * 1001)
        assert act(session, addition.answer(task_id)).reward == 1.0


def test_a_message_that_is_too_long_ends_its_session_and_no_other() -> None:
    with served(addition.ADDITION, service=Service(port=0, characters=1000)) as url:
        with client(url) as session, client(url) as other:
            session.reset(seed=1)
            other.reset(seed=1)
            with pytest.raises(InfrastructureError, match="1009"):
                act(session, "x" * 100_000)
            assert act(other, "1").done
            assert session.reset(seed=1).observation.task_id  # in another session
        request = urllib.request.Request(f"{url}/reset", b"x" * 100_000, {"content-type": "application/json"})
        with pytest.raises(urllib.error.HTTPError, match="413"):
            urllib.request.urlopen(request, timeout=10)


def eventually(make: Callable[[], Any], use: Callable[[Any], Any]) -> Any:
    """Use a session as soon as the server has room for it."""
    for _ in range(200):
        try:
            with make() as session:
                return use(session)
        except (RuntimeError, InfrastructureError):
            time.sleep(0.02)
    raise AssertionError("the server never had room")


def test_sessions_are_bounded_and_who_leaves_makes_room() -> None:
    with served(addition.ADDITION, service=Service(port=0, sessions=2)) as url, client(url) as first:
        with client(url) as second:
            first.reset(seed=1)
            second.reset(seed=2)
            with client(url) as third, pytest.raises(RuntimeError, match="CAPACITY_REACHED"):
                third.reset(seed=3)
        eventually(lambda: client(url), lambda third: third.reset(seed=3))
        assert act(first, "1").done


class Alone(addition.Addition):
    """Cannot bear to be judged in company."""

    busy = threading.Lock()

    def step(self, action: str) -> Any:
        assert self.busy.acquire(blocking=False)
        time.sleep(0.05)
        self.busy.release()
        return super().step(action)


def test_sessions_take_turns_where_their_environment_does_not_wait_for_others(registered: Callable[..., str]) -> None:
    async def play(url: str) -> float:
        async with FeedbackClient(url) as session:
            begun = await session.reset(seed=1)
            result = await session.step(FeedbackAction(text=addition.answer(begun.observation.task_id)))
            return float(result.reward)

    async def play_at_once(url: str) -> list[float]:
        return await asyncio.gather(*(play(url) for _ in range(4)))

    with served(registered(Alone)) as url:
        assert asyncio.run(play_at_once(url)) == [1.0] * 4


class Slow(addition.Addition):
    """Judges one action only when the gate is open."""

    waits = True
    waiting, gate = threading.Event(), threading.Event()
    closed: ClassVar[list[Any]] = []

    def step(self, action: str) -> Any:
        if action == "wait":
            self.waiting.set()
            assert self.gate.wait(timeout=30)
        return super().step(action)

    def close(self) -> None:
        self.closed.append(self)
        super().close()


@pytest.fixture
def slow(registered: Callable[..., str]) -> Iterator[str]:
    Slow.waiting.clear()
    Slow.gate.clear()
    Slow.closed.clear()
    yield registered(Slow)
    Slow.gate.set()


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in a step"])
def test_a_client_that_is_cut_off_frees_its_session(slow: str, busy: bool) -> None:
    with served(slow, service=Service(port=0, sessions=1)) as url:
        with wire(url) as raw:
            ask(raw, {"type": "reset", "data": {}})
            if busy:
                raw.send(json.dumps({"type": "step", "data": {"text": "wait"}}))
                assert Slow.waiting.wait(timeout=30)
            raw.socket.shutdown(socket.SHUT_RDWR)
        Slow.gate.set()
        eventually(lambda: client(url), lambda session: session.reset(seed=1))


def test_a_slow_step_holds_up_nobody_else(slow: str) -> None:
    with served(slow) as url, client(url) as first, client(url) as quick:
        first.reset(seed=1)
        thread = threading.Thread(target=act, args=(first, "wait"))
        thread.start()
        assert Slow.waiting.wait(timeout=30)
        for seed in range(3):
            quick.reset(seed=seed)
            act(quick, "1")
        assert thread.is_alive()
        Slow.gate.set()
        thread.join()


def test_a_late_reply_is_not_taken_for_another_one(slow: str) -> None:
    with served(slow) as url, client(url, message_timeout_s=1.0) as session:
        session.reset(seed=1)
        with pytest.raises(InfrastructureError, match="no reply in 1 seconds"):
            act(session, "wait")
        Slow.gate.set()
        assert session.reset(seed=2).reward is None
        assert act(session, "12").observation.findings[0]["details"] == {"You wrote": "12"}


@pytest.mark.parametrize("strict", [False, True], ids=["as it is", "control"])
def test_who_generates_for_long_keeps_the_session(monkeypatch: pytest.MonkeyPatch, strict: bool) -> None:
    """The loop of a client that generates answers no ping; with a limit, as servers have, its session would be lost."""
    monkeypatch.setattr(openenv_server, "_PING_SECONDS", 0.1)
    made = openenv_server._server

    def server(*arguments: Any) -> uvicorn.Server:
        it = made(*arguments)
        it.config.ws_ping_timeout = 0.1 if strict else it.config.ws_ping_timeout
        return it

    async def generate(url: str) -> Any:
        async with FeedbackClient(url) as session:
            await session.reset(seed=1)
            time.sleep(0.6)  # it blocks the loop, as a policy does
            return await session.step(FeedbackAction(text="1"))

    monkeypatch.setattr(openenv_server, "_server", server)
    outcome = pytest.raises(InfrastructureError) if strict else contextlib.nullcontext()
    with served(addition.ADDITION) as url, outcome:
        assert asyncio.run(generate(url)).done


@pytest.mark.parametrize("strict", [False, True], ids=["as it is", "control"])
def test_a_server_too_busy_to_answer_keeps_its_sessions(monkeypatch: pytest.MonkeyPatch, strict: bool) -> None:
    """A client with a limit, as OpenEnv's has, would hang up."""
    made = openenv_server.application

    def application(*arguments: Any) -> Any:
        app = made(*arguments)

        @app.get("/stall")
        async def stall() -> None:
            time.sleep(0.6)  # it blocks the server's loop

        return app

    async def play(url: str) -> Any:
        async with FeedbackClient(url) as session:
            await session.reset(seed=1)
            connection: Any = session._ws
            connection.keepalive_task.cancel()
            connection.ping_interval = 0.05
            connection.ping_timeout = 0.1 if strict else connection.ping_timeout
            connection.start_keepalive()
            await asyncio.to_thread(get, f"{url}/stall")
            return await session.step(FeedbackAction(text="1"))

    monkeypatch.setattr(openenv_server, "application", application)
    outcome = pytest.raises(InfrastructureError) if strict else contextlib.nullcontext()
    with served(addition.ADDITION) as url, outcome:
        assert asyncio.run(play(url)).done


def get(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("env_id", [addition.ADDITION, addition.GUESSING, "sdpo/MicroTool-v0", "sdpo/ToolUse-v0"])
def test_nothing_secret_is_served(env_id: str) -> None:
    alone = gymnasium.make(env_id).unwrapped
    with served(env_id) as url, wire(url) as raw:
        everywhere = "".join(
            get(f"{url}/{page}")[1] for page in ("metadata", "schema", "state", "openapi.json", "docs")
        )
        for task_id in alone.get_wrapper_attr("task_ids")[:12]:
            raw.send(json.dumps({"type": "reset", "data": {"task_id": task_id, "seed": 1}}))
            shown = raw.recv()
            messages = [{"type": "step", "data": {"text": "none of it"}}, {"type": "state"}, {"type": "metadata"}]
            heard = ""
            for message in messages * 3:
                raw.send(json.dumps(message))
                heard += raw.recv()
            heard += get(f"{url}/step", {"action": {"text": "wrong"}, "task_id": task_id})[1]
            heard += get(f"{url}/reset", {"task_id": task_id + "x"})[1]
            for secret in alone.secrets(alone.find(task_id)):
                assert secret not in heard.replace(json.loads(shown)["data"]["observation"]["text"], "")
                assert secret not in everywhere
                assert secret not in shown or secret in alone.find(task_id).prompt


def test_what_is_asked_to_be_revealed_is_marked() -> None:
    with served(addition.ADDITION, {"reveal": True}) as url, client(url) as session:
        task_id = session.reset(seed=1).observation.task_id
        seen = act(session, "1").observation
        assert seen.reveals_answer
        assert seen.findings[0]["answer"] == {"The sum is": addition.answer(task_id)}


def test_http_shows_a_task_and_judges_a_first_action(adding: str) -> None:
    status, body = get(f"{adding}/reset", {"seed": 3})
    shown = json.loads(body)
    task_id = shown["observation"]["task_id"]
    assert (status, shown["observation"]["text"]) == (200, gymnasium.make(addition.ADDITION).reset(seed=3)[0])
    status, body = get(f"{adding}/step", {"action": {"text": addition.answer(task_id)}, "task_id": task_id})
    assert (status, json.loads(body)["reward"], json.loads(body)["done"]) == (200, 1.0, True)
    status, body = get(f"{adding}/step", {"action": {"text": addition.BREAK_JUDGE}, "task_id": task_id})
    assert (json.loads(body)["reward"], json.loads(body)["observation"]["error"][:10]) == (None, "JudgeError")
    for message, status, words in [
        ({"action": {"text": "1"}}, 422, "reset()"),
        ({"action": {"text": "1"}, "task_id": "add/0"}, 422, "TaskNotFound"),
        ({"action": {"text": "1"}, "timeout_s": 3.0}, 422, "argument of step='timeout_s' is not offered"),
        ({"action": {}}, 422, "text"),
    ]:
        told_status, body = get(f"{adding}/step", message)
        assert (told_status, words in body) == (status, True)


class Closed(addition.Addition):
    """Its world is shut."""

    def begin(self, task: Any) -> str:
        raise sdpo_envs.SandboxError("the world is shut")


def test_a_world_that_does_not_open_is_an_error(registered: Callable[..., str]) -> None:
    with served(registered(Closed)) as url:
        assert get(f"{url}/reset", {"seed": 1}) == (503, '{"detail":"SandboxError: the world is shut"}')
        with client(url) as session, pytest.raises(RuntimeError, match="the world is shut"):
            session.reset(seed=1)


def test_openenv_validates_the_server_and_its_untyped_client_is_served_too(adding: str) -> None:
    report = validate_running_environment(adding)
    assert report["passed"], report
    with GenericEnvClient(base_url=adding).sync() as session:
        observation = session.reset(seed=3).observation
        result = session.step({"text": addition.answer(observation["task_id"])})
        assert (result.reward, result.observation["outcome"]) == (1.0, "passed")


def test_the_state_of_a_session_is_its_own() -> None:
    with served(addition.GUESSING) as url, client(url) as session, client(url) as other:
        assert (session.state().task_id, session.state().step_count) == ("", 0)
        task_id = session.reset(seed=3, episode_id="mine").observation.task_id
        act(session, "1")
        other.reset(seed=9)
        state = session.state()
        assert (state.episode_id, state.step_count, state.task_id) == ("mine", 1, task_id)
        assert state.env == addition.GUESSING
        assert other.state().episode_id != "mine"


def test_the_environment_is_closed_with_the_server_and_the_port_is_free(slow: str) -> None:
    with served(slow) as url, client(url) as session:
        session.reset(seed=1)
    assert len(Slow.closed) == len({id(env) for env in Slow.closed}) >= 2
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", int(url.rpartition(":")[2])))


def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"), served(addition.ADDITION, service=Service(port=port)):
            pass


def test_an_environment_without_feedback_is_refused() -> None:
    with pytest.raises(SettingError, match="CartPole-v1 is a CartPoleEnv and gives no feedback"):
        serve("CartPole-v1")


def test_a_server_that_ends_does_not_wait_for_a_judge_that_hangs(monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
    def wait(session: Any) -> None:
        with pytest.raises(InfrastructureError):
            act(session, "wait")

    monkeypatch.setattr(openenv_server, "_PATIENCE_SECONDS", 0.2)
    with served(slow) as url:
        session = client(url).connect()
        session.reset(seed=1)
        thread = threading.Thread(target=wait, args=(session,))
        thread.start()
        assert Slow.waiting.wait(timeout=30)
    assert not Slow.gate.is_set()  # the judge hangs still
    Slow.gate.set()
    thread.join()
    session.close()


def test_the_example_plays_eight_sessions_at_once() -> None:
    path = Path(__file__).parents[2] / "examples" / "openenv_serve.py"
    played = runpy.run_path(str(path))["main"]()
    assert len(played) == 8
    assert all(bool(told) == (attempts > 1) for _, attempts, told in played)


def test_only_this_machine_is_served_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    listened: list[str] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda server: listened.append(server.config.host))
    serve(addition.ADDITION)
    serve(addition.ADDITION, service=Service(host="0.0.0.0"))
    assert listened == ["127.0.0.1", "0.0.0.0"]


@pytest.mark.parametrize(
    "limits", [{"sessions": 0}, {"characters": 0}, {"port": -1}, {"port": 2**16}, {"sessions": 1.5}]
)
def test_a_bound_that_makes_no_sense_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(limits))):
        Service(**limits)


def test_the_command_line_serves_until_it_is_interrupted() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sdpo_envs.cli", "serve", "sdpo/ToolUse-v0", "--port", str(port)]
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            with contextlib.suppress(urllib.error.URLError):
                assert get(f"{url}/health") == (200, '{"status":"healthy"}')
                break
            time.sleep(0.1)
        with client(url) as session:
            assert session.reset(task_id="tooluse/37").observation.task_id == "tooluse/37"
            assert act(session, "Action: startRide").observation.outcome == "malformed"
        server.send_signal(signal.SIGINT)
        told, _ = server.communicate(timeout=30)
        assert server.returncode == 130, told
        assert f"running on {url}" in told
        assert "Traceback" not in told
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def registered() -> Iterator[Callable[..., str]]:
    """Register an environment class for a test."""
    ids: list[str] = []

    def register(cls: type[Any]) -> str:
        ids.append(f"tests/{cls.__name__}-v0")
        gymnasium.register(ids[-1], entry_point=functools.partial(cls))
        return ids[-1]

    yield register
    for env_id in ids:
        del gymnasium.registry[env_id]
