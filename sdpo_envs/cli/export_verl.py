"""``sdpo export-verl``: the tasks of an environment as a data set for verl."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from sdpo_envs.adapters.verl import AGENT_LOOPS, AGENTS, export
from sdpo_envs.cli import parse_settings
from sdpo_envs.cli.world import EnvId, Settings, make


@dataclass(frozen=True)
class ExportVerl:
    """Write the tasks of an environment as a data set for verl.

    It holds no answers: to judge, the environment is made again from each row, which holds its settings. What is
    written to the terminal is what verl has to be told to train on it; docs/verl.md has the whole command.

    Examples:
        sdpo export-verl sdpo/ToolUse-v0 data/train.parquet
        sdpo export-verl sdpo/ToolUse-v0 data/test.parquet --settings '{"split": "test"}'
        sdpo export-verl sdpo/MicroHouse-v0 data/house.parquet
        sdpo export-verl sdpo/MicroHouse-v0 data/talk.parquet --settings '{"prompt": "new"}'
        sdpo export-verl sdpo/ToolUse-v0 data/two.parquet --tasks tooluse/0 tooluse/37
    """

    env: EnvId
    path: tyro.conf.Positional[Path]
    """Where to write it; ends in .parquet."""
    settings: Settings = "{}"
    tasks: tuple[str, ...] = ()
    """The ids of the tasks to write; none for all."""
    agent: str | None = None
    """Which of verl's agent loops plays; None chooses by whether an episode is one action, or several."""

    def __call__(self) -> None:
        """Run it."""
        make(self.env, self.settings)[0].close()  # what is wrong with them is told here by name
        settings = parse_settings(self.settings)
        count, agent = export(
            self.env, self.path, settings=settings, task_ids=list(self.tasks) or None, agent=self.agent
        )
        tell = [f"data.train_files={self.path.resolve()}"]
        if agent in AGENTS:
            tell.append(f"actor_rollout_ref.rollout.agent.agent_loop_config_path={AGENT_LOOPS}")
        else:
            tell.append("reward.custom_reward_function.path=pkg://sdpo_envs.adapters.verl")
        sys.stdout.write(f"{count} tasks of {self.env} in {self.path}, played by {agent}. Tell verl:\n")
        sys.stdout.writelines(f"    {shlex.quote(line)}\n" for line in tell)
