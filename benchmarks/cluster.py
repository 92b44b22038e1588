"""How fast a Ray cluster judges, beside the plain local wall with as many workers; and what 1,000 cores would do.

The cluster is made here, of nodes of one processor each, on this machine. So that its figures say something, both
sides judge the same right submissions, in the same rounds, in an order that changes; every verdict is
checked. Printed are judgements per second, the ratio to the plain wall within a round, and processor time for each:
of this process, which hands programs out and compares, and of everything below it. Each is the median [min..max] of the
rounds. The last table is arithmetic on these medians, and nothing that was measured.

    python benchmarks/cluster.py --workers 1 2 4 --rounds 5
    python benchmarks/cluster.py --workers 1 2 4 --rounds 5 --burn 0.02    # heavier programs
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import processors
from judges import Judge, own_judge
from judging import spread
from work import Submission, submissions

from sdpo_envs.sandbox import Program, Run, Sandbox
from sdpo_envs.sandbox.local import LocalSandbox
from sdpo_envs.sandbox.ray import RaySandbox

CORES = 1000
MEMORY = 80 << 20
BURN = "import time as _time\n_end = _time.process_time() + {}\nwhile _time.process_time() < _end: pass\n"
EMPTY = Program({"main.py": ""}, ("python", "main.py"))


class Nothing:
    """A wall that runs nothing and answers at once: what is left is the cluster and this process."""

    workers = 8

    def run(self, program: Program) -> tuple[Run, ...]:
        """Return an empty run for each input."""
        return (Run(0),) * len(program.inputs)

    def run_many(self, programs: Sequence[Program]) -> list[tuple[Run, ...]]:
        """Return those of each program."""
        return [self.run(program) for program in programs]

    def close(self) -> None:
        """Do nothing."""


class Measured(NamedTuple):
    """Of one round: judgements per second, and milliseconds of processor time per judgement, here and below."""

    rate: float
    here_ms: float
    below_ms: float


@dataclass
class Rival:
    """A way to judge, with as many workers as another, and what was measured of it.

    Attributes:
        name: What the table calls it.
        workers: Programs at once.
        grade: Judges one submission, from several threads; returns whether the verdict is the right one.
        work: What it judges.
        passes: How often it goes through the work in one measurement.
        rounds: What was measured.
    """

    name: str
    workers: int
    grade: Callable[[Submission], bool]
    work: Sequence[Submission]
    passes: int = 1
    rounds: list[Measured] = field(default_factory=list)

    def rehearse(self, seconds: float) -> None:
        """Start everything, and see how often the work fits into a measurement."""
        for _ in range(2):
            taken = self._judge(1)
        self.passes = max(1, round(seconds / taken))

    def measure(self) -> None:
        """Measure one round."""
        below, here = processors.used_seconds(), time.process_time()
        seconds = self._judge(self.passes)
        here = time.process_time() - here
        below = processors.used_seconds() - below - here
        count = self.passes * len(self.work)
        self.rounds.append(Measured(count / seconds, here / count * 1e3, below / count * 1e3))

    def _judge(self, passes: int) -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(2 * self.workers) as threads:
            right = list(threads.map(self.grade, list(self.work) * passes))
        if not all(right):
            sys.exit(f"{self.name} gave {right.count(False)} wrong verdicts.")
        return time.perf_counter() - start

    def median(self, of: str) -> float:
        """Return the median over the rounds."""
        return statistics.median(getattr(each, of) for each in self.rounds)


@contextmanager
def cluster(nodes: Sequence[int]) -> Iterator[None]:
    """Start a head that runs nothing and `max(nodes)` nodes, of which the first n have the resource ``"first n"``."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    small: dict[str, Any] = {"object_store_memory": MEMORY, "include_dashboard": False}
    started = Cluster(True, head_node_args={"num_cpus": 0, **small})
    try:
        for number in range(max(nodes)):
            started.add_node(num_cpus=1, resources={f"first {n}": 1 for n in nodes if number < n}, **small)
        ray.init(address=started.address, log_to_driver=False, configure_logging=False)
        yield
    finally:
        ray.shutdown()
        started.shutdown()


def judged_by(judge: Judge) -> Callable[[Submission], bool]:
    """Return whether a judge's verdict on a submission is the right one."""
    return lambda submission: judge.right(submission, judge.grade(submission))


def handed_out(sandbox: Sandbox) -> Callable[[Submission], bool]:
    """Return whether an empty program came back."""
    return lambda _: sandbox.run(EMPTY)[0].exit_code == 0


def rivals(workers: Sequence[int], burn: float, closing: ExitStack) -> Iterator[Rival]:
    """Open the sandboxes; `closing` closes them."""
    right = (submission for submission in submissions() if submission.share == 1.0)
    work = [replace(each, code=BURN.format(burn) + each.code) if burn else each for each in right]
    for count in workers:
        for name, sandbox in (
            ("local", LocalSandbox(count)),
            (f"ray, {count} nodes", RaySandbox(workers=1, resource=f"first {count}")),
        ):
            closing.callback(sandbox.close)
            yield Rival(name, count, judged_by(own_judge(name, sandbox)), work)
    nothing = RaySandbox(wall=Nothing(), resource=f"first {min(2, max(workers))}")
    closing.callback(nothing.close)
    yield Rival("ray, no wall", 8, handed_out(nothing), work * 10)


def print_measured(found: Sequence[Rival]) -> None:
    """Print a row per rival; the plain wall stands above the cluster with as many workers."""
    print("\nMeasured", f"{'':24}{'judgements/s':>24}{'x local':>22}{'ms here':>20}{'ms below':>24}", sep="\n")
    for before, rival in zip([found[0], *found], found, strict=False):
        pairs = zip(rival.rounds, before.rounds, strict=True)
        ratios = [mine.rate / local.rate for mine, local in pairs] if before.workers == rival.workers else []
        cells = [
            spread([each.rate for each in rival.rounds], ".1f"),
            spread(ratios if before is not rival else []),
            spread([each.here_ms for each in rival.rounds]),
            spread([each.below_ms for each in rival.rounds], ".1f"),
        ]
        print(
            f"{rival.name:18}{rival.workers:>6}"
            + "".join(f"{c:>{w}}" for c, w in zip(cells, (24, 22, 20, 24), strict=True))
        )


def print_extrapolated(rival: Rival, price: float) -> None:
    """Print what the medians come to on 1,000 cores, if each is as fast as one here and nothing else is short."""
    here, below = rival.median("here_ms"), rival.median("below_ms")
    by_cores, by_driver = CORES * 1e3 / below, 1e3 / here
    rate = min(by_cores, by_driver)
    print(
        f"\nExtrapolated from '{rival.name}', not measured",
        f"{CORES} cores, by processor time alone      {by_cores:10.0f} judgements/s",
        f"one process that hands out and compares   {by_driver:10.0f} judgements/s",
        f"cores that one such process keeps busy    {below / here:10.0f}",
        f"such processes for {CORES} cores             {max(1.0, CORES * here / below):10.1f}",
        f"a million judgements, one such process    {1e6 / rate / 60:10.1f} minutes",
        f"a million judgements                      {1e3 * (here + below) / 3600:10.1f} core hours",
        f"at {price:g} a core hour                      {1e3 * (here + below) / 3600 * price:10.2f}",
        sep="\n",
    )


def main() -> None:
    """Measure, print, and extrapolate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 2, 4))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement, about")
    parser.add_argument(
        "--burn", type=float, default=0.0, help="processor seconds that each of the ten tests uses more"
    )
    parser.add_argument("--price", type=float, default=0.04, help="of a core hour, in any currency; an assumption")
    settings = parser.parse_args()
    busy = processors.busy_share(1.0)
    print(f"{len(os.sched_getaffinity(0))} cores, Python {sys.version.split()[0]}; {settings.rounds} rounds; ", end="")
    print(f"the machine was {busy:.0%} busy before.")
    with cluster(settings.workers), ExitStack() as closing:
        found = list(rivals(settings.workers, settings.burn, closing))
        for rival in found:
            rival.rehearse(settings.seconds)
        for number in range(settings.rounds):
            for rival in found[number % len(found) :] + found[: number % len(found)]:
                rival.measure()
    print_measured(found)
    print_extrapolated(
        next(rival for rival in reversed(found[:-1]) if "ray" in rival.name and rival.workers <= 2), settings.price
    )


if __name__ == "__main__":
    main()
