"""Search-QA: answer a question by searching passages, over several turns.

Questions have FlashRAG's form. Prompts, tags and the rules by which an action is read are verl-agent's for its search
environment; what a search shows is Search-R1's (arXiv 2503.09516). The reward is exact match, 1.0 or 0.0.

Search-R1's scorer takes the last ``<answer>`` of a text that also holds the prompt's own example. Here an action is all
that is read, and only its first answer. Sub-string match, which a list of many answers wins, is never paid.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from sdpo_envs.core import Finding, Outcome, Task, Verdict
from sdpo_envs.env import Tool, natural
from sdpo_envs.errors import RecordError, SettingError, choose
from sdpo_envs.exactmatch import exact_match, normalised, token_f1
from sdpo_envs.feedback import LIMIT
from sdpo_envs.files import bundled
from sdpo_envs.passages import Passage, Retriever, open_corpus
from sdpo_envs.tasks import Record, load_records, load_tasks, source_path
from sdpo_envs.turns import Move, Past, Prompt, Seen, TurnsEnv, skill
from sdpo_envs.vector import GroupEnv

Split = Literal["train", "dev", "test"]

_ASKED = """
You are an expert agent tasked with answering the given question step-by-step.
Your question: {question}

"""
_TAKEN = """\
Prior to this step, you have already taken {steps} step(s). Below is the interaction history where <search> </search> \
wrapped your past search queries and <information> </information> wrapped the corresponding search results returned by \
the external search engine. History:
{history}

"""
_CHOICE = """\
Now it's your turn to respond for the current step.
You should first conduct reasoning process. This process MUST be enclosed within <think> </think> tags.\x20
After completing your reasoning, choose only one of the following actions (do not perform both):
(1) If you find you lack some knowledge, you can call a search engine to get more external information using format: \
<search> your query </search>.
(2) If you have enough knowledge to answer the question confidently, provide your final answer within <answer> \
</answer> tags, without detailed illustrations. For example, <answer>Beijing</answer>.
"""
FIRST_PROMPT = _ASKED + _CHOICE
"""What the first turn shows, verbatim."""
LATER_PROMPT = _ASKED + _TAKEN + _CHOICE
"""What a later turn shows, verbatim."""
INVALID = (
    "\nMy previous action is invalid. If I want to search, I should put the query between <search> and </search>. "
    "If I want to give the final answer, I should put the answer between <answer> and </answer>. Let me try again.\n"
)
"""What a turn shows after an action of which nothing could be done, as in Search-R1."""

_OPENING = {tag: re.compile(f"<{tag}>", re.IGNORECASE) for tag in ("search", "answer")}
_CLOSING = {tag: re.compile(f"</{tag}>", re.IGNORECASE) for tag in ("search", "answer")}
_LONGEST = 1000
"""Characters of a query; more are cut, as they would stand in every later prompt."""
_WORDY = 8
_SHORTEST_SECRET = 4
_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """What a question is judged by.

    Attributes:
        question: As it is asked.
        golden: Every answer that is right.
        searches: Queries that find what the answer is read from, in order; empty where nobody knows them.
    """

    question: str
    golden: tuple[str, ...]
    searches: tuple[str, ...] = ()


class SearchQA(TurnsEnv):
    """Questions to be answered from passages that have to be searched for.

    An action holds ``<search>query</search>`` or ``<answer>words</answer>``. A search shows the best passages; an
    answer ends the episode. Feedback says how the form was missed, for which query nothing was found, and whether the
    answer stands in a passage that was shown. None of it depends on the right answer unless `reveal` is set, which adds
    that answer and the token F1.

    A task's id is ``searchqa/<id>``; its `meta` holds, where the record tells it, the number of ``hops`` and, for a
    teacher, the `skill` of that.

    Args:
        split: ``"train"`` or ``"test"``; of a folder also ``"dev"``.
        source: None for the bundled questions; a folder that holds ``<split>.jsonl``; one file, which is read whole; or
            the name of a data set on the Hub. Records have ``id``, ``question`` and ``golden_answers``.
        corpus: None for the bundled passages; the path of a file of passages; the address of a search server; or a
            `Retriever`. (A str or None, where the environment's spec should become JSON.)
        passages: How many a search shows, at most.
        turns: As in `TurnsEnv`.
        history: As in `TurnsEnv`.
        prompt: As in `TurnsEnv`.
        tell: As in `TurnsEnv`.
        reveal: Whether feedback tells the right answer.
        limit: Most characters of one feedback text.
        render_mode: None or ``"ansi"``.

    Raises:
        SettingError: a keyword has a value that is not offered, a file is missing, or questions of yours come without a
            corpus.
        RecordError: a record is no question, or no passage; the message names its place.
        MissingExtra: passages are to be searched in this process, and the extra ``retrieval`` is not installed.
    """

    waits = True

    def __init__(
        self,
        *,
        split: Split = "train",
        source: str | Path | None = None,
        corpus: str | Path | Retriever | None = None,
        passages: int = 3,
        turns: int = 4,
        history: int = 4,
        prompt: Prompt = "complete",
        tell: bool = True,
        reveal: bool = False,
        limit: int = LIMIT,
        render_mode: str | None = None,
    ) -> None:
        if source is not None and corpus is None:
            raise SettingError(f"The bundled passages do not answer the questions of {str(source)!r}; give a corpus=.")
        super().__init__(
            load_tasks(_questions(split, source), _task),
            turns=turns,
            history=history,
            prompt=prompt,
            tell=tell,
            reveal=reveal,
            limit=limit,
            render_mode=render_mode,
        )
        self.passages = natural("passages", passages)
        self.corpus = open_corpus(corpus)
        self.found: tuple[tuple[Passage, ...], ...] = ()

    def oracle(self, task: Task) -> str:
        """Return a right answer, given without a search."""
        return _thought("I know the answer.", "answer", task.answer.golden[0])

    def walkthrough(self, task: Task) -> Sequence[str]:
        """Return the searches that find what the answer is read from, where they are known, and a right answer."""
        searches = task.answer.searches[: self.turns - 1]
        return [*(_thought("I have to look this up.", "search", query) for query in searches), self.oracle(task)]

    def secrets(self, task: Task) -> Sequence[str]:
        """Return the right answers, unless they are too short to be told apart."""
        return [answer for answer in task.answer.golden if len(answer) >= _SHORTEST_SECRET]

    def tools(self) -> Sequence[Tool]:
        """Return the search and the answer."""

        def search(query: str) -> str:
            """Search for passages; the best ones are shown.

            Args:
                query: The words to search for.
            """
            return f"<search>{query}</search>"

        def answer(text: str) -> str:
            """Give the final answer, and nothing but it: the name, the date or the number alone.

            Args:
                text: The answer.
            """
            return f"<answer>{text}</answer>"

        return search, answer

    def open(self, task: Task) -> Seen:
        """Forget what was found."""
        self.found = ()
        return Seen(task.answer.question)

    def read(self, action: str) -> Move:
        """Read an action; see `projected`."""
        return projected(action)

    def act(self, command: str) -> Seen | Verdict:
        """Search, or judge an answer."""
        tag, text = _parts(command)
        if tag == "answer":
            return judge(self.task, text, self.found)
        if not text:
            return self._saw((), INVALID)
        # No text of a policy may break a server: half a surrogate pair cannot be sent.
        query = text.encode("utf-8", "replace").decode("utf-8")
        found = tuple(self.corpus.search(query, self.passages))
        if not found:
            nothing = Finding("No passage was found.", {"Query": text})
            return self._saw((), information([]), nothing)
        repeated = next((turn for turn, past in enumerate(self.past, start=1) if past.command == command), None)
        again = [Finding(f"The same search was made at step {repeated}.", {"Query": text})] if repeated else []
        return self._saw(found, information(found), *again)

    def run_out(self) -> Verdict:
        """Judge an episode without an answer."""
        turns = zip(self.past, self.found, strict=True)
        steps = {f"Step {number}": _done(past.command, found) for number, (past, found) in enumerate(turns, start=1)}
        finding = Finding(
            f"All {self.turns} turns are used, and no answer was given.", steps, _right(self.task, self.found)
        )
        return Verdict(Outcome.MALFORMED, 0.0, (finding,))

    def written(self) -> str:
        """Write the prompt of this turn, or what the last search showed."""
        if self.past and self.prompt == "new":
            return self.seen.text
        question = self.task.answer.question
        if not self.past or not self.history:
            return FIRST_PROMPT.format(question=question)
        history = recalled(self.past, self.seen.text, self.history)
        return LATER_PROMPT.format(question=question, steps=len(self.past), history=history)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy the episode; the corpus is shared."""
        memo[id(self.corpus)] = self.corpus
        return super().__deepcopy__(memo)

    def _saw(self, found: tuple[Passage, ...], text: str, *findings: Finding) -> Seen:
        self.found += (found,)
        return Seen(text, findings=findings)


SearchQAGroup = functools.partial(GroupEnv, SearchQA)
"""Groups of attempts at one question; see `GroupEnv`."""


def projected(action: str) -> Move:
    """Read the first search of an action, or else its first answer, as verl-agent does.

    The action is cut after the first ``</search>``, or if it has none after the first ``</answer>``. At fault is one
    with neither, with both tags, or with a tag more than once, and here also an empty text or a very long query. What
    could be read is done nevertheless.

    Returns:
        The command, ``<search>query</search>`` or ``<answer>words</answer>``; ``""`` if there is none.
    """
    closing = next((tag for tag in ("</search>", "</answer>") if tag in action), "")
    kept = action.partition(closing)[0] + closing if closing else action
    inside = {tag: _first_block(kept, tag) for tag in _OPENING}
    tag = next((tag for tag, text in inside.items() if text is not None), "")
    text = inside[tag] if tag else None
    faults = tuple(_faults(action, tag, text))
    if text is None:
        return Move("", faults)
    return Move(f"<{tag}>{text if tag == 'answer' else text[:_LONGEST]}</{tag}>", faults)


def judge(task: Task, answer: str, found: Sequence[Sequence[Passage]] = ()) -> Verdict:
    """Compare `answer` with the right ones, and see whether it stands in what was found, a sequence for each turn.

    An answer that normalises to nothing, such as "the", is right only if it is one of the right ones letter by letter.
    """
    golden, right = task.answer.golden, _right(task, found)
    if not answer:
        return Verdict(Outcome.MALFORMED, 0.0, (Finding("The answer is empty.", answer=right),))
    if exact_match(answer, golden) if normalised(answer) else answer in golden:
        return Verdict(Outcome.PASSED, 1.0)
    told = right | {"Token F1": f"{token_f1(answer, golden):.2f}"}
    places = _places(answer, found)
    details = {"Your answer": answer, **({"It stands in": _listed(places)} if places else {})}
    findings = [Finding(_support(answer, places, found), details, told)]
    if (words := len(answer.split())) > _WORDY:
        form = "All of it is compared: give the name, the date or the number alone."
        findings.append(Finding(f"The answer has {words} words. {form}"))
    return Verdict(Outcome.WRONG, 0.0, tuple(findings))


def information(found: Sequence[Passage]) -> str:
    """Return what a search shows, as Search-R1 renders it."""
    documents = "".join(
        f"Doc {number}(Title: {passage.title}) {passage.text}\n" for number, passage in enumerate(found, start=1)
    )
    return f"\n\n<information>{documents.strip() or 'No passage was found.'}</information>\n\n"


def recalled(past: Sequence[Past], seen: str, history: int) -> str:
    """Return the last turns, each with what its command led to, as verl-agent's SearchMemory renders them."""
    led_to = [*(each.seen for each in past[1:]), seen]
    steps = [f"Step {n}:{each.command} {text}\n" for n, (each, text) in enumerate(zip(past, led_to, strict=True), 1)]
    return "\n".join(steps[-history:])


def _done(command: str, found: Sequence[Passage]) -> str:
    if not command:
        return "(neither a search nor an answer)"
    return command if found else f"(found nothing) {command}"


def _support(answer: str, places: Sequence[str], found: Sequence[Sequence[Passage]]) -> str:
    """Say what the answer rests on; nothing here looks at the right ones."""
    if normalised(answer) in ("yes", "no"):
        return "The answer is not what the question asks for."
    if places:
        return "The answer stands in a passage that was shown, but it is not what the question asks for."
    if any(found):
        return "The answer stands in no passage that was shown."
    return "The answer rests on no passage: no search was made that found one."


def _places(answer: str, found: Sequence[Sequence[Passage]]) -> list[str]:
    """Return where the answer stands as whole words. Titles are not repeated, as one of them may be right."""
    said = f" {normalised(answer)} "
    return [
        f"step {step}, Doc {number}"
        for step, passages in enumerate(found, start=1)
        for number, passage in enumerate(passages, start=1)
        if said.strip() and said in f" {normalised(passage.contents)} "
    ]


def _first_block(text: str, tag: str) -> str | None:
    opened = _OPENING[tag].search(text)
    closed = _CLOSING[tag].search(text, opened.end()) if opened else None
    return text[opened.end() : closed.start()].strip() if opened and closed else None


def _faults(action: str, tag: str, text: str | None) -> list[Finding]:
    times = {tag: len(opening.findall(action)) for tag, opening in _OPENING.items()}
    faults = []
    if text is None:
        faults.append(Finding("Neither <search>...</search> nor <answer>...</answer> stands in the action."))
    elif not text:
        faults.append(Finding(f"Nothing stands between <{tag}> and </{tag}>."))
    elif tag == "search" and len(text) > _LONGEST:
        faults.append(Finding(f"The query has {len(text)} characters; the first {_LONGEST} were searched for."))
    if all(times.values()):
        faults.append(Finding("Both <search> and <answer> stand in the action; choose one of them."))
    faults += [Finding(f"<{tag}> stands {n} times in the action; write it once.") for tag, n in times.items() if n > 1]
    return faults


def _parts(command: str) -> tuple[str, str]:
    """Return the tag of a command and what stands in it."""
    tag = next((tag for tag in _OPENING if command.startswith(f"<{tag}>")), "")
    return tag, command[len(f"<{tag}>") : -len(f"</{tag}>")] if tag else ""


def _thought(thought: str, tag: str, text: str) -> str:
    return f"<think>{thought}</think>\n<{tag}>{text}</{tag}>"


def _right(task: Task, found: Sequence[Sequence[Passage]]) -> dict[str, str]:
    """Tell the right answers, and where one of them could have been read."""
    golden: tuple[str, ...] = task.answer.golden
    places = next(filter(None, (_places(each, found) for each in golden)), [])
    return {
        "Right answer": _listed(golden),
        "The right answer stands in": _listed(places) or "no passage that was shown",
    }


def _listed(texts: Sequence[str]) -> str:
    return "; ".join(texts[:_MOST_SHOWN]) + ("; ..." if len(texts) > _MOST_SHOWN else "")


def _questions(split: str, source: str | Path | None) -> list[Record]:
    choose("split", split, get_args(Split) if source is not None else ("train", "test"))
    place = bundled("tasks", "searchqa") if source is None else source
    file = source_path(place) / f"{split}.jsonl"
    return load_records(file if file.is_file() else place, split)


def _task(record: Record) -> Task:
    question, golden = record.get("question"), record.get("golden_answers", (list, str))
    answers = [golden] if isinstance(golden, str) else golden
    if not all(isinstance(answer, str) for answer in answers) or not any(map(str.strip, answers)):
        raise RecordError(f"{record.where}: 'golden_answers' must be a list of at least one text, not {golden!r}.")
    task_id, prompt = f"searchqa/{record.get('id', (str, int))}", FIRST_PROMPT.format(question=question)
    # Of others' metadata only the hops are shown: the rest may hold the answer.
    more = metadata if isinstance(metadata := record.row.get("metadata"), dict) else {}
    hops, searches = more.get("hops"), more.get("searches")
    key = AnswerKey(
        question,
        tuple(filter(None, map(str.strip, answers))),
        tuple(map(str, searches)) if isinstance(searches, list) else (),
    )
    known = {"hops": hops} if isinstance(hops, int) and hops > 0 else {}
    return Task(task_id, prompt, key, meta={**known, "skill": skill("searchqa", str(min(known.get("hops", 0), 2)))})
