"""WebShop's reward: how far what was bought is what was wanted, from 0 to 1.

    reward = type * (attributes met + options met + [price within the limit]) / (attributes + options + 1)

Texts are alike when thefuzz would give their sets of words more than 85 of 100; rapidfuzz, which computes this for
thefuzz, does so here. It needs the extra ``webshop``.
"""

import functools
import importlib
import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sdpo_envs.errors import MissingExtra, choose, require
from sdpo_envs.shop import Goal, Product

Nouns = Callable[[str], list[str]]
"""Returns the nouns of a title, in lower case and as often as they stand there."""
NounFinder = Literal["spacy", "words"]

SPACY_MODEL = "en_core_web_sm"

_ALIKE = 85
_NOT_ASCII = dict.fromkeys(range(128, 256))  # what thefuzz deletes before it compares
_COLORS_TOLD = """
    alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy camel camo
    caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry cream
    crystal dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green grey heather
    indigo ivory ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha
    multicolor mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red rose royal
    rust sand sapphire seashell silver skull slate steel stone stonewash sunflower tan taupe teal tiger turquoise
    violet walnut wheat white wine yellow
"""
_COLORS = tuple(_COLORS_TOLD.split())
_FUNCTION_WORDS_TOLD = """
    a about above across after again against all along also although always am among an and another any anyone
    anything anywhere are around as at back be because been before behind being below beside besides between beyond
    both bottom but by ca can could did do does doing done down due during each eight either eleven else empty
    enough etc even ever every everyone everything everywhere except few fifteen fifty first five for former forty
    four from front full further get give go had has have he hence her here hers herself him himself his how however
    hundred i if in indeed into is it its itself just keep last least less made make many may me might mine more
    most mostly move much must my myself name neither never next nine no nobody none nor not nothing now nowhere of
    off often on once one only onto or other others our ours ourselves out over own part per perhaps please put
    quite rather re really same say see seem several she should show side since six sixty so some somehow someone
    something still such take ten than that the their them themselves then there these they third this those though
    three through throughout thus to together too top toward towards twelve twenty two under unless until up upon us
    used using various very via was we well were what whatever when where whether which while who whole whom whose
    why will with within without would yet you your yours yourself
"""
_FUNCTION_WORDS = frozenset(_FUNCTION_WORDS_TOLD.split())
"""Words of English that are no nouns, or, as *top* and *side*, seldom say what a thing is."""


@dataclass(frozen=True, slots=True)
class Reward:
    """What the reward is made of.

    Attributes:
        type: 1.0 where it is the kind of product that was wanted, else 0.5, 0.1 or 0.0.
        title: The share of the nouns of the wanted title that the bought one has.
        same_query: Whether both are found under the same query.
        same_path: Whether their paths share two parts or more.
        attributes: Of each of the goal's, whether it is met.
        options: Of each of the goal's, whether it is met.
        price: Whether the price is within the limit.
    """

    type: float
    title: float
    same_query: bool
    same_path: bool
    attributes: tuple[bool, ...]
    options: tuple[bool, ...]
    price: bool

    @property
    def total(self) -> float:
        """The reward, from 0 to 1."""
        met = sum(self.attributes) + sum(self.options) + self.price
        return met / (len(self.attributes) + len(self.options) + 1) * self.type


def reward(product: Product, chosen: Mapping[str, str], goal: Goal, nouns: Nouns) -> Reward:
    """Compare a purchase with what was wanted.

    Args:
        product: What was bought.
        chosen: Its options, name to value.
        goal: What was wanted.
        nouns: Finds those of a title.

    Raises:
        MissingExtra: rapidfuzz is not installed.
    """
    same_query = product.query == goal.query
    same_path = len(_parts(product.path) & _parts(goal.path)) >= 2
    title = _shared_nouns(nouns(product.title), nouns(goal.title))
    picked = [_color(value) for value in chosen.values()]
    return Reward(
        type=_type(same_query or same_path, title),
        title=title,
        same_query=same_query,
        same_path=same_path,
        attributes=tuple(_has(product, attribute) for attribute in goal.attributes),
        options=tuple(any(_alike(one, wish) for one in picked) for wish in map(_wish, goal.options)),
        price=product.price <= goal.price_limit,
    )


def noun_finder(name: NounFinder | Literal["auto"]) -> tuple[NounFinder, Nouns]:
    """Return what finds nouns, and its name.

    ``"spacy"`` is the original's: what spaCy's model `SPACY_MODEL` takes for a noun or a proper noun. ``"words"``
    stands in for it: every word of letters alone that is no function word. ``"auto"`` is the first where it is
    installed, and else the second.

    Raises:
        SettingError: there is no such finder.
        MissingExtra: ``"spacy"`` is asked for and not installed.
    """
    choose("nouns", name, ("auto", "spacy", "words"))
    installed = all(importlib.util.find_spec(module) for module in ("spacy", SPACY_MODEL))
    if name == "spacy" and not installed:
        how = f"pip install spacy, then python -m spacy download {SPACY_MODEL}"
        raise MissingExtra(f"nouns='spacy' needs spaCy and its model {SPACY_MODEL}: {how}. Or take nouns='words'.")
    if name != "words" and installed:
        _tagger()  # now, and not when something is bought
        return "spacy", tagged_nouns
    return "words", plain_nouns


def tagged_nouns(text: str) -> list[str]:
    """Return the words that spaCy tags as nouns."""
    return [token.text.lower() for token in _tagger()(text) if token.pos_ in ("NOUN", "PROPN")]


def plain_nouns(text: str) -> list[str]:
    """Return the words of letters alone that are no function words.

    ``16oz`` is none, ``men's`` is men, and ``wide-leg`` is two.
    """
    words = re.findall(r"[^\W_]+", re.sub(r"['’]s\b", " ", text.lower()))
    return [word for word in words if word.isalpha() and word not in _FUNCTION_WORDS]


def _type(same_kind: bool, title: float) -> float:
    if title == 0:
        return 0.0
    if title < 0.1:
        return 0.1
    return 1.0 if same_kind or title > 0.2 else 0.5


def _shared_nouns(bought: Sequence[str], wanted: Sequence[str]) -> float:
    return len({*bought} & {*wanted}) / len(wanted) if wanted else 0.2


def _parts(path: str) -> set[str]:
    return {part.strip() for part in path.split("›")}


def _has(product: Product, attribute: str) -> bool:
    if any(_alike(own, attribute) for own in product.attributes):
        return True
    texts = (product.title, " ".join(product.features), product.description)
    return any(attribute in text.lower() for text in texts)


def _color(value: str) -> str:
    """Return the first colour that `value` contains, be it within a word, or else `value`."""
    return next((color for color in _COLORS if color in value), value)


def _wish(option: tuple[str, str]) -> str:
    """Return what a chosen value is compared with: of a named option the pair, unless one of it is just a colour."""
    name, value = option
    return next((color for color in _COLORS if color in option), str(option)) if name else _color(value)


def _alike(one: str, other: str) -> bool:
    fuzz, process = _fuzz()
    return round(fuzz(process(one.translate(_NOT_ASCII)), process(other.translate(_NOT_ASCII)))) > _ALIKE


@functools.cache
def _fuzz() -> tuple[Callable[[str, str], float], Callable[[str], str]]:
    return require("rapidfuzz.fuzz", "webshop").token_set_ratio, require("rapidfuzz.utils", "webshop").default_process


@functools.cache
def _tagger() -> Any:
    return importlib.import_module("spacy").load(SPACY_MODEL)
