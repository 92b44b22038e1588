"""A sampler behind HTTP: any server of OpenAI's chat completions, such as vLLM, SGLang or `transformers serve`."""

import json
import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sdpo_agent.attempt import Conversation, Turn
from sdpo_envs import InfrastructureError, SettingError
from sdpo_envs.endpoint import CONNECT_SECONDS, connect
from sdpo_envs.errors import nearest, require, within

THINKING_OFF: Mapping[str, object] = {"chat_template_kwargs": {"enable_thinking": False}}
"""Read by all three servers that are named above; templates that know no thinking pass over it."""

_SEEDS = 2**31  # as many as every server tells apart; a larger one stops some releases of SGLang
_TOO_LONG = re.compile(r"context|model length|longer than|too (?:long|large)", re.IGNORECASE)

_Request = tuple[Conversation, int, float, int]


class Server:
    """A model that a server samples from.

    Its tokens are counted as it tells, and not scored: its turns have no `token_ids` and no `logprobs`. How a chat
    becomes tokens is the server's affair.

    A server may cut the distribution down: top-p is turned off in each request, but a top-k that the model's own
    settings name is not (vLLM and SGLang: add ``"top_k": -1`` to `extra`). `transformers serve` is greedy at every
    temperature unless those settings have ``do_sample``, which ``"generation_config": '{"do_sample": true}'`` in
    `extra` brings; and it seeds one generator for all requests, so that equal seeds give equal actions only with
    ``concurrent=1``. SGLang heeds seeds only if it was started with ``--enable-deterministic-inference``.

    Attributes:
        model: Its name on the server; for `transformers serve` the folder or name that it was started with.
        url: Where the server is, with its ``/v1``.
        requests: How many were answered.
        prompt_tokens: Read by the model in all of them, as far as the server tells.
        action_tokens: Written by it, thinking and end tokens included.

    Args:
        model: See above.
        url: See above.
        key: The server's, if it wants one. None is ever taken from the environment.
        seconds: How long the server may be silent, and then how long its answer may take to come, before a request is
            given up, and tried again.
        retries: How often a request is tried again if the connection fails, the server takes too long, or it answers
            408, 409, 429 or 5xx, and only then; after half a second, then after twice as long each time, up to 8
            seconds, or when the server says, up to 2 minutes.
        concurrent: The most requests at a time, of one `write`.
        limit: The most characters of a conversation that `fits`; None has no limit.
        extra: More fields of the request.

    Raises:
        MissingExtra: the module openai is not installed.
        SettingError: a number is out of range, or `url` is not one.
    """

    def __init__(
        self,
        model: str,
        url: str = "http://localhost:8000/v1",
        *,
        key: str = "",
        seconds: float = 600.0,
        retries: int = 4,
        concurrent: int = 32,
        limit: int | None = None,
        extra: Mapping[str, object] = THINKING_OFF,
    ) -> None:
        within("seconds", seconds, 1e-3)
        within("retries", retries, 0)
        within("concurrent", concurrent, 1)
        if not re.match(r"https?://[^/]", url):
            raise SettingError(f"url={url!r} must begin with http:// or https://, as in 'http://localhost:8000/v1'.")
        self.model, self.url = model, url
        self.requests = self.prompt_tokens = self.action_tokens = 0
        self._seconds, self._tries, self._concurrent = seconds, retries + 1, concurrent
        self._limit, self._extra = limit, dict(extra)
        self._lock = threading.Lock()
        self._kept: dict[_Request, Turn] = {}
        self._openai = require("openai", "server")
        self._client = connect(self, url, key=key or "none", seconds=seconds, retries=retries)

    def fits(self, conversation: Conversation, max_tokens: int) -> bool:
        """Tell whether `conversation` has at most `limit` characters. A server's tokens cannot be counted from here."""
        return self._limit is None or sum(len(turn["content"]) for turn in conversation.messages()) <= self._limit

    def write(
        self, conversations: Sequence[Conversation], *, max_tokens: int, temperature: float, seeds: Sequence[int]
    ) -> list[Turn]:
        """Sample one action per conversation.

        Args:
            conversations: What to answer.
            max_tokens: The longest action.
            temperature: Of the sampling.
            seeds: One per conversation; their lowest 31 bits are sent.

        Returns:
            The turns, in the order of the conversations. An empty action is one that the model chose to write.

        Raises:
            InfrastructureError: a request failed, after its retries. All others were finished first; what they wrote
                is kept, and the same call once more asks only for the rest.
            SettingError: a number is out of range.
        """
        within("max_tokens", max_tokens, 1)
        within("temperature", temperature, 0)
        asked = [(each, max_tokens, temperature, int(seed)) for each, seed in zip(conversations, seeds, strict=True)]
        pool = ThreadPoolExecutor(self._concurrent)
        try:
            written = list(pool.map(self._try, asked))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        turns = [turn for turn in written if isinstance(turn, Turn)]
        failures = [failure for failure in written if isinstance(failure, Exception)]
        self._kept = {key: turn for key, turn in zip(asked, written, strict=True) if isinstance(turn, Turn)}
        if failures:
            raise InfrastructureError(
                f"{len(failures)} of {len(asked)} requests to the model {self.model!r} at {self.url} failed. "
                f"{self._explain(failures[0])}"
            ) from failures[0]
        self._kept = {}
        return turns

    def _try(self, request: _Request) -> Turn | Exception:
        """Return what was written, or what went wrong on the way."""
        if request in self._kept:
            return self._kept[request]
        conversation, max_tokens, temperature, seed = request
        try:
            completion = self._client.chat.completions.create(
                model=self.model,
                messages=[{name: _writable(text) for name, text in turn.items()} for turn in conversation.messages()],
                max_tokens=max_tokens,
                temperature=temperature,
                top_p=1.0,
                seed=seed % _SEEDS,
                extra_body=self._extra,
            )
            return _turn(conversation, completion, *self._count(completion))
        except (self._openai.OpenAIError, InfrastructureError, json.JSONDecodeError, UnicodeDecodeError) as error:
            return error

    def _count(self, completion: Any) -> tuple[int, int]:
        """Add up what an answer has cost; return how many tokens were read and written, 0 where that is not told."""
        usage = getattr(completion, "usage", None)
        told = (getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
        read, written = (tokens if isinstance(tokens, int) else 0 for tokens in told)
        with self._lock:
            self.requests += 1
            self.prompt_tokens += read
            self.action_tokens += written
        return read, written

    def _explain(self, error: Exception) -> str:
        """Say what happened and what to do next."""
        if isinstance(error, InfrastructureError):
            return str(error)
        if isinstance(error, ValueError):
            return f"The answer cannot be read: {error}. Check that the url is that of a chat server, ending in /v1."
        if isinstance(error, self._openai.APITimeoutError) and "Connect" not in type(error.__cause__).__name__:
            return (
                f"No answer in {self._seconds:g} seconds, in {self._tries} tries. Allow more seconds, ask for fewer "
                "tokens or for less at a time (concurrent), or see the server's log."
            )
        if isinstance(error, self._openai.APIStatusError):
            said = _said(error)
            return f"The server answers {error.status_code}: {said}. {self._advice(error.status_code, said)}"
        return (
            f"The connection failed, in {self._tries} tries: {error.__cause__ or error}. "
            "Start the server, or check the url, which ends in /v1."
        )

    def _advice(self, status: int, said: str) -> str:
        if status in (401, 403):
            return "Give the key that this server wants (key)."
        if status == 404:
            names = self._names()
            hint = nearest(self.model, names) or "."
            listed = f"It has {names[:10]}{hint}" if names else "It names no models: check the url, which ends in /v1."
            return f"Give a model that this server has. {listed}"
        if status in (400, 413, 422) and _TOO_LONG.search(said):
            return "Ask for fewer tokens (max_tokens), or have the oldest turns dropped sooner (limit)."
        if status < 500 and status not in (408, 409, 429):
            return "See which fields and which model this server takes (extra, model)."
        return f"Up to {self._tries} tries were made. Ask for less at a time (concurrent), or see the server's log."

    def _names(self) -> list[str]:
        """Return the models that the server has, if it tells."""
        try:
            listed = self._client.with_options(timeout=CONNECT_SECONDS, max_retries=0).models.list()
            return [model.id for model in listed.data if isinstance(model.id, str)]
        except (self._openai.OpenAIError, AttributeError, TypeError, ValueError):
            return []


def _turn(conversation: Conversation, completion: Any, read: int, written: int) -> Turn:
    """Turn an answer, for which so many tokens were read and written, into an action."""
    try:
        choice = completion.choices[0]
        action, end = choice.message.content, choice.finish_reason
    except (AttributeError, LookupError, TypeError) as error:
        shown = str(completion)[:200]
        raise InfrastructureError(f"The answer is not a chat completion: {shown}. Check the url.") from error
    if action is None and written:
        action = ""  # SGLang writes an empty text so, and all servers do when thinking has used up the tokens
    if not isinstance(action, str) or end not in ("stop", "length"):
        raise InfrastructureError(
            f"The answer is no finished text: its content is {str(action)[:200]!r} and its finish_reason {end!r}. "
            "Expected a text that ends with 'stop' or 'length'. Start the server without a parser of tools, and see "
            "its log."
        )
    return Turn(
        conversation.observation,
        _writable(action),
        token_ids=(),
        logprobs=(),
        cut_short=end == "length",
        system=conversation.system,
        prompt_tokens=read,
        action_tokens=written,
    )


def _said(error: Any) -> str:
    """Return the words of a refusal, wherever a server puts them."""
    body = error.body
    words = (body.get("message") or body.get("detail") or body) if isinstance(body, dict) else body
    return str(words or error.message).strip()[:500].rstrip(".")


def _writable(text: str) -> str:
    """Replace lone surrogates, which cannot be sent, by ``?``."""
    return text.encode(errors="replace").decode()
