"""Charts: what is drawn stands where it should, and is well-formed whatever the text."""

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs.bench.chart import Interval, Line, Scale, curves, forest

HOSTILE = "<script>alert(\"1\")</script> & 'more' ]]> --> é"


def line(name: str = "a", heights: Sequence[float] = (0.0, 0.5, 1.0), every: float = 100.0) -> Line:
    value = np.array(heights)
    x = np.arange(len(value)) * every
    tips = [f"{name} at {at}" for at in x]
    return Line(name, "var(--c0)", x, value, value.clip(0.05) - 0.05, value.clip(0, 0.95) + 0.05, tips)


def shapes(svg: str, tag: str, kind: str) -> list[dict[str, str]]:
    return [dict(each.attrib) for each in ElementTree.fromstring(svg).iter(tag) if each.get("class") == kind]


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(svg).iter("text")]


# --- curves


def test_a_curve_runs_from_corner_to_corner() -> None:
    svg = curves("title", [line()], "generations", "{:g}".format)
    (curve,) = shapes(svg, "polyline", "curve")
    points = [tuple(map(float, point.split(","))) for point in curve["points"].split()]
    grid = [float(each["y1"]) for each in shapes(svg, "line", "grid")]
    assert points[0][1] == max(grid)  # a rate of 0 lies on the lowest line
    assert points[-1][1] == min(grid)
    assert points[1] == pytest.approx(np.mean([points[0], points[-1]], axis=0), abs=0.1)
    assert len(shapes(svg, "circle", "point")) == 3
    assert "a at 100.0" in svg
    assert {"generations", "a", "0", "0.2", "1"} <= set(texts(svg))


def test_names_at_the_ends_do_not_overlap_and_keep_their_order() -> None:
    lines = [line(f"n{number}", (0.0, 0.9 + number / 1000)) for number in range(12)]
    svg = curves("title", lines, "x", "{:g}".format)
    places = [float(each["y"]) for each in shapes(svg, "text", "name")]
    assert all(lower - upper >= 15 for upper, lower in zip(places[1:], places, strict=False))
    assert 0 < min(places) < max(places) < 380


def test_one_point_is_a_chart() -> None:
    for svg in (curves("t", [line(heights=(0.5,))], "x", "{:g}".format), curves("t", [line(every=0.0)], "x", str)):
        assert "nan" not in svg
        ElementTree.fromstring(svg)


def test_a_long_name_is_cut_and_told_whole() -> None:
    name = "an algorithm with a very long name"
    svg = curves("t", [line(name)], "x", "{:g}".format)
    assert "an algorithm wi…" in texts(svg)
    assert f"<title>{name}</title>" in svg


# --- rows


def row(**parts: object) -> Interval:
    told = {"name": "a", "colour": "var(--c0)", "dots": [0.5], "value": 0.5, "low": 0.4, "high": 0.6, "text": "0.5"}
    return Interval(**(told | parts))  # type: ignore[arg-type]


def draw(*rows: Interval, ends: tuple[float, float] = (0.0, 1.0), log: bool = False) -> str:
    return forest("title", rows, "label", ends, log, "{:g}".format)


def test_a_row_has_its_dots_its_mark_and_its_interval() -> None:
    svg = draw(row(dots=[0.25, 0.75], tips=["seed 0", "seed 1"]), row(heading="until 0.5"))
    (whisker, _) = shapes(svg, "line", "whisker")
    left, right = (float(dot["cx"]) for dot in shapes(svg, "circle", "dot")[:2])
    assert float(whisker["x1"]) == pytest.approx(left + (right - left) * 0.3, abs=0.1)
    assert float(whisker["x2"]) == pytest.approx(left + (right - left) * 0.7, abs=0.1)
    assert len(shapes(svg, "polygon", "mark")) == 2
    assert "seed 1" in svg
    assert "until 0.5" in texts(svg)


def test_what_lies_beyond_the_axis_is_an_arrow() -> None:
    svg = draw(row(dots=[math.inf, 0.0, 2.0], value=math.nan, low=1.0, high=math.inf), ends=(0.5, 4.0), log=True)
    assert len(shapes(svg, "circle", "dot")) == 1
    assert len(shapes(svg, "polygon", "arrow")) == 3
    assert shapes(svg, "polygon", "mark") == []
    assert len(shapes(svg, "line", "one")) == 1
    assert not re.search(r"\b(nan|inf)\b", svg)


def test_where_nothing_is_known_nothing_is_drawn() -> None:
    svg = draw(row(dots=[], value=math.nan, low=math.nan, high=math.nan))
    assert shapes(svg, "line", "whisker") == shapes(svg, "polygon", "mark") == []


# --- scales


def test_a_logarithmic_scale_gives_equal_ratios_equal_room() -> None:
    scale = Scale(0.25, 4.0, 100.0, 200.0, log=True)
    assert [scale(number) for number in (0.25, 0.5, 1, 4)] == pytest.approx([100, 125, 150, 200])
    assert (scale(0.0), scale(math.inf)) == pytest.approx((100, 200))
    assert scale.ticks() == [0.5, 1, 2]


@given(st.floats(1e-3, 1e9), st.floats(0, 1e6))
def test_ticks_are_few_round_and_on_the_axis(length: float, start: float) -> None:
    scale = Scale(start, start + max(length, start * 1e-3), 0, 100)
    ticks = scale.ticks(5)
    assert 1 <= len(ticks) <= 7
    slack = (scale.high - scale.low) * 1e-6
    assert all(scale.low - slack <= tick <= scale.high + slack for tick in ticks)
    steps = np.diff(ticks)
    assert len(steps) == 0 or steps == pytest.approx(steps[0], rel=1e-6)


# --- any text


def test_text_never_becomes_a_tag() -> None:
    told = [curves(HOSTILE, [line(HOSTILE)], HOSTILE, lambda _: HOSTILE)]
    told.append(
        forest(HOSTILE, [row(name=HOSTILE, text=HOSTILE, heading=HOSTILE, tips=[HOSTILE])], HOSTILE, (0, 1), False, str)
    )
    for svg in told:
        assert {each.tag for each in ElementTree.fromstring(svg).iter()} <= {
            "svg",
            "g",
            "title",
            "text",
            "line",
            "polygon",
            "polyline",
            "circle",
        }
        assert HOSTILE in [*texts(svg), *(each.text for each in ElementTree.fromstring(svg).iter("title"))]
