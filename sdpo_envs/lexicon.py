"""Worlds in which words mean what no text says: what the three Micro worlds have in common.

A word has several readings, the likeliest first. A world has settled on one reading of each word, as a code base has on
its conventions. Who knows the lexicon can guess; who tries and reads why it failed can know.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sdpo_envs.errors import SettingError, choose

Lexicon = Mapping[str, Sequence[str]]
"""By word: what it may mean, four readings each, the likeliest first."""
World = Mapping[str, int]
"""By word: the place of the reading that holds."""

PRIOR = (0.55, 0.25, 0.12, 0.08)
"""How often each reading holds in the worlds to get to know the lexicon from, and so in a good guess."""
SETTLED = (0.35, 0.30, 0.20, 0.15)
"""How often each does in the worlds to learn in, where unlikely readings are more common, so that most guesses fail."""

SPLITS = ("warm", "train", "test")
TELLING = ("all", "first", "none")
"""How much feedback says of a failure: everything that is wrong, the first of it, or nothing at all."""
LEVELS: Mapping[str, tuple[float, float]] = {"mixed": (0.0, 1.0), "hard": (0.005, 0.05), "very-hard": (0.0003, 0.003)}
"""Between which bounds the chance of a guess at a task lies."""

_WARM_SIZES = (0.3, 0.3, 0.25, 0.15)
_TRAIN_SIZES = (0.2, 0.4, 0.4)
_TEST_SIZES = (0.0, 0.5, 0.5)
_HARD_SIZES = (0.0, 0.3, 0.4, 0.3)
_COUNTS = {"warm": 2048, "train": 96, "test": 128}
_HARD_COUNT = 64


@dataclass(frozen=True, slots=True)
class Request:
    """Words, and what they mean where they are said.

    Attributes:
        name: Unique among the requests of a lexicon.
        words: One or more.
        readings: Of each word, the place of the one that holds.
    """

    name: str
    words: tuple[str, ...]
    readings: tuple[int, ...]

    @property
    def chance(self) -> float:
        """The probability that a guess from the `PRIOR` is right."""
        return math.prod(PRIOR[place] for place in self.readings)


def settle(lexicon: Lexicon, rng: np.random.Generator, weights: Sequence[float]) -> dict[str, int]:
    """Draw a world: one reading per word."""
    places = rng.choice(len(weights), size=len(lexicon), p=weights)
    return dict(zip(lexicon, places.tolist(), strict=True))


def requests(lexicon: Lexicon, *, world: int, split: str, level: str) -> list[Request]:
    """Draw the requests of one split of one world.

    Those to train on and those to test on are said in the same world, and no two have the same words; the ones to test
    on have two words or three, the ones to train on also one. The split ``"warm"`` has a world for each request, and up
    to four words: to get to know the lexicon, and no world.

    Args:
        lexicon: What words may mean.
        world: Which, from 0 on; for ``"warm"``, which of endlessly many lists of 2048 requests.
        split: One of `SPLITS`.
        level: One of `LEVELS`; two words to four are said at another than ``"mixed"``, and ``"warm"`` has only that.

    Returns:
        96 requests to train on, 128 to test on; 64 of each at another level.

    Raises:
        SettingError: there is no such world, split or level.
    """
    choose("split", split, SPLITS)
    low, high = LEVELS[choose("level", level, LEVELS)]
    if not isinstance(world, int) or isinstance(world, bool) or world < 0:
        raise SettingError(f"world={world!r} is not offered; it is an int from 0 on.")
    if split == "warm":
        if level != "mixed":
            raise SettingError(f"level={level!r} is not offered for the split 'warm'; leave it out.")
        return _warm(lexicon, world)
    settled = settle(lexicon, np.random.default_rng([world, 2]), SETTLED)
    rng = np.random.default_rng([world, 3, [*LEVELS].index(level)])
    taken: set[tuple[str, ...]] = set()
    drawn = {}
    for each, sizes in (("train", _TRAIN_SIZES), ("test", _TEST_SIZES)):
        count = _COUNTS[each] if level == "mixed" else _HARD_COUNT
        kinds = sizes if level == "mixed" else _HARD_SIZES
        drawn[each] = _distinct(lexicon, settled, rng, kinds, (low, high), count, taken)
    return [
        Request(f"{world}/{level}/{split}/{number}", words, tuple(settled[word] for word in words))
        for number, words in enumerate(drawn[split])
    ]


def guess(request: Request, rng: np.random.Generator, known: float = 0.0) -> tuple[int, ...]:
    """Draw readings as who knows the lexicon, and in this world each word with the probability `known`."""
    drawn = rng.choice(len(PRIOR), size=len(request.words), p=PRIOR).tolist()
    knows = (rng.random(len(request.words)) < known).tolist()
    return tuple(
        own if knows_it else other for own, other, knows_it in zip(request.readings, drawn, knows, strict=True)
    )


def _warm(lexicon: Lexicon, world: int) -> list[Request]:
    rng = np.random.default_rng([world, 1])
    said = [_say(lexicon, rng, _WARM_SIZES) for _ in range(_COUNTS["warm"])]
    return [
        Request(f"{world}/warm/{number}", words, tuple(rng.choice(len(PRIOR), size=len(words), p=PRIOR).tolist()))
        for number, words in enumerate(said)
    ]


def _distinct(
    lexicon: Lexicon,
    world: World,
    rng: np.random.Generator,
    sizes: Sequence[float],
    chances: tuple[float, float],
    count: int,
    taken: set[tuple[str, ...]],
) -> list[tuple[str, ...]]:
    """Draw `count` requests unlike those `taken`, the chance of a guess at each between two bounds, and take them.

    Words are dealt from a deck, so that they come up about equally often.
    """
    drawn: list[tuple[str, ...]] = []
    deck: list[str] = []
    while len(drawn) < count:
        size = 1 + int(rng.choice(len(sizes), p=sizes))
        if len(deck) < size:
            deck = rng.permutation([*lexicon]).tolist()
        words, deck = tuple(deck[:size]), deck[size:]
        chance = math.prod(PRIOR[world[word]] for word in words)
        if tuple(sorted(words)) not in taken and chances[0] <= chance <= chances[1]:
            taken.add(tuple(sorted(words)))
            drawn.append(words)
    return drawn


def _say(lexicon: Lexicon, rng: np.random.Generator, sizes: Sequence[float]) -> tuple[str, ...]:
    size = 1 + int(rng.choice(len(sizes), p=sizes))
    return tuple(rng.choice([*lexicon], size=size, replace=False).tolist())
