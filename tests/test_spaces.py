import copy
import json
import pickle

import gymnasium
import pytest
from gymnasium.vector.utils import batch_space
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs import FreeText


@given(st.text(st.characters(codec=None)))
def test_every_string_is_free_text(text: str) -> None:
    assert text in FreeText()


@pytest.mark.parametrize("text", ["", "\ud800", "\0", "naïve 日本 ✓", "x" * 1_000_000], ids=ascii)
def test_awkward_strings_are_free_text(text: str) -> None:
    assert text in FreeText()


@pytest.mark.parametrize("other", [None, 1, b"text", ["text"], ("text",)])
def test_what_is_not_a_string_is_not_free_text(other: object) -> None:
    assert other not in FreeText()


def test_all_free_text_is_equal_and_nothing_else_is() -> None:
    assert FreeText(seed=1) == FreeText(seed=2)
    assert FreeText() != gymnasium.spaces.Text(10)
    assert FreeText() != "FreeText()"


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_repeats_its_samples(seed: int) -> None:
    first, second = FreeText(seed), FreeText()
    second.seed(seed)
    samples = [first.sample() for _ in range(20)]
    assert samples == [second.sample() for _ in range(20)]
    assert all(sample in first for sample in samples)
    assert len(set(samples)) > 10


def test_samples_include_the_empty_string_and_awkward_characters() -> None:
    space = FreeText(seed=0)
    samples = [space.sample() for _ in range(1000)]
    assert "" in samples
    assert any("\0" in sample for sample in samples)


def test_a_copy_goes_on_with_the_same_samples() -> None:
    space = FreeText(seed=3)
    space.sample()
    for twin in (copy.deepcopy(space), pickle.loads(pickle.dumps(space))):
        assert twin.sample() == copy.deepcopy(space).sample()


@pytest.mark.parametrize("arguments", [{"mask": ("yes",)}, {"probability": (1.0,)}])
def test_masks_and_probabilities_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(gymnasium.error.Error, match="without them"):
        FreeText().sample(**arguments)  # type: ignore[arg-type]


def test_a_batch_of_free_text_holds_a_string_per_slot() -> None:
    batch = batch_space(FreeText(), 3)
    assert batch.sample() in batch
    assert ("a", "", "naïve") in batch
    assert ("a", "b") not in batch


def test_samples_survive_json() -> None:
    space = FreeText(seed=0)
    samples = [space.sample() for _ in range(50)]
    assert space.from_jsonable(json.loads(json.dumps(space.to_jsonable(samples)))) == samples


def test_free_text_says_that_it_cannot_be_flattened() -> None:
    assert FreeText().is_np_flattenable is False
    with pytest.raises(ValueError, match="cannot be flattened"):
        gymnasium.spaces.flatdim(FreeText())


def test_the_repr_makes_an_equal_space() -> None:
    assert eval(repr(FreeText())) == FreeText()
