"""LLMJudge: a judge for open answers, behind any server of OpenAI's chat completions.

What is asked, and how an answer is read, stands in `sdpo_envs.rubric`; this asks, again where that helps, and remembers
what was said (`sdpo_envs.verdictcache`). A judge that gives no valid answer raises `JudgeError`: nothing was learned
about the policy.
"""

import functools
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from sdpo_envs.core import Finding, Outcome, Task, Verdict
from sdpo_envs.endpoint import connect
from sdpo_envs.errors import JudgeError, SettingError, require, within
from sdpo_envs.feedback import excerpt
from sdpo_envs.rubric import (
    Messages,
    Opinion,
    Rubric,
    UnclearError,
    gives_away,
    messages,
    read_opinion,
    right,
    schema,
    to_verdict,
)
from sdpo_envs.verdictcache import VerdictCache, content_key

LONGEST = 20_000
"""Characters of a submission that a judge reads."""
GENERIC = Rubric()
_NO_KEY = "none"
"""Sent where there is no key, as an empty one would be looked up elsewhere."""
_UNPROCESSABLE = (400, 404, 422, 501)
"""What servers answer to a field that they do not know."""
_OURS = ("model", "messages", "temperature", "seed", "max_tokens", "response_format", "stream")
"""Fields of a request that `extra` must leave alone."""


def told_answer(task: Task) -> str:
    """Return `task.answer` if it is a text, ``""`` if it is None.

    Raises:
        SettingError: it is neither, so somebody has to say how it is put into words.
    """
    if task.answer is None or isinstance(task.answer, str):
        return task.answer or ""
    kind = type(task.answer).__name__
    raise SettingError(f"The answer of task {task.id} is a {kind}; pass reference=, a function from a task to words.")


class LLMJudge:
    """A `Judge` that asks a language model to decide by a rubric.

    The same task and action get an equal verdict as long as they are remembered: by this judge, and in `cache` by all.
    An action without text is malformed, and so is one that is too long; neither is asked about. The key of the
    server is read from the environment when the judge is made, unpickled or forked, and stands nowhere else.

    Copies of an environment share its judge. Threads may use it at once, and a `GroupEnv` does.

    Attributes:
        model: Its name on the server.
        url: Where the server is, with its ``/v1``.
        requests: How many requests were answered, by this judge since it was made, unpickled or forked.
        prompt_tokens: Read by the model in all of them, as far as the server tells.
        answer_tokens: Written by it.

    Args:
        model: See above.
        rubric: What makes a submission right.
        url: See above.
        reference: From a task to what is right in words, which the judge compares with; ``""`` for none.
        secrets: From a task to more texts that the author of a submission must not read in its reasons. The reference
            always is one.
        cache: A folder to remember answers in, shared by all judges that ask the same; None for this process alone.
        votes: How many judgements, an odd number; the outcome of most of them counts. They differ in their seeds, so
            they need a temperature.
        temperature: Of the sampling; None leaves it to the server.
        seed: Of the sampling, if the server heeds it; None where it takes none, which leaves one vote.
        max_tokens: The longest answer; None leaves it to the server.
        longest: Most characters of a submission.
        seconds: How long the server may be silent, and then how long its answer may take to come, before a request is
            given up, and tried again.
        retries: How often a request is tried again if the connection fails, the server takes too long, or it answers
            408, 409, 429 or 5xx: after half a second, then after twice as long each time, up to 8 seconds, or when the
            server says.
        tries: How often the model is asked until its answer is valid.
        structured: Whether to ask the server to hold the model to the form of an answer. One that refuses to is asked
            without; one that breaks on it should not be asked.
        extra: More fields of the request.
        key_from: The environment variable that holds the server's key. Where it is not set, none is sent.

    Raises:
        MissingExtra: the module openai is not installed.
        SettingError: a number is out of range; `url` is not one, or it holds a password or a query; `extra` is not
            JSON, or names a field that has a keyword of its own; or the key is none that can be sent.
    """

    waits = True

    def __init__(
        self,
        model: str,
        rubric: Rubric = GENERIC,
        *,
        url: str = "http://localhost:8000/v1",
        reference: Callable[[Task], str] = told_answer,
        secrets: Callable[[Task], Sequence[str]] | None = None,
        cache: str | Path | None = None,
        votes: int = 1,
        temperature: float | None = 0.0,
        seed: int | None = 0,
        max_tokens: int | None = 1024,
        longest: int = LONGEST,
        seconds: float = 120.0,
        retries: int = 4,
        tries: int = 3,
        structured: bool = True,
        extra: Mapping[str, object] | None = None,
        key_from: str = "OPENAI_API_KEY",
    ) -> None:
        for name, value in (("retries", retries), ("seed", seed or 0), ("temperature", temperature or 0)):
            within(name, value, 0)
        for name, value in (
            ("votes", votes),
            ("longest", longest),
            ("tries", tries),
            ("max_tokens", 1 if max_tokens is None else max_tokens),
        ):
            within(name, value, 1)
        within("seconds", seconds, 1e-3, 86_400)
        if votes % 2 == 0 or (votes > 1 and (temperature == 0 or seed is None)):
            raise SettingError(
                f"votes={votes} must be odd, and more than one need a seed and a temperature, not {seed} and "
                f"{temperature}."
            )
        if not re.fullmatch(r"https?://[^/@?#\s]+(/[^@?#\s]*)?", url):
            raise SettingError(
                "url must be the address of a server, such as 'http://localhost:8000/v1', without a password or a "
                f"query; the key of a server belongs in the environment, as {key_from}."
            )
        self.model, self.rubric, self.url = model, rubric, url
        self._reference, self._secrets, self._cache = reference, secrets, cache
        self._votes, self._seed, self._longest, self._tries = votes, seed, longest, tries
        self._seconds, self._retries, self._key_from = seconds, retries, key_from
        self._structured = structured
        asked = {
            "model": model,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "extra_body": _plain(extra or {}),
        }
        self._request = {name: value for name, value in asked.items() if value is not None}
        self._connect()

    def __call__(self, task: Task, action: str) -> Verdict:
        """Judge `action`.

        Raises:
            JudgeError: the server fails, or the model gives no valid answer.
            SettingError: the task's answer is no text, and there is no `reference`.
        """
        if self._process != os.getpid():  # a fork shares the sockets, and would read the answers to others
            self._connect()
        reference = self._reference(task)
        if fault := self._unread(action):
            return Verdict(Outcome.MALFORMED, 0.0, (Finding(fault, answer=right(reference)),))
        secrets = [reference, *(self._secrets(task) if self._secrets else ())]
        opinion = self._most([self._opinion(task, reference, action, secrets, vote) for vote in range(self._votes)])
        return to_verdict(opinion, reference, secrets, f"{task.prompt}\n{action}")

    def __repr__(self) -> str:
        return f"LLMJudge({self.model!r}, url={self.url!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the judge itself: copies of an environment share it."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what belongs to this process: the connection with its key, what is remembered, the counts."""
        ours = ("_client", "_openai", "_process", "_answers", "_lock", "requests", "prompt_tokens", "answer_tokens")
        return {name: value for name, value in vars(self).items() if name not in ours}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Connect anew."""
        vars(self).update(state)
        self._connect()

    def _connect(self) -> None:
        self.requests = self.prompt_tokens = self.answer_tokens = 0
        self._lock, self._process = threading.Lock(), os.getpid()
        self._answers = VerdictCache(self._cache, functools.partial(read_opinion, rubric=self.rubric))
        self._openai = require("openai", "server")
        key = _key(self._key_from)
        self._client = connect(self, self.url, key=key, seconds=self._seconds, retries=self._retries)

    def _unread(self, action: str) -> str:
        """Return why a judge need not read an action; ``""`` if it must."""
        if len(action) > self._longest:
            return f"The answer has {len(action):,} characters, and at most {self._longest:,} are read."
        return "" if action.strip() else "The answer is empty."

    def _opinion(self, task: Task, reference: str, action: str, secrets: Sequence[str], vote: int) -> Opinion:
        request = self._request if self._seed is None else {**self._request, "seed": self._seed + vote}
        ask = functools.partial(messages, self.rubric, task, reference, action)
        key = content_key(request, ask(), schema(self.rubric))
        return self._answers.get(key, lambda: self._answer(request, ask, secrets))

    def _most(self, opinions: Sequence[Opinion]) -> Opinion:
        """Return the first opinion with the outcome that most of them have."""
        outcome, count = Counter(opinion.outcome for opinion in opinions).most_common(1)[0]
        if 2 * count <= len(opinions):
            told = ", ".join(opinion.outcome.value for opinion in opinions)
            raise JudgeError(f"The judge {self.model!r} has no majority among its {len(opinions)} votes: {told}.")
        return next(opinion for opinion in opinions if opinion.outcome is outcome)

    def _answer(self, request: Mapping[str, object], ask: Callable[[str], Messages], secrets: Sequence[str]) -> str:
        """Ask until an answer is valid; return its text."""
        complaint = ""
        for _ in range(self._tries):
            try:
                answer = self._text(self._completion({**request, "messages": ask(complaint)}, secrets))
                read_opinion(answer, self.rubric)
            except UnclearError as error:
                complaint = str(error)
            else:
                return answer
        raise JudgeError(
            f"The judge {self.model!r} gave no valid answer in {self._tries} tries; the last was refused because "
            f"{complaint}. Give a model that writes JSON, or more max_tokens."
        )

    def _completion(self, request: Mapping[str, object], secrets: Sequence[str]) -> Any:
        """Send a request: with a schema for the answer, or without one to a server that does not take it."""
        form = {"name": "verdict", "strict": True, "schema": schema(self.rubric)}
        structured = {**request, "response_format": {"type": "json_schema", "json_schema": form}}
        try:
            if self._structured:
                try:
                    return self._send(structured)
                except self._openai.APIStatusError as error:
                    if error.status_code not in _UNPROCESSABLE:
                        raise
            completion = self._send(request)
            self._structured = False
            return completion
        except (self._openai.OpenAIError, ValueError, RecursionError) as error:
            explained = self._explain(error, secrets)
        # Without its cause: a traceback would tell what a server repeats of the request, the answer in it.
        raise JudgeError(f"The judge {self.model!r} at {self.url}: {explained}")

    def _send(self, request: Mapping[str, object]) -> Any:
        completion = self._client.chat.completions.create(**request)
        usage = getattr(completion, "usage", None)
        read, written = (getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
        with self._lock:
            self.requests += 1
            self.prompt_tokens += read if isinstance(read, int) else 0
            self.answer_tokens += written if isinstance(written, int) else 0
        return completion

    def _text(self, completion: Any) -> str:
        """Return the text of a completion that has ended of itself.

        Raises:
            UnclearError: there is none.
        """
        try:
            choice = completion.choices[0]
            answer, end = choice.message.content, choice.finish_reason
            refusal = getattr(choice.message, "refusal", None)
        except (AttributeError, LookupError, TypeError) as error:
            raise UnclearError("it was not a chat completion") from error
        if refusal or end == "content_filter":
            raise UnclearError("it was a refusal to judge")
        if end == "length":
            raise UnclearError("it was cut off at the most tokens that it may have")
        if not isinstance(answer, str):
            raise UnclearError("it held no text")
        return answer

    def _explain(self, error: Exception, secrets: Sequence[str]) -> str:
        """Say what happened and what to do next."""
        tries = f"in {self._retries + 1} tries"
        if isinstance(error, self._openai.APITimeoutError):
            return f"no answer in {self._seconds:g} seconds, {tries}. Allow more seconds, or see the server's log."
        if isinstance(error, self._openai.APIStatusError):
            if error.status_code in (401, 403):
                return f"it answers {error.status_code}. Put the key that this server wants into {self._key_from}."
            advice = "Check model and url, which ends in /v1; see which fields this server takes, and its log."
            return f"it answers {error.status_code}: {self._told(error, secrets)}. {advice}"
        if isinstance(error, self._openai.APIConnectionError):
            return (
                f"the connection failed, {tries}: {error.__cause__ or error}. Start the server, or check the url, "
                "which ends in /v1."
            )
        return f"its answer is no chat completion ({type(error).__name__}). Check the url, which ends in /v1."

    def _told(self, error: Any, secrets: Sequence[str]) -> str:
        """Return the words of a refusal, unless they repeat what was asked: servers do, and it holds the answer."""
        body = error.body if isinstance(error.body, dict) else {}
        words = str(body.get("message") or body.get("detail") or error.message)
        key = self._client.api_key
        if (key != _NO_KEY and key in words) or "BEGIN REFERENCE" in words or gives_away(words, secrets, ""):
            return "(its words repeat what must not be told)"
        return excerpt(" ".join(words.split())).rstrip(".")


def _plain(extra: Mapping[str, object]) -> dict[str, object]:
    """Return more fields of a request if they are JSON, and none of them is ours."""
    if taken := [name for name in _OURS if name in extra]:
        raise SettingError(f"extra={extra!r} must not hold {taken}, which the judge sets itself.")
    try:
        return dict(json.loads(json.dumps(extra)))
    except (TypeError, ValueError) as error:
        raise SettingError(f"extra={extra!r} must be fields that JSON knows: {error}.") from error


def _key(variable: str) -> str:
    """Return the key that an environment variable holds, as far as it can be sent: an error would quote another."""
    key = os.environ.get(variable, "").strip() or _NO_KEY
    if not (key.isascii() and key.isprintable()):
        raise SettingError(f"The key in {variable} has characters that cannot be sent; it must be printable ASCII.")
    return key
