"""Builds `items_shuffle.json` and `items_ins_v2.json`, a shop in WebShop's form, from `kinds/*.toml`.

    python tasks/webshop/build.py [FOLDER]

One category is one TOML file: its `brands`, its `attributes` (each with the place it takes in an instruction, and the
sentence that tells it on a product's page) and its `kinds` of products. Of each kind there are six products, one of
each brand and each style. All draws are from one seed, so a second run writes the same bytes.
"""

import argparse
import json
import random
import tomllib
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SEED = 20260
ATTRIBUTES = 4
"""How many attributes a product has, of the eight of its kind."""
CONTRARY = (
    {"slim fit", "relaxed fit"},
    {"long sleeve", "short sleeve"},
    {"machine wash", "hand wash"},
    {"easy assemble", "fully assembled"},
    {"heavy duty", "light weight"},
)
SIGNS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"

Table = dict[str, Any]


def main() -> None:
    """Write both files into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Build the bundled shop.")
    parser.add_argument("folder", nargs="?", type=Path, default=HERE, help="where to write (default: beside this file)")
    folder = parser.parse_args().folder
    rng = random.Random(SEED)
    pairs = [pair for name, category in read_categories() for pair in products(name, category, rng)]
    rng.shuffle(pairs)
    items = ",\n".join(json.dumps(item, ensure_ascii=False) for item, _ in pairs)
    told = ",\n".join(f"{json.dumps(item['asin'])}: {json.dumps(entry)}" for item, entry in pairs)
    (folder / "items_shuffle.json").write_text(f"[\n{items}\n]\n", "utf-8", newline="\n")
    (folder / "items_ins_v2.json").write_text(f"{{\n{told}\n}}\n", "utf-8", newline="\n")


def read_categories() -> list[tuple[str, Table]]:
    """Read every category with its name, in the order of the files' names."""
    return [(path.stem, tomllib.loads(path.read_text("utf-8"))) for path in sorted((HERE / "kinds").glob("*.toml"))]


def products(name: str, category: Table, rng: random.Random) -> Iterator[tuple[Table, Table]]:
    """Yield each product of a category: its row of the catalogue, and what is told of its attributes."""
    for kind in category["kinds"]:
        brands, styles = rng.sample(category["brands"], 6), rng.sample(kind["styles"], 6)
        chosen, taken = attribute_sets(kind["attributes"], rng), list[set[str]]()
        for brand, style, own in zip(brands, styles, chosen, strict=True):
            item = catalogue_row(name, kind, brand, style, own, category["attributes"], rng)
            asked = wanted(own, [other for other in chosen if other != own], taken, rng)
            taken.append(set(asked))
            yield (
                item,
                {
                    "attributes": own,
                    "instruction": instruction(kind["query"], asked, category["attributes"]),
                    "instruction_attributes": asked,
                },
            )


def attribute_sets(attributes: list[str], rng: random.Random) -> list[list[str]]:
    """Draw six different sets of attributes that do not contradict themselves."""
    sets: list[list[str]] = []
    while len(sets) < 6:
        drawn = rng.sample(attributes, ATTRIBUTES)
        if not any(pair <= set(drawn) for pair in CONTRARY) and all(set(drawn) != set(other) for other in sets):
            sets.append(drawn)
    return sets


def wanted(own: list[str], others: list[list[str]], taken: list[set[str]], rng: random.Random) -> list[str]:
    """Draw two or three of a product's attributes that are not taken, and if it can be, that no other has together."""
    size = rng.choice((2, 3))
    drawn = rng.sample([*map(list, combinations(own, size)), *map(list, combinations(own, 5 - size))], 10)
    free = [asked for asked in drawn if set(asked) not in taken]
    alone = [asked for asked in free if not any(set(asked) <= set(other) for other in others)]
    return [*(each for each in alone if len(each) == size), *alone, *free][0]


def instruction(query: str, asked: list[str], attributes: Table) -> str:
    """Say what is wanted as WebShop's synthetic instructions do."""
    placed: dict[str, list[str]] = {"front": [], "with": [], "without": [], "for": []}
    for attribute in asked:
        placed[attributes[attribute][0]].append(attribute)
    before = ", ".join(placed["front"])
    after = "".join(f" {word} {', '.join(placed[word])}" for word in ("with", "without", "for") if placed[word])
    return f"Find me {before + ' ' if before else ''}{query}{after}"


def catalogue_row(
    category: str, kind: Table, brand: str, style: str, own: list[str], attributes: Table, rng: random.Random
) -> Table:
    """Return a product as a row of WebShop's catalogue."""
    title = f"{brand} {style} {kind['noun']} {rng.choice(kind['details'])}"
    named = f", {own[0].title()}" if rng.random() < 0.5 else ""
    told = [attributes[attribute][1] for attribute in own]
    return {
        "name": title + named,
        "full_description": f"{kind['about']} The {style} is made by {brand}.",
        "pricing": pricing(*kind["price"], rng),
        "images": [""],
        "product_category": " › ".join(kind["path"]),
        "small_description": [f"{style} by {brand}.", *rng.sample(told, len(told))],
        "customization_options": options(kind["options"], rng),
        "asin": "S" + "".join(rng.choices(SIGNS, k=9)),
        "category": category,
        "query": kind["query"],
    }


def pricing(low: int, high: int, rng: random.Random) -> str:
    """Draw a price tag; one in eight shows a range."""
    price = rng.randrange(low, high) + rng.choice((0.49, 0.95, 0.99))
    most = price * rng.choice((1.2, 1.5))
    return f"${price:.2f} - ${most:.2f}" if rng.random() < 0.125 else f"${price:.2f}"


def options(offered: Table, rng: random.Random) -> Table:
    """Draw which options there are, and at least two values of each, in order."""
    names = [name for name in offered if len(offered) == 1 or rng.random() < 0.85]
    drawn = {name: set(rng.sample(offered[name], rng.randint(2, len(offered[name])))) for name in names}
    return {
        name.title(): [{"value": value.title(), "image": None} for value in offered[name] if value in drawn[name]]
        for name in names
    }


if __name__ == "__main__":
    main()
