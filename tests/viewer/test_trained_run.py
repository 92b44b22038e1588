"""The commands of docs/viewer.md, run as they stand there: the page of a trained run shows the run's own numbers."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from stories import Open

PAGE = (Path(__file__).parents[2] / "docs" / "viewer.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^sdpo .*runs/gap$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    assert [command.split()[1] for command in COMMANDS] == ["train", "view"]
    for command in COMMANDS:
        words = [sys.executable, "-m", "sdpo_envs.cli", *shlex.split(command)[1:]]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
    assert "192 attempts, 24 with scored tokens" in done.stdout
    return folder / "runs" / "gap"


@pytest.mark.timeout(300)
def test_each_token_has_the_colour_of_the_gap_that_was_written(run: Path, opened: Open) -> None:
    rows = [json.loads(line) for line in (run / "tokens.jsonl").read_text().splitlines()]
    attempts = [json.loads(line) for line in (run / "attempts.jsonl").read_text().splitlines()]
    assert len(rows) == 24
    page = opened(run / "view.html", "gap=on")
    numbers = [int(each.get_attribute("id")[1:]) for each in page.query_selector_all("[role=option]")]
    assert len(numbers) == 24
    apart = 0
    for number in numbers:
        page.click(f"#o{number}")
        (row,) = [each for each in rows if _is_of(each, attempts, number)]
        (turn,) = row["turns"]
        shown = page.eval_on_selector_all(
            ".tokens span", "all => all.map(each => [each.innerText, each.className, each.title])"
        )
        for token, text, student, teacher in zip(shown, turn["tokens"], turn["student"], turn["teacher"], strict=True):
            letters, classes, title = token
            gap = teacher - student
            assert letters == text
            kind = "" if abs(gap) <= 0.05 else "less" if gap < 0 else "more"
            assert classes in (kind, f"{kind} mark".strip()), (text, gap)
            told = float(re.search(r"gap (-?[\d.]+) nats$", title)[1])
            assert told == pytest.approx(gap, abs=0.0051)
            apart += kind != ""
    assert apart > 48  # more than two tokens of each attempt


def _is_of(row: dict, attempts: list[dict], number: int) -> bool:
    """Whether a row of tokens is of that attempt, by the file alone: its step, its task and its slot."""
    attempt = attempts[number]
    slot = sum(each["group"] == attempt["group"] for each in attempts[:number])
    return (row["generations"], row["task"], row["attempt"]) == (attempt["generations"], attempt["task"], slot)
