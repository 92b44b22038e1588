"""A shop in WebShop's form (arXiv 2207.01206): products, what customers want of them, and the files of both.

Where the original draws from the global generator, one seed is passed here, and the draws are the same: with the seed 0
the prices and the goals are those of the original after ``random.seed(0)``.
"""

import itertools
import json
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from sdpo_envs.errors import RecordError, SettingError
from sdpo_envs.retrieval import Index
from sdpo_envs.tasks import Record, load_records, source_path

Wishes = Literal["synthetic", "human"]

FOUND = 50
"""How many products a search finds, at most."""

_CATALOGUE, _ATTRIBUTES, _INSTRUCTIONS = "items_shuffle", "items_ins_v2", "items_human_ins"
_LONGEST_ASIN = 10
_UNKNOWN_PRICE = 100.0
_LIMITS = [10.0 * number for number in range(1, 100)]
_ORDER = 233
"""The seed by which WebShop shuffles its goals."""


@dataclass(frozen=True, slots=True)
class Product:
    """What is sold.

    Attributes:
        asin: Its number.
        title: Its name.
        description: A text.
        features: Lines about it.
        price_tag: The price as it is shown, which may be a range.
        price: The price that is paid, in dollars.
        options: Name to values, in lower case, of which one may be chosen each.
        attributes: What is known to be true of it, and shown nowhere as such.
        query: What kind of product it is, in lower case.
        category: One of a few.
        path: Its place among all products, from the widest group to its own, as one line.
    """

    asin: str
    title: str
    description: str
    features: tuple[str, ...]
    price_tag: str
    price: float
    options: Mapping[str, tuple[str, ...]]
    attributes: tuple[str, ...]
    query: str
    category: str
    path: str


@dataclass(frozen=True, slots=True)
class Goal:
    """What a customer wants. Made from one product, though others may do as well.

    Attributes:
        instruction: The customer's words.
        asin: The number of that product, as its title, query, category and path below.
        title: Its title.
        query: Its query.
        category: Its category.
        path: Its path.
        attributes: What must be true of what is bought.
        options: Name and value of what must be chosen; the name is ``""`` where a person wrote the instruction.
        price_limit: The most that may be paid, in dollars; infinite where nothing is said.
    """

    instruction: str
    asin: str
    title: str
    query: str
    category: str
    path: str
    attributes: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    price_limit: float


class Shop:
    """Products that can be searched, and goals. It never changes, so copies of it are itself.

    Attributes:
        products: In order.
        goals: In order.
    """

    def __init__(self, products: Sequence[Product], goals: Sequence[Goal]) -> None:
        self.products = tuple(products)
        self.goals = tuple(goals)
        self._index = Index([document(product) for product in products])

    def search(self, words: str) -> tuple[int, ...]:
        """Return the positions of the products that fit best, the best first."""
        return tuple(position for position, _ in self._index.search(words, FOUND))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the shop itself."""
        return self


def open_shop(source: str | Path, wishes: Wishes, seed: int) -> Shop:
    """Read a shop from the files that WebShop's set-up script fetches.

    Args:
        source: A folder with one catalogue, ``items_shuffle*.json``, or that file. Beside it stand
            ``items_ins_v2*.json``, and ``items_human_ins*.json`` for the goals that people wrote; each ends as the
            catalogue does, ``_1000`` say, or has no such ending.
        wishes: Which goals: ``"synthetic"`` or ``"human"``.
        seed: Draws the price of a product whose tag shows a range, and the most that a customer would pay.

    Raises:
        SettingError: a file is missing, or a folder has several catalogues.
        RecordError: a file does not have WebShop's form, or nobody wants anything; the message names the place.
    """
    catalogue = _catalogue(source_path(source))
    told = _beside(catalogue, _ATTRIBUTES, dict)
    rng = random.Random(seed)
    products = list(read_products(load_records(catalogue), told, rng))
    if not products:
        raise RecordError(f"{catalogue}: there is no product in it.")
    if wishes == "human":
        goals = list(human_goals(products, _beside(catalogue, _INSTRUCTIONS, list), rng))
    else:
        goals = list(synthetic_goals(products, told, rng))
    if not goals:
        raise RecordError(f"{catalogue}: none of its {len(products)} products is wanted in the {wishes} instructions.")
    random.Random(_ORDER).shuffle(goals)
    return Shop(products, goals)


def read_products(records: Iterable[Record], told: Mapping[str, Any], rng: random.Random) -> Iterator[Product]:
    """Yield the products of WebShop's records, each once.

    Args:
        records: Rows of ``items_shuffle*.json``.
        told: By asin, what ``items_ins_v2*.json`` holds.
        rng: Draws the price where the tag shows a range.

    Raises:
        RecordError: a row does not have that form.
    """
    seen = set()
    for record in records:
        asin = record.get("asin")
        if asin == "nan" or len(asin) > _LONGEST_ASIN or asin in seen:
            continue
        seen.add(asin)
        tag, prices = _prices(record)
        features, entry = record.get("small_description", (list, str)), _entry(told, asin)
        yield Product(
            asin=asin,
            title=record.get("name"),
            description=record.get("full_description"),
            features=(features,) if isinstance(features, str) else _lines(record, "small_description"),
            price_tag=tag,
            price=rng.uniform(*prices) if len(prices) > 1 else prices[0],
            options=_options(record),
            attributes=_lines(entry, "attributes") if "attributes" in entry.row else (),
            query=record.get("query").lower().strip(),
            category=record.get("category"),
            path=record.get("product_category"),
        )


def document(product: Product) -> str:
    """Return the text by which `product` is found."""
    options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in product.options.items())
    return " ".join([product.title, product.description, *product.features[:1], options]).lower()


def synthetic_goals(products: Iterable[Product], told: Mapping[str, Any], rng: random.Random) -> Iterator[Goal]:
    """Yield a goal for each choice of options of each product that has an instruction.

    Raises:
        RecordError: an instruction does not have WebShop's form.
    """
    for product in products:
        entry = _entry(told, product.asin)
        if not entry.row.get("instruction") or not entry.row.get("instruction_attributes"):
            continue
        attributes = _lines(entry, "instruction_attributes")
        limit, most = _price_limit(product.price, rng)
        names = sorted(product.options)
        for values in itertools.product(*(product.options[name] for name in names)):
            options = tuple(zip(names, values, strict=True))
            chosen = ", and ".join(f"{name}: {value}" for name, value in options)
            instruction = entry.get("instruction") + (f" with {chosen}" if chosen else "") + most
            yield _goal(product, instruction, attributes, options, limit)


def human_goals(products: Iterable[Product], told: Mapping[str, Any], rng: random.Random) -> Iterator[Goal]:
    """Yield the goals that people wrote for these products, in WebShop's ``items_human_ins*.json``.

    Raises:
        RecordError: an instruction does not have that form.
    """
    for product in products:
        for told_of in told.get(product.asin, ()):
            entry = Record(f"the instructions for {product.asin!r}", told_of)
            attributes = _lines(entry, "instruction_attributes")
            options = tuple(("", value) for value in _lines(entry, "instruction_options"))
            instruction = entry.get("instruction").strip(".")
            if attributes:
                limit, most = _price_limit(product.price, rng)
                yield _goal(product, instruction + most, attributes, options, limit)


def _entry(told: Mapping[str, Any], asin: str) -> Record:
    """Return what is told of a product, which may be nothing."""
    return Record(f"what is told of {asin!r}", told.get(asin, {}))


def _lines(record: Record, column: str) -> tuple[str, ...]:
    """Return the texts that a column lists."""
    told = record.get(column, list)
    if not all(isinstance(line, str) for line in told):
        raise RecordError(f"{record.where}: the column {column!r} must be a list of texts, not {told!r}.")
    return tuple(told)


def _goal(
    product: Product,
    instruction: str,
    attributes: Iterable[str],
    options: tuple[tuple[str, str], ...],
    limit: float,
) -> Goal:
    return Goal(
        instruction,
        product.asin,
        product.title,
        product.query,
        product.category,
        product.path,
        tuple(attributes),
        options,
        limit,
    )


def _price_limit(price: float, rng: random.Random) -> tuple[float, str]:
    """Draw the most that is paid, the larger of two of the next four tens above `price`, and say it."""
    above = [limit for limit in _LIMITS if limit > price][:4]
    if len(above) < 2:
        return math.inf, ""
    limit = max(rng.sample(above, 2))
    return limit, f", and price lower than {limit:.2f} dollars"


def _prices(record: Record) -> tuple[str, list[float]]:
    """Return the price tag, and the one price or the two ends of the range that it shows."""
    told = record.row.get("pricing")
    if not told:
        return f"${_UNKNOWN_PRICE}", [_UNKNOWN_PRICE]
    try:
        prices = [float(re.sub(r"[^\d.]", "", part)) for part in str(told).split("$")[1:]][:2]
    except ValueError:
        prices = []
    if not prices:
        raise RecordError(f"{record.where}: the column 'pricing' must show dollars, as '$9.99', not {told!r}.")
    return " to ".join(f"${price}" for price in prices), prices


def _options(record: Record) -> dict[str, tuple[str, ...]]:
    told = record.row.get("customization_options") or {}
    if not isinstance(told, dict):
        raise RecordError(f"{record.where}: the column 'customization_options' must be '' or an object, not {told!r}.")
    try:
        return {
            name.lower(): tuple(value["value"].strip().replace("/", " | ").lower() for value in values)
            for name, values in told.items()
            if values is not None
        }
    except (AttributeError, KeyError, TypeError) as error:
        form = '{"size": [{"value": "small"}, ...]}'
        raise RecordError(f"{record.where}: customization_options must have the form {form}: {error!r}") from error


def _catalogue(path: Path) -> Path:
    """Return the file of products that `path` is, or that stands in it."""
    if path.is_file():
        return path
    found = sorted(path.glob(f"{_CATALOGUE}*.json*"))
    if len(found) != 1:
        names = ", ".join(each.name for each in found) or "none"
        what = f"{str(path)!r} must hold one catalogue, {_CATALOGUE}*.json, and holds: {names}."
        raise SettingError(f"{what} Give a folder of WebShop's data, or the path of the catalogue in it.")
    return found[0]


def _beside(catalogue: Path, name: str, kind: type) -> dict[str, Any]:
    """Return what the file `name` beside `catalogue` says of each asin; one that ends as the catalogue does goes first.

    A file with another ending is not taken: it may tell of other products, of which fewer would then be wanted.
    """
    ending = catalogue.name.partition(".")[0].removeprefix(_CATALOGUE)
    names = list(dict.fromkeys([f"{name}{ending}.json", f"{name}.json"]))
    file = next((catalogue.with_name(each) for each in names if catalogue.with_name(each).is_file()), None)
    if file is None:
        where = f"There is no {' or '.join(names)} beside {str(catalogue)!r}"
        raise SettingError(f"{where}; WebShop's set-up script fetches it.")
    try:
        told = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise RecordError(f"{file.parent.name}/{file.name}: this is not JSON: {error}") from error
    if not isinstance(told, dict) or not all(isinstance(entry, kind) for entry in told.values()):
        raise RecordError(f"{file.parent.name}/{file.name}: it must be one JSON object, asin to a {kind.__name__}.")
    return told
