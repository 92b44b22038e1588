"""The environment keeps the score: `record(envs, run)` writes a row for every attempt; `recording` says where."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, overload

import gymnasium
import numpy.typing as npt
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from sdpo_envs.core import Feedback, Verdict
from sdpo_envs.env import FeedbackEnv, Step
from sdpo_envs.errors import InfrastructureError, SettingError
from sdpo_envs.record.recording import Attempt, Recording, plain
from sdpo_envs.record.replay import Difference, replay
from sdpo_envs.record.row import TRAIN, Row, Tick, World, clock, rows, to_parquet, told, worlds
from sdpo_envs.vector import GroupEnv, VectorStep

__all__ = [
    "Difference",
    "RecordedEnv",
    "RecordedGroups",
    "Recording",
    "Row",
    "Tick",
    "World",
    "clock",
    "record",
    "replay",
    "rows",
    "to_parquet",
    "told",
    "worlds",
]

_OF_THE_VECTOR = ("num_envs", "group_size", "vectorization_mode", "vector_kwargs")
"""Keywords of `gymnasium.make_vec` that are no settings of the environment."""


_TRANSPARENT = (OrderEnforcing, PassiveEnvChecker)  # `gymnasium.make` adds them by itself
_Found = tuple[Verdict | None, Feedback, str]
"""What was found of an attempt: verdict, feedback, and what broke."""


class _Score:
    """The attempts that are being made in the slots of one environment, and the time that they take."""

    def __init__(self, recording: Recording, phase: str, num_envs: int, group_size: int) -> None:
        self.recording = recording
        self.phase = phase
        self.group_size = group_size
        self.attempts: list[Attempt | None] = [None] * num_envs
        self._told: list[tuple[int, int | None, bool]] | None = None
        self._looked = time.perf_counter()

    @property
    def running(self) -> list[int]:
        """The slots whose attempts have not ended."""
        return [slot for slot, attempt in enumerate(self.attempts) if attempt is not None and not attempt.ended]

    def tell(self, tokens: Sequence[int], prompts: Sequence[int] | None, cut_short: Sequence[bool] | None) -> None:
        """Take note of what the next actions cost, and whether a limit of tokens ended them."""
        wrote, slots = self._counts("tokens", tokens), len(self.attempts)
        read = [None] * slots if prompts is None else self._counts("prompt_tokens", prompts)
        cut = [False] * slots if cut_short is None else [bool(each) for each in cut_short]
        if len(cut) != slots:
            raise SettingError(f"cut_short must be {slots} bools, one per slot, not {len(cut)}.")
        self._told = list(zip(wrote, read, cut, strict=True))

    def _counts(self, name: str, counts: Sequence[int]) -> list[int]:
        if len(counts) != len(self.attempts):
            raise SettingError(f"{name} must be {len(self.attempts)} numbers, one per slot, not {len(counts)}.")
        for each in counts:
            if not isinstance(each, Integral) or each < 0:
                raise SettingError(f"{name} must be ints of at least 0, not {each!r}.")
        return [int(each) for each in counts]

    def look(self) -> None:
        """Look at the clock; set aside the time since the last look if another phase than training was in play."""
        now = time.perf_counter()
        if self.phase != TRAIN and self.running:
            self.recording.set_aside(now - self._looked)
        self._looked = now

    def step(
        self, actions: Sequence[str], rewards: Sequence[float], ended: Sequence[bool], found: Callable[[int], _Found]
    ) -> None:
        """Take note of a step, an entry per slot; write the groups that have ended with it and what was found of each.

        If they cannot be written, they are lost to the recording, and the environment is as ready as without it.
        """
        running = self.running
        for slot in running:
            attempt = self.attempts[slot]
            assert attempt is not None  # as it is running
            attempt.actions.append(actions[slot])
            attempt.reward += rewards[slot]
            attempt.ended = ended[slot]
            if self._told is not None:
                attempt.spend(*self._told[slot])
        self._told = None
        starts = sorted({slot - slot % self.group_size for slot in running})
        groups = [self._leave(start, found) for start in starts if all(ended[start : start + self.group_size])]
        if groups:
            self.recording.append(self.phase, groups)

    def _leave(self, start: int, found: Callable[[int], _Found]) -> list[Attempt]:
        group = []
        for slot in range(start, start + self.group_size):
            attempt, self.attempts[slot] = self.attempts[slot], None
            assert attempt is not None  # as groups begin together
            attempt.verdict, attempt.feedback, attempt.error = found(slot)
            group.append(attempt)
        return group


class RecordedGroups(
    VectorWrapper[tuple[str, ...], Sequence[str], tuple[str, ...], Sequence[str], npt.NDArray[Any]],
):
    """A `GroupEnv` that writes the rows of a group when all of its slots have ended, in the order of the slots.

    What `reset` and `step` take and return is unchanged. An attempt that is reset before its group has ended leaves no
    row, nor does one that was begun before the environment was recorded.

    Args:
        envs: Groups.
        recording: Where to write.
        phase: What part of a run is played.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], recording: Recording, phase: str = TRAIN) -> None:
        super().__init__(envs)
        groups = envs.unwrapped
        assert isinstance(groups, GroupEnv)
        self.groups = groups
        self._score = _Score(recording, phase, groups.num_envs, groups.group_size)

    @property
    def group_size(self) -> int:
        """Attempts per task."""
        return self.groups.group_size

    @property
    def num_groups(self) -> int:
        """How many tasks are attempted at once."""
        return self.groups.num_groups

    @property
    def envs(self) -> list[gymnasium.Env[str, str]]:
        """The environment of each slot."""
        return self.groups.envs

    @property
    def task_ids(self) -> tuple[str, ...]:
        """The id of every task that `reset` chooses from."""
        return self.groups.task_ids

    def _repr_html_(self) -> str:
        return self.groups._repr_html_()

    def tell(
        self,
        tokens: Sequence[int],
        *,
        prompt_tokens: Sequence[int] | None = None,
        cut_short: Sequence[bool] | None = None,
    ) -> None:
        """Tell how many tokens each action of the next step has; they are added up over an episode.

        Args:
            tokens: That were written, one number per slot.
            prompt_tokens: That were read before; None where nobody knows.
            cut_short: Whether a limit of tokens ended the action; None for no.

        Raises:
            SettingError: there is not one number per slot, or one is below 0.
        """
        self._score.tell(tokens, prompt_tokens, cut_short)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """As `GroupEnv.reset`. One that raises leaves no attempt to be recorded."""
        self._score.look()
        attempts, self._score.attempts = self._score.attempts, [None] * self.num_envs
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        for slot, (begun, task_id) in enumerate(zip(infos["_task_id"], infos["task_id"], strict=True)):
            if begun:
                attempts[slot] = Attempt(task_id)
        self._score.attempts = attempts  # not after a failure, which leaves some slots reset
        return observations, infos

    def step(self, actions: Sequence[str]) -> VectorStep:
        """As `GroupEnv.step`."""
        step: VectorStep = self.env.step(actions)
        _, rewards, terminations, truncations, infos = step
        self._score.look()
        ended = (terminations | truncations).tolist()
        self._score.step(actions, rewards.tolist(), ended, lambda slot: _found(infos, slot))
        return step


class RecordedEnv(gymnasium.Wrapper[str, str, str, str]):
    """An environment that writes a row when an episode has ended, each a group of its own.

    What `reset` and `step` take, return and raise is unchanged. A step whose machinery broke may be tried again. If the
    environment is reset or closed instead, the attempt is given up, and its row says what broke, as in a `GroupEnv`. An
    episode that is reset for another reason leaves no row, nor does one that was begun before the environment was
    recorded.

    Args:
        env: A `FeedbackEnv`, wrapped or not.
        recording: Where to write.
        phase: What part of a run is played.
    """

    def __init__(self, env: gymnasium.Env[str, str], recording: Recording, phase: str = TRAIN) -> None:
        super().__init__(env)
        self._score = _Score(recording, phase, 1, 1)
        self._broken: tuple[str, str] | None = None

    @property
    def unrecorded(self) -> gymnasium.Env[str, str]:
        """The environment without the recording."""
        return self.env

    def tell(self, tokens: int, *, prompt_tokens: int | None = None, cut_short: bool = False) -> None:
        """Tell how many tokens the action of the next step has; see `RecordedGroups.tell`.

        Raises:
            SettingError: it is no number, or below 0.
        """
        self._score.tell([tokens], None if prompt_tokens is None else [prompt_tokens], [cut_short])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """As the environment's own."""
        self._give_up()
        self._score.look()
        observation, info = self.env.reset(seed=seed, options=options)
        self._score.attempts[0] = Attempt(info["task_id"])
        return observation, info

    def step(self, action: str) -> Step:
        """As the environment's own."""
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
        except InfrastructureError as error:
            self._broken = action, f"{type(error).__name__}: {error}"
            raise
        self._broken = None
        self._score.look()
        ended = terminated or truncated
        self._score.step([action], [float(reward)], [ended], lambda _: (info["verdict"], info["feedback"], ""))
        return observation, float(reward), terminated, truncated, info

    def close(self) -> None:
        """Give up an attempt whose machinery broke, and close the environment."""
        self._give_up()
        super().close()

    def _give_up(self) -> None:
        if self._broken is not None:
            (action, error), self._broken = self._broken, None
            self._score.step([action], [math.nan], [True], lambda _: (None, Feedback(), error))


@overload
def record(
    envs: GroupEnv,
    run: str | Path | Recording,
    *,
    phase: str = TRAIN,
    told: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> RecordedGroups: ...


@overload
def record(
    envs: gymnasium.Env[str, str],
    run: str | Path | Recording,
    *,
    phase: str = TRAIN,
    told: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> RecordedEnv: ...


def record(
    envs: Any,
    run: str | Path | Recording,
    *,
    phase: str = TRAIN,
    told: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> RecordedGroups | RecordedEnv:
    """Have an environment write down every attempt that is made in it.

    Args:
        envs: A `GroupEnv`, or one `FeedbackEnv`, wrapped or not.
        run: A folder, as for `Recording`; or a `Recording`, to which several environments may write.
        phase: What part of a run is played: ``"train"``, whose attempts are counted and whose time is taken, or
            another, such as ``"test"``.
        told: As for `Recording`.
        resume: As for `Recording`.

    Returns:
        The environment, wrapped. What `reset` and `step` return is unchanged.

    Raises:
        SettingError: `envs` is neither; `run` is a `Recording` and `told` or `resume` was given; the phase was begun in
            another world; or as for `Recording`.
        FileExistsError: as for `Recording`.
        RecordError: as for `Recording`.
    """
    grouped = isinstance(envs, VectorEnv) and isinstance(envs.unwrapped, GroupEnv)
    if not grouped and not (isinstance(envs, gymnasium.Env) and isinstance(envs.unwrapped, FeedbackEnv)):
        advice = "Give a GroupEnv, or an environment whose innermost is a FeedbackEnv."
        raise SettingError(f"{type(envs).__name__} cannot be recorded. {advice}")
    if not isinstance(run, Recording):
        run = Recording(run, told=told, resume=resume)
    elif told is not None or resume:
        raise SettingError("This recording is open already; give told and resume to Recording(...) instead.")
    run.enter(phase, _vector_world(envs) if grouped else _world(envs))
    return RecordedGroups(envs, run, phase) if grouped else RecordedEnv(envs, run, phase)


def _found(infos: Mapping[str, Any], slot: int) -> _Found:
    broken = "error" in infos and infos["_error"][slot]
    return infos["verdict"][slot], infos["feedback"][slot], infos["error"][slot] if broken else ""


def _vector_world(envs: VectorEnv[Any, Any, Any]) -> World:
    spec = envs.unwrapped.spec
    if spec is None:
        return World(None)
    return _saved(spec, {name: value for name, value in spec.kwargs.items() if name not in _OF_THE_VECTOR})


def _world(env: gymnasium.Env[str, str]) -> World:
    spec, settings = env.unwrapped.spec, {}
    if spec is None:
        return World(None)
    wrappers = [each for each in _wrappers(env) if not isinstance(each, (RecordedEnv, *_TRANSPARENT))]
    if wrappers and type(wrappers[0]) is TimeLimit:  # what gymnasium makes of max_episode_steps
        settings = wrappers.pop(0)._saved_kwargs
    return _saved(spec, {**spec.kwargs, **settings}, wrappers)


def _wrappers(env: gymnasium.Env[str, str]) -> list[Any]:
    """Return the wrappers around an environment, the innermost first."""
    return [*_wrappers(env.env), env] if isinstance(env, gymnasium.Wrapper) else []


def _saved(spec: EnvSpec, settings: Mapping[str, Any], wrappers: Sequence[Any] = ()) -> World:
    """Keep of settings and wrappers what JSON can hold, and the names of the others."""
    kept, unsaved, places = {}, [], []
    for name, value in settings.items():
        try:
            kept[name] = plain(value)
        except (TypeError, ValueError, RecursionError):
            unsaved.append(name)
    for wrapper in wrappers:
        name = type(wrapper).__name__
        try:
            places.append((f"{type(wrapper).__module__}:{name}", plain(wrapper._saved_kwargs)))
        except (AttributeError, TypeError, ValueError, RecursionError):
            unsaved.append(name)
    return World(spec.id, kept, tuple(places), tuple(unsaved))
