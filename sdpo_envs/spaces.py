"""FreeText: the space of every string."""

from typing import Any

from gymnasium import Space
from gymnasium.error import Error

_WORDS = (
    "yes",
    "no",
    "the answer",
    "42",
    "-7",
    "<answer>",
    "</answer>",
    "A",
    "Action:",
    "{}",
    "```",
    "naïve 日本 ✓",
    "\0",
)


class FreeText(Space[str]):
    """Holds any str, of any length and alphabet, lone surrogates and control characters included.

    `gymnasium.spaces.Text` enumerates its alphabet, so it cannot hold what language models write. Samples are a few
    words from a small vocabulary that mixes plain words with awkward ones.

    >>> "naïve 日本" in FreeText()
    True
    """

    def __init__(self, seed: int | None = None) -> None:
        """Make the space; `seed` seeds `sample`."""
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """False: text has no fixed numeric form."""
        return False

    def sample(self, mask: None = None, probability: None = None) -> str:
        """Draw zero to seven words.

        Raises:
            Error: a mask or probabilities were given; a set without an enumeration has neither.
        """
        if mask is not None or probability is not None:
            raise Error("FreeText cannot be sampled with a mask or with probabilities; call sample() without them.")
        draw, words = self.np_random.random, len(_WORDS)
        return " ".join([_WORDS[int(draw() * words)] for _ in range(int(draw() * 8))])

    def contains(self, x: Any) -> bool:
        """Whether `x` is a str."""
        return isinstance(x, str)

    def __repr__(self) -> str:
        return "FreeText()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FreeText)
