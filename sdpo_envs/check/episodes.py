"""How the laws try an environment: the actions that they take, the episodes that they play, what they read of them."""

import pickle
import pickletools
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import gymnasium
import numpy as np

from sdpo_envs.core import Feedback, Task, Verdict
from sdpo_envs.env import FeedbackEnv
from sdpo_envs.errors import ContractError, SandboxError

HOSTILE_ACTIONS = {
    "empty": "",
    "blank": " \n\t ",
    "garbage": "qwe rty; }{ )( <answer <answer> Action: ``` \\x00",
    "a megabyte": "a megabyte of text\n" * 55_000,
    "a megabyte of markers": "<answer>```\nAction: Action Input: {[" * 30_000,
    "many digits": "9" * 5000,
    "surrogates": "lone \ud800 and \udfff surrogates",
    "control characters": "bell \x07 escape \x1b[2J null \x00 carriage return \r right to left \u202e",
}
"""Name to action: what every environment must answer with reward 0 and words, and never with an exception."""

_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, surrogates, line and paragraph separators
_TURNING = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}  # the direction of the text that follows
_TASKS = 12
_LONGEST_EPISODE = 200


def break_wall(action: str) -> NoReturn:
    """Stand for a step whose wall breaks."""
    raise SandboxError("check_env broke this wall on purpose.")


def made(env_id: str, settings: dict[str, Any]) -> gymnasium.Env[str, str]:
    """Make the environment.

    Raises:
        ContractError: it is no `FeedbackEnv`.
    """
    # Gymnasium's checks are a law of their own; its passive checker would stumble over what the others try.
    env: gymnasium.Env[str, str] = gymnasium.make(env_id, disable_env_checker=True, **settings)
    demand(
        isinstance(env.unwrapped, FeedbackEnv), f"{env_id} must be a FeedbackEnv, not {type(env.unwrapped).__name__}"
    )
    return env


def bare(env: gymnasium.Env[str, str]) -> FeedbackEnv:
    """Return the environment itself, without its wrappers."""
    inner = env.unwrapped
    assert isinstance(inner, FeedbackEnv)
    return inner


def some_tasks(env: gymnasium.Env[str, str]) -> Sequence[Task]:
    """Return a dozen tasks, spread over all of them."""
    tasks = bare(env).tasks
    return [tasks[position * len(tasks) // _TASKS] for position in range(_TASKS)] if len(tasks) > _TASKS else tasks


def plausible(env: gymnasium.Env[str, str]) -> list[str]:
    """Return actions that are right for at most one task: last ones of walkthroughs, and some hostile ones."""
    known = [bare(env).walkthrough(task) or () for task in some_tasks(env)[:4]]
    return [*(actions[-1] for actions in known if actions), HOSTILE_ACTIONS["empty"], HOSTILE_ACTIONS["garbage"]]


def attempt(env: gymnasium.Env[str, str], task: Task, *actions: str) -> tuple[Verdict, Feedback, float]:
    """Play one episode with these actions, the last of them at every further step."""
    env.reset(options={"task_id": task.id})
    *_, (_, reward, _, _, info) = steps(env, *actions)
    demand(isinstance(info["verdict"], Verdict), "an episode must end with a verdict")
    return info["verdict"], info["feedback"], float(reward)


def steps(env: gymnasium.Env[str, str], *actions: str) -> Iterator[Any]:
    """Take these actions, and the last of them again, until the episode ends."""
    keys = {"task_id", "verdict", "feedback"}
    for number in range(_LONGEST_EPISODE):
        step = env.step(actions[min(number, len(actions) - 1)])
        demand(keys <= set(step[4]), f"info must hold {sorted(keys)} at every step, not {sorted(step[4])}")
        yield step
        if step[2] or step[3]:
            return
    raise ContractError(f"an episode must end within {_LONGEST_EPISODE} steps")


def handed(envs: Any, actions: Sequence[Sequence[str]]) -> list[str | None]:
    """Take each slot's actions, and the last of them again, until all have ended; return what peer each was handed."""
    peers: list[str | None] = [None] * len(actions)
    for number in range(_LONGEST_EPISODE):
        *_, terminations, truncations, infos = envs.step([own[min(number, len(own) - 1)] for own in actions])
        for slot in np.flatnonzero(infos["_feedback"]):
            peers[slot] = infos["feedback"][slot].peer
        if (terminations | truncations).all():
            break
    return peers


def texts(*sent: Any) -> list[str]:
    """Return every text in the bytes by which a worker process would send this, however deep and whatever its repr."""
    return [text for _, text, _ in pickletools.genops(pickle.dumps(sent)) if isinstance(text, str)]


def told_of(secrets: Sequence[str], texts: Sequence[str]) -> str:
    """Return the first of the secrets that one of the texts holds, or ``""``."""
    return next((secret for secret in secrets for text in texts if secret in text or _flat(secret) in _flat(text)), "")


def _flat(text: str) -> str:
    """Return `text` without the indentation of its lines, which feedback adds to what it quotes."""
    return "\n".join(line.strip() for line in text.split("\n"))


def is_printable(text: str) -> bool:
    """Whether nothing in `text` moves a terminal's cursor, turns its direction or cannot be encoded."""
    return not any(
        unicodedata.category(each) in _UNPRINTABLE or unicodedata.bidirectional(each) in _TURNING
        for each in text.replace("\n", "").replace("\t", "")
    )


def demand(kept: bool, law: str) -> None:
    """Raise a ContractError that says what the law demands, unless it is kept."""
    if not kept:
        raise ContractError(law)


def demand_error(expected: type[Exception], cause: str, call: Callable[[], Any]) -> None:
    """Raise a ContractError unless the call raises what is expected."""
    try:
        call()
    except expected:
        return
    raise ContractError(f"{cause} must raise {expected.__name__}, but nothing was raised")
