"""From hidden states to a loss, a few tokens at a time: the only place that meets the whole vocabulary.

A name carries its axes: N tokens laid end to end, C of them in a chunk, D hidden width, V vocabulary, J categories.

Logits over a vocabulary of 150,000 are what an RL step on a language model runs out of memory by: one float32 copy of
2,000 tokens is 1.2 GB, and a plain loss keeps several. Here a loss is written for the logits of some tokens, and asked
for a chunk at a time; its gradient is taken at once, down to the hidden states and the output layer, and the logits are
forgotten before the next chunk. Nothing is computed twice.

Left out on purpose: an output layer that is not linear, and second derivatives.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

CHUNK = 2**25
"""Logits of one model that exist at once: 128 MiB in float32. At its peak a loss holds several such: eight for a top k,
twice as many for the whole vocabulary."""


@dataclass(frozen=True)
class Head:
    """The last layer of a language model: logits = cap * tanh(scale * (hidden weight' + bias) / cap) / temperature.

    Attributes:
        layer: Linear, from D to V.
        temperature: Divides the logits; that of the sampling.
        scale: Multiplies the layer's output, as in Cohere and Granite.
        cap: Soft bound on its magnitude, as in Gemma; infinite for none.
        dtype: Of the layer's products; None takes that of its weight.
    """

    layer: nn.Linear
    temperature: float = 1.0
    scale: float = 1.0
    cap: float = math.inf
    dtype: torch.dtype | None = None

    @property
    def weight(self) -> Tensor:
        """weight_VD, as it is multiplied."""
        weight = self.layer.weight
        if self.dtype in (None, weight.dtype):
            return weight
        return weight.to(self.dtype) if torch.is_grad_enabled() and weight.requires_grad else self._cast

    def outputs(self, hidden_CD: Tensor) -> Tensor:
        """Return what the layer makes of hidden states: outputs_CV."""
        weight, bias = self.weight, self.layer.bias
        return nn.functional.linear(hidden_CD.to(weight.dtype), weight, None if bias is None else bias.to(weight.dtype))

    def logits(self, outputs_CV: Tensor) -> Tensor:
        """Return logits_CV, in float32 or wider."""
        outputs_CV = outputs_CV.to(_wide(outputs_CV))
        if math.isfinite(self.cap):
            return (outputs_CV * (self.scale / self.cap)).tanh() * (self.cap / self.temperature)
        factor = self.scale / self.temperature
        return outputs_CV if factor == 1 else outputs_CV * factor

    @cached_property
    def _cast(self) -> Tensor:
        return self.layer.weight.detach().to(self.dtype)  # once, not for every chunk


def head_of(model: Any, temperature: float = 1.0, dtype: torch.dtype | None = None) -> Head:
    """Return the head of a causal language model of transformers, as its configuration describes it."""
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)
    cap = getattr(config, "final_logit_softcapping", None) or math.inf
    return Head(model.get_output_embeddings(), temperature, scale, cap, dtype)


def require_known_head(model: Any, dtype: torch.dtype | None = None) -> None:
    """Compare the logits that a model makes with those that `head_of` it makes.

    Raises:
        ValueError: they differ, or the layer is no plain linear one, or an adapter changes what it is tied to.
    """
    layer = model.get_output_embeddings()
    adapted = [each.base_layer for each in model.modules() if hasattr(each, "get_delta_weight")]
    if type(layer) is nn.Linear and all(each.weight is not layer.weight for each in adapted):
        ids = torch.tensor([[0, 1]], device=layer.weight.device)
        theirs = model(input_ids=ids, use_cache=False).logits[0]
        hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[0]
        ours = Hidden(hidden, head_of(model, dtype=dtype)).logits(slice(None))
        theirs = theirs.to(ours.dtype)
        if torch.allclose(ours, theirs, rtol=0.01, atol=0.01 * float(theirs.abs().max())):
            return
    raise ValueError(
        f"{type(model).__name__} does more after its last hidden states than a linear layer, a scale and a soft cap. "
        "Choose another model, and put no adapter on the output layer or what is tied to it."
    )


class Scores(Protocol):
    """What a model makes of N tokens, before it is spelled out over the vocabulary."""

    def __len__(self) -> int:
        """Return N."""

    @property
    def vocabulary(self) -> int:
        """V."""

    def logits(self, at: slice) -> Tensor:
        """Spell out the logits_CV of some tokens."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """The scores of one model: its last hidden states, and its head."""

    hidden_ND: Tensor
    head: Head

    def __len__(self) -> int:
        return len(self.hidden_ND)

    def __getitem__(self, at: Any) -> "Hidden":
        """Return the scores of some tokens, by a slice or a mask."""
        return Hidden(self.hidden_ND[at], self.head)

    @property
    def vocabulary(self) -> int:
        """V."""
        return self.head.layer.out_features

    def logits(self, at: slice) -> Tensor:
        """Spell out the logits_CV of some tokens."""
        return self.head.logits(self.head.outputs(self.hidden_ND[at]))


@dataclass(frozen=True, slots=True)
class Blend:
    """Logits between those of two models: (1 - rate) first + rate second."""

    first: Scores
    second: Scores
    rate: float

    def __len__(self) -> int:
        return len(self.first)

    @property
    def vocabulary(self) -> int:
        """V."""
        return self.first.vocabulary

    def logits(self, at: slice) -> Tensor:
        """Spell out the logits_CV of some tokens."""
        return self.first.logits(at).lerp(self.second.logits(at), self.rate)


Objective = Callable[[Tensor, slice], Tensor]
"""From the logits_CV of some tokens, and which they are, to what they add to a loss: a scalar."""


def minimise(scores: Hidden, objective: Objective) -> Tensor:
    """Add up `objective` over all tokens, a chunk at a time.

    Args:
        scores: Of N tokens.
        objective: Differentiable; no chunk may depend on another.

    Returns:
        A scalar, with a gradient for the hidden states and the head. It is taken here, and only multiplied later; the
        backward pass has nothing left to compute.
    """
    inputs = (scores.hidden_ND, scores.head.layer.weight, scores.head.layer.bias)
    total, gradients = _descend(scores, objective, inputs)
    if all(gradient is None for gradient in gradients):
        return total
    attached: Tensor = _Attach.apply(total, gradients, *inputs)  # type: ignore[no-untyped-call]
    return attached


@torch.no_grad()
def peek(scores: Scores, ids_N: Tensor) -> Tensor:
    """Look up the log-probability of one category per token, without a gradient: logprobs_N, nats."""
    parts = [pick(scores.logits(at), ids_N[at]) for at in chunks(scores)]
    return torch.cat(parts) if parts else torch.zeros(0, device=ids_N.device)


def pick(logits_CV: Tensor, ids_C: Tensor) -> Tensor:
    """Return the log-probability of one category per token: logprobs_C, nats."""
    return gather(logits_CV, ids_C[:, None])[:, 0]


def gather(logits_CV: Tensor, ids_CJ: Tensor) -> Tensor:
    """Return the log-probabilities of some categories, each normalised over all: logprobs_CJ, nats."""
    return logits_CV.gather(-1, ids_CJ) - logits_CV.logsumexp(-1, keepdim=True)


def chunks(scores: Scores) -> Iterator[slice]:
    """Cut N tokens into runs whose logits number at most `CHUNK`."""
    size = max(1, CHUNK // scores.vocabulary)
    return (slice(start, start + size) for start in range(0, len(scores), size))


def _descend(
    scores: Hidden, objective: Objective, inputs: Sequence[Tensor | None]
) -> tuple[Tensor, list[Tensor | None]]:
    """Return the sum, and its gradient for each of `inputs` that wants one: hidden states, weight, bias."""
    learns = torch.is_grad_enabled()
    wants = [learns and each is not None and each.requires_grad for each in inputs]
    grads = [
        torch.zeros_like(each, dtype=_wide(each)) if each is not None and wanted else None
        for each, wanted in zip(inputs, wants, strict=True)
    ]
    hidden_ND, head = scores.hidden_ND.detach(), scores.head
    total = torch.zeros((), dtype=_wide(hidden_ND), device=hidden_ND.device)
    for at in chunks(scores):
        with torch.no_grad():
            outputs_CV = head.outputs(hidden_ND[at])
        outputs_CV.requires_grad_(any(wants))
        with torch.set_grad_enabled(any(wants)):
            loss = objective(head.logits(outputs_CV), at)
        total += loss.detach()
        if any(wants) and loss.requires_grad:
            (gradient_CV,) = torch.autograd.grad(loss, outputs_CV, materialize_grads=True)
            _add(grads, gradient_CV, hidden_ND[at], head, at)
    return total, [
        grad if grad is None or each is None else grad.to(each.dtype) for grad, each in zip(grads, inputs, strict=True)
    ]


@torch.no_grad()
def _add(grads: Sequence[Tensor | None], gradient_CV: Tensor, hidden_CD: Tensor, head: Head, at: slice) -> None:
    """Carry the gradient of the outputs of some tokens on to hidden states, weight and bias, in place."""
    hidden_grad, weight_grad, bias_grad = grads
    if hidden_grad is not None:
        hidden_grad[at] = gradient_CV @ head.weight
    if weight_grad is not None and weight_grad.dtype == gradient_CV.dtype:
        weight_grad.addmm_(gradient_CV.T, hidden_CD.to(gradient_CV.dtype))  # no temporary as large as the weight
    elif weight_grad is not None:
        weight_grad += gradient_CV.T @ hidden_CD.to(gradient_CV.dtype)
    if bias_grad is not None:
        bias_grad += gradient_CV.sum(0)


class _Attach(torch.autograd.Function):
    """A number whose gradients are known."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, gradients: list[Tensor | None], *inputs: Tensor | None) -> Tensor:
        ctx.gradients = gradients
        return total.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *factors: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("The gradient of this loss was handed over already; compute the loss again.")
        mine, ctx.gradients = ctx.gradients, None  # handed over, so that nobody copies what is as large as the weight
        if factors[0] != 1:
            mine = [gradient if gradient is None else gradient * factors[0] for gradient in mine]
        return None, None, *mine


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
