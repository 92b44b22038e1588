"""The contract as code: `check_env(id)` tells whether an environment keeps it, and if not, each law that it breaks."""

import functools
import itertools
import pickle
import pickletools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env as gymnasium_check_env

from sdpo_envs.core import Feedback, Task, Verdict
from sdpo_envs.env import FeedbackEnv
from sdpo_envs.errors import ActionError, ContractError, SettingError, TaskNotFound

HOSTILE_ACTIONS = {
    "empty": "",
    "blank": " \n\t ",
    "garbage": "qwe rty; }{ )( <answer <answer> Action: ``` \\x00",
    "a megabyte": "a megabyte of text\n" * 55_000,
    "a megabyte of markers": "<answer>```\nAction: Action Input: {[" * 30_000,
    "surrogates": "lone \ud800 and \udfff surrogates",
    "control characters": "bell \x07 escape \x1b[2J null \x00 carriage return \r",
}
"""Name to action: what every environment must answer with reward 0 and words, and never with an exception."""

_TASKS = 12
_LONGEST_EPISODE = 200


def check_env(env_id: str, **settings: Any) -> list[str]:
    """Check the environment registered as `env_id` against the contract (docs/contract.md).

    Args:
        env_id: As for `gymnasium.make`.
        settings: Keywords for `gymnasium.make`.

    Returns:
        What could not be checked and why, a sentence each: for example that no task knows its oracle action.

    Raises:
        ContractError: a law is broken; the message lists every one.
        Exception: whatever the environment raises where it should not, with its own traceback.
    """
    _make(env_id, settings).close()
    broken, left_out = [], []
    for check in CHECKS:
        try:
            left_out += list(check(env_id, **settings))
        except ContractError as error:
            broken.append(f"{check.__name__.removeprefix('check_')}: {error}")
    if broken:
        raise ContractError(f"{env_id} breaks the contract:\n" + "\n".join(f"- {law}" for law in broken))
    return left_out


def check_oracle(env_id: str, **settings: Any) -> Iterator[str]:
    """An oracle action earns 1.0, with a passed verdict and no feedback."""
    env = _make(env_id, settings)
    known = [(task, oracle) for task in _some_tasks(env) if (oracle := _bare(env).oracle(task)) is not None]
    if not known:
        yield "No task knows its oracle action; define oracle(task) to have every task prove its own answer."
    for task, oracle in known:
        verdict, feedback, reward = _attempt(env, task, oracle)
        _law(
            verdict.passed and reward == 1.0, f"the oracle action of {task.id} must earn 1.0, not {reward} ({verdict})"
        )
        _law(not feedback.text, f"a success needs no feedback, but {task.id} says {feedback.text!r}")
    env.close()


def check_hostile_actions(env_id: str, **settings: Any) -> Iterator[str]:
    """Whatever the policy writes is data: reward 0, and words that say why, within their limit."""
    for limit in (2000, 40):
        env = _make(env_id, settings | {"limit": limit})
        for (name, action), task in zip(HOSTILE_ACTIONS.items(), itertools.cycle(_some_tasks(env)), strict=False):
            verdict, feedback, reward = _attempt(env, task, action)
            _law(reward == 0.0 and not verdict.passed, f"an action of {name} must earn 0, not {reward}")
            _law(bool(feedback.text), f"an action of {name} must get feedback")
            _law(len(feedback.text) <= limit, f"feedback must keep its limit of {limit}, not {len(feedback.text)}")
            _law(_encodable(feedback.text), f"feedback on {name} must be encodable, not {feedback.text!r}")
        env.close()
    yield from ()


def check_repeatability(env_id: str, **settings: Any) -> Iterator[str]:
    """The same action gets an equal verdict and equal words twice, and a seed the same task in any order."""
    env = _make(env_id, settings)
    for task, action in itertools.product(_some_tasks(env)[:2], _actions(env)):
        first, second = _attempt(env, task, action), _attempt(env, task, action)
        _law(first == second, f"the same action must get an equal verdict twice, not {first} and {second}")
    forwards = [env.reset(seed=seed) for seed in range(20)]
    backwards = [env.reset(seed=seed) for seed in reversed(range(20))][::-1]
    _law(forwards == backwards, "a seed must repeat its task whatever came before")
    env.close()
    yield from ()


def check_secrecy(env_id: str, **settings: Any) -> Iterator[str]:
    """Without `reveal`, nothing that the answer is made of stands in what leaves the environment."""
    env = _make(env_id, settings | {"reveal": False})
    for task in _some_tasks(env):
        secrets = _bare(env).secrets(task)
        unasked = [secret for secret in secrets if secret not in f"{task.system}\n{task.prompt}"]
        _law(not _told(unasked, [repr(task)]), f"repr of task {task.id} must not hold its answer")
        for action in [*_actions(env), *(f"wrong {secret[:2]}" for secret in secrets[:1])]:
            _, shown = env.reset(options={"task_id": task.id})
            _law(not _told(unasked, _texts(shown)), f"the info of a reset to {task.id} must not hold its answer")
            for observation, _, terminated, _, info in _steps(env, action):
                if info["verdict"] is not None and info["verdict"].passed:
                    continue
                sent = _texts(info, observation if terminated else "")
                told = _told([secret for secret in secrets if secret not in action], sent)
                _law(not told, f"without reveal, feedback on {task.id} must not hold {told!r}")
                _law(not info["feedback"].reveals_answer, "without reveal, reveals_answer must be False")
                findings = () if info["verdict"] is None else info["verdict"].findings
                answers = [finding.answer for finding in findings if finding.answer]
                _law(not answers, f"without reveal, the verdict in info must not hold answers, such as {answers[:1]}")
    env.close()
    yield from ()


def check_bad_input(env_id: str, **settings: Any) -> Iterator[str]:
    """Mistakes of the caller are errors that say so, not verdicts."""
    env = _make(env_id, settings)
    task_id = _some_tasks(env)[0].id
    _raises(SettingError, "an unknown option", lambda: env.reset(options={"no such option": 1}))
    _raises(TaskNotFound, "an unknown task id", lambda: env.reset(options={"task_id": f"{task_id}?"}))
    not_text: tuple[Any, ...] = (None, 7, b"bytes", ["list"])
    for action in not_text:
        env.reset(options={"task_id": task_id})
        _raises(ActionError, f"an action of type {type(action).__name__}", functools.partial(env.step, action))
    _attempt(env, _some_tasks(env)[0], HOSTILE_ACTIONS["empty"])
    _raises(ResetNeeded, "a step after the end", lambda: env.step(""))
    _raises(TypeError, "an unknown keyword", lambda: _make(env_id, settings | {"no_such_keyword": 1}))
    env.close()
    env.close()
    yield from ()


def check_gymnasium(env_id: str, **settings: Any) -> Iterator[str]:
    """Gymnasium's own checker passes without a warning in every render mode."""
    env = _make(env_id, settings)
    modes = [None, *env.metadata["render_modes"]]
    env.close()
    for mode in modes:
        env = _make(env_id, settings | {"render_mode": mode})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                gymnasium_check_env(env.unwrapped)
            except AssertionError as error:
                raise ContractError(f"gymnasium's checker says in render mode {mode}: {error}") from error
        _law(not caught, f"gymnasium's checker warns in render mode {mode}: {[str(each.message) for each in caught]}")
        env.close()
    yield from ()


def check_travel(env_id: str, **settings: Any) -> Iterator[str]:
    """The environment pickles, and its spec survives JSON."""
    env = _make(env_id, settings)
    task = _some_tasks(env)[0]
    try:
        twin = pickle.loads(pickle.dumps(env.unwrapped))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ContractError(f"the environment must pickle, but {error}") from error
    for action in _actions(env):
        _law(_attempt(env, task, action) == _attempt(twin, task, action), "a pickled environment must judge alike")
    twin.close()
    env.close()
    if env.spec is None or callable(env.spec.entry_point) or callable(env.spec.vector_entry_point):
        yield "The spec does not go through JSON, because an entry point is not a string 'module:Class'."
        return
    try:
        gymnasium.make(EnvSpec.from_json(env.spec.to_json())).close()
    except (TypeError, ValueError, AttributeError) as error:
        raise ContractError(f"the spec must survive JSON, but {error}") from error


def check_groups(env_id: str, **settings: Any) -> Iterator[str]:
    """In a group all see the same task, and a failed attempt is handed a success of its own group."""
    env = _make(env_id, settings)
    env.close()
    if env.spec is None or env.spec.vector_entry_point is None:
        yield "There are no groups; register with vector_entry_point=functools.partial(GroupEnv, YourEnv)."
        return
    envs: Any = gymnasium.make_vec(env_id, num_envs=4, group_size=2, **settings)
    observations, infos = envs.reset(seed=[3, 4])
    _law(
        observations[0] == observations[1] and observations[2] == observations[3], "a group must share its observation"
    )
    task_ids = list(infos["task_id"])
    _law(task_ids[0] == task_ids[1] and task_ids[2] == task_ids[3], "a group must share its task")
    bare = envs.envs[0].unwrapped
    oracle = bare.oracle(bare.find(task_ids[0]))
    if oracle is None:
        yield "Peers were not checked, as the task that seed 3 gives does not know its oracle action."
    else:
        peers = _peers(envs, [oracle, *[HOSTILE_ACTIONS["garbage"]] * 3])
        handed = peers[1] is not None and oracle in peers[1] and peers[0] is peers[2] is peers[3] is None
        _law(handed, f"only a failed attempt may get its group's success, not {peers}")
    envs.close()


CHECKS: tuple[Callable[..., Iterator[str]], ...] = (
    check_oracle,
    check_hostile_actions,
    check_repeatability,
    check_secrecy,
    check_bad_input,
    check_gymnasium,
    check_travel,
    check_groups,
)
"""Every law, a function each; `check_env` runs them all."""


def _make(env_id: str, settings: dict[str, Any]) -> gymnasium.Env[str, str]:
    # Gymnasium's checks are a law of their own; its passive checker would stumble over what the others try.
    env: gymnasium.Env[str, str] = gymnasium.make(env_id, disable_env_checker=True, **settings)
    _law(isinstance(env.unwrapped, FeedbackEnv), f"{env_id} must be a FeedbackEnv, not {type(env.unwrapped).__name__}")
    return env


def _bare(env: gymnasium.Env[str, str]) -> FeedbackEnv:
    bare = env.unwrapped
    assert isinstance(bare, FeedbackEnv)
    return bare


def _some_tasks(env: gymnasium.Env[str, str]) -> Sequence[Task]:
    """A dozen tasks, spread over all of them."""
    tasks = _bare(env).tasks
    return [tasks[position * len(tasks) // _TASKS] for position in range(_TASKS)] if len(tasks) > _TASKS else tasks


def _actions(env: gymnasium.Env[str, str]) -> list[str]:
    """Plausible actions, right for at most one task: oracles of several tasks, and some hostile ones."""
    oracles = [_bare(env).oracle(task) for task in _some_tasks(env)[:4]]
    return [*(oracle for oracle in oracles if oracle is not None), HOSTILE_ACTIONS["empty"], HOSTILE_ACTIONS["garbage"]]


def _attempt(env: gymnasium.Env[str, str], task: Task, action: str) -> tuple[Verdict, Feedback, float]:
    """Play one episode with the same action at every step."""
    env.reset(options={"task_id": task.id})
    *_, (_, reward, _, _, info) = _steps(env, action)
    _law(isinstance(info["verdict"], Verdict), "an episode must end with a verdict")
    return info["verdict"], info["feedback"], float(reward)


def _steps(env: gymnasium.Env[str, str], action: str) -> Iterator[Any]:
    """Take the same action until the episode ends."""
    keys = {"task_id", "verdict", "feedback"}
    for _ in range(_LONGEST_EPISODE):
        step = env.step(action)
        _law(keys <= set(step[4]), f"info must hold {sorted(keys)} at every step, not {sorted(step[4])}")
        yield step
        if step[2] or step[3]:
            return
    raise ContractError(f"an episode must end within {_LONGEST_EPISODE} steps")


def _peers(envs: Any, actions: list[str]) -> list[str | None]:
    """Take the same actions until every slot has ended; return what peer each was handed."""
    peers: list[str | None] = [None] * len(actions)
    for _ in range(_LONGEST_EPISODE):
        *_, terminations, truncations, infos = envs.step(actions)
        for slot in np.flatnonzero(infos["_feedback"]):
            peers[slot] = infos["feedback"][slot].peer
        if (terminations | truncations).all():
            break
    return peers


def _texts(*sent: Any) -> list[str]:
    """Every text in the bytes by which a worker process would send this, however deep and whatever its repr."""
    return [text for _, text, _ in pickletools.genops(pickle.dumps(sent)) if isinstance(text, str)]


def _told(secrets: Sequence[str], texts: Sequence[str]) -> str:
    return next((secret for secret in secrets for text in texts if secret in text), "")


def _encodable(text: str) -> bool:
    return not any(0xD800 <= ord(character) < 0xE000 for character in text)


def _law(kept: bool, law: str) -> None:
    if not kept:
        raise ContractError(law)


def _raises(expected: type[Exception], cause: str, call: Callable[[], Any]) -> None:
    try:
        call()
    except expected:
        return
    raise ContractError(f"{cause} must raise {expected.__name__}, but nothing was raised")
