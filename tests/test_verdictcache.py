"""What was answered is asked for once, by threads and by processes, and what is damaged is asked for again."""

import json
import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sdpo_envs import JudgeError
from sdpo_envs.verdictcache import VerdictCache, content_key

KEY = content_key("a question")


def read(text: str) -> int:
    return int(text)


class Asked:
    """Counts, and takes its time."""

    def __init__(self, answer: str = "1", seconds: float = 0.0) -> None:
        self.answer, self.seconds, self.times = answer, seconds, 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self.times += 1
        time.sleep(self.seconds)
        return self.answer


def file_of(folder: Path) -> Path:
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    return path


@pytest.mark.parametrize("on_disk", [False, True])
def test_an_answer_is_asked_for_once(tmp_path: Path, on_disk: bool) -> None:
    cache, ask = VerdictCache(tmp_path / "new" if on_disk else None, read), Asked()
    assert [cache.get(KEY, ask), cache.get(KEY, ask)] == [1, 1]
    assert cache.get(content_key("another"), Asked("2")) == 2
    assert ask.times == 1


def test_threads_that_want_the_same_wait_for_one_answer() -> None:
    cache, ask = VerdictCache(None, read), Asked(seconds=0.05)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: cache.get(KEY, ask), range(32))) == [1] * 32
    assert ask.times == 1


def test_threads_that_want_other_things_do_not_wait() -> None:
    cache, meet = VerdictCache(None, read), threading.Barrier(4, timeout=10)

    def ask() -> str:
        meet.wait()
        return "1"

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda number: cache.get(content_key(number), ask), range(4))) == [1] * 4


def test_another_process_finds_what_is_on_disk(tmp_path: Path) -> None:
    VerdictCache(tmp_path, read).get(KEY, Asked())
    never = Asked("2")
    assert VerdictCache(tmp_path, read).get(KEY, never) == 1
    assert never.times == 0


def test_a_file_has_the_keys_name_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    VerdictCache(tmp_path, read).get(KEY, Asked())
    assert file_of(tmp_path) == tmp_path / KEY[:2] / f"{KEY}.json"
    assert json.loads(file_of(tmp_path).read_text()) == {"answer": "1"}


DAMAGED = [
    b"",
    b"{",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b'{"answer": 7}',
    b'{"answer": "not a number"}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("damage", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_is_asked_for_again_and_replaced(tmp_path: Path, damage: bytes) -> None:
    VerdictCache(tmp_path, str.strip).get(KEY, Asked())
    file_of(tmp_path).write_bytes(damage)
    ask = Asked("2")
    assert VerdictCache(tmp_path, checked).get(KEY, ask) == "2"
    assert ask.times == 1
    assert VerdictCache(tmp_path, checked).get(KEY, Asked("3")) == "2"


def checked(text: str) -> str:
    """As the reader of a judge, which is given a text and refuses another."""
    return str(int(text.strip()))


def test_a_failure_is_not_remembered() -> None:
    cache = VerdictCache(None, read)

    def fail() -> str:
        raise JudgeError("gone")

    with pytest.raises(JudgeError):
        cache.get(KEY, fail)
    assert cache.get(KEY, Asked()) == 1


def test_who_waits_for_a_failure_hears_of_it() -> None:
    cache, begun = VerdictCache(None, read), threading.Event()

    def fail() -> str:
        begun.set()
        time.sleep(0.05)
        raise JudgeError("gone")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, KEY, fail)
        begun.wait(10)
        second = pool.submit(cache.get, KEY, fail)
        assert isinstance(first.exception(), JudgeError)
        assert isinstance(second.exception(), JudgeError)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdpo_envs.verdictcache._REMEMBERED", 3)
    cache, ask = VerdictCache(None, read), Asked()
    for number in (0, 1, 2, 0, 3):
        cache.get(content_key(number), ask)
    assert ask.times == 4
    cache.get(content_key(0), ask)
    assert ask.times == 4
    cache.get(content_key(1), ask)
    assert ask.times == 5


def race(folder: Path, answer: str, gate: object, told: object) -> None:
    cache = VerdictCache(folder, read)
    gate.wait()  # type: ignore[attr-defined]
    told.put([cache.get(content_key(number), Asked(answer, 0.002)) for number in range(20)])  # type: ignore[attr-defined]


def test_of_processes_that_ask_at_once_all_go_on_with_one_answer(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    gate, told = context.Barrier(3), context.Queue()
    workers = [
        context.Process(target=race, args=(tmp_path, str(number), gate, told), daemon=True) for number in range(3)
    ]
    for worker in workers:
        worker.start()
    heard = [told.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert heard[0] == heard[1] == heard[2]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 20


def test_where_names_cannot_be_linked_a_file_is_put_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert VerdictCache(tmp_path, read).get(KEY, Asked()) == 1
    assert VerdictCache(tmp_path, read).get(KEY, Asked("2")) == 1


def test_a_folder_that_cannot_be_used_is_the_judges_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JudgeError, match=r"cannot be kept in .*Give a folder that can be written to"):
        VerdictCache(tmp_path / "file", read).get(KEY, Asked())


def test_keys_differ_with_content_and_with_nothing_else() -> None:
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1}) != content_key({"a": 1, "b": 3})
    assert content_key("a", "b") != content_key("ab")
    assert len(content_key("\ud800é")) == 64
