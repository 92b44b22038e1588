"""Sampling: what a row draws is its own, as frequent as it is likely, and what is scored afterwards."""

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PROMPTS, STOPS, Row, always, answered, assert_same, family, small

from sdpo_agent import Conversation, Policy, Turn
from sdpo_agent.draw import draw as drawn_from
from sdpo_agent.draw import noise as noise_of

ASKED = [PROMPTS[row % 3] + [5 + row] * (row % 5) for row in range(24)]


@pytest.fixture(scope="module")
def policy() -> Policy:
    return small()


@pytest.fixture(scope="module")
def brief() -> Policy:
    """Many tokens end an action, so that the rows of a batch end at different times."""
    policy = small()
    policy.model.generation_config.eos_token_id = STOPS
    return Policy(policy.model, policy.tokenizer, "cpu")


@pytest.fixture
def own() -> Policy:
    """A policy that a test may change."""
    return small()


def draw(policy: Policy, rows: Sequence[int], temperature: float = 1.5) -> list[Row]:
    return policy.sample([ASKED[row] for row in rows], 30, temperature, [100 + row for row in rows])


def misfit(drawn: Sequence[int], probabilities: torch.Tensor) -> float:
    """How many standard deviations chi-square lies above its mean; rare categories are taken together."""
    expected = probabilities.double() * len(drawn)
    counts = torch.bincount(torch.tensor(drawn), minlength=len(expected)).double()
    often = expected >= 5
    expected, counts = (torch.cat([each[often], each[~often].sum()[None]]) for each in (expected, counts))
    return float((((counts - expected) ** 2 / expected).sum() - often.sum()) / (2 * often.sum()).sqrt())


# --- what a row draws is its own


def batches(policy: Policy) -> list[int]:
    """Record how many rows the model is asked for at each step."""
    sizes: list[int] = []
    policy.model.register_forward_pre_hook(
        lambda _, __, keywords: sizes.append(len(keywords["input_ids"])), with_kwargs=True
    )
    return sizes


def test_finished_rows_leave_the_batch(own: Policy) -> None:
    own.model.generation_config.eos_token_id = STOPS
    brief = Policy(own.model, own.tokenizer, "cpu")
    sizes = batches(brief)
    rows = draw(brief, range(24))
    assert len(set(sizes)) >= 4
    assert len(sizes) == max(len(ids) for ids, _ in rows)  # nothing is computed for nobody
    sizes[0] = 24  # equal prompts may be read together
    for step, (before, size) in enumerate(itertools.pairwise(sizes), start=1):
        running = sum(len(ids) > step for ids, _ in rows)
        assert running <= size <= before
        assert size < 2 * running  # never do finished rows make up half of what is computed


def test_equal_prompts_are_read_once(own: Policy) -> None:
    sizes = batches(own)
    together = own.sample([PROMPTS[0], PROMPTS[1], PROMPTS[0], PROMPTS[0]], 5, 1.5, [1, 2, 3, 4])
    assert sizes[:2] == [2, 4]
    assert_same(together, [own.sample([PROMPTS[row == 1]], 5, 1.5, [1 + row])[0] for row in range(4)])


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "gemma3"])
def test_a_row_draws_the_same_alone_as_among_rows_that_end_at_other_times(name: str) -> None:
    policy = family(name)
    together = draw(policy, range(24))
    assert len({len(ids) for ids, _ in together}) >= 5
    assert_same(together, [draw(policy, [row])[0] for row in range(24)])


@given(rows=st.permutations(range(24)).flatmap(lambda order: st.integers(1, 24).map(lambda count: order[:count])))
@settings(max_examples=15)
def test_a_row_draws_the_same_in_any_company_and_order(brief: Policy, rows: list[int]) -> None:
    everybody = draw(brief, range(24))
    assert_same(draw(brief, rows), [everybody[row] for row in rows])


@pytest.mark.parametrize("row", range(3))
def test_company_changes_nothing_at_temperature_zero_either(policy: Policy, row: int) -> None:
    together = policy.sample(PROMPTS, 20, 0, [1, 2, 3])
    assert_same(policy.sample([PROMPTS[row]], 20, 0, [9]), [together[row]])


def test_equal_seeds_after_equal_prompts_draw_equally_and_others_otherwise(policy: Policy) -> None:
    one, same, other = policy.sample([PROMPTS[0]] * 3, 20, 2.0, [7, 7, 8])
    assert_same([one], [same])
    assert other[0] != one[0]
    assert len({tuple(ids) for ids, _ in policy.sample([PROMPTS[0]] * 8, 20, 2.0, range(8))}) == 8


def test_sampling_leaves_the_global_generator_alone(policy: Policy) -> None:
    before = torch.get_rng_state()
    policy.sample(PROMPTS, 5, 1.0, [1, 2, 3])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63 - 1])
def test_every_seed_that_episodes_use_is_one(policy: Policy, seed: int) -> None:
    assert_same(policy.sample([PROMPTS[0]], 5, 1.0, [seed]), policy.sample([PROMPTS[0]], 5, 1.0, [seed]))


# --- as frequent as it is likely


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_logprobs_of_the_sampling_are_those_of_the_scoring(brief: Policy, temperature: float) -> None:
    rows = draw(brief, range(24), temperature)
    scored = brief.logprobs([answered(ASKED[row], ids) for row, (ids, _) in enumerate(rows)], temperature)
    drawn = torch.tensor([logprob for _, logprobs in rows for logprob in logprobs])
    torch.testing.assert_close(scored, drawn, atol=1e-4, rtol=0)


def test_sampled_tokens_are_as_frequent_as_they_are_likely(policy: Policy) -> None:
    rows = policy.sample([PROMPTS[0]] * 6000, 2, 1.0, range(6000))
    firsts = [ids[0] for ids, _ in rows]
    (first, count), *_ = Counter(firsts).most_common(1)
    seconds = [ids[1] for ids, _ in rows if ids[0] == first and len(ids) > 1]
    assert count > 200
    for prompt, drawn in ((PROMPTS[0], firsts), ([*PROMPTS[0], first], seconds)):
        with torch.no_grad():
            probabilities = policy.core(torch.tensor([prompt])).logits[0, -1].softmax(-1)
        assert abs(misfit(drawn, probabilities)) < 4
        assert abs(misfit(drawn, probabilities.roll(1))) > 10  # the test can tell


def test_temperature_zero_is_the_limit_of_low_temperatures(policy: Policy) -> None:
    greedy = policy.sample(PROMPTS, 20, 0, [1, 2, 3])
    cold = policy.sample(PROMPTS, 20, 1e-4, [4, 5, 6])
    assert [ids for ids, _ in greedy] == [ids for ids, _ in cold]
    assert all(logprob == 0 for _, logprobs in greedy for logprob in logprobs)


def test_greedy_actions_are_the_likeliest_tokens(policy: Policy) -> None:
    greedy = policy.sample(PROMPTS, 6, 0, [1, 2, 3])
    scripts = [answered(prompt, ids) for prompt, (ids, _) in zip(PROMPTS, greedy, strict=True)]
    likeliest = policy.scores(scripts).logits(slice(None)).argmax(-1)
    assert likeliest.tolist() == [token for ids, _ in greedy for token in ids]


# --- one draw

LAST = 1 - 2**-53
"""The highest number that the noise can be."""


def drawn(logits: Sequence[float], noise: float, temperature: float = 1.0) -> int:
    token, _ = drawn_from(torch.tensor([logits]), temperature, torch.tensor([noise], dtype=torch.float64))
    return int(token)


@given(
    logits=st.lists(st.floats(-200, 200, width=32) | st.just(-torch.inf), min_size=1, max_size=40),
    noise=st.floats(0, LAST) | st.sampled_from([0.0, 2**-53, 0.5, LAST]),
    temperature=st.sampled_from([0.1, 1.0, 7.0]),
)
@settings(max_examples=300)
def test_what_has_no_probability_is_never_drawn(logits: list[float], noise: float, temperature: float) -> None:
    if max(logits) == -torch.inf:
        logits = [*logits, 0.0]
    logprobs = (torch.tensor(logits) / temperature).log_softmax(-1)
    assert logprobs[drawn(logits, noise, temperature)] > -104  # from there on float32 knows no probability but 0


@pytest.mark.parametrize("ends", [[-torch.inf], [-1e30], [-torch.inf] * 9])
def test_the_first_and_the_last_likely_token_stand_at_the_ends_of_the_noise(ends: list[float]) -> None:
    logits = [*ends, 0.0, *ends, 0.3, *ends, 0.1, *ends]
    assert drawn(logits, 0.0) == len(ends)
    assert drawn(logits, LAST) == 3 * len(ends) + 2


def test_noise_spread_evenly_is_tokens_spread_as_is_likely() -> None:
    logits = torch.randn(50, generator=torch.Generator().manual_seed(0)) * 2
    noise = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    tokens, logprobs = drawn_from(logits.expand(20_000, -1), 1.5, noise)
    expected = (logits / 1.5).log_softmax(-1)
    torch.testing.assert_close(
        tokens.bincount(minlength=50) / 20_000, expected.exp(), atol=1 / 20_000, rtol=1e-5, check_dtype=False
    )
    torch.testing.assert_close(logprobs, expected[tokens])


def test_at_temperature_zero_the_noise_says_nothing() -> None:
    assert {drawn([0.0, 3.0, 2.0], noise, 0) for noise in (0.0, 0.5, LAST)} == {1}
    assert drawn([-torch.inf, 1.0], 0.5, 0) == 1


def test_noise_is_that_of_its_seed_and_spread_evenly() -> None:
    assert torch.equal(noise_of(3, 50), noise_of(3, 50))
    many = torch.cat([noise_of(seed, 4) for seed in range(1000)])
    assert many.dtype == torch.float64
    assert 0 <= many.min() < 0.002
    assert 0.998 < many.max() < 1
    assert float(many.mean()) == pytest.approx(0.5, abs=0.02)
    assert len(many.unique()) == 4000


# --- where an action ends


def say(policy: Policy, max_tokens: int) -> Turn:
    (turn,) = policy.write([Conversation("Say it.", "Be brief.")], max_tokens=max_tokens, temperature=0, seeds=[0])
    return turn


def test_an_action_ends_with_its_end_token_and_its_text_without(own: Policy) -> None:
    turn = say(always(own, 4), 10)
    assert turn == Turn("Say it.", "", token_ids=(4,), logprobs=(0.0,), cut_short=False, system="Be brief.")


def test_an_action_without_an_end_token_is_cut_short(own: Policy) -> None:
    (letter,) = own.tokenizer.encode("a")
    turn = say(always(own, letter), 10)
    assert turn == Turn("Say it.", "a" * 10, (letter,) * 10, (0.0,) * 10, cut_short=True, system="Be brief.")


def test_an_action_that_ends_on_its_last_token_is_not_cut_short(own: Policy) -> None:
    assert not say(always(own, 4), 1).cut_short


def test_an_action_that_is_no_text_keeps_its_tokens(own: Policy) -> None:
    (broken,) = own.tokenizer.convert_tokens_to_ids(["Ã"])  # the first byte of a letter of two
    turn = say(always(own, broken), 3)
    assert turn.token_ids == (broken,) * 3
    assert turn.action == "\ufffd" * 3


def test_rows_end_one_by_one(brief: Policy) -> None:
    asked = [Conversation(str(row)) for row in range(40)]
    turns = brief.write(asked, max_tokens=12, temperature=3.0, seeds=range(40))
    assert len({len(turn.token_ids) for turn in turns}) > 5
    assert {turn.cut_short for turn in turns} == {True, False}
    for turn, conversation in zip(turns, asked, strict=True):
        assert turn.observation == conversation.observation
        assert turn.cut_short == (not brief.chat.stop_ids & set(turn.token_ids))
        assert turn.cut_short <= (len(turn.token_ids) == 12)
        assert not brief.chat.stop_ids & set(turn.token_ids[:-1])
        assert len(turn.token_ids) == len(turn.logprobs)


def test_the_model_is_not_asked_again_once_all_rows_have_ended(own: Policy) -> None:
    sizes = batches(always(own, 4))
    own.sample(PROMPTS, 10, 0, [1, 2, 3])
    assert sizes == [3]


def test_the_model_is_not_asked_for_what_nobody_draws(own: Policy) -> None:
    (letter,) = own.tokenizer.encode("a")
    sizes = batches(always(own, letter))
    own.sample(PROMPTS, 4, 0, [1, 2, 3])
    assert sizes == [3] * 4


def test_all_end_tokens_of_the_generation_settings_end_an_action(own: Policy) -> None:
    own.model.generation_config.eos_token_id = [9, 11]
    both = Policy(own.model, own.tokenizer, "cpu")
    assert both.chat.stop_ids == {4, 9, 11}
    assert say(always(both, 11), 10).token_ids == (11,)


def test_a_model_without_an_end_token_is_cut_short(own: Policy) -> None:
    own.model.generation_config.eos_token_id = None
    own.tokenizer.eos_token = None
    endless = Policy(own.model, own.tokenizer, "cpu")
    assert endless.chat.stop_ids == frozenset()
    assert say(endless, 3).cut_short


def test_a_conversation_is_read_whole_before_the_next_action(policy: Policy) -> None:
    first = say(policy, 5)
    asked = Conversation("And again.", "Be brief.", (first,))
    (turn,) = policy.write([asked], max_tokens=5, temperature=2.0, seeds=[3])
    scored = policy.logprobs([policy.chat.script([first, turn])], 2.0)
    assert scored[-len(turn.token_ids) :].tolist() == pytest.approx(turn.logprobs, abs=1e-4)
    assert policy.sample([policy.chat.context_ids(asked)], 5, 2.0, [3])[0][0] == list(turn.token_ids)
