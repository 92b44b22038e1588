"""How verdicts, feedback and attempts look in a notebook: HTML for people, without scripts, compact, light or dark.

Whatever a text holds, it is shown and never obeyed: `shown` escapes it. Colours come as edges and washes that stand out
on any page, while letters keep the page's own colour. Where a site drops styles, tables and folds are left.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from sdpo_envs.core import Feedback, Finding, Verdict
from sdpo_envs.feedback import excerpt

LIMIT = 4000
"""Characters of one text that are shown; ``...`` marks a cut."""
_LINE = 80
_STYLE = """<style>
.sdpo { font-size: 13px; line-height: 1.5; max-width: 62rem; }
.sdpo pre { margin: .2rem 0; padding: .4rem .6rem; max-height: 20rem; overflow: auto; border-radius: 4px;
  color: inherit; background: rgba(128, 128, 128, .13);
  font-size: 12px; white-space: pre-wrap; overflow-wrap: anywhere; }
.sdpo table { border-collapse: collapse; margin: .3rem 0; font-size: inherit; }
.sdpo th, .sdpo td { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top; background: none;
  border-bottom: 1px solid rgba(128, 128, 128, .3); }
.sdpo td { overflow-wrap: anywhere; }
.sdpo summary { cursor: pointer; }
.sdpo b[class] { padding-left: .4rem; border-left: 4px solid; white-space: nowrap; }
.sdpo b.passed { border-color: #2ba866; }
.sdpo b.failed { border-color: #e0564f; }
.sdpo b.broken { border-color: #d99a1c; }
.sdpo b.running { border-color: #4a8fe7; }
</style>"""


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt, as far as there is something to show of it.

    Attributes:
        actions: What the policy wrote, a text per turn.
        reward: NaN where the machinery broke.
        verdict: None where there is none.
        feedback: The same.
        error: What broke, or ``""``.
        running: Whether it goes on.
    """

    actions: Sequence[str] = ()
    reward: float = 0.0
    verdict: Verdict | None = None
    feedback: Feedback | None = None
    error: str = ""
    running: bool = False

    @property
    def state(self) -> tuple[str, str]:
        """How it ended, and what is passed, failed, broken or running about that."""
        if self.running:
            return "running", "running"
        if self.error:
            return "broken", "broken"
        if self.verdict is None:
            return "cut short", "failed"
        return self.verdict.outcome.name, "passed" if self.verdict.passed else "failed"


def card(*parts: str) -> str:
    """Return parts, each HTML, as one output of a notebook."""
    return f'<div class="sdpo">{_STYLE}{"".join(parts)}</div>'


def shown(text: str, limit: int = LIMIT) -> str:
    """Return any text as HTML that shows it: escaped, printable, and no longer than `limit` characters."""
    return escape(excerpt(text, limit, lines=None))


def block(text: str) -> str:
    """Return a text of several lines."""
    return f"<pre>{shown(text)}</pre>"


def fold(heading: str, body: str) -> str:
    """Return what is read on demand; both are HTML."""
    return f"<details><summary>{heading}</summary>{body}</details>"


def badge(word: str, kind: str) -> str:
    """Return how something ended: passed, failed, broken or running."""
    return f'<b class="{kind}">{shown(word)}</b>'


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; heads are text, cells are HTML."""
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    return f"<table><thead><tr>{head}</tr></thead>{_body(rows)}</table>"


def verdict_html(verdict: Verdict) -> str:
    """Show a verdict. What its findings give away is named and never shown: whoever holds it may read the fields."""
    outcome = badge(verdict.outcome.name, "passed" if verdict.passed else "failed")
    return card(f"{outcome} reward {verdict.reward:g}", *map(_finding, verdict.findings))


def feedback_html(feedback: Feedback) -> str:
    """Show feedback, what is to be known of it, and the peer."""
    return card(_feedback(feedback))


def group_html(task: str, attempts: Sequence[Tried], prompt: str = "") -> str:
    """Show attempts at one task, a row each. It is a part for `card`.

    Args:
        task: The task's id.
        attempts: In the order of their slots.
        prompt: What was asked, ``""`` where nobody says.
    """
    kinds = [attempt.state[1] for attempt in attempts]
    counts = [f"{kinds.count(kind)} {kind}" for kind in ("passed", "failed", "broken", "running") if kind in kinds]
    heading = f"<b>{shown(task)}</b>: {len(attempts)} attempts, {', '.join(counts)}"
    rows = [[str(slot), *_cells(attempt)] for slot, attempt in enumerate(attempts)]
    asked = fold("the task", block(prompt)) if prompt else ""
    return f"<div>{heading}</div>{asked}{grid(['', 'outcome', 'reward', 'action', 'feedback'], rows)}"


def attempt_html(task: str, attempt: Tried) -> str:
    """Show one attempt whole."""
    ended = f"{badge(*attempt.state)} reward {_number(attempt.reward)} at <b>{shown(task)}</b>"
    parts = [block(action) for action in attempt.actions] or ["<div>Nothing was written.</div>"]
    broken = [f"<div>What broke:</div>{block(attempt.error)}"] if attempt.error else []
    said = [_feedback(attempt.feedback)] if attempt.feedback is not None and not attempt.error else []
    return card(f"<div>{ended}</div>", *parts, *broken, *said)


def facts_html(facts: Mapping[str, str]) -> str:
    """Show facts by name, both text. It is a part for `card`."""
    rows = [(shown(name), shown(value)) for name, value in facts.items()]
    return f"<table>{_body(rows)}</table>" if rows else ""


def _body(rows: Sequence[Sequence[str]]) -> str:
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<tbody>{lines}</tbody>"


def _cells(attempt: Tried) -> Iterator[str]:
    yield badge(*attempt.state)
    yield "" if attempt.running else _number(attempt.reward)
    yield _opened("\n".join(attempt.actions))
    if attempt.error:
        yield _opened(attempt.error)
    else:
        yield "" if attempt.feedback is None else _said(attempt.feedback)


def _said(feedback: Feedback) -> str:
    marks = ["reveals the answer"] if feedback.reveals_answer else []
    marks += ["a peer passed"] if feedback.peer is not None else []
    return _opened(feedback.text) + (f" <i>{', '.join(marks)}</i>" if marks else "")


def _opened(text: str) -> str:
    """Return a text as its first line, which opens the rest."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    if text.strip() == first.strip() and len(first) <= _LINE:
        return shown(first)
    return fold(shown(first, _LINE), block(text))


def _feedback(feedback: Feedback) -> str:
    parts = [block(feedback.text) if feedback.text else "<div>No feedback.</div>"]
    parts += ["<div><b class=broken>This reveals the answer.</b></div>"] if feedback.reveals_answer else []
    parts += [fold("a peer that passed", block(feedback.peer))] if feedback.peer is not None else []
    return "".join(parts)


def _finding(finding: Finding) -> str:
    told = "".join(f"<tr><td>{shown(label)}</td><td>{block(text)}</td></tr>" for label, text in finding.details.items())
    held = ", ".join(map(shown, finding.answer))
    kept = f"<div><i>Not shown, as it gives the answer away: {held}.</i></div>" if held else ""
    return f"<div>{shown(finding.title)}</div>{f'<table>{told}</table>' if told else ''}{kept}"


def _number(reward: float) -> str:
    return "none" if math.isnan(reward) else f"{reward:g}"
