"""Watches a run for the ways in which self-distillation is known to collapse, and says so in words.

Each rule compares the mean of the last `WINDOW` steps with that of the first ones, or of the best ones so far. None of
them stops a run: the numbers are noisy, and a warning is a reason to look.
"""

import math
from collections.abc import Callable, Mapping, Sequence

Row = Mapping[str, float]
WINDOW = 5
"""Training steps."""


def warnings(rows: Sequence[Row]) -> dict[str, str]:
    """Return what is wrong after the last row: the name of each rule that is broken, and a sentence or two.

    Args:
        rows: The metrics of every step so far, as `sdpo_agent.train` returns them. What is not known is NaN, and breaks
            no rule: before `WINDOW` steps nothing is said, before twice as many nothing is compared.
    """
    broken = {name: rule(rows) for name, rule in RULES.items()}
    return {name: words for name, words in broken.items() if words}


def fresh_warnings(rows: Sequence[Row]) -> list[str]:
    """Return the warnings that the last row brings: those that did not hold one step before."""
    before = warnings(rows[:-1])
    return [words for name, words in warnings(rows).items() if name not in before]


def _short(rows: Sequence[Row]) -> str:
    first, last = _ends(rows, "tokens_mean")
    if not last < 0.5 * first:
        return ""
    return (
        f"Actions are {last:.0f} tokens long, {first:.0f} at first. Shorter is fine while pass@k holds; if not, choose "
        "peers at random (not the shortest), a slower teacher or a lower learning rate."
    )


def _long(rows: Sequence[Row]) -> str:
    share = _recent(rows, "cut_short_share")
    if not share > 0.5:
        return ""
    return f"{share:.0%} of the actions are cut short by max_tokens, so they are judged unfinished. Allow more tokens."


def _certain(rows: Sequence[Row]) -> str:
    first, last = _ends(rows, "entropy_estimate")
    if not last < 0.3 * first:
        return ""
    return (
        f"The entropy per token fell from {first:.2f} to {last:.2f} nats: the attempts of a group are becoming one. "
        "Look at pass@k; own attempts in the teacher's prompt and a high learning rate do this."
    )


def _narrow(rows: Sequence[Row]) -> str:
    best, last = _best(rows, "pass_at_k"), _recent(rows, "pass_at_k")
    if not best - last > 0.15:
        return ""
    return f"The share of tasks that some attempt solves (pass@k of the batch) fell from {best:.2f} to {last:.2f}."


def _worse(rows: Sequence[Row]) -> str:
    best, last = _best(rows, "success_rate"), _recent(rows, "success_rate")
    if not best - last > 0.15:
        return ""
    return (
        f"The success rate fell from {best:.2f} to {last:.2f}. If this is SDPO, its teacher may have unlearned to read "
        "hindsight: lower teacher_rate, or freeze the teacher."
    )


def _idle(rows: Sequence[Row]) -> str:
    share = _recent(rows, "taught_share")
    if not share < 0.05:
        return ""
    return f"Only {share:.0%} of the samples teach anything: no peers, no feedback, or groups that all agree."


def _deaf(rows: Sequence[Row]) -> str:
    if not _recent(rows, "teacher_gap_size") < 1e-3:
        return ""
    return (
        "The teacher says what the student says, within 0.001 nats per token: it does not read the hindsight, or there "
        "is nothing left to learn. `sdpo probe` tells which."
    )


def _apart(rows: Sequence[Row]) -> str:
    first, last = _ends([row for row in rows if _values([row], "teacher_gap")], "teacher_gap")
    if not last < min(2 * first, first - 0.5):
        return ""
    return (
        f"The teacher thinks less and less of what the student writes (gap {first:.2f} to {last:.2f} nats per token): "
        "the two are drifting apart."
    )


def _machinery(rows: Sequence[Row]) -> str:
    attempts, broken = (sum(_values(rows[-WINDOW:], name)) for name in ("attempts", "broken_attempts"))
    if not broken > 0.1 * attempts:
        return ""
    return f"{broken:.0f} of the last {attempts:.0f} attempts broke in the machinery and were dropped."


RULES: Mapping[str, Callable[[Sequence[Row]], str]] = {
    "short": _short,
    "long": _long,
    "certain": _certain,
    "narrow": _narrow,
    "worse": _worse,
    "idle": _idle,
    "deaf": _deaf,
    "apart": _apart,
    "machinery": _machinery,
}
"""Each returns words if it is broken, and nothing if not."""


def _recent(rows: Sequence[Row], name: str) -> float:
    """Return the mean of the last rows; NaN while they are too few."""
    return _mean(rows[-WINDOW:], name) if len(rows) >= WINDOW else math.nan


def _mean(rows: Sequence[Row], name: str) -> float:
    values = _values(rows, name)
    return sum(values) / len(values) if values else math.nan


def _values(rows: Sequence[Row], name: str) -> list[float]:
    """Return what is known of a metric."""
    return [row[name] for row in rows if not math.isnan(row.get(name, math.nan))]


def _ends(rows: Sequence[Row], name: str) -> tuple[float, float]:
    """Return the means of the first and the last rows; NaN, which breaks no rule, while they overlap."""
    if len(rows) < 2 * WINDOW:
        return math.nan, math.nan
    return _mean(rows[:WINDOW], name), _mean(rows[-WINDOW:], name)


def _best(rows: Sequence[Row], name: str) -> float:
    """Return the best mean of consecutive rows before the last ones; NaN while there are none."""
    earlier = rows[:-WINDOW]
    starts = range(len(earlier) - WINDOW + 1)
    means = [_mean(earlier[start : start + WINDOW], name) for start in starts]
    return max((mean for mean in means if not math.isnan(mean)), default=math.nan)
