"""Drawing tokens so that what a row draws follows from its seed alone, whatever stands beside it."""

import torch
from torch import Tensor


def noise(seed: int, count: int) -> Tensor:
    """Draw `count` numbers of [0, 1), in float64, which follow from `seed` on every device."""
    return torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def draw(logits_BV: Tensor, temperature: float, noise_B: Tensor) -> tuple[Tensor, Tensor]:
    """Draw a token per row, where the cumulative distribution passes the noise; return it and its log-probability."""
    if temperature == 0:
        return logits_BV.argmax(-1), torch.zeros_like(noise_B)
    logprobs_BV = (logits_BV / temperature).log_softmax(-1)
    sums_BV = logprobs_BV.exp().cumsum(-1, dtype=torch.float64)
    token_B1 = torch.searchsorted(sums_BV, noise_B[:, None] * sums_BV[:, -1:], right=True)
    return token_B1[:, 0], logprobs_BV.gather(1, token_B1)[:, 0]
