"""The site: every environment has its page, which shows what happens; the whole is built, and leads nowhere wrong."""

import ast
import contextlib
import importlib
import inspect
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sdpo_envs.registry import ADAPTED, ENVIRONMENTS

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "environments"
SECTIONS = ["What it says", "Arguments", "Notes", "Versions"]
ROWS = ["task", "observation", "action", "reward", "end", "feedback", "bundled", "original"]

each_id = pytest.mark.parametrize("env_id", ENVIRONMENTS)


def page(env_id: str) -> str:
    name = env_id.removeprefix("sdpo/").partition("-v")[0].lower()
    return (PAGES / f"{name}.md").read_text("utf-8")


def table(text: str) -> list[list[str]]:
    """The rows of the tables in `text`, without heads and lines."""
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip() not in ("", "keyword")]


@each_id
def test_a_page_has_the_form_of_all(env_id: str) -> None:
    text = page(env_id)
    assert text.startswith(f"# {env_id}\n\n")
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [name for name in SECTIONS if name in sections or name != "Notes"] == sections
    assert sorted(row[0] for row in table(text.partition("\n## ")[0])) == sorted(ROWS)
    assert f"`{env_id.rpartition('-')[2]}`" in text.partition("## Versions")[2]


@each_id
def test_a_page_shows_what_is_said(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    section = page(env_id).partition("## What it says")[2].partition("\n## ")[0]
    ((code, shown),) = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    assert [line.rstrip() for line in printed.getvalue().rstrip().splitlines()] == shown.splitlines()


def named(text: str) -> Iterator[tuple[str, str]]:
    """Each keyword that a table names, with its default as it stands there; ``""`` where one cell is not one each."""
    for keywords, default, *_ in table(text):
        names = re.findall(r"`(\w+)`", keywords)
        defaults = default.split(", ") if len(names) > 1 else [default]
        yield from zip(names, defaults if len(defaults) == len(names) else [""] * len(names), strict=True)


@each_id
def test_a_page_names_every_keyword_with_its_default(env_id: str) -> None:
    module, _, name = ENVIRONMENTS[env_id].partition(":")
    keywords = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    own = dict(named(page(env_id).partition("## Arguments")[2].partition("\n## ")[0]))
    shared = dict(named((PAGES / "index.md").read_text("utf-8").partition("## What they share")[2]))
    assert set(own) <= set(keywords)
    assert set(keywords) <= set(own) | set(shared)
    for keyword, default in (shared | own).items():
        with contextlib.suppress(SyntaxError, ValueError):  # a default in words
            told = ast.literal_eval(default.strip("`"))
            assert keyword not in keywords or told == keywords[keyword].default, keyword


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["pages"] = module
    spec.loader.exec_module(module)
    return module


def test_the_gallery_shows_every_environment(pages: ModuleType) -> None:
    assert set(pages.EXHIBITS) == {*ENVIRONMENTS, *ADAPTED}
    assert list(pages.EXHIBITS) == sorted(pages.EXHIBITS)


@pytest.mark.parametrize("env_id", [*ENVIRONMENTS, *ADAPTED])
def test_an_exhibit_fails_and_says_why(env_id: str, pages: ModuleType) -> None:
    assert "with the feedback" in pages.shown(env_id, pages.EXHIBITS[env_id])  # else it ends the program


def test_an_exhibit_that_passes_is_none(pages: ModuleType) -> None:
    right = pages.Exhibit("chemistry/train/28", ("<answer>B</answer>",))
    with pytest.raises(SystemExit, match="must end in a failure"):
        pages.shown("sdpo/SciKnowEval-v0", right)


def test_a_block_holds_the_fences_of_others(pages: ModuleType) -> None:
    assert pages.fenced("```python\n1\n```") == "````text\n```python\n1\n```\n````\n"


def test_links_of_the_readme_are_those_of_the_site(pages: ModuleType) -> None:
    text = "[a](docs/sdpo.md) [b](examples/reinforce.py) [c](https://example.org) [d](docs/images/x.png)"
    assert pages.at_home(text) == "[a](sdpo.md) `b` [c](https://example.org) [d](images/x.png)"


def test_the_site_is_built_and_fetches_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    built: Any = sorted((tmp_path / "site").rglob("*.html"))
    assert {"index.html", "gallery.html", "changelog.html", "quickstart.html"} <= {path.name for path in built}
    fetched = re.compile(r"<(?:script|link|img)[^>]+(?:src|href)=\"(?:https?:)?//")
    assert [path.name for path in built if fetched.search(path.read_text("utf-8"))] == []
