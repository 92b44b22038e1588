"""A worker that breaks the protocol, in whatever way, is replaced or is a `SandboxError`: never a wrong run."""

import math
import random
import struct
import threading
import time
from dataclasses import replace

import pytest
from fake_worker import ADVICE, READY, SILENCE, THREE, FakeChannel, answer, echo, outputs, pool_of
from traces import eventually

from sdpo_envs.errors import SandboxError
from sdpo_envs.sandbox.workers import WorkerPool

# What a worker sends.

BROKEN: dict[str, tuple[bytes | None, ...]] = {
    "nothing": (),
    "silence": (SILENCE,),
    "half of a header": (answer()[:9],),
    "half of a text": (answer(stdout=b"a\n")[:-1],),
    "a kind that there is not": (answer(b"Z"),),
    "that it is ready": (READY,),
    "that a process could not be set up": (answer(b"X", marks=b"no space"),),
    "no input done": (answer(done=0, stdout=b"a\n"),),
    "more inputs than there are": (answer(done=4, marks=bytes(4 * 25)),),
    "all but endless many inputs": (answer(done=2**32 - 1),),
    "several inputs without marks": (answer(done=3, stdout=b"a\nb\nc\n"),),
    "fewer marks than inputs": (answer(done=3, marks=bytes(2 * 25), stdout=b"a\nb\nc\n"),),
    "a torn mark": (answer(done=2, marks=bytes(25 + 24)),),
    "a gigantic length": (struct.pack("!cIBd???QQQ", b"D", 1, 0, 0.1, False, False, True, 0, 2**63, 0),),
    "lengths whose sum is gigantic": (struct.pack("!cIBd???QQQ", b"D", 1, 0, 0.1, False, False, True, *[2**28] * 3),),
    "zeros": (bytes(4096),),
    "text": (b"Traceback (most recent call last):\n" * 9,),
    "silence in the midst": (answer(stdout=b"a\n")[:-1], SILENCE),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_worker_that_breaks_once_is_replaced(name: str) -> None:
    pool, used = pool_of(lambda _: BROKEN[name], echo)
    assert outputs(pool.run(replace(THREE, isolated=False))) == ["a\n", "b\n", "c\n"]
    assert [channel.closed for channel in used] == [1, 0]


@pytest.mark.parametrize("name", BROKEN)
def test_a_worker_that_breaks_again_is_a_sandbox_error(name: str) -> None:
    pool, used = pool_of(*[lambda _: BROKEN[name]] * 2, echo)
    with pytest.raises(SandboxError, match=r"^The worker of the sandbox .*last words$"):
        pool.run(replace(THREE, isolated=False))
    assert [channel.closed for channel in used] == [1, 1]
    assert outputs(pool.run(THREE)) == ["a\n", "b\n", "c\n"], "the pool is as good as new"


@pytest.mark.parametrize("answered", [0, 1, 2])
def test_what_was_answered_before_a_loss_is_kept_and_the_rest_runs_on_the_next_worker(answered: int) -> None:
    pool, used = pool_of(lambda count: echo(count)[:answered], echo)
    assert outputs(pool.run(THREE)) == ["a\n", "b\n", "c\n"]
    assert [channel.asked for channel in used] == [[3], [3 - answered]]


def test_an_answer_torn_at_any_byte_is_never_taken_for_a_run() -> None:
    whole = b"".join(echo(3))
    for length in range(len(whole)):
        pool, used = pool_of(lambda _, length=length: [whole[:length]], echo)
        assert outputs(pool.run(THREE)) == ["a\n", "b\n", "c\n"]
        assert len(used) == 2


def test_an_answer_in_pieces_of_one_byte_is_whole() -> None:
    pool, _ = pool_of(lambda count: [bytes([byte]) for byte in b"".join(echo(count))])
    assert outputs(pool.run(THREE)) == ["a\n", "b\n", "c\n"]


def test_noise_is_a_sandbox_error_or_a_run_for_each_input() -> None:
    draw = random.Random(0)
    for _ in range(500):
        noise = bytearray(b"".join(echo(3)))
        for _ in range(draw.randint(1, 4)):
            noise[draw.randrange(len(noise))] = draw.randrange(256)
        pool, _ = pool_of(*[lambda _, noise=noise: [bytes(noise)]] * 4)
        try:
            runs = pool.run(replace(THREE, isolated=draw.random() < 0.5))
        except SandboxError:
            continue
        assert len(runs) == 3


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0])
def test_a_time_that_is_none_is_not_passed_on(seconds: float) -> None:
    pool, _ = pool_of(lambda _: [answer(seconds=seconds)] * 3, echo)
    assert all(0 <= run.seconds < math.inf for run in pool.run(THREE))


def test_an_answer_that_nobody_asked_for_is_not_taken_for_that_of_the_next_program() -> None:
    pool, used = pool_of(lambda count: [b"".join(echo(count)) + answer(stdout=b"forged\n")], echo)
    assert outputs(pool.run(THREE)) == ["a\n", "b\n", "c\n"]
    assert outputs(pool.run(THREE)) == ["a\n", "b\n", "c\n"]
    assert len(used) == 2


# How a worker starts.


@pytest.mark.parametrize(
    ("hello", "how"),
    [
        (SILENCE, "fell silent"),
        (b"", "ended"),
        (READY[:-1], "ended"),
        (answer(b"R", 0, marks=b"[" * 99), ""),
        (answer(b"R", 0, marks=b"5"), ""),
        (answer(b"R", 0, marks=b"\xff"), ""),
        (answer(b"D", 0, marks=b"[]"), ""),
        (answer(b"X", 0, marks=b'"no room"'), ""),
        (b"\x00" * 999, ""),
    ],
    ids=repr,
)
def test_a_worker_that_does_not_start_is_a_sandbox_error_with_advice(hello: bytes | None, how: str) -> None:
    pool, used = pool_of(echo, hello=hello)
    with pytest.raises(SandboxError, match=f"(?s){how}.*\n{ADVICE}$"):
        pool.run(THREE)
    assert [channel.closed for channel in used] == [1]


def test_a_worker_that_cannot_be_reached_is_a_sandbox_error_with_advice() -> None:
    def connect() -> FakeChannel:
        raise FileNotFoundError(2, "No such file", "/nowhere")

    with pytest.raises(SandboxError, match=f"(?s)did not start.*nowhere.*\n{ADVICE}$"):
        WorkerPool(1, connect, ADVICE).run(THREE)


def test_a_program_whose_worker_starts_while_the_pool_is_closed_is_not_run() -> None:
    starting, ended = threading.Event(), threading.Event()
    channel = FakeChannel(echo)
    errors: list[str] = []

    def connect() -> FakeChannel:
        starting.set()
        assert ended.wait(30)
        return channel

    def use() -> None:
        try:
            pool.run_many([THREE])
        except SandboxError as error:
            errors.append(str(error))

    pool = WorkerPool(1, connect, ADVICE)
    thread = threading.Thread(target=use)
    thread.start()
    assert starting.wait(30)
    closing = threading.Thread(target=pool.close)
    closing.start()
    assert eventually(lambda: not pool._crews)
    time.sleep(0.1)
    ended.set()
    thread.join(30)
    closing.join(30)
    assert len(errors) == 1
    assert channel.asked == []
