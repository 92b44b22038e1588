"""Judges again what was recorded: `replay(run)` returns what comes out differently."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator

from sdpo_envs.core import Feedback, Verdict
from sdpo_envs.errors import InfrastructureError, SettingError, TaskNotFound
from sdpo_envs.record.row import Row, World, rows, worlds
from sdpo_envs.vector import GroupEnv

COLUMNS = ("outcome", "reward", "passed", "feedback", "reveals_answer")
"""What is compared."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What one row says, and what was found now.

    Attributes:
        row: The number of the row, from 0.
        column: One of `COLUMNS`; ``"task"`` where the task is gone; ``"actions"`` where the episode ended before all
            were taken; or ``"error"`` where the machinery broke.
        stored: As in the row.
        now: The same, now; None where the task is gone.
    """

    row: int
    column: str
    stored: Any
    now: Any


def replay(run: str | Path, *, envs: Any = None) -> list[Difference]:
    """Judge every attempt of a recording again, step by step, and return every difference.

    Rows that broke are skipped. What a file of rows left out, such as the feedback, differs from what is found now; and
    an environment that draws lots in an episode may differ from itself, as seeds are not recorded.

    Args:
        run: A recording; or a file of rows, which needs `envs`.
        envs: What to judge in: a `GroupEnv` or a single environment, or a mapping with one of these per phase. None
            makes the environment of each phase again from the recording.

    Raises:
        SettingError: an environment cannot be made again, because it was made by hand or has settings that are not in
            the recording; or `envs` has none for a phase.
        FileNotFoundError: as `rows`.
        RecordError: as `rows`.
    """
    attempts = rows(run)
    phases = list(dict.fromkeys(row.phase for row in attempts if not row.broken))
    given = envs if isinstance(envs, Mapping) else dict.fromkeys(phases, envs)
    known = worlds(run) if Path(run).is_dir() else {}
    differences: list[Difference] = []
    for phase in phases:
        env = _given(given.get(phase)) or _made(phase, known.get(phase, World(None)))
        try:
            for number, row in enumerate(attempts):
                if row.phase == phase and not row.broken:
                    differences += _again(env, number, row)
        finally:
            if given.get(phase) is None:
                env.close()
    return sorted(differences, key=lambda difference: difference.row)


def _again(env: gymnasium.Env[str, str], number: int, row: Row) -> Iterator[Difference]:
    try:
        env.reset(options={"task_id": row.task})
    except TaskNotFound:
        yield Difference(number, "task", row.task, None)
        return
    reward, ended, taken = 0.0, False, 0
    verdict, feedback = None, Feedback()
    while taken < len(row.actions) and not ended:
        try:
            _, gained, terminated, truncated, info = env.step(row.actions[taken])
        except InfrastructureError as error:
            yield Difference(number, "error", row.error, f"{type(error).__name__}: {error}")
            return
        reward, ended, taken = reward + float(gained), terminated or truncated, taken + 1
        verdict, feedback = info["verdict"], info["feedback"]
    if taken < len(row.actions):
        yield Difference(number, "actions", row.actions, row.actions[:taken])
    now = _judged(row, reward, verdict if ended else None, feedback)
    for column in COLUMNS:
        if getattr(row, column) != getattr(now, column):
            yield Difference(number, column, getattr(row, column), getattr(now, column))


def _judged(row: Row, reward: float, verdict: Verdict | None, feedback: Feedback) -> Row:
    return Row(
        task=row.task,
        reward=reward,
        outcome=None if verdict is None else verdict.outcome,
        passed=verdict is not None and verdict.passed,
        feedback=feedback.text,
        reveals_answer=feedback.reveals_answer,
    )


def _given(envs: Any) -> gymnasium.Env[str, str] | None:
    innermost = getattr(envs, "unwrapped", None)
    env = innermost.envs[0] if isinstance(innermost, GroupEnv) else envs
    return getattr(env, "unrecorded", env)  # judging again leaves no rows


def _made(phase: str, world: World) -> gymnasium.Env[str, str]:
    advice = f"Give one: replay(run, envs={{{phase!r}: ...}})."
    if world.env is None:
        raise SettingError(f"The recording does not say how to make the environment of {phase!r}. {advice}")
    if world.unsaved:
        names = f"The recording lacks {list(world.unsaved)} of {world.env}, which could not be written as JSON"
        raise SettingError(f"{names}, so the environment of {phase!r} cannot be made again. {advice}")
    env = gymnasium.make(world.env, disable_env_checker=True, **world.settings)
    for place, keywords in world.wrappers:
        wrap: Any = load_env_creator(place)
        env = wrap(env, **keywords)
    return env
