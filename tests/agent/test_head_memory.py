"""What the head costs: which tensors it makes, how large they are, and how many live at once."""

import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sdpo_agent import head as module
from sdpo_agent.head import Blend, Head, Hidden, gather, minimise, peek, pick
from sdpo_agent.losses import complete, divergence

D, V, C = 2, 500, 4


@pytest.fixture(autouse=True)
def _chunks_of_four_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", C * V)


class Memory(TorchDispatchMode):
    """Watches the tensors that operations make; their sizes are in numbers, of whatever type."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: Counter[tuple[int, ...]] = Counter()
        self.live = self.peak = 0
        self._known: set[int] = set()

    @property
    def largest(self) -> int:
        return max(torch.Size(shape).numel() for shape in self.shapes)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        known = self._known | {storage(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor) and storage(leaf) not in known:
                self._add(leaf)
        return made

    def _add(self, tensor: Tensor) -> None:
        self.shapes[tuple(tensor.shape)] += 1
        self.live += tensor.numel()
        self.peak = max(self.peak, self.live)
        self._known.add(storage(tensor))
        weakref.finalize(tensor.untyped_storage(), self._remove, storage(tensor), tensor.numel())

    def _remove(self, storage: int, size: int) -> None:
        self._known.discard(storage)
        self.live -= size


def storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def model(seed: int, tokens: int, dtype: torch.dtype | None = None) -> Hidden:
    dice = torch.Generator().manual_seed(seed)
    layer = nn.Linear(D, V)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=dice))
    return Hidden(torch.randn(tokens, D, generator=dice).requires_grad_(), Head(layer, 0.7, cap=5.0, dtype=dtype))


def plainly(student: Hidden, teacher: Hidden) -> Tensor:
    return pick(student.logits(slice(None)), torch.zeros(len(student), dtype=torch.long)).sum()


def on_what_was_said(student: Hidden, teacher: Hidden) -> Tensor:
    ids = torch.zeros(len(student), dtype=torch.long)
    known = peek(teacher, ids)
    return minimise(student, lambda logits, at: ((pick(logits, ids[at]) - known[at]) ** 2).sum())


def over_the_likeliest(student: Hidden, teacher: Hidden) -> Tensor:
    def objective(logits: Tensor, at: slice) -> Tensor:
        ids, theirs = logits.detach().topk(3).indices, teacher.logits(at).detach()
        return divergence(complete(gather(logits, ids), True), complete(gather(theirs, ids), True), 0.5).sum()

    return minimise(student, objective)


def over_the_vocabulary(student: Hidden, teacher: Hidden) -> Tensor:
    blend = Blend(teacher, student, 0.5)

    def objective(logits: Tensor, at: slice) -> Tensor:
        with torch.no_grad():
            theirs = blend.logits(at).log_softmax(-1)
        return divergence(logits.log_softmax(-1), theirs, 0.5, 1.0).sum()

    return minimise(student, objective)


def measure(loss: Callable[[Hidden, Hidden], Tensor], tokens: int, dtype: torch.dtype | None = None) -> Memory:
    student, teacher = model(0, tokens, dtype), model(1, tokens, dtype)
    with Memory() as memory:
        loss(student, teacher).backward()  # type: ignore[no-untyped-call]
    return memory


losses = pytest.mark.parametrize("loss", [on_what_was_said, over_the_likeliest, over_the_vocabulary])


@losses
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_the_logits_of_all_tokens_never_exist_at_once(
    loss: Callable[[Hidden, Hidden], Tensor], dtype: torch.dtype | None
) -> None:
    assert measure(plainly, 80, dtype).largest == 80 * V  # so it would be seen
    assert measure(loss, 80, dtype).largest == C * V


@losses
def test_more_tokens_need_hardly_more_memory(loss: Callable[[Hidden, Hidden], Tensor]) -> None:
    few, many = (measure(loss, tokens).peak for tokens in (8, 80))
    assert few <= many < few + 72 * 20  # a few numbers per token, not the 500 of the vocabulary
    assert measure(plainly, 80).peak > measure(plainly, 8).peak + 72 * V


@pytest.mark.parametrize(
    ("loss", "copies"), [(on_what_was_said, 10), (over_the_likeliest, 12), (over_the_vocabulary, 24)]
)
def test_so_many_copies_of_a_chunk_live_at_once(loss: Callable[[Hidden, Hidden], Tensor], copies: int) -> None:
    assert copies / 2 < measure(loss, 80).peak / (C * V) < copies


def test_nothing_is_computed_twice() -> None:
    met = []

    def objective(logits: Tensor, at: slice) -> Tensor:
        met.append(len(logits))
        return logits.logsumexp(-1).sum()

    student = model(0, 80)
    loss = minimise(student, objective)
    with Memory() as memory:
        loss.backward()  # type: ignore[no-untyped-call]
    assert met == [C] * 20
    assert student.hidden_ND.grad is not None
    assert not memory.shapes or memory.largest == 1


@pytest.mark.parametrize("frozen", ["hidden", "weight", "bias"])
def test_what_is_frozen_gets_no_gradient_and_none_is_computed(frozen: str) -> None:
    whole, student, teacher = model(0, 9), model(0, 9), model(1, 9)
    leaves = {"hidden": student.hidden_ND, **dict(student.head.layer.named_parameters())}
    leaves[frozen].requires_grad_(False)
    with Memory() as memory:
        on_what_was_said(student, teacher).backward()  # type: ignore[no-untyped-call]
    on_what_was_said(whole, teacher).backward()  # type: ignore[no-untyped-call]
    expected = {"hidden": whole.hidden_ND, **dict(whole.head.layer.named_parameters())}
    assert leaves[frozen].grad is None
    assert tuple(leaves[frozen].shape) not in memory.shapes
    for name in {"hidden", "weight", "bias"} - {frozen}:
        grad = leaves[name].grad
        assert grad is not None
        assert torch.allclose(grad, expected[name].grad)


@losses
def test_without_a_gradient_the_value_is_the_same_and_no_gradient_is_computed(
    loss: Callable[[Hidden, Hidden], Tensor],
) -> None:
    student, teacher = model(0, 80), model(1, 80)
    expected = loss(student, teacher)
    with torch.no_grad(), Memory() as memory:
        value = loss(student, teacher)
    for leaf in (student.hidden_ND, *student.head.layer.parameters()):
        assert tuple(leaf.shape) not in memory.shapes
        leaf.requires_grad_(False)
    assert torch.equal(value, expected)
    assert not value.requires_grad
    assert not loss(student, teacher).requires_grad


def test_peeking_keeps_one_number_per_token() -> None:
    scores, ids = model(0, 80), torch.zeros(80, dtype=torch.long)
    with Memory() as memory:
        found = peek(scores, ids)
    assert memory.live == found.numel() == 80
    assert memory.largest == C * V
