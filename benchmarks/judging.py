"""How fast programs are judged: ours in every mode, a plain `subprocess` per test, and the judges of others.

All judge the same work in the same run, interleaved round by round, in as many processes as there are workers. Printed
are tests per second, processor time per submission, and the ratio to each peer within a round: the median [min..max].
Every verdict is checked. Work that a peer wrongly rejects is left out for all, and named. Peers are given as checkouts
of their repositories; only their judges are imported, which is kinder to them than their training, whose processes
are larger to fork.

    python benchmarks/judging.py --sdpo SDPO --livecodebench LiveCodeBench --data FOLDER [--docker]

The sets: pass, the right ones of twenty submissions with ten tests each; fast, those and the wrong and crashing ones;
all of them; hang, the two with tests that hang; real, programs that LiveCodeBench graded right, with the public tests;
functions, likewise, of LeetCode's form. A judge that stops early is credited with all tests of the submission.
"""

import argparse
import functools
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import processors
from environments import keep_busy, step_ratio
from judges import SETS, Judge, batch_judge, own_judge, peer_judge, plain_judges
from work import Submission, real_submissions, submissions

from sdpo_envs.sandbox import Program, Sandbox
from sdpo_envs.sandbox.local import LocalSandbox

PEERS = ("sdpo", "livecodebench", "prime_code")
QUICK, HANGING = ("pass", "fast", "real", "functions"), ("all", "hang")
OFTEN = 5  # how many times something that takes no peer is measured


class Measured(NamedTuple):
    """One judge in one round: tests per second, and processor time per submission in milliseconds."""

    rate: float
    cpu_ms: float


@dataclass
class Benchmark:
    """The judges, the work, and what was measured.

    Attributes:
        judges: Who judges.
        work: The submissions of each set.
        workers: How many threads drive a judge.
        seconds: How long one measurement takes at least.
        passes: How often a judge goes through a set in a measurement.
        results: One `Measured` per round, by set and judge.
        disagreements: Verdicts that were not the right ones.
    """

    judges: Sequence[Judge]
    work: dict[str, list[Submission]]
    workers: int
    seconds: float
    passes: dict[tuple[str, str], int] = field(default_factory=dict)
    results: dict[tuple[str, str], list[Measured]] = field(default_factory=dict)
    disagreements: list[str] = field(default_factory=list)

    def rehearse(self) -> None:
        """Let every judge go through every set once; leave out what a peer gets wrong."""
        for name in self.work:
            wrong: dict[str, str] = {}
            for judge in self._on(name):
                shares, taken = self._rehearse(judge, name)
                self.passes[name, judge.name] = math.ceil(self.seconds / taken)
                for submission, share in zip(self.work[name], shares, strict=True):
                    if not judge.right(submission, share) and judge.name in PEERS:
                        wrong[submission.name] = judge.name
            self.work[name] = [submission for submission in self.work[name] if submission.name not in wrong]
            if wrong:
                told = ", ".join(f"{submission} ({judge})" for submission, judge in wrong.items())
                print(f"Left out of {name}, wrongly rejected by a peer: {told}.")

    def run(self, number: int) -> None:
        """Measure every judge on every set once, in an order that changes from round to round."""
        for name in self.work:
            judges = list(self._on(name))
            for judge in judges[number % len(judges) :] + judges[: number % len(judges)]:
                self.results.setdefault((name, judge.name), []).append(self._measure(judge, name))

    def _rehearse(self, judge: Judge, name: str) -> tuple[list[float], float]:
        """Return the shares of one pass, and how long it takes once everything has started and is warm."""
        for _ in range(2):
            start = time.perf_counter()
            shares = self._grade(judge, self.work[name])
            taken = time.perf_counter() - start
            if taken > self.seconds:
                break
        return shares, taken

    def _on(self, name: str) -> Iterable[Judge]:
        return (judge for judge in self.judges if name in judge.sets)

    def _grade(self, judge: Judge, work: Sequence[Submission]) -> list[float]:
        with ThreadPoolExecutor(self.workers) as threads:
            return list(threads.map(judge.grade, work))

    def _measure(self, judge: Judge, name: str) -> Measured:
        work = self.work[name] * self.passes[name, judge.name]
        used, start = processors.used_seconds(judge.engine), time.perf_counter()
        shares = self._grade(judge, work)
        seconds = time.perf_counter() - start
        used = processors.used_seconds(judge.engine) - used
        for submission, share in zip(work, shares, strict=True):
            if not judge.right(submission, share):
                found = f"{judge.name} on {submission.name} of {name}: {share:.2f}, not {submission.share:.2f}"
                self.disagreements.append(found)
        tests = sum(len(submission.exam.cases) for submission in work)
        return Measured(tests / seconds, used / len(work) * 1e3)

    def ratios(self, name: str, judge: str, peer: str, of: str = "rate") -> list[float]:
        """Return how the judge compares to the peer in each round; nothing if one of them was not there."""
        both = (self.results.get((name, judge), []), self.results.get((name, peer), []))
        return [getattr(ours, of) / getattr(theirs, of) for ours, theirs in zip(*both, strict=False)]


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Return the median and the range."""
    if not values:
        return "-"
    low, middle, high = (format(value, form) for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} [{low}..{high}]"


def print_set(benchmark: Benchmark, name: str) -> None:
    """Print a row per judge."""
    work = benchmark.work[name]
    peers = [judge.name for judge in benchmark._on(name) if judge.name in PEERS or judge.name == "subprocess"]
    print(f"\n{name}: {len(work)} submissions, {sum(len(submission.exam.cases) for submission in work)} tests")
    print(f"{'judge':26}{'tests/s':>22}{'CPU ms/submission':>24}" + "".join(f"{'x ' + peer:>24}" for peer in peers))
    for judge in benchmark.judges:
        if results := benchmark.results.get((name, judge.name)):
            cells = [spread([each.rate for each in results], ".0f"), spread([each.cpu_ms for each in results], ".1f")]
            cells += [spread(benchmark.ratios(name, judge.name, peer)) for peer in peers]
            widths = (22, *(24 for _ in cells[1:]))
            row = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
            print(f"{judge.name:26}{row}")


@dataclass(frozen=True)
class Target:
    """A sentence, a bound, whether it is the least or the most, and what was measured."""

    text: str
    bound: float
    least: bool
    values: Sequence[float]

    def __str__(self) -> str:
        if not self.values:
            return f"{self.text:66}{'not measured':>26}"
        middle = statistics.median(self.values)
        reached = middle >= self.bound if self.least else middle <= self.bound
        bound = f"{'>=' if self.least else '<='} {self.bound:g}"
        return f"{self.text:66}{bound:>8}{spread(self.values):>22}   {'reached' if reached else 'MISSED'}"


def targets(benchmark: Benchmark) -> list[Target]:
    """Return what the judges are to reach, from the medians of the ratios."""
    rate = benchmark.ratios
    cpu = functools.partial(benchmark.ratios, of="cpu_ms")
    found = [
        Target("batch against the official SDPO judge, pass", 10, True, rate("pass", "batch", "sdpo")),
        Target("batch, share of the SDPO judge's processor time, pass", 0.1, False, cpu("pass", "batch", "sdpo")),
        Target("hybrid against the SDPO judge, pass", 6, True, rate("pass", "hybrid", "sdpo")),
        Target("hybrid against the SDPO judge, fast", 6, True, rate("fast", "hybrid", "sdpo")),
        Target("hybrid, to a time-out against SDPO, fast", 6, True, rate("fast", "hybrid, to a time-out", "sdpo")),
        Target("isolated against the SDPO judge, pass", 2, True, rate("pass", "isolated", "sdpo")),
        Target("isolated against the SDPO judge, fast", 2, True, rate("fast", "isolated", "sdpo")),
    ]
    for name in HANGING:
        for judge in ("hybrid", "hybrid, to a time-out", "isolated"):
            how = "side by side" if judge != "hybrid, to a time-out" else "stops at the first"
            found.append(Target(f"{judge} ({how}) against SDPO, {name}", 1, True, rate(name, judge, "sdpo")))
    for judge in ("batch", "hybrid"):
        for name in ("pass", "real"):
            plain, lcb = rate(name, judge, "subprocess"), rate(name, judge, "livecodebench")
            found.append(Target(f"{judge} against a plain subprocess per test, {name}", 20, True, plain))
            found.append(Target(f"{judge} against LiveCodeBench's own, {name}", 9, True, lcb))
    for judge in ("batch", "hybrid", "isolated"):
        slower = rate("fast", judge, f"{judge}, Docker")
        found.append(Target(f"{judge}, how much slower in Docker, fast", 1.2, False, slower))
    return found


def start_seconds(make: Callable[[], Sandbox]) -> list[float]:
    """Return how long a sandbox takes from nothing to the end of its first run."""
    program = Program({"main.py": "print(1)"}, ("python", "main.py"))
    found = []
    for _ in range(OFTEN):
        start = time.perf_counter()
        sandbox = make()
        sandbox.run(program)
        found.append(time.perf_counter() - start)
        sandbox.close()
    return found


def docker_sandbox(workers: int) -> Sandbox:
    """Return a sandbox in Docker, of the image that sdpo_envs builds."""
    from sdpo_envs.sandbox.docker import DockerSandbox

    return DockerSandbox(workers=workers)


def own_modes(place: str, sandbox: Sandbox) -> list[Judge]:
    """Return our three ways to run every test."""
    batch = batch_judge(f"batch{place}", sandbox, sets=QUICK)
    return [batch, own_judge(f"hybrid{place}", sandbox), own_judge(f"isolated{place}", sandbox, isolated=True)]


def open_judges(settings: argparse.Namespace, closing: ExitStack) -> list[Judge]:
    """Open sandboxes and peers; `closing` closes them."""
    workers = settings.workers
    local = LocalSandbox(workers)
    closing.callback(local.close)
    found = own_modes("", local)
    found.append(own_judge("hybrid, to a time-out", local, stop="timeout", sets=("fast", *HANGING)))
    found.append(own_judge("hybrid, to a failure", local, stop="failure", sets=("fast", *HANGING)))
    if settings.docker:
        docker = docker_sandbox(workers)
        closing.callback(docker.close)
        found += [replace(judge, engine=True) for judge in own_modes(", Docker", docker)]
    found += plain_judges(closing)
    for name in PEERS:
        if path := getattr(settings, name):
            found.append(peer_judge(name, path, workers, closing))
    return found


def choose_work(settings: argparse.Namespace) -> dict[str, list[Submission]]:
    """Return the submissions of each set that was asked for."""
    every = list(submissions())
    work = {
        "pass": [submission for submission in every if submission.share == 1.0],
        "fast": [submission for submission in every if not submission.hangs],
        "all": every,
        "hang": [submission for submission in every if submission.hangs],
    }
    if settings.data:
        work["real"], work["functions"] = real_submissions(settings.data, settings.most)
    return {name: work[name] for name in settings.sets if name in work}


def parse() -> argparse.Namespace:
    """Return the settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sdpo", type=Path, help="checkout of lasgroup/SDPO")
    parser.add_argument("--livecodebench", type=Path, help="checkout of LiveCodeBench/LiveCodeBench")
    parser.add_argument("--prime-code", type=Path, help="folder with verl's package 'verl', 0.9 or newer")
    parser.add_argument("--data", type=Path, help="folder with LiveCodeBench's questions and programs, see work.py")
    parser.add_argument("--docker", action="store_true", help="measure DockerSandbox too; needs an engine")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=0.7, help="of one measurement, at least")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--most", type=int, default=40, help="real programs of each kind")
    return parser.parse_args()


def main() -> None:
    """Print a table per set, the table of targets, and what was judged wrongly."""
    settings = parse()
    busy = processors.busy_share(1.0)
    print(f"{settings.workers} workers, {settings.rounds} rounds, Python {sys.version.split()[0]}; ", end="")
    print(f"the machine was {busy:.0%} busy before" + (": not quiet, do not publish." if busy > 0.05 else "."))
    with ExitStack() as closing:
        work = choose_work(settings)
        benchmark = Benchmark(open_judges(settings, closing), work, settings.workers, settings.seconds)
        benchmark.rehearse()
        for number in range(settings.rounds):
            benchmark.run(number)
    for name in work:
        print_set(benchmark, name)
    rest = [Target("seconds to start, local", 0.2, False, start_seconds(lambda: LocalSandbox(1)))]
    docker = start_seconds(lambda: docker_sandbox(1)) if settings.docker else []
    rest.append(Target("seconds to start, Docker", 0.5, False, docker))
    right = [submission for submission in submissions() if submission.share == 1.0]
    with LocalSandbox(1) as sandbox:
        ratios = step_ratio(right, sandbox, settings.rounds, settings.seconds)
    rest.append(Target("time of env.step over that of the judge alone, pass", 1.2, False, ratios))
    with LocalSandbox(settings.workers) as sandbox:
        shares = keep_busy(right, sandbox, settings.rounds, settings.seconds)
    rest.append(Target("share of the processors that a GroupEnv of 64 keeps busy, pass", 0.9, True, shares))
    print("\ntargets (median of the rounds)", *targets(benchmark), *rest, sep="\n")
    if benchmark.disagreements:
        sys.exit("\n".join(["Wrong verdicts:", *sorted(set(benchmark.disagreements))]))


if __name__ == "__main__":
    main()
