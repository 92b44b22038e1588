"""The laws of the contract (docs/contract.md), each with why it matters and how to mend what breaks it."""

import functools
import itertools
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env as gymnasium_check_env

from sdpo_envs.check.episodes import (
    HOSTILE_ACTIONS,
    attempt,
    bare,
    break_wall,
    demand,
    demand_error,
    handed,
    is_printable,
    made,
    plausible,
    some_tasks,
    steps,
    texts,
    told_of,
)
from sdpo_envs.errors import ActionError, ContractError, SettingError, TaskNotFound


@dataclass(frozen=True, slots=True)
class Law:
    """One law of the contract.

    Attributes:
        name: A word or two.
        demand: What it demands, in a sentence.
        why: Why that matters.
        mend: What to change in an environment that breaks it.
        check: Tries an environment, by id and settings; yields a sentence for each part that could not be tried.
    """

    name: str
    demand: str
    why: str
    mend: str
    check: Callable[..., Iterator[str]]

    @property
    def advice(self) -> str:
        """Why it matters and how to mend it, a line each."""
        return f"Why it matters: {self.why}\nHow to mend it: {self.mend}"

    def __call__(self, env_id: str, **settings: Any) -> Iterator[str]:
        """Hold an environment to this law.

        Yields:
            What could not be checked and why, a sentence each.

        Raises:
            ContractError: it is broken.
            Exception: whatever the environment raises where it should not; each has the advice as a note.
        """
        try:
            yield from self.check(env_id, **settings)
        except Exception as error:
            error.add_note(f"The law '{self.name}': {self.demand}\n{self.advice}")
            raise


def law(*, why: str, mend: str) -> Callable[[Callable[..., Iterator[str]]], Law]:
    """Make a law of a check, whose docstring is what it demands."""
    return lambda check: Law(check.__name__, check.__doc__ or "", why, mend, check)


@law(
    why="A task whose right answer fails would teach that right is wrong, and nobody would notice.",
    mend="Let oracle(task) return what a perfect policy writes, and the judge answer it with "
    "Verdict(Outcome.PASSED, 1.0); say nothing about a success.",
)
def oracle(env_id: str, **settings: Any) -> Iterator[str]:
    """An oracle action, or the actions of a walkthrough, earn 1.0, with a passed verdict and no feedback."""
    with closing(made(env_id, settings)) as env:
        known = [(task, actions) for task in some_tasks(env) if (actions := bare(env).walkthrough(task)) is not None]
        if not known:
            yield "No task knows its oracle action; define oracle(task) to have every task prove its own answer."
        for task, actions in known:
            verdict, feedback, reward = attempt(env, task, *actions)
            demand(
                verdict.passed and reward == 1.0,
                f"the oracle action of {task.id} must earn 1.0, not {reward} ({verdict})",
            )
            demand(not feedback.text, f"a success needs no feedback, but {task.id} says {feedback.text!r}")


@law(
    why="A loop reads the reward, the verdict and the words from three places; if they differ, it learns from "
    "something else than it records.",
    mend="End a step by conclude(verdict) or proceed(observation), and change nothing of what they return but "
    "by adding keys to info.",
)
def episode(env_id: str, **settings: Any) -> Iterator[str]:
    """Resets and steps tell what the contract's table says, and an episode ends with its verdict's reward and words."""
    with closing(made(env_id, settings)) as env:
        for task, action in itertools.product(some_tasks(env)[:2], plausible(env)):
            _, told = env.reset(options={"task_id": task.id})
            named = {"task_id", "system"} <= set(told)
            demand(named, f"info must hold task_id and system after reset, not {sorted(told)}")
            demand(told["task_id"] == task.id, f"a reset to {task.id} must say so, not {told['task_id']!r}")
            for observation, reward, terminated, _, info in steps(env, action):
                due = info["verdict"].reward if terminated else 0.0
                demand(reward == due, f"the reward must be the verdict's at the end, and 0 before: {due}, not {reward}")
                said = observation if terminated else info["feedback"].text
                demand(said == info["feedback"].text, f"the last observation must be the feedback's text, not {said!r}")
    yield from ()


@law(
    why="A policy in training writes anything. An exception ends the run; a reward for noise is found and exploited.",
    mend="Read the action as data: answer what cannot be read with Verdict(Outcome.MALFORMED, 0.0, "
    "[Finding(...)]), quote it only in a finding's details, and leave the words to conclude(verdict).",
)
def hostile_actions(env_id: str, **settings: Any) -> Iterator[str]:
    """Whatever the policy writes is data: reward 0, and words that say why, within their limit."""
    for limit in (2000, 40):
        with closing(made(env_id, settings | {"limit": limit})) as env:
            for (name, action), task in zip(HOSTILE_ACTIONS.items(), itertools.cycle(some_tasks(env)), strict=False):
                verdict, feedback, reward = attempt(env, task, action)
                demand(reward == 0.0 and not verdict.passed, f"an action of {name} must earn 0, not {reward}")
                demand(bool(feedback.text), f"an action of {name} must get feedback")
                demand(
                    len(feedback.text) <= limit, f"feedback must keep its limit of {limit}, not {len(feedback.text)}"
                )
                demand(is_printable(feedback.text), f"feedback on {name} must be printable, not {feedback.text!r}")
    yield from ()


@law(
    why="Without it no result can be repeated, no recorded attempt judged again, and no group shares its task.",
    mend="Keep clocks, sets' order and state of earlier episodes out of the judge and of info; draw from "
    "self.np_random only, and set up each episode anew in begin(task).",
)
def repeatability(env_id: str, **settings: Any) -> Iterator[str]:
    """The same action gets an equal verdict and equal words twice, and a seed the same task in any order."""
    with closing(made(env_id, settings)) as env:
        for task, action in itertools.product(some_tasks(env)[:2], plausible(env)):
            first, second = attempt(env, task, action), attempt(env, task, action)
            demand(first == second, f"the same action must get an equal verdict twice, not {first} and {second}")
        forwards = [env.reset(seed=seed) for seed in range(20)]
        backwards = [env.reset(seed=seed) for seed in reversed(range(20))][::-1]
        demand(forwards == backwards, "a seed must repeat its task whatever came before")
    yield from ()


@law(
    why="A policy that is told the answer learns to copy it, and the comparison with one that is not is worth nothing.",
    mend="Put what was right into a finding's answer, never into its title, its details, the task's meta, id "
    "or prompt, or into info.",
)
def secrecy(env_id: str, **settings: Any) -> Iterator[str]:
    """Without `reveal`, nothing that the answer is made of stands in what leaves the environment."""
    with closing(made(env_id, settings | {"reveal": False, "render_mode": "ansi"})) as env:
        if not any(bare(env).secrets(task) for task in some_tasks(env)):
            yield "No task names its secrets; define secrets(task) to have it checked that nothing gives them away."
        for task in some_tasks(env):
            secrets = bare(env).secrets(task)
            unasked = [secret for secret in secrets if secret not in f"{task.system}\n{task.prompt}"]
            demand(not told_of(unasked, [repr(task)]), f"repr of task {task.id} must not hold its answer")
            for action in [*plausible(env), *(f"wrong {secret[:2]}" for secret in secrets[:1])]:
                _, shown = env.reset(options={"task_id": task.id})
                demand(not told_of(unasked, texts(shown)), f"the info of a reset to {task.id} must not hold its answer")
                for observation, _, terminated, _, info in steps(env, action):
                    if info["verdict"] is not None and info["verdict"].passed:
                        continue
                    sent = texts(info, observation if terminated else "")
                    told = told_of([secret for secret in secrets if secret not in action], sent)
                    demand(not told, f"without reveal, feedback on {task.id} must not hold {told!r}")
                    demand(not info["feedback"].reveals_answer, "without reveal, reveals_answer must be False")
                    findings = () if info["verdict"] is None else info["verdict"].findings
                    answers = [finding.answer for finding in findings if finding.answer]
                    demand(
                        not answers, f"without reveal, the verdict in info must not hold answers, such as {answers[:1]}"
                    )
                told = told_of([secret for secret in unasked if secret not in action], texts(env.render()))
                demand(not told, f"without reveal, the rendering of {task.id} must not hold {told!r}")


@law(
    why="Whether feedback held the answer is the main confound when methods are compared, so it is recorded.",
    mend="Leave the words to conclude(verdict), which sets reveals_answer if anything of a finding's answer was told.",
)
def disclosure(env_id: str, **settings: Any) -> Iterator[str]:
    """With `reveal`, feedback that gives the answer away says that it does."""
    with closing(made(env_id, settings | {"reveal": True})) as env:
        for task, action in itertools.product(some_tasks(env)[:2], plausible(env)):
            secrets = [secret for secret in bare(env).secrets(task) if secret not in action]
            env.reset(options={"task_id": task.id})
            for *_, info in steps(env, action):
                told = told_of(secrets, [info["feedback"].text])
                demand(
                    not told or info["feedback"].reveals_answer, f"reveals_answer must be True of a text with {told!r}"
                )
    yield from ()


@law(
    why="A mistake of the caller that goes unnoticed becomes a wrong number in somebody's table.",
    mend="Begin step with accept(action), leave reset to FeedbackEnv, and name each keyword of __init__ "
    "instead of taking any.",
)
def bad_input(env_id: str, **settings: Any) -> Iterator[str]:
    """Mistakes of the caller are errors that say so, not verdicts."""
    with closing(made(env_id, settings)) as env:
        task_id = some_tasks(env)[0].id
        demand_error(SettingError, "an unknown option", lambda: env.reset(options={"no such option": 1}))
        demand_error(TaskNotFound, "an unknown task id", lambda: env.reset(options={"task_id": f"{task_id}?"}))
        not_text: tuple[Any, ...] = (None, 7, b"bytes", ["list"])
        for action in not_text:
            env.reset(options={"task_id": task_id})
            demand_error(ActionError, f"an action of type {type(action).__name__}", functools.partial(env.step, action))
        attempt(env, some_tasks(env)[0], HOSTILE_ACTIONS["empty"])
        demand_error(ResetNeeded, "a step after the end", lambda: env.step(""))
        demand_error(TypeError, "an unknown keyword", lambda: made(env_id, settings | {"no_such_keyword": 1}))
    env.close()
    yield from ()


@law(
    why="Wrappers, vector environments and trainers of others rely on it.",
    mend="Do what the message says; rewards are float, rendering is text, and info holds nothing that a clock "
    "has measured.",
)
def gymnasium_check(env_id: str, **settings: Any) -> Iterator[str]:
    """Gymnasium's own checker passes without a warning in every render mode."""
    with closing(made(env_id, settings)) as env:
        modes = [None, *env.metadata["render_modes"]]
    for mode in modes:
        with closing(made(env_id, settings | {"render_mode": mode})) as env:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    gymnasium_check_env(env.unwrapped)
                except AssertionError as error:
                    raise ContractError(f"gymnasium's checker says in render mode {mode}: {error}") from error
            demand(
                not caught, f"gymnasium's checker warns in render mode {mode}: {[str(each.message) for each in caught]}"
            )
    yield from ()


@law(
    why="Environments go to worker processes and into the record of a run, by pickle and by JSON.",
    mend="Keep lambdas, open files and local classes out of the environment, make the judge a function of a "
    "module, and let keywords be str, numbers, lists and dicts.",
)
def travel(env_id: str, **settings: Any) -> Iterator[str]:
    """The environment and its spec pickle, and the spec survives JSON."""
    with closing(made(env_id, settings)) as env:
        task = some_tasks(env)[0]
        try:
            twin = pickle.loads(pickle.dumps(env.unwrapped))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ContractError(f"the environment must pickle, but {error}") from error
        for action in plausible(env):
            demand(attempt(env, task, action) == attempt(twin, task, action), "a pickled environment must judge alike")
        twin.close()
    if env.spec is None or callable(env.spec.entry_point) or callable(env.spec.vector_entry_point):
        yield "The spec does not go through JSON, because an entry point is not a string 'module:Class'."
        return
    try:
        gymnasium.make(EnvSpec.from_json(env.spec.to_json())).close()
    except (TypeError, ValueError, AttributeError) as error:
        raise ContractError(f"the spec must survive JSON, but {error}") from error
    demand(pickle.loads(pickle.dumps(env.spec)) == env.spec, "the spec must be equal to itself after pickling")


@law(
    why="Groups and evaluations step many environments side by side.",
    mend="Let no state be shared by the instances of a class, and use the spaces that FeedbackEnv sets.",
)
def vectors(env_id: str, **settings: Any) -> Iterator[str]:
    """Gymnasium's own vector environments run it, and show what the environment alone shows."""
    with closing(made(env_id, settings)) as env:
        alone = tuple(env.reset(seed=seed)[0] for seed in (3, 4))
    quiet = settings | {"disable_env_checker": True}
    modes: dict[str, dict[str, Any]] = {"sync": {}}
    if env.spec is not None and isinstance(env.spec.entry_point, str):  # so that a worker can import it
        modes["async"] = {"shared_memory": False}
    for mode, keywords in modes.items():
        try:
            vector: Any = gymnasium.make_vec(env_id, 2, mode, vector_kwargs=keywords, **quiet)
        except RuntimeError as error:
            raise ContractError(f"gymnasium's {mode} vector environment says: {error}") from error
        with closing(vector) as envs:
            observations, _ = envs.reset(seed=[3, 4])
            demand(tuple(observations) == alone, f"in a {mode} vector environment a seed must show what it shows alone")
            *_, infos = envs.step([HOSTILE_ACTIONS["garbage"]] * 2)
            demand("feedback" in infos, f"in a {mode} vector environment infos must hold feedback, not {sorted(infos)}")
    yield from ()


@law(
    why="Algorithms compare the attempts of a group, so these must face one task; and a judge that broke says "
    "nothing of the policy.",
    mend="Register the environment with vector_entry_point=functools.partial(GroupEnv, YourEnv), and let what "
    "breaks raise a kind of InfrastructureError.",
)
def groups(env_id: str, **settings: Any) -> Iterator[str]:
    """In a group all see the same task, a failed attempt is handed a success, and a broken slot is nobody's failure."""
    env = made(env_id, settings)
    env.close()
    if env.spec is None or env.spec.vector_entry_point is None:
        yield "There are no groups; register with vector_entry_point=functools.partial(GroupEnv, YourEnv)."
        return
    vector: Any = gymnasium.make_vec(env_id, num_envs=4, group_size=2, **settings)
    with closing(vector) as envs:
        observations, infos = envs.reset(seed=[3, 4])
        demand(
            observations[0] == observations[1] and observations[2] == observations[3],
            "a group must share its observation",
        )
        task_ids = list(infos["task_id"])
        demand(task_ids[0] == task_ids[1] and task_ids[2] == task_ids[3], "a group must share its task")
        first = envs.envs[0].unwrapped
        right = first.walkthrough(first.find(task_ids[0]))
        if right is None:
            yield "Peers were not checked, as the task that seed 3 gives does not know its oracle action."
        else:
            peers = handed(envs, [right, *[[HOSTILE_ACTIONS["garbage"]]] * 3])
            met = peers[1] is not None and right[-1] in peers[1] and peers[0] is peers[2] is peers[3] is None
            demand(met, f"only a failed attempt may get its group's success, not {peers}")
        envs.reset(seed=[3, 4])
        envs.envs[1].unwrapped.step = break_wall
        _, rewards, terminations, truncations, infos = envs.step([HOSTILE_ACTIONS["garbage"]] * 4)
        dropped = np.isnan(rewards[1]) and truncations[1] and not terminations[1] and "error" in infos
        demand(
            dropped, f"a slot whose wall broke must be truncated with reward NaN and an error, not reward {rewards[1]}"
        )
        demand(np.isnan(rewards).sum() == 1, "a slot whose wall broke must not disturb the others")


LAWS = (
    oracle,
    episode,
    hostile_actions,
    repeatability,
    secrecy,
    disclosure,
    bad_input,
    gymnasium_check,
    travel,
    vectors,
    groups,
)
"""Every law, in the order in which they are tried."""
