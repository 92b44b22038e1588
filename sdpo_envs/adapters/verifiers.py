"""Any registered environment as a taskset of verifiers 0.4 (Prime Intellect), of one turn or of many.

verifiers finds a taskset by the name of a module, which for these is `sdpo_verifiers`::

    vf-eval sdpo-verifiers --env.taskset.env sdpo/ToolUse-v0 -m MODEL --client.base-url URL -n 20 -r 4

The environment plays the user: its prompt opens the conversation, each of its observations is the next message, and
its verdict is the reward. What it said stands in ``trace.info``, for a trainer to read:

    task_id, seed    which task, and what it was reset with
    outcome, feedback, reveals_answer, findings    of the last step; see `sdpo_envs.adapters.told`
    turns            the feedback of every step, text
    attempt          what the policy wrote, an action a line: of a success, what its failed peers may be shown

What breaks is no failure of the policy. The trace is then not ok, as verifiers marks whatever went wrong, its error
says what broke (`SandboxError`, or `TaskError` for a judge), and its reward is None: nobody decided it.
"""

import asyncio
import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import verifiers.v1 as vf
from pydantic import Field

from sdpo_envs.adapters.made import made, turns
from sdpo_envs.adapters.told import UNDECIDED, told
from sdpo_envs.core import Outcome
from sdpo_envs.errors import InfrastructureError, SandboxError, SettingError

REWARD, PASSED = "reward", "passed"


class FeedbackTasksetConfig(vf.TasksetConfig):  # type: ignore[misc]
    """Which environment, and which of its tasks."""

    env: str = ""
    """As for `gymnasium.make`."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Keywords for the environment; ``{"prompt": "new"}`` suits one of many turns, as the conversation grows."""
    seed: int = 0
    """What each task is reset with."""
    draws: int | None = None
    """None for each task once, in order; else so many that the seeds `seed`, `seed` + 1, ... draw, as `reset` does."""


class FeedbackData(vf.TaskData):  # type: ignore[misc]
    """A task as it is shown: its prompt, and how to come back to it. No answer is in it."""

    env: str
    seed: int


class FeedbackTask(vf.Task[FeedbackData]):  # type: ignore[misc]
    """A task; the environment judges it, so there is nothing to score here."""

    @property
    def key(self) -> str:
        """The id and the seed, which stay when a prompt is reworded."""
        return f"{self.data.env}/{self.data.id}?seed={self.data.seed}"


class FeedbackTaskset(vf.Taskset[FeedbackTask, FeedbackTasksetConfig]):  # type: ignore[misc]
    """The tasks of one environment, which is made once; its copies share tasks, judge and sandbox.

    Raises:
        SettingError: no environment is named, or it refuses its settings.
    """

    def __init__(self, config: FeedbackTasksetConfig) -> None:
        super().__init__(config)
        if not config.env:
            raise SettingError("No environment is named; give one, such as --env.taskset.env sdpo/ToolUse-v0.")
        self.env = made(config.env, config.settings)
        self.turn = turns(self.env)

    def load(self) -> Iterator[FeedbackTask]:
        """Show each task, as its reset does."""
        with contextlib.closing(copy.deepcopy(self.env)) as env:
            for seed, options in self._resets():
                prompt, info = env.reset(seed=seed, options=options)
                yield FeedbackTask(
                    FeedbackData(
                        id=info["task_id"],
                        name=info["task_id"],
                        prompt=prompt,
                        system_prompt=info["system"] or None,
                        env=self.config.env,
                        seed=seed,
                    ),
                    self.config.task,
                )

    def _resets(self) -> Iterator[tuple[int, dict[str, Any] | None]]:
        seed, draws = self.config.seed, self.config.draws
        if draws is not None:
            yield from ((seed + number, None) for number in range(draws))
        else:
            yield from ((seed, {"task_id": task_id}) for task_id in self.env.get_wrapper_attr("task_ids"))


class FeedbackEpisodesConfig(vf.EnvConfig):  # type: ignore[misc]
    """One policy, asked from this process (`verifiers_chat`) unless another harness is chosen."""

    agent: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())


class FeedbackEpisodes(vf.Env[FeedbackEpisodesConfig]):  # type: ignore[misc]
    """Plays an episode of the environment with the policy."""

    async def run(self, task: FeedbackTask, agents: vf.Agents) -> None:
        """Play one episode in a copy of the environment, whose judge works beside the event loop."""
        data = task.data
        async with agents.agent.interaction(task) as interaction:
            trace = interaction.trace
            trace.rewards[REWARD] = trace.metrics[PASSED] = None
            trace.info.update(task_id=data.id, seed=data.seed, turns=[], attempt="", **told(UNDECIDED))
            with contextlib.closing(copy.deepcopy(self.taskset.env)) as env:
                await self._play(env.reset, seed=data.seed, options={"task_id": data.id})
                reward = await self._converse(env, interaction)
            if not trace.errors:  # what a limit of the run cut short counts as it stands
                trace.record_reward(REWARD, reward)
                trace.record_metric(PASSED, trace.info["outcome"] == Outcome.PASSED.value)

    async def stop(self) -> None:
        """Close the environment."""
        self.taskset.env.close()

    async def _converse(self, env: gymnasium.Env[str, str], interaction: vf.Interaction) -> float:
        """Answer the policy until the episode or the run has ended; note what is said, and return the reward."""
        reward, info = 0.0, interaction.trace.info
        segment = await interaction.turn()
        while not segment.terminated:
            observation, earned, terminated, truncated, step = await self._play(env.step, _written(segment))
            reward += earned
            info.update(told(step), attempt=env.get_wrapper_attr("attempt"))
            info["turns"].append(info["feedback"])
            if terminated or truncated:
                break
            segment = await interaction.turn(observation)
        return reward

    async def _play(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        def in_turn() -> Any:
            with self.taskset.turn:
                return call(*arguments, **options)

        try:
            return await asyncio.to_thread(in_turn)
        except InfrastructureError as error:
            kind = vf.SandboxError if isinstance(error, SandboxError) else vf.TaskError
            raise kind(f"{type(error).__name__}: {error}") from error


def _written(segment: vf.Segment) -> str:
    """Return the reply as it was written; verifiers' own `last_reply` strips it."""
    if segment.root_reply is not None:
        return str(segment.root_reply)
    replies = [each.content or "" for each in segment.messages if isinstance(each, vf.AssistantMessage)]
    return replies[-1] if replies else ""
