"""The command line: ``python -m sdpo_agent train --algorithm sdpo --env sdpo/ToolUse-v0 ...``."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import gymnasium
import tyro
from rich.console import Console

from sdpo_agent import GRPO, SDPO, Algorithm, GRPOSettings, Policy, SDPOSettings, TrainSettings, train
from sdpo_envs import GroupEnv, SettingError

Inline = tyro.conf.arg(name="")


@dataclass(frozen=True)
class Train:
    """Train a policy on an environment with feedback."""

    algorithm: Literal["sdpo", "grpo"] = "sdpo"
    """What learns: SDPO from feedback and peers, GRPO from rewards alone."""
    env: str = "sdpo/ToolUse-v0"
    """A registered environment; "module:id" imports the module first."""
    env_settings: str = "{}"
    """Keywords for the environment, as a JSON object, such as '{"domain": "physics"}'."""
    policy: str = ""
    """A folder or the name of a model on the Hugging Face Hub. None builds a small, untrained one."""
    run: Path = Path("runs/latest")
    """The folder to write to."""
    resume: bool = False
    """Go on after the checkpoint in that folder."""
    tasks: int = 4
    """Tasks per training step."""
    group_size: int = 8
    """Attempts per task."""
    loop: Annotated[TrainSettings, Inline] = field(default_factory=TrainSettings)
    sdpo: SDPOSettings = field(default_factory=SDPOSettings)
    grpo: GRPOSettings = field(default_factory=GRPOSettings)

    def __call__(self) -> None:
        """Run it."""
        envs = make_groups(self.env, self.tasks, self.group_size, parse_settings(self.env_settings))
        policy = Policy.load(self.policy) if self.policy else self._small(envs)
        algorithm: Algorithm = SDPO(policy, self.sdpo) if self.algorithm == "sdpo" else GRPO(self.grpo)
        told = {name: getattr(self, name) for name in ("env", "env_settings", "policy", "tasks", "group_size")}
        try:
            rows = train(policy, algorithm, envs, self.loop, self.run, resume=self.resume, told=told)
        finally:
            envs.close()
        last = rows[-1] if rows else {}
        Console().print(
            f"{len(rows)} steps; success rate of the last {last.get('success_rate', float('nan')):.3f}; "
            f"written to {self.run}"
        )

    def _small(self, envs: GroupEnv) -> Policy:
        Console(stderr=True).print(
            "No --policy was given, so a small, untrained one is built. It shows that the loop runs; it learns little."
        )
        texts = [task.prompt for task in envs.envs[0].get_wrapper_attr("tasks")]
        return Policy.small(texts=texts, vocab_size=1024, max_positions=16_384, seed=self.loop.seed)


def make_groups(env: str, tasks: int, group_size: int, settings: dict[str, Any]) -> GroupEnv:
    """Make `tasks` groups of the environment `env`.

    Raises:
        SettingError: its vector environment is not a `GroupEnv`.
    """
    remedy = f"{env} has no groups; register it with vector_entry_point=functools.partial(GroupEnv, ...)."
    try:
        envs = gymnasium.make_vec(env, num_envs=tasks * group_size, group_size=group_size, **settings)
    except TypeError as error:
        if "group_size" not in str(error):
            raise
        raise SettingError(remedy) from error
    if not isinstance(envs, GroupEnv):
        raise SettingError(remedy)
    return envs


def parse_settings(text: str) -> dict[str, Any]:
    """Read keywords from a JSON object.

    Raises:
        SettingError: it is not one.
    """
    try:
        settings = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingError(f"--env-settings must be a JSON object, not {text!r}: {error}") from error
    if not isinstance(settings, dict):
        raise SettingError(f"--env-settings must be a JSON object, not {text!r}.")
    return cast(dict[str, Any], settings)


def main() -> None:
    """Run the command that was asked for."""
    tyro.extras.subcommand_cli_from_dict({"train": Train}, prog="python -m sdpo_agent")()


if __name__ == "__main__":
    main()
