"""The pool of engine processes: played with programs that misbehave, and with the real one."""

import importlib.util
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import pytest

from sdpo_envs.alfredgame import load_games
from sdpo_envs.errors import InfrastructureError, JudgeError
from sdpo_envs.textengine import PROGRAM, Answer, Engine, Logic, shared_engine

needs_textworld = pytest.mark.skipif(importlib.util.find_spec("alfworld") is None, reason="needs the extra alfworld")

LOGIC = Logic("domain", "grammar", "a goal", "problem")
FAKE = """
import json, os, pathlib, struct, sys, time
def send(message):
    data = json.dumps(message).encode()
    sys.stdout.buffer.write(struct.pack("!I", len(data)) + data)
    sys.stdout.buffer.flush()
def receive():
    head = sys.stdin.buffer.read(4)
    return json.loads(sys.stdin.buffer.read(struct.unpack("!I", head)[0])) if head else sys.exit()
def answer(text):
    send({"text": text, "commands": ["look"], "changes": [[True, "opened", "box 1"]], "won": False, "moved": True})
"""
ECHO = FAKE + "send({'ready': True})\nwhile True:\n    answer(f'{os.getpid()} {receive()}')\n"


@pytest.fixture
def make() -> Iterator[object]:
    engines: list[Engine] = []

    def made(program: str, size: int = 1, seconds: float = 100.0) -> Engine:
        engines.append(Engine(size, seconds, program))
        return engines[-1]

    yield made
    for engine in engines:
        engine.close()


def pid(answer: Answer) -> int:
    return int(answer.text.split()[0])


def test_an_answer_is_read(make) -> None:
    answer = make(ECHO).ask(LOGIC, ("look",), "open box 1")
    assert "'path': ['look'], 'command': 'open box 1'" in answer.text
    assert answer.commands == ("look",)
    assert answer.changes == ((True, ("opened", "box 1")),)


def test_a_process_starts_when_it_is_needed_stays_and_ends_when_the_engine_is_closed(make) -> None:
    engine = make(ECHO)
    assert engine._workers[0].channel is None
    first = pid(engine.ask(LOGIC))
    assert pid(engine.ask(LOGIC)) == first
    engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert pid(engine.ask(LOGIC)) != first


def test_a_game_has_one_process_and_games_have_several(make) -> None:
    engine = make(ECHO, size=3)
    games = [Logic("domain", "grammar", "a goal", f"problem {number}") for number in range(12)]
    first = [pid(engine.ask(game)) for game in games]
    assert [pid(engine.ask(game)) for game in games] == first
    assert len(set(first)) == 3


def test_a_killed_process_is_replaced_without_a_word(make) -> None:
    engine = make(ECHO)
    first = pid(engine.ask(LOGIC))
    os.kill(first, signal.SIGKILL)
    assert pid(engine.ask(LOGIC, ("look",), "open box 1")) != first


def test_a_request_that_ends_two_processes_is_given_up(make) -> None:
    dies = FAKE + "send({'ready': True})\nreceive()\nsys.exit('I have had enough')\n"
    engine = make(dies)
    with pytest.raises(JudgeError, match="I have had enough"):
        engine.ask(LOGIC)


def test_a_process_that_cannot_start_says_why(make) -> None:
    with pytest.raises(JudgeError, match="nosuchmodule"):
        make("import nosuchmodule").ask(LOGIC)


def test_a_process_that_is_silent_is_given_up_and_replaced(make, tmp_path: Path) -> None:
    once = f"flag = pathlib.Path({str(tmp_path / 'flag')!r})\n"
    hangs = FAKE + once + "send({'ready': True})\nreceive()\nif not flag.exists(): flag.touch(); time.sleep(60)\n"
    engine = make(hangs + "answer('awake')\n", seconds=4.0)
    begun = time.monotonic()
    with pytest.raises(InfrastructureError, match=r"no answer within 4 s"):
        engine.ask(LOGIC)
    assert time.monotonic() - begun < 30
    assert engine.ask(LOGIC).text == "awake"


@pytest.mark.parametrize("noise", ["b'rubbish that is no frame at all'", "struct.pack('!I', 3) + b'{]}'"])
def test_a_process_that_breaks_the_protocol_is_given_up(make, noise: str) -> None:
    engine = make(f"{FAKE}\nsys.stdout.buffer.write({noise})\n")
    with pytest.raises(JudgeError):
        engine.ask(LOGIC)


def test_threads_share_the_processes(make) -> None:
    engine = make(ECHO, size=2)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: engine.ask(LOGIC, (), f"say {n}"), range(40)))
    assert all(f"'say {number}'" in answer.text for number, answer in enumerate(answers))


def test_a_forked_process_gets_processes_of_its_own(make) -> None:
    engine = make(ECHO)
    mine = pid(engine.ask(LOGIC))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(pid(engine.ask(LOGIC))).encode())
            engine.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert int(pipe.read()) != mine
    assert pid(engine.ask(LOGIC)) == mine


def test_a_game_is_known_by_all_of_its_text() -> None:
    logics = [Logic(*texts) for texts in (("a", "b", "c", "d"), ("a", "b", "c", "e"), ("ab", "", "c", "d"))]
    assert len({logic.key for logic in logics}) == 3
    assert pickle.loads(pickle.dumps(logics[0])) == logics[0]


def test_environments_share_an_engine() -> None:
    assert shared_engine(2) is shared_engine(2)
    assert shared_engine(2) is not shared_engine(3)


def real_logic() -> Logic:
    return load_games(None, "test")[0].logic("move")


def runs(process: str) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


ENDINGS = {
    "exit": "",
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
    "kill beside a fork": "os.fork() or os._exit(len(sys.stdin.read()))\nos.kill(os.getpid(), signal.SIGKILL)",
}


@needs_textworld
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_real_program_ends_with_the_process_that_started_it(ending: str) -> None:
    script = f"""
import os, signal, sys
from sdpo_envs.alfredgame import load_games
from sdpo_envs.textengine import shared_engine
engine = shared_engine(1)
said = engine.ask(load_games(None, 'test')[0].logic('move')).text.count('You are')
print(said, engine._workers[0].channel._process.pid, flush=True)
{ENDINGS[ending]}
"""
    command = [sys.executable, "-W", "error", "-c", script]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as begun:
        said, worker = begun.stdout.readline().split()
        begun.wait(timeout=100)
        until = time.monotonic() + 30
        while runs(worker):
            assert time.monotonic() < until, "it is still there"
            time.sleep(0.02)
        begun.stdin.close()
        assert (said, begun.stderr.read()) == ("1", "")


@needs_textworld
def test_the_real_program_says_what_is_wrong_with_a_game(make) -> None:
    with pytest.raises(JudgeError, match="second one for the same request"):
        make(PROGRAM).ask(Logic("(define", "", "", "rubbish"))


@needs_textworld
def test_the_real_program_ends_when_it_idles_and_starts_again(make) -> None:
    start = "from sdpo_envs import textworker; textworker.IDLE_SECONDS = 0.5; textworker.main()"
    engine, logic = make(PROGRAM.replace("from sdpo_envs.textworker import main; main()", start)), real_logic()
    first = engine.ask(logic)
    engine._workers[0].channel._process.wait(timeout=100)
    assert engine.ask(logic) == first
