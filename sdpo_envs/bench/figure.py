"""The figures of a comparison, as SVG: learning curves, speed-ups, final successes."""

import math

import numpy as np

from sdpo_envs.bench.cell import between, rate, ratio, target
from sdpo_envs.bench.chart import Interval, Line, curves, forest
from sdpo_envs.bench.compare import Comparison
from sdpo_envs.bench.standing import Speedup, Standing

COLOURS = 9
"""How many a page must define besides ``--base``, that of the baseline: ``--c0``, ``--c1``, ..."""
_TIMES = ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


def colour(found: Comparison, algorithm: str) -> str:
    """Return the CSS colour of an algorithm; after `COLOURS` they come again."""
    if algorithm == found.baseline:
        return "var(--base)"
    others = [each.algorithm for each in found.standings if each.algorithm != found.baseline]
    return f"var(--c{others.index(algorithm) % COLOURS})"


def learning(found: Comparison, axis: str) -> str:
    """Draw the curves against ``"generations"`` or ``"seconds"``; ``""`` where no run has such an axis."""
    bands = [each.by_generations if axis == "generations" else each.by_seconds for each in found.standings]
    longest = max((float(band.x[-1]) for band in bands if len(band.x)), default=math.nan)
    if math.isnan(longest):
        return ""
    size, unit = (1.0, "generations") if axis == "generations" else time_unit(longest)
    lines = []
    for each, band in zip(found.standings, bands, strict=True):
        tips = [
            f"{each.algorithm} at {x / size:,.4g} {unit}: {value:.3f} [{low:.3f}, {high:.3f}], {runs:.0f} seeds"
            for x, value, low, high, runs in zip(band.x, band.value, band.low, band.high, band.runs, strict=True)
        ]
        if tips:
            shade = colour(found, each.algorithm)
            lines.append(Line(each.algorithm, shade, band.x / size, band.value, band.low, band.high, tips))
    label = "generations" if axis == "generations" else f"{unit} of work"
    return curves(f"Success rate against {label}", lines, label, lambda number: f"{number:,.6g}")


def time_unit(seconds: float) -> tuple[float, str]:
    """Return the seconds in the unit that suits a time, and its name."""
    return next(((size, unit) for size, unit in _TIMES if seconds >= 2 * size), _TIMES[-1])


def speedups(found: Comparison, unit: str) -> str:
    """Draw the speed-ups in ``"generations"`` or ``"seconds"``, level by level; ``""`` where there are none."""
    rows: list[Interval] = []
    others = [each for each in found.standings if each.algorithm != found.baseline]
    for number in range(len(others[0].reaches)) if others else ():
        heading = f"until {target(others[0].reaches[number], found.baseline)}"
        for each in others:
            reach = each.reaches[number]
            speedup = (reach.generations if unit == "generations" else reach.seconds).speedup
            if speedup is not None:
                rows.append(_speedup(found, each, speedup, heading))
                heading = ""
    if not rows:
        return ""
    inside = [each for row in rows for each in (*row.dots, row.low, row.high) if 0 < each < math.inf]
    ends = min([0.5, *(each / 1.1 for each in inside)]), max([2.0, *(each * 1.1 for each in inside)])
    label = f"times fewer {unit} than {found.baseline}"
    return forest(f"Speed-up in {unit}", rows, label, ends, True, lambda number: f"{number:g}")


def _speedup(found: Comparison, each: Standing, speedup: Speedup, heading: str) -> Interval:
    known = speedup.geometric
    censored = bool(speedup.censored)
    low, high = speedup.median if censored else (known.low, known.high)
    dots = [_shown(*ends) for ends in zip(speedup.low, speedup.high, strict=True)]
    shown = [(dot, tip) for dot, tip in zip(dots, _tips(speedup), strict=True) if not math.isnan(dot)]
    return Interval(
        each.algorithm,
        colour(found, each.algorithm),
        [dot for dot, _ in shown],
        math.nan if censored else known.value,
        low,
        high,
        ratio(speedup, brief=True),
        heading,
        [tip for _, tip in shown],
    )


def _shown(low: float, high: float) -> float:
    """Return where a ratio is drawn: at its value, beyond the axis towards its open end, or nowhere."""
    if low == high:
        return low
    return math.nan if low == 0 and math.isinf(high) else math.inf if math.isinf(high) else 0.0


def _tips(speedup: Speedup) -> list[str]:
    ends = zip(speedup.seeds, speedup.low, speedup.high, strict=True)
    return [f"seed {seed}: {between(low, high)}" for seed, low, high in ends]


def finals(found: Comparison) -> str:
    """Draw the final success of each seed, with mean and interval."""
    rows = [
        Interval(
            each.algorithm,
            colour(found, each.algorithm),
            each.finals.tolist(),
            each.final.value,
            each.final.low,
            each.final.high,
            rate(each.final),
            tips=[f"seed {run.source.seed}: {final:.3f}" for run, final in zip(each.full, each.finals, strict=True)],
        )
        for each in found.standings
    ]
    every = np.concatenate([each.finals for each in found.standings])
    low, high = max(0.0, float(every.min()) - 0.05), min(1.0, float(every.max()) + 0.05)
    return forest(
        "Final success of each seed", rows, "final success rate", (low, high), False, lambda number: f"{number:g}"
    )
