"""A small shop, in WebShop's files."""

import json
from pathlib import Path
from typing import Any


def row(asin: str, name: str, **changed: Any) -> dict[str, Any]:
    plain = {
        "asin": asin,
        "name": name,
        "full_description": f"About {name}.",
        "pricing": "$12.50",
        "images": [""],
        "product_category": "Clothing › Men › Shirts",
        "small_description": [f"{name}, new.", "Machine wash cold."],
        "customization_options": "",
        "category": "fashion",
        "query": "Shirts ",
    }
    return plain | changed


def values(*texts: str) -> list[dict[str, Any]]:
    return [{"value": text, "image": None} for text in texts]


SIZES = {"Size": values("Small", "Large")}
ROWS = [
    row("A1", "Plain Shirt", customization_options={**SIZES, "Color": values("Red", "Blue/White")}),
    row("A2", "Striped Shirt", pricing="$15.00 - $25.00", customization_options=SIZES),
    row("A3", "Oak Table", product_category="Home › Tables", query="tables", category="garden", pricing=""),
    *(row(f"B{number:02}", f"Cotton Sock {number}", query="socks") for number in range(23)),
]
TOLD = {
    "A1": {
        "attributes": ["machine wash", "slim fit"],
        "instruction": "Find me slim fit, machine wash shirts",
        "instruction_attributes": ["slim fit", "machine wash"],
    },
    "A2": {"attributes": ["relaxed fit"]},
    "A3": {"attributes": ["solid wood"], "instruction": "Find me tables", "instruction_attributes": ["solid wood"]},
}
PEOPLE = {
    "A1": [
        {
            "instruction": "a shirt to wear at work.",
            "instruction_attributes": ["slim fit"],
            "instruction_options": ["red"],
        },
        {"instruction": "anything", "instruction_attributes": [], "instruction_options": []},
    ]
}


def built(folder: Path, rows: Any = ROWS, told: Any = TOLD, people: Any = PEOPLE, ending: str = "") -> Path:
    """Write a shop's files into `folder`, and return it."""
    for name, content in (("items_shuffle", rows), ("items_ins_v2", told), ("items_human_ins", people)):
        if content is not None:
            (folder / f"{name}{ending}.json").write_text(json.dumps(content), "utf-8")
    return folder
