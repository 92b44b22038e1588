"""reasoning-gym in a process of its own: it makes the tasks there, and scores answers.

There its tasks are the same every time: some families go through sets of words, whose order a Python process draws when
it starts. And its scores were written for answers that mean well: one of ten characters keeps some of them busy for
hours (``9**9**9**9``), some raise an exception where they cannot read one, and some evaluate what they are given.
"""

import atexit
import copy
import functools
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdpo_envs.adapters.evaluated import disarm, may_be_scored
from sdpo_envs.errors import JudgeError, MissingExtra, SettingError, require
from sdpo_envs.sandbox.channel import PipeChannel

SECONDS = 5
"""Of the processor, for one answer."""
MEMORY_MB = 4096
"""Of address space, for the process."""
PATIENCE = 600.0
"""Seconds on the clock for a reply, on a machine that may be busy: some families take a second for a task."""
UNREADABLE = "it is read as a formula, and holds what belongs in none"
"""The fault of an answer that is not handed over, see `evaluated`."""
FATAL = "it takes too long, or too much memory"
"""The fault of an answer with which the process was lost twice, and which then scored another."""

_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1])\n"
_PROGRAM += "from sdpo_envs.adapters.reasoning_process import main; main()"
_RAISED = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NameError, RuntimeError)
_RAISED += (SyntaxError, TypeError, ValueError)  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Score:
    """What reasoning-gym makes of an answer.

    Attributes:
        value: From 0 to 1.
        fault: Why it earns 0 whatever it says; ``""`` if it was scored.
    """

    value: float
    fault: str = ""


class ReasoningProcess:
    """The process, which starts when it is needed. Safe to use from several threads; a fork has one of its own.

    Args:
        seconds: Of the processor, for one answer.
    """

    def __init__(self, seconds: int = SECONDS) -> None:
        self.seconds = seconds
        self._channel: PipeChannel | None = None
        self._lock = threading.Lock()
        self._last_words = ""

    def catalogue(self) -> dict[str, Any]:
        """Return the names of all ``families``, and the ``systems``, reasoning-gym's system prompts by name.

        Raises:
            MissingExtra: reasoning-gym is not installed.
            JudgeError: the process ended, or said nothing.
        """
        return self._said({})

    def load(self, family: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ``entries`` of a family, a question and an answer or None each, its ``category``, and ``single``.

        None stands for an answer that is not known, or that would not be scored if a policy gave it. The last says
        whether an answer is only right if it is the one that stands there.

        Raises:
            SettingError: the family refuses the config.
            JudgeError: the process ended, or said nothing.
        """
        return self._said({"family": family, "config": dict(config)})

    def score(self, family: str, config: Mapping[str, Any], index: int, answer: str) -> Score:
        """Score an answer to an entry.

        Raises:
            JudgeError: the process scores nothing, or said nothing.
        """
        request = {"family": family, "config": dict(config), "index": index, "seconds": self.seconds}
        with self._lock:
            reply = self._ask({**request, "answer": answer}) or self._ask({**request, "answer": answer})
            if reply is None and self._ask({**request, "answer": "?"}):
                return Score(0.0, FATAL)
        return Score(**self._checked(reply))

    def close(self) -> None:
        """End the process; it starts again when it is needed."""
        if self._channel is not None:
            self._last_words = self._channel.close()[-500:]
            self._channel = None

    def disown(self) -> None:
        """Let go of the process of the one from which this one was forked."""
        if self._channel is not None:
            self._channel.disown()
        self._channel, self._lock = None, threading.Lock()

    def _said(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            return self._checked(self._ask(request) or self._ask(request))

    def _checked(self, reply: dict[str, Any] | None) -> dict[str, Any]:
        if reply is None:
            raise JudgeError(f"The process of reasoning-gym ended: {self._last_words or 'it was killed'}")
        if "missing" in reply:
            raise MissingExtra(reply["missing"])
        if "refused" in reply:
            raise SettingError(reply["refused"])
        return reply

    def _ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return what the process says, or None if it is lost."""
        deadline = time.monotonic() + PATIENCE
        try:
            channel = self._channel or self._started()
            channel.send(json.dumps(request).encode() + b"\n", deadline)
            said = bytearray()
            while not said.endswith(b"\n"):
                if not (piece := channel.receive(deadline)):
                    raise BrokenPipeError
                said += piece
        except TimeoutError as error:
            self.close()
            raise JudgeError(f"reasoning-gym said nothing for {PATIENCE:g} s.") from error
        except BrokenPipeError:
            self.close()
            return None
        except BaseException:  # a reply that nobody waits for any more must not be taken for the next one
            self.close()
            raise
        reply: dict[str, Any] = json.loads(said)
        return reply

    def _started(self) -> PipeChannel:
        path = json.dumps([os.path.abspath(folder) for folder in sys.path])  # it starts in another folder
        command = [sys.executable, "-W", "ignore", "-c", _PROGRAM, path]
        try:
            self._channel = PipeChannel(command, os.environ | {"PYTHONHASHSEED": "0"})
        except OSError as error:
            raise JudgeError(f"The process of reasoning-gym does not start: {error}.") from error
        return self._channel


@functools.cache
def shared_process() -> ReasoningProcess:
    """Return the process which all environments of this one share."""
    process = ReasoningProcess()
    atexit.register(process.close)
    os.register_at_fork(after_in_child=process.disown)
    return process


def main() -> None:
    """Run the process: a request on standard input and a reply on standard output, a line of JSON each."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the library prints is no reply
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MB << 20, MEMORY_MB << 20))
    signal.signal(signal.SIGPROF, _late)
    for line in sys.stdin:
        replies.write(json.dumps(_reply(json.loads(line))) + "\n")
        replies.flush()


def _reply(request: dict[str, Any]) -> dict[str, Any]:
    try:
        if not request:
            library = require("reasoning_gym.factory", "reasoning-gym")
            return {"families": list(library.DATASETS), "systems": require("reasoning_gym.utils", "").SYSTEM_PROMPTS}
        dataset = _dataset(request["family"], json.dumps(request["config"]))
        if "answer" in request:
            return _scored(dataset, request["index"], request["answer"], request["seconds"])
        entries = [_entry(dataset, index) for index in range(len(dataset))]
    except MissingExtra as error:
        return {"missing": str(error)}
    except _RAISED as error:
        return {"refused": f"reasoning-gym's {request['family']} refuses {request['config']}: {error!r}."}
    told = [(entry["question"], _known(dataset, entry["answer"])) for entry in entries]
    return {"entries": told, "category": dataset.category, "single": _score_of(dataset) is _plain()}


def _known(dataset: Any, answer: str | None) -> str | None:
    return answer if answer is not None and may_be_scored(answer, type(dataset).score_answer) else None


def _scored(dataset: Any, index: int, answer: str, seconds: int) -> dict[str, Any]:
    if not may_be_scored(answer, type(dataset).score_answer):
        return {"value": 0.0, "fault": UNREADABLE}
    value, fault = _limited(_score_of(dataset), dataset, index, answer, seconds)
    return {"value": value, "fault": fault}


@functools.cache
def _score_of(dataset: Any) -> Any:
    """Return how answers are scored: as the family does it, unless a question mark passes; then as all others do it."""
    own = type(dataset).score_answer
    return _plain() if _limited(own, dataset, 0, "?", SECONDS)[0] == 1.0 else own


def _plain() -> Any:
    """Return how answers are scored where one alone is right."""
    return require("reasoning_gym.dataset", "reasoning-gym").ProceduralDataset.score_answer


def _limited(score: Any, dataset: Any, index: int, answer: str, seconds: int) -> tuple[float, str]:
    """Score an answer within the limits; return the score, and the fault of the answer."""
    entry = copy.deepcopy(_entry(dataset, index))  # some change it
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    # The timer interrupts Python; the limit ends what is not Python, such as the power of a large number.
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 2 * seconds, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        value = min(1.0, max(0.0, float(score(dataset, answer, entry))))
        if signal.getitimer(signal.ITIMER_PROF)[0]:
            return value, ""
        raise TimeoutError  # the library has caught the first one
    except TimeoutError:
        return 0.0, f"it takes more than {seconds} s to score"
    except _RAISED as error:
        return 0.0, f"{type(error).__name__} is raised where it is read"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _late(number: int, frame: Any) -> None:
    raise TimeoutError


@functools.cache
def _dataset(family: str, config: str) -> Any:
    dataset = require("reasoning_gym", "reasoning-gym").create_dataset(family, **json.loads(config))
    disarm(type(dataset).score_answer)
    return dataset


@functools.cache
def _entry(dataset: Any, index: int) -> dict[str, Any]:
    entry: dict[str, Any] = dataset[index]
    return entry
