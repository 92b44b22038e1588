"""GroupEnv: many attempts at one task side by side, each handed a successful peer."""

import contextlib
import copy
from collections.abc import Callable, Iterable, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from numbers import Integral
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import TimeLimit

from sdpo_envs.core import Feedback, Task, Verdict
from sdpo_envs.env import FeedbackEnv, Step, checked_options, checked_seed
from sdpo_envs.errors import ActionError, InfrastructureError, SettingError
from sdpo_envs.html import Tried, card, group_html

VectorStep = tuple[
    tuple[str, ...], npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]
]
"""What `GroupEnv.step` returns: observations, rewards, terminations, truncations, infos; one entry per slot."""
_SHOWN = 8  # groups that a notebook shows


class GroupEnv(VectorEnv[tuple[str, ...], Sequence[str], npt.NDArray[Any]]):
    """A vector environment whose slots are attempts, in groups of `group_size` neighbours at one task.

    Register it beside the environment, and `gymnasium.make_vec` gives groups::

        gymnasium.register("my/Env-v0", entry_point=MyEnv, vector_entry_point=functools.partial(GroupEnv, MyEnv))
        envs = gymnasium.make_vec("my/Env-v0", num_envs=32, group_size=8)

    One seed serves a whole group, so its slots start from the same observation. When the last slot of a group has
    ended, every attempt of the group is handed the action of a successful peer, drawn by the group's own random
    generator among the successes that are not its own text, in ``infos["feedback"][slot].peer``. A lone success gets
    none. (For an attempt of several turns the peer is its actions, a line each; see `FeedbackEnv.attempt`.)

    A slot whose judge or sandbox broke does not stop the others: it returns ``truncated=True``, reward NaN, no verdict,
    and says why in ``infos["error"]``. Nothing resets by itself: reset whole groups by ``options={"reset_mask": ...}``.
    A slot that has ended while others go on is idle: its action is ignored, its reward is 0, its infos are masked out.

    Args:
        env: Makes one environment, which is then copied; the copies share its tasks, judge and sandbox.
        num_envs: Slots in all, a multiple of `group_size`.
        group_size: Attempts per task.
        max_episode_steps: Truncate longer episodes.
        **settings: Keywords for `env`.

    Raises:
        SettingError: `num_envs` is not a positive multiple of `group_size`.
    """

    def __init__(
        self,
        env: Callable[..., gymnasium.Env[str, str]],
        num_envs: int,
        group_size: int = 1,
        max_episode_steps: int | None = None,
        **settings: Any,
    ) -> None:
        if group_size < 1 or num_envs < 1 or num_envs % group_size:
            raise SettingError(f"num_envs={num_envs} must be a positive multiple of group_size={group_size}.")
        first = env(**settings)
        if max_episode_steps is not None:
            first = TimeLimit(first, max_episode_steps)
        self.envs = [first, *(copy.deepcopy(first) for _ in range(num_envs - 1))]
        self.num_envs = num_envs
        self.group_size = group_size
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self.observation_space = batch_space(first.observation_space, num_envs)
        self.action_space = batch_space(first.action_space, num_envs)
        self.render_mode = first.render_mode
        self.metadata = {**first.metadata, "autoreset_mode": AutoresetMode.DISABLED}
        self._waits = isinstance(first.unwrapped, FeedbackEnv) and first.unwrapped.waits
        self._abreast = first.unwrapped.abreast if isinstance(first.unwrapped, FeedbackEnv) else 1
        self._threads: ThreadPoolExecutor | None = None
        self._observations = [""] * num_envs
        self._terminations = np.ones(num_envs, dtype=np.bool_)
        self._truncations = np.zeros(num_envs, dtype=np.bool_)
        self._infos: list[dict[str, Any]] = [{} for _ in range(num_envs)]

    @property
    def num_groups(self) -> int:
        """How many tasks are attempted at once."""
        return self.num_envs // self.group_size

    @property
    def task_ids(self) -> tuple[str, ...]:
        """The id of every task that `reset` chooses from."""
        ids: tuple[str, ...] = self.envs[0].get_wrapper_attr("task_ids")
        return ids

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Begin a new episode in every slot, or in the groups of a mask.

        Args:
            seed: None; one int s, which gives group p the seed s + p; or a list with one seed per group, or one per
                slot that is the same within each group.
            options: ``task_id``, an id for all groups or a list of one per group, and ``reset_mask``, bool of shape
                (num_envs,), which holds whole groups.

        Returns:
            One observation per slot, those of slots outside the mask being their last; and infos of the reset slots.

        Raises:
            SettingError: a list has another length, a mask cuts through a group, an option is not known, or a value is
                of another type.
            TaskNotFound: no task has such an id.
        """
        chosen = checked_options({} if options is None else options, ("task_id", "reset_mask"))
        mask = self._mask(chosen.get("reset_mask"))
        task_ids = self._per_group("task_id", chosen.get("task_id"))
        seeds = self._seeds(seed)
        infos: dict[str, Any] = {}
        for slot in _slots(mask):
            group = slot // self.group_size
            task = {"task_id": task_ids[group]}
            self._observations[slot], info = self.envs[slot].reset(seed=seeds[group], options=task)
            infos = self._add_info(infos, info, slot)
            self._infos[slot] = {}
        self._terminations[mask] = self._truncations[mask] = False
        return tuple(self._observations), infos

    def step(self, actions: Sequence[str]) -> VectorStep:
        """Take one action in every slot that is still running.

        Returns:
            Observations, a tuple of str; rewards, float64; terminations and truncations, bool; and infos, in which
            ``task_id``, ``verdict``, ``feedback`` and, for broken slots, ``error`` are object arrays with their masks.

        Raises:
            ActionError: there is not one str per slot.
            ResetNeeded: every slot has ended.
        """
        running = _slots(~(self._terminations | self._truncations))
        if not running:
            raise ResetNeeded("Every slot has ended; call reset(), or reset(options={'reset_mask': ...}).")
        self._check(actions)
        self._announce(running, actions)
        rewards = np.zeros(self.num_envs, dtype=np.float64)
        walk = self._pool().map if self._waits else map
        for slot, step in zip(running, walk(lambda slot: self._attempt(slot, actions[slot]), running), strict=True):
            observation, reward, self._terminations[slot], self._truncations[slot], self._infos[slot] = step
            self._observations[slot], rewards[slot] = observation, reward
        infos: dict[str, Any] = {}
        for slot in sorted({*running, *self._introduce(running)}):
            infos = self._add_info(infos, self._infos[slot], slot)
        return tuple(self._observations), rewards, self._terminations.copy(), self._truncations.copy(), infos

    def render(self) -> tuple[Any, ...] | None:
        """Return one rendering per slot, or None without a render mode."""
        return None if self.render_mode is None else tuple(env.render() for env in self.envs)

    def close_extras(self, **kwargs: Any) -> None:
        """End the threads and close every slot."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        for env in self.envs:
            env.close()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the threads behind; a copy starts its own when it steps."""
        return {**vars(self), "_threads": None}

    def _repr_html_(self) -> str:
        starts = range(0, self.num_envs, self.group_size)
        more = f"<div>and {len(starts) - _SHOWN} more groups</div>" if len(starts) > _SHOWN else ""
        try:
            return card(*map(self._group_html, starts[:_SHOWN]), more)
        except ResetNeeded:
            return card("No episode has begun; call reset().")

    def _group_html(self, start: int) -> str:
        task: Task = self.envs[start].get_wrapper_attr("task")
        return group_html(task.id, [self._tried(start + slot) for slot in range(self.group_size)], task.prompt)

    def _tried(self, slot: int) -> Tried:
        info, written = self._infos[slot], self.envs[slot].get_wrapper_attr("attempt")
        verdict, error = info.get("verdict"), info.get("error", "")
        reward = float("nan") if error else 0.0 if verdict is None else verdict.reward
        running = not (self._terminations[slot] or self._truncations[slot])
        return Tried([written] if written else [], reward, verdict, info.get("feedback"), error, running)

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(min(self.num_envs, self._abreast), "sdpo-envs-slot")
        return self._threads

    def _announce(self, running: Sequence[int], actions: Sequence[str]) -> None:
        """Tell the environment of all actions at once; what breaks there breaks again in the slot that it concerns."""
        if isinstance(first := self.envs[0].unwrapped, FeedbackEnv):
            with contextlib.suppress(InfrastructureError):
                first.expect([(self.envs[slot].get_wrapper_attr("task"), actions[slot]) for slot in running])

    def _attempt(self, slot: int, action: str) -> Step:
        try:
            return self.envs[slot].step(action)  # type: ignore[return-value]
        except InfrastructureError as error:
            info = {
                "task_id": self.envs[slot].get_wrapper_attr("task").id,
                "verdict": None,
                "feedback": Feedback(),
                "error": f"{type(error).__name__}: {error}",
            }
            return self._observations[slot], float("nan"), False, True, info

    def _introduce(self, running: list[int]) -> list[int]:
        """Hand every attempt of the groups that have just ended a peer; return their slots."""
        met: list[int] = []
        for group in sorted({slot // self.group_size for slot in running}):
            slots = range(group * self.group_size, (group + 1) * self.group_size)
            if not all(self._terminations[slot] or self._truncations[slot] for slot in slots):
                continue
            judged = [slot for slot in slots if "error" not in self._infos[slot]]
            attempts: dict[int, str] = {slot: self.envs[slot].get_wrapper_attr("attempt") for slot in judged}
            successes = [attempt for slot, attempt in attempts.items() if self._passed(slot)]
            # A child of the group's own generator: neither the tasks that come next nor other groups depend on it.
            chance = self.envs[slots[0]].np_random.spawn(1)[0]
            for slot, attempt in attempts.items():
                peers = [success for success in successes if success != attempt]
                if peers:
                    peer = peers[int(chance.random() * len(peers))]
                    self._infos[slot]["feedback"] = replace(self._infos[slot]["feedback"], peer=peer)
            met += slots
        return met

    def _passed(self, slot: int) -> bool:
        verdict: Verdict | None = self._infos[slot]["verdict"]
        return verdict is not None and verdict.passed

    def _check(self, actions: Sequence[str]) -> None:
        listed = isinstance(actions, Sequence | np.ndarray) and not isinstance(actions, str)
        if not listed or len(actions) != self.num_envs:
            given = f"a {type(actions).__name__}" + (f" of {len(actions)}" if isinstance(actions, Sized) else "")
            raise ActionError(f"Actions must be {self.num_envs} strings, one per slot, not {given}.")
        for slot, action in enumerate(actions):
            if not isinstance(action, str):
                raise ActionError(f"The action of slot {slot} must be a str, not {type(action).__name__}.")

    def _mask(self, mask: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
        if mask is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise SettingError(f"reset_mask must be a numpy array of {self.num_envs} bools, not {mask!r}.")
        groups = mask.reshape(self.num_groups, self.group_size)
        if not mask.any() or (groups.any(axis=1) != groups.all(axis=1)).any():
            raise SettingError(f"reset_mask must hold at least one group, and whole groups of {self.group_size} slots.")
        return mask

    def _per_group(self, name: str, value: Any) -> list[Any]:
        if value is None or isinstance(value, str):
            return [value] * self.num_groups
        if not isinstance(value, Iterable):
            raise SettingError(f"{name}={value!r} is not offered; give a list of one {name} per group.")
        values = list(value)
        if len(values) == self.num_envs != self.num_groups:
            groups = [values[start : start + self.group_size] for start in range(0, self.num_envs, self.group_size)]
            if any(each != group[0] for group in groups for each in group):
                raise SettingError(f"{name} differs within a group; the attempts of a group share one {name}.")
            values = [group[0] for group in groups]
        if len(values) != self.num_groups:
            raise SettingError(f"{name} needs {self.num_groups} values, one per group, not {len(values)}.")
        return values

    def _seeds(self, seed: Any) -> list[int]:
        """Return one seed per group, drawn where none is given; reseed the own generator from those given."""
        if isinstance(seed, Integral):
            first = checked_seed(seed) or 0
            super().reset(seed=first)
            return [first + group for group in range(self.num_groups)]
        seeds = [checked_seed(each) for each in self._per_group("seed", seed)]
        if any(each is not None for each in seeds):
            super().reset(seed=np.random.SeedSequence([each or 0 for each in seeds]).generate_state(1)[0].item())
        return [int(self.np_random.integers(2**31)) if each is None else each for each in seeds]


def _slots(mask: npt.NDArray[np.bool_]) -> list[int]:
    slots: list[int] = np.flatnonzero(mask).tolist()
    return slots
