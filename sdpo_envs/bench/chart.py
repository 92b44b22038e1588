"""Charts as SVG: bands over an axis, and dots with intervals in rows. Text in, text out.

Colours are CSS variables, so that the page that holds a chart decides, for light and for dark; whatever text is given
is escaped.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from sdpo_envs.bench.intervals import Floats

WIDTH = 640
"""Of every chart, in its own units; a page scales it."""
_LABEL = 16  # height of a line of labels
_ROW = 26
Written = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve with its band.

    Attributes:
        name: Its label.
        colour: A CSS colour.
        x: Of its points.
        value: Of its points.
        low: Lower end of the band.
        high: Upper end.
        tips: What each point says when it is pointed at.
    """

    name: str
    colour: str
    x: Floats
    value: Floats
    low: Floats
    high: Floats
    tips: Sequence[str]


@dataclass(frozen=True, slots=True)
class Interval:
    """One row of dots with an interval.

    Attributes:
        name: What stands before it; ``""`` for none.
        colour: A CSS colour.
        dots: Single values; those out of the axis are drawn as arrows at its ends.
        value: The marked one; NaN for none, as where only the ends are known.
        low: Lower end of the interval.
        high: Upper end; both may lie beyond the axis.
        text: What stands after it.
        heading: What stands above it, as the first of a group.
        tips: What each dot says when it is pointed at.
    """

    name: str
    colour: str
    dots: Sequence[float]
    value: float
    low: float
    high: float
    text: str
    heading: str = ""
    tips: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Scale:
    """From numbers to places along an axis.

    Attributes:
        low: The number at the start.
        high: The number at the end.
        start: Its place.
        end: Its place.
        log: Whether equal ratios take equal room.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, number: float) -> float:
        """Return the place of a number, within the axis."""
        low, high, here = (math.log(each) if self.log else each for each in (self.low, self.high, self._kept(number)))
        return self.start + (here - low) / (high - low) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Return round numbers on the axis, at most about so many."""
        if self.log:
            steps = [m * 10.0**p for p in range(-6, 7) for m in (1, 2, 5)]
            inside = [step for step in steps if self.low <= step <= self.high]
            return inside if len(inside) <= most else [step for step in inside if f"{step:e}"[0] == "1"]
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        return [step * number for number in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _kept(self, number: float) -> float:
        return min(max(number, self.low), self.high)


def curves(title: str, lines: Sequence[Line], label: str, write: Written, most: int = 6) -> str:
    """Draw success rates against `label`, from 0 to 1, with the name of each at its end."""
    height, left, right, top, bottom = 380, 44, 124, 14, 46
    ends = [float(line.x[-1]) for line in lines]
    x = Scale(min(0.0, *(float(line.x[0]) for line in lines)), max(*ends, 1e-9), left, WIDTH - right)
    y = Scale(0.0, 1.0, height - bottom, top)
    drawn = [_text(left - 8, y(tick) + 4, f"{tick:g}", "end", "tick") for tick in y.ticks(5)]
    drawn += [_rule(left, y(tick), WIDTH - right, y(tick), "grid") for tick in y.ticks(5)]
    drawn += [_text(x(tick), height - bottom + 20, write(tick), "middle", "tick") for tick in x.ticks(most)]
    drawn += [_text((left + WIDTH - right) / 2, height - 6, label, "middle", "axis")]
    drawn += [_band(line, x, y) for line in lines]
    drawn += [_line(line, x, y) for line in lines]
    places = _apart([y(float(line.value[-1])) for line in lines], top, height - bottom)
    for line, place in zip(lines, places, strict=True):
        name = _text(WIDTH - right + 10, place + 4, _short(line.name, 16), "start", "name", line.colour)
        drawn.append(_titled(name, line.name))
    return _svg(title, height, drawn)


def forest(
    title: str, rows: Sequence[Interval], label: str, scale: tuple[float, float], log: bool, write: Written
) -> str:
    """Draw dots and intervals in rows along one axis.

    Args:
        title: What a reader who cannot see it is told.
        rows: From the top.
        label: Of the axis.
        scale: Its ends.
        log: Whether equal ratios take equal room; then a line stands at 1.
        write: Numbers at the axis.
    """
    left, right, top = 118, 196, 6
    headings = sum(bool(row.heading) for row in rows)
    bottom = top + _ROW * (len(rows) + headings)
    x = Scale(*scale, left, WIDTH - right, log)
    drawn = [_rule(x(tick), top, x(tick), bottom, "grid") for tick in x.ticks(5)]
    drawn += [_text(x(tick), bottom + 18, write(tick), "middle", "tick") for tick in x.ticks(5)]
    drawn += [_text((left + WIDTH - right) / 2, bottom + 38, label, "middle", "axis")]
    if log:
        drawn.append(_rule(x(1.0), top, x(1.0), bottom, "one"))
    place = top + _ROW / 2
    for row in rows:
        if row.heading:
            drawn.append(_text(0, place + 5, row.heading, "start", "heading"))
            place += _ROW
        drawn.append(_titled(_text(left - 12, place + 4, _short(row.name, 15), "end", "name", row.colour), row.name))
        drawn += _interval(row, x, place)
        drawn.append(_text(WIDTH - right + 14, place + 4, row.text, "start", "told"))
        place += _ROW
    return _svg(title, bottom + 44, drawn)


def _interval(row: Interval, x: Scale, place: float) -> list[str]:
    colour = f'style="--c:{escape(row.colour)}"'
    drawn = []
    if not math.isnan(row.low):
        drawn.append(
            f'<line class="whisker" {colour} x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{place}" y2="{place}"/>'
        )
        drawn += [_arrow(x, end, place, colour) for end in (row.low, row.high) if not x.low <= end <= x.high]
    for number, dot in enumerate(row.dots):
        tip = row.tips[number] if row.tips else ""
        shape = f'<circle class="dot" {colour} cx="{x(dot):.1f}" cy="{place}" r="3.5"/>'
        drawn.append(_titled(shape if x.low <= dot <= x.high else _arrow(x, dot, place, colour), tip))
    if not math.isnan(row.value):
        here = x(row.value)
        points = f"{here - 6:.1f},{place} {here:.1f},{place - 6} {here + 6:.1f},{place} {here:.1f},{place + 6}"
        drawn.append(f'<polygon class="mark" {colour} points="{points}"/>')
    return drawn


def _arrow(x: Scale, number: float, place: float, colour: str) -> str:
    """Draw the head of an arrow at the end of the axis that a number lies beyond."""
    tip, back = (x.end, x.end - 7) if number > x.high else (x.start, x.start + 7)
    return f'<polygon class="arrow" {colour} points="{tip:.1f},{place} {back:.1f},{place - 4} {back:.1f},{place + 4}"/>'


def _band(line: Line, x: Scale, y: Scale) -> str:
    there = [*zip(line.x, line.high, strict=True), *reversed(list(zip(line.x, line.low, strict=True)))]
    points = " ".join(f"{x(at):.1f},{y(height):.1f}" for at, height in there)
    return f'<polygon class="band" style="--c:{escape(line.colour)}" points="{points}"/>'


def _line(line: Line, x: Scale, y: Scale) -> str:
    places = [(x(at), y(height)) for at, height in zip(line.x, line.value, strict=True)]
    colour = f'style="--c:{escape(line.colour)}"'
    path = " ".join(f"{across:.1f},{up:.1f}" for across, up in places)
    dots = [
        _titled(
            f'<circle class="point" {colour} cx="{across:.1f}" cy="{up:.1f}" r="{2.5 if len(places) < 40 else 1.2}"/>',
            tip,
        )
        for (across, up), tip in zip(places, line.tips, strict=True)
    ]
    return f'<polyline class="curve" {colour} points="{path}"/>{"".join(dots)}'


def _apart(places: Sequence[float], top: float, bottom: float) -> list[float]:
    """Move labels apart that would overlap, as little as is simple, and back inside."""
    order = np.argsort(places, kind="stable")
    moved = [float(places[index]) for index in order]
    for number in range(1, len(moved)):
        moved[number] = max(moved[number], moved[number - 1] + _LABEL)
    for number in reversed(range(len(moved))):
        below = moved[number + 1] - _LABEL if number + 1 < len(moved) else bottom
        moved[number] = max(top, min(moved[number], below))
    found = [0.0] * len(moved)
    for place, index in zip(moved, order, strict=True):
        found[int(index)] = place
    return found


def _svg(title: str, height: float, drawn: Sequence[str]) -> str:
    inside = "\n".join(drawn)
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}">\n{inside}\n</svg>'


def _text(x: float, y: float, text: str, anchor: str, kind: str, colour: str = "") -> str:
    style = f' style="--c:{escape(colour)}"' if colour else ""
    return f'<text class="{kind}"{style} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _titled(shape: str, tip: str) -> str:
    return f"<g><title>{escape(tip)}</title>{shape}</g>" if tip else shape


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
