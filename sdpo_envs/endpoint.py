"""A client of OpenAI's chat completions, for whoever asks a server: the LLM judge, and the agent's sampler."""

import functools
import time
import weakref
from typing import Any

from sdpo_envs.errors import require

CONNECT_SECONDS = 10.0
"""For a server to take a connection."""


def connect(owner: object, url: str, *, key: str, seconds: float, retries: int) -> Any:
    """Return an `openai.OpenAI` whose connections are closed when nobody holds its `owner` any more.

    Args:
        owner: Holds the client, which alone would live until Python next looks for cycles.
        url: Where the server is, with its ``/v1``.
        key: The server's, or any text where it wants none; an empty one would be looked up in the environment.
        seconds: How long the server may be silent, and then how long its answer may take to come.
        retries: How often a request is tried again if the connection fails, the server takes too long, or it answers
            408, 409, 429 or 5xx: after half a second, then after twice as long each time, up to 8 seconds, or when the
            server says.

    Raises:
        MissingExtra: the module openai is not installed.
    """
    openai = require("openai", "server")
    connections = openai.DefaultHttpxClient(event_hooks={"response": [functools.partial(_read, seconds)]})
    client = openai.OpenAI(
        base_url=url,
        api_key=key,
        timeout=openai.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
        max_retries=retries,
        http_client=connections,
    )
    weakref.finalize(owner, connections.close)
    return client


def _read(seconds: float, response: Any) -> None:
    """Read an answer to its end, unless it comes too slowly, a piece after the other."""
    httpx, until, pieces = require("httpx", "server"), time.monotonic() + seconds, []
    for piece in response.stream:
        pieces.append(piece)
        if time.monotonic() > until:
            raise httpx.ReadTimeout("The answer came too slowly.", request=response.request)
    response.stream.close()
    response.stream = httpx.ByteStream(b"".join(pieces))
