"""Puts facts into words: `explain(verdict)` gives `Feedback`, within a length, with or without the answer.

Most of these texts were written by the policy, or by its program: they may imitate our words, hide something, or speak
to the reader. So only titles and labels begin a line. A text stands on the line of its label, or below it, each of its
lines indented; nothing it holds can end that. What is invisible in it, or moves what stands around it, is escaped.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import replace

from sdpo_envs.core import Feedback, Outcome, Verdict

LIMIT = 2000
"""Characters of one feedback text (SDPO's released code uses the same)."""
_FIELD_LIMIT = 250
_FIELD_LINES = 8

_IN_A_WORD = {
    Outcome.WRONG: "Wrong answer.",
    Outcome.MALFORMED: "The answer does not have the form that was asked for.",
    Outcome.INVALID: "The answer breaks the rules of what it is written in.",
    Outcome.CRASHED: "The program crashed.",
    Outcome.TIMED_OUT: "The time limit was exceeded.",
    Outcome.OUT_OF_MEMORY: "The memory limit was exceeded.",
    Outcome.TOO_MUCH_OUTPUT: "The output limit was exceeded.",
    Outcome.NOT_RUN: "The answer was not run.",
}

_INDENT = "    "
_JOINERS = "\u200c\u200d"
"""Invisible, but words of Persian and of Indian languages are spelled with them."""
_BLANKS = {*"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0", *map(chr, range(0xFE00, 0xFE10))}
"""Letters and marks to Unicode, but nothing is seen of them."""
_TAGS = 0xE0000
"""From here on Unicode has letters that are not seen, and nothing that is."""


def explain(verdict: Verdict, *, reveal: bool = False, limit: int = LIMIT) -> Feedback:
    """Put `verdict` into words.

    A success needs none, so its text is empty; any other verdict gives at least a sentence.

    Args:
        verdict: The facts; findings are told in their order.
        reveal: Whether to tell what each finding gives away, `Finding.answer`.
        limit: Most characters of text; 0 for no feedback. Findings that do not fit are left out, last first.

    Returns:
        Feedback whose `reveals_answer` says whether anything of `Finding.answer`, labels included, was told.
    """
    if limit < 0:
        raise ValueError(f"limit must be at least 0 characters, not {limit}.")
    if verdict.passed:
        return Feedback()
    text, answer_at = "", limit
    for finding in verdict.findings:
        answer = _fields(finding.answer) if reveal else ""
        block = "\n".join(filter(None, [_indented(excerpt(finding.title)), _fields(finding.details), answer]))
        joined = f"{text}\n\n{block}" if text else block
        if text and len(joined) > limit:
            break
        if answer:
            answer_at = min(answer_at, len(joined) - len(answer))
        text = joined
    text = text or _IN_A_WORD[verdict.outcome]
    told = len(text) if len(text) <= limit else limit - len("...")
    return Feedback(_cut(text, limit, len(text) > limit), reveals_answer=told > answer_at)


def redact(verdict: Verdict) -> Verdict:
    """Return `verdict` without what its findings give away."""
    if not any(finding.answer for finding in verdict.findings):
        return verdict
    return replace(verdict, findings=tuple(replace(finding, answer={}) for finding in verdict.findings))


def excerpt(text: str, limit: int = _FIELD_LIMIT, lines: int | None = _FIELD_LINES) -> str:
    """Return the start of `text`, printable, of at most `limit` characters and so many `lines`; ``...`` marks a cut."""
    kept = text[:limit]
    if lines is not None and kept.count("\n") >= lines:
        kept = "\n".join(kept.split("\n", lines)[:lines])
    shown = printable(kept)
    return _cut(shown, limit, len(shown) > limit or len(kept) < len(text.rstrip("\n")))


def printable(text: str) -> str:
    r"""Return `text` with an escape such as ``\x1b`` for each character that is not seen, other than spaces and breaks.

    These are control characters, which terminals obey, other breaks of lines than ``\n``, what turns the direction of
    writing, letters that nobody sees, and halves of surrogate pairs, which UTF-8 cannot encode.
    """
    return text if text.isascii() and text.isprintable() else text.translate(_ESCAPES)


class _Escapes:
    """What `str.translate` asks for each character."""

    def __getitem__(self, number: int) -> str:
        character = chr(number)
        if character in ("\n", "\t") or (number < _TAGS and _seen(character)):
            raise LookupError("It stays as it is.")
        if character.isprintable():
            return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
        return repr(character)[1:-1]


def _seen(character: str) -> bool:
    if character in _BLANKS:
        return False
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"


_ESCAPES = _Escapes()


def _cut(text: str, limit: int, cut: bool) -> str:
    return text[: max(0, limit - 3)] + "..."[:limit] if cut else text


def _fields(texts: Mapping[str, str]) -> str:
    return "\n".join(_field(excerpt(label, lines=1), text) for label, text in texts.items())


def _field(label: str, text: str) -> str:
    told = excerpt(text).rstrip("\n")
    if "\n" in told:
        return f"{label}:\n{_INDENT}{_indented(told)}"
    return f"{label}: {told}" if told else label


def _indented(text: str) -> str:
    """Indent every line but the first."""
    return text.replace("\n", f"\n{_INDENT}")
