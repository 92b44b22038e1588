"""What a purchase is worth: each part of WebShop's formula, and its recorded rewards."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs import MissingExtra, SettingError, shopreward
from sdpo_envs.shop import Goal, Product, open_shop
from sdpo_envs.shopreward import SPACY_MODEL, Reward, noun_finder, plain_nouns, reward

DATA = Path(__file__).parents[1] / "../shared/data/webshop"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="skips WebShop's recorded rewards: they are not beside this")

SHIRT = Product(
    asin="A1",
    title="Dockside Shirt",
    description="A shirt for desk and garden.",
    features=("Machine wash cold.", "Made in Wool Town"),
    price_tag="$20.0",
    price=20.0,
    options={"color": ("red",), "size": ("7", "7.5")},
    attributes=("slim fit", "button closure"),
    query="shirts",
    category="fashion",
    path="Clothing › Men › Shirts",
)
GOAL = Goal("", "A1", "Dockside Shirt", "shirts", "fashion", "Clothing › Men › Shirts", ("slim fit",), (), 30.0)


def paid(product: Product = SHIRT, chosen: dict[str, str] | None = None, **wanted: Any) -> Reward:
    return reward(product, chosen or {}, replace(GOAL, **wanted), plain_nouns)


def test_the_reward_is_the_share_of_wishes_times_the_type() -> None:
    assert paid().total == 1.0
    assert paid(attributes=("slim fit", "water proof"), price_limit=10).total == pytest.approx(1 / 3)
    options = (("color", "red"), ("size", "7"))
    assert paid(options=options).total == pytest.approx(2 / 4)
    assert paid(options=options, chosen={"color": "red"}).total == pytest.approx(3 / 4)
    assert Reward(0.5, 0.15, False, False, (True,), (), True).total == 0.5


@pytest.mark.parametrize(
    ("attribute", "met"),
    [
        ("slim fit", True),
        ("fit slim", True),
        ("slim fitt", True),
        ("machine wash", True),
        ("wool town", True),
        ("desk", True),
        ("dockside", True),
        ("water proof", False),
        ("slim", True),
    ],
)
def test_a_quality_is_met_by_an_attribute_that_is_alike_or_by_a_text(attribute: str, met: bool) -> None:
    assert paid(attributes=(attribute,)).attributes == (met,)


@pytest.mark.parametrize(
    ("wish", "chosen", "met"),
    [
        (("color", "red"), {"color": "red"}, True),
        (("color", "red"), {"color": "dark red"}, False),  # the first colour of "dark red" is dark
        (("color", "red"), {"color": "wine red"}, True),
        (("color", "228blue"), {"color": "228blue"}, False),  # as in the original, blue is no word of 228blue
        (("size", "7.5 wide"), {"size": "7.5"}, True),
        (("size", "7"), {"size": "7.5"}, False),
        (("", "228blue"), {"color": "228blue"}, True),
        (("", "red"), {"color": "predator"}, True),
        (("size", "large"), {}, False),
        (("size", "large"), {"color": "large"}, True),
        (("size", 'café 28"'), {"size": 'caf 28"'}, True),
    ],
)
def test_an_option_is_compared_as_in_the_original(wish: tuple[str, str], chosen: dict[str, str], met: bool) -> None:
    assert paid(chosen=chosen, options=(wish,)).options == (met,)


@pytest.mark.parametrize(
    ("title", "query", "path", "type_", "share"),
    [
        ("Dockside Shirt", "shirts", "Clothing › Men › Shirts", 1.0, 1.0),
        ("Dockside Table", "tables", "Home › Tables", 1.0, 0.5),
        ("Oak Table", "shirts", "Clothing › Men › Shirts", 0.0, 0.0),
    ],
)
def test_the_type_tells_kinds_of_products_apart(title: str, query: str, path: str, type_: float, share: float) -> None:
    made = paid(replace(SHIRT, title=title, query=query, path=path))
    assert (made.type, made.title) == (type_, share)


@pytest.mark.parametrize(
    ("words", "same", "type_"),
    [(1, False, 0.1), (1, True, 0.1), (2, False, 0.5), (2, True, 1.0), (5, False, 1.0), (0, True, 0.0)],
)
def test_few_nouns_in_common_lower_the_type(words: int, same: bool, type_: float) -> None:
    wanted = [chr(ord("a") + number) * 2 for number in range(20)]
    product = replace(SHIRT, title=" ".join([*wanted[:words], "zz"]), query="shirts" if same else "x", path="x › y")
    assert paid(product, title=" ".join(wanted)).type == type_


def test_a_title_without_nouns_counts_a_fifth_and_two_parts_of_the_path_are_enough() -> None:
    assert (paid(title="of the").title, paid(title="of the").type) == (0.2, 1.0)
    product = replace(SHIRT, query="x", path="Shirts › Men")
    assert (paid(product).same_query, paid(product).same_path) == (False, True)
    assert paid(replace(product, path="Shirts")).same_path is False


@given(st.text(), st.text(), st.lists(st.text(min_size=1), min_size=1, max_size=3), st.floats(0, 1e6))
def test_a_reward_is_from_0_to_1(title: str, wanted: str, attributes: list[str], price: float) -> None:
    chosen = {"size": title}
    total = paid(replace(SHIRT, title=title, price=price), chosen, title=wanted, attributes=tuple(attributes)).total
    assert 0 <= total <= 1


@pytest.mark.parametrize(
    ("title", "nouns"),
    [
        ("Men's Wide-Leg Pants (2 Pack), 16oz", ["men", "wide", "leg", "pants", "pack"]),
        ("The Top of it ALL", []),
        ("Crème Brûlée Crème", ["crème", "brûlée", "crème"]),
        ("", []),
    ],
)
def test_words_that_stand_in_for_nouns(title: str, nouns: list[str]) -> None:
    assert plain_nouns(title) == nouns


def test_spacy_is_taken_where_its_model_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=capitals))  # and out again: others look for it too
    shopreward._tagger.cache_clear()
    name, nouns = noun_finder("auto")
    assert (name, nouns("red Shirt of Wool")) == ("spacy", ["shirt", "wool"])
    assert noun_finder("spacy")[0] == "spacy"
    assert noun_finder("words") == ("words", plain_nouns)
    shopreward._tagger.cache_clear()


def capitals(name: str) -> Callable[[str], list[SimpleNamespace]]:
    """A tagger, as spaCy's ``load`` gives it, to which what begins with a capital is a noun."""
    return lambda text: [SimpleNamespace(text=word, pos_="NOUN" if word.istitle() else "ADJ") for word in text.split()]


def test_a_model_that_cannot_be_loaded_is_known_before_anything_is_bought(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=broken))
    for name in ("auto", "spacy"):
        with pytest.raises(OSError, match=SPACY_MODEL):
            noun_finder(name)  # type: ignore[arg-type]


def broken(name: str) -> None:
    raise OSError(f"{name} is of another version")


def test_a_missing_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert noun_finder("auto") == ("words", plain_nouns)
    with pytest.raises(MissingExtra, match=f"python -m spacy download {SPACY_MODEL}"):
        noun_finder("spacy")
    with pytest.raises(SettingError):
        noun_finder("guess")  # type: ignore[arg-type]


@needs_data
def test_rewards_are_the_recorded_ones() -> None:
    """Recorded with a stub in place of spaCy's model: words of letters that are no stop words count as nouns."""
    products = {product.asin: product for product in open_shop(DATA, "synthetic", 0).products}
    rows = [json.loads(line) for line in (DATA / "reward_golden_200.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        made = reward(replace(products[row["asin"]], price=row["price"]), row["options"], goal_of(row), plain_nouns)
        told = row["info"]
        assert made.total == pytest.approx(row["reward"], abs=1e-12)
        assert (made.type, made.same_query, made.same_path) == (
            told["r_type"],
            told["query_match"],
            told["category_match"],
        )
        assert made.price == told["r_price"]
        assert share(made.attributes) == told["r_att"]
        assert share(made.options) == told.get("r_option")
        assert made.title == pytest.approx(told["title_score"], abs=0.1), "spaCy's tokens are near"
    assert len(rows) == 200


def goal_of(row: dict[str, Any]) -> Goal:
    goal, options = row["goal"], row["goal"]["goal_options"]
    named = options.items() if isinstance(options, dict) else (("", value) for value in options)
    return Goal(
        "",
        goal["asin"],
        goal["name"],
        goal["query"],
        "",
        goal["product_category"],
        tuple(goal["attributes"]),
        tuple(named),
        goal["price_upper"],
    )


def share(met: tuple[bool, ...]) -> float | None:
    return sum(met) / len(met) if met else None
