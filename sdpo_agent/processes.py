"""One process, or several that train one policy together, each on its share of the groups.

Started by accelerate (``accelerate launch --num_processes 2 -m sdpo_agent train ...``), each process holds the whole
policy and takes the same optimizer steps; gradients, counts and metrics are summed. Left out on purpose: a policy that
is spread over devices.
"""

import atexit
from collections.abc import Sequence
from typing import TypeVar

import torch
from accelerate import PartialState
from torch import distributed, nn

T = TypeVar("T")


class Processes:
    """What processes say to one another; with one, nothing.

    Attributes:
        count: How many there are.
        rank: The number of this one.
    """

    def __init__(self) -> None:
        state = PartialState(cpu=not torch.cuda.is_available())  # else it takes several without a GPU for one
        self.count: int = state.num_processes
        self.rank: int = state.process_index
        if self.count > 1:
            atexit.register(_part)

    @property
    def first(self) -> bool:
        """Whether this one writes files and talks to people."""
        return self.rank == 0

    def share(self, values: Sequence[T]) -> Sequence[T]:
        """Return this process's part of a list, of the same length for each; the parts in order make the list."""
        size = len(values) // self.count
        return values[self.rank * size : (self.rank + 1) * size]

    def gather(self, value: T) -> list[T]:
        """Return everybody's value, in the order of their ranks."""
        if self.count == 1:
            return [value]
        values: list[T | None] = [None] * self.count
        distributed.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def sum_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Add up everybody's gradients, in place; what nobody has a gradient for is left alone."""
        if self.count == 1:
            return
        known = self.gather([weight.grad is not None for weight in weights])
        for weight, has in zip(weights, zip(*known, strict=True), strict=True):
            if any(has):
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                distributed.all_reduce(weight.grad)

    def sum(self, value: float) -> float:
        """Return the sum of everybody's value."""
        return sum(self.gather(value))


def _part() -> None:
    """Close the connections: else a process may be aborted as it ends, and the launcher then kills all the others."""
    if distributed.is_initialized():
        distributed.destroy_process_group()
