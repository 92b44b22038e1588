"""Scientific reasoning: questions of biology, chemistry, materials science and physics, with options or without.

Rows have the form of the SciKnowEval (level 3) data that SDPO released, ``<domain>/{train,test}.json``, and the same
loader reads those files and the 120 questions bundled here. The reward is that of SDPO's released scorer, 1.0 for the
exact letter in the last ``<answer>...</answer>`` and else 0.0, except that the tag must be there and be closed. The
feedback is ours; the released scorer has none.

With ``judge="llm"`` the same questions are put without their options, where they can be, and answered in words, which
a language model compares with the right option. That form is ours.
"""

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np

from sdpo_envs.core import Finding, Judge, Outcome, Task, Verdict
from sdpo_envs.env import JudgedEnv
from sdpo_envs.errors import RecordError, SettingError, choose
from sdpo_envs.feedback import LIMIT
from sdpo_envs.files import bundled
from sdpo_envs.llmjudge import LLMJudge
from sdpo_envs.parsing import tagged
from sdpo_envs.rubric import Rubric, right
from sdpo_envs.tasks import Record, load_records, load_tasks, source_path
from sdpo_envs.vector import GroupEnv

DOMAINS = ("biology", "chemistry", "material", "physics")

SYSTEM = """
Given a question and four options, please select the right answer. Respond in the following format:
<reasoning>
...
</reasoning>
<answer>
...
</answer>

For the answer, only output the letter corresponding to the correct option (A, B, C, or D), and nothing else. \
Do not restate the answer text. For example, if the answer is "A", just output:
<answer>
A
</answer>
"""
"""The system prompt of SDPO's data, verbatim. It says four options even above questions that have two."""

OPEN_SYSTEM = """
Given a question, please answer it. Respond in the following format:
<reasoning>
...
</reasoning>
<answer>
...
</answer>

For the answer, state it alone, in a few words or as a number with its unit.
"""
"""The system prompt where there are no options to choose from."""

OPEN_RUBRIC = Rubric(
    "passed: the submission states one answer, and it is the reference: the same in other words or another notation, "
    "or a number that differs from the reference by at most 1 %, also in other units.\n"
    "wrong: the submission states another answer, or more than one, or hedges between them.\n"
    "malformed: no answer is in it.\n"
    "Do not solve the task yourself: the reference is right, even where you would answer otherwise."
)

_CLOSING = "\nPlease reason step by step."
_NEEDS_OPTIONS = re.compile(r"\b(which|following|options?|choices?|these|those|below)\b", re.IGNORECASE)
"""What a question says that cannot be answered without its options, and some that can."""
_PASSED = Verdict(Outcome.PASSED, 1.0)
_SHORTEST_SECRET = 6  # "2 s" stands in many innocent texts


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """What a question is judged by.

    Attributes:
        letter: The right option's.
        options: Letter to text, in order from A.
    """

    letter: str
    options: Mapping[str, str]


class SciKnowEval(JudgedEnv):
    """Questions of science, with options or, judged by a language model, without.

    An action is whatever the policy writes; it should end in ``<answer>``, a letter, ``</answer>``. Feedback on a wrong
    letter repeats that option's text, feedback on anything else says what is wrong with its form, and with `reveal`
    both name the right option.

    With ``judge="llm"`` no options are shown, and the answer is in words. What stands between the tags is all that the
    judge reads, and its reasons are the feedback. Questions that speak of their options are left out.

    A task's id is ``<domain>/<split>/<idx>``; its `meta` holds the first two.

    Args:
        domain: One of `DOMAINS`, several, or ``"all"``: which folders of `source` to read.
        split: ``"train"`` or ``"test"``.
        source: None for the bundled questions; a folder that holds ``<domain>/<split>.json``; one file; or the name of
            a data set on the Hub. A file is read whole, and its task ids start with the name of its folder and its own.
            (A str, and not a Path, where the environment's spec should become JSON.)
        judge: ``"letter"``, or ``"llm"`` for open questions.
        judge_model: With ``"llm"``, the name of the model that judges; see `LLMJudge`.
        judge_url: Where its server is.
        judge_cache: A folder to remember its answers in, or None.
        judge_settings: More keywords for `LLMJudge`, but for the rubric and the reference.
        reveal: Whether feedback tells the right option.
        limit: Most characters of one feedback text.
        render_mode: None or ``"ansi"``.

    Raises:
        SettingError: a keyword has a value that is not offered, or a file is missing.
        RecordError: a row does not have the form of the released data; the message names its place.
        MissingExtra: the judge is an LLM, and the extra ``server`` is not installed.
    """

    def __init__(
        self,
        *,
        domain: str | Sequence[str] = "all",
        split: str = "train",
        source: str | Path | None = None,
        judge: str = "letter",
        judge_model: str = "",
        judge_url: str = "http://localhost:8000/v1",
        judge_cache: str | None = None,
        judge_settings: Mapping[str, Any] | None = None,
        reveal: bool = False,
        limit: int = LIMIT,
        render_mode: str | None = None,
    ) -> None:
        choose("split", split, ("train", "test"))
        self.waits = self._open = choose("judge", judge, ("letter", "llm")) == "llm"
        if not self._open and (judge_model or judge_cache or judge_settings):
            raise SettingError("judge_model, judge_cache and judge_settings are for judge='llm'; leave them out.")
        tasks = _load(domain, split, source)
        if self._open:
            tasks = tuple(open_task(task) for task in tasks if stands_alone(task))
        decides = _judge(judge, judge_model, judge_url, judge_cache, judge_settings or {})
        super().__init__(tasks, decides, reveal=reveal, limit=limit, render_mode=render_mode)

    def oracle(self, task: Task) -> str:
        """Return the right letter, or of an open question the right words, between its tags."""
        return self._answer(task.answer, task.answer.letter)

    def guess(self, task: Task, rng: np.random.Generator, known: float = 0.0) -> str:
        """Return the answer, with the chance `known`, or else one of the options, in the form of the oracle."""
        key: AnswerKey = task.answer
        drawn = list(key.options)[int(rng.integers(len(key.options)))]
        return self._answer(key, key.letter if rng.random() < known else drawn)

    def secrets(self, task: Task) -> Sequence[str]:
        """Return the right option's text, unless it is too short to be told apart or stands in another option's."""
        key: AnswerKey = task.answer
        told = key.options[key.letter]
        others = (text for letter, text in key.options.items() if letter != key.letter)
        return () if len(told) < _SHORTEST_SECRET or any(told in text for text in others) else (told,)

    def _answer(self, key: AnswerKey, letter: str) -> str:
        return f"<answer>\n{key.options[letter] if self._open else letter}\n</answer>"


SciKnowEvalGroup = functools.partial(GroupEnv, SciKnowEval)
"""Groups of attempts at one question; see `GroupEnv`."""


def judge(task: Task, action: str) -> Verdict:
    """Compare the letter in the last ``<answer>...</answer>`` of `action` with the right one.

    Letters are compared, never texts: six physics questions of the released data repeat an option's text under another
    letter, and only one of these letters is right there too.
    """
    key: AnswerKey = task.answer
    inside = tagged(action, "answer")
    if inside == key.letter:
        return _PASSED
    answer = {f"The right option is {key.letter}": key.options[key.letter]}
    if inside is not None and inside in key.options:
        told = {f"{inside} says": key.options[inside]}
        return Verdict(Outcome.WRONG, 0.0, (Finding(f"{inside} is not the right option.", told, answer),))
    *letters, last = key.options
    rule = f"Put {', '.join(letters)} or {last}, and nothing else, between <answer> and </answer>."
    told = {"Found there": inside} if inside else {}
    title = f"{_fault(action, inside, key.options)} {rule}"
    return Verdict(Outcome.MALFORMED, 0.0, (Finding(title, told, answer),))


def judge_open(task: Task, action: str, llm: Judge) -> Verdict:
    """Have `llm` judge what stands in the last ``<answer>...</answer>`` of `action`, and nothing else of it."""
    inside = tagged(action, "answer")
    if inside:
        return llm(task, inside)
    title = f"{_fault(action, inside, {})} Put the answer, and nothing else, between <answer> and </answer>."
    return Verdict(Outcome.MALFORMED, 0.0, (Finding(title, answer=right(right_text(task))),))


def right_text(task: Task) -> str:
    """Return the text of the right option."""
    key: AnswerKey = task.answer
    return key.options[key.letter]


def stands_alone(task: Task) -> bool:
    """Whether the question of a task can be put without its options. Of those in doubt, none is."""
    return not _NEEDS_OPTIONS.search(_question(task))


def open_task(task: Task) -> Task:
    """Return a task without its options, to be answered in words."""
    return replace(task, prompt=_question(task) + _CLOSING, system=OPEN_SYSTEM)


def read_task(record: Record, domain: str, split: str) -> Task:
    """Turn one row into a task.

    Raises:
        RecordError: a column is missing or of the wrong type, the row is not multiple choice, its prompt lists no
            options, or its answer is not one of them.
    """
    kind, prompt, letter = record.get("kind"), record.get("prompt"), record.get("answer")
    if kind != "mcq":
        raise RecordError(f"{record.where}: the kind must be 'mcq', multiple choice, not {kind!r}.")
    options = parse_options(prompt)
    if len(options) < 2:
        raise RecordError(f"{record.where}: the prompt must end in options, '\\n\\nA: ...\\nB: ...'; found {options}.")
    if letter not in options:
        raise RecordError(f"{record.where}: the answer {letter!r} is not among the options {list(options)}.")
    system = record.get("system") if record.row.get("system") else SYSTEM
    task_id = f"{domain}/{split}/{record.get('idx', int)}"
    return Task(task_id, prompt, AnswerKey(letter, options), system, {"domain": domain, "split": split})


def parse_options(prompt: str) -> dict[str, str]:
    r"""Return letter to text of the options that end `prompt`, or ``{}`` without any.

    They begin at the last line ``A: `` that follows a blank one, and each text runs to the next letter's line, so it
    may span lines, and other letters may start them.

    >>> parse_options("Which is an acid?\n\nA: HCl\nB: NaCl\nPlease reason step by step.")
    {'A': 'HCl', 'B': 'NaCl'}
    """
    _, begun, rest = prompt.removesuffix(_CLOSING).rpartition("\n\nA: ")
    options: dict[str, str] = {}
    for letter, following in pairwise(ascii_uppercase):
        if not begun:
            break
        text, begun, rest = rest.partition(f"\n{following}: ")
        options[letter] = text.strip()
    return options


def _fault(action: str, inside: str | None, options: Mapping[str, str]) -> str:
    """Say what keeps the answer from being a letter."""
    if inside is None:
        opened = "<answer>" in action
        return "The last <answer> is never closed by </answer>." if opened else "There is no <answer> tag."
    if not inside:
        return "The <answer> tag is empty."
    if inside in options.values():
        return "The <answer> tag holds the text of an option instead of its letter."
    if inside.upper() in options:
        return "The <answer> tag holds a lower-case letter, and only capitals count."
    if len(inside) == 1 and inside.isalpha():
        return f"No option has the letter {inside}."
    words = [word for word in re.findall(r"\w+", inside) if word not in ("and", "or")]
    if len("".join(words)) > 1 and set("".join(words)) <= options.keys():
        return "The <answer> tag holds more than one letter."
    if any(word in options for word in words):
        return "The <answer> tag holds more than a letter."
    return "The <answer> tag does not hold the letter of an option."


def _question(task: Task) -> str:
    return task.prompt.rpartition("\n\nA: ")[0].strip()


def _judge(kind: str, model: str, url: str, cache: str | None, settings: Mapping[str, Any]) -> Judge:
    if kind == "letter":
        return judge
    if not model:
        raise SettingError("judge='llm' needs judge_model, the name of a model on the server at judge_url.")
    llm = LLMJudge(model, OPEN_RUBRIC, url=url, cache=cache, reference=right_text, **settings)
    return functools.partial(judge_open, llm=llm)


def _load(domain: str | Sequence[str], split: str, source: str | Path | None) -> tuple[Task, ...]:
    names = list(domain) if isinstance(domain, Collection) and not isinstance(domain, str) else [domain]
    for name in names:
        choose("domain", name, ("all", *DOMAINS))
    path = bundled("tasks", "sciknoweval") if source is None else source_path(source).resolve()
    if path.is_dir():
        chosen = [name for name in DOMAINS if name in names or "all" in names]
        return tuple(task for name in chosen for task in _read(path / name / f"{split}.json", name, split))
    if domain != "all":
        raise SettingError(
            f"domain={domain!r} chooses among the folders {list(DOMAINS)} of a source, and {str(source)!r} is not a "
            "folder. Leave domain at 'all'."
        )
    if path.is_file():
        return _read(path, path.parent.name, path.name.partition(".")[0])
    return _read(str(source), str(source), split)


def _read(source: str | Path, domain: str, split: str) -> tuple[Task, ...]:
    return load_tasks(load_records(source, split), lambda record: read_task(record, domain, split))
