"""Imported first, it keeps what other modules want done after a fork, and has it done in forks of programs only.

The forks of the worker would pay for it a thousand times: `random` draws a new seed, `threading` renews its locks.
"""

import os
from collections.abc import Callable
from typing import Any

register = os.register_at_fork
kept: list[Callable[[], Any]] = []
forked = False


def keep(*, after_in_child: Callable[[], Any] | None = None, **_: object) -> None:
    """Take the place of os.register_at_fork."""
    if after_in_child:
        kept.append(after_in_child)


def after_fork() -> None:
    """Do what was kept, unless this is the worker's own fork."""
    global forked
    if forked:
        for hook in kept:
            hook()
    forked = True


def release() -> None:
    """Let the program at hand register what it likes."""
    os.register_at_fork = register


register(after_in_child=after_fork)
os.register_at_fork = keep  # type: ignore[assignment]
