"""The head, against one log-softmax over everything in float64."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sdpo_agent import head as module
from sdpo_agent.head import Blend, Head, Hidden, Objective, Scores, chunks, gather, minimise, peek, pick
from sdpo_agent.losses import complete, divergence

N, D, V = 7, 5, 13
ALL = slice(None)
SHAPES: list[dict[str, float]] = [
    {},
    {"temperature": 0.7},
    {"scale": 0.25},
    {"cap": 2.0},
    {"temperature": 0.7, "scale": 0.25},
    {"temperature": 1.3, "scale": 3.0, "cap": 2.0},
]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(shape) or "plain")


@pytest.fixture(params=[1, V, 3 * V, 2**25], ids=["less-than-a-token", "a-token", "three-tokens", "all"])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of one token, or of three with a last one of one, or everything in one go."""
    monkeypatch.setattr(module, "CHUNK", request.param)


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


IDS = torch.arange(3 * N).reshape(N, 3) * 5 % V
WEIGHTS = normal(N, 3, seed=7)


def model(
    seed: int = 0,
    tokens: int = N,
    dtype: torch.dtype = torch.float32,
    bias: bool = True,
    size: tuple[int, int] = (D, V),
    **head: Any,
) -> Hidden:
    layer = nn.Linear(*size, bias=bias, dtype=dtype)
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=seed + number))
    return Hidden(normal(tokens, size[0], seed=100 + seed, dtype=dtype).requires_grad_(), Head(layer, **head))


def leaves(scores: Hidden) -> dict[str, Tensor]:
    return {"hidden": scores.hidden_ND, **dict(scores.head.layer.named_parameters())}


def wide(scores: Hidden) -> dict[str, Tensor]:
    return {name: leaf.detach().double().requires_grad_() for name, leaf in leaves(scores).items()}


def reference(head: Head, hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """All logits, in one expression."""
    logits = head.scale * (hidden @ weight.T if bias is None else hidden @ weight.T + bias)
    return (logits if math.isinf(head.cap) else head.cap * (logits / head.cap).tanh()) / head.temperature


def gradients(loss: Tensor, of: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(zip(of, torch.autograd.grad(loss, list(of.values())), strict=True))


def assert_close(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], within: float = 1e-5) -> None:
    """Compare with an error relative to the largest number of each tensor."""
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        mine, value = ours[name].detach().double(), value.detach().double()
        assert mine.shape == value.shape
        assert float((mine - value).abs().max()) <= within * float(value.abs().max()) + 1e-30, name


def check(scores: Hidden, objective: Objective, within: float = 1e-5) -> None:
    """Compare value and gradients with those of the objective of everything at once, in float64."""
    plain = wide(scores)
    theirs = objective(reference(scores.head, **plain), ALL)
    ours = minimise(scores, objective)
    assert ours.shape == ()
    assert_close({"loss": ours}, {"loss": theirs}, within)
    assert_close(gradients(ours, leaves(scores)), gradients(theirs, plain), within)


def moved(leaf: Tensor, by: Tensor, value: Callable[[], Tensor]) -> Tensor:
    """What the value is when a leaf is a little way off."""
    with torch.no_grad():
        leaf += by
        result = value()
        leaf -= by
    return result


def weighed(ids: Tensor = IDS, weights: Tensor = WEIGHTS) -> Objective:
    """Some log-probabilities of each token, each times a number of its own."""
    return lambda logits, at: (gather(logits, ids[at]) * weights[at].to(logits)).sum()


def towards(teacher: Scores, alpha: float = 0.5, clip: float | None = None) -> Objective:
    """The divergence from a teacher over the whole vocabulary."""

    def objective(logits: Tensor, at: slice) -> Tensor:
        with torch.no_grad():
            theirs = teacher.logits(at).to(logits)
        loss = divergence(logits.log_softmax(-1), theirs.log_softmax(-1), alpha, clip)
        return (loss * WEIGHTS[: len(teacher), 0][at].to(loss)).sum()

    return objective


# --- minimise


@shapes
@pytest.mark.usefixtures("chunk")
def test_loss_and_gradients_are_those_of_a_plain_log_softmax(shape: dict[str, float]) -> None:
    check(model(**shape), weighed())
    check(model(dtype=torch.float64, **shape), weighed(), within=1e-12)


@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.usefixtures("chunk")
def test_a_divergence_over_the_vocabulary_is_that_of_everything_in_one_go(alpha: float, clip: float | None) -> None:
    head = {"temperature": 0.7, "scale": 0.5, "cap": 4.0}
    check(model(**head), towards(model(10, **head), alpha, clip))
    check(model(dtype=torch.float64, **head), towards(model(10, dtype=torch.float64), alpha, clip), within=1e-12)


@pytest.mark.usefixtures("chunk")
def test_a_divergence_over_the_likeliest_is_that_of_everything_in_one_go() -> None:
    teacher = model(10)

    def objective(logits: Tensor, at: slice) -> Tensor:
        ids = logits.detach().topk(4).indices
        theirs = teacher.logits(at).detach().to(logits)
        return divergence(*(complete(gather(each, ids), tail=True) for each in (logits, theirs)), 0.5).sum()

    check(model(), objective)


@shapes
@pytest.mark.usefixtures("chunk")
def test_the_gradients_are_those_of_finite_differences(shape: dict[str, float]) -> None:
    scores = model(dtype=torch.float64, **shape)
    results = gradients(minimise(scores, weighed()), leaves(scores))
    for number, (name, leaf) in enumerate(leaves(scores).items()):
        step = 1e-5 * normal(*leaf.shape, seed=number, dtype=torch.float64)
        ahead, behind = (moved(leaf, by, lambda: minimise(scores, weighed())) for by in (step, -step))
        assert (ahead - behind).item() / 2 == pytest.approx((results[name] * step).sum().item(), rel=1e-6)


@given(seed=st.integers(0, 2**31), tokens=st.integers(1, 9), j=st.integers(1, 6), chunk=st.integers(1, 10 * V))
@settings(max_examples=30)
def test_any_number_of_tokens_categories_and_chunks_will_do(seed: int, tokens: int, j: int, chunk: int) -> None:
    ids = torch.randint(V, (tokens, j), generator=torch.Generator().manual_seed(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        scores = model(seed, tokens, torch.float64, scale=0.5)
        assert [number for at in chunks(scores) for number in range(tokens)[at]] == list(range(tokens))
        assert all(len(range(tokens)[at]) in range(1, max(2, chunk // V + 1)) for at in chunks(scores))
        check(scores, weighed(ids, normal(tokens, j, seed=seed + 1)), within=1e-10)


@pytest.mark.usefixtures("chunk")
def test_the_gradients_of_a_category_that_is_asked_for_several_times_add_up() -> None:
    scores, chosen = model(), IDS[:, :1]
    check(scores, weighed(torch.cat([chosen, IDS, chosen], dim=-1), normal(N, 5, seed=3)))
    once, twice = (
        gradients(minimise(scores, weighed(chosen.repeat(1, times), torch.ones(N, times))), leaves(scores))
        for times in (1, 2)
    )
    assert_close(twice, {name: 2 * grad for name, grad in once.items()})


def test_the_objective_meets_each_token_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 3 * V + 1)
    met: list[tuple[slice, torch.Size]] = []

    def objective(logits: Tensor, at: slice) -> Tensor:
        met.append((at, logits.shape))
        return logits.logsumexp(-1).sum()

    minimise(model(), objective).backward()  # type: ignore[no-untyped-call]
    assert [range(N)[at] for at, _ in met] == [range(3), range(3, 6), range(6, 7)]
    assert [tuple(shape) for _, shape in met] == [(3, V), (3, V), (1, V)]


@pytest.mark.usefixtures("chunk")
def test_no_tokens_give_zero_and_a_gradient_of_zero() -> None:
    scores = model(tokens=0)
    loss = minimise(scores, weighed())
    assert loss.item() == 0
    for name, result in gradients(loss, leaves(scores)).items():
        assert torch.equal(result, torch.zeros_like(leaves(scores)[name]))


@pytest.mark.usefixtures("chunk")
def test_tokens_that_the_objective_does_not_read_get_no_gradient() -> None:
    def objective(logits: Tensor, at: slice) -> Tensor:
        read = torch.arange(N)[at] // 2 == 1  # the third and the fourth
        return gather(logits, IDS[at])[read].sum() if read.any() else torch.zeros(())

    scores = model()
    check(scores, objective)
    assert gradients(minimise(scores, objective), leaves(scores))["hidden"][[0, 1, 4, 5, 6]].eq(0).all()


def test_an_objective_that_reads_nothing_at_all_has_a_gradient_of_zero() -> None:
    scores = model()
    results = gradients(minimise(scores, lambda logits, at: torch.tensor(2.0)), leaves(scores))
    assert all(result.eq(0).all() for result in results.values())


@pytest.mark.parametrize("factor", [1.0, -0.25, 0.0, 65536.0])
def test_the_gradient_is_scaled_by_what_the_loss_is_multiplied_by_later(factor: float) -> None:
    scores = model()
    once = gradients(minimise(scores, weighed()), leaves(scores))
    scaled = gradients(minimise(scores, weighed()) * factor, leaves(scores))
    assert_close(scaled, {name: factor * grad for name, grad in once.items()})


@pytest.mark.usefixtures("chunk")
def test_several_losses_of_the_same_hidden_states_add_up() -> None:
    scores, teacher, ids = model(), model(10), torch.tensor([5, 1, 2])
    part = Hidden(scores.hidden_ND[ids], scores.head)
    loss = 2 * minimise(scores, weighed()) + minimise(part, towards(Hidden(teacher.hidden_ND[ids], teacher.head)))
    plain = wide(scores)
    every, theirs = reference(scores.head, **plain), reference(teacher.head, **wide(teacher)).detach()
    compared = divergence(every[ids].log_softmax(-1), theirs[ids].log_softmax(-1), 0.5)
    expected = 2 * weighed()(every, ALL) + (compared * WEIGHTS[:3, 0]).sum()
    assert_close(gradients(loss, leaves(scores)), gradients(expected, plain))


@pytest.mark.usefixtures("chunk")
def test_a_layer_without_a_bias_will_do() -> None:
    check(model(bias=False, temperature=0.5, cap=3.0), weighed())


@pytest.mark.usefixtures("chunk")
def test_a_tied_embedding_receives_both_of_its_gradients() -> None:
    embedding, read = nn.Embedding(V, D), torch.tensor([3, 1, 4, 1, 5, 9, 2])
    layer = nn.Linear(D, V, bias=False)
    layer.weight = embedding.weight
    loss = minimise(Hidden(embedding(read).tanh(), Head(layer)), weighed())
    weight = embedding.weight.detach().double().requires_grad_()
    expected = weighed()(reference(Head(layer), weight[read].tanh(), weight), ALL)
    ours, theirs = gradients(loss, {"weight": embedding.weight}), gradients(expected, {"weight": weight})
    assert_close(ours, theirs)


def test_only_the_scores_that_are_minimised_receive_a_gradient() -> None:
    scores, teacher, weights = model(), model(10), WEIGHTS.clone().requires_grad_()

    def objective(logits: Tensor, at: slice) -> Tensor:
        gap = gather(logits, IDS[at]) - gather(teacher.logits(at), IDS[at])
        return (gap * weights[at]).sum()

    minimise(scores, objective).backward()  # type: ignore[no-untyped-call]
    assert all(leaf.grad is not None for leaf in leaves(scores).values())
    assert weights.grad is None
    assert all(leaf.grad is None for leaf in leaves(teacher).values())


def test_the_gradient_is_taken_at_once_whatever_becomes_of_the_weights_before_the_backward_pass() -> None:
    scores = model()
    loss, expected = minimise(scores, weighed()), gradients(minimise(scores, weighed()), leaves(scores))
    with torch.no_grad():
        scores.head.layer.weight.add_(1)
    assert_close(gradients(loss, leaves(scores)), expected)


def test_large_logits_and_impossible_categories_keep_the_gradient_finite() -> None:
    scores = model()
    with torch.no_grad():
        scores.hidden_ND.mul_(1e4)
        scores.head.layer.bias[0] = -math.inf
    loss = minimise(scores, weighed(IDS.clamp(min=1)))
    assert loss.isfinite()
    assert all(result.isfinite().all() for result in gradients(loss, leaves(scores)).values())


def test_a_nan_in_a_hidden_state_is_seen_in_the_loss() -> None:
    scores = model()
    with torch.no_grad():
        scores.hidden_ND[2, 0] = math.nan
    assert minimise(scores, weighed()).isnan()
    assert peek(scores, IDS[:, 0]).isnan().tolist() == [number == 2 for number in range(N)]


def test_a_second_backward_pass_and_a_second_derivative_are_errors() -> None:
    scores = model()
    loss = minimise(scores, weighed())
    torch.autograd.grad(loss, scores.hidden_ND, retain_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(loss, scores.hidden_ND)
    factor = torch.ones((), requires_grad=True)
    loss = minimise(scores, weighed()) * factor
    (first,) = torch.autograd.grad(loss, scores.hidden_ND, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()  # type: ignore[no-untyped-call]


# --- precision


@pytest.mark.parametrize("narrow", ["weight", "products"])
@pytest.mark.usefixtures("chunk")
def test_products_in_bfloat16_give_a_loss_in_float32_and_gradients_of_each_parameters_own_type(narrow: str) -> None:
    own, products = (torch.bfloat16, None) if narrow == "weight" else (torch.float32, torch.bfloat16)
    scores = model(dtype=own)
    scores, met = Hidden(scores.hidden_ND, Head(scores.head.layer, 0.7, 0.5, 4.0, products)), []

    def objective(logits: Tensor, at: slice) -> Tensor:
        met.append(logits.dtype)
        return weighed()(logits, at)

    plain = {name: leaf.detach().bfloat16().double().requires_grad_() for name, leaf in leaves(scores).items()}
    loss, expected = minimise(scores, objective), weighed()(reference(scores.head, **plain), ALL)
    assert {loss.dtype, *met} == {torch.float32}
    assert_close({"loss": loss}, {"loss": expected}, within=2e-2)
    ours = gradients(loss, leaves(scores))
    assert {result.dtype for result in ours.values()} == {own}
    assert_close(ours, gradients(expected, plain), within=1e-2)


def test_many_chunks_in_bfloat16_add_up_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", V)
    scores, ids = model(tokens=3000, dtype=torch.bfloat16), torch.zeros(3000, dtype=torch.long)
    plain = wide(scores)
    ours = gradients(minimise(scores, lambda logits, at: pick(logits, ids[at]).sum()), leaves(scores))
    theirs = gradients(pick(reference(scores.head, **plain), ids).sum(), plain)
    for name in ("weight", "bias"):
        assert_close({name: ours[name]}, {name: theirs[name]}, within=3e-3)  # bfloat16 itself rounds by 2e-3


# --- peek, pick, gather


@shapes
@pytest.mark.usefixtures("chunk")
def test_peeking_finds_each_log_probability_without_a_gradient(shape: dict[str, float]) -> None:
    scores = model(**shape)
    found = peek(scores, IDS[:, 1])
    expected = reference(scores.head, **wide(scores)).log_softmax(-1)[torch.arange(N), IDS[:, 1]]
    assert_close({"logprobs": found}, {"logprobs": expected})
    assert torch.allclose(found, pick(scores.logits(ALL), IDS[:, 1]))
    assert not found.requires_grad
    assert peek(model(tokens=0), IDS[:0, 1]).shape == (0,)


def test_every_category_may_be_asked_for_and_all_of_them_are_a_distribution() -> None:
    logits = model().logits(ALL)
    order = logits.topk(V).indices
    logprobs = gather(logits, order)
    assert torch.allclose(logprobs.exp().sum(-1), torch.ones(N))
    assert (logprobs.diff(dim=-1) <= 0).all()
    assert gather(logits, order[:, :0]).shape == (N, 0)


def test_some_tokens_are_taken_by_a_slice_or_a_mask() -> None:
    scores, mask = model(), torch.arange(N) % 2 == 0
    assert torch.equal(scores[1:4].logits(ALL), scores.logits(slice(1, 4)))
    assert torch.allclose(scores[mask].logits(ALL), scores.logits(ALL)[mask])
    assert (len(scores), len(scores[1:4]), len(scores[mask]), scores[mask].vocabulary) == (N, 3, 4, V)


# --- Blend


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 0.9, 1.0])
@pytest.mark.usefixtures("chunk")
def test_a_blend_lies_between_the_logits_of_its_two_models(rate: float) -> None:
    first, second = model(0, temperature=0.7), model(10, temperature=0.7, scale=2.0)
    logits = (1 - rate) * first.logits(ALL) + rate * second.logits(ALL)
    blend = Blend(first, second, rate)
    assert (len(blend), blend.vocabulary) == (N, V)
    assert torch.allclose(blend.logits(slice(1, 3)), logits[1:3], atol=1e-5)
    assert torch.allclose(peek(blend, IDS[:, 0]), pick(logits, IDS[:, 0]), atol=1e-5)


def test_a_blend_at_either_end_is_the_model_that_stands_there() -> None:
    first, second = model(0), model(10)
    assert torch.equal(Blend(first, second, 0.0).logits(ALL), first.logits(ALL))
    assert torch.equal(Blend(first, second, 1.0).logits(ALL), second.logits(ALL))


@pytest.mark.usefixtures("chunk")
def test_a_blend_teaches() -> None:
    student, initial = model(0), model(10)
    check(student, towards(Blend(initial, student, 0.25)))
    assert minimise(student, towards(Blend(initial, student, 1.0))).abs() < 1e-5
