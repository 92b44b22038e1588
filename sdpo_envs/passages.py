r"""Passages to answer questions from, and where they are searched: in this process, or by a server as Search-R1's.

A passage is a record ``{"contents": "Title\ntext"}``, or one with a ``title`` and a ``text``; what else it holds is
left alone. These are the corpora of FlashRAG, Search-R1 and Pyserini.
"""

import http.client
import io
import json
import re
import socket
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from sdpo_envs.errors import InfrastructureError, RecordError, SettingError, within
from sdpo_envs.files import bundled
from sdpo_envs.retrieval import Index
from sdpo_envs.tasks import Record, load_records

_PASSING = {500, 502, 503, 504}
"""What an HTTP server answers that may be well again in a moment."""
_ADDRESS = re.compile(r'https?://[!"$->A-~]+')
"""Visible ASCII, without what parts off a query (?), a fragment (#), or a name and a password (@)."""
_SHOWN = 200
_LARGEST = 1 << 24
"""Bytes of an answer; more are no passages."""
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage: its title, in one line, and its text."""

    title: str
    text: str

    @property
    def contents(self) -> str:
        """Title and text as corpora hold them."""
        return f"{self.title}\n{self.text}"


@runtime_checkable
class Retriever(Protocol):
    """What finds passages for a query. Environments share one, and may ask it from several threads at once."""

    def search(self, query: str, k: int) -> Sequence[Passage]:
        """Return at most `k` passages, the best first.

        Raises:
            InfrastructureError: it cannot say.
        """


class Library:
    """A corpus held in memory and searched by BM25 (`sdpo_envs.retrieval`). Passages that share no word are not found.

    Args:
        source: A file as `load_records` reads it, a passage a record.

    Raises:
        SettingError: there is no such file.
        RecordError: a record is no passage.
        MissingExtra: the extra ``retrieval`` is not installed.
    """

    def __init__(self, source: str | Path) -> None:
        self.passages = tuple(map(_passage, load_records(source, "train")))
        if not self.passages:
            raise SettingError(f"There is no passage in {str(source)!r}; give a corpus with at least one.")
        self._index = Index([passage.contents for passage in self.passages])

    def search(self, query: str, k: int) -> list[Passage]:
        """Return at most `k` passages, the best first."""
        return [self.passages[position] for position, _ in self._index.search(query, k)]


class SearchServer:
    """A server that answers ``POST /retrieve`` as Search-R1's does.

    The request is ``{"queries": [query], "topk": k, "return_scores": true}``, and the reply
    ``{"result": [[{"document": {"contents": ...}, "score": ...}, ...]]}``. (Without scores Search-R1's server breaks,
    so they are always asked for.) It is asked directly, without a proxy, and no redirection is followed.

    Args:
        address: Such as ``"http://127.0.0.1:8000/retrieve"``; without a path, that of ``/retrieve``.
        seconds: How long a try may take to connect, and then until its answer is whole; at most an hour.
        tries: How often a query is tried, if there is no connection, or no answer, or one of status 500, 502, 503, 504.
        pause_seconds: Before the second try, at most an hour; doubled before each that follows.

    Raises:
        SettingError: one of these is not offered.
    """

    def __init__(self, address: str, *, seconds: float = 30.0, tries: int = 4, pause_seconds: float = 0.5) -> None:
        self.address = address
        self.seconds = within("seconds", seconds, 0.001, _HOUR)
        self.tries = int(within("tries", tries, 1))
        self.pause_seconds = within("pause_seconds", pause_seconds, 0, _HOUR)
        self._place = _place(address)

    def search(self, query: str, k: int) -> list[Passage]:
        """Return at most `k` passages, in the server's order.

        Raises:
            InfrastructureError: it cannot be reached, refuses, or answers something else.
        """
        found = self._passages(self._reply(json.dumps({"queries": [query], "topk": k, "return_scores": True})))
        if len(found) > k:
            raise self._error(f"it gave {len(found)} passages where {k} were asked for")
        return found

    def _reply(self, request: str) -> bytes:
        trouble = ""
        for number in range(self.tries):
            if number:
                time.sleep(self.pause_seconds * 2 ** (number - 1))
            try:
                status, reply = self._ask(request)
            except (OSError, ValueError, http.client.HTTPException) as error:  # http.client lets some ValueErrors out
                trouble = f"{type(error).__name__}: {error}"
                continue
            if status == http.client.OK:
                return reply
            trouble = f"status {status}: {reply[:_SHOWN].decode('utf-8', 'replace')}"
            if status not in _PASSING:
                raise self._error(trouble)
        raise self._error(f"it did not answer in {self.tries} tries; at last {trouble}")

    def _ask(self, request: str) -> tuple[int, bytes]:
        secure, host, port, path = self._place
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        with closing(connect(host, port, timeout=self.seconds)) as connection:
            connection.request("POST", path, request, {"Content-Type": "application/json"})
            with http.client.HTTPResponse(connection.sock, method="POST") as response:
                # A socket's own time-out begins anew with every byte.
                dripping = _Dripping(response.fp.detach(), connection.sock, time.monotonic() + self.seconds)
                response.fp = io.BufferedReader(dripping)
                response.begin()
                return response.status, self._whole(response)

    def _whole(self, response: http.client.HTTPResponse) -> bytes:
        reply = response.read(_LARGEST + 1)
        if len(reply) > _LARGEST:
            raise self._error(f"its answer is longer than {_LARGEST:,} bytes")
        if response.length:  # Of the promised bytes these are missing; read(n) does not mind.
            raise http.client.IncompleteRead(reply, response.length)
        return reply

    def _passages(self, reply: bytes) -> list[Passage]:
        try:
            (rows,) = json.loads(reply)["result"]
            if not isinstance(rows, list):
                raise TypeError(f"a list of passages cannot be a {type(rows).__name__}")
            return [_passage(Record(f"passage {number}", row["document"])) for number, row in enumerate(rows, start=1)]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            form = '{"result": [[{"document": {"contents": "..."}, "score": 1.0}, ...]]} with one list for one query'
            said = reply[:_SHOWN].decode("utf-8", "replace")
            raise self._error(f"it answered {said!r}, and not {form}: {error!r}") from error

    def _error(self, trouble: str) -> InfrastructureError:
        advice = "Start it, or give the address of one that runs, as corpus=; nothing was learned about the policy."
        return InfrastructureError(f"The search server {self.address}: {trouble}. {advice}")


class _Dripping(io.RawIOBase):
    """The bytes of a socket until a moment of the monotonic clock, when reading ends in `TimeoutError`."""

    def __init__(self, file: io.RawIOBase, sock: socket.socket, by: float) -> None:
        self._file, self._socket, self._by = file, sock, by

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._by - time.monotonic()
        if left <= 0:
            raise TimeoutError("its answer was not whole in time")
        self._socket.settimeout(left)
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def open_corpus(corpus: str | Path | Retriever | None) -> Retriever:
    """Return what `corpus` names: the bundled passages if None, a file, a server's address, or a retriever as it is.

    Raises:
        SettingError: there is no such file, or the address is none.
        RecordError: a record of the file is no passage.
        MissingExtra: a file is to be searched, and the extra ``retrieval`` is not installed.
    """
    if corpus is None:
        return Library(bundled("tasks", "searchqa") / "corpus.jsonl")
    if isinstance(corpus, str) and corpus.startswith(("http://", "https://")):
        return SearchServer(corpus)
    if isinstance(corpus, str | Path):
        return Library(corpus)
    if isinstance(corpus, Retriever):
        return corpus
    raise SettingError(f"corpus={corpus!r} is not offered; give a path, a server's address, or what has search().")


def _passage(record: Record) -> Passage:
    if not isinstance(record.row, dict):
        raise RecordError(f"{record.where}: a passage must be a JSON object, not {type(record.row).__name__}.")
    if "contents" in record.row:
        title, _, text = record.get("contents").partition("\n")
        return Passage(title, text)
    return Passage(" ".join(record.get("title").split()), record.get("text"))


def _place(address: str) -> tuple[bool, str, int | None, str]:
    """Return whether it is https, the host, the port if one is named, and the path."""
    advice = "give one such as 'http://127.0.0.1:8000'"
    try:
        parts = urlsplit(address)
        place = parts.scheme == "https", parts.hostname or "", parts.port, parts.path.rstrip("/") or "/retrieve"
        place[1].encode("idna")  # as it will be when it is looked up
    except ValueError as error:
        raise SettingError(f"{address!r} is no address of a server ({error}); {advice}.") from error
    if not _ADDRESS.fullmatch(address) or not parts.hostname:
        raise SettingError(f"{address!r} is no address of a server, a host, a port and a path; {advice}.")
    return place
