"""The pages of a shop: what each shows, which buttons it has, and where they lead. Pure functions of a `Place`.

Texts, buttons and their order are those of WebShop's text environment. It also takes a search on any page, which is not
offered here, and commands such as ``<r>`` in the place of words, which are words here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from sdpo_envs.shop import Product, Shop

View = Literal["search", "results", "item", "description", "features", "reviews"]

BUY, BACK, NEXT, PREVIOUS = "Buy Now", "Back to Search", "Next >", "< Prev"
SEPARATOR = " [SEP] "
ON_A_PAGE = 10
"""How many products a page of results shows."""

_PARTS: tuple[View, ...] = ("description", "features", "reviews")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a customer stands.

    Attributes:
        view: Which kind of page.
        found: What the last search found, positions in the shop.
        page: Of the results, from 1.
        item: The position of the product that is looked at.
        chosen: Its options, name to value.
    """

    view: View = "search"
    found: tuple[int, ...] = ()
    page: int = 1
    item: int | None = None
    chosen: Mapping[str, str] = field(default_factory=dict)


def search(shop: Shop, words: str) -> Place:
    """Return the first page of what is found by `words`."""
    return Place("results", shop.search(words))


def product_at(shop: Shop, place: Place) -> Product:
    """Return the product that `place` is about; there must be one."""
    assert place.item is not None
    return shop.products[place.item]


def texts(shop: Shop, place: Place, instruction: str) -> list[str]:
    """Return what stands on the page, from top to bottom."""
    if place.view == "search":
        return ["WebShop", "Instruction:", instruction, "Search"]
    shown = ["Instruction:", instruction, BACK]
    if place.view == "results":
        shown += [f"Page {place.page} (Total results: {len(place.found)})", *_turning(place)]
        for product in _on_page(shop, place):
            shown += [product.asin, product.title, product.price_tag]
    else:
        product = product_at(shop, place)
        shown += [PREVIOUS, *(_item(product) if place.view == "item" else _part(product, place.view))]
    return [text.strip() for text in shown if text]


def signs(place: Place) -> list[str]:
    """Return the buttons that name no product and no value of an option, in lower case."""
    names = [] if place.view == "search" else [BACK]
    if place.view == "results":
        names += _turning(place)
    elif place.view == "item":
        names += [PREVIOUS, *_PARTS, BUY]
    elif place.view != "search":
        names += [PREVIOUS]
    return [name.lower() for name in names]


def buttons(shop: Shop, place: Place) -> list[str]:
    """Return what can be clicked, in lower case: the `signs`, then products or values."""
    names = signs(place)
    if place.view == "results":
        names += [product.asin.lower() for product in _on_page(shop, place)]
    elif place.view == "item":
        names += [value.lower() for values in product_at(shop, place).options.values() for value in values]
    return list(dict.fromkeys(names))


def click(shop: Shop, place: Place, button: str) -> Place:
    """Return where `button` leads, one of `buttons` other than `BUY`, which leads out of the shop."""
    if button == BACK.lower():
        return Place()
    if button in (NEXT.lower(), PREVIOUS.lower()) and place.view == "results":
        return replace(place, page=place.page + (1 if button == NEXT.lower() else -1))
    if button == PREVIOUS.lower():
        back_to_results = replace(place, view="results", item=None, chosen={})
        return back_to_results if place.view == "item" else replace(place, view="item")
    if place.view == "results":
        asins = {shop.products[position].asin.lower(): position for position in place.found}
        return replace(place, view="item", item=asins[button])
    part = next((each for each in _PARTS if each == button), None)
    if part is not None:
        return replace(place, view=part)
    names = [name for name, values in product_at(shop, place).options.items() if button in values]
    return replace(place, chosen={**place.chosen, names[-1]: button})


def _turning(place: Place) -> list[str]:
    return [PREVIOUS, NEXT] if place.page > 1 else [NEXT]


def _on_page(shop: Shop, place: Place) -> list[Product]:
    shown = place.found[(place.page - 1) * ON_A_PAGE : place.page * ON_A_PAGE]
    return [shop.products[position] for position in shown]


def _item(product: Product) -> list[str]:
    options = [text for name, values in product.options.items() for text in (name, *values)]
    told = [product.title, f"Price: {product.price_tag}", "Rating: N.A."]
    return [*options, *told, *(part.capitalize() for part in _PARTS), BUY]


def _part(product: Product, view: View) -> list[str]:
    """Return what is said of a product; reviews are in none of WebShop's files.

    There a blank stands before each feature, so that an empty one is an empty text, where others are none.
    """
    return {"description": [product.description], "features": [f" {line}" for line in product.features]}.get(view, [])
