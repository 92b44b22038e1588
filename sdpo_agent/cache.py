"""What a transformer remembers of what it read: keys and values, shared by rows that begin alike, with room to grow.

The library copies all of a cache for every token that is added, which is most of the work of sampling from a small
model; here it grows into room kept for it. A model whose layers remember other things keeps the library's own cache.
"""

from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


def make_cache(config: Any, room: int = 0) -> DynamicCache:
    """Return an empty cache for a model of that `config`, with room for `room` tokens after what is read first."""
    cache = DynamicCache(config=config)
    if room and is_plain(cache):
        cache.layers = [_Roomy(room) for _ in cache.layers]
    return cache


def is_plain(cache: DynamicCache) -> bool:
    """Whether every layer remembers a key and a value per token, and nothing else."""
    return bool(cache.layers) and all(type(layer) is DynamicLayer for layer in cache.layers)


def spread(cache: DynamicCache, rows: int) -> None:
    """Let `rows` rows share what one row of a plain cache remembers, without a copy; gradients add up."""
    for layer in cast(list[DynamicLayer], cache.layers):
        layer.keys, layer.values = (_known(each).expand(rows, -1, -1, -1) for each in (layer.keys, layer.values))


class _Roomy(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer, whose tensors are the filled part of larger ones."""

    def __init__(self, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room = room
        self._whole: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add the keys and values of some tokens, and return all."""
        start = self.get_seq_length()
        if not start:
            return super().update(key_states, value_states, *args, **kwargs)
        end = start + key_states.shape[-2]
        if self._whole is None or self._whole[0].shape[-2] < end:
            self._whole = self._with_room(_known(self.keys)), self._with_room(_known(self.values))
        for whole, fresh in zip(self._whole, (key_states, value_states), strict=True):
            whole[..., start:end, :] = fresh
        self.keys, self.values = (whole[..., :end, :] for whole in self._whole)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Keep these rows, as often as they are named."""
        super().reorder_cache(beam_idx)
        self._whole = None

    def _with_room(self, filled: Tensor) -> Tensor:
        rows, heads, tokens, width = filled.shape
        whole = filled.new_empty(rows, heads, tokens + self._room, width)
        whole[..., :tokens, :] = filled
        return whole


def _known(tensor: Tensor | None) -> Tensor:
    assert tensor is not None, "nothing was read yet"
    return tensor
