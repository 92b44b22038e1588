"""Numbers as people read them in the cells of a table."""

import math
from collections.abc import Callable

from sdpo_envs.bench.intervals import Estimate
from sdpo_envs.bench.standing import Need, Reach, Speedup

NOTHING = "–"
"""Stands where nothing is known."""
_UNBOUNDED = "not known"


def rate(estimate: Estimate, *, sign: bool = False) -> str:
    """Write a success rate, or a difference of two with its sign: ``0.87 [0.84, 0.89]``."""
    form = "+.2f" if sign else ".2f"
    value, low, high = (format(each, form).replace("-", "−") for each in (estimate.value, estimate.low, estimate.high))
    return interval(value, low, high)


def interval(value: str, low: str, high: str) -> str:
    """Write a number and its interval, or `NOTHING`."""
    return NOTHING if value.endswith("nan") else f"{value} [{low}, {high}]"


def count(number: float) -> str:
    """Write generations: ``4,391``."""
    return "never" if math.isinf(number) else f"{number:,.0f}"


def duration(seconds: float) -> str:
    """Write seconds in a fitting unit: ``16 s``, ``5.2 min``, ``3.1 h``."""
    if math.isinf(seconds):
        return "never"
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def needed(need: Need, write: Callable[[float], str]) -> str:
    """Write what it took to reach a level, by `count` or by `duration`."""
    typical = need.typical
    if math.isnan(typical.value):
        return NOTHING
    if not need.never:
        return interval(write(typical.value), write(typical.low), write(typical.high))
    never = f"never ({need.never} of {len(need.by_seed)})"
    return never if math.isinf(typical.value) else f"{write(typical.value)} in the median; {never}"


def ratio(speedup: Speedup | None, *, brief: bool = False) -> str:
    """Write by how much an algorithm was faster: ``1.62 [1.22, 1.94]`` times, or what is known of the median.

    Args:
        speedup: None for what is not known.
        brief: Whether to leave out how many seeds are censored.
    """
    if speedup is None:
        return NOTHING
    if not speedup.censored:
        known = speedup.geometric
        return interval(f"{known.value:.2f}×", f"{known.low:.2f}", f"{known.high:.2f}")
    told = between(*speedup.median)
    told += "" if told == _UNBOUNDED else " in the median"
    return told if brief else f"{told}; {speedup.censored} of {len(speedup.seeds)} seeds censored"


def between(low: float, high: float) -> str:
    """Write what is known of a ratio: ``1.62`` times, or a bound, or two."""
    if low == high:
        return f"{low:.2f}×"
    if math.isinf(high):
        return f"at least {low:.2f}×" if low > 0 else _UNBOUNDED
    return f"{low:.2f} to {high:.2f}×" if low > 0 else f"at most {high:.2f}×"


def target(reach: Reach, baseline: str | None) -> str:
    """Name the level that is reached."""
    return f"{baseline}'s final success" if reach.level is None else f"{reach.level:g}"


def tokens(start: float, end: float) -> str:
    """Write how the length of actions changed: ``30 → 20``."""
    return NOTHING if math.isnan(start) else f"{start:.0f} → {end:.0f}"
