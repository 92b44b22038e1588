"""Passages: read from files, searched here, and by servers that answer, are slow, break, or make no sense."""

import json
import math
import pickle
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sdpo_envs.errors import InfrastructureError, MissingExtra, RecordError, SettingError
from sdpo_envs.passages import Library, Passage, Retriever, SearchServer, open_corpus

ROWS = [
    {"id": "0", "contents": "Ossel\nThe Ossel is a river that rises on Karrow."},
    {"id": "1", "contents": '"Vyre, Little"\nThe Little Vyre is a brook.\nIt freezes.'},
    {"id": "2", "title": "Mount\nKarrow", "text": "Karrow is a mountain."},
]
REPLY = {"result": [[{"document": row, "score": 1.5} for row in ROWS]]}


def corpus(folder: Path, *rows: Any, name: str = "corpus.jsonl") -> Path:
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


# In this process


def test_passages_have_a_title_and_a_text_in_either_form(tmp_path: Path) -> None:
    assert Library(corpus(tmp_path, *ROWS)).passages == (
        Passage("Ossel", "The Ossel is a river that rises on Karrow."),
        Passage('"Vyre, Little"', "The Little Vyre is a brook.\nIt freezes."),
        Passage("Mount Karrow", "Karrow is a mountain."),
    )
    (bare,) = Library(corpus(tmp_path, {"contents": "Only a title"})).passages
    assert (bare.title, bare.text, bare.contents) == ("Only a title", "", "Only a title\n")


def test_contents_go_before_title_and_text(tmp_path: Path) -> None:
    row = {"title": "Other", "text": "Other.", "contents": "Ossel\nA river."}
    assert Library(corpus(tmp_path, row)).passages == (Passage("Ossel", "A river."),)


def test_the_best_passages_come_first_and_those_without_a_common_word_not_at_all(tmp_path: Path) -> None:
    library = Library(corpus(tmp_path, *ROWS))
    assert [passage.title for passage in library.search("Where is Karrow?", 3)] == ["Mount Karrow", "Ossel"]
    assert [passage.title for passage in library.search("Where is Karrow?", 1)] == ["Mount Karrow"]
    assert library.search("glaciers", 3) == library.search("", 3) == []


def test_titles_are_searched_too(tmp_path: Path) -> None:
    (found,) = Library(corpus(tmp_path, {"contents": "Quenn\nIt is short."})).search("quenn", 3)
    assert found.title == "Quenn"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"id": "0"}, "line 1: the column 'title' is missing"),
        ({"title": "Ossel"}, "line 1: the column 'text' is missing"),
        ({"contents": None}, "line 1: the column 'contents' must be str"),
        ("contents", "line 1: a record must be a JSON object"),
    ],
)
def test_a_row_that_is_no_passage_is_an_error_that_names_its_place(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(RecordError, match=re.escape(said)):
        Library(corpus(tmp_path, row))


def test_an_empty_corpus_and_a_missing_one_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="There is no passage in"):
        Library(corpus(tmp_path))
    with pytest.raises(SettingError, match="There is no file or folder"):
        Library(tmp_path / "nowhere.jsonl")


def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bm25s", None)
    with pytest.raises(MissingExtra, match=re.escape("pip install 'sdpo-envs[retrieval]'")):
        Library(corpus(tmp_path, *ROWS))


def test_a_library_pickles_and_can_be_asked_from_threads(tmp_path: Path) -> None:
    library = pickle.loads(pickle.dumps(Library(corpus(tmp_path, *ROWS))))
    queries = ["Karrow mountain", "river that rises", "frozen brook freezes", "nothing"] * 200
    alone = [library.search(query, 2) for query in queries]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda query: library.search(query, 2), queries)) == alone


# By a server

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers as it was told to, and remembers what it was asked."""

    answers: list[Answer]
    asked: list[tuple[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, json.loads(body)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer(self)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def says(body: Any, status: int = 200) -> Answer:
    def answer(handler: Handler) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def hangs_up(handler: Handler) -> None:
    handler.close_connection = True


def breaks_off(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"result": [')
    handler.close_connection = True


def sends(*parts: bytes, pause_seconds: float = 0.0) -> Answer:
    """Send these bytes as they are, a part at a time, and hang up."""

    def answer(handler: Handler) -> None:
        handler.close_connection = True
        with suppress(OSError):
            for part in parts:
                handler.wfile.write(part)
                time.sleep(pause_seconds)

    return answer


def drips(text: bytes) -> Answer:
    return sends(*(bytes([byte]) for byte in text), pause_seconds=0.02)


@contextmanager
def serving(*answers: Answer) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Run a server on this machine; yield its address and what it has been asked."""
    asked: list[tuple[str, Any]] = []
    handler = type("Told", (Handler,), {"answers": list(answers), "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


def client(address: str, **settings: Any) -> SearchServer:
    return SearchServer(address, **{"seconds": 5.0, "pause_seconds": 0.0} | settings)


def test_a_server_is_asked_as_search_r1s_is_and_its_order_is_kept() -> None:
    with serving(says(REPLY)) as (address, asked):
        found = client(address).search("where is Karrow", 3)
    assert [passage.title for passage in found] == ["Ossel", '"Vyre, Little"', "Mount Karrow"]
    assert asked == [("/retrieve", {"queries": ["where is Karrow"], "topk": 3, "return_scores": True})]


def test_a_path_of_its_own_is_asked() -> None:
    with serving(says(REPLY)) as (address, asked):
        client(f"{address}/v1/find/").search("Karrow", 3)
    assert asked[0][0] == "/v1/find"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\n\r\n%b",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%b",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n%b",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n       \r\n1000\r\n%b\r\n0\r\n\r\n",
    ],
)
def test_a_reply_may_come_in_any_form_of_http(head: bytes) -> None:
    with serving(sends(head % json.dumps(REPLY).encode().ljust(0x1000))) as (address, _):
        assert len(client(address).search("Karrow", 3)) == 3


def test_nothing_found_is_nothing() -> None:
    with serving(says({"result": [[]]})) as (address, _):
        assert client(address).search("glaciers", 3) == []


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_that_is_well_again_has_answered(status: int) -> None:
    trouble = says({"detail": "busy"}, status)
    with serving(trouble, trouble, says(REPLY)) as (address, asked):
        assert len(client(address, tries=3).search("Karrow", 3)) == 3
    assert len(asked) == 3


@pytest.mark.parametrize(
    "trouble",
    [
        hangs_up,
        breaks_off,
        says(b"", 503),
        sends(b"\xff\xfe\x00"),
        sends(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n{}"),
        sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}"),
        sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}"),
    ],
)
def test_a_broken_connection_is_tried_again_and_then_no_fault_of_the_policy(trouble: Answer) -> None:
    with serving(trouble, says(REPLY)) as (address, _):
        assert len(client(address, tries=2).search("Karrow", 3)) == 3
    with serving(trouble) as (address, asked), pytest.raises(InfrastructureError, match="in 3 tries; at last"):
        client(address, tries=3).search("Karrow", 3)
    assert len(asked) == 3


def test_a_slow_server_is_given_up_in_time() -> None:
    done = threading.Event()
    with ExitStack() as stack:
        address, _ = stack.enter_context(serving(lambda _: (done.wait(20), None)[1]))
        stack.callback(done.set)
        with pytest.raises(InfrastructureError, match="did not answer in 2 tries; at last TimeoutError"):
            client(address, seconds=0.1, tries=2).search("Karrow", 3)


@pytest.mark.parametrize(
    "reply",
    [
        drips(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200 + b"\r\n\r\n"),
        drips(b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(REPLY).encode()),
        sends(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 200, pause_seconds=0.02),
    ],
)
def test_a_server_that_drips_is_given_up_in_time(reply: Answer) -> None:
    with serving(reply) as (address, _), pytest.raises(InfrastructureError, match="in 2 tries; at last TimeoutError"):
        client(address, seconds=0.1, tries=2).search("Karrow", 3)


@pytest.mark.parametrize("head", [b"", b"Content-Length: 1001\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_an_answer_without_end_is_not_read_to_it(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdpo_envs.passages._LARGEST", 1000)
    body = (b"3e9\r\n" if b"chunked" in head else b"") + b" " * 1001
    with (
        serving(sends(b"HTTP/1.1 200 OK\r\n", head, b"\r\n", body)) as (address, asked),
        pytest.raises(InfrastructureError, match="its answer is longer than 1,000 bytes"),
    ):
        client(address).search("Karrow", 3)
    assert len(asked) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_server_that_points_elsewhere_is_not_followed(status: int) -> None:
    moved = sends(b"HTTP/1.1 %d Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n" % status)
    with serving(moved, says(REPLY)) as (address, asked), pytest.raises(InfrastructureError, match=f"status {status}"):
        client(address).search("Karrow", 3)
    assert [path for path, _ in asked] == ["/retrieve"]


def test_a_server_that_is_not_there_is_said_to_be_down() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(InfrastructureError, match="ConnectionRefusedError") as caught:
            client(address).search("Karrow", 3)
    assert f"The search server {address}" in str(caught.value)
    assert "Start it, or give the address of one that runs" in str(caught.value)


def test_a_refusal_is_not_tried_again() -> None:
    with (
        serving(says({"detail": "no such key"}, 422)) as (address, asked),
        pytest.raises(InfrastructureError, match=r'status 422: \{"detail": "no such key"\}'),
    ):
        client(address).search("Karrow", 3)
    assert len(asked) == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"<html>Welcome</html>",
        b"\xff\xfe",
        b"[" * 100_000,
        [],
        {"results": []},
        {"result": []},
        {"result": [[], []]},
        {"result": "x"},
        {"result": {"0": []}},
        {"result": [{}]},
        {"result": [""]},
        {"result": [None]},
        {"result": ["a"]},
        {"result": [[{"score": 1.0}]]},
        {"result": [[{"document": "text", "score": 1.0}]]},
        {"result": [[{"document": {"id": "0"}, "score": 1.0}]]},
        {"result": [[{"document": {"contents": 7}, "score": 1.0}]]},
        {"result": [ROWS]},
    ],
)
def test_an_answer_that_makes_no_sense_is_shown_beside_what_was_expected(reply: Any) -> None:
    with serving(says(reply)) as (address, _), pytest.raises(InfrastructureError) as caught:
        client(address).search("Karrow", 3)
    assert '{"result": [[{"document": {"contents": "..."}, "score": 1.0}, ...]]}' in str(caught.value)
    assert len(str(caught.value)) < 1500


def test_more_passages_than_were_asked_for_are_an_error() -> None:
    with serving(says(REPLY)) as (address, _), pytest.raises(InfrastructureError, match="gave 3 passages where 2"):
        client(address).search("Karrow", 2)


def test_pauses_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    with serving(says(b"", 503)) as (address, _), pytest.raises(InfrastructureError):
        SearchServer(address, tries=4, pause_seconds=0.5).search("Karrow", 3)
    assert pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:8000",
        "ftp://host",
        "http://",
        "http://:80",
        "http://host:port",
        "http://h:99999",
        "http://[::1",
        "http://a..b",
        f"http://{'a' * 64}",
        "http://h/\u00fc",
        "http://h/a b",
        "http://h\n",
        "http://name:password@h",
        "http://h/retrieve?index=1",
        "http://h#1",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(SettingError, match="is no address of a server"):
        SearchServer(address)


@pytest.mark.parametrize("settings", [{"seconds": 0}, {"seconds": math.inf}, {"tries": 0}, {"pause_seconds": -1}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        SearchServer("http://localhost:8000", **settings)


def test_a_corpus_is_opened_by_what_it_is(tmp_path: Path) -> None:
    class Own:
        def search(self, query: str, k: int) -> list[Passage]:
            return []

    own = Own()
    assert open_corpus(own) is own
    assert isinstance(open_corpus("http://localhost:8000/retrieve"), SearchServer)
    assert isinstance(open_corpus(corpus(tmp_path, *ROWS)), Library)
    assert isinstance(open_corpus(str(corpus(tmp_path, *ROWS))), Library)
    assert isinstance(open_corpus(None), Retriever)
    with pytest.raises(SettingError, match="corpus=7 is not offered"):
        open_corpus(7)  # type: ignore[arg-type]
