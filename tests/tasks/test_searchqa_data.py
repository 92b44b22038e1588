"""The bundled passages and questions: found, answered by what is found, in need of every hop, and built again."""

import importlib.util
import json
import re
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sdpo_envs import Task
from sdpo_envs.exactmatch import normalised
from sdpo_envs.passages import Library
from sdpo_envs.searchqa import SearchQA

FOLDER = Path(__file__).parents[2] / "tasks" / "searchqa"
NAMES = ("corpus", "train", "test")
FILES = {name: list(map(json.loads, (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines())) for name in NAMES}
QUESTIONS = [pytest.param(row, id=row["id"]) for split in ("train", "test") for row in FILES[split]]
TEXTS = {contents.partition("\n")[0]: contents for contents in (row["contents"] for row in FILES["corpus"])}
each_question = pytest.mark.parametrize("row", QUESTIONS)


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(FOLDER / "corpus.jsonl")


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_searchqa", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def supporting(row: dict[str, Any]) -> list[str]:
    """Return the contents of the passages that support the answer, in the order of the hops."""
    return [TEXTS[name[:1].upper() + name[1:]] for name in row["metadata"]["supporting"]]


def holds(text: str, words: str) -> bool:
    return f" {normalised(words)} " in f" {normalised(text)} "


def titles(library: Library, query: str) -> list[str]:
    return [passage.title for passage in library.search(query, 3)]


def test_there_are_enough_passages_of_forty_to_a_hundred_words_each_about_its_own_thing() -> None:
    assert len(FILES["corpus"]) == len(TEXTS) == len({row["id"] for row in FILES["corpus"]}) >= 300
    lengths = [len(contents.partition("\n")[2].split()) for contents in TEXTS.values()]
    assert 40 <= min(lengths) <= max(lengths) <= 100


def test_half_of_the_questions_have_two_hops_in_either_split() -> None:
    hops = {split: Counter(row["metadata"]["hops"] for row in FILES[split]) for split in ("train", "test")}
    assert hops == {"train": {1: 60, 2: 60}, "test": {1: 30, 2: 30}}


def test_no_question_no_subject_and_no_fact_is_asked_for_twice() -> None:
    rows = FILES["train"] + FILES["test"]
    assert (
        len({row["question"] for row in rows}) == len({row["metadata"]["supporting"][0] for row in rows}) == len(rows)
    )
    assert len({row["metadata"]["searches"][-1] for row in rows}) == len(rows)


@each_question
def test_the_answer_stands_in_the_last_passage_and_not_in_the_question(row: dict[str, Any]) -> None:
    texts = supporting(row)
    assert len(texts) == row["metadata"]["hops"]
    assert holds(texts[-1], row["golden_answers"][0])
    assert not any(holds(row["question"], answer) for answer in row["golden_answers"])


@each_question
def test_the_passages_are_found_by_the_searches_that_are_given(row: dict[str, Any], library: Library) -> None:
    for search, contents in zip(row["metadata"]["searches"], supporting(row), strict=True):
        assert contents.partition("\n")[0] in titles(library, search)


def test_the_question_itself_finds_the_first_passage_often_and_the_last_of_two_seldom(library: Library) -> None:
    rows = FILES["train"] + FILES["test"]
    found = [[text.partition("\n")[0] in titles(library, row["question"]) for text in supporting(row)] for row in rows]
    assert sum(each[0] for each in found) > 0.95 * len(rows)
    assert sum(all(each) for each in found if len(each) == 2) < 0.1 * len(rows)


@each_question
def test_a_second_hop_is_needed(row: dict[str, Any]) -> None:
    """The question names what it begins with, not what is in between, and no one passage holds both of its ends."""
    subject, between = row["metadata"]["supporting"][0], row["metadata"]["supporting"][1:]
    assert subject in row["question"]
    for name in between:
        assert name in supporting(row)[0]
        assert name not in row["question"]
    together = [text for text in TEXTS.values() if subject in text and row["golden_answers"][0] in text]
    assert len(together) == (0 if between else 1)


def test_sentences_vary() -> None:
    """Without names and numbers no two passages are made of the same sentences, and few sentences are common."""
    shapes = [re.sub(r"[A-Z0-9][\w',-]*", "_", text.partition("\n")[2]) for text in TEXTS.values()]
    assert len(set(shapes)) > 0.99 * len(shapes)
    sentences = Counter(sentence for shape in shapes for sentence in re.split(r"(?<=\.) ", shape))
    assert len(sentences) > 600
    assert sentences.most_common(1)[0][1] < 0.1 * len(shapes)


def test_articles_fit_the_words_after_them() -> None:
    assert not [text for text in TEXTS.values() if re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiouhAEIOU]", text)]


def test_patterns_of_questions_vary() -> None:
    rows = FILES["train"] + FILES["test"]
    searched = [tuple(search.rpartition(" ")[2] for search in row["metadata"]["searches"]) for row in rows]
    assert len(set(searched)) > 60


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_walkthrough_finds_its_answer_and_earns_one(split: Any) -> None:
    env = SearchQA(split=split)
    for task in env.tasks:
        env.reset(options={"task_id": task.id})
        *searches, last = env.walkthrough(task)
        assert len(searches) == task.meta["hops"]
        for action in searches:
            shown, _, ended, _, info = env.step(action)
            assert (ended, info["valid"], str(info["feedback"])) == (False, True, "")
        assert _shown(shown, task)
        assert env.step(last)[1] == 1.0


def _shown(observation: str, task: Task) -> bool:
    return holds(observation, task.answer.golden[0])


def test_what_stands_in_no_passage_is_nobodys_answer() -> None:
    """Answers that recur, such as small sets of names, could be guessed: no one is right for more than a few."""
    common = Counter(row["golden_answers"][0] for row in FILES["train"] + FILES["test"]).most_common(1)
    assert common[0][1] <= 6


def test_building_again_writes_the_same_bytes(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["build.py", str(tmp_path)])
    build.main()
    for name in NAMES:
        assert (tmp_path / f"{name}.jsonl").read_bytes() == (FOLDER / f"{name}.jsonl").read_bytes()


def test_the_folder_says_where_it_comes_from_and_under_which_licence() -> None:
    assert "python tasks/searchqa/build.py" in (FOLDER / "SOURCE").read_text("utf-8")
    assert "Apache License, Version 2.0" in (FOLDER / "LICENSE").read_text("utf-8")
    assert f"{len(TEXTS)} passages" in (FOLDER / "SOURCE").read_text("utf-8")
