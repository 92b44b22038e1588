"""What a notebook shows of verdicts, feedback, groups, rows, recordings and comparisons: all, and only as text."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import ramp, row, write_learner, write_run

from sdpo_agent.attempt import Attempt, Group, Turn
from sdpo_envs import Feedback, Finding, GroupEnv, JudgedEnv, JudgeError, MultiAttempt, Outcome, Task, Verdict, record
from sdpo_envs.bench import compare
from sdpo_envs.html import Tried, attempt_html, card, group_html
from sdpo_envs.record import Recording, rows
from sdpo_envs.record.summary import recording_html

EVIL = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=alert(1)>",
    "</details></pre></table></div><b>free",
    "\"' onmouseover=alert(1) x='",
    "</style><style>*{display:none}</style>",
    "\ud800\x00\u202e\x1b[2J\u2028",
    "&lt;b&gt; &amp;",
)
TAGS = {"div", "style", "b", "i", "pre", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}


class Seen(HTMLParser):
    """What a browser would make of a text: elements with their attributes, and letters."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.letters = ""
        self.open: list[str] = []
        text.encode()  # or a notebook could not save it
        self.feed(text)
        assert self.open == [], "an element is left open"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "an element was closed by another"

    def handle_data(self, data: str) -> None:
        self.letters += data if self.open[-1:] != ["style"] else ""


def look(text: str) -> str:
    """Demand that nothing but our own elements is in a card; return its letters."""
    seen = Seen(text)
    assert {tag for tag, _ in seen.elements} <= TAGS
    assert {name for _, attributes in seen.elements for name in attributes} <= {"class"}
    return seen.letters


def verdict(text: str) -> Verdict:
    return Verdict(Outcome.WRONG, 0.25, (Finding(text, {text: text}, {"Right": "HIDDEN", text: "HIDDEN"}),))


def shown(text: str) -> Iterator[str]:
    """Everything that shows itself, made of one text."""
    told = Feedback(text, reveals_answer=True, peer=text)
    yield verdict(text)._repr_html_()
    yield told._repr_html_()
    yield attempt_html(text, Tried([text, text], np.nan, None, told, text))
    yield card(group_html(text, [Tried([text], 0.0, verdict(text), told), Tried(running=True)], text))
    turn = Turn(text, text, (), ())
    attempt = Attempt(text, (turn, turn), 0.0, verdict(text), told)
    yield attempt._repr_html_()
    yield Group(text, (attempt,))._repr_html_()


@pytest.mark.parametrize("text", EVIL, ids=ascii)
def test_whatever_is_said_is_shown_and_not_obeyed(text: str) -> None:
    for html in shown(text):
        look(html)


@given(st.text())
def test_any_text_at_all_is_only_text(text: str) -> None:
    for html in shown(text):
        look(html)


def test_a_hostile_policy_is_shown_in_its_own_words() -> None:
    for evil in (each for each in EVIL if each.isprintable()):
        assert evil in look(Feedback(evil)._repr_html_())
    assert "\\ud800\\x00\\u202e\\x1b[2J\\u2028" in look(Feedback(EVIL[5])._repr_html_())


def test_a_megabyte_is_cut() -> None:
    for html in shown("line\n" * 200_000):
        assert len(html) < 60_000
        assert "..." in look(html)


def test_what_gives_the_answer_away_is_named_and_not_shown() -> None:
    letters = look(verdict("You wrote")._repr_html_())
    assert "HIDDEN" not in letters
    assert "Not shown, as it gives the answer away: Right, You wrote." in letters
    assert "WRONG reward 0.25" in letters


@pytest.mark.parametrize("reveal", [False, True])
def test_a_secret_is_in_no_group_unless_it_is_revealed(reveal: bool) -> None:
    envs = GroupEnv(Guess, num_envs=2, group_size=2, reveal=reveal)
    envs.reset(seed=0)
    assert "seven" not in look(envs._repr_html_())
    envs.step(["two", "<b>three</b>"])
    assert ("seven" in look(envs._repr_html_())) == reveal


def test_feedback_says_what_is_to_be_known_of_it() -> None:
    letters = look(Feedback("No.", reveals_answer=True, peer="yes")._repr_html_())
    for words in ("No.", "This reveals the answer.", "a peer that passed", "yes"):
        assert words in letters
    assert look(Feedback()._repr_html_()) == "No feedback."


def judge(task: Task, action: str) -> Verdict:
    if action == "break":
        raise JudgeError("the judge is out")
    if action == task.answer:
        return Verdict(Outcome.PASSED, 1.0)
    return Verdict(Outcome.WRONG, 0.0, (Finding("Not it.", {"You wrote": action}, {"It is": task.answer}),))


class Guess(JudgedEnv):
    def __init__(self, **settings: Any) -> None:
        super().__init__([Task("guess/1", "Guess & <write>.", "seven")], judge, **settings)


def test_groups_show_where_they_stand() -> None:
    envs = GroupEnv(Guess, num_envs=6, group_size=3)
    assert "call reset()" in look(envs._repr_html_())
    envs.reset(seed=0)
    assert "guess/1: 3 attempts, 3 running" in look(envs._repr_html_())
    envs.step(["seven", "two", "break", "one\ntwo", "one", "one"])
    letters = look(envs._repr_html_())
    for words in ("1 passed, 1 failed, 1 broken", "3 failed", "Guess & <write>.", "JudgeError: the judge is out"):
        assert words in letters
    assert "a peer passed" in letters


def test_many_groups_stay_short() -> None:
    envs = GroupEnv(Guess, num_envs=32, group_size=2)
    envs.reset(seed=0)
    letters = look(envs._repr_html_())
    assert letters.count("guess/1: 2 attempts") == 8
    assert letters.endswith("and 8 more groups")


def test_several_attempts_show_the_earlier_ones() -> None:
    envs = GroupEnv(lambda **settings: MultiAttempt(Guess(**settings), attempts=2), num_envs=2, group_size=2)
    envs.reset(seed=0)
    envs.step(["one", "seven"])
    letters = look(envs._repr_html_())
    assert "1 passed, 1 running" in letters
    assert "one" in letters


def test_a_recorded_group_shows_the_same(tmp_path: Path) -> None:
    envs = GroupEnv(Guess, num_envs=2, group_size=2)
    recorded = record(envs, tmp_path)
    recorded.reset(seed=0)
    recorded.step(["seven", "two"])
    assert recorded._repr_html_() == envs._repr_html_()


def test_a_recording_and_its_rows_show_themselves(tmp_path: Path) -> None:
    evil = EVIL[0]
    lines = [
        row(True, task=evil, actions=[evil], feedback=evil),
        row(None, task="b", error=evil),
        row(False, phase=evil),
    ]
    settings = {evil: evil, "api_key": "s3cret", "judge": [{"api_key": "s3cret", "model": "small"}]}
    phases = {"train": {"env": evil, "settings": settings}}
    run = write_run(tmp_path / "run", lines, {evil: evil, "token": "s3cret"}, phases=phases)
    letters = look(recording_html(run))
    assert "s3cret" not in letters
    assert letters.count("(hidden)") == 3
    assert "'model': 'small'" in letters
    assert evil in letters
    for each in rows(run):
        look(each._repr_html_())
    envs = record(GroupEnv(Guess, num_envs=2, group_size=2), tmp_path / "mine", told={"algorithm": "sdpo"})
    envs.reset(seed=0)
    envs.step([evil, "seven"])
    letters = look(Recording(tmp_path / "mine", resume=True)._repr_html_())
    for words in ("mine", "algorithm", "made by hand", "train", "0.500", "wrong 1, passed 1"):
        assert words in letters


def test_a_comparison_shows_itself_and_styles_nothing_else(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_learner(tmp_path / "a" / str(seed), ramp(500), algorithm="<i>grpo</i>", seed=seed)
        write_learner(tmp_path / "b" / str(seed), ramp(250), algorithm="sdpo", seed=seed)
    html = compare(tmp_path, baseline="<i>grpo</i>")._repr_html_()
    seen = Seen(re.sub(r"<(line|path|circle|polygon|rect|polyline)\b([^>]*)/>", r"<\1\2></\1>", html))
    assert "<i>grpo</i>" in seen.letters
    assert "What was reached" in seen.letters
    assert {tag for tag, _ in seen.elements} >= {"svg", "table"}
    assert not {tag for tag, _ in seen.elements} & {"script", "link", "img", "iframe"}
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style.startswith(".sdpo-comparison {")
    assert ":root" not in style
    assert "body" not in style.replace("tbody", "").replace("@media print { & {", "")


def test_the_readme_s_environment_shows_its_group() -> None:
    envs = gymnasium.make_vec("sdpo/ToolUse-v0", num_envs=2, group_size=2)
    envs.reset(options={"task_id": "tooluse/37"})
    envs.step(["no", 'Action: startRide\nAction Input: {"user_id": "u-8841", "bike": "2057"}'])
    assert "the argument 'bike' must be an integer" in look(envs._repr_html_())
    envs.close()
