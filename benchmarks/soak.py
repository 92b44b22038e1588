"""Judge for a long time, and look whether anything grows: memory, descriptors, processes, mounts.

Submissions of every kind are judged over and over behind the local wall: right, wrong, crashing, hanging, flooding, and
bounded bombs. Between waves, while nothing runs, it is measured what the host and its workers hold. It fails when

    a submission is not judged as it must be, even once
    the median memory of the last quarter is more than 5 % and 2 MiB above that of the first quarter
    the median descriptors, processes or mounts of the last quarter are above those of the first quarter

of the waves after the first tenth, in which caches fill. Mounts are those at or below /proc, where the walls are built:
others come and go by themselves. The curve goes to a folder, as CSV and, with the extra "bench", as PNG.

    python benchmarks/soak.py --judgements 100000
"""

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from itertools import cycle, islice, repeat
from pathlib import Path

from sdpo_envs import Outcome, Sandbox
from sdpo_envs.codejudge import Case, Exam, judge_code
from sdpo_envs.errors import MissingExtra, require
from sdpo_envs.sandbox.local import LocalSandbox

EXAM = Exam(tuple(Case(f"{number} 5\n", f"{number + 5}\n") for number in range(4)))
WARM_UP = 2  # times that each worker has met everything before the first sample
PAUSE_SECONDS = 0.1  # until workers have put away what they used last
SETTLED = 0.1
MEMORY = ("host_mb", "workers_mb")
CURVES = (*MEMORY, "descriptors", "processes", "mounts")
GROWTH, SLACK_MB = 1.05, 2.0

RIGHT = "print(sum(map(int, input().split())))"
CHEAP = {
    "right": (RIGHT, Outcome.PASSED),
    "right, with numpy": (f"import numpy\n{RIGHT}", Outcome.PASSED),
    "right, in a function": (f"def main(): {RIGHT}\nmain()", Outcome.PASSED),
    "right, on the third line": (f"seen = []\nseen.append({RIGHT!r})\n{RIGHT}", Outcome.PASSED),
    "leaves files": (f"import os\nos.makedirs('a/b/c')\nopen('a/x', 'w').write('x' * 9999)\n{RIGHT}", Outcome.PASSED),
    "wrong": ("print(0)", Outcome.WRONG),
    "wrong once": ("a, b = map(int, input().split())\nprint(a + b - (a == 3))", Outcome.WRONG),
    "says nothing": ("import os\nos._exit(0)", Outcome.WRONG),
    "crashes": ("[][1]", Outcome.CRASHED),
    "is no Python": ("print(1", Outcome.INVALID),
}
DEAR = {
    "kills itself": ("import os\nos.kill(os.getpid(), 9)", Outcome.CRASHED),
    "leaves a thread": (
        f"import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n{RIGHT}",
        Outcome.PASSED,
    ),
    "leaves processes": (
        f"import os, time\nfor _ in range(3):\n    if not os.fork(): time.sleep(99)\n{RIGHT}",
        Outcome.PASSED,
    ),
    "hangs": ("while True: pass", Outcome.TIMED_OUT),
    "floods": ("print('x' * (5 << 18))", Outcome.TOO_MUCH_OUTPUT),
    "memory bomb": ("a = []\nwhile True: a.append(bytearray(1 << 22))", Outcome.OUT_OF_MEMORY),
    "fork bomb": (
        "import os, time\ntry:\n    for _ in range(50):\n        if not os.fork(): time.sleep(99)\n"
        f"except BlockingIOError: pass\n{RIGHT}",
        Outcome.PASSED,
    ),
    "file bomb": (
        f"import os\ntry:\n    for n in range(9000): os.mkdir(str(n))\nexcept OSError: pass\n{RIGHT}",
        Outcome.PASSED,
    ),
}
SUBMISSIONS = [*(list(CHEAP.items()) * 8), *DEAR.items()]
"""What is judged, in turn: a name, the code, and how it must be judged."""


@dataclass(frozen=True)
class Sample:
    """What the host and its workers hold while nothing runs."""

    judgements: int
    seconds: float
    host_mb: float
    workers_mb: float
    descriptors: int
    processes: int
    mounts: int


def judge(numbered: tuple[str, tuple[str, Outcome]], sandbox: Sandbox) -> str:
    """Judge one submission; return how the verdict differs from what it must be, or nothing."""
    name, (code, outcome) = numbered
    seconds = 0.05 if outcome is Outcome.TIMED_OUT else 10.0
    verdict = judge_code(code, EXAM, sandbox, seconds=seconds, memory_mb=64)
    return "" if verdict.outcome is outcome else f"{name!r} was judged {verdict.outcome.value}, not {outcome.value}"


def soak(judgements: int, waves: int, sandbox: LocalSandbox) -> tuple[list[Sample], list[str]]:
    """Judge in waves; return a sample after each, and what was judged wrongly."""
    samples, mistakes = [], []
    queue, done = cycle(SUBMISSIONS), 0
    with ThreadPoolExecutor(sandbox.workers) as threads:
        for submission in (CHEAP | DEAR).items():
            list(threads.map(judge, [submission] * WARM_UP * sandbox.workers, repeat(sandbox)))
        started = time.monotonic()
        for wave in range(1, waves + 1):
            size = judgements * wave // waves - done
            reports = threads.map(judge, islice(queue, size), repeat(sandbox))
            mistakes += [report for report in reports if report]
            done += size
            time.sleep(PAUSE_SECONDS)
            samples.append(measure(done, time.monotonic() - started))
    return samples, mistakes


def measure(judgements: int, seconds: float) -> Sample:
    """Read off /proc what this process and all below it hold."""
    workers = below("self")
    return Sample(
        judgements,
        seconds,
        resident_mb("self"),
        sum(map(resident_mb, workers)),
        sum(len(list(Path("/proc", pid, "fd").iterdir())) for pid in ("self", *workers)),
        len(workers),
        sum(Path("/proc", pid, "mountinfo").read_text().count(" /proc") for pid in ("self", *workers)),
    )


def below(pid: str) -> list[str]:
    """Return the ids of all processes that come from `pid`, zombies included."""
    lists = Path("/proc", pid, "task").glob("*/children")
    children = [child for listed in lists for child in listed.read_text().split()]
    return [*children, *(grandchild for child in children for grandchild in below(child))]


def resident_mb(pid: str) -> float:
    """Return the resident memory of a process in MiB."""
    status = Path("/proc", pid, "status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024 if "VmRSS:" in status else 0.0


def trends(samples: Sequence[Sample]) -> list[str]:
    """Return what grew, by the rule above."""
    settled = samples[int(len(samples) * SETTLED) :]
    quarter = max(1, len(settled) // 4)
    grown = []
    for name in CURVES:
        typical = statistics.median if name in MEMORY else statistics.median_low
        first, last = (
            typical(getattr(each, name) for each in part) for part in (settled[:quarter], settled[-quarter:])
        )
        if last > first * GROWTH and last > first + SLACK_MB if name in MEMORY else last > first:
            grown.append(f"{name} grew from {first:g} to {last:g}")
    return grown


def table(samples: Sequence[Sample], rows: int = 10) -> str:
    """Return some of the samples, evenly chosen, as a table."""
    chosen = sorted({round(position * (len(samples) - 1) / (rows - 1)) for position in range(rows)})
    lines = ["  ".join(f"{field.name:>11}" for field in fields(Sample))]
    lines += [
        "  ".join(f"{value:>11,.1f}" if isinstance(value, float) else f"{value:>11,}" for value in row)
        for row in (astuple(samples[position]) for position in chosen)
    ]
    return "\n".join(lines)


def save(samples: Sequence[Sample], folder: Path) -> list[Path]:
    """Write the curve and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "soak.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(Sample))
        writer.writerows(map(astuple, samples))
    try:
        pyplot = require("matplotlib.pyplot", "bench")
    except MissingExtra as error:
        print(f"No picture is drawn. {error}")
        return [folder / "soak.csv"]
    figure, axes = pyplot.subplots(5, sharex=True, figsize=(8, 9), layout="constrained")
    for axis, name in zip(axes, CURVES, strict=True):
        axis.plot([sample.judgements for sample in samples], [getattr(sample, name) for sample in samples])
        axis.set_ylabel(name)
        axis.set_ylim(0, 1.2 * max(getattr(sample, name) for sample in samples))
    axes[-1].set_xlabel("judgements")
    figure.savefig(folder / "soak.png", dpi=120)
    return [folder / "soak.csv", folder / "soak.png"]


def main() -> None:
    """Judge, print and save the curve, and exit with what went wrong, if anything did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judgements", type=int, default=100_000)
    parser.add_argument("--waves", type=int, default=200, help="how often to measure")
    parser.add_argument("--workers", type=int, default=None, help="one per processor by default")
    parser.add_argument("--folder", type=Path, default=Path("runs/soak"))
    settings = parser.parse_args()
    with LocalSandbox(settings.workers) as sandbox:
        samples, mistakes = soak(settings.judgements, settings.waves, sandbox)
    print(table(samples))
    rate = samples[-1].judgements / samples[-1].seconds
    print(f"{rate:,.0f} judgements/s of {len(EXAM.cases)} tests each, on {sandbox.workers} workers")
    print("Saved:", *save(samples, settings.folder))
    left = below("self")
    failures = [*mistakes, *trends(samples), *([f"{len(left)} processes are left after close"] if left else [])]
    sys.exit("\n".join(failures[:20]) if failures else 0)


if __name__ == "__main__":
    main()
