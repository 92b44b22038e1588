"""TRL: a registered environment of one action judges what `GRPOTrainer` samples.

`Reward` is a reward function, and comes with the data set to train on. Environments of several turns are in
`trl_turns`, live feedback for TRL's SDPO is in `trl_sdpo`. TRL is known here by how it calls, as of 1.16.
"""

import copy
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdpo_envs.adapters.made import made
from sdpo_envs.adapters.told import chat
from sdpo_envs.core import Feedback, Outcome, Verdict
from sdpo_envs.env import natural
from sdpo_envs.errors import InfrastructureError, SettingError, require
from sdpo_envs.record import RecordedGroups, record
from sdpo_envs.record.recording import Recording
from sdpo_envs.vector import GroupEnv


@dataclass(frozen=True, slots=True)
class Judged:
    """What an environment said of one attempt.

    Attributes:
        reward: Its own; NaN where the machinery broke and nobody decided.
        verdict: None where nobody decided.
        feedback: Its words, and a peer.
        error: What broke, ``""`` if nothing did.
    """

    reward: float
    verdict: Verdict | None
    feedback: Feedback
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether it is a success."""
        return self.verdict is not None and self.verdict.passed


class Reward:
    """A reward function for TRL's trainers: the environment judges the completions of a batch at once.

    Rewards are the environment's own. Where its machinery broke the reward is None, which TRL leaves out of means and
    advantages, unless another reward function rewards that completion. Where TRL lets a reward function log, it logs
    the share of each outcome, ``env/passed`` and so on to ``env/undecided``, and beside each completion its task,
    outcome, feedback and error.

    Args:
        env_id: A registered environment whose episodes are one action.
        group_size: TRL's ``num_generations``, for environments whose peers are wanted: so many completions in a row
            attempt one task.
        seed: Draws the peers, together with the number of the training step.
        run: Where to record every attempt, as `record` takes it; None for nowhere. Processes record in folders apart.
        **settings: Keywords for the environment.

    Attributes:
        judged: What was said of each completion of the last batch.

    Raises:
        SettingError: the environment gives no feedback, or a number is not offered.
    """

    def __init__(
        self,
        env_id: str,
        *,
        group_size: int = 1,
        seed: int = 0,
        run: str | Path | Recording | None = None,
        **settings: Any,
    ) -> None:
        self.__name__ = env_id
        self.group_size = natural("group_size", group_size)
        self.seed = natural("seed", seed, least=0)
        self.judged: tuple[Judged, ...] = ()
        self._env = made(env_id, settings)
        self._recording = run if run is None or isinstance(run, Recording) else Recording(run)
        self._groups: dict[int, GroupEnv | RecordedGroups] = {}

    def dataset(self) -> Any:
        """Return a `datasets.Dataset` of every task: ``prompt``, a chat with its system turn, and ``task_id``."""
        rows = []
        for task_id in self._env.get_wrapper_attr("task_ids"):
            observation, info = self._env.reset(options={"task_id": task_id})
            rows.append({"prompt": chat(info["system"], observation), "task_id": task_id})
        return require("datasets", "trl").Dataset.from_list(rows)

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Judge `completions`, texts or chats that end with the policy's, by the column ``task_id``.

        Raises:
            SettingError: there is no such column, a group does not attempt one task, or an episode is not over.
            InfrastructureError: nothing at all could be judged.
        """
        if "task_id" not in columns:
            told = "use dataset(), and leave remove_unused_columns at False"
            raise SettingError(f"No column 'task_id' came with the completions; {told}.")
        step = getattr(columns.get("trainer_state"), "global_step", 0)
        seed = int(np.random.SeedSequence([self.seed, step]).generate_state(1)[0])
        tokens = [len(ids) for ids in columns.get("completion_ids", ())]
        self.judged = self.judge(columns["task_id"], [_text(each) for each in completions], seed, tokens)
        if all(each.error for each in self.judged):
            raise InfrastructureError(f"None of {len(self.judged)} attempts could be judged: {self.judged[0].error}")
        _log(self.judged, columns)
        return [None if math.isnan(each.reward) else each.reward for each in self.judged]

    def judge(
        self, task_ids: Sequence[str], actions: Sequence[str], seed: int | None = None, tokens: Sequence[int] = ()
    ) -> tuple[Judged, ...]:
        """Judge each action, of so many `tokens`, as an attempt at the task beside it; neighbours are groups."""
        envs = self._envs(len(actions))
        envs.reset(seed=seed, options={"task_id": list(task_ids)})
        if tokens and isinstance(envs, RecordedGroups):
            envs.tell(tokens)
        _, rewards, terminations, truncations, infos = envs.step(actions)
        if not (terminations | truncations).all():
            raise SettingError(f"{self.__name__} takes several actions, and has no reward after one; use Episodes.")
        errors = infos.get("error", [None] * len(actions))
        said = zip(rewards.tolist(), infos["verdict"], infos["feedback"], errors, strict=True)
        return tuple(Judged(reward, verdict, feedback, error or "") for reward, verdict, feedback, error in said)

    def close(self) -> None:
        """Close the environment."""
        for envs in self._groups.values():
            envs.close()
        self._env.close()

    def _envs(self, slots: int) -> GroupEnv | RecordedGroups:
        """Return as many slots; they share the tasks, the judge and the sandbox of one environment."""
        if slots % self.group_size:
            told = "per_device_train_batch_size * steps_per_generation, and per_device_eval_batch_size"
            raise SettingError(f"{slots} completions are no whole groups of {self.group_size}; make {told} a multiple.")
        if slots not in self._groups:
            envs = GroupEnv(functools.partial(copy.deepcopy, self._env), slots, self.group_size)
            envs.spec = self._env.unwrapped.spec
            self._groups[slots] = envs if self._recording is None else record(envs, self._recording)
        return self._groups[slots]


def _text(completion: Any) -> str:
    """Return what the policy wrote: TRL hands over a text for a text, a chat for a chat."""
    return completion if isinstance(completion, str) else completion[-1].get("content") or ""


def _log(judged: Sequence[Judged], columns: Mapping[str, Any]) -> None:
    """Log what was said, by what TRL hands over to log with; its SDPO hands over nothing."""
    outcomes = ["undecided" if each.verdict is None else each.verdict.outcome.value for each in judged]
    if log_metric := columns.get("log_metric"):
        for outcome in (*(each.value for each in Outcome), "undecided"):
            log_metric(f"env/{outcome}", outcomes.count(outcome) / len(judged))
    if log_extra := columns.get("log_extra"):
        log_extra("task_id", list(columns["task_id"]))
        log_extra("outcome", outcomes)
        log_extra("feedback", [str(each.feedback) for each in judged])
        log_extra("error", [each.error for each in judged])
