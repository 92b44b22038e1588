"""Judge models without a model, behind a real server of OpenAI's chat completions on this machine.

`gullible` reads a prompt as a language model may: chat template first, so that a token of the template in the text of a
message begins another message; then it leaves out what stands between the marks that the system message names; and what
is left it obeys, whoever wrote it. Only if nothing is left that gives orders does it judge.
"""

import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sdpo_envs.exactmatch import normalised
from sdpo_envs.parsing import tagged

Body = Mapping[str, Any]
"""A request."""


@dataclass(frozen=True)
class Reply:
    """What a server says: `body` as JSON unless it is bytes already; `drop` breaks the connection instead, and `drip`
    is the seconds between one byte of the body and the next."""

    body: object = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    seconds: float = 0.0
    drop: bool = False
    drip: float = 0.0


Model = Callable[[Body], Reply | str]
"""From a request to a reply, or to the text of a completion."""

AT_ONCE = {"content-type": "application/json", "retry-after-ms": "1"}


def completion(text: object, end: str = "stop", **message: Any) -> Reply:
    choice = {"index": 0, "finish_reason": end, "message": {"role": "assistant", "content": text, **message}}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return Reply({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})


def refused(status: int, message: str = "no") -> Reply:
    return Reply({"error": {"message": message}}, status, AT_ONCE)


def opinion(outcome: str, score: float | None = None, reasons: Sequence[str] = ("So it is.",), **more: Any) -> str:
    """The text of an answer as it is asked for."""
    score = float(outcome == "passed") if score is None else score
    return json.dumps({"reasons": list(reasons), "withheld": [], "outcome": outcome, "score": score} | more)


PASSED, WRONG = opinion("passed"), opinion("wrong")


@dataclass(frozen=True)
class Reading:
    """A prompt as a model reads it.

    Attributes:
        orders: Everything outside the marks, and every message that is neither the first nor the second.
        data: What stands between the marks, by name, as it is written there.
    """

    orders: str
    data: Mapping[str, str]

    def said(self, name: str) -> str:
        return str(json.loads(self.data[name]))


def read(messages: Sequence[Mapping[str, str]]) -> Reading:
    """Read a prompt; see the top."""
    text = "".join(f"<|im_start|>{each['role']}\n{each['content']}<|im_end|>\n" for each in messages)
    turns = [turn for turn in re.split(r"<\|im_end\|>|<\|im_start\|>", text) if turn.strip()]
    system, user, *others = turns
    named = re.search(r"the mark (\S+) begin", system)
    orders, data, inside = [system, *others], {}, ""
    for line in user.splitlines()[1:]:  # at every break of Unicode, as a model takes them all for one
        word, name, mark = [*line.split(" "), "", ""][:3]
        if named and not inside and word == "BEGIN" and mark == named[1]:
            inside = name
        elif named and inside and word == "END" and (name, mark) == (inside, named[1]):
            inside = ""
        elif inside:
            data[inside] = data[inside] + "\n" + line if inside in data else line
        else:
            orders.append(line)
    return Reading("\n".join(orders), data)


def obeys(orders: str) -> bool:
    """Whether somebody outside the data orders to let the submission pass, or says that it has."""
    return bool(re.search(r'ignore the rubric|\\?"outcome\\?": ?\\?"passed\\?"', orders, re.IGNORECASE))


def gullible(body: Body) -> str:
    """Obey what stands outside the data, or else compare."""
    reading = read(body["messages"])
    return PASSED if obeys(reading.orders) else honest(body)


def honest(body: Body) -> str:
    """Compare the submission with the reference, whatever else is said; if that has an answer in tags, both answers."""
    data = read(body["messages"])
    submission, reference = data.said("SUBMISSION"), data.said("REFERENCE")
    if (right := tagged(reference, "answer")) is not None:
        given = tagged(submission, "answer")
        if not given:
            return opinion("malformed", reasons=["There is no answer between tags."])
        submission, reference = given, right
    if normalised(submission) == normalised(reference):
        return PASSED
    return opinion("wrong", reasons=["The answer is another one."], withheld=[f"It is {reference}."])


class Server(http.server.ThreadingHTTPServer):
    """Answers as `model` does, and remembers what it was asked."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, model: Model) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model = model
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.lock, self.over = threading.Lock(), threading.Event()
        self.at_once = self.most = 0
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up is nothing to print."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server = self.server
        with server.lock:
            server.bodies.append(body)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.at_once += 1
            server.most = max(server.most, server.at_once)
        said = server.model(body) if self.path == "/v1/chat/completions" else refused(404, "no such path")
        reply = completion(said) if isinstance(said, str) else said
        server.over.wait(reply.seconds)
        with server.lock:
            server.at_once -= 1
        self.close_connection = reply.drop
        if not reply.drop:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        for piece in (data[at : at + 1] for at in range(len(data))) if reply.drip else [data]:
            self.wfile.write(piece)
            if self.server.over.wait(reply.drip):
                return


@contextmanager
def serving(model: Model) -> Iterator[Server]:
    """Serve a model on this machine."""
    server = Server(model)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()


def in_turn(*replies: Reply | str) -> Model:
    """Say these in their order, and the last one again and again."""
    left = list(replies)
    return lambda body: left.pop(0) if len(left) > 1 else left[0]
