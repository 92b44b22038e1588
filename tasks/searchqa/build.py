"""Builds `corpus.jsonl`, `train.jsonl` and `test.jsonl` from `world.toml`.

    python tasks/searchqa/build.py [FOLDER]

A generator with a fixed seed makes up a country, its people, towns, rivers, firms, books and so on, whose years agree
with one another; each thing gets a passage that tells what it is linked to, in sentences chosen from `world.toml`. A
passage tells only of its own thing, so a question over two facts needs two passages. A second run writes the same
bytes.
"""

import argparse
import json
import random
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SEED = 20261128
WORLD = tomllib.loads((HERE / "world.toml").read_text("utf-8"))
NAMES, THINGS = WORLD["names"], WORLD["things"]
OLD_TOWNS, SETTLERS, PEOPLE = 10, 34, 112
QUESTIONS = {"train": 60, "test": 30}
"""Questions of one hop in each split; there are as many of two."""
ARTICLE = {"river", "structure", "prize", "festival", "ship", "invention"}
PAIRED = {"company": ["product"], "festival": ["custom", "month"], "invention": ["use"], "opera": ["plot"]}
"""What goes with a name of that kind and no other."""
SHORTEST_PASSAGE = 46
"""Words, before names are filled in."""


@dataclass(frozen=True)
class Fact:
    """A value: how a sentence says it, and what is right when it is asked for."""

    text: str
    answers: tuple[str, ...]


@dataclass(eq=False)
class Thing:
    """What a passage is about. Its facts are texts, `Fact`s, or other things."""

    kind: str
    name: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What it is called in a sentence."""
        return f"the {self.name}" if self.kind in ARTICLE else self.name

    @property
    def answers(self) -> tuple[str, ...]:
        """What is right when it is asked for."""
        prefix = {"river": "River ", "mountain": "Mount "}.get(self.kind, "")
        return (self.name, self.name.removeprefix(prefix)) if prefix else (self.name,)


class World:
    """Things by kind, made in the order of their years."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.things: dict[str, list[Thing]] = defaultdict(list)
        self._names = {kind: rng.sample(names, len(names)) for kind, names in NAMES.items()}
        self._decks: dict[str, list[str]] = {}
        self._land()
        self._people()
        self._academies()
        self._training()
        self._works()

    def _land(self) -> None:
        for _ in NAMES["mountain"]:
            height = _measure(self.rng.randrange(612, 3980), "metres", "m")
            self._add("mountain", prefix="Mount ", region=self._deal("region"), height=height)
        for mountain in self.things["mountain"]:
            self._add(
                "river",
                prefix="River ",
                region=mountain.facts["region"],
                source=mountain,
                mouth=_fact(self._deal("mouth")),
                length=_measure(self.rng.randrange(41, 690), "kilometres", "km"),
                fish=self._deal("fish"),
            )

    def _people(self) -> None:
        for _ in range(OLD_TOWNS):
            self._town(year=self.rng.randrange(1130, 1420))
        settled = sorted(self.rng.randrange(1530, 1640) for _ in range(SETTLERS))
        later = sorted(self.rng.randrange(1640, 1925) for _ in range(PEOPLE - SETTLERS))
        for year in [*settled, *later]:
            town = self.rng.choice([town for town in self.things["town"] if _year(town) < year])
            person = self._person(year, town)
            if year in settled and len(self.things["town"]) < len(NAMES["town"]):
                self._town(founder=person, year=year + self.rng.randrange(22, 45))

    def _town(self, year: int, founder: Thing | None = None) -> None:
        river = self.rng.choice(self.things["river"])
        people = _fact(f"{self.rng.randrange(410, 38000):,}")
        town = self._add("town", region=river.facts["region"], river=river, people=people, craft=self._deal("craft"))
        town.facts["year"] = _fact(str(year))
        if founder:
            town.facts["founder"] = founder

    def _person(self, year: int, town: Thing) -> Thing:
        woman = self.rng.random() < 0.5
        first, last = self._deal("she" if woman else "he"), self._deal("last")
        while any(each.name == f"{first} {last}" for each in self.things["person"]):
            last = self._deal("last")
        person = Thing("person", f"{first} {last}")
        pronouns = ("She", "she", "Her", "her", "her") if woman else ("He", "he", "His", "his", "him")
        person.facts = dict(zip(("She", "she", "Her", "her", "her_"), pronouns, strict=True)) | {
            "born": town,
            "year": _fact(str(year)),
            "end": str(year + self.rng.randrange(61, 93)),
            "where": town.facts["region"],
            "short": last,
            "profession": self._deal("profession"),
            "keepsake": self._deal("keepsake"),
        }
        self.things["person"].append(person)
        return person

    def _academies(self) -> None:
        for _ in NAMES["academy"]:
            founder = self.rng.choice([each for each in self.things["person"] if _year(each) < 1790])
            facts = {"teaching": self._deal("teaching"), "pupils": str(self.rng.randrange(12, 90))}
            self._add("academy", founder=founder, year=self._work_year(founder), town=self._town_of(), **facts)

    def _training(self) -> None:
        people = self.things["person"]
        for person in people:
            elder = [each for each in people if 15 <= _year(person) - _year(each) <= 50]
            alike = [each for each in elder if each.facts["profession"] == person.facts["profession"]]
            schools = [school for school in self.things["academy"] if _year(school) < _year(person) + 16]
            if elder and self.rng.random() < 0.75:
                person.facts["teacher"] = self.rng.choice(alike or elder)
            if schools and self.rng.random() < 0.75:
                person.facts["academy"] = self.rng.choice(schools)

    def _works(self) -> None:
        for mountain in self.things["mountain"]:
            climber = self.rng.choice(self._people_for("climber"))
            mountain.facts |= {"climber": climber, "year": self._work_year(climber)}
        for _ in NAMES["company"]:
            founder, staff = self.rng.choice(self._people_for("founder")), str(self.rng.randrange(19, 940))
            year, seat = self._work_year(founder), self._town_of()
            self._add("company", founder=founder, year=year, seat=seat, staff=staff)
        self._made("book", "author", "printer", subject=self._deal, genre=self._deal)
        self._made("structure", "architect", town=self._town_of, material=self._deal, cost=self._cost)
        self._made("invention", "inventor", "maker")
        self._made("opera", "composer", "singer", town=self._town_of)
        self._made("ship", "captain", "builder", port=self._town_of, cargo=self._deal)
        self._made("prize", "honours", "first", town=self._town_of, merit=self._deal)
        self._made("festival", "honours", town=self._town_of)

    def _made(self, kind: str, by: str, other: str = "", **facts: Callable[[str], Any]) -> None:
        """Add things by somebody, or in memory of somebody, and of somebody else or a firm who was there by then."""
        for _ in NAMES[kind]:
            there: list[Thing] = []
            while not there:
                person = self.rng.choice(self._people_for(by))
                year = self._year_after(person) if by == "honours" else self._work_year(person)
                there = self._there(other, int(year.text)) if other else [person]
            dealt = {name: draw(name) for name, draw in facts.items()}
            self._add(kind, **{by: person}, **({other: self.rng.choice(there)} if other else {}), year=year, **dealt)

    def _people_for(self, role: str) -> list[Thing]:
        professions = WORLD["roles"].get(role, THINGS["profession"])
        return [
            each for each in self.things["person"] if _year(each) >= 1640 and each.facts["profession"] in professions
        ]

    def _there(self, role: str, year: int) -> list[Thing]:
        """Who could do it in that year: people of age, or firms that had been founded."""
        people = [each for each in self._people_for(role) if 20 <= year - _year(each) <= 55]
        firms = [each for each in self.things["company"] if each.facts["product"] in WORLD["roles"].get(role, ())]
        return people + [each for each in firms if _year(each) < year]

    def _add(self, kind: str, prefix: str = "", **facts: Any) -> Thing:
        name = self._names[kind].pop()
        paired = {each: THINGS[each][NAMES[kind].index(name)] for each in PAIRED.get(kind, ())}
        thing = Thing(kind, prefix + name, facts | paired)
        self.things[kind].append(thing)
        return thing

    def _deal(self, deck: str) -> str:
        """Draw without putting back, and shuffle again when all are drawn."""
        if not self._decks.get(deck):
            cards = (NAMES if deck in NAMES else THINGS)[deck]
            self._decks[deck] = self.rng.sample(cards, len(cards))
        return self._decks[deck].pop()

    def _town_of(self, name: str = "") -> Thing:
        return self.rng.choice(self.things["town"])

    def _cost(self, name: str) -> str:
        return f"{self.rng.randrange(3, 190) * 500:,}"

    def _work_year(self, person: Thing) -> Fact:
        """A year in which the person was of age."""
        return _fact(str(_year(person) + self.rng.randrange(24, 58)))

    def _year_after(self, person: Thing) -> Fact:
        return _fact(str(int(person.facts["end"]) + self.rng.randrange(2, 40)))


def passage(thing: Thing, rng: random.Random) -> str:
    """Tell what is known of a thing, in 40 to 100 words."""
    says = WORLD["says"][thing.kind]
    words = {name: getattr(value, "text", value) for name, value in thing.facts.items()}
    words |= {"x": thing.name if thing.kind != "river" else thing.text, "X": _capital(thing.text)}
    words |= {_capital(name): _capital(words[name]) for name in ("river", "product") if name in words}
    if founder := thing.facts.get("founder"):
        words["their"] = founder.facts["her"]
    if profession := thing.facts.get("profession"):
        words["a"] = "an" if profession[0] in "aeiou" else "a"
    told = [name for name in says if name not in ("open", "colour", "year", "old") and name in thing.facts]
    told += ["year"] if "year" in says else []
    told += ["old"] if thing.kind == "town" and "founder" not in thing.facts else []
    rng.shuffle(told)
    colours = rng.sample(says["colour"], len(says["colour"]))
    sentences = [rng.choice(says[name]) for name in ["open", *told]] + [colours.pop()]
    while sum(len(sentence.split()) for sentence in sentences) < SHORTEST_PASSAGE:
        sentences.insert(rng.randrange(2, len(sentences) + 1), colours.pop())
    return " ".join(sentence.format_map(words) for sentence in sentences)


def questions(world: World, texts: dict[str, str], rng: random.Random) -> dict[str, list[dict[str, Any]]]:
    """Return the questions of each split, half of one hop and half of two; no subject and no fact is used twice."""
    splits: dict[str, list[dict[str, Any]]] = {split: [] for split in QUESTIONS}
    used: set[object] = set()
    for steps in (1, 2):
        chains = [chain for chain in _chains(world, steps) if _sound(chain, texts)]
        rng.shuffle(chains)
        for split, count in QUESTIONS.items():
            for chain in _varied(chains, used, count):
                splits[split].append(_question(chain, rng))
    return {split: [{"id": f"{split}_{n}"} | row for n, row in enumerate(rows)] for split, rows in splits.items()}


Chain = tuple[tuple[Thing, str], ...]
"""Steps from a thing by one of its facts; the last fact is the answer."""


def _chains(world: World, steps: int) -> Iterator[Chain]:
    for things in world.things.values():
        for thing in things:
            for fact, value in thing.facts.items():
                if steps == 1 and fact in WORLD["asks"].get(thing.kind, ()):
                    yield ((thing, fact),)
                if steps == 2 and fact in WORLD["describes"].get(thing.kind, ()) and isinstance(value, Thing):
                    yield from (
                        ((thing, fact), (value, last)) for last in WORLD["asks"][value.kind] if last in value.facts
                    )


def _sound(chain: Chain, texts: dict[str, str]) -> bool:
    """Whether the answer is read where the chain ends, and nowhere beside what the chain begins with."""
    subject, (last, fact) = chain[0][0], chain[-1]
    answer = last.facts[fact].answers[0]
    together = [name for name, text in texts.items() if subject.name in f"{name} {text}" and answer in f"{name} {text}"]
    return together == ([last.name] if len(chain) == 1 else []) and answer in texts[last.name]


def _varied(chains: Sequence[Chain], used: set[object], count: int) -> list[Chain]:
    """Take `count` chains, in turn from each pattern of kinds and facts, with subjects and facts not `used` yet."""
    patterns: dict[Any, list[Chain]] = defaultdict(list)
    for chain in chains:
        patterns[tuple((thing.kind, fact) for thing, fact in chain)].append(chain)
    taken: list[Chain] = []
    for chain in (each for turn in zip_longest(*patterns.values()) for each in turn if each):
        if len(taken) == count:
            break
        if not used & {chain[0][0], chain[-1]}:
            used |= {chain[0][0], chain[-1]}
            taken.append(chain)
    assert len(taken) == count, f"only {len(taken)} of {count} questions could be made"
    return taken


def _question(chain: Chain, rng: random.Random) -> dict[str, Any]:
    (subject, first), (last, fact) = chain[0], chain[-1]
    described = subject.text
    if len(chain) == 2:
        described = rng.choice(WORLD["describes"][subject.kind][first]).format(x=subject.text)
    question = rng.choice(WORLD["asks"][last.kind][fact]).format(x=described)
    more = {
        "hops": len(chain),
        "supporting": [thing.name for thing, _ in chain],
        "searches": [f"{thing.text} {fact}" for thing, fact in chain],
    }
    return {"question": question, "golden_answers": list(last.facts[fact].answers), "metadata": more}


def _fact(text: str) -> Fact:
    return Fact(text, (text,))


def _measure(number: int, unit: str, short: str) -> Fact:
    return Fact(f"{number:,} {unit}", (f"{number:,} {unit}", f"{number:,} {short}", f"{number:,}"))


def _year(thing: Thing) -> int:
    return int(thing.facts["year"].text)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def main() -> None:
    """Write the three files into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Build the bundled passages and questions.")
    parser.add_argument("folder", nargs="?", type=Path, default=HERE, help="where to write (default: beside this file)")
    folder = parser.parse_args().folder
    rng = random.Random(SEED)
    world = World(rng)
    things = [thing for kind in world.things.values() for thing in kind]
    texts = {thing.name: passage(thing, rng) for thing in things}
    assert len(texts) == len(things), "two things have one name"
    shuffled = rng.sample(list(texts), len(texts))
    corpus = [{"id": str(n), "contents": f"{_capital(name)}\n{texts[name]}"} for n, name in enumerate(shuffled)]
    for name, rows in {"corpus": corpus, **questions(world, texts, rng)}.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, "utf-8", newline="\n")


if __name__ == "__main__":
    main()
