"""The bundled shop: built from its source, varied, and every goal can be met, though not by buying the first thing."""

import importlib.util
import json
import re
import tomllib
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sdpo_envs.turns import skill
from sdpo_envs.webshop import WebShop

FOLDER = Path(__file__).parents[2] / "tasks" / "webshop"
ITEMS: list[dict[str, Any]] = json.loads((FOLDER / "items_shuffle.json").read_text("utf-8"))
TOLD: dict[str, Any] = json.loads((FOLDER / "items_ins_v2.json").read_text("utf-8"))
SPLITS = {split: WebShop(split=split, form="bare", nouns="words") for split in ("train", "test")}


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_webshop", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_building_again_gives_the_same_bytes(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["build.py", str(tmp_path)])
    build.main()
    for name in ("items_shuffle.json", "items_ins_v2.json"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


def test_there_are_240_products_in_five_categories_and_forty_kinds() -> None:
    assert (
        len(ITEMS) == len(TOLD) == len({item["asin"] for item in ITEMS}) == len({item["name"] for item in ITEMS}) == 240
    )
    assert set(Counter(item["category"] for item in ITEMS).values()) == {48}
    assert len({item["query"] for item in ITEMS}) == 40
    assert {split: len(env.tasks) for split, env in SPLITS.items()} == {"train": 910, "test": 227}


def test_numbers_are_no_real_ones() -> None:
    assert all(re.fullmatch("S[2-9A-HJ-NP-Z]{9}", item["asin"]) for item in ITEMS)


def test_what_is_asked_for_is_said_and_can_be_read_on_the_product_s_page() -> None:
    for item in ITEMS:
        entry = TOLD[item["asin"]]
        page = " ".join([item["name"], item["full_description"], *item["small_description"]]).lower()
        assert set(entry["instruction_attributes"]) <= set(entry["attributes"])
        assert all(attribute in page for attribute in entry["attributes"])
        assert all(attribute in entry["instruction"] for attribute in entry["instruction_attributes"])
        assert item["query"] in entry["instruction"]


def test_most_attributes_are_not_found_by_a_search() -> None:
    """Only titles, descriptions, first features and options are searched, so that pages must be read."""
    searched = [f"{item['name']} {item['full_description']} {item['small_description'][0]}".lower() for item in ITEMS]
    hits = [
        attribute in text
        for item, text in zip(ITEMS, searched, strict=True)
        for attribute in TOLD[item["asin"]]["attributes"]
    ]
    assert 0.05 < sum(hits) / len(hits) < 0.3


@pytest.mark.parametrize("split", SPLITS)
def test_every_goal_can_be_met_in_few_turns(split: str) -> None:
    ways = [SPLITS[split].walkthrough(task) for task in SPLITS[split].tasks]
    assert all(way is not None and len(way) <= 6 for way in ways)


def test_the_splits_share_no_instruction() -> None:
    train, test = ({task.prompt for task in env.tasks} for env in SPLITS.values())
    assert not train & test


def test_buying_the_first_thing_is_paid_about_half_and_hardly_ever_passes() -> None:
    env, rewards = SPLITS["test"], []
    for task in env.tasks[::4]:
        env.reset(options={"task_id": task.id})
        env.step(f"search[{task.prompt}]")
        env.step(env.seen.commands[2])
        rewards.append(env.step("click[buy now]")[1])
    assert 0.4 < sum(rewards) / len(rewards) < 0.65
    assert sum(reward == 1.0 for reward in rewards) <= 2


def test_no_other_product_of_its_kind_has_all_that_most_instructions_ask_for() -> None:
    shared = 0
    for item in ITEMS:
        asked = set(TOLD[item["asin"]]["instruction_attributes"])
        others = [other["asin"] for other in ITEMS if other["query"] == item["query"] and other is not item]
        shared += any(asked <= set(TOLD[other]["attributes"]) for other in others)
    assert shared < 0.3 * len(ITEMS)


def test_every_category_has_its_skill_and_none_names_a_product() -> None:
    kinds = {path.stem: tomllib.loads(path.read_text("utf-8")) for path in (FOLDER / "kinds").glob("*.toml")}
    assert set(tomllib.loads((FOLDER / "skills.toml").read_text("utf-8"))["kinds"]) == set(kinds)
    for category, told in kinds.items():
        words = [*told["brands"], *told["attributes"]]
        for kind in told["kinds"]:
            words += [
                kind["noun"],
                *kind["styles"],
                *(value for values in kind["options"].values() for value in values),
            ]
        said = skill("webshop", category).lower()
        assert [word for word in words if re.search(rf"\b{re.escape(word.lower())}\b(?!\.)", said)] == []
    for task in (task for env in SPLITS.values() for task in env.tasks):
        assert task.meta["skill"] == skill("webshop", task.meta["category"])
