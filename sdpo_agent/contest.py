"""The benchmark: algorithms tuned alike, trained from the same policy in the same worlds, and compared with intervals.

    sdpo bench --algorithms grpo sdpo hybrid --seeds 10

First every algorithm chooses among its variants, by their final success on seeds that are not reported. Then it is
trained on those that are, a world each. The environment keeps the score (`sdpo_envs.record`), and `sdpo_envs.bench`
compares what it wrote, as it does with the rows of any other loop.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from rich.console import Console

from sdpo_agent.contenders import Contender, contenders
from sdpo_agent.jobs import PROGRAM, Job, run_all
from sdpo_envs import SettingError
from sdpo_envs.bench import compare, save, show
from sdpo_envs.cli import parse_settings
from sdpo_envs.errors import within

_TUNING_SEEDS_FROM = 1000


@dataclass(frozen=True, slots=True)
class ContestSettings:
    """What is compared, and in what."""

    algorithms: tuple[str, ...] = ("grpo", "sdpo", "hybrid")
    """Names of `sdpo_agent.contenders`, the baseline first; "mine=sdpo --teacher frozen" makes one of a preset and
    flags."""
    env: str = "sdpo/MicroCode-v0"
    """The environment."""
    env_settings: str = "{}"
    """Keywords for it, a JSON object."""
    test_settings: str = '{"split": "test"}'
    """Keywords that make the environment to test on of it."""
    world: str = "world"
    """The keyword of the environment that is the seed; "" for none."""
    policy: str = "micro"
    """Where every run starts."""
    seeds: int = 10
    """Runs of each algorithm, with the seeds from 0 on."""
    tuning_seeds: int = 2
    """Runs of each variant that an algorithm chooses among, with the seeds from 1000 on; 0 takes the first variant."""
    steps: int = 150
    """Training steps of a run."""
    tasks: int = 8
    """Tasks per step; a contender may share out the attempts of a step otherwise, as some variants do."""
    group_size: int = 8
    """Attempts per task."""
    test_every: int = 10
    """Steps between tests."""
    max_tokens: int = 64
    """The longest action."""
    flags: str = ""
    """More flags for all runs, such as --flags="--temperature 0.8", with the equals sign before the dashes."""
    at_once: int = 2
    """Runs side by side, one thread each."""
    run: Path = Path("runs/bench")
    """The folder to write to. What is finished there is not made again."""

    def __post_init__(self) -> None:
        for name in ("seeds", "steps", "tasks", "group_size", "at_once"):
            within(name, getattr(self, name), 1)
        within("tuning_seeds", self.tuning_seeds, 0)
        parse_settings(self.env_settings, "--env-settings")
        if self.test_settings:
            parse_settings(self.test_settings, "--test-settings")


def contest(settings: ContestSettings, program: Sequence[str] = PROGRAM) -> None:
    """Tune, train, compare; print the tables and write ``report/report.html``.

    Args:
        settings: See there.
        program: What makes the runs.

    Raises:
        SettingError: a name is not known, algorithms have unlike numbers of variants, or what is in the folder was
            made otherwise.
        InfrastructureError: a run failed.
    """
    known = contenders(settings.algorithms)
    if settings.tuning_seeds:
        chosen = _tuned(known, settings, program)
    else:
        chosen = {name: each.commands(settings.steps)[0] for name, each in known.items()}
    jobs = [
        _job(settings, name, chosen[name], seed, settings.run / name / str(seed))
        for seed, name in product(range(settings.seeds), known)
    ]
    run_all(jobs, settings.at_once, "training", program)
    found = compare([job.folder for job in jobs], baseline=next(iter(known)))
    show(found)
    save(found, settings.run / "report", title=f"{', '.join(known)} on {settings.env}", command=command(settings))
    Console().print(f"Written to {settings.run / 'report' / 'report.html'}", soft_wrap=True)


def command(settings: ContestSettings) -> str:
    """Return the command line that makes the same sweep."""
    default = ContestSettings()
    words = ["sdpo", "bench"]
    for name in ContestSettings.__slots__:
        value = getattr(settings, name)
        if value != getattr(default, name):
            flag = f"--{name.replace('_', '-')}"
            words += [flag, *value] if isinstance(value, tuple) else [f"{flag}={value}"]
    return shlex.join(words)


def _tuned(
    known: Mapping[str, Contender], settings: ContestSettings, program: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Run every variant on seeds of its own; return the command of each algorithm's best, and write it down."""
    counts = {name: len(each.variants) for name, each in known.items()}
    if len(set(counts.values())) > 1:
        raise SettingError(
            f"Algorithms must choose among the same number of variants, not {counts}. Tune them alike, or give "
            f"--tuning-seeds 0 to take the first of each."
        )
    folder = settings.run / "tuning"
    variants = {
        f"{name}-{n}": each for name, one in known.items() for n, each in enumerate(one.commands(settings.steps))
    }
    seeds = range(_TUNING_SEEDS_FROM, _TUNING_SEEDS_FROM + settings.tuning_seeds)
    jobs = [
        _job(settings, name, variants[name], seed, folder / name / str(seed)) for seed, name in product(seeds, variants)
    ]
    run_all(jobs, settings.at_once, "tuning", program)
    finals = {each.algorithm: each.final.value for each in compare([job.folder for job in jobs]).standings}
    chosen = {name: max(_of(name, counts[name]), key=lambda each: finals[each]) for name in known}
    told = [
        {"variant": name, "flags": shlex.join(each), "final": round(finals[name], 4), "chosen": name in chosen.values()}
        for name, each in variants.items()
    ]
    (folder / "tuning.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return {name: variants[variant] for name, variant in chosen.items()}


def _of(name: str, count: int) -> list[str]:
    return [f"{name}-{number}" for number in range(count)]


def _job(settings: ContestSettings, name: str, flags: Sequence[str], seed: int, folder: Path) -> Job:
    world = parse_settings(settings.env_settings, "--env-settings") | ({settings.world: seed} if settings.world else {})
    own = {
        "env": settings.env,
        "env-settings": json.dumps(world),
        "test-settings": settings.test_settings,
        "policy": settings.policy,
        "steps": settings.steps,
        "tasks": settings.tasks,
        "group-size": settings.group_size,
        "test-every": settings.test_every,
        "max-tokens": settings.max_tokens,
        "checkpoint-every": max(settings.steps // 3, 1),
        "microbatch": settings.tasks * settings.group_size,
        "seed": seed,
        "name": name,
    }
    told = [word for key, value in own.items() for word in (f"--{key}", str(value))]
    return Job(folder, (flags[0], *told, *shlex.split(settings.flags), *flags[1:]), settings.steps)
