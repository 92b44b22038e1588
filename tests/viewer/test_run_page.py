"""The page in a browser: filters filter, tokens are coloured, keys work, a hostile run does nothing.

Each browser test also demands that nothing is written to the console and that only the file itself is loaded.
"""

import time
from pathlib import Path
from typing import Any

import pytest
from recorded import row, write_run
from stories import EVIL, MARKER, Open, hostile, small

from sdpo_envs.viewer import view


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return view(small(tmp_path_factory.mktemp("small") / "run"))


def listed(page: Any) -> list[int]:
    """The numbers of the attempts in the list."""
    return [int(each.get_attribute("id")[1:]) for each in page.query_selector_all("#list [role=option]")]


def detail(page: Any) -> str:
    text: str = page.inner_text("#detail")
    return text


def given(page: Any, **fields: str | bool) -> list[int]:
    """Fill in the form and return what is left."""
    for name, value in fields.items():
        control = f"#filters [name={name}]"
        if isinstance(value, bool):
            page.set_checked(control, value)
        elif name in ("phase", "outcome"):
            page.select_option(control, value)
        else:
            page.fill(control, value)
    page.evaluate("document.getElementById('filters').requestSubmit()")  # which waits for no more letters
    return listed(page)


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [0, 1, 2, 3, 4, 5, 6]),
    ({"phase": "test"}, [6]),
    ({"phase": "train"}, [0, 1, 2, 3, 4, 5]),
    ({"outcome": "crashed"}, [4]),
    ({"outcome": "broken"}, [3]),
    ({"task": "TRAIN/1"}, [2, 3]),
    ({"from": "4"}, [4, 5, 6]),
    ({"to": "3"}, [0, 1, 2, 3]),
    ({"from": "4", "to": "5"}, [4, 5]),
    ({"low": "0.5"}, [0, 2, 6]),
    ({"high": "0.5"}, [1, 2, 4, 5]),
    ({"text": "MIN("}, [1, 4, 5]),
    ({"text": "no form"}, [2]),
    ({"text": "judgeerror"}, [3]),
    ({"text": "and why"}, [5]),
    ({"feedback": True}, [1, 2, 4, 5]),
    ({"peer": True}, [1]),
    ({"gap": True}, [5]),
    ({"turns": True}, [2]),
    ({"reveals": True}, [5]),
    ({"broken": True}, [3]),
    ({"broken": True, "phase": "test"}, []),
    ({"text": "min(", "outcome": "wrong", "peer": True}, [1]),
]


def test_filters_filter(opened: Open, page_file: Path) -> None:
    page = opened(page_file)
    for fields, left in FILTERS:
        assert given(page, **fields) == left, fields
        assert page.inner_text("#count").startswith(f"{len(left)} of 7 attempts")
        kept = page.evaluate("location.hash.slice(1)")
        page.click("button[type=reset]")
        page.wait_for_selector("#count:text('7 of 7 attempts')")
        assert listed(page) == [0, 1, 2, 3, 4, 5, 6]
    page.evaluate("(kept) => { location.hash = kept; }", kept)
    page.reload()  # the address holds the filters, of the last case a word, a choice and a tick
    assert listed(page) == left


def test_an_attempt_is_shown_whole(opened: Open, page_file: Path) -> None:
    page = opened(page_file)
    page.click("#o1")
    text = detail(page)
    for words in ("microcode/0/mixed/train/0", "wrong", "return min(x)", "Not <b>right</b>", "handed one that passed"):
        assert words in text
    assert "Write f(x):" in text  # the prompt
    page.click(".group button:has-text('passed')")
    assert "return max(x)" in detail(page)
    page.click("#o2")
    assert [each for each in detail(page).split("\n") if each.startswith("Action ")] == ["Action 1", "Action 2"]
    page.click("#o3")
    assert "JudgeError: out" in detail(page)
    page.click("#o5")
    assert "The feedback reveals the answer." in detail(page)
    assert "2 passed (28.6 %); 1 broke" in page.inner_text("#count")


def test_tokens_are_coloured_by_the_gap(opened: Open, page_file: Path) -> None:
    page = opened(page_file, "attempt=5")
    tokens = page.query_selector_all(".tokens span")
    assert [token.inner_text() for token in tokens] == ["return", " min", "(x)", "<|end|>"]
    colours = [token.evaluate("each => getComputedStyle(each).backgroundColor") for token in tokens]
    plain, less, more, _ = colours
    assert plain == "rgba(0, 0, 0, 0)"
    red, _, blue, much = (float(part) for part in less.removeprefix("rgba(").rstrip(")").split(","))
    assert red > blue
    assert much == pytest.approx(0.7)  # 5 nats are more than the strongest colour
    red, _, blue, much = (float(part) for part in more.removeprefix("rgba(").rstrip(")").split(","))
    assert blue > red
    assert much == pytest.approx(0.08 + 0.62 * 0.49 / 4, abs=0.005)
    assert "student 0.607, teacher 0.004, gap -5.00 nats" in tokens[1].get_attribute("title")
    page.click("summary:has-text('Token by token')")
    cells = [each.inner_text() for each in page.query_selector_all("tbody tr:nth-child(2) td")]
    assert cells == [" min", "0.607", "0.004", "-5.00"]
    page.click("summary:has-text('What the self-teacher read')")
    assert "the question, and why" in detail(page)


def test_it_can_be_used_by_keys_alone(opened: Open, page_file: Path) -> None:
    page = opened(page_file)
    page.keyboard.press("/")
    page.keyboard.type("min(")
    page.wait_for_timeout(250)
    assert listed(page) == [1, 4, 5]
    page.keyboard.press("Escape")
    page.wait_for_timeout(250)
    assert page.input_value("[name=text]") == "min("
    assert listed(page) == [1, 4, 5]
    for key, chosen in (("ArrowDown", 4), ("j", 5), ("j", 5), ("Home", 1), ("End", 5), ("k", 4), ("ArrowUp", 1)):
        page.keyboard.press(key)
        assert page.get_attribute("#list", "aria-activedescendant") == f"o{chosen}", key
        assert page.get_attribute("#list [aria-selected=true]", "id") == f"o{chosen}"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "detail"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "list"
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select')].filter((each) => !each.labels.length).length"
    )
    assert unnamed == 0


def contrast(page: Any, selector: str) -> float:
    """The contrast of letters to the page behind them, by WCAG."""
    script = """(selector) => {
      const light = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map((each) => each / 255)
          .map((each) => (each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ink = light(getComputedStyle(document.querySelector(selector)).color);
      const paper = light(getComputedStyle(document.body).backgroundColor);
      return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    }"""
    return float(page.evaluate(script, selector))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_light_and_dark(opened: Open, page_file: Path, scheme: Any) -> None:
    page = opened(page_file, color_scheme=scheme)
    for selector in ("h1", "dt", "h3", ".passed", ".failed", ".broken", "#only", "#count", ".line .task"):
        assert contrast(page, selector) >= 4.5, selector
    dark = "21, 24, 28" in page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark == (scheme == "dark")


def test_a_hostile_run_does_nothing(opened: Open, tmp_path: Path) -> None:
    path = view(hostile(tmp_path / "run"))
    page = opened(path)
    assert len(listed(page)) == len(EVIL)
    for number in range(len(EVIL)):
        page.click(f"#o{number}")
        for summary in page.query_selector_all("#detail summary"):
            summary.click()
    page.click("#o1")
    assert EVIL[1] in detail(page)
    assert "\\u202e turned" in page.evaluate("document.getElementById('data').textContent").replace("\\\\", "\\")
    assert page.evaluate(f"window.{MARKER}") is None
    assert page.evaluate("document.querySelectorAll('script').length") == 2
    assert page.evaluate("document.querySelectorAll('img, svg, iframe, link').length") == 0
    assert given(page, text="onerror=") == [1]


def test_without_its_two_walls_the_same_run_does_harm(browser: Any, tmp_path: Path) -> None:
    """The test above can fail: with no escape in the data and no policy, the first attack succeeds."""
    text = view(hostile(tmp_path / "run")).read_text().replace("\\u003c", "<")
    (tmp_path / "naive.html").write_text(text.replace("Content-Security-Policy", "X-Nothing"))
    (tmp_path / "walled.html").write_text(text)
    for name, harm in (("naive", 1), ("walled", None)):
        page = browser.new_page()
        page.goto((tmp_path / f"{name}.html").as_uri())
        assert page.evaluate(f"window.{MARKER}") == harm, name  # the policy alone holds as well
        page.close()


def test_the_data_is_ascii_and_the_script_makes_no_html_of_strings(page_file: Path) -> None:
    data = page_file.read_text(encoding="utf-8").partition('<script id="data" type="application/json">')[2]
    assert data.partition("</script>")[0].isascii()
    script = (Path(__file__).parents[2] / "sdpo_envs" / "viewer" / "viewer.js").read_text()
    for danger in (
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
        "Function(",
        "fetch(",
        "import(",
    ):
        assert danger not in script


def many(folder: Path, count: int = 10_000) -> Path:
    rows = [
        row(
            number % 7 == 0,
            task=f"task/{number % 128}",
            group=number // 8,
            generations=number // 64 * 64,
            actions=[f"Thought: attempt {number} of many.\nAction: lamp\nAction Input: {{'level': {number % 11}}}"],
            feedback=f"Action 1, lamp: the argument 'level' must lie in [0, {number % 500}], not beside it." * 2,
            tokens=40,
        )
        for number in range(count)
    ]
    return write_run(folder, rows, {"algorithm": "sdpo"})


def test_ten_thousand_attempts_are_shown_at_once(opened: Open, tmp_path: Path) -> None:
    start = time.perf_counter()
    path = view(many(tmp_path / "run"))
    made, size = time.perf_counter() - start, path.stat().st_size
    start = time.perf_counter()
    page = opened(path, "attempt=14")
    page.wait_for_selector("#o0")
    loaded = time.perf_counter() - start
    inside = """(id) => {
      const [row, list] = [id, "list"].map((each) => document.getElementById(each).getBoundingClientRect());
      return row.top >= list.top && row.bottom <= list.bottom;
    }"""
    assert page.evaluate(inside, "o14")
    assert len(listed(page)) == 200
    assert "10,000 of 10,000 attempts" in page.inner_text("#count")
    page.click("#on")
    assert page.inner_text("#page") == "201 to 400 of 10000"
    page.focus("#list")
    page.keyboard.press("End")
    assert page.get_attribute("#list", "aria-activedescendant") == "o9999"
    assert page.evaluate(inside, "o9999")
    searched = page.evaluate("""() => {
      const start = performance.now();
      document.querySelector('[name=text]').value = 'attempt 9999 ';
      document.getElementById('filters').requestSubmit();
      return performance.now() - start;
    }""")
    assert listed(page) == [9999]
    print(f"made in {made:.2f} s, {size / 1e6:.2f} MB, open in {loaded:.2f} s, searched in {searched:.0f} ms")
    assert size < 5e6
    assert made < 10
    assert loaded < 10
    assert searched < 2000
