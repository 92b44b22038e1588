"""Builds `<domain>/train.json` and `<domain>/test.json` from the templates in `templates/<domain>.py`.

    python tasks/sciknoweval/build.py [FOLDER]

Every template gives two questions that differ in their numbers. All randomness is seeded by the template's name, or by
the domain's for the split and the letters, so a second run writes the same bytes.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from templates import biology, chemistry, material, physics
from templates.question import Question, Template, is_clear

from sdpo_envs.sciknoweval import SYSTEM

HERE = Path(__file__).resolve().parent
TEMPLATES: dict[str, tuple[Template, ...]] = {
    "biology": biology.TEMPLATES,
    "chemistry": chemistry.TEMPLATES,
    "material": material.TEMPLATES,
    "physics": physics.TEMPLATES,
}
DRAWS = 2
TEST_ROWS = 10


def main() -> None:
    """Write every domain into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Build the bundled questions of science.")
    parser.add_argument("folder", nargs="?", type=Path, default=HERE, help="where to write (default: beside this file)")
    folder = parser.parse_args().folder
    for domain, templates in TEMPLATES.items():
        rng = Random(domain)
        questions = [question for template in templates for question in draw(template)]
        rows = list(enumerate(questions))
        rng.shuffle(rows)
        write(folder / domain / "train.json", rows[TEST_ROWS:], rng)
        write(folder / domain / "test.json", rows[:TEST_ROWS], rng)


def draw(template: Template) -> list[Question]:
    """Draw different questions from `template`, passing over those with options that are too close."""
    rng = Random(f"{template.__module__}.{template.__name__}")
    drawn: list[Question] = []
    while len(drawn) < DRAWS:
        question = template(rng)
        if is_clear(question) and question not in drawn:
            drawn.append(question)
    return drawn


def write(path: Path, rows: Sequence[tuple[int, Question]], rng: Random) -> None:
    """Write rows of (idx, question), one JSON object per line, with the right letters in balance."""
    path.parent.mkdir(parents=True, exist_ok=True)
    letters = {count: deal("ABCD"[:count], len(rows), rng) for count in (2, 4)}
    lines = [json.dumps(record(idx, question, letters[1 + len(question.wrong)].pop(), rng)) for idx, question in rows]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")


def deal(letters: str, count: int, rng: Random) -> list[str]:
    """Return `count` letters, each as often as the others, in random order within every round."""
    rounds = -(-count // len(letters))
    return [letter for _ in range(rounds) for letter in rng.sample(letters, len(letters))][:count]


def record(idx: int, question: Question, letter: str, rng: Random) -> dict[str, Any]:
    """Return `question` as a row of SDPO's data, with the right option at `letter` and one column more, `worked`."""
    texts = rng.sample(question.wrong, len(question.wrong))
    texts.insert("ABCD".index(letter), question.right)
    options = "\n".join(f"{each}: {text}" for each, text in zip("ABCD", texts, strict=False))
    return {
        "idx": idx,
        "kind": "mcq",
        "dataset": "sciknoweval",
        "answer": letter,
        "elo": 1500,
        "prompt": f"{question.text}\n\n{options}\nPlease reason step by step.",
        "description": f"{question.text} The solution will be evaluated in a mcq environment.",
        "tests": "-",
        "embedding": [],
        "system": SYSTEM,
        "worked": f"{question.worked} The answer is {letter}: {question.right}",
    }


if __name__ == "__main__":
    main()
