"""Puts facts into words: `explain(verdict)` gives `Feedback`, within a length, with or without the answer."""

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

# Terminals obey control characters, line separators (U+2028 on) and bidirectional overrides (U+202A on, U+2066 on), and
# UTF-8 cannot encode surrogates; all of them come from the policy.
_CONTROL = (*range(32), *range(127, 160), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_UNPRINTABLE = dict.fromkeys([*_CONTROL, *range(0xD800, 0xE000)], "\N{REPLACEMENT CHARACTER}")
del _UNPRINTABLE[ord("\n")], _UNPRINTABLE[ord("\t")]


def explain(verdict: Verdict, *, reveal: bool = False, limit: int = LIMIT) -> Feedback:
    """Put `verdict` into words.

    A success needs none, so its text is empty; any other verdict gives at least a sentence.

    Args:
        verdict: The facts; findings are told in their order.
        reveal: Whether to tell what each finding gives away, `Finding.answer`.
        limit: Most characters of text, at least 1. Findings that do not fit are left out, last first.

    Returns:
        Feedback whose `reveals_answer` says whether anything of `Finding.answer`, labels included, was told.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1 character, not {limit}; use the verdict alone for no feedback.")
    if verdict.passed:
        return Feedback()
    text, answer_at = "", limit
    for finding in verdict.findings:
        answer = _fields(finding.answer) if reveal else ""
        block = "\n".join(filter(None, [excerpt(finding.title), _fields(finding.details), answer]))
        joined = f"{text}\n\n{block}" if text else block
        if text and len(joined) > limit:
            break
        if answer:
            answer_at = min(answer_at, len(joined) - len(answer))
        text = joined
    text = text or _IN_A_WORD[verdict.outcome]
    told = len(text) if len(text) <= limit else limit - len("...")
    return Feedback(excerpt(text, limit, lines=None), reveals_answer=told > answer_at)


def redact(verdict: Verdict) -> Verdict:
    """Return `verdict` without what its findings give away."""
    if not any(finding.answer for finding in verdict.findings):
        return verdict
    return replace(verdict, findings=tuple(replace(finding, answer={}) for finding in verdict.findings))


def excerpt(text: str, limit: int = _FIELD_LIMIT, lines: int | None = _FIELD_LINES) -> str:
    """Return the start of `text`, printable, of at most `limit` characters and so many `lines`; ``...`` marks a cut."""
    kept = text if len(text) <= limit else text[:limit]
    if lines is not None and kept.count("\n") >= lines:
        kept = "\n".join(kept.split("\n", lines)[:lines])
    if len(kept) < len(text.rstrip("\n")):
        kept = (kept if len(kept) + 3 <= limit else kept[: max(0, limit - 3)]) + "..."[:limit]
    return kept if kept.isprintable() else kept.translate(_UNPRINTABLE)


def _fields(texts: Mapping[str, str]) -> str:
    return "\n".join(_field(label, text) for label, text in texts.items())


def _field(label: str, text: str) -> str:
    told = excerpt(text).rstrip("\n")
    return f"{label}:\n{told}" if "\n" in told else f"{label}: {told}"
