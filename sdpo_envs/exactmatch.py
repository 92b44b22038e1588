"""How answers in words are compared: normalisation, exact match, sub-string match and token F1.

As SQuAD's evaluation does it (arXiv 1606.05250), and FlashRAG and Search-R1 after it: lower case, then ASCII
punctuation is deleted, then the words a, an and the, then white space is made single. Dashes and quotes beyond ASCII
stay.
"""

import re
import string
from collections import Counter
from collections.abc import Iterable

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_CLOSED = {"yes", "no", "noanswer"}
"""Answers of one word, for which a part is worth nothing."""


def normalised(text: str) -> str:
    """Return what of `text` is compared; ``""`` if that is nothing."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, golden: Iterable[str]) -> bool:
    """Whether `answer` equals one of the `golden` answers, both normalised."""
    return normalised(answer) in {normalised(each) for each in golden}


def sub_match(answer: str, golden: Iterable[str]) -> bool:
    """Whether `answer` contains one of the `golden` answers, both normalised.

    Called accuracy in the field, and easily had by listing many answers: never a reward.
    """
    said = normalised(answer)
    return any(normalised(each) in said for each in golden)


def token_f1(answer: str, golden: Iterable[str]) -> float:
    """Return the best F1, from 0 to 1, of the words of `answer` against those of a `golden` answer, both normalised."""
    said = normalised(answer)
    return max((_f1(said, normalised(each)) for each in golden), default=0.0)


def _f1(said: str, right: str) -> float:
    if said != right and (said in _CLOSED or right in _CLOSED):
        return 0.0
    ours, theirs = said.split(), right.split()
    shared = (Counter(ours) & Counter(theirs)).total()
    return 2 * shared / (len(ours) + len(theirs)) if shared else 0.0
