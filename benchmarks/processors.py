"""How much processor time processes have used, from ``/proc``."""

import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_ENGINE = ("dockerd", "containerd", "containerd-shim")


def used_seconds(engine: bool = False) -> float:
    """Return the processor time of this process and of all below it, past and present.

    A process that ended counts once its parent waited for it. The kernel counts in ticks of 10 ms, one rounding for
    each process that is alive; so measure a second or more at a time.

    Args:
        engine: Whether Docker's processes and all containers count as well: they are not below this one.
    """
    parents, times = {}, {}
    for pid, name, fields in _processes():
        parents[pid] = int(fields[1])
        times[pid] = sum(map(int, fields[11:15])) / _TICKS  # of itself and of the children it waited for
        if engine and name.startswith(_ENGINE):
            parents[pid] = os.getpid()
    return sum(times[pid] for pid in _below(os.getpid(), parents, times))


def busy_share(seconds: float) -> float:
    """Return how busy the machine is while this process does nothing for so long, as a share of all processors."""
    before = _machine()
    time.sleep(seconds)
    after = _machine()
    total, idle = (now - then for now, then in zip(after, before, strict=True))
    return 1 - idle / max(total, 1)


def _machine() -> tuple[int, int]:
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]


def _processes() -> Iterator[tuple[int, str, list[str]]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                text = Path(entry.path, "stat").read_text(errors="replace")
            except OSError:
                continue  # it has just ended
            name, _, rest = text.partition(" (")[2].rpartition(") ")
            yield int(entry.name), name, rest.split()


def _below(root: int, parents: dict[int, int], known: Collection[int]) -> Iterator[int]:
    for pid in known:
        ancestor = pid
        while ancestor != root and ancestor in parents:
            ancestor = parents[ancestor]
        if ancestor == root:
            yield pid
