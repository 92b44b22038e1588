"""MicroCode: one-line programs whose words mean what this code base has settled on, which only its judge knows.

``Write f(x): turn head`` may ask for ``return x[::-1],x[:2]``, or for ``return x[1:]+x[:1],x[0]``: one value for each
word, in order, of a string of digits. Programs are run on four inputs behind a wall. What is said of a failure is what
Python says, or how the values differ from those expected on the first input that is not right. So a policy that knows
the lexicon guesses, and one that reads feedback, or a peer's program, knows: on a laptop, what SDPO is about.

All submissions of a step are run in one process, a few milliseconds for 64 (`sdpo_envs.oneliner` says why they may
be), and a verdict is remembered, as converging policies repeat themselves.
"""

import functools
import json
from collections.abc import Sequence
from zlib import crc32

import numpy as np

from sdpo_envs.core import Finding, Outcome, Task, Verdict
from sdpo_envs.env import JudgedEnv
from sdpo_envs.errors import JudgeError, choose
from sdpo_envs.feedback import LIMIT
from sdpo_envs.files import source
from sdpo_envs.lexicon import TELLING, Lexicon, Request, guess, requests
from sdpo_envs.oneliner import LONGEST, outcome
from sdpo_envs.parsing import code_block
from sdpo_envs.sandbox import Program, Run, Sandbox, open_sandbox
from sdpo_envs.vector import GroupEnv

PROMPT = "Write f(x): {words}"
VALUES: Lexicon = {
    "turn": ("x[::-1]", "x[1:]+x[:1]", "x[-1:]+x[:-1]", "x[2:]+x[:2]"),
    "swing": ("x[-1:]+x[:-1]", "x[::-1]", "x[::-2]", "x[1:]+x[:1]"),
    "roll": ("x[1:]+x[:1]", "x[2:]+x[:2]", "x+x[0]", "x[-1:]+x[:-1]"),
    "spin": ("x[2:]+x[:2]", "x[-1:]+x[:-1]", "x[::-1]", "''.join(sorted(x))"),
    "head": ("x[:2]", "x[0]", "x[:3]", "x[:-1]"),
    "front": ("x[0]", "x[:3]", "x[:2]", "x[:-2]"),
    "lead": ("x[:3]", "x[:-2]", "x[0]", "max(x)"),
    "tip": ("x[0]", "x[-1]", "x[:2]", "x[-2:]"),
    "top": ("max(x)", "x[0]", "x[:2]", "x[1:]"),
    "tail": ("x[-2:]", "x[1:]", "x[-1]", "x[-3:]"),
    "end": ("x[-1]", "x[-3:]", "x[-2:]", "x[2:]"),
    "back": ("x[-3:]", "x[::-1]", "x[-1]", "x[1:]"),
    "last": ("x[-1]", "x[-2:]", "min(x)", "x[-3:]"),
    "base": ("x[:-2]", "min(x)", "x[2]", "x[-2:]"),
    "core": ("x[1:-1]", "x[2]", "x[2:]", "x[::2]"),
    "mid": ("x[2]", "x[1:-1]", "x[1::2]", "x[:-2]"),
    "edge": ("x[0]", "x[:-1]", "x[-1]+x", "x[1:-1]"),
    "trim": ("x[:-1]", "x[1:-1]", "x[1:]", "x[:-2]"),
    "crop": ("x[1:-1]", "x[2:]", "x[:3]", "x[:-1]"),
    "skip": ("x[2:]", "x[1:]", "x[::2]", "x[1::2]"),
    "hop": ("x[::2]", "x[1::2]", "x[::-2]", "x[2:]"),
    "even": ("x[1::2]", "x[::2]", "x[2]", "x[::-2]"),
    "odd": ("x[::2]", "x[::-2]", "x[1::2]", "x[2]"),
    "peak": ("max(x)", "x[-1]", "''.join(sorted(x))", "x[0]"),
    "high": ("max(x)", "x[-3:]", "x[:3]", "x[::-1]"),
    "low": ("min(x)", "x[:-2]", "x[-1]", "x[-2:]"),
    "fold": ("x+x[0]", "x[-1]+x", "x[::-2]", "x[2:]+x[:2]"),
    "wrap": ("x[-1]+x", "x+x[0]", "x[1:]+x[:1]", "x[1:-1]"),
}
"""Words for values of the string."""

NAMES: Lexicon = {
    "unique": ("uniq_of", "uniq_in", "uniq_by", "uniq_at"),
    "total": ("sum_in", "sum_of", "sum_at", "sum_by"),
    "evens": ("even_by", "even_at", "even_of", "even_in"),
    "odds": ("odd_at", "odd_by", "odd_in", "odd_of"),
    "count": ("size_of", "size_by", "size_in", "size_at"),
    "mirror": ("flip_in", "flip_at", "flip_of", "flip_by"),
    "scale": ("twice_by", "twice_of", "twice_at", "twice_in"),
    "mask": ("hide_at", "hide_in", "hide_by", "hide_of"),
    "pad": ("size", "width", "length", "to"),
    "clip": ("limit", "upto", "most", "cap"),
    "shift": ("by", "step", "turns", "places"),
    "drop": ("at", "index", "place", "pos"),
}
"""Words for what a code base has a helper for: what the helper is called, or, of the last four, its keyword."""

LEXICON: Lexicon = {**VALUES, **NAMES}

_NUMBERS = {"pad": 7, "clip": 3, "shift": 2, "drop": 1}
_REMEMBERED = 1 << 15
_BANK = 512
_LENGTHS = (6, 6, 6, 5)


class MicroCode(JudgedEnv):
    """One-line programs in a code base whose conventions only the judge knows.

    An action is one line, ``return ...``, bare or in a fence. A task's `meta` holds its ``words`` and the ``chance``
    that a guess from the lexicon's prior is right.

    Args:
        world: Which code base, from 0 on. For the split ``"warm"``: which list of tasks.
        split: ``"train"`` or ``"test"``, in the same world, words combined as in no task of the other; or ``"warm"``,
            with a world for each task, for a policy to get to know the lexicon.
        level: ``"mixed"``; or ``"hard"`` or ``"very-hard"``, where a guess is right in 0.5 to 5 %, or in 0.03 to 0.3 %.
        feedback: ``"all"`` values that differ, the ``"first"``, or ``"none"``: then rewards are all there is.
        sandbox: Where programs run, or the name of a wall, see `open_sandbox`. A sandbox that is given stays open when
            the environment is closed.
        reveal: Whether feedback gives the right program too.
        limit: Most characters of one feedback text.
        render_mode: None or ``"ansi"``.

    Raises:
        SettingError: a keyword has a value that is not offered.
    """

    def __init__(
        self,
        world: int = 0,
        *,
        split: str = "train",
        level: str = "mixed",
        feedback: str = "all",
        sandbox: Sandbox | str = "local",
        reveal: bool = False,
        limit: int = LIMIT,
        render_mode: str | None = None,
    ) -> None:
        limit = 0 if choose("feedback", feedback, TELLING) == "none" else limit
        tasks = [_task(each) for each in requests(LEXICON, world=world, split=split, level=level)]
        self.sandbox = open_sandbox(sandbox)
        self._opened = isinstance(sandbox, str)
        super().__init__(tasks, BatchJudge(self.sandbox, feedback), reveal=reveal, limit=limit, render_mode=render_mode)

    def expect(self, attempts: Sequence[tuple[Task, str]]) -> None:
        """Judge all these at once."""
        if isinstance(self.judge, BatchJudge):
            self.judge.judge(attempts)

    def oracle(self, task: Task) -> str:
        """Return the line that the words mean here."""
        return _line(task.answer, task.answer.readings)

    def guess(self, task: Task, rng: np.random.Generator, known: float = 0.0) -> str:
        """Return a line that the words may mean."""
        return _line(task.answer, guess(task.answer, rng, known))

    def secrets(self, task: Task) -> Sequence[str]:
        """Return the line that the words mean here."""
        return [self.oracle(task)]

    def close(self) -> None:
        """Close the sandbox, if this environment opened it."""
        if self._opened:
            self.sandbox.close()
        super().close()


MicroCodeGroup = functools.partial(GroupEnv, MicroCode)
"""Groups of attempts at one task, for `gymnasium.make_vec`."""


class BatchJudge:
    """Judges many submissions in one process, and remembers.

    Args:
        sandbox: Where they run.
        feedback: One of `TELLING`.
    """

    def __init__(self, sandbox: Sandbox, feedback: str) -> None:
        self._sandbox = sandbox
        self._differences = 1 if feedback == "first" else None
        self._verdicts: dict[tuple[str, str], Verdict] = {}

    def __call__(self, task: Task, action: str) -> Verdict:
        """Judge one submission, or remember its verdict.

        Raises:
            SandboxError: the wall broke.
            JudgeError: what runs behind the wall did.
        """
        line = _submitted(action)
        if not line:
            return _failed(Outcome.MALFORMED, "There is no line of code.", task)
        if (task.id, line) not in self._verdicts:
            self.judge([(task, action)])
        return self._verdicts[task.id, line]

    def judge(self, attempts: Sequence[tuple[Task, str]]) -> None:
        """Judge all submissions that are not known yet.

        Raises:
            SandboxError: the wall broke.
            JudgeError: what runs behind the wall did.
        """
        if len(self._verdicts) > _REMEMBERED:
            self._verdicts.clear()
        lines = {(task.id, _submitted(action)): task for task, action in attempts}
        fresh = {
            (name, line): task for (name, line), task in lines.items() if line and (name, line) not in self._verdicts
        }
        if fresh:
            inputs = tuple(_question(task.answer, line) for (_, line), task in fresh.items())
            program = Program({"main.py": source("oneliner")}, ("python", "main.py"), inputs, isolated=False)
            for (known, task), run in zip(fresh.items(), self._sandbox.run(program), strict=True):
                self._verdicts[known] = self._verdict(task, _answer(run))

    def _verdict(self, task: Task, given: list[list[str] | str] | str) -> Verdict:
        if isinstance(given, str):
            invalid = given.startswith("SyntaxError")
            return _failed(Outcome.INVALID if invalid else Outcome.CRASHED, given, task)
        inputs = _inputs(task.answer)
        for x, own, right in zip(inputs, given, _right(task.answer), strict=True):
            if own != right:
                return _failed(Outcome.WRONG, _told(x, own, right, self._differences), task)
        return Verdict(Outcome.PASSED, 1.0)


def _task(request: Request) -> Task:
    words = " ".join(request.words)
    meta = {"words": len(request.words), "chance": request.chance}
    return Task(f"microcode/{request.name}", PROMPT.format(words=words), request, meta=meta)


def _submitted(action: str) -> str:
    """Return the line that an action submits, cut where it is too long to be one; ``""`` for none."""
    code = code_block(action)
    return (action if code is None else code).strip()[: LONGEST + 1]


def _line(request: Request, readings: Sequence[int]) -> str:
    values = (_value(word, LEXICON[word][place]) for word, place in zip(request.words, readings, strict=True))
    return f"return {','.join(values)}"


def _value(word: str, reading: str) -> str:
    if word in VALUES:
        return reading
    return f"{word}(x,{reading}={_NUMBERS[word]})" if word in _NUMBERS else f"{reading}(x)"


def _names(request: Request) -> dict[str, str]:
    """Return what the helpers that the words ask for are called here; no others are defined."""
    own = dict(zip(request.words, request.readings, strict=True))
    return {word: NAMES[word][own[word]] for word in request.words if word in NAMES}


def _question(request: Request, line: str) -> str:
    return json.dumps({"line": line, "names": _names(request), "inputs": _inputs(request)})


def _answer(run: Run) -> list[list[str] | str] | str:
    if run.timed_out or run.out_of_memory or run.exit_code != 0:
        how = run.stderr.strip().rpartition("\n")[2] or f"exit code {run.exit_code}"
        raise JudgeError(f"A one-line program ended the process that runs it ({how}), which none should be able to do.")
    try:
        answer: list[list[str] | str] | str = json.loads(run.stdout)
    except ValueError as error:
        raise JudgeError(f"What runs one-line programs printed no answer: {error}.") from error
    return answer


def _failed(outcome: Outcome, title: str, task: Task) -> Verdict:
    right = _line(task.answer, task.answer.readings)
    return Verdict(outcome, 0.0, (Finding(title, answer={"Right": right}),))


def _told(x: str, own: list[str] | str, right: list[str] | str, most: int | None) -> str:
    """Say how what a program gave for `x` differs from what was expected."""
    if isinstance(own, str) and isinstance(right, str):
        return f"Wrong Answer: f('{x}') -> {own}, expected {right}"
    if isinstance(own, str) or isinstance(right, str) or len(own) != len(right):
        counts = [1 if isinstance(each, str) else len(each) for each in (own, right)]
        return f"Wrong Answer: f('{x}') has {counts[0]} values, expected {counts[1]}"
    apart = [
        f"[{n}] -> {mine}, expected {theirs}"
        for n, (mine, theirs) in enumerate(zip(own, right, strict=True))
        if mine != theirs
    ]
    return f"Wrong Answer: f('{x}'){'; '.join(apart[:most])}"


def _inputs(request: Request) -> tuple[str, ...]:
    return _bank()[crc32(request.name.encode()) % _BANK]


@functools.cache
def _bank() -> tuple[tuple[str, ...], ...]:
    """Return lists of four inputs; on each of them, no two values of the lexicon are the same.

    Three have six digits, so that what is said of a failure is easily read; the last is shorter.
    """
    rng = np.random.default_rng(0)
    values = sorted({value for readings in VALUES.values() for value in readings})
    bank: list[tuple[str, ...]] = []
    while len(bank) < _BANK:
        inputs = tuple("".join(map(str, rng.permutation(10)[:length])) for length in _LENGTHS)
        given = {json.dumps(outcome(f"return {value}", {}, inputs)) for value in values}
        if len(given) == len(values):
            bank.append(inputs)
    return tuple(bank)


@functools.lru_cache(maxsize=1 << 14)
def _right(request: Request) -> list[list[str] | str]:
    right = outcome(_line(request, request.readings), _names(request), _inputs(request))
    assert not isinstance(right, str), right
    return right
