"""A browser to look at pages with, where there is one."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stories import Open

FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
QUIET = ("--disable-component-update", "--disable-sync")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("needs Chromium on the path, to look at the page")
    sync = pytest.importorskip("playwright.sync_api", reason="needs playwright, to look at the page: .[dev] has it")
    with sync.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *QUIET])
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """Return what opens a file; in the end nothing was said on the console, and nothing else was asked for."""
    said: list[str] = []
    asked: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900})

    def open_page(path: Path, fragment: str = "", **media: Any) -> Any:
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        if media:
            page.emulate_media(**media)
        page.goto(f"{path.as_uri()}#{fragment}")
        open_page.expected.add(path.as_uri())  # type: ignore[attr-defined]
        return page

    open_page.expected = set()  # type: ignore[attr-defined]
    yield open_page
    context.close()
    assert said == []
    assert {url.partition("#")[0] for url in asked} <= open_page.expected  # type: ignore[attr-defined]
