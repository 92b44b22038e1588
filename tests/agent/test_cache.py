"""What is read once for many: keys and values with room to grow, and beginnings that scripts share."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import small

from sdpo_agent import Policy
from sdpo_agent.cache import is_plain, make_cache, spread
from sdpo_agent.chat import Script, families

PROMPT = tuple(range(40, 60))


@pytest.fixture(scope="module")
def policy() -> Policy:
    return small()


def answer(prompt: tuple[int, ...], *tokens: int) -> Script:
    return Script((*prompt, *tokens), tuple(range(len(prompt), len(prompt) + len(tokens))))


def calls(policy: Policy, scripts: list[Script]) -> list[tuple[int, int]]:
    """Score, and return the shape of each batch of tokens that the model read."""
    shapes: list[tuple[int, int]] = []
    hook = policy.core.get_decoder().embed_tokens.register_forward_pre_hook(
        lambda _, inputs: shapes.append(tuple(inputs[0].shape))
    )
    policy.scores(scripts)
    hook.remove()
    return shapes


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=8), st.data())
@settings(max_examples=200)
def test_families_hold_each_script_once_and_share_what_they_say(prompts: list[list[int]], data: st.DataObject) -> None:
    scripts = [answer(tuple(prompt), *data.draw(st.lists(st.integers(0, 2), max_size=3))) for prompt in prompts]
    found = families(scripts)
    assert sorted(number for numbers, _ in found for number in numbers) == list(range(len(scripts)))
    for numbers, shared in found:
        members = [scripts[number] for number in numbers]
        assert len({script.token_ids[:shared] for script in members}) == 1
        contexts = [min(script.written, default=len(script.token_ids)) for script in members]
        assert shared == 0 or (shared < min(contexts) and len(members) > 1)
        assert shared == 0 or 2 * shared >= contexts[-1], "who joined last shares half of what it reads"


def test_attempts_at_one_prompt_are_a_family_and_loners_are_read_together() -> None:
    scripts = [answer(PROMPT, 1), answer(PROMPT, 2, 3), answer((7, 8), 1), answer((9,), 2), answer((*PROMPT, 5), 4)]
    assert families(scripts) == [([0, 1], 19), ([2, 3, 4], 0)]
    assert families(scripts[:2] + scripts[4:]) == [([0, 1, 2], 19)]
    assert families([]) == []


def test_a_short_script_does_not_cost_a_family_what_it_shares() -> None:
    scripts = [answer(PROMPT, 1), answer(PROMPT, 2), answer(PROMPT[:5], 3)]
    assert families(scripts) == [([0, 1], 19), ([2], 0)]


def test_what_a_family_shares_is_read_once(policy: Policy) -> None:
    scripts = [answer(PROMPT, 1, 2), answer(PROMPT, 3), answer(PROMPT, 4, 5, 6), answer((7, 8), 1)]
    assert calls(policy, scripts) == [(1, 19), (3, 4), (1, 3)]


@given(lengths=st.lists(st.integers(0, 4), min_size=2, max_size=6), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_sharing_changes_neither_the_scores_nor_their_gradients(policy: Policy, lengths: list[int], seed: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    scripts = [answer(PROMPT, *torch.randint(0, 200, (length,), generator=dice).tolist()) for length in lengths]
    scripts.insert(1, answer((*PROMPT[:15], 3, 4), 5, 6))
    results = []
    for batches in ([scripts], [[script] for script in scripts]):
        policy.model.zero_grad()
        logprobs_N = torch.cat([policy.logprobs(batch) for batch in batches])
        logprobs_N.square().sum().backward()  # type: ignore[no-untyped-call]
        results.append((logprobs_N.detach(), torch.cat([weight.grad.flatten() for weight in policy.trainable()])))
    (together, gradient), (apart, expected) = results
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=0)
    assert float((gradient - expected).norm()) <= 1e-4 * float(expected.norm()) + 1e-6


def test_a_cache_grows_into_its_room_without_being_copied(policy: Policy) -> None:
    roomy, plain = make_cache(policy.core.config, room=6), make_cache(policy.core.config)
    assert is_plain(plain)
    storages = []
    for start, end in ((0, 4), (4, 5), (5, 6), (6, 8)):
        ids = torch.tensor([list(PROMPT[start:end])] * 2)
        outputs = [
            policy.core(input_ids=ids, use_cache=True, **{policy._cache: each}).logits for each in (roomy, plain)
        ]
        torch.testing.assert_close(outputs[0], outputs[1], atol=1e-4, rtol=0)
        storages.append(roomy.layers[0].keys.untyped_storage().data_ptr())
    assert storages[1] == storages[2] == storages[3]
    assert roomy.get_seq_length() == plain.get_seq_length() == 8


def test_a_cache_makes_more_room_when_it_is_full_and_after_its_rows_were_chosen(policy: Policy) -> None:
    roomy, plain = make_cache(policy.core.config, room=1), make_cache(policy.core.config)
    ids = torch.tensor([PROMPT[:4], PROMPT[4:8]])
    for step in range(5):
        outputs = [
            policy.core(input_ids=ids, use_cache=True, **{policy._cache: each}).logits for each in (roomy, plain)
        ]
        torch.testing.assert_close(outputs[0], outputs[1], atol=1e-4, rtol=0)
        ids = torch.tensor([[step], [step + 9]])
        if step == 2:
            for each in (roomy, plain):
                each.reorder_cache(torch.tensor([1, 0, 1]))
            ids = torch.tensor([[1], [2], [3]])
        elif step > 2:
            ids = torch.tensor([[step], [7], [8]])


def test_rows_share_what_was_read_without_a_copy(policy: Policy) -> None:
    cache = make_cache(policy.core.config)
    policy.core(input_ids=torch.tensor([PROMPT]), use_cache=True, **{policy._cache: cache})
    held = cache.layers[0].keys.untyped_storage().data_ptr()
    spread(cache, 5)
    assert cache.layers[0].keys.shape[0] == 5
    assert cache.layers[0].keys.untyped_storage().data_ptr() == held
