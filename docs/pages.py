"""What the site shows beside the files of this folder: the README as its first page, the changelog, and the gallery.

A hook of mkdocs (`mkdocs.yml`). The gallery is played while the site is built, so that it shows what is said today.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import sdpo_envs

DOCS = Path(__file__).parent
ROOT = DOCS.parent


@dataclass(frozen=True)
class Exhibit:
    """An attempt that fails, and is worth a look."""

    task_id: str
    actions: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)


CODE = """```python
class Solution:
    def countWarmSpells(self, temperatures, threshold, days):
        spells = run = 0
        for warmth in temperatures:
            run = run + 1 if warmth >= threshold else 0
            spells += run == days
        return spells / days
```"""

EXHIBITS = {
    "sdpo/ALFWorld-v0": Exhibit(
        "pick_clean_then_place_in_recep-Spoon-Drawer/galley-kitchen-10",
        ("go to drawer 1", "take spoon 1 from drawer 1", "clean spoon 1 with sinkbasin 1"),
        {"form": "bare", "prompt": "new", "turns": 3},
    ),
    "sdpo/GymnasiumText-v0": Exhibit(
        "FrozenLake-v1/0",
        ("down", "right"),
        {
            "env_id": "FrozenLake-v1",
            "settings": {"render_mode": "ansi", "is_slippery": False},
            "actions": ["left", "down", "right", "up"],
            "prompt": "new",
        },
    ),
    "sdpo/LiveCodeBench-v0": Exhibit("sdpo_f01", (CODE,)),
    "sdpo/MicroCode-v0": Exhibit("microcode/0/mixed/train/21", ("return x[:3],flip_in(x)",)),
    "sdpo/MicroHouse-v0": Exhibit(
        "microhouse/0/mixed/train/8",
        ("go cupboard", "open cupboard", "take bowl", "go sill", "take lamp", "go shelf"),
        {"prompt": "new"},
    ),
    "sdpo/MicroTool-v0": Exhibit(
        "microtool/0/mixed/train/0",
        ('Action: sprinkler\nAction Input: {"minutes": 30}\nAction: phone\nAction Input: {}',),
    ),
    "sdpo/ReasoningGym-v0": Exhibit("chain_sum/0-63", ("<answer>14886</answer>",), {"family": "chain_sum"}),
    "sdpo/SciKnowEval-v0": Exhibit(
        "chemistry/train/28", ("<reasoning>\nThe acid gives away water.\n</reasoning>\n<answer>\nA\n</answer>",)
    ),
    "sdpo/SearchQA-v0": Exhibit(
        "searchqa/train_76",
        ("<search>Mercy Infirmary town</search>", "<answer>River Morrowbeck</answer>"),
        {"prompt": "new"},
    ),
    "sdpo/ToolUse-v0": Exhibit("tooluse/37", ('Action: startRide\nAction Input: {"user": "u-8841", "bike": "2057"}',)),
    "sdpo/WebShop-v0": Exhibit(
        "webshop/6",
        ("search[console tables with storage space]", "click[sf767nh6he]", "click[buy now]"),
        {"split": "test", "form": "bare", "prompt": "new"},
    ),
}
"""What the gallery shows of each id that is registered."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    made = {
        "index.md": at_home((ROOT / "README.md").read_text("utf-8")),
        "changelog.md": at_home((ROOT / "CHANGELOG.md").read_text("utf-8")),
        "gallery.md": gallery(),
    }
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Name what lies outside of this folder, where a page links to it, as it does for those who read the checkout."""
    return named(markdown, (DOCS / page.file.src_uri).parent)


def at_home(text: str) -> str:
    """Return a page of the project's root as one of this folder."""
    return named(re.sub(r"\]\((?!https?:|#)", "](../", text).replace("](../docs/", "]("), DOCS)


def named(text: str, folder: Path) -> str:
    """Return `text`, which lies in `folder`, with the names of files outside of the docs in place of links to them."""

    def name(link: re.Match[str]) -> str:
        label, target = link.groups()
        inside = (folder / target).resolve().is_relative_to(DOCS)
        return link[0] if inside else label if "`" in label else f"`{label}`"

    return re.sub(r"\[([^\]]+)\]\((?!https?:|#)([^)]+)\)", name, text)


def gallery() -> str:
    """Return a page with one failure of every environment of the project."""
    intro = (
        "# Gallery\n\nOf each family a task, an attempt that fails, and its feedback, without `reveal` and with it.\n"
    )
    return "\n".join([intro, *(shown(env_id, exhibit) for env_id, exhibit in EXHIBITS.items())])


def shown(env_id: str, exhibit: Exhibit) -> str:
    """Return the section of one environment."""
    family = env_id.removeprefix("sdpo/").partition("-v")[0].lower()
    page = f"environments/{family}.md" if (DOCS / "environments" / f"{family}.md").exists() else "your-environment.md"
    prompt, turns = played(env_id, exhibit, reveal=False)
    info = turns[-1][-1]
    told, revealed = (str(each["feedback"]) for each in (info, played(env_id, exhibit, reveal=True)[1][-1][-1]))
    parts = [f"## {env_id}\n\n[All about it]({page}). Task `{exhibit.task_id}`:\n", fenced(prompt)]
    for action, seen, _ in turns[:-1]:
        parts += ["The policy writes\n", fenced(action), "and is shown\n", fenced(seen)]
    outcome = info["verdict"].outcome.name
    parts += ["The policy writes\n", fenced(turns[-1][0]), f"which is `{outcome}`, with the feedback\n", fenced(told)]
    if revealed != told:
        parts += ["With `reveal=True`\n", fenced(revealed)]
    return "\n".join(parts)


def played(env_id: str, exhibit: Exhibit, *, reveal: bool) -> tuple[str, list[tuple[str, str, dict[str, Any]]]]:
    """Play an exhibit: what is read first; of each turn the action, what the world says, and the info.

    Raises:
        SystemExit: it does not end in a failure that something is said of.
    """
    env = gymnasium.make(env_id, reveal=reveal, **exhibit.settings)
    prompt, info = env.reset(options={"task_id": exhibit.task_id})
    turns = []
    for action in exhibit.actions:
        observation, *_, told = env.step(action)
        turns.append((action, str(told.get("seen") or observation), told))
    env.close()
    verdict = turns[-1][-1]["verdict"]
    if verdict is None or verdict.passed or not turns[-1][-1]["feedback"]:
        raise SystemExit(f"The exhibit of {env_id} must end in a failure that something is said of, not in {verdict}.")
    return "\n\n".join(part for part in (info["system"], str(prompt)) if part), turns


def fenced(text: str) -> str:
    """Return a block that shows `text` as it is, whatever fences it holds."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}text\n{text.rstrip()}\n{fence}\n"


assert sdpo_envs  # importing it registers the ids
