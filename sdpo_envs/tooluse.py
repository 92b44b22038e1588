"""Tool use: answer a question by calling the tools of a documented API.

Rows have the form of the tool-use data that SDPO released, ``{train,test}.json``; API records have the form of
ToolAlpaca, from which that data was made. The same loader reads both, and the 60 tasks bundled here. The reward is 1.0
for the calls that were asked for and else 0.0.

SDPO's released scorer compares the multiset of the tools' names and one dict into which the arguments of all calls are
merged, and it cannot read nested ones. Here each call keeps its own arguments, and they may be nested. As there, the
order of the calls is free.
"""

import functools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from sdpo_envs.apidoc import Tools, as_json, breaches, tools
from sdpo_envs.core import Finding, Outcome, Task, Verdict
from sdpo_envs.env import JudgedEnv
from sdpo_envs.errors import RecordError, choose
from sdpo_envs.feedback import LIMIT
from sdpo_envs.files import bundled
from sdpo_envs.parsing import Call, calls
from sdpo_envs.tasks import Record, load_records, load_tasks, source_path
from sdpo_envs.vector import GroupEnv

PROMPT = """\
Your task is to answer the user's question using available tools.\x20
You have access to the following tools:
Name: {name}
Description: {description}
Documentation:
{documentation}
Use the following format:
Thought: you should always think about what to do
Action: the action to take, should be one of the tool names.
Action Input: the input to the action, must be in JSON format. All of the action input must be realistic and from the \
user.

Begin!
Question: {question}"""
"""The prompt of SDPO's data, verbatim."""

_PROMPT_PARTS = re.compile(
    r".*?\nName: (?P<name>[^\n]*)\n.*?\nDocumentation:\n(?P<documentation>.*)\nUse the following format:\n"
    r".*?\nQuestion: (?P<question>.*)",
    re.DOTALL,
)
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}?")
_ABSENT = object()
_PASSED = Verdict(Outcome.PASSED, 1.0)
_MOST_FINDINGS = 8
_SHORTEST_SECRET = 12
_NO_ACTION = Finding(
    "No line starts with 'Action:'.", {"Write for each call": "Action: <tool>\nAction Input: <JSON object>"}
)


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """What a question is judged by.

    Attributes:
        right: The calls that it asks for.
        tools: What the prompt documents.
        question: The user's own words.
    """

    right: tuple[Call, ...]
    tools: Tools
    question: str


class ToolUse(JudgedEnv):
    """Questions to be answered by calling tools.

    An action is whatever the policy writes; each ``Action: tool`` in it with its ``Action Input: {...}`` is a call.
    Feedback names what breaks the form or the documentation in the prompt, and otherwise repeats the calls. None of it
    depends on the right calls unless `reveal` is set, which adds what is missing, what is too much, and which
    arguments differ.

    A task's id is ``tooluse/<idx>`` for SDPO's rows and ``<API>/<number from 0>`` for ToolAlpaca's instructions; its
    `meta` holds the name of the ``api``.

    Args:
        split: ``"train"`` or ``"test"``.
        source: None for the bundled tasks; a folder that holds ``<split>.json``; one file, which is read whole; or the
            name of a data set on the Hub. (A str, and not a Path, where the environment's spec should become JSON.)
        reveal: Whether feedback tells the right calls.
        limit: Most characters of one feedback text.
        render_mode: None or ``"ansi"``.

    Attributes:
        skipped: The id of each row that was left out, because no policy could give its right calls, with the reason.

    Raises:
        SettingError: a keyword has a value that is not offered, or a file is missing.
        RecordError: a row has neither form; the message names its place.
    """

    def __init__(
        self,
        *,
        split: str = "train",
        source: str | Path | None = None,
        reveal: bool = False,
        limit: int = LIMIT,
        render_mode: str | None = None,
    ) -> None:
        rows = list(_rows(choose("split", split, ("train", "test")), source))
        flaws = ((_id(row), _flaw(row)) for row in rows)
        self.skipped = {task_id: flaw for task_id, flaw in flaws if flaw}
        tasks = load_tasks([row for row in rows if _id(row) not in self.skipped], _task)
        super().__init__(tasks, judge, reveal=reveal, limit=limit, render_mode=render_mode)

    def oracle(self, task: Task) -> str:
        """Return the right calls, each with a thought."""
        key: AnswerKey = task.answer
        return "\n".join(
            f"Thought: I should call {call.name}.\n{_written(call.name, as_json(call.arguments))}" for call in key.right
        )

    def secrets(self, task: Task) -> Sequence[str]:
        """Return the arguments of the right calls, unless they are too short to be told apart."""
        key: AnswerKey = task.answer
        secrets = [as_json(call.arguments) for call in key.right]
        return [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]


ToolUseGroup = functools.partial(GroupEnv, ToolUse)
"""Groups of attempts at one question; see `GroupEnv`."""


def judge(task: Task, action: str) -> Verdict:
    """Compare the calls in `action` with the right ones, in any order.

    The right calls are compared first, as some of the released ones break their own documentation and must still earn
    1.0. Why other calls fail is told by the documentation alone, so it is the same whatever the right ones are; these
    stand in `Finding.answer` only.
    """
    key: AnswerKey = task.answer
    made, slips = _read(action)
    if slips or not made:
        return _failed(Outcome.MALFORMED, slips or [_NO_ACTION], made, key.right)
    if _unmatched(made, key.right) == ([], []):
        return _PASSED
    faults = list(islice(breaches(made, key.tools), _MOST_FINDINGS))
    if faults:
        return _failed(Outcome.INVALID, faults, made, key.right)
    title = "The calls fit the documentation, but they are not what the question asks for."
    return _failed(Outcome.WRONG, [Finding(title, _retold(made, key.question))], made, key.right)


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _read(action: str) -> tuple[list[Call], list[Finding]]:
    """Return the calls in `action`, and why others could not be read; reading stops after a few of those."""
    made: list[Call] = []
    slips: list[Finding] = []
    for each in calls(action):
        if isinstance(each, Call):
            made.append(each)
        else:
            slips.append(each)
        if len(slips) == _MOST_FINDINGS:
            break
    return made, slips


def _failed(outcome: Outcome, findings: Sequence[Finding], made: Sequence[Call], right: Sequence[Call]) -> Verdict:
    """Put what the findings give away, the comparison, on the first, which no limit on feedback leaves out."""
    return Verdict(outcome, 0.0, (replace(findings[0], answer=_comparison(made, right)), *findings[1:]))


def _unmatched(made: Iterable[Call], right: Iterable[Call]) -> tuple[list[Call], list[Call]]:
    """Return the calls of `made` and of `right` that are left when equal ones are paired."""
    left, missing = list(made), []
    for call in right:
        pair = (n for n, mine in enumerate(left) if mine.name == call.name and same(call.arguments, mine.arguments))
        position = next(pair, None)
        if position is None:
            missing.append(call)
        else:
            del left[position]
    return left, missing


def _comparison(made: Sequence[Call], right: Sequence[Call]) -> dict[str, str]:
    extra, missing = _unmatched(made, right)
    told = {}
    for number, call in enumerate(missing, start=1):
        position = next((n for n, mine in enumerate(extra) if mine.name == call.name), None)
        if position is None:
            told[f"Missing call {number}"] = _shown(call)
        else:
            told[f"Different arguments {number}, {call.name}"] = _difference(extra.pop(position), call)
    return told | {f"Extra call {number}": _shown(call) for number, call in enumerate(extra[:_MOST_FINDINGS], start=1)}


def _difference(mine: Call, right: Call) -> str:
    return "\n".join(
        f"{name}: yours {_side(mine, name)}, right {_side(right, name)}"
        for name in {**right.arguments, **mine.arguments}
        if not same(right.arguments.get(name, _ABSENT), mine.arguments.get(name, _ABSENT))
    )


def _side(call: Call, name: str) -> str:
    return as_json(call.arguments[name]) if name in call.arguments else "left out"


def _retold(made: Sequence[Call], question: str) -> dict[str, str]:
    """Repeat the calls, and name the values that were taken from elsewhere than the question's own words."""
    told = {f"Action {number}": _shown(call) for number, call in enumerate(made[:_MOST_FINDINGS], start=1)}
    words = question.casefold()
    foreign = [
        f"{name} {as_json(value)}"
        for call in made[:_MOST_FINDINGS]
        for name, value in call.arguments.items()
        if (isinstance(value, str | int | float) and not isinstance(value, bool)) and str(value).casefold() not in words
    ]
    return told | ({"Not word for word in the question": ", ".join(foreign)} if foreign else {})


def _shown(call: Call) -> str:
    return f"{call.name} {as_json(call.arguments)}"


def _written(name: str, arguments: str) -> str:
    return f"Action: {name}\nAction Input: {arguments}"


def _rows(split: str, source: str | Path | None) -> Iterator[Record]:
    """Read SDPO's rows, making them of ToolAlpaca's API records where these are found."""
    place = bundled("tasks", "tooluse") if source is None else source
    file = source_path(place) / f"{split}.json"
    for record in load_records(file if file.is_file() else place, split):
        if "Instructions" in record.row:
            yield from _instructions(record)
        else:
            yield record


def _instructions(record: Record) -> Iterator[Record]:
    name, questions, golds = record.get("Name"), record.get("Instructions", list), record.get("Golden_Answers", list)
    if len(questions) != len(golds):
        raise RecordError(f"{record.where}: {len(questions)} Instructions have {len(golds)} Golden_Answers.")
    for number, (question, gold) in enumerate(zip(questions, golds, strict=True)):
        prompt = PROMPT.format(
            name=name,
            description=record.get("Description"),
            documentation=record.get("NLDocumentation"),
            question=question,
        )
        row = {"idx": f"{name}/{number}", "prompt": prompt, "answer": json.dumps(gold)}
        yield Record(f"{record.where} instruction {number}", row)


def _id(row: Record) -> str:
    idx = row.get("idx", (int, str))
    return idx if isinstance(idx, str) else f"tooluse/{idx}"


def _task(row: Record) -> Task:
    prompt, system = row.get("prompt"), row.row.get("system") or ""
    parts = _parts(row)
    right, _ = _read("\n".join(_written(name, arguments) for name, arguments in _steps(row)))
    key = AnswerKey(tuple(right), tools(parts["documentation"]), parts["question"])
    return Task(_id(row), prompt, key, system, {"api": parts["name"]})


def _flaw(row: Record) -> str:
    """Say why no policy could give the right calls of `row`; ``""`` when one could."""
    known, steps = tools(_parts(row)["documentation"]), _steps(row)
    if not known or not steps:
        return "the answer has no call" if known else "the prompt documents no tool"
    for name, arguments in steps:
        if placeholder := _PLACEHOLDER.search(arguments):
            return f"the Action Input of {name!r} holds a placeholder, {placeholder[0]}"
        if name not in known and not re.fullmatch(r"[\w.-]+", name):
            return f"{name!r} is not a tool's name"
        if _read(_written(name, arguments))[1]:
            return f"the Action Input of {name!r} is not a JSON object: {arguments[:200]}"
    return ""


def _parts(row: Record) -> re.Match[str]:
    parts = _PROMPT_PARTS.fullmatch(row.get("prompt"))
    if parts is None:
        raise RecordError(f"{row.where}: the prompt does not have the form of SDPO's data, sdpo_envs.tooluse.PROMPT.")
    return parts


def _steps(row: Record) -> list[tuple[str, str]]:
    """Return the name and the arguments, as JSON text, of each right call."""
    try:
        steps = [(step["Action"], step["Action_Input"]) for step in json.loads(row.get("answer"))]
        if not all(isinstance(text, str) for step in steps for text in step):
            raise TypeError("a value is not text")
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        form = '[{"Action": "...", "Action_Input": "{...}"}, ...]'
        raise RecordError(f"{row.where}: the column 'answer' must be JSON of the form {form}: {error!r}") from error
    return steps
