"""The tokenizer of small policies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from sdpo_agent.small import byte_tokenizer

TEXTS = ["return x[10:12], 1010 1010 1010 turn head turn head"] * 50


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_tokenizer(TEXTS, 320)


@pytest.mark.parametrize("text", ["1010", "return x[10:12]", " 1010 1010", "f('102938')"])
def test_a_digit_is_a_token_of_its_own(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    tokens = tokenizer.convert_ids_to_tokens(tokenizer.encode(text))
    assert [token for token in tokens if any(map(str.isdigit, token))] == [each for each in text if each.isdigit()]


def test_words_that_are_said_often_are_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer.encode("return")) == 1
    assert len(tokenizer.encode(" head")) == 1


@given(text=st.text(st.characters(exclude_categories=("Cs",))))
def test_every_text_is_read_back(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text), clean_up_tokenization_spaces=False) == text
