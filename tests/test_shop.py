"""Products and goals: read from WebShop's files, and equal to what the original makes of them."""

import copy
import gzip
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from boutique import PEOPLE, ROWS, TOLD, built, row, values

from sdpo_envs import Record, RecordError, SettingError
from sdpo_envs.shop import Goal, Product, document, open_shop, read_products, synthetic_goals

DATA = Path(__file__).parents[1] / "../shared/data/webshop"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="skips WebShop's products: they are not beside this")


def products(*rows: dict[str, Any], seed: int = 0) -> list[Product]:
    records = [Record(f"row {number}", each) for number, each in enumerate(rows)]
    return list(read_products(records, TOLD, random.Random(seed)))


def test_a_product_is_read_as_webshop_reads_it() -> None:
    (product,) = products(ROWS[0])
    assert product == Product(
        asin="A1",
        title="Plain Shirt",
        description="About Plain Shirt.",
        features=("Plain Shirt, new.", "Machine wash cold."),
        price_tag="$12.5",
        price=12.5,
        options={"size": ("small", "large"), "color": ("red", "blue | white")},
        attributes=("machine wash", "slim fit"),
        query="shirts",
        category="fashion",
        path="Clothing › Men › Shirts",
    )
    assert document(product) == (
        "plain shirt about plain shirt. plain shirt, new. size: small, large, and color: red, blue | white"
    )


@pytest.mark.parametrize(
    ("told", "tag", "low", "high"),
    [
        ("$1,234.50", "$1234.5", 1234.5, 1234.5),
        ("$15.00 - $25.00", "$15.0 to $25.0", 15, 25),
        ("", "$100.0", 100, 100),
        (None, "$100.0", 100, 100),
    ],
)
def test_a_price_is_drawn_from_its_tag(told: str | None, tag: str, low: float, high: float) -> None:
    drawn = [products(row("A1", "X", pricing=told), seed=seed)[0] for seed in range(20)]
    assert {product.price_tag for product in drawn} == {tag}
    assert all(low <= product.price <= high for product in drawn)
    assert (len({product.price for product in drawn}) > 1) == (low < high)


def test_a_row_without_a_number_of_its_own_is_left_out() -> None:
    rows = [row("A1", "one"), row("A1", "two"), row("nan", "three"), row("A" * 11, "four"), row("A2", "five")]
    assert [product.title for product in products(*rows)] == ["one", "five"]


@pytest.mark.parametrize(
    "changed",
    [
        {"pricing": "free"},
        {"pricing": "$."},
        {"name": None},
        {"small_description": None},
        {"small_description": ["a line", 7]},
        {"customization_options": [1]},
        {"customization_options": {"Size": ["small"]}},
        {"customization_options": {"Size": [{"image": ""}]}},
    ],
)
def test_another_form_is_a_complaint_that_names_the_place(changed: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="row 0"):
        products(row("A1", "X") | changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"attributes": None},
        {"attributes": "slim fit"},
        {"attributes": [7]},
        {"instruction": 7},
        {"instruction_attributes": "slim fit"},
        {"instruction_attributes": [None]},
    ],
)
def test_another_form_of_what_is_told_names_the_product(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="what is told of 'A1'"):
        open_shop(built(tmp_path, told={"A1": TOLD["A1"] | changed}), "synthetic", 0)


def test_features_may_be_one_text_or_none_and_options_may_be_missing() -> None:
    one, none = products(
        row("A1", "X", small_description="a line"),
        row("A2", "Y", small_description=[], customization_options={"Color": None, "Size": values("a/b")}),
    )
    assert (one.features, none.features, none.options) == (("a line",), (), {"size": ("a | b",)})
    assert document(none) == "y about y. size: a | b"


def test_there_is_a_goal_for_each_choice_of_options(tmp_path: Path) -> None:
    shop = open_shop(built(tmp_path), "synthetic", 0)
    assert len(shop.goals) == 5
    shirts = [goal for goal in shop.goals if goal.asin == "A1"]
    assert {goal.options for goal in shirts} == {
        (("color", color), ("size", size)) for color in ("red", "blue | white") for size in ("small", "large")
    }
    red = next(goal for goal in shirts if goal.options == (("color", "red"), ("size", "small")))
    most = f"and price lower than {red.price_limit:.2f} dollars"
    assert red.instruction == f"Find me slim fit, machine wash shirts with color: red, and size: small, {most}"
    assert red.attributes == ("slim fit", "machine wash")


def test_the_most_to_pay_is_one_of_the_next_tens_and_drawn_by_the_seed(tmp_path: Path) -> None:
    folder = built(tmp_path)
    limits = [
        {goal.asin: goal.price_limit for goal in open_shop(folder, "synthetic", seed).goals} for seed in range(30)
    ]
    assert {each["A1"] for each in limits} == {30.0, 40.0, 50.0}
    assert {each["A3"] for each in limits} == {120.0, 130.0, 140.0}
    assert open_shop(folder, "synthetic", 7).goals == open_shop(folder, "synthetic", 7).goals


def test_drawing_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    before = random.getstate()
    open_shop(built(tmp_path), "synthetic", 3)
    assert random.getstate() == before


def test_nothing_is_said_of_the_price_of_what_is_very_dear() -> None:
    told = {"A1": {"instruction": "Find me gold", "instruction_attributes": ["gold"]}}
    (goal,) = synthetic_goals(products(row("A1", "X", pricing="$985.00")), told, random.Random(0))
    assert (goal.instruction, goal.price_limit) == ("Find me gold", math.inf)


def test_goals_of_people_have_options_without_names(tmp_path: Path) -> None:
    (goal,) = open_shop(built(tmp_path), "human", 0).goals
    assert goal.options == (("", "red"),)
    assert goal.instruction == f"a shirt to wear at work, and price lower than {goal.price_limit:.2f} dollars"


def test_a_shop_is_found_by_its_folder_or_its_catalogue(tmp_path: Path) -> None:
    built(tmp_path)
    built(tmp_path, ROWS[:1], {"A1": {**TOLD["A1"], "instruction": "Find me less"}}, PEOPLE, "_1")
    with pytest.raises(SettingError, match=r"holds: items_shuffle\.json, items_shuffle_1\.json"):
        open_shop(tmp_path, "synthetic", 0)
    assert len(open_shop(tmp_path / "items_shuffle.json", "synthetic", 0).products) == len(ROWS)
    small = open_shop(tmp_path / "items_shuffle_1.json", "synthetic", 0)
    assert {goal.instruction.partition(" with")[0] for goal in small.goals} == {"Find me less"}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="holds: none"):
        open_shop(tmp_path, "synthetic", 0)
    with pytest.raises(SettingError, match="holds: none"):
        open_shop("no/such/folder", "synthetic", 0)
    built(tmp_path, told=None, people=None)
    with pytest.raises(SettingError, match=r"no items_ins_v2\.json beside"):
        open_shop(tmp_path, "synthetic", 0)
    built(tmp_path, people=None)
    with pytest.raises(SettingError, match=r"no items_human_ins\.json beside"):
        open_shop(tmp_path, "human", 0)


def test_what_is_told_of_another_catalogue_is_not_taken(tmp_path: Path) -> None:
    built(tmp_path, told=None)
    built(tmp_path, rows=None, people=None, ending="_1000")
    with pytest.raises(SettingError, match=r"no items_ins_v2\.json beside"):
        open_shop(tmp_path, "synthetic", 0)
    built(tmp_path, rows=None)
    (tmp_path / "items_shuffle.json").rename(tmp_path / "items_shuffle_7.json")
    assert open_shop(tmp_path, "human", 0).goals, "a file without an ending is for every catalogue"


@pytest.mark.parametrize(("rows", "told"), [([], {}), (ROWS, {}), (ROWS, [])])
def test_an_empty_shop_is_a_complaint(tmp_path: Path, rows: Any, told: Any) -> None:
    with pytest.raises(RecordError):
        open_shop(built(tmp_path, rows, told), "synthetic", 0)


def test_a_file_that_is_no_json_is_a_complaint(tmp_path: Path) -> None:
    built(tmp_path)
    (tmp_path / "items_ins_v2.json").write_text("{")
    with pytest.raises(RecordError, match=r"items_ins_v2\.json: this is not JSON"):
        open_shop(tmp_path, "synthetic", 0)


def test_a_search_finds_fifty_at_most_and_a_copy_of_a_shop_is_itself(tmp_path: Path) -> None:
    many = [row(f"C{number}", f"Cup {number}") for number in range(60)]
    shop = open_shop(built(tmp_path, [*ROWS, *many]), "synthetic", 0)
    assert len(shop.search("cup")) == 50
    assert shop.products[shop.search("oak table")[0]].asin == "A3"
    assert copy.deepcopy([shop])[0] is shop


@needs_data
def test_products_goals_and_texts_are_the_originals() -> None:
    shop = open_shop(DATA, "synthetic", 0)
    prices = json.loads((DATA / "product_prices_seed0.json").read_text("utf-8"))
    assert {product.asin: product.price for product in shop.products} == prices
    with gzip.open(DATA / "documents_1000.jsonl.gz", "rt", encoding="utf-8") as file:
        assert [document(product) for product in shop.products] == [json.loads(line)["contents"] for line in file]
    with gzip.open(DATA / "goals_synthetic_6910.jsonl.gz", "rt", encoding="utf-8") as file:
        assert list(shop.goals) == [original(json.loads(line)) for line in file]
    assert len(open_shop(DATA, "human", 0).goals) == 13


def original(goal: dict[str, Any]) -> Goal:
    return Goal(
        goal["instruction_text"],
        goal["asin"],
        goal["name"],
        goal["query"],
        goal["category"],
        goal["product_category"],
        tuple(goal["attributes"]),
        tuple(goal["goal_options"].items()),
        goal["price_upper"] if goal["price_upper"] < 1_000_000 else math.inf,
    )
