"""The agent's commands for launchers of processes, which take a module: ``accelerate launch -m sdpo_agent train``."""

import contextlib
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, make_dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
import tyro
from rich.console import Console
from rich.markup import escape
from torch import Tensor

from sdpo_agent.card import WarmStartSettings, save_with_card
from sdpo_agent.contest import ContestSettings, contest
from sdpo_agent.curves import Record, curve
from sdpo_agent.discover import BestOfK, DiscoverSettings, MultiTurn, Strategy, TestTime, discover
from sdpo_agent.options import Remote, Source, World
from sdpo_agent.policy import Policy
from sdpo_agent.presets import PRESETS, Preset, Settings, make_algorithm
from sdpo_agent.probe import ProbeSettings, probe
from sdpo_agent.processes import Processes
from sdpo_agent.report import discovery_table, probe_table, save_discovery, save_probe
from sdpo_agent.rollout import Sampler
from sdpo_agent.run import require_run, saved_attempts
from sdpo_agent.sdpo import SDPOSettings
from sdpo_agent.train import TrainSettings, train
from sdpo_envs import GroupEnv, InfrastructureError, Recording, SettingError, record
from sdpo_envs.cli import for_the_user
from sdpo_envs.errors import within

Inline = tyro.conf.arg(name="")
Way = Literal["best-of-k", "reprompt", "feedback", "conversation", "sdpo"]


@dataclass(frozen=True)
class Train:
    """Train a policy on an environment with feedback."""

    settings: Annotated[Any, tyro.conf.Suppress] = None
    """Of the algorithm."""
    name: str = ""
    """What the run is called where runs are compared."""
    world: Annotated[World, Inline] = field(default_factory=World)
    test_settings: str = ""
    """Keywords that make the environment to test on of the one to train on, a JSON object, such as
    '{"split": "test"}'; none tests nothing."""
    test_attempts: int = 2
    """Attempts per task in a test, where all tasks are played."""
    source: Annotated[Source, Inline] = field(default_factory=Source)
    run: Path = Path("runs/latest")
    """The folder to write to."""
    resume: bool = False
    """Go on after the checkpoint in that folder."""
    tasks: int = 32
    """Tasks per training step, of all processes together."""
    group_size: int = 8
    """Attempts per task."""
    loop: Annotated[TrainSettings, Inline] = field(default_factory=TrainSettings)

    def __call__(self) -> None:
        """Run it."""
        processes = Processes()
        if self.tasks % processes.count:
            raise SettingError(f"tasks={self.tasks} must be a multiple of the {processes.count} processes.")
        told = {
            "world": asdict(self.world),
            "source": asdict(self.source),
            "tasks": self.tasks,
            "group_size": self.group_size,
            "test_attempts": self.test_attempts,
        }
        with contextlib.ExitStack() as stack:
            envs = self.world.groups(self.tasks // processes.count, self.group_size)
            stack.callback(envs.close)
            policy = self.source.load(envs, self.loop.seed)
            test = self._test(processes)
            if test is not None:
                stack.callback(test.close)
            recording = self._recording(processes)
            rows = train(
                policy,
                make_algorithm(policy, self.settings),
                record(envs, recording),
                self.loop,
                self.run,
                test=None if test is None else record(test, recording, phase="test"),
                resume=self.resume,
                told=told,
            )
        last = rows[-1] if rows else {}
        if processes.first:
            Console().print(
                f"{len(rows)} steps; success rate of the last {last.get('success_rate', float('nan')):.3f}; "
                f"written to {escape(str(self.run))}",
                soft_wrap=True,
            )

    def _test(self, processes: Processes) -> GroupEnv | None:
        """Make the groups to test on, all tasks at once."""
        if not self.test_settings:
            return None
        world = self.world.changed(self.test_settings)
        with contextlib.closing(world.groups(1, 1)) as one:
            tasks = len(one.task_ids)
        if tasks % processes.count:
            raise SettingError(f"{tasks} tasks to test on must be a multiple of the {processes.count} processes.")
        return world.groups(tasks // processes.count, self.test_attempts)

    def _recording(self, processes: Processes) -> Recording:
        """Begin the recording, or go on where the last checkpoint was; one process does, and the others join in."""
        if processes.first:
            recording = self._own_recording()
        processes.gather("there is a recording")
        return recording if processes.first else Recording(self.run, resume=True)

    def _own_recording(self) -> Recording:
        told = {"algorithm": self.name, "seed": self.loop.seed}
        if not self.resume:
            rows = self.run / "attempts.jsonl"
            killed = rows.exists() and not rows.stat().st_size  # before anything was attempted
            return Recording(self.run, told=told, resume=killed)
        require_run(self.run)
        attempts = saved_attempts(self.run)
        return Recording(self.run, told=told, resume=True, generations=-1 if attempts is None else attempts)


def _train_with(settings: type[Any]) -> type[Train]:
    """Return `Train` for the settings of one algorithm, so that the command line knows its flags."""
    own = ("settings", Annotated[settings, Inline], field(default_factory=settings))
    return make_dataclass(f"Train{settings.__name__}", [own], bases=(Train,), frozen=True)


TRAINS = {settings: _train_with(settings) for settings in get_args(Settings)}
"""By the type of an algorithm's settings."""


def _from_preset(name: str, preset: Preset) -> Train:
    return TRAINS[type(preset.settings)](
        preset.settings, name, loop=preset.loop, tasks=preset.tasks, group_size=preset.group_size
    )


TRAIN = tyro.extras.subcommand_type_from_defaults(
    {name: _from_preset(name, preset) for name, preset in PRESETS.items()},
    {name: preset.about for name, preset in PRESETS.items()},
)
"""What tyro reads: a subcommand for each preset."""


@dataclass(frozen=True)
class Training:
    """Train a policy on an environment with feedback.

    Each algorithm has a --help of its own.

    Examples:
        sdpo train sdpo --env sdpo/ToolUse-v0 --policy Qwen/Qwen3-0.6B
        sdpo train grpo --env sdpo/MicroCode-v0 --policy micro --steps 20 --run runs/grpo
        sdpo train grpo --env sdpo/MicroCode-v0 --policy micro --steps 40 --run runs/grpo --resume
    """

    chosen: Annotated[TRAIN, Inline]  # type: ignore[valid-type]
    """The algorithm, with its settings."""

    def __call__(self) -> None:
        """Run it."""
        self.chosen()  # type: ignore[misc]


@dataclass(frozen=True)
class Discover:
    """Attempt hard tasks until an attempt succeeds.

    In one way or several, side by side; discovery@k is drawn in the end.

    Examples:
        sdpo discover --env sdpo/LiveCodeBench-v0 --policy Qwen/Qwen3-0.6B --task-ids sdpo_s01
        sdpo discover --env sdpo/SciKnowEval-v0 --url http://localhost:8000/v1 --model NAME --ways best-of-k feedback
    """

    world: Annotated[World, Inline] = field(default_factory=World)
    source: Annotated[Source, Inline] = field(default_factory=Source)
    remote: Annotated[Remote, Inline] = field(default_factory=Remote)
    ways: tuple[Way, ...] = ("best-of-k", "feedback", "sdpo")
    """What is done with failures: nothing, the last one's feedback is shown, that of all is, the attempts too, or they
    are learned from."""
    task_ids: tuple[str, ...] = ()
    """The tasks; none takes the first ones."""
    tasks: int = 1
    """How many, where none is named."""
    seeds: int = 1
    """Runs of each way at each task."""
    batch: int = 16
    """Attempts per round; in multi-turn, chains side by side."""
    memory: int | None = None
    """Most failures that multi-turn shows; None for as many as there is room for."""
    run: Path = Path("runs/discover")
    """The folder to write to: a folder per way, task and seed in it."""
    resume: bool = False
    """Go on with what is in that folder."""
    loop: Annotated[DiscoverSettings, Inline] = field(
        default_factory=lambda: DiscoverSettings(learning_rate=PRESETS["sdpo-test-time"].loop.learning_rate)
    )
    sdpo: SDPOSettings = field(default_factory=lambda: _test_time())

    def __call__(self) -> None:
        """Run it."""
        if not self.ways:
            raise SettingError("--ways names none; name at least one, such as best-of-k.")
        if self.memory is not None:
            within("memory", self.memory, 1)
        if self.remote.url and "sdpo" in self.ways:
            raise SettingError("A policy behind a server cannot learn; leave 'sdpo' out of --ways, or leave out --url.")
        if Processes().count > 1:
            raise SettingError("discover runs in one process; start it without a launcher.")
        envs = self.world.groups(1, self.batch)
        sampler = self.remote.sampler(self.source, envs, self.loop.seed)
        start = [weight.detach().clone() for weight in sampler.trainable()] if isinstance(sampler, Policy) else []
        records: dict[str, list[Record]] = {way: [] for way in self.ways}
        task_ids, seeds = self.task_ids or envs.task_ids[: self.tasks], range(self.seeds)
        try:
            for task_id, way, seed in product(task_ids, self.ways, seeds):
                if isinstance(sampler, Policy):
                    _go_back(sampler, start)
                records[way].append(self._run(sampler, envs, task_id, way, self.loop.seed + seed))
        finally:
            envs.close()
        curves = {way: curve(runs, self.loop.attempts) for way, runs in records.items()}
        _out().print(discovery_table(curves, {way: len(runs) for way, runs in records.items()}))
        save_discovery(curves, self.run)

    def _run(self, sampler: Sampler, envs: GroupEnv, task_id: str, way: Way, seed: int) -> Record:
        loop = replace(self.loop, seed=seed, play_on=self.loop.play_on and way == "best-of-k")
        folder = self.run / way / re.sub(r"[^\w.-]+", "_", task_id) / str(seed)
        rows = discover(
            self._strategy(way, sampler, loop),
            envs,
            task_id,
            loop,
            folder,
            resume=self.resume and (folder / "config.json").exists(),
            told={"way": way, "seed": seed, **asdict(self.world), "policy": self.remote.model or self.source.policy},
        )
        return Record(task_id, tuple(row["passed"] for row in rows if row["attempt"] is not None), loop.play_on)

    def _strategy(self, way: Way, sampler: Sampler, loop: DiscoverSettings) -> Strategy:
        if way == "sdpo" and isinstance(sampler, Policy):
            return TestTime(sampler, make_algorithm(sampler, self.sdpo), loop)
        if way == "best-of-k":
            return BestOfK(sampler)
        memory = 1 if way == "reprompt" else self.memory
        return MultiTurn(sampler, loop, conversation=way == "conversation", memory=memory)


@dataclass(frozen=True)
class Probe:
    """Tell, before any training, how much feedback helps a policy.

    Examples:
        sdpo probe --env sdpo/ToolUse-v0 --policy Qwen/Qwen3-0.6B --tasks 32 --group-size 8
        sdpo probe --env sdpo/ToolUse-v0 --url http://localhost:8000/v1 --model NAME
    """

    world: Annotated[World, Inline] = field(default_factory=World)
    source: Annotated[Source, Inline] = field(default_factory=Source)
    remote: Annotated[Remote, Inline] = field(default_factory=Remote)
    run: Path = Path("runs/probe")
    """The folder to write probe.json and probe.png to."""
    group_size: int = 8
    """Attempts per task."""
    at_once: int = 4
    """Tasks that are played side by side."""
    loop: Annotated[ProbeSettings, Inline] = field(default_factory=ProbeSettings)

    def __call__(self) -> None:
        """Run it."""
        envs = self.world.groups(self.at_once, self.group_size)
        try:
            found = probe(self.remote.sampler(self.source, envs, self.loop.seed), envs, self.loop)
        finally:
            envs.close()
        if not found:
            raise InfrastructureError(
                "Every attempt at every task broke; `python -m sdpo_envs.sandbox doctor` may help."
            )
        _out().print(probe_table(found))
        save_probe(found, self.run)


@dataclass(frozen=True)
class WarmStart:
    """Make the small policy of the laptop benchmark.

    Examples:
        sdpo warm-start --out runs/micro
    """

    settings: Annotated[WarmStartSettings, Inline] = field(default_factory=WarmStartSettings)
    out: Path = Path("runs/warm-start")
    """The folder to write the policy and its card to."""

    def __call__(self) -> None:
        """Run it."""
        _out().print_json(data=save_with_card(self.settings, self.out))


@dataclass(frozen=True)
class Bench:
    """Tune algorithms alike, train each over seeds, and compare.

    Examples:
        sdpo bench --algorithms grpo sdpo hybrid --seeds 10
        sdpo bench --env sdpo/MicroTool-v0 --algorithms grpo sdpo --seeds 3 --tuning-seeds 0 --run runs/tools
    """

    settings: Annotated[ContestSettings, Inline] = field(default_factory=ContestSettings)

    def __call__(self) -> None:
        """Run it."""
        contest(self.settings)


def _out() -> Console:
    """Return the standard output, wide enough for a table where no terminal says how wide it is."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def _test_time() -> SDPOSettings:
    settings = PRESETS["sdpo-test-time"].settings
    assert isinstance(settings, SDPOSettings)
    return settings


@torch.no_grad()
def _go_back(policy: Policy, weights: Sequence[Tensor]) -> None:
    for mine, before in zip(policy.trainable(), weights, strict=True):
        mine.copy_(before)


def parse(arguments: Sequence[str]) -> Train | Discover | Probe | WarmStart | Bench:
    """Read a command line; one that is not understood ends the program, as its settings may do by a SettingError."""
    commands = (
        Annotated[TRAIN, tyro.conf.subcommand("train", description=Train.__doc__)]  # type: ignore[valid-type]
        | Annotated[Discover, tyro.conf.subcommand("discover")]
        | Annotated[Probe, tyro.conf.subcommand("probe")]
        | Annotated[WarmStart, tyro.conf.subcommand("warm-start")]
        | Annotated[Bench, tyro.conf.subcommand("bench")]
    )
    omit = (tyro.conf.OmitSubcommandPrefixes,)
    command: Any = tyro.cli(commands, args=arguments, prog="python -m sdpo_agent", config=omit)
    return command  # type: ignore[no-any-return]


def main() -> None:
    """Run the command that was asked for."""
    with for_the_user():
        parse(sys.argv[1:])()


if __name__ == "__main__":
    main()
