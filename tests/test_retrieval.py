"""BM25 beside the formula written out, and beside what Lucene said of WebShop's catalogue."""

import copy
import gzip
import json
import math
import pickle
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs import MissingExtra, SettingError
from sdpo_envs.retrieval import STOP_WORDS, Index, english, kept_length

DATA = Path(__file__).parents[1] / "../shared/data/webshop"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"Lucene's rankings are not at {DATA}")

DOCUMENTS = ["red shoes for running", "blue shoes", "a red red coat", "the running of the bulls", "blue shoes"]


def rows(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def written_out(documents: list[str], query: str, k1: float, b: float) -> list[float]:
    words = [english(document) for document in documents]
    mean = sum(map(len, words)) / len(words)
    scores = []
    for own in words:
        norm, score = k1 * (1 - b + b * kept_length(len(own)) / mean), 0.0
        for word in english(query):
            found_in = sum(word in other for other in words)
            count = Counter(own)[word]
            idf = math.log(1 + (len(words) - found_in + 0.5) / (found_in + 0.5))
            score += idf * count / (count + norm) if count else 0.0
        scores.append(score)
    return scores


@pytest.mark.parametrize("query", ["red", "red shoes", "running running bulls", "blue coat the"])
@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.2, 0.75), (1.5, 0.0), (0.0, 1.0)])
def test_scores_are_bm25(query: str, k1: float, b: float) -> None:
    documents = [*DOCUMENTS, "red " * 30 + "bulls " * 70]
    scores = written_out(documents, query, k1, b)
    found = Index(documents, k1=k1, b=b).search(query)
    assert {position for position, _ in found} == {position for position, score in enumerate(scores) if score > 0}
    assert [score for _, score in found] == pytest.approx([scores[position] for position, _ in found], rel=1e-6)
    assert all(one[1] >= other[1] for one, other in pairwise(found))


def test_equal_scores_are_in_the_order_of_the_documents() -> None:
    assert [position for position, _ in Index(DOCUMENTS).search("blue shoes")][:2] == [1, 4]
    assert [position for position, _ in Index(["same words"] * 30).search("same", 7)] == list(range(7))


def test_documents_whose_lengths_are_kept_alike_are_tied() -> None:
    found = Index(["red " + "x " * 39, "red " + "y " * 40, "y " * 9]).search("red")
    assert [position for position, _ in found] == [0, 1]
    assert found[0][1] == found[1][1]


def test_only_what_shares_a_word_is_found() -> None:
    index = Index(DOCUMENTS)
    assert len(index) == 5
    assert [position for position, _ in index.search("coat", 50)] == [2]
    assert index.search("bulls", 0) == index.search("zzz") == index.search("") == index.search("the of a") == []
    assert index.search("bulls", k=1)[0][0] == 3


@pytest.mark.parametrize("documents", [["", "a b"], ["the", "b"], ["", ""], ["b", "", ""]])
def test_documents_without_words_are_never_found(documents: list[str]) -> None:
    found = [position for position, _ in Index(documents).search("b the")]
    assert found == [position for position, document in enumerate(documents) if "b" in document]


@pytest.mark.parametrize(
    ("query", "best"), [("red " * 250_000, 3), ("red shoes running bulls coat " * 40_000, 0)], ids=["one", "five"]
)
def test_a_megabyte_of_words_is_searched_for_in_time(query: str, best: int) -> None:
    documents = ["red shoes running bulls coat", *DOCUMENTS]
    found = Index(documents * 2000).search(query, 3)
    assert [position for position, _ in found] == [best, best + len(documents), best + 2 * len(documents)]


def test_a_word_said_twice_counts_twice() -> None:
    (_, once), (_, twice) = *Index(DOCUMENTS).search("bulls"), *Index(DOCUMENTS).search("bulls bulls")
    assert twice == 2 * once


def test_searching_for_each_is_searching_for_all() -> None:
    index, queries = Index(DOCUMENTS), ["red", "blue shoes", "zzz"]
    assert index.search_all(queries, 2) == [index.search(query, 2) for query in queries]


def test_what_makes_words_can_be_chosen() -> None:
    assert [position for position, _ in Index(["The Bulls", "the"], analyze=str.split).search("the")] == [1]


def test_an_index_pickles_and_copies_of_it_are_itself() -> None:
    index = Index(DOCUMENTS)
    assert copy.deepcopy({"index": index})["index"] is index
    assert pickle.loads(pickle.dumps(index)).search("red shoes") == index.search("red shoes")


@pytest.mark.parametrize(("documents", "settings"), [([], {}), (["a"], {"k1": -1.0}), (["a"], {"b": 1.1})])
def test_other_settings_are_refused(documents: list[str], settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        Index(documents, **settings)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(MissingExtra, match=r"sdpo-envs\[retrieval\]"):
        Index(["a document"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Men's shoes, it's THE thing", ["men", "shoe", "thing"]),
        ("usb-c 3.5mm 1,000 i'm t-shirt", ["usb", "c", "3.5mm", "1,000", "i'm", "t", "shirt"]),
        ("size:xl _ snake_case", ["size:xl", "snake_cas"]),
        ("assembly assemblies ably us", ["assembl", "assembl", "abli", "us"]),
        ("technology technologies biology", ["technolog", "technolog", "biologi"]),
        ("cat＇s cat’s cats", ["cat", "cat", "cat"]),
        ("b" * 600, ["b" * 255, "b" * 255, "b" * 90]),
        ("❤️❤ 大小 ★", ["❤️", "❤", "大", "小", "★"]),
        ("\x00 \u202e ... ' '' ._", []),
    ],
)
def test_words_of_english(text: str, words: list[str]) -> None:
    assert english(text) == words


@pytest.mark.parametrize("text", ["_", "a", "a.", "1,", "bl", "y", "❤", "'", "大", "ablogies"])
def test_a_megabyte_is_read_in_time(text: str) -> None:
    assert len(english(text * 200_000)) <= 200_000


@given(st.text())
def test_any_text_has_words(text: str) -> None:
    words = english(text)
    assert all(words)
    assert not STOP_WORDS & {word for word in words if word in text.lower().split()}


@pytest.mark.parametrize(
    ("length", "kept"), [(0, 0), (23, 23), (39, 39), (40, 40), (41, 40), (42, 42), (107, 104), (1000, 984)]
)
def test_lengths_are_kept_in_a_byte(length: int, kept: int) -> None:
    assert kept_length(length) == kept


def test_a_length_is_never_kept_longer_and_at_most_an_eighth_shorter() -> None:
    kept = [kept_length(length) for length in range(5000)]
    assert all(length * 7 / 8 < each + 1 <= length + 1 for length, each in enumerate(kept))
    assert kept == sorted(kept)


@needs_data
def test_words_are_lucenes() -> None:
    golden = json.loads((DATA / "analyzer_golden.json").read_text("utf-8"))
    assert [english(row["text"]) for row in golden] == [row["tokens"] for row in golden]


@needs_data
def test_rankings_are_lucenes_up_to_ties() -> None:
    documents, golden = rows("documents_1000.jsonl.gz"), rows("bm25_golden_123.jsonl.gz")
    index = Index([row["contents"] for row in documents])
    same = 0
    for row in golden:
        found = index.search(row["query"], 50)
        right = dict(map(tuple, row["hits"]))
        ours = [documents[position]["id"] for position, _ in found[:10]]
        same += ours == list(right)[:10]
        assert [right[each] for each in ours] == pytest.approx(list(right.values())[:10], abs=1e-4), row["query"]
        assert [score for _, score in found] == pytest.approx(list(right.values()), abs=5e-4)
    assert (same, len(golden)) == (121, 123)
