"""The pages of a shop: their texts, their buttons, and where these lead."""

import gzip
import json
from pathlib import Path

import pytest
from boutique import ROWS, built, row, values
from hypothesis import given, settings
from hypothesis import strategies as st

from sdpo_envs.shop import Shop, open_shop
from sdpo_envs.storefront import Place, buttons, click, product_at, search, signs, texts

DATA = Path(__file__).parents[1] / "../shared/data/webshop"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="skips WebShop's products: they are not beside this")

ASKED = "Find me a shirt"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(built(tmp_path_factory.mktemp("shop")), "synthetic", 0)


def shown(shop: Shop, place: Place) -> str:
    return " [SEP] ".join(texts(shop, place, ASKED))


def at(shop: Shop, words: str, *names: str) -> Place:
    place = search(shop, words)
    for name in names:
        assert name in buttons(shop, place)
        place = click(shop, place, name)
    return place


def test_the_search_page(shop: Shop) -> None:
    assert shown(shop, Place()) == "WebShop [SEP] Instruction: [SEP] Find me a shirt [SEP] Search"
    assert buttons(shop, Place()) == []


def test_a_page_of_results(shop: Shop) -> None:
    place = search(shop, "plain shirt")
    assert shown(shop, place) == (
        "Instruction: [SEP] Find me a shirt [SEP] Back to Search [SEP] Page 1 (Total results: 2) [SEP] Next > [SEP] "
        "A1 [SEP] Plain Shirt [SEP] $12.5 [SEP] A2 [SEP] Striped Shirt [SEP] $15.0 to $25.0"
    )
    assert buttons(shop, place) == ["back to search", "next >", "a1", "a2"]


def test_ten_are_on_a_page_and_past_the_last_there_is_none(shop: Shop) -> None:
    pages = [search(shop, "cotton sock")]
    for _ in range(3):
        pages.append(click(shop, pages[-1], "next >"))
    assert [len(texts(shop, place, ASKED)) for place in pages] == [5 + 30, 6 + 30, 6 + 9, 6]
    assert texts(shop, pages[1], ASKED)[3:6] == ["Page 2 (Total results: 23)", "< Prev", "Next >"]
    assert buttons(shop, pages[3]) == ["back to search", "< prev", "next >"]
    assert click(shop, pages[1], "< prev") == pages[0]
    assert {name for place in pages for name in buttons(shop, place)} >= {f"b{number:02}" for number in range(23)}


def test_the_page_of_a_product(shop: Shop) -> None:
    place = at(shop, "plain shirt", "a1")
    assert shown(shop, place) == (
        "Instruction: [SEP] Find me a shirt [SEP] Back to Search [SEP] < Prev [SEP] size [SEP] small [SEP] large [SEP] "
        "color [SEP] red [SEP] blue | white [SEP] Plain Shirt [SEP] Price: $12.5 [SEP] Rating: N.A. [SEP] "
        "Description [SEP] Features [SEP] Reviews [SEP] Buy Now"
    )
    assert buttons(shop, place) == [
        *("back to search", "< prev", "description", "features", "reviews", "buy now"),
        *("small", "large", "red", "blue | white"),
    ]
    assert product_at(shop, place).asin == "A1"


def test_the_parts_of_a_product(shop: Shop) -> None:
    item = at(shop, "plain shirt", "a1", "large")
    for part, told in (
        ("description", " [SEP] About Plain Shirt."),
        ("features", " [SEP] Plain Shirt, new. [SEP] Machine wash cold."),
        ("reviews", ""),
    ):
        place = click(shop, item, part)
        assert shown(shop, place) == f"Instruction: [SEP] {ASKED} [SEP] Back to Search [SEP] < Prev{told}"
        assert buttons(shop, place) == ["back to search", "< prev"]
        assert click(shop, place, "< prev") == item
        assert click(shop, place, "back to search") == Place()


def test_an_empty_feature_is_an_empty_text_as_in_the_original(tmp_path: Path) -> None:
    lamp = row("X1", "Lamp", full_description="", small_description=["Dim.", ""])
    shop = open_shop(built(tmp_path, [lamp, *ROWS]), "synthetic", 0)
    assert shown(shop, at(shop, "lamp", "x1", "features")).endswith("Back to Search [SEP] < Prev [SEP] Dim. [SEP] ")
    assert shown(shop, at(shop, "lamp", "x1", "description")).endswith("Back to Search [SEP] < Prev")


def test_signs_name_no_product_and_no_value(shop: Shop) -> None:
    results = search(shop, "plain shirt")
    item = click(shop, results, "a1")
    assert signs(Place()) == []
    assert signs(results) == ["back to search", "next >"]
    assert signs(item) == ["back to search", "< prev", "description", "features", "reviews", "buy now"]
    assert signs(click(shop, item, "reviews")) == ["back to search", "< prev"]


def test_options_are_chosen_one_of_each_name_and_forgotten_elsewhere(shop: Shop) -> None:
    place = at(shop, "plain shirt", "a1", "small", "red", "large")
    assert place.chosen == {"size": "large", "color": "red"}
    assert shown(shop, place) == shown(shop, at(shop, "plain shirt", "a1"))
    back = click(shop, place, "< prev")
    assert (back, back.chosen) == (search(shop, "plain shirt"), {})
    assert click(shop, back, "a1").chosen == {}


def test_a_value_of_two_options_is_of_the_last_and_a_button_goes_before_a_value(tmp_path: Path) -> None:
    options = {"Width": values("9", "Features"), "Length": values("9")}
    shop = open_shop(built(tmp_path, [row("X1", "Board", customization_options=options), *ROWS]), "synthetic", 0)
    place = at(shop, "board", "x1", "9")
    assert place.chosen == {"length": "9"}
    assert click(shop, place, "features").view == "features"


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_wherever_one_clicks_there_is_a_page(shop: Shop, data: st.DataObject) -> None:
    place = search(shop, data.draw(st.sampled_from(["shirt", "cotton", "nothing of this", "oak sock"])))
    for _ in range(8):
        names = [name for name in buttons(shop, place) if name != "buy now"]
        if not names:
            break
        before = (place, dict(place.chosen))
        after = click(shop, place, data.draw(st.sampled_from(names)))
        assert (place, dict(place.chosen)) == before, "a place never changes"
        assert all(text == text.strip() != "" for text in texts(shop, after, ASKED))
        assert signs(after) == buttons(shop, after)[: len(signs(after))]
        place = after


@needs_data
def test_each_product_of_webshop_has_its_pages() -> None:
    shop = open_shop(DATA, "synthetic", 0)
    with gzip.open(DATA / "documents_1000.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line)["product"] for line in file]
    for number, product in enumerate(rows):
        place = Place("item", (number,), item=number)
        options = [text.strip() for name, values in product["options"].items() for text in (name, *values)]
        told = [product["Title"].strip(), f"Price: {product['Price']}", "Rating: N.A."]
        end = ["Description", "Features", "Reviews", "Buy Now"]
        assert texts(shop, place, ASKED)[4:] == [text for text in (*options, *told, *end) if text]
        features = [line.strip() for line in product["BulletPoints"]]
        assert texts(shop, click(shop, place, "features"), ASKED)[4:] == features
        description = product["Description"].strip()
        assert texts(shop, click(shop, place, "description"), ASKED)[4:] == ([description] if description else [])
