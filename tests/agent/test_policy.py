"""The policy: how it scores, what it refuses, how it is made, copied and saved."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PROMPTS, SCRIPTS, SIZE, answered, assert_same, bare, close, small
from transformers.utils import logging

from sdpo_agent import Conversation, Policy
from sdpo_agent.chat import Script
from sdpo_agent.policy import pad

NOTHING = Script((40, 41, 42), ())
"""Nothing was written in it."""


@pytest.fixture(scope="module")
def policy() -> Policy:
    return small()


@pytest.fixture(scope="module")
def short() -> Policy:
    """A policy that reads ten positions."""
    return small(max_positions=10)


@pytest.fixture
def own() -> Policy:
    """A policy that a test may change."""
    return small()


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Any tokens, any of which but the first may have been written."""
    ids = draw(st.lists(st.integers(0, 260), min_size=1, max_size=12))
    written = draw(st.sets(st.integers(1, len(ids) - 1))) if len(ids) > 1 else set()
    return Script(tuple(ids), tuple(sorted(written)))


def apart(policy: Policy, batch: Sequence[Script], temperature: float = 1.0) -> torch.Tensor:
    """Score each on its own."""
    return torch.cat([policy.logprobs([script], temperature) for script in batch])


# --- scoring


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_scores_are_those_of_the_bare_model_without_padding(policy: Policy, temperature: float) -> None:
    expected = torch.cat([bare(policy, script, temperature) for script in SCRIPTS])
    torch.testing.assert_close(policy.logprobs(SCRIPTS, temperature), expected, atol=1e-5, rtol=0)
    whole = policy.scores(SCRIPTS, temperature)
    assert (len(whole), whole.vocabulary) == (8, 261)
    written = torch.tensor([token for script in SCRIPTS for token in script.written_ids])
    spelled = whole.logits(slice(0, 8)).log_softmax(-1)[range(8), written]
    torch.testing.assert_close(spelled, expected, atol=1e-5, rtol=0)


@given(batch=st.lists(scripts(), min_size=1, max_size=4))
@settings(max_examples=40)
def test_a_script_scores_the_same_alone_and_in_a_batch(policy: Policy, batch: list[Script]) -> None:
    together = policy.logprobs(batch)
    assert len(together) == sum(len(script.written) for script in batch)
    torch.testing.assert_close(together, apart(policy, batch), atol=1e-4, rtol=0)
    torch.testing.assert_close(together, torch.cat([bare(policy, script) for script in batch]), atol=1e-4, rtol=0)


def test_what_stands_after_a_token_or_beside_it_does_not_change_its_score(policy: Policy) -> None:
    (first, *_), longer = SCRIPTS, answered([9] * 30, [8] * 30)
    alone = policy.logprobs([first])
    torch.testing.assert_close(policy.logprobs([first, longer])[:2], alone, atol=1e-5, rtol=0)
    extended = Script((*first.token_ids, 99, 98, 97), first.written)
    torch.testing.assert_close(policy.logprobs([extended]), alone, atol=1e-5, rtol=0)


def test_what_was_said_between_is_read_and_not_scored(policy: Policy) -> None:
    """Two turns: 40 41 | 70 71 | 50 51 | 80 81, where the second and the last were written."""
    turns = Script((40, 41, 70, 71, 50, 51, 80, 81), (2, 3, 6, 7))
    one, other, both = (Script(turns.token_ids, span) for span in ((2, 3), (6, 7), turns.written))
    torch.testing.assert_close(policy.logprobs([both]), apart(policy, [one, other]))
    for changed in range(6):  # whatever stands before the last action changes its score, also what was written
        ids = list(turns.token_ids)
        ids[changed] += 1
        difference = (policy.logprobs([Script(tuple(ids), (6, 7))]) - policy.logprobs([other])).abs()
        assert difference.max() > 1e-3


@pytest.mark.parametrize("number", [1, 3])
def test_scripts_in_which_nothing_was_written_have_no_scores(own: Policy, number: int) -> None:
    logprobs = own.logprobs([NOTHING] * number)
    assert logprobs.shape == (0,)
    logprobs.sum().backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is None or not weight.grad.any() for weight in own.trainable())


def test_a_script_in_which_nothing_was_written_takes_no_place_among_others(policy: Policy) -> None:
    mixed = [NOTHING, SCRIPTS[0], NOTHING, SCRIPTS[1]]
    torch.testing.assert_close(policy.logprobs(mixed), policy.logprobs(SCRIPTS[:2]), atol=1e-5, rtol=0)


def gradients(policy: Policy, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, policy.trainable(), materialize_grads=True, allow_unused=True))


@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_gradients_are_those_of_the_bare_model(own: Policy, temperature: float) -> None:
    batch = [*SCRIPTS, NOTHING, Script((40, 41, 70, 71, 50, 51, 80, 81), (2, 3, 6, 7))]
    weights = torch.linspace(-1, 2, 12)
    ours = gradients(own, (own.logprobs(batch, temperature) * weights).sum())
    reference = torch.cat([bare(own, script, temperature) for script in batch])
    theirs = gradients(own, (reference * weights).sum())
    assert len(ours) == len(list(own.model.parameters())) > 20
    for mine, expected in zip(ours, theirs, strict=True):
        assert expected.any()
        torch.testing.assert_close(mine, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def test_the_gradient_of_a_batch_is_the_sum_of_its_rows(own: Policy) -> None:
    together = gradients(own, own.logprobs(SCRIPTS).sum())
    rows = [gradients(own, own.logprobs([script]).sum()) for script in SCRIPTS]
    for batch, *each in zip(together, *rows, strict=True):
        assert batch.isfinite().all()
        torch.testing.assert_close(batch, sum(each), rtol=1e-3, atol=1e-4 * float(batch.abs().max()))


def test_a_step_along_the_gradient_makes_an_action_likelier(own: Policy) -> None:
    optimizer = torch.optim.SGD(own.trainable(), lr=1e-3)
    before = own.logprobs(SCRIPTS)
    (-before.mean()).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert own.logprobs(SCRIPTS).sum() > before.sum()


def test_without_gradients_nothing_is_kept_for_them(policy: Policy) -> None:
    with torch.no_grad():
        assert not policy.logprobs(SCRIPTS).requires_grad
    assert policy.logprobs(SCRIPTS).requires_grad


# --- limits


def asked(tokens: int) -> Conversation:
    """A conversation that is read as so many tokens."""
    return Conversation("a" * (tokens - 3))


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (
            lambda short: short.sample([[1], [1] * 8], 3, 1.0, [0, 1]),
            "Row 1 has 8 tokens and an action of up to 3 more, .* reads 10 positions",
        ),
        (
            lambda short: short.write([asked(8)], max_tokens=3, temperature=1.0, seeds=[0]),
            "Row 0 has 8 tokens and .* 3 more",
        ),
        (lambda short: short.scores([SCRIPTS[2], Script((1,) * 11, (4,))]), "Row 1 has 11 tokens and .* 0 more"),
        (lambda short: short.sample([[1], []], 3, 1.0, [0, 1]), "Prompt 1 is empty"),
        (lambda short: short.logprobs([Script((), ())]), "Prompt 0 is empty"),
        (lambda short: short.logprobs([SCRIPTS[2], Script((1, 2, 3), (0, 1))]), "cannot be scored"),
        (lambda short: short.sample([[1]], 0, 1.0, [0]), "max_tokens=0 must be at least 1"),
        (lambda short: short.scores([SCRIPTS[2]], 0), "temperature=0 must be positive"),
        (lambda short: short.logprobs([SCRIPTS[2]], -1.0), r"temperature=-1\.0 must be positive"),
    ],
)
def test_what_does_not_fit_is_an_error_that_says_so(short: Policy, use: Callable[[Policy], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        use(short)


def test_what_just_fits_is_no_error_though_the_batch_is_wide(short: Policy) -> None:
    wide = [answered([1] * 9, [3]), answered([2], [4] * 9)]
    torch.testing.assert_close(short.logprobs(wide), apart(short, wide), atol=1e-5, rtol=0)
    ids, _ = short.sample([[1] * 7], 3, 1.0, [0])[0]
    assert 1 <= len(ids) <= 3


@pytest.mark.parametrize(("tokens", "room", "fits"), [(7, 3, True), (8, 3, False), (9, 1, True), (10, 1, False)])
def test_fits_says_beforehand_what_write_will_refuse(short: Policy, tokens: int, room: int, fits: bool) -> None:
    assert len(short.chat.context_ids(asked(tokens))) == tokens
    assert short.fits(asked(tokens), room) is fits
    if fits:
        assert len(short.write([asked(tokens)], max_tokens=room, temperature=1.0, seeds=[0])) == 1
    else:
        with pytest.raises(ValueError, match="positions"):
            short.write([asked(tokens)], max_tokens=room, temperature=1.0, seeds=[0])


# --- making, copying, saving


def test_a_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, same, other = (list(Policy.small(seed=seed, **SIZE).model.parameters()) for seed in (3, 3, 4))
    assert all(map(torch.equal, first, same))
    assert not all(map(torch.equal, first, other))


def test_making_a_policy_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    Policy.small(**SIZE)
    assert torch.equal(before, torch.get_rng_state())


def test_texts_make_sequences_shorter_and_the_same_texts_the_same_tokenizer() -> None:
    said = ["the cat sat on the mat\n\n"] * 9
    merged, again = (Policy.small(texts=said, vocab_size=300, **SIZE) for _ in range(2))
    assert len(merged.tokenizer.encode("the cat sat on the mat")) < len("the cat sat on the mat") / 3
    assert again.tokenizer.get_vocab() == merged.tokenizer.get_vocab()


def test_a_copy_is_equal_and_apart(own: Policy) -> None:
    teacher = own.copy()
    assert close(teacher.logprobs(SCRIPTS), own.logprobs(SCRIPTS))
    assert [weight.requires_grad for weight in teacher.model.parameters()] == [True] * len(own.trainable())
    before = own.logprobs(SCRIPTS).detach()
    with torch.no_grad():
        for weight in teacher.model.parameters():
            weight.add_(1)
    assert close(own.logprobs(SCRIPTS), before)
    assert not close(teacher.logprobs(SCRIPTS), before)


def test_without_adapters_what_is_merged_is_the_weights_themselves(policy: Policy) -> None:
    assert policy.adapters == {}
    merged = list(policy.merged())
    assert len(merged) == len(list(policy.copy().model.parameters()))
    assert all(map(torch.equal, merged, policy.copy().model.parameters()))
    assert not any(weight.requires_grad for weight in merged)
    with policy.without_adapters():
        assert close(policy.logprobs(SCRIPTS), policy.logprobs(SCRIPTS))


def test_a_saved_policy_is_loaded_as_it_was(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path)
    loaded = Policy.load(tmp_path, device="cpu")
    said = [{"role": "user", "content": "é?"}]
    assert loaded.chat.prompt_ids(said) == policy.chat.prompt_ids(said)
    assert loaded.chat.stop_ids == policy.chat.stop_ids
    assert loaded.max_positions == policy.max_positions == 4096
    assert_same(loaded.sample(PROMPTS, 20, 1.0, [1, 2, 3]), policy.sample(PROMPTS, 20, 1.0, [1, 2, 3]))


@pytest.mark.parametrize("shown", [True, False])
def test_saving_leaves_the_progress_bars_as_they_were(policy: Policy, tmp_path: Path, shown: bool) -> None:
    before = logging.is_progress_bar_enabled()
    try:
        (logging.enable_progress_bar if shown else logging.disable_progress_bar)()
        policy.save(tmp_path)
        assert logging.is_progress_bar_enabled() is shown
    finally:
        (logging.enable_progress_bar if before else logging.disable_progress_bar)()


def test_restoring_takes_up_the_weights_that_were_saved(own: Policy, tmp_path: Path) -> None:
    before = own.logprobs(SCRIPTS).detach()
    own.save(tmp_path)
    weights = own.trainable()
    with torch.no_grad():
        for weight in weights:
            weight.mul_(0.5)
    assert not close(own.logprobs(SCRIPTS), before)
    own.restore(tmp_path)
    assert close(own.logprobs(SCRIPTS), before)
    assert all(mine is theirs for mine, theirs in zip(own.trainable(), weights, strict=True))  # an optimizer holds them


def test_weights_may_be_of_half_precision_while_logits_stay_float32(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path)
    half = Policy.load(tmp_path, device="cpu", dtype=torch.bfloat16)
    assert {weight.dtype for weight in half.model.parameters()} == {torch.bfloat16}
    assert half.scores(SCRIPTS).logits(slice(None)).dtype == torch.float32
    torch.testing.assert_close(half.logprobs(SCRIPTS), policy.logprobs(SCRIPTS), atol=0.15, rtol=0)
    assert len(half.sample(PROMPTS, 5, 1.0, [1, 2, 3])) == 3


def test_pad_fills_the_side_that_is_asked_for() -> None:
    left, left_mask = pad([[1, 2], [3]], left=True)
    right, right_mask = pad([[1], [2, 3]])
    assert left.tolist() == [[1, 2], [0, 3]]
    assert left_mask.tolist() == [[True, True], [False, True]]
    assert right.tolist() == [[1, 0], [2, 3]]
    assert right_mask.tolist() == [[True, False], [True, True]]
