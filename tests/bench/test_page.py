"""The page: complete, well-formed, self-contained, and deaf to what names and values try to be."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from recorded import evaluation, ramp, training, write_learner, write_run

from sdpo_envs import compare
from sdpo_envs.bench.compare import Comparison
from sdpo_envs.bench.figure import COLOURS, colour, finals, learning, speedups, time_unit
from sdpo_envs.bench.intervals import Bootstrap
from sdpo_envs.bench.page import page

HOW = Bootstrap(draws=100)
HOSTILE = '</style><script>alert(1)</script><img src=x onerror="alert(2)">&\'"'
VOID = {"meta", "line", "circle", "polygon", "polyline", "br", "img"}


class Tags(HTMLParser):
    """Reads a page and fails where a tag is not closed by its own."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    tmp_path = tmp_path_factory.mktemp("runs")
    for seed in range(5):
        write_learner(tmp_path / "grpo" / str(seed), ramp(900 + 10 * seed, 0.8), algorithm="grpo", seed=seed, pace=0.5)
        write_learner(tmp_path / "sdpo" / str(seed), ramp(450 + 10 * seed, 0.9), seed=seed, pace=0.25)
        write_learner(tmp_path / "slow" / str(seed), ramp(900, 0.3), algorithm="slow", seed=seed, pace=0.25)
    return compare(tmp_path, baseline="grpo", how=HOW)


def test_the_page_has_every_part(found: Comparison) -> None:
    told = Tags(page(found, title="Which is faster?", command="sdpo report runs"))
    headings = [tag for tag, _ in told.seen if tag in ("h1", "h2")]
    assert headings == ["h1", *["h2"] * 7]
    assert [tag for tag, _ in told.seen].count("svg") == 5
    for words in (
        "Which is faster?",
        "What was reached",
        "How soon",
        "Learning curves",
        "Speed-ups",
        "Final success of each seed",
        "What is missing Nothing: every run is whole",
        "To make this page again sdpo report runs",
        "grpo: 0.5; sdpo, slow: 0.25",
        "seeds 0, 1, 2, 3, 4",
        "grpo's final success",
        "never (5 of 5)",
        "5 of 5 seeds censored",
    ):
        assert words in told.text, words


def test_the_page_says_how_each_stands_beside_the_baseline(found: Comparison) -> None:
    text = Tags(page(found, title="t")).text
    assert re.search(
        r"sdpo ends at 0\.90 \[0\.90, 0\.90\], \+0\.1\d \[.*\] beside grpo\. Speed-up .*: \d\.\d\d× \[", text
    )
    assert text.index("sdpo ends") < text.index("slow ends")
    assert "To make this page again" not in text


def test_the_page_needs_nothing_but_itself(found: Comparison) -> None:
    text = page(found, title="t", command="c")
    told = Tags(text)
    assert not {tag for tag, _ in told.seen} & {"script", "link", "iframe", "img", "object", "embed"}
    assert not {name for _, attributes in told.seen for name in attributes if name.startswith("on")}
    assert not {name for _, attributes in told.seen for name in attributes} & {"src", "href"}
    assert not re.search(r"https?:|url\(|@import", text)


def test_the_page_is_the_same_again(found: Comparison) -> None:
    assert page(found, title="t") == page(found, title="t")


def test_every_colour_that_is_drawn_is_defined_in_light_and_in_dark(found: Comparison) -> None:
    text = page(found, title="t")
    for used in set(re.findall(r"var\((--\w+)\)", text)) - {"--c"} | {f"--c{number}" for number in range(COLOURS)}:
        assert len(re.findall(rf"{used}: #", text)) == 2, used


def test_no_number_is_shown_raw(found: Comparison) -> None:
    text = Tags(page(found, title="t")).text
    assert not re.search(r"\b(nan|inf|None)\b|\d\.\d{7}", text.split("What was reached")[1])


def hostile_runs(folder: Path) -> Path:
    for name in (f"<b>{HOSTILE}</b>", "grpo"):
        rows: list[dict[str, Any]] = [each | {"task": HOSTILE, "feedback": HOSTILE} for each in evaluation(64, 0.5, 10)]
        facts = {"algorithm": name, "seed": HOSTILE, HOSTILE: HOSTILE, "own": HOSTILE + name}
        world = {"test": {"env": HOSTILE, "settings": {HOSTILE: HOSTILE}}}
        write_run(folder / str(len(name)), [*rows, *training(0, [True, None])], facts, phases=world)
    return folder


@pytest.mark.parametrize("baseline", [None, "grpo", f"<b>{HOSTILE}</b>"])
def test_no_text_of_a_run_becomes_a_tag(tmp_path: Path, baseline: str | None) -> None:
    found = compare(hostile_runs(tmp_path), baseline=baseline, how=HOW)
    text = page(found, title=HOSTILE, command=HOSTILE)
    told = Tags(text)
    assert not {tag for tag, _ in told.seen} & {"script", "img", "b"}
    assert not {name for _, attributes in told.seen for name in attributes if name.startswith("on")}
    assert text.count("</style>") == 1
    assert HOSTILE in "".join(told.words)


def test_a_page_of_one_short_run_without_a_clock(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "0", evaluation(0, 0.5))
    told = Tags(page(compare(tmp_path, how=HOW), title="t"))
    assert [tag for tag, _ in told.seen].count("svg") == 2
    assert "no clock" in told.text
    assert "Speed-ups" not in told.text


def test_a_page_without_levels_has_no_table_of_them(tmp_path: Path) -> None:
    write_learner(tmp_path / "a", ramp(100))
    assert "How soon" not in page(compare(tmp_path, levels=(), how=HOW), title="t")


# --- figures


def test_the_baseline_is_grey_and_colours_come_again(tmp_path: Path) -> None:
    for name in "abcdefghijkl":
        write_run(tmp_path / name / "0", evaluation(0, 0.5))
    found = compare(tmp_path, baseline="c", how=HOW)
    shades = [colour(found, each.algorithm) for each in found.standings]
    assert shades[:3] == ["var(--base)", "var(--c0)", "var(--c1)"]
    assert shades[10] == "var(--c0)"
    assert learning(found, "generations").count('class="curve"') == 12
    assert learning(found, "seconds") == ""


def test_figures_show_every_seed_and_every_level(found: Comparison) -> None:
    assert finals(found).count('class="dot"') == 15
    drawn = speedups(found, "generations")
    assert drawn.count("until ") == 4
    assert drawn.count('class="name"') == 8
    assert re.search(r"seed 3: [12]\.\d\d×", drawn)
    assert "seed 3: at most" in drawn


@pytest.mark.parametrize(("seconds", "unit"), [(10, "seconds"), (119, "seconds"), (120, "minutes"), (7200, "hours")])
def test_time_has_the_unit_that_suits(seconds: float, unit: str) -> None:
    assert time_unit(seconds)[1] == unit
