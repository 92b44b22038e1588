"""Plays episodes: `collect(envs, policy, ...)` gives groups of attempts. The only file that calls `env.step`."""

import math
from collections.abc import Sequence

import torch

from sdpo_agent.attempt import Attempt, Group, Turn, messages
from sdpo_agent.policy import Policy
from sdpo_envs import Feedback, GroupEnv, Verdict


def collect(
    envs: GroupEnv,
    policy: Policy,
    *,
    max_tokens: int,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    seeds: Sequence[int] | None = None,
    task_ids: Sequence[str] | None = None,
) -> list[Group]:
    """Play one episode in every slot.

    Args:
        envs: P groups of G slots.
        policy: Samples all running slots in one batch per turn.
        max_tokens: The longest action.
        temperature: Of the sampling.
        generator: The sampler's randomness.
        seeds: One per group, for the environments.
        task_ids: One per group; None has the environments choose.

    Returns:
        P groups of G attempts. An attempt whose machinery broke has a NaN reward, no verdict and an `error`.
    """
    options = None if task_ids is None else {"task_id": list(task_ids)}
    observations, infos = envs.reset(seed=None if seeds is None else list(seeds), options=options)
    tasks, systems = list(infos["task_id"]), list(infos["system"])
    turns: list[list[Turn]] = [[] for _ in range(envs.num_envs)]
    ends: dict[int, tuple[Verdict | None, Feedback | None, str]] = {}
    rewards = [0.0] * envs.num_envs
    running = list(range(envs.num_envs))
    while running:
        prompts = [policy.prompt_ids(messages(systems[slot], observations[slot])) for slot in running]
        sampled = policy.sample(prompts, max_tokens, temperature, generator)
        actions = [""] * envs.num_envs
        for slot, action in zip(running, sampled, strict=True):
            actions[slot] = action.text
            said = (action.text, action.token_ids, action.logprobs, action.cut_short)
            turns[slot].append(Turn(observations[slot], *said, systems[slot]))
        observations, step_rewards, terminations, truncations, infos = envs.step(actions)
        for slot in running:
            rewards[slot] += float(step_rewards[slot])
        # Feedback of a slot that ended earlier comes again, with its peer, when the last of its group ends.
        for slot in range(envs.num_envs):
            if infos["_feedback"][slot] and (terminations[slot] or truncations[slot]):
                error = infos["error"][slot] if "error" in infos and infos["_error"][slot] else ""
                ends[slot] = (infos["verdict"][slot], None if error else infos["feedback"][slot], error)
        running = [slot for slot in running if not (terminations[slot] or truncations[slot])]
    attempts = [Attempt(tasks[slot], tuple(turns[slot]), rewards[slot], *ends[slot]) for slot in range(envs.num_envs)]
    starts = range(0, envs.num_envs, envs.group_size)
    return [Group(tasks[start], tuple(attempts[start : start + envs.group_size])) for start in starts]


def decided(group: Group) -> tuple[Attempt, ...]:
    """Return the attempts of `group` that somebody decided about: those whose machinery did not break."""
    return tuple(attempt for attempt in group.attempts if not math.isnan(attempt.reward))
