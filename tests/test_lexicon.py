"""Lexicons and worlds: what is drawn, of what, and that it is drawn again alike."""

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from sdpo_envs import SettingError, microcode, microtool
from sdpo_envs.lexicon import LEVELS, PRIOR, SETTLED, SPLITS, Lexicon, Request, guess, requests, settle

LEXICONS = {"microcode": microcode.LEXICON, "microtool": microtool.LEXICON}
each_lexicon = pytest.mark.parametrize("lexicon", LEXICONS.values(), ids=LEXICONS)
each_level = pytest.mark.parametrize("level", LEVELS)
WORLDS = (0, 1, 5, 2**31 - 1)


def drawn(lexicon: Lexicon, world: int = 0, split: str = "train", level: str = "mixed") -> list[Request]:
    return requests(lexicon, world=world, split=split, level=level)


def sets_of_words(said: list[Request]) -> list[frozenset[str]]:
    return [frozenset(request.words) for request in said]


def meanings(*said: list[Request]) -> dict[str, set[int]]:
    """By word: all readings that it has in these."""
    found: dict[str, set[int]] = {}
    for request in itertools.chain(*said):
        for word, place in zip(request.words, request.readings, strict=True):
            found.setdefault(word, set()).add(place)
    return found


# Lexicons


@pytest.mark.parametrize("shares", [PRIOR, SETTLED])
def test_shares_are_a_distribution_the_likeliest_first(shares: tuple[float, ...]) -> None:
    assert math.isclose(sum(shares), 1.0)
    assert sorted(shares, reverse=True) == [*shares]
    assert min(shares) > 0


@each_lexicon
def test_every_word_has_four_readings_no_two_alike(lexicon: Lexicon) -> None:
    for word, readings in lexicon.items():
        assert len(set(readings)) == len(readings) == len(PRIOR) == len(SETTLED), word


# Splits and levels


@each_lexicon
@each_level
@pytest.mark.parametrize("world", WORLDS)
def test_no_two_requests_of_a_world_have_the_same_words(lexicon: Lexicon, level: str, world: int) -> None:
    said = sets_of_words(drawn(lexicon, world, "train", level) + drawn(lexicon, world, "test", level))
    assert len(set(said)) == len(said)


@each_lexicon
@each_level
@pytest.mark.parametrize("world", WORLDS)
def test_a_request_has_different_words_that_the_lexicon_knows(lexicon: Lexicon, level: str, world: int) -> None:
    for request in drawn(lexicon, world, "train", level) + drawn(lexicon, world, "test", level):
        assert len(set(request.words)) == len(request.words) == len(request.readings)
        assert set(request.words) <= lexicon.keys()


@each_lexicon
@pytest.mark.parametrize("world", WORLDS)
def test_a_world_has_settled_on_one_reading_for_all_its_splits_and_levels(lexicon: Lexicon, world: int) -> None:
    said = [drawn(lexicon, world, split, level) for split in ("train", "test") for level in LEVELS]
    assert all(len(places) == 1 for places in meanings(*said).values())


@each_lexicon
@pytest.mark.parametrize(("split", "number"), [("train", 96), ("test", 128), ("warm", 2048)])
def test_a_split_has_its_number_of_requests(lexicon: Lexicon, split: str, number: int) -> None:
    assert len(drawn(lexicon, 3, split)) == number


@each_lexicon
@pytest.mark.parametrize("level", ["hard", "very-hard"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_harder_level_has_64(lexicon: Lexicon, split: str, level: str) -> None:
    assert len(drawn(lexicon, 3, split, level)) == 64


@each_lexicon
@pytest.mark.parametrize(
    ("split", "level", "sizes"),
    [
        ("train", "mixed", {1, 2, 3}),
        ("test", "mixed", {2, 3}),
        ("warm", "mixed", {1, 2, 3, 4}),
        ("train", "hard", {2, 3, 4}),
    ],
)
def test_a_split_has_requests_of_its_sizes(lexicon: Lexicon, split: str, level: str, sizes: set[int]) -> None:
    assert {len(request.words) for request in drawn(lexicon, 1, split, level)} == sizes


@each_lexicon
@each_level
@pytest.mark.parametrize("world", WORLDS)
def test_the_chance_of_a_guess_lies_within_the_bounds_of_its_level(lexicon: Lexicon, level: str, world: int) -> None:
    low, high = LEVELS[level]
    for request in drawn(lexicon, world, "train", level) + drawn(lexicon, world, "test", level):
        assert low <= request.chance <= high


@each_lexicon
@pytest.mark.parametrize("world", range(3))
def test_what_is_tested_can_be_learned_in_training(lexicon: Lexicon, world: int) -> None:
    """In these worlds; in one of a dozen others a word is never said in training."""
    trained, tested = meanings(drawn(lexicon, world)), meanings(drawn(lexicon, world, "test"))
    assert trained == tested
    assert trained.keys() == lexicon.keys()


@each_lexicon
def test_the_warm_split_knows_every_word_and_settles_on_nothing(lexicon: Lexicon) -> None:
    found = meanings(drawn(lexicon, 0, "warm"))
    assert found.keys() == lexicon.keys()
    assert all(places == {0, 1, 2, 3} for places in found.values())


@each_lexicon
def test_the_warm_split_has_readings_as_often_as_the_prior_says(lexicon: Lexicon) -> None:
    places = [place for request in drawn(lexicon, 4, "warm") for place in request.readings]
    shares = np.bincount(places, minlength=4) / len(places)
    assert np.abs(shares - PRIOR).max() < 4 * math.sqrt(0.25 / len(places))


def test_a_world_settles_on_unlikely_readings_more_often_than_the_prior() -> None:
    lexicon = {str(word): ("a", "b", "c", "d") for word in range(20_000)}
    places = [*settle(lexicon, np.random.default_rng(0), SETTLED).values()]
    assert np.bincount(places) / len(places) == pytest.approx(SETTLED, abs=4 * math.sqrt(0.25 / len(places)))


# The same again, or not


@each_lexicon
@pytest.mark.parametrize("split", SPLITS)
def test_the_same_world_is_drawn_again_and_another_number_is_another_world(lexicon: Lexicon, split: str) -> None:
    assert drawn(lexicon, 7, split) == drawn(lexicon, 7, split)
    several = [tuple((each.words, each.readings) for each in drawn(lexicon, world, split)) for world in range(6)]
    assert len(set(several)) == len(several)


@each_lexicon
def test_neighbouring_worlds_settle_differently(lexicon: Lexicon) -> None:
    settled = [meanings(drawn(lexicon, world), drawn(lexicon, world, "test")) for world in range(6)]
    for one, other in itertools.combinations(settled, 2):
        alike = sum(one[word] == other[word] for word in lexicon)
        assert alike < 0.6 * len(lexicon)  # by chance 0.28


@each_lexicon
def test_two_warm_lists_have_little_in_common(lexicon: Lexicon) -> None:
    one, other = ({(each.words, each.readings) for each in drawn(lexicon, world, "warm")} for world in (0, 1))
    longer = {each for each in one if len(each[0]) > 2}
    assert longer
    assert len(longer & other) < 0.02 * len(longer)


@each_lexicon
def test_every_request_has_a_name_of_its_own(lexicon: Lexicon) -> None:
    said = [drawn(lexicon, world, split) for world in (0, 1) for split in SPLITS]
    said += [drawn(lexicon, 0, split, level) for split in ("train", "test") for level in ("hard", "very-hard")]
    assert max(Counter(request.name for request in itertools.chain(*said)).values()) == 1


# What is refused


@pytest.mark.parametrize("world", [-1, 1.0, "0", None, True], ids=repr)
def test_a_world_that_is_no_natural_number_is_refused(world: Any) -> None:
    with pytest.raises(SettingError, match="it is an int from 0 on"):
        drawn(microtool.LEXICON, world)


def test_another_split_or_level_is_refused() -> None:
    with pytest.raises(SettingError, match=r"split='tset' is not offered; did you mean 'test'"):
        drawn(microtool.LEXICON, split="tset")
    with pytest.raises(SettingError, match=r"level='veryhard' is not offered; did you mean 'very-hard'"):
        drawn(microtool.LEXICON, level="veryhard")


def test_the_warm_split_has_no_harder_level() -> None:
    with pytest.raises(SettingError, match="level='hard' is not offered for the split 'warm'; leave it out"):
        drawn(microtool.LEXICON, split="warm", level="hard")


# Guesses


def test_the_chance_is_that_of_all_readings_together() -> None:
    assert Request("", ("a",), (0,)).chance == PRIOR[0]
    assert Request("", ("a", "b", "c"), (1, 3, 1)).chance == pytest.approx(0.25 * 0.08 * 0.25)


def test_a_guess_draws_each_reading_as_often_as_the_prior_says() -> None:
    request, rng = Request("", ("a", "b"), (3, 3)), np.random.default_rng(0)
    drawn = np.array([guess(request, rng) for _ in range(4000)])
    for place, share in enumerate(PRIOR):
        assert (drawn == place).mean(axis=0) == pytest.approx(share, abs=0.03)
    joint = ((drawn == 0).all(axis=1)).mean()
    assert joint == pytest.approx(PRIOR[0] ** 2, abs=0.03)


def test_who_knows_everything_is_right_and_who_knows_half_is_right_more_often() -> None:
    request, rng = Request("", ("a",), (3,)), np.random.default_rng(0)
    assert {guess(request, rng, 1.0) for _ in range(200)} == {(3,)}
    half = np.mean([guess(request, rng, 0.5) == (3,) for _ in range(4000)])
    assert half == pytest.approx(0.5 + 0.5 * PRIOR[3], abs=0.03)


def test_a_guess_depends_on_its_generator_alone() -> None:
    request = Request("", ("a", "b", "c", "d"), (0, 1, 2, 3))
    one, same = ([guess(request, np.random.default_rng(5), 0.3) for _ in range(3)] for _ in range(2))
    assert one == same
    assert len({guess(request, np.random.default_rng(seed)) for seed in range(30)}) > 5
