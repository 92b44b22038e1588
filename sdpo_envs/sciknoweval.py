"""Scientific reasoning: multiple-choice questions of biology, chemistry, materials science and physics.

Rows have the form of the SciKnowEval (level 3) data that SDPO released, ``<domain>/{train,test}.json``, and the same
loader reads those files and the 120 questions bundled here. The reward is that of SDPO's released scorer, 1.0 for the
exact letter in the last ``<answer>...</answer>`` and else 0.0, except that the tag must be there and be closed. The
feedback is ours; the released scorer has none.
"""

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from string import ascii_uppercase

from sdpo_envs.core import Finding, Outcome, Task, Verdict
from sdpo_envs.env import JudgedEnv
from sdpo_envs.errors import RecordError, SettingError, choose
from sdpo_envs.feedback import LIMIT
from sdpo_envs.files import bundled
from sdpo_envs.parsing import tagged
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

_CLOSING = "\nPlease reason step by step."
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
    """Multiple-choice questions of science.

    An action is whatever the policy writes; it should end in ``<answer>``, a letter, ``</answer>``. Feedback on a wrong
    letter repeats that option's text, feedback on anything else says what is wrong with its form, and with `reveal`
    both name the right option.

    A task's id is ``<domain>/<split>/<idx>``; its `meta` holds the first two.

    Args:
        domain: One of `DOMAINS`, several, or ``"all"``: which folders of `source` to read.
        split: ``"train"`` or ``"test"``.
        source: None for the bundled questions; a folder that holds ``<domain>/<split>.json``; one file; or the name of
            a data set on the Hub. A file is read whole, and its task ids start with the name of its folder and its own.
            (A str, and not a Path, where the environment's spec should become JSON.)
        reveal: Whether feedback tells the right option.
        limit: Most characters of one feedback text.
        render_mode: None or ``"ansi"``.

    Raises:
        SettingError: a keyword has a value that is not offered, or a file is missing.
        RecordError: a row does not have the form of the released data; the message names its place.
    """

    def __init__(
        self,
        *,
        domain: str | Sequence[str] = "all",
        split: str = "train",
        source: str | Path | None = None,
        reveal: bool = False,
        limit: int = LIMIT,
        render_mode: str | None = None,
    ) -> None:
        choose("split", split, ("train", "test"))
        super().__init__(_load(domain, split, source), judge, reveal=reveal, limit=limit, render_mode=render_mode)

    def oracle(self, task: Task) -> str:
        """Return the right letter between its tags."""
        return f"<answer>\n{task.answer.letter}\n</answer>"

    def secrets(self, task: Task) -> Sequence[str]:
        """Return the right option's text, unless it is too short to be told apart or stands in another option's."""
        key: AnswerKey = task.answer
        right = key.options[key.letter]
        others = (text for letter, text in key.options.items() if letter != key.letter)
        return () if len(right) < _SHORTEST_SECRET or any(right in text for text in others) else (right,)


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
