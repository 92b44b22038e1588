"""Makes the pictures of docs/viewer.md anew: trains two small policies, and takes the pages they leave in Chromium.

    python docs/images/viewer.py

It needs `pip install -e '.[agent,dev]'` and Chromium on the path, and takes about half a minute of an idle machine.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import gymnasium
from playwright.sync_api import Browser, sync_playwright

from sdpo_envs.viewer import Reading, read, save

IMAGES = Path(__file__).parent
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
CODE = "--policy micro --env sdpo/MicroCode-v0 --steps 8 --tasks 8 --minibatches 4 --max-tokens 48 --token-rows 16"
HOUSE = "--policy microhouse --env sdpo/MicroHouse-v0 --steps 2 --tasks 4 --max-tokens 32 --token-rows 16"


def main() -> None:
    """Train, and take the pictures."""
    folder = Path(tempfile.mkdtemp())
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        light, dark = trained(folder / "micro-code", CODE), trained(folder / "micro-house", HOUSE, play=True)
        take(
            browser,
            save(light),
            f"gap=on&outcome=wrong&attempt={telling(light)}",
            "light",
            "viewer-light.png",
            fold="Token by token",
        )
        take(browser, save(dark), f"gap=on&turns=on&attempt={telling(dark)}", "dark", "viewer-dark.png")
        (folder / "cards.html").write_text(cards(light), encoding="utf-8")
        take(browser, folder / "cards.html", "", "light", "notebook.png", height=720)
        browser.close()
    shutil.rmtree(folder)


def trained(run: Path, flags: str, *, play: bool = False) -> Reading:
    """Train a run and read it."""
    command = [sys.executable, "-m", "sdpo_agent", "train", "sdpo", "--learning-rate", "3e-4", *flags.split()]
    subprocess.run([*command, "--run", str(run)], check=True, capture_output=True)
    return read(run, play=play)


def telling(reading: Reading) -> int:
    """Choose a failed attempt whose tokens the teacher finds more and less likely."""

    def apart(number: int) -> float:
        pairs = [
            (student or 0.0, teacher or 0.0)
            for turn in reading.turns[number][:2]
            for student, teacher in zip(turn.student, turn.teacher or turn.student, strict=True)
        ]
        gaps = [teacher - student for student, teacher in pairs]
        return min(4.0, max(gaps)) - max(-4.0, min(gaps))

    failed = [number for number in reading.turns if reading.rows[number].peer and not reading.rows[number].passed]
    return max(failed, key=apart)


def cards(reading: Reading) -> str:
    """Return a page with what a notebook shows of a group and of a run."""
    envs = gymnasium.make_vec("sdpo/ToolUse-v0", num_envs=3, group_size=3)
    envs.reset(options={"task_id": "tooluse/37"})
    env: Any = envs.unwrapped.envs[0]  # type: ignore[attr-defined]
    wrong = 'Action: startRide\nAction Input: {"user_id": "u-8841", "bike": "2057"}'
    *_, infos = envs.step(["I cannot do that.", wrong, env.oracle(env.task)])
    shown = [infos["verdict"][1], infos["feedback"][1], envs, reading]
    parts = "<hr>".join(each._repr_html_() for each in shown)
    return f"<!doctype html><meta charset=utf-8><body style='font-family: system-ui; margin: 1.2rem'>{parts}"


def take(
    browser: Browser, page: Path, fragment: str, scheme: Any, name: str, *, height: int = 860, fold: str = ""
) -> None:
    """Take a picture of a page, with what is folded up under a heading shown."""
    view = browser.new_page(viewport={"width": 1240, "height": height}, color_scheme=scheme)
    view.goto(f"{page.as_uri()}#{fragment}")
    if fold:
        view.click(f"summary:has-text('{fold}')")
    view.screenshot(path=IMAGES / name)
    view.close()


if __name__ == "__main__":
    main()
