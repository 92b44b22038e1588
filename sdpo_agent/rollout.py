"""Plays episodes: `collect(envs, sampler, ...)` gives groups of attempts. The only file that calls `env.step`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from sdpo_agent.attempt import Attempt, Conversation, Group, Turn
from sdpo_envs import Feedback, GroupEnv, RecordedGroups, Verdict
from sdpo_envs.errors import choose

History = Literal["observation", "conversation"]
Groups = GroupEnv | RecordedGroups
"""Groups of attempts, recorded or not."""


class Sampler(Protocol):
    """Writes actions: a `sdpo_agent.Policy`, or a `sdpo_agent.Server`."""

    def write(
        self, conversations: Sequence[Conversation], *, max_tokens: int, temperature: float, seeds: Sequence[int]
    ) -> list[Turn]:
        """Write one action per conversation; the randomness of each follows from its seed."""

    def fits(self, conversation: Conversation, max_tokens: int) -> bool:
        """Return whether there is room for an action after `conversation`."""


def collect(
    envs: Groups,
    sampler: Sampler,
    *,
    max_tokens: int,
    temperature: float = 1.0,
    seeds: Sequence[int] | None = None,
    task_ids: Sequence[str] | None = None,
    history: History = "observation",
    ask: Callable[[int, Conversation], Conversation] | None = None,
) -> list[Group]:
    """Play one episode in every slot.

    Args:
        envs: P groups of G slots.
        sampler: Writes the actions of all running slots in one batch per turn.
        max_tokens: The longest action.
        temperature: Of the sampling.
        seeds: One per group, of the environments and of the sampling; None for others each time.
        task_ids: One per group; None has the environments choose.
        history: What is read before an action: ``"observation"``, the last one alone, which suits environments whose
            observations are complete in themselves; or ``"conversation"``, everything since the reset. When that
            leaves no room for another action, nothing more is written: the environment hears empty actions, which are
            no turns of the attempt, until it ends the episode.
        ask: Rewrites what a slot reads.

    Returns:
        P groups of G attempts. An attempt whose machinery broke has a NaN reward, no verdict and an `error`.

    Raises:
        SettingError: there is no such `history`, or not one seed or task per group.
        ValueError: what is read first, or alone, leaves no room for an action.
    """
    choose("history", history, ("observation", "conversation"))
    seeds = np.random.SeedSequence().generate_state(envs.num_groups).tolist() if seeds is None else list(seeds)
    options = None if task_ids is None else {"task_id": list(task_ids)}
    observations, infos = envs.reset(seed=seeds, options=options)
    skills = infos.get("skill", [""] * envs.num_envs)
    begun = zip(infos["task_id"], infos["system"], skills, observations, infos.get("seen", observations), strict=True)
    episodes = [_Episode(*each) for each in begun]
    while any(episode.running for episode in episodes):
        asked = _asked(episodes, sampler, max_tokens, history, ask)
        draws = [
            _seed(seeds[slot // envs.group_size], slot % envs.group_size, len(episodes[slot].turns)) for slot in asked
        ]
        written = sampler.write([*asked.values()], max_tokens=max_tokens, temperature=temperature, seeds=draws)
        turns = dict(zip(asked, written, strict=True))
        for slot, turn in turns.items():
            episodes[slot].turns += (replace(turn, state=episodes[slot].seen),)
        _tell_cost(envs, turns)
        step = envs.step([turns[slot].action if slot in turns else "" for slot in range(envs.num_envs)])
        for slot, episode in enumerate(episodes):
            episode.hear(slot, step, wrote=slot in asked)
    attempts = [episode.attempt(history) for episode in episodes]
    starts = range(0, envs.num_envs, envs.group_size)
    return [Group(attempts[start].task_id, tuple(attempts[start : start + envs.group_size])) for start in starts]


def _tell_cost(envs: Groups, turns: Mapping[int, Turn]) -> None:
    """Tell a recording what the turns of some slots have cost, if that is known."""
    if isinstance(envs, RecordedGroups) and any(turn.tokens for turn in turns.values()):
        slots = [turns.get(slot) for slot in range(envs.num_envs)]
        read = [turn.prompt_tokens if turn else 0 for turn in slots]
        envs.tell(
            [turn.tokens if turn else 0 for turn in slots],
            prompt_tokens=read if any(read) else None,
            cut_short=[turn is not None and turn.cut_short for turn in slots],
        )


def _asked(
    episodes: Sequence["_Episode"],
    sampler: Sampler,
    max_tokens: int,
    history: History,
    ask: Callable[[int, Conversation], Conversation] | None,
) -> dict[int, Conversation]:
    """Return what is read in each slot that is to write; a conversation without room for that is full from now on."""
    asked = {}
    for slot, episode in enumerate(episodes):
        if episode.running and not episode.full:
            reads = episode.asked(history) if ask is None else ask(slot, episode.asked(history))
            episode.full = history == "conversation" and episode.turns != () and not sampler.fits(reads, max_tokens)
            if not episode.full:
                asked[slot] = reads
    return asked


_SAID = ("verdict", "feedback", "error", "valid", "seen")


@dataclass(slots=True)
class _Episode:
    task_id: str
    system: str
    skill: str
    observation: str
    seen: str
    turns: tuple[Turn, ...] = ()
    reward: float = 0.0
    verdict: Verdict | None = None
    feedback: Feedback | None = None
    error: str = ""
    running: bool = True
    full: bool = False

    def hear(self, slot: int, step: Sequence[Any], *, wrote: bool) -> None:
        """Take note of what a step of the environments has led to, and whether the action was written."""
        observations, rewards, terminations, truncations, infos = step
        said = {name: infos[name][slot] for name in _SAID if name in infos and infos[f"_{name}"][slot]}
        self.observation = observations[slot]
        self.seen = said.get("seen", self.observation)
        if wrote and "valid" in said:
            self.turns = (*self.turns[:-1], replace(self.turns[-1], valid=bool(said["valid"])))
        self.reward += float(rewards[slot])
        self.running = not (terminations[slot] or truncations[slot])
        if "feedback" in said and not self.running:  # again, with its peer, when the whole group has ended
            self.verdict, self.feedback, self.error = said.get("verdict"), said["feedback"], said.get("error", "")

    def asked(self, history: History) -> Conversation:
        return Conversation(self.observation, self.system, self.turns if history == "conversation" else ())

    def attempt(self, history: History) -> Attempt:
        found = (self.reward, self.verdict, None if self.error else self.feedback, self.error)
        return Attempt(self.task_id, self.turns, *found, one_conversation=history == "conversation", skill=self.skill)


def _seed(group_seed: int, attempt: int, turn: int) -> int:
    """Return what a sampler's draws follow from; the same whatever other groups are played beside."""
    return int(np.random.SeedSequence([group_seed, attempt, turn]).generate_state(1, np.uint64)[0] >> 1)
