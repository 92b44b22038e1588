"""Written tokens end to end, against a plain loop over samples and turns, and the arithmetic of tallies."""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sdpo_agent.attempt import Sample, Turn
from sdpo_agent.losses import Aggregation, token_share
from sdpo_agent.tokens import Tally, Tokens, add, lay_out, sampled_logprobs, tally_of

CPU = torch.device("cpu")
aggregations = pytest.mark.parametrize("how", ["token-mean", "sequence-mean", "length-mean", "released"])


def turn(*ids: int, logprobs: Sequence[float] | None = None) -> Turn:
    said = tuple(logprobs) if logprobs is not None else tuple(-token / 8 for token in ids)
    return Turn("asked", "said", ids, said)


ONE = Sample((turn(5, 6, 7),), advantages=(0.5,), policy_weight=1.0)
TAUGHT = Sample((turn(8), turn(9, 10)), (-1.0, -0.5), hindsight="so", teacher_weight=0.75, policy_weight=0.25)
FORGETFUL = replace(
    TAUGHT,
    turns=(turn(11, 12), turn(13), turn(14, 15)),
    advantages=(-1.0, 0.0, 2.0),
    forgotten=2,
    reference_weight=0.125,
)


def laid_out(*samples: Sample, shares: Sequence[float] | None = None) -> Tokens:
    return lay_out(samples, shares or [1.0] * len(samples), CPU)


turns = st.lists(st.integers(0, 99), max_size=3).map(lambda ids: turn(*ids))
said_and_worth = st.lists(st.tuples(turns, st.sampled_from([0.0, 0.5, -1.0])), min_size=1, max_size=3)
samples = st.builds(
    lambda pairs, **settings: Sample(*map(tuple, zip(*pairs, strict=True)), **settings),
    said_and_worth,
    hindsight=st.sampled_from([None, "so"]),
    forgotten=st.integers(0, 2),
    policy_weight=st.sampled_from([0.0, 0.25, 1.0]),
    teacher_weight=st.sampled_from([0.0, 0.75]),
    reference_weight=st.sampled_from([0.0, 0.125]),
)
batches = st.lists(samples, min_size=1, max_size=5)


def rows(tokens: Tokens) -> list[tuple[float, ...]]:
    """One row per token."""
    return list(zip(*(getattr(tokens, field.name).tolist() for field in fields(tokens)), strict=True))


# --- lay_out


@given(batch=batches)
@settings(max_examples=50)
def test_the_tokens_are_those_of_a_plain_loop(batch: list[Sample]) -> None:
    shares = [0.5**number for number in range(len(batch))]
    expected = [
        (
            token,
            number,
            logprob,
            sample.advantages[place],
            share,
            sample.policy_weight * share,
            sample.teacher_weight * share,
            sample.reference_weight * share,
            sample.hindsight is not None and sample.teacher_weight > 0 and place >= sample.forgotten,
        )
        for number, (sample, share) in enumerate(zip(batch, shares, strict=True))
        for place, said in enumerate(sample.turns)
        for token, logprob in zip(said.token_ids, said.logprobs, strict=True)
    ]
    tokens = lay_out(batch, shares, CPU)
    assert [field.name for field in fields(tokens)][:2] == ["ids_N", "sequence_N"]
    assert rows(tokens) == expected
    assert len(tokens) == len(expected) == sum(sample.tokens for sample in batch)


def test_tokens_come_sample_by_sample_turn_by_turn() -> None:
    tokens = laid_out(ONE, FORGETFUL, TAUGHT)
    assert tokens.ids_N.tolist() == [5, 6, 7, 11, 12, 13, 14, 15, 8, 9, 10]
    assert tokens.sequence_N.tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2]


def test_each_number_has_the_type_that_a_loss_asks_for() -> None:
    tokens = laid_out(ONE, TAUGHT)
    types = {field.name: getattr(tokens, field.name).dtype for field in fields(tokens)}
    assert [name for name, dtype in types.items() if dtype == torch.long] == ["ids_N", "sequence_N"]
    assert [name for name, dtype in types.items() if dtype == torch.bool] == ["taught_N"]
    assert list(types.values()).count(torch.float32) == 6


def test_a_share_multiplies_each_weight_of_its_own_sample() -> None:
    tokens = laid_out(ONE, FORGETFUL, shares=[0.5, 4.0])
    assert tokens.policy_N.tolist() == [0.5] * 3 + [1.0] * 5
    assert tokens.teacher_N.tolist() == [0.0] * 3 + [3.0] * 5
    assert tokens.reference_N.tolist() == [0.0] * 3 + [0.5] * 5
    assert tokens.advantages_N.tolist() == [0.5] * 3 + [-1.0, -1.0, 0.0, 2.0, 2.0]


def test_token_weights_multiply_the_weights_of_each_token_and_nothing_else() -> None:
    weighed = replace(TAUGHT, token_weights=(0.5, 2.0, 0.0), reference_weight=1.0)
    plain, tokens = (laid_out(ONE, each, shares=[1.0, 0.5]) for each in (replace(weighed, token_weights=None), weighed))
    assert tokens.teacher_N.tolist() == [0, 0, 0, 0.1875, 0.75, 0]
    assert tokens.policy_N.tolist() == [1, 1, 1, 0.0625, 0.25, 0]
    assert tokens.reference_N.tolist() == [0, 0, 0, 0.25, 1, 0]
    for name in ("ids_N", "sequence_N", "old_logprobs_N", "advantages_N", "taught_N"):
        assert torch.equal(getattr(tokens, name), getattr(plain, name))


def test_turns_that_the_teacher_has_forgotten_are_not_taught() -> None:
    assert laid_out(FORGETFUL).taught_N.tolist() == [False, False, False, True, True]
    assert laid_out(replace(FORGETFUL, forgotten=0)).taught_N.all()
    assert not laid_out(replace(FORGETFUL, forgotten=3)).taught_N.any()


@pytest.mark.parametrize("change", [{"hindsight": None}, {"teacher_weight": 0.0}])
def test_without_hindsight_or_weight_nothing_is_taught(change: dict[str, float | None]) -> None:
    assert not laid_out(replace(TAUGHT, **change)).taught_N.any()  # type: ignore[arg-type]


def test_an_empty_hindsight_is_a_hindsight() -> None:
    assert laid_out(replace(TAUGHT, hindsight="")).taught_N.all()


def test_old_log_probabilities_are_the_samplers_unless_they_were_computed_anew() -> None:
    anew = replace(TAUGHT, old_logprobs=(-0.25, 0.0, -4.0))
    assert sampled_logprobs(TAUGHT) == (-1.0, -1.125, -1.25)
    assert laid_out(TAUGHT, anew).old_logprobs_N.tolist() == [-1.0, -1.125, -1.25, -0.25, 0.0, -4.0]


def test_a_sample_without_tokens_leaves_the_others_their_numbers() -> None:
    tokens = laid_out(ONE, Sample((turn(),), policy_weight=9.0), TAUGHT)
    assert tokens.sequence_N.tolist() == [0, 0, 0, 2, 2, 2]
    assert tokens.policy_N.tolist() == [1.0] * 3 + [0.25] * 3


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0, 1.0, 1.0)])
def test_weights_that_are_not_one_per_token_are_an_error(weights: tuple[float, ...]) -> None:
    with pytest.raises(RuntimeError):
        laid_out(replace(TAUGHT, token_weights=weights), ONE)


@given(batch=batches)
@settings(max_examples=30)
def test_some_tokens_are_taken_by_a_slice_or_a_mask_in_every_number_at_once(batch: list[Sample]) -> None:
    tokens = laid_out(*batch)
    assert rows(tokens[1:3]) == rows(tokens)[1:3]
    mask = tokens.ids_N % 2 == 0
    assert rows(tokens[mask]) == [row for row in rows(tokens) if row[0] % 2 == 0]
    assert len(tokens[mask]) == int(mask.sum())


# --- the mean that the shares make


def mean(batch: Sequence[Sample], how: Aggregation, cuts: Sequence[int] = ()) -> Tensor:
    """The mean of a loss over a mini-batch that is cut into micro-batches."""
    shares = [token_share(sample.tokens, how, 9) for sample in batch]
    total = sum(share for _, share in shares)
    edges = [0, *sorted(cuts), len(batch)]
    loss = torch.zeros((), dtype=torch.float64)
    for start, end in pairwise(edges):
        if start < end:
            parts = [weight / total for weight, _ in shares[start:end]]
            tokens = lay_out(batch[start:end], parts, CPU)
            loss += ((1 + tokens.ids_N).double() ** 2 * tokens.policy_N).sum()
    return loss


@aggregations
@given(batch=batches, cuts=st.lists(st.integers(0, 5), max_size=4))
@settings(max_examples=30)
def test_cutting_a_mini_batch_into_micro_batches_changes_no_mean(
    how: Aggregation, batch: list[Sample], cuts: list[int]
) -> None:
    batch = [sample for sample in batch if sample.tokens] or [ONE]
    whole, cut = mean(batch, how), mean(batch, how, [min(cut, len(batch)) for cut in cuts])
    assert cut.item() == pytest.approx(whole.item(), rel=1e-5)
    assert mean(batch[::-1], how).item() == pytest.approx(whole.item(), rel=1e-5)


def test_the_mean_is_over_tokens_or_over_sequences() -> None:
    short, long = Sample((turn(1),), policy_weight=1.0), Sample((turn(0, 0), turn(0)), policy_weight=1.0)
    expected = {"token-mean": 7 / 4, "sequence-mean": 5 / 2, "released": 5 / 2, "length-mean": 7 / 18}
    for how, value in expected.items():
        assert mean([short, long], how).item() == pytest.approx(value)  # type: ignore[arg-type]


# --- tallies

tallies = st.dictionaries(
    st.sampled_from("abc"),
    st.tuples(st.integers(-8, 8).map(float), st.integers(0, 8).map(float)),
)


@given(first=tallies, second=tallies)
def test_sums_and_counts_add_up_metric_by_metric(first: Tally, second: Tally) -> None:
    total = dict(first)
    add(total, second)
    assert set(total) == set(first) | set(second)
    for name, (value, count) in total.items():
        parts = [each[name] for each in (first, second) if name in each]
        assert (value, count) == (sum(part for part, _ in parts), sum(part for _, part in parts))


@given(first=tallies, second=tallies, third=tallies)
def test_tallies_add_up_in_any_order_and_are_added_in_place(first: Tally, second: Tally, third: Tally) -> None:
    ahead, back, kept = dict(first), dict(third), dict(second)
    for total, more in ((ahead, (second, third)), (back, (second, first))):
        for each in more:
            add(total, each)
    assert ahead == back
    assert second == kept


def test_a_metric_of_every_token_is_its_sum_and_its_count() -> None:
    assert tally_of("gap", torch.tensor([0.5, -2.0])) == {"gap": (-1.5, 2.0)}
    assert tally_of("clipped", torch.tensor([True, False, True])) == {"clipped": (2.0, 3.0)}
    assert tally_of("gap", torch.zeros(0)) == {"gap": (0.0, 0.0)}
    assert math.isnan(tally_of("gap", torch.tensor([1.0, math.nan]))["gap"][0])


def test_a_tally_holds_no_graph_and_loses_no_small_number() -> None:
    values = torch.full((2**15,), 0.1).requires_grad_()
    (total, count) = tally_of("gap", values)["gap"]
    assert type(total) is type(count) is float
    assert total == pytest.approx(2**15 * float(torch.tensor(0.1)), rel=1e-12)
