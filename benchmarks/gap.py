"""Does the gap between self-teacher and student, before any training, foretell what training gains?

    python benchmarks/gap.py runs/ablations runs/ablations-tool --out runs/gap

Reads what `sdpo bench` has made with several ways to teach. For each way, in each world: the probe's
gap and lift (`sdpo_agent.probe`), of the policy that training began with, under the hindsight that this way shows its
teacher, each times the share of attempts that there is such hindsight on; and the final success less that before
training, on tasks to test on. All are means over seeds, with 95 % bootstrap intervals over them. It prints them, with
Spearman's rank correlations of gap and of lift with the gain, whose intervals are over ways drawn anew; and draws
``gap.png`` and writes ``gap.json``. That the gap predicts the gain was reported in arXiv 2605.30070.
"""

import argparse
import json
import statistics
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from sdpo_agent.options import Source, World
from sdpo_agent.probe import ProbeSettings, mean_with_interval, probe
from sdpo_agent.reprompt import Reprompt

matplotlib.use("Agg")
from matplotlib import pyplot

TASKS = 96
AT_ONCE = 8
LAST = 3
NEAR = 0.05  # in nats per token, and in success
MARKERS = "osD^v"

Floats = npt.NDArray[np.float64]


class Seen(NamedTuple):
    """What the probe says: magnitude of the gap in nats per token of failed attempts, and the lift in success."""

    gap: float
    lift: float


@dataclass
class Way:
    """One way to teach, in one world: a value per seed.

    Attributes:
        name: Of the contender.
        world: The environment and its settings, the seed left out.
        seen: What the probe says.
        gains: Final success less that before training.
    """

    name: str
    world: str
    seen: list[Seen] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)

    @property
    def gap(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(each.gap for each in self.seen)

    @property
    def lift(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(each.lift for each in self.seen)

    @property
    def gain(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.gains)


def main() -> None:
    """Probe, and compare with what was gained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders that a benchmark has written")
    parser.add_argument("--out", type=Path, default=Path("runs/gap"))
    parser.add_argument("--tasks", type=int, default=TASKS, help="to probe, of each world")
    parser.add_argument("--ways", nargs="*", default=[], help="contenders to take; all, if none is named")
    arguments = parser.parse_args()
    ways = read(arguments.runs, arguments.tasks, arguments.ways)
    if len(ways) < 3:
        raise SystemExit(f"There are runs of SDPO of {len(ways)} ways to teach; a correlation needs three or more.")
    show(ways)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = [{"way": each.name, "world": each.world, "seen": each.seen, "gains": each.gains} for each in ways]
    (arguments.out / "gap.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    draw(ways, arguments.out / "gap.png")
    print(f"Written to {arguments.out}")


def read(folders: Sequence[Path], tasks: int, only: Sequence[str] = ()) -> list[Way]:
    """Return every way to teach by SDPO that there are finished runs of; runs that tune are left out.

    Args:
        folders: That a benchmark has written.
        tasks: To probe, of each world.
        only: Names of ways to take; none takes all.
    """
    ways: dict[tuple[str, str], Way] = {}
    known: dict[str, Seen] = {}
    runs = sorted(path.parent for folder in folders for path in folder.glob("*/*/done.json"))
    for run in runs:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        told = json.loads((run / "recording.json").read_text(encoding="utf-8"))["told"]
        if config["algorithm"] != "SDPO" or (only and told["algorithm"] not in only):
            continue
        shown = [config["world"], config["source"], config["group_size"], config["settings"]["reprompt"]]
        key = json.dumps(shown, sort_keys=True)
        if key not in known:
            known[key] = seen(config, tasks)
        settings = json.loads(config["world"]["env_settings"])
        more = "".join(f", {name} {value}" for name, value in settings.items() if name != "world")
        world = config["world"]["env"].removeprefix("sdpo/").removesuffix("-v0") + more
        way = ways.setdefault((world, told["algorithm"]), Way(told["algorithm"], world))
        tests = [json.loads(line)["success_rate"] for line in (run / "tests.jsonl").read_text("utf-8").splitlines()]
        way.seen.append(known[key])
        way.gains.append(statistics.fmean(tests[-LAST:]) - tests[0])
    return list(ways.values())


def seen(config: dict[str, Any], tasks: int) -> Seen:
    """Probe the policy that a run began with, in its world, with what its teacher reads."""
    world, source, loop = World(**config["world"]), Source(**config["source"]), config["loop"]
    settings = ProbeSettings(tasks, loop["max_tokens"], loop["temperature"], loop["seed"])
    envs = world.groups(AT_ONCE, config["group_size"])
    try:
        inputs = {"": Reprompt(**config["settings"]["reprompt"])}
        found = [task.lifts[""] for task in probe(source.load(envs, loop["seed"]), envs, settings, inputs=inputs)]
    finally:
        envs.close()
    gaps = [lift.gap_size * lift.shown for lift in found if lift.gap_size is not None]
    lifts = [lift.lift * lift.shown for lift in found if lift.lift is not None]
    return Seen(sum(gaps) / len(found), sum(lifts) / len(found))


def correlation(first: Sequence[float], second: Sequence[float], draws: int = 2000) -> str:
    """Return Spearman's rho with a 95 % interval over points drawn anew, or that all of either are equal."""
    if min(len(set(first)), len(set(second))) < 2:
        return "undefined"
    rng, pairs = np.random.default_rng(0), np.array([first, second])
    drawn = [pairs[:, rng.integers(pairs.shape[1], size=pairs.shape[1])] for _ in range(draws)]
    rhos = [rank_correlation(each) for each in drawn if all(len(set(row)) > 1 for row in each.tolist())]
    low, high = np.quantile(rhos, [0.025, 0.975])
    return f"{rank_correlation(pairs):.2f} [{low:.2f}, {high:.2f}]"


def rank_correlation(pairs: Floats) -> float:
    """Return the correlation of ranks; equal values share the mean of theirs."""
    ranks = [[(row < value).sum() + (row == value).sum() / 2 for value in row] for row in pairs]
    return float(np.corrcoef(ranks)[0, 1])


def show(ways: Sequence[Way]) -> None:
    """Print the table and the correlations."""
    table = Table("world", "way", "seeds", "gap, nats/token", "lift", "gain", title="Before and after")
    for way in sorted(ways, key=lambda each: (each.world, -each.gain)):
        parts = ([each.gap for each in way.seen], [each.lift for each in way.seen], way.gains)
        told = ("{:.2f} [{:.2f}, {:.2f}]".format(*mean_with_interval(values)) for values in parts)
        table.add_row(way.world, way.name, str(len(way.gains)), *told)
    Console().print(table)
    for world in [*dict.fromkeys(way.world for way in ways), ""]:
        chosen = [way for way in ways if world in ("", way.world)]
        if len(chosen) < 3:
            continue
        gains = [way.gain for way in chosen]
        told = " and ".join(
            f"of {name} {correlation([getattr(way, name) for way in chosen], gains)}" for name in ("gap", "lift")
        )
        print(f"{world or 'All'}, {len(chosen)} ways: rank correlation with the gain, {told}")


def labels(points: Sequence[tuple[float, float, str]]) -> list[tuple[tuple[float, float], str]]:
    """Return where to write which names: once for points that nearly meet."""
    told: dict[tuple[float, float], list[str]] = {}
    for x, y, name in sorted(points, key=lambda each: -each[1]):
        near = [place for place in told if abs(place[0] - x) < NEAR and abs(place[1] - y) < NEAR]
        told.setdefault(near[0] if near else (x, y), []).append(name)
    return [(place, textwrap.fill(", ".join(names), 30)) for place, names in told.items()]


def draw(ways: Sequence[Way], path: Path) -> None:
    """Draw gain over gap and over lift, a marker per world."""
    figure, panels = pyplot.subplots(1, 2, figsize=(11, 5), sharey=True, layout="constrained")
    by_world: dict[str, list[Way]] = defaultdict(list)
    for way in ways:
        by_world[way.world].append(way)
    for axes, name in zip(panels, ("gap", "lift"), strict=True):
        for number, (world, some) in enumerate(by_world.items()):
            marker = MARKERS[number % len(MARKERS)]
            axes.scatter([getattr(way, name) for way in some], [way.gain for way in some], marker=marker, label=world)
            for place, text in labels([(getattr(way, name), way.gain, way.name) for way in some]):
                axes.annotate(text, place, xytext=(4, 4), textcoords="offset points", fontsize=6, va="top")
        axes.margins(0.25, 0.1)
    panels[0].set(xlabel="gap before training, nats/token of failed attempts", ylabel="gain in success")
    panels[1].set(xlabel="lift before training")
    panels[0].legend()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
