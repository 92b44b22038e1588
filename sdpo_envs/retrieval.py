"""Finds documents by words: BM25 as Lucene scores it, over an index in this process.

The scores are bm25s's (arXiv 2407.03618), with one thing of Lucene's that it leaves out: a document's length is kept in
one byte, so lengths of 40 words and more are rounded down to four binary digits. That moves rankings; with it they
agree with Anserini's on WebShop's catalogue, up to ties. It needs the extra ``retrieval``.
"""

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sdpo_envs.errors import SettingError, require, within

Analyzer = Callable[[str], list[str]]
"""Turns a text into the words by which it is found. To pickle an index, it must be a function of a module."""

# fmt: off
STOP_WORDS = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not",
    "of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was",
    "will", "with",
})
# fmt: on
"""The words that Lucene's English analyzer passes over."""

_IDEOGRAPH = (
    "\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3041-\u3096\u309d-\u309f\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_PICTURE = (  # Unicode's Extended_Pictographic
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u2388\u23cf\u23e9-\u23f3\u23f8-\u23fa"
    "\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u2605\u2607-\u2612\u2614-\u2685\u2690-\u2705\u2708-\u2712\u2714"
    "\u2716\u271d\u2721\u2728\u2733\u2734\u2744\u2747\u274c\u274e\u2753-\u2755\u2757\u2763-\u2767\u2795-\u2797\u27a1\u27b0"
    "\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
_SIGN = rf"[^\W{_IDEOGRAPH}]"
_LETTER, _DIGIT = r"[^\W\d_]", r"\d"
_IN_A_WORD, _IN_A_NUMBER = "['‘’.․﹒＇．:·‧：]", "['‘’.․﹒＇．,;⁄，；]"
_WORD = re.compile(
    rf"{_SIGN}+(?:(?:(?<={_LETTER}){_IN_A_WORD}(?={_LETTER})|(?<={_DIGIT}){_IN_A_NUMBER}(?={_DIGIT})){_SIGN}+)*"
    rf"|[{_IDEOGRAPH}]|[{_PICTURE}][\ufe0f\u200d\U0001f3fb-\U0001f3ff]*"
)
"""A word by the rules of Unicode's annex 29, nearly: ``3.5``, ``i'm`` and ``xl:red`` are one, ``t-shirt`` is two."""
_SYLLABLE = re.compile("[aeiou][^aeiou]|(?<=[^aeiou])y[^aeiou]")
_REVISED = re.compile("(.*?)(bl|log)(?:y|ies)")
_SHORTEST_STEMMED = 3
_LONGEST = 255
"""Characters of a word, as in Lucene; so the stems that are remembered stay small, whatever is searched for."""
_MOST_WORDS = 1024
_FREE_LENGTHS = 24
_DIGITS_KEPT = 4


def english(text: str) -> list[str]:
    """Return the words of `text` as Lucene's English analyzer does.

    They are in lower case, at most 255 characters long, where what is longer is several, without ``'s``, without
    `STOP_WORDS`, and reduced to their stems by Porter's rules.

    Raises:
        MissingExtra: PyStemmer is not installed.
    """
    words = (piece for word in _WORD.findall(text.lower()) for piece in _pieces(word))
    words = (word[:-2] if word.endswith(("'s", "’s", "＇s")) else word for word in words)
    return [_stem(word) for word in words if word not in STOP_WORDS and word.strip("_")]


class Index:
    """Documents that can be searched. It never changes, so copies of it are itself.

    Args:
        documents: Their texts; at least one.
        analyze: What makes words of a document, and of a query.
        k1: How soon a word that is repeated counts no more; at least 0.
        b: How much longer documents are held back, from 0 to 1.

    Raises:
        SettingError: there are no documents, or a number is out of its range.
        MissingExtra: bm25s, or what `analyze` needs, is not installed.
    """

    def __init__(self, documents: Iterable[str], analyze: Analyzer = english, k1: float = 0.9, b: float = 0.4) -> None:
        words = [analyze(document) for document in documents]
        if not words:
            raise SettingError("There are no documents to search; give at least one.")
        self._analyze = analyze
        self._size = len(words)
        self._bm25 = require("bm25s", "retrieval").BM25(
            k1=within("k1", k1, 0), b=within("b", b, 0, 1), method="lucene", dtype="float64"
        )
        if any(words):
            self._bm25.index(words, show_progress=False)
            self._round_lengths(np.array([len(each) for each in words], dtype=np.float64))
        self._known = frozenset(word for each in words for word in each)

    def __len__(self) -> int:
        """Return how many documents there are."""
        return self._size

    def search(self, query: str, k: int = 10) -> list[tuple[int, float]]:
        """Return the position and the score of the `k` documents that fit best, the best first.

        Equal scores are in the order of the documents. One that shares no word with the query is not among them. Of
        the words of a query that some document has, the first 1024 different ones count.
        """
        words = Counter(word for word in self._analyze(query) if word in self._known)
        if not words or k < 1:
            return []
        scores: npt.NDArray[np.float64] = np.zeros(self._size)
        for word, count in islice(words.items(), _MOST_WORDS):
            scores += count * self._bm25.get_scores([word])
        least = np.partition(scores, -k)[-k] if k < len(scores) else 0.0
        found = np.flatnonzero((scores >= least) & (scores > 0))
        best = found[np.argsort(-scores[found], kind="stable")][:k]
        return [(int(position), float(scores[position])) for position in best]

    def search_all(self, queries: Sequence[str], k: int = 10) -> list[list[tuple[int, float]]]:
        """Search for each query."""
        return [self.search(query, k) for query in queries]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the index itself."""
        return self

    def _round_lengths(self, lengths: npt.NDArray[np.float64]) -> None:
        """Make the scores what they are for lengths kept in a byte.

        bm25s holds idf tf / (tf + norm) for each word (column) and document (row); norm = k1 (1 - b + b length / mean).
        """
        held, k1, b = self._bm25.scores, self._bm25.k1, self._bm25.b
        found_in = np.diff(held["indptr"])
        idf = np.repeat(np.log1p((self._size - found_in + 0.5) / (found_in + 0.5)), found_in)
        rounded = np.array([kept_length(int(length)) for length in lengths])
        true, kept = (k1 * (1 - b + b * each / lengths.mean()) for each in (lengths, rounded))
        change = np.divide(kept, true, out=np.ones_like(true), where=true > 0)[held["indices"]]
        exact = idf / (1 + (idf / held["data"] - 1) * change)
        held["data"] = exact.astype(np.float32)  # what only rounding tells apart is a tie


def kept_length(length: int) -> int:
    """Return what Lucene remembers of the length of a document, in words: its SmallFloat of four binary digits."""
    rest = length - _FREE_LENGTHS
    dropped = max(0, rest.bit_length() - _DIGITS_KEPT) if rest > 0 else 0
    return _FREE_LENGTHS + ((rest >> dropped) << dropped)


def _pieces(word: str) -> Iterable[str]:
    return (word[start : start + _LONGEST] for start in range(0, len(word), _LONGEST))


@functools.cache
def _porter() -> Any:
    return require("Stemmer", "retrieval").Stemmer("porter")


@functools.lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    """Return Porter's stem of `word` as his own program gives it, which Lucene follows.

    It departs from his paper, and so from PyStemmer, in words of two letters and in those such as assembly, technology.
    """
    if len(word) < _SHORTEST_STEMMED:
        return word
    ending = _REVISED.fullmatch(word)
    if ending and _SYLLABLE.search(ending[1]):
        word = ending[1] + ("ble" if ending[2] == "bl" else "log")
    return str(_porter().stemWord(word))
