"""Plays a suite of environments with any policy at all, and keeps the score."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from sdpo_envs.bench.intervals import Bootstrap, Floats
from sdpo_envs.bench.scores import Scores, score
from sdpo_envs.env import natural
from sdpo_envs.errors import ActionError, SettingError, choose
from sdpo_envs.record import RecordedGroups, record, rows
from sdpo_envs.record.recording import Recording

Message = Mapping[str, str]
"""A turn of a chat: its ``role``, system, user or assistant, and its ``content``."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a policy wrote, and what that cost.

    Attributes:
        text: The action.
        tokens: How many were written.
        prompt_tokens: How many were read before; None where nobody knows.
        cut_short: Whether a limit of tokens ended it.
    """

    text: str
    tokens: int
    prompt_tokens: int | None = None
    cut_short: bool = False


Generate = Callable[[Sequence[Sequence[Message]]], Sequence[str | Reply]]
"""Any policy: from chats that end with the user's turn to one text each, or one `Reply`, whose cost is recorded."""
Suite = Sequence[tuple[str, Mapping[str, Any]]]
"""Environments by id, with their settings."""

SUITES: Mapping[str, Suite] = {
    "bundled": (
        ("sdpo/LiveCodeBench-v0", {}),
        ("sdpo/SciKnowEval-v0", {"split": "test"}),
        ("sdpo/ToolUse-v0", {"split": "test"}),
    ),
    "micro": (
        ("sdpo/MicroCode-v0", {"split": "test"}),
        ("sdpo/MicroTool-v0", {"split": "test"}),
    ),
}
"""Suites by name. (LiveCodeBench is all test, and has no split.)"""


def evaluate(
    generate: Generate,
    suite: str | Suite = "micro",
    *,
    attempts: int = 8,
    tasks: int | None = None,
    seed: int = 0,
    slots: int = 64,
    history: str = "observation",
    run: str | Path | None = None,
    resume: bool = False,
    told: Mapping[str, Any] | None = None,
    how: Bootstrap | None = None,
) -> Scores:
    """Attempt the tasks of each environment, and return what the policy scored.

    An attempt whose machinery broke is counted apart, and is never a failure.

    Args:
        generate: The policy. It is given as many chats as slots are running, the system prompt first where there is
            one, and its own randomness is its own affair.
        suite: A name of `SUITES`, or environments by id with their settings.
        attempts: At each task.
        tasks: How many of each environment, from its first; None for all.
        seed: Of the environments; what a task is given does not depend on `slots`.
        slots: About how many attempts to play side by side; at least one task's.
        history: In episodes of several steps, what the policy reads: ``"observation"``, the last one alone, for
            environments whose observations are complete in themselves; or ``"conversation"``, all since the reset.
        run: Where to record the attempts; see `record`. Each environment is a phase, called by its name.
        resume: Whether to go on with what `run` holds: a task is not attempted again whose attempts all stand there.
        told: What to tell the recording of the policy.
        how: Intervals are drawn; None for 95 % of 2000 draws.

    Raises:
        SettingError: no such suite, a number below 1, an environment twice, or nothing or another to resume.
        FileExistsError: `run` holds a recording, and `resume` is False.
        ActionError: `generate` returned another number of texts, or something that is no text.
        InfrastructureError: `generate` could not write. What was recorded until then stays.
    """
    chosen, names = _named(suite)
    choose("history", history, ("observation", "conversation"))
    natural("attempts", attempts)
    most = None if tasks is None else natural("tasks", tasks)
    groups = max(1, natural("slots", slots) // attempts)
    facts = {"suite": names, "attempts": attempts, "seed": seed, **(told or {})}
    recording = None if run is None else Recording(run, told=facts, resume=resume)
    before = _recorded(recording) if resume else {}
    passed = []
    for number, (env_id, settings) in enumerate(chosen):
        envs: Any = gymnasium.make_vec(env_id, num_envs=groups * attempts, group_size=attempts, **settings)
        try:
            played = envs if recording is None else record(envs, recording, phase=names[number])
            known = {task: row for (name, task), row in before.items() if name == names[number]}
            task_ids = envs.task_ids[:most]
            known |= _play(generate, played, _left(task_ids, [seed, number], known), history == "conversation")
            passed.append(np.array([known[task] for task in task_ids]))
        finally:
            envs.close()
    return _scores(names, passed, how or Bootstrap())


def name_of(env_id: str, settings: Mapping[str, Any]) -> str:
    """Return what an environment with its settings is called, such as ``sdpo/ToolUse-v0 split=test``."""
    return " ".join([env_id, *(f"{name}={value}" for name, value in settings.items())])


def _scores(names: Sequence[str], passed: Sequence[Floats], how: Bootstrap) -> Scores:
    each = tuple(score(name, [stratum], how) for name, stratum in zip(names, passed, strict=True))
    return Scores(each, score("all", passed, how))


def _named(suite: str | Suite) -> tuple[Suite, list[str]]:
    chosen = SUITES[choose("suite", suite, SUITES)] if isinstance(suite, str) else suite
    names = [name_of(env_id, settings) for env_id, settings in chosen]
    if not names or len(set(names)) < len(names):
        raise SettingError(f"A suite is one environment or more, each once, not {names}.")
    return chosen, names


def _left(task_ids: Sequence[str], entropy: list[int], known: Collection[str]) -> list[tuple[str, int]]:
    """Return each task that is not known yet, with its seed, which does not depend on what is known."""
    seeds = np.random.SeedSequence(entropy).generate_state(len(task_ids)).tolist()
    return [(task, seed) for task, seed in zip(task_ids, seeds, strict=True) if task not in known]


def _recorded(recording: Recording | None) -> dict[tuple[str, str], list[float]]:
    """Return, by phase and task, 1.0, 0.0 or NaN for each attempt that stands in a recording."""
    if recording is None:
        raise SettingError("resume=True needs run=, the folder to go on with.")
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows(recording.folder):
        found.setdefault((row.phase, row.task), []).append(np.nan if row.broken else float(row.passed))
    return found


def _play(generate: Generate, envs: Any, tasks: Sequence[tuple[str, int]], whole: bool) -> dict[str, list[float]]:
    """Attempt each task, with its seed, with one group; return 1.0, 0.0 or NaN for each attempt, by task."""
    passed: dict[str, list[float]] = {}
    for start in range(0, len(tasks), envs.num_groups):
        some = tasks[start : start + envs.num_groups]
        idle = envs.num_groups - len(some)
        options: dict[str, Any] = {"task_id": [*(task for task, _ in some), *[some[0][0]] * idle]}
        running = np.arange(envs.num_envs) < len(some) * envs.group_size
        if idle:
            options["reset_mask"] = running
        reset = envs.reset(seed=[*(seed for _, seed in some), *[0] * idle], options=options)
        found = _finish(generate, envs, reset, running, whole).reshape(-1, envs.group_size)[: len(some)]
        passed |= {task: row.tolist() for (task, _), row in zip(some, found, strict=True)}
    return passed


def _finish(generate: Generate, envs: Any, reset: tuple[Any, Any], running: Any, whole: bool) -> Floats:
    """Play the running slots to their end, and return 1.0, 0.0 or NaN for each slot."""
    observations, infos = reset
    opening = [[{"role": "system", "content": text}] if text else [] for text in infos["system"]]
    chats: list[list[Message]] = [[] for _ in range(envs.num_envs)]
    passed = np.full(envs.num_envs, np.nan)
    while running.any():
        slots = np.flatnonzero(running).tolist()
        actions = [""] * envs.num_envs
        for slot in slots:
            chats[slot].append({"role": "user", "content": observations[slot]})
        asked = [opening[slot] + (chats[slot] if whole else chats[slot][-1:]) for slot in slots]
        replies = dict(zip(slots, _replies(generate(asked), len(slots)), strict=True))
        for slot, reply in replies.items():
            actions[slot] = reply if isinstance(reply, str) else reply.text
            chats[slot].append({"role": "assistant", "content": actions[slot]})
        _tell_cost(envs, replies)
        observations, rewards, terminations, truncations, infos = envs.step(actions)
        for slot in np.flatnonzero(running & (terminations | truncations)).tolist():
            verdict = infos["verdict"][slot]
            passed[slot] = np.nan if np.isnan(rewards[slot]) else float(verdict is not None and verdict.passed)
        running = running & ~(terminations | truncations)
    return passed


def _tell_cost(envs: Any, replies: Mapping[int, str | Reply]) -> None:
    """Tell a recording what the replies of some slots have cost, if that is known of each."""
    known = {slot: reply for slot, reply in replies.items() if isinstance(reply, Reply)}
    if isinstance(envs, RecordedGroups) and len(known) == len(replies):
        slots = [known.get(slot) for slot in range(envs.num_envs)]
        read = [reply.prompt_tokens if reply else 0 for reply in slots]
        envs.tell(
            [reply.tokens if reply else 0 for reply in slots],
            prompt_tokens=None if None in read else [each or 0 for each in read],
            cut_short=[reply is not None and reply.cut_short for reply in slots],
        )


def _replies(given: Sequence[str | Reply], expected: int) -> list[str | Reply]:
    replies = list(given)
    if isinstance(given, str) or len(replies) != expected or not all(isinstance(each, str | Reply) for each in replies):
        kinds = sorted({type(each).__name__ for each in replies})
        found = "one str" if isinstance(given, str) else f"{len(replies)} of {kinds}"
        raise ActionError(f"generate was given {expected} chats and must return as many str in a list, not {found}.")
    return replies
