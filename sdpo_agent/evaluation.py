"""``sdpo evaluate``: scores a policy, or a model behind a server, on environments."""

import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from sdpo_agent.answers import Answers
from sdpo_agent.options import Remote, Source, World
from sdpo_agent.rollout import History
from sdpo_envs import SettingError
from sdpo_envs.bench import SUITES, Score, Suite, evaluate
from sdpo_envs.cli import parse_settings
from sdpo_envs.errors import choose

Inline = tyro.conf.arg(name="")
_WIDE = 120


@dataclass(frozen=True)
class Evaluate:
    """Score a policy, or a served model, on environments.

    Examples:
        sdpo evaluate --url http://localhost:8000/v1 --model Qwen/Qwen3-8B --env sdpo/LiveCodeBench-v0
        sdpo evaluate --url http://localhost:8000/v1 --model Qwen/Qwen3-8B --suite bundled --attempts 4
        sdpo evaluate --policy micro --env sdpo/MicroCode-v0 --env-settings '{"split": "test"}' --max-tokens 64 --json
    """

    world: Annotated[World, Inline] = field(default_factory=World)
    suite: str = ""
    """Several environments by one name, in place of --env: bundled, or micro."""
    source: Annotated[Source, Inline] = field(default_factory=Source)
    remote: Annotated[Remote, Inline] = field(default_factory=Remote)
    attempts: int = 8
    """Attempts per task."""
    tasks: int | None = None
    """Tasks of each environment, from its first; None for all."""
    slots: int = 64
    """About how many attempts to make side by side."""
    max_tokens: int = 2048
    """The longest action."""
    temperature: float = 1.0
    """Of the sampling."""
    history: History = "observation"
    """What is read before an action: the last observation, or the whole conversation."""
    seed: int = 0
    """Of the environments and the sampling."""
    run: Path = Path("runs/evaluate")
    """The folder to record the attempts in."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on with what is in that folder."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write JSON for a script to read."""

    def __call__(self) -> None:
        """Run it."""
        suite = self._suite()
        with contextlib.closing(World(suite[0][0], json.dumps(suite[0][1])).groups(1, 1)) as envs:
            sampler = self.remote.sampler(self.source, envs, self.seed)
        answers = Answers(sampler, max_tokens=self.max_tokens, temperature=self.temperature, seed=self.seed)
        scores = evaluate(
            answers,
            suite,
            attempts=self.attempts,
            tasks=self.tasks,
            seed=self.seed,
            slots=self.slots,
            history=self.history,
            run=self.run,
            resume=self.resume,
            told={
                "policy": self.remote.model or self.source.policy,
                "max_tokens": self.max_tokens,
                "temperature": self.temperature,
            },
        )
        found = [*scores.environments, scores.overall] if len(scores.environments) > 1 else scores.environments
        cost = {name: getattr(answers, name) for name in ("written", "cut_short", "prompt_tokens", "tokens")}
        if self.json:
            sys.stdout.write(json.dumps({"scores": [_plain(each) for each in found], **cost}, indent=2) + "\n")
        else:
            _show(found, cost, self.run)

    def _suite(self) -> Suite:
        if self.suite:
            if self.world.env_settings != "{}":
                raise SettingError("--suite has settings of its own; leave out --env-settings, or name one --env.")
            return SUITES[choose("suite", self.suite, SUITES)]
        return [(self.world.env, parse_settings(self.world.env_settings))]


def _plain(score: Score) -> dict[str, Any]:
    return {**asdict(score), "passed": {str(k): asdict(each) for k, each in score.passed.items()}}


def _show(found: Any, cost: Mapping[str, int], run: Path) -> None:
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console.width = _WIDE
    table = Table("environment", "tasks", "attempts", "broken", "mean success", "at least one")
    for each in found:
        most = max(each.passed)
        numbers = [f"{of.value:.3f} [{of.low:.3f}, {of.high:.3f}]" for of in (each.average, each.passed[most])]
        table.add_row(
            each.name, str(each.tasks), str(each.attempts), str(each.broken), numbers[0], f"{numbers[1]} of {most}"
        )
    console.print(table)
    read = f"{cost['prompt_tokens']} tokens read, " if cost["prompt_tokens"] else ""
    told = f"{cost['written']} actions, {cost['cut_short']} of them cut short; {read}{cost['tokens']} written; "
    console.print(f"{told}recorded in {run}", markup=False, highlight=False)
