"""The contract as code: `check_env(id)` tells whether an environment keeps it, and if not, each law that it breaks."""

import functools
import itertools
import pickle
import pickletools
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env as gymnasium_check_env

from sdpo_envs.core import Feedback, Task, Verdict
from sdpo_envs.env import FeedbackEnv
from sdpo_envs.errors import ActionError, ContractError, SandboxError, SettingError, TaskNotFound

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
    """An oracle action, or the actions of a walkthrough, earn 1.0, with a passed verdict and no feedback."""
    env = _make(env_id, settings)
    known = [(task, actions) for task in _some_tasks(env) if (actions := _bare(env).walkthrough(task)) is not None]
    if not known:
        yield "No task knows its oracle action; define oracle(task) to have every task prove its own answer."
    for task, actions in known:
        verdict, feedback, reward = _attempt(env, task, *actions)
        _law(
            verdict.passed and reward == 1.0, f"the oracle action of {task.id} must earn 1.0, not {reward} ({verdict})"
        )
        _law(not feedback.text, f"a success needs no feedback, but {task.id} says {feedback.text!r}")
    env.close()


def check_episode(env_id: str, **settings: Any) -> Iterator[str]:
    """Resets and steps tell what the contract's table says, and an episode ends with its verdict's reward and words."""
    env = _make(env_id, settings)
    for task, action in itertools.product(_some_tasks(env)[:2], _actions(env)):
        _, told = env.reset(options={"task_id": task.id})
        _law({"task_id", "system"} <= set(told), f"info must hold task_id and system after reset, not {sorted(told)}")
        _law(told["task_id"] == task.id, f"a reset to {task.id} must say so, not {told['task_id']!r}")
        for observation, reward, terminated, _, info in _steps(env, action):
            due = info["verdict"].reward if terminated else 0.0
            _law(reward == due, f"the reward must be the verdict's at the end, and 0 before: {due}, not {reward}")
            said = observation if terminated else info["feedback"].text
            _law(said == info["feedback"].text, f"the last observation must be the feedback's text, not {said!r}")
    env.close()
    yield from ()


def check_hostile_actions(env_id: str, **settings: Any) -> Iterator[str]:
    """Whatever the policy writes is data: reward 0, and words that say why, within their limit."""
    for limit in (2000, 40):
        env = _make(env_id, settings | {"limit": limit})
        for (name, action), task in zip(HOSTILE_ACTIONS.items(), itertools.cycle(_some_tasks(env)), strict=False):
            verdict, feedback, reward = _attempt(env, task, action)
            _law(reward == 0.0 and not verdict.passed, f"an action of {name} must earn 0, not {reward}")
            silent = _bare(env).limit == 0
            _law(silent or bool(feedback.text), f"an action of {name} must get feedback")
            _law(len(feedback.text) <= limit, f"feedback must keep its limit of {limit}, not {len(feedback.text)}")
            _law(_printable(feedback.text), f"feedback on {name} must be printable, not {feedback.text!r}")
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
    env = _make(env_id, settings | {"reveal": False, "render_mode": "ansi"})
    if not any(_bare(env).secrets(task) for task in _some_tasks(env)):
        yield "No task names its secrets; define secrets(task) to have it checked that nothing gives them away."
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
            told = _told([secret for secret in unasked if secret not in action], _texts(env.render()))
            _law(not told, f"without reveal, the rendering of {task.id} must not hold {told!r}")
    env.close()


def check_disclosure(env_id: str, **settings: Any) -> Iterator[str]:
    """With `reveal`, feedback that gives the answer away says that it does."""
    env = _make(env_id, settings | {"reveal": True})
    for task, action in itertools.product(_some_tasks(env)[:2], _actions(env)):
        secrets = [secret for secret in _bare(env).secrets(task) if secret not in action]
        env.reset(options={"task_id": task.id})
        for *_, info in _steps(env, action):
            told = _told(secrets, [info["feedback"].text])
            _law(not told or info["feedback"].reveals_answer, f"reveals_answer must be True of a text with {told!r}")
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
    """The environment and its spec pickle, and the spec survives JSON."""
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
    _law(pickle.loads(pickle.dumps(env.spec)) == env.spec, "the spec must be equal to itself after pickling")


def check_vectors(env_id: str, **settings: Any) -> Iterator[str]:
    """Gymnasium's own vector environments run it, and show what the environment alone shows."""
    env = _make(env_id, settings)
    alone = tuple(env.reset(seed=seed)[0] for seed in (3, 4))
    env.close()
    quiet = settings | {"disable_env_checker": True}
    modes: dict[str, dict[str, Any]] = {"sync": {}}
    if env.spec is not None and isinstance(env.spec.entry_point, str):  # so that a worker can import it
        modes["async"] = {"shared_memory": False}
    for mode, keywords in modes.items():
        try:
            envs: Any = gymnasium.make_vec(env_id, 2, mode, vector_kwargs=keywords, **quiet)
        except RuntimeError as error:
            raise ContractError(f"gymnasium's {mode} vector environment says: {error}") from error
        observations, _ = envs.reset(seed=[3, 4])
        _law(tuple(observations) == alone, f"in a {mode} vector environment a seed must show what it shows alone")
        *_, infos = envs.step([HOSTILE_ACTIONS["garbage"]] * 2)
        _law("feedback" in infos, f"in a {mode} vector environment infos must hold feedback, not {sorted(infos)}")
        envs.close()
    yield from ()


def check_groups(env_id: str, **settings: Any) -> Iterator[str]:
    """In a group all see the same task, a failed attempt is handed a success, and a broken slot is nobody's failure."""
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
    right = bare.walkthrough(bare.find(task_ids[0]))
    if right is None:
        yield "Peers were not checked, as the task that seed 3 gives does not know its oracle action."
    else:
        peers = _peers(envs, [right, *[[HOSTILE_ACTIONS["garbage"]]] * 3])
        handed = peers[1] is not None and right[-1] in peers[1] and peers[0] is peers[2] is peers[3] is None
        _law(handed, f"only a failed attempt may get its group's success, not {peers}")
    envs.reset(seed=[3, 4])
    envs.envs[1].unwrapped.step = _break_wall
    _, rewards, terminations, truncations, infos = envs.step([HOSTILE_ACTIONS["garbage"]] * 4)
    dropped = np.isnan(rewards[1]) and truncations[1] and not terminations[1] and "error" in infos
    _law(dropped, f"a slot whose wall broke must be truncated with reward NaN and an error, not reward {rewards[1]}")
    _law(np.isnan(rewards).sum() == 1, "a slot whose wall broke must not disturb the others")
    envs.close()


CHECKS: tuple[Callable[..., Iterator[str]], ...] = (
    check_oracle,
    check_episode,
    check_hostile_actions,
    check_repeatability,
    check_secrecy,
    check_disclosure,
    check_bad_input,
    check_gymnasium,
    check_travel,
    check_vectors,
    check_groups,
)
"""Every law, a function each; `check_env` runs them all."""


def _break_wall(action: str) -> NoReturn:
    raise SandboxError("check_env broke this wall on purpose.")


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
    """Plausible actions, right for at most one task: last ones of walkthroughs, and some hostile ones."""
    known = [_bare(env).walkthrough(task) or () for task in _some_tasks(env)[:4]]
    return [*(actions[-1] for actions in known if actions), HOSTILE_ACTIONS["empty"], HOSTILE_ACTIONS["garbage"]]


def _attempt(env: gymnasium.Env[str, str], task: Task, *actions: str) -> tuple[Verdict, Feedback, float]:
    """Play one episode with these actions, the last of them at every further step."""
    env.reset(options={"task_id": task.id})
    *_, (_, reward, _, _, info) = _steps(env, *actions)
    _law(isinstance(info["verdict"], Verdict), "an episode must end with a verdict")
    return info["verdict"], info["feedback"], float(reward)


def _steps(env: gymnasium.Env[str, str], *actions: str) -> Iterator[Any]:
    """Take these actions, and the last of them again, until the episode ends."""
    keys = {"task_id", "verdict", "feedback"}
    for number in range(_LONGEST_EPISODE):
        step = env.step(actions[min(number, len(actions) - 1)])
        _law(keys <= set(step[4]), f"info must hold {sorted(keys)} at every step, not {sorted(step[4])}")
        yield step
        if step[2] or step[3]:
            return
    raise ContractError(f"an episode must end within {_LONGEST_EPISODE} steps")


def _peers(envs: Any, actions: Sequence[Sequence[str]]) -> list[str | None]:
    """Take each slot's actions, and the last of them again, until all have ended; return what peer each was handed."""
    peers: list[str | None] = [None] * len(actions)
    for number in range(_LONGEST_EPISODE):
        *_, terminations, truncations, infos = envs.step([own[min(number, len(own) - 1)] for own in actions])
        for slot in np.flatnonzero(infos["_feedback"]):
            peers[slot] = infos["feedback"][slot].peer
        if (terminations | truncations).all():
            break
    return peers


def _texts(*sent: Any) -> list[str]:
    """Every text in the bytes by which a worker process would send this, however deep and whatever its repr."""
    return [text for _, text, _ in pickletools.genops(pickle.dumps(sent)) if isinstance(text, str)]


def _told(secrets: Sequence[str], texts: Sequence[str]) -> str:
    return next((secret for secret in secrets for text in texts if secret in text or _flat(secret) in _flat(text)), "")


def _flat(text: str) -> str:
    """Return `text` without the indentation of its lines, which feedback adds to what it quotes."""
    return "\n".join(line.strip() for line in text.split("\n"))


def _printable(text: str) -> bool:
    return not any(
        unicodedata.category(each) in _UNPRINTABLE or unicodedata.bidirectional(each) in _TURNING
        for each in text.replace("\n", "").replace("\t", "")
    )


def _law(kept: bool, law: str) -> None:
    if not kept:
        raise ContractError(law)


def _raises(expected: type[Exception], cause: str, call: Callable[[], Any]) -> None:
    try:
        call()
    except expected:
        return
    raise ContractError(f"{cause} must raise {expected.__name__}, but nothing was raised")
