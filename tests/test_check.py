"""Every law is broken once, by an environment that breaks no other: a check that cannot fail is no check."""

import functools
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from addition import ADDITION, GUESSING, TASKS, Addition, Guessing, judge

from sdpo_envs import (
    ContractError,
    Feedback,
    FeedbackEnv,
    Finding,
    FreeText,
    GroupEnv,
    JudgedEnv,
    MultiAttempt,
    Outcome,
    Task,
    Verdict,
    check_env,
)
from sdpo_envs.check import HOSTILE_ACTIONS, LAWS, Law, conformance, examine
from sdpo_envs.env import Step
from sdpo_envs.feedback import explain
from sdpo_envs.vector import VectorStep

BREAKERS: list[Any] = []


def breaks(
    law: str, says: str, groups: type[GroupEnv] = GroupEnv, **registered: Any
) -> Callable[[type[FeedbackEnv]], type[FeedbackEnv]]:
    """Register the decorated class, which breaks that law alone, and expect to be told so."""

    def register(family: type[FeedbackEnv]) -> type[FeedbackEnv]:
        env_id = f"tests/{family.__name__}-v0"
        setattr(sys.modules[__name__], f"{family.__name__}Group", functools.partial(groups, family))
        path = f"{__name__}:{family.__name__}"
        gymnasium.register(env_id, entry_point=path, vector_entry_point=f"{path}Group", **registered)
        BREAKERS.append(pytest.param(env_id, law, says, id=family.__name__))
        return family

    return register


# Oracles


@breaks("oracle", "the oracle action of add/1023-2004 must earn 1.0, not 0.0")
class WrongOracle(Addition):
    def oracle(self, task: Task) -> str:
        return "7" if task is TASKS[0] else super().oracle(task)


@breaks("oracle", "must earn 1.0, not 0.5")
class HalfReward(Addition):
    def conclude(self, verdict: Verdict) -> Step:
        return super().conclude(replace(verdict, reward=verdict.reward / 2))


@breaks("oracle", "a success needs no feedback, but add/1023-2004 says 'Well done.'")
class Praise(Addition):
    def conclude(self, verdict: Verdict) -> Step:
        _, reward, terminated, truncated, info = super().conclude(verdict)
        praised = Feedback("Well done.") if verdict.passed else info["feedback"]
        return praised.text, reward, terminated, truncated, info | {"feedback": praised}


# Episodes


@breaks("episode", "info must hold task_id and system after reset, not ['task_id']")
class Systemless(Addition):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        return observation, {"task_id": info["task_id"]}


@breaks("episode", "a reset to add/1023-2004 must say so, not 'add'")
class Misnamed(Addition):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        asked = (options or {}).get("task_id")
        return observation, info | {"task_id": "add"} if asked else info


@breaks("episode", "the last observation must be the feedback's text, not 'Bye.'")
class Farewell(Addition):
    def conclude(self, verdict: Verdict) -> Step:
        _, *rest = super().conclude(verdict)
        return "Bye.", *rest  # type: ignore[return-value]


@breaks("episode", "the reward must be the verdict's at the end, and 0 before: 0.0, not -1.0")
class Penalty(Addition):
    """Takes a point for a wrong number, behind the verdict's back."""

    def conclude(self, verdict: Verdict) -> Step:
        observation, reward, *rest = super().conclude(verdict)
        return observation, -1.0 if verdict.outcome is Outcome.WRONG else reward, *rest  # type: ignore[return-value]


@breaks("episode", "and 0 before: 0.0, not 0.25")
class Encouragement(Guessing):
    """Pays for a wrong guess that another may follow."""

    def proceed(self, observation: str, feedback: Feedback = Feedback()) -> Step:  # noqa: B008
        observation, _, *rest = super().proceed(observation, feedback)
        return observation, 0.25, *rest  # type: ignore[return-value]


# Hostile actions


@breaks("hostile_actions", "an action of empty must earn 0, not 1.0")
class PassesSilence(Addition):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.judge = lenient_judge


def lenient_judge(task: Task, action: str) -> Verdict:
    return judge(task, action) if action else Verdict(Outcome.PASSED, 1.0)


@breaks("hostile_actions", "must earn 0, not 0.1", kwargs={"tasks": 2})
class RewardsNoise(Addition):
    """Pays for the last of the hostile actions, with fewer tasks than there are of these."""

    def __init__(self, *, tasks: int, **settings: Any) -> None:
        super().__init__(tasks=TASKS[:tasks], **settings)

    def conclude(self, verdict: Verdict) -> Step:
        noise = "escape" in str(verdict.findings)
        return super().conclude(replace(verdict, reward=0.1) if noise else verdict)


class Speechless(Addition):
    """Says something else than the verdict does."""

    def say(self, verdict: Verdict) -> Feedback:
        return Feedback()

    def conclude(self, verdict: Verdict) -> Step:
        _, reward, terminated, truncated, info = super().conclude(verdict)
        said = info["feedback"] if verdict.passed else self.say(verdict)
        return said.text, reward, terminated, truncated, info | {"feedback": said}


breaks("hostile_actions", "an action of empty must get feedback")(Speechless)


@breaks("hostile_actions", "feedback must keep its limit of 40, not")
class Talkative(Speechless):
    def say(self, verdict: Verdict) -> Feedback:
        return explain(verdict)


@breaks("hostile_actions", "feedback on surrogates must be printable")
class Echo(Speechless):
    def say(self, verdict: Verdict) -> Feedback:
        return Feedback(f"> {verdict.findings[0].details['You wrote']}"[: self.limit])


@breaks("hostile_actions", "feedback on control characters must be printable")
class Ringing(Speechless):
    """Keeps to what UTF-8 can encode, and lets the policy ring the bell."""

    def say(self, verdict: Verdict) -> Feedback:
        bell = "\a" * ("bell" in str(verdict.findings))
        return replace(feedback := explain(verdict, limit=self.limit), text=bell + feedback.text[1:])


# Repeatability


@breaks("repeatability", "the same action must get an equal verdict twice")
class Moody(Addition):
    """Explains itself every other time, about numbers that gymnasium's checker does not come upon."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.mood = 0

    def conclude(self, verdict: Verdict) -> Step:
        self.mood += verdict.outcome is Outcome.WRONG and len(verdict.findings[0].details["You wrote"]) == 4
        return super().conclude(replace(verdict, findings=()) if self.mood % 2 else verdict)


@breaks("repeatability", "a seed must repeat its task whatever came before")
class Forgetful(Addition):
    """Remembers how often it was reset, in steps so large that the reset of gymnasium's checker goes unnoticed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.resets = 0

    def _draw(self) -> Task:
        self.resets += 1
        return self.tasks[self.resets // 15 % 2]


# Secrecy


@breaks("secrecy", "repr of task add/1023-2004 must not hold its answer")
class AnswerInMeta(Addition):
    def __init__(self, **settings: Any) -> None:
        super().__init__(tasks=[replace(task, meta={"sum": str(task.answer)}) for task in TASKS], **settings)


@breaks("secrecy", "the info of a reset to add/1023-2004 must not hold its answer")
class AnswerAtReset(Addition):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        return observation, info | {"hint": f"It is {self.task.answer}."}


@breaks("secrecy", "feedback on add/1023-2004 must not hold '3027'")
class AnswerInDetails(Speechless):
    def say(self, verdict: Verdict) -> Feedback:
        return Feedback(f"It is {self.task.answer}.", reveals_answer=self.reveal)


@breaks("secrecy", "feedback on add/1023-2004 must not hold '3027'")
class AnswerInInfo(Addition):
    """Hands out the task, whose repr keeps the answer, and whose bytes do not."""

    def conclude(self, verdict: Verdict) -> Step:
        observation, reward, terminated, truncated, info = super().conclude(verdict)
        task = replace(self.task, answer=f"It is {self.task.answer}.")
        return observation, reward, terminated, truncated, info | {"task": task}


@breaks("secrecy", "feedback on add/1023-2004 must not hold 'thirty\\n27'")
class AnswerInLines(Addition):
    """Tells an answer of two lines, which a repr would write as one."""

    def secrets(self, task: Task) -> Sequence[str]:
        return ("thirty\n27",)

    def conclude(self, verdict: Verdict) -> Step:
        observation, reward, terminated, truncated, info = super().conclude(verdict)
        told = () if verdict.passed else (Finding("Look here.", {"It is": "thirty\n27"}),)
        return observation, reward, terminated, truncated, info | {"verdict": replace(info["verdict"], findings=told)}


@breaks("secrecy", "feedback on add/1023-2004 must not hold 'thirty\\n27'")
class AnswerIndented(Speechless):
    """Tells it as feedback quotes a text of several lines."""

    def secrets(self, task: Task) -> Sequence[str]:
        return ("thirty\n27",)

    def say(self, verdict: Verdict) -> Feedback:
        return Feedback("It is:\n    thirty\n    27", reveals_answer=self.reveal)


@breaks("secrecy", "without reveal, reveals_answer must be False")
class FalseFlag(Speechless):
    def say(self, verdict: Verdict) -> Feedback:
        return replace(explain(verdict, limit=self.limit), reveals_answer=True)


@breaks("secrecy", "without reveal, the verdict in info must not hold answers, such as [{'The sum is': '3027'}]")
class AnswerInVerdict(Addition):
    def secrets(self, task: Task) -> Sequence[str]:
        return ()

    def conclude(self, verdict: Verdict) -> Step:
        observation, reward, terminated, truncated, info = super().conclude(verdict)
        return observation, reward, terminated, truncated, info | {"verdict": verdict}


@breaks("secrecy", "feedback on add/1023-2004 must not hold '3027'")
class AnswerAtLast(Guessing):
    """Tells the answer with the last of several turns."""

    def conclude(self, verdict: Verdict) -> Step:
        observation, reward, terminated, truncated, info = super().conclude(verdict)
        told = "" if verdict.passed else f"It was {self.task.answer}."
        return observation, reward, terminated, truncated, info | {"end": told}


@breaks("secrecy", "without reveal, the rendering of add/1023-2004 must not hold '3027'")
class AnswerInRendering(Addition):
    def render(self) -> str | None:
        return None if self.render_mode is None else f"{super().render()}\nIt is {self.task.answer}."


# Disclosure


@breaks("disclosure", "reveals_answer must be True of a text with '3027'")
class Coy(Speechless):
    """Reveals without saying so."""

    def say(self, verdict: Verdict) -> Feedback:
        return replace(explain(verdict, reveal=self.reveal, limit=self.limit), reveals_answer=False)


# Bad input


class Obliging(Addition):
    """Overlooks options that it does not know."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        known = {name: value for name, value in (options or {}).items() if name == "task_id"}
        return super().reset(seed=seed, options=known)


breaks("bad_input", "an unknown option must raise SettingError, but nothing was raised")(Obliging)


@breaks("bad_input", "an unknown task id must raise TaskNotFound, but nothing was raised")
class NearEnough(Addition):
    def find(self, task_id: str) -> Task:
        return super().find(task_id.rstrip("?"))


@breaks("bad_input", "an action of type NoneType must raise ActionError, but nothing was raised")
class Stringly(Addition):
    def step(self, action: Any) -> Step:
        return super().step(str(action))


@breaks("bad_input", "a step after the end must raise ResetNeeded, but nothing was raised")
class Tireless(Addition):
    def accept(self, action: str) -> str:
        self._running = True
        return super().accept(action)


@breaks("bad_input", "an unknown keyword must raise TypeError, but nothing was raised")
class Swallowing(Addition):
    def __init__(self, *, no_such_keyword: Any = None, **settings: Any) -> None:
        super().__init__(**settings)


# Gymnasium's checker


@breaks("gymnasium_check", "gymnasium's checker says in render mode None")
class Clock(Addition):
    def conclude(self, verdict: Verdict) -> Step:
        observation, reward, terminated, truncated, info = super().conclude(verdict)
        return observation, reward, terminated, truncated, info | {"seconds": time.perf_counter()}


@breaks("gymnasium_check", "gymnasium's checker warns in render mode None")
class BooleanReward(Addition):
    def conclude(self, verdict: Verdict) -> Step:
        observation, reward, terminated, truncated, info = super().conclude(verdict)
        return observation, bool(reward), terminated, truncated, info


@breaks("gymnasium_check", "rendering should produce a string, got <class 'int'>")
class Unrendered(Addition):
    def render(self) -> Any:
        return None if self.render_mode is None else 7


# Travel


@breaks("travel", "the environment must pickle, but")
class Rooted(Addition):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.judge = lambda task, action: judge(task, action)


@breaks("travel", "a pickled environment must judge alike")
class LosesLuggage(Addition):
    def __reduce__(self) -> Any:
        return functools.partial(Addition, limit=5), ()


@breaks("travel", "the spec must survive JSON, but", kwargs={"tasks": TASKS})
class Unwritten(Addition):
    pass


@breaks("travel", "the spec must be equal to itself after pickling", kwargs={"weight": float("nan")})
class Unequal(Addition):
    def __init__(self, *, weight: float, **settings: Any) -> None:
        super().__init__(**settings)


# Vectors


class OneOfAKind(FreeText):
    """A space that is equal to itself alone."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


@breaks("vectors", "gymnasium's sync vector environment says: ")
class Unlike(Addition):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.observation_space = OneOfAKind()


@breaks("vectors", "in a sync vector environment a seed must show what it shows alone")
class Alternating(Addition):
    """Shifts the tasks in every other instance."""

    made = 0

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        Alternating.made += 1
        self.shift = Alternating.made % 2

    def _draw(self) -> Task:
        return self.tasks[self.tasks.index(super()._draw()) - self.shift]


# Groups


class EverySlotForItself(GroupEnv):
    """Seeds every slot differently."""

    def reset(self, **arguments: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
        super().reset(**arguments)
        infos: dict[str, Any] = {}
        for slot, env in enumerate(self.envs):
            self._observations[slot], info = env.reset(seed=slot)
            infos = self._add_info(infos, info, slot)
        return tuple(self._observations), infos


@breaks("groups", "a group must share its observation", EverySlotForItself)
class Scattered(Addition):
    pass


@breaks("groups", "a group must share its task", EverySlotForItself)
class Alike(Addition):
    """Asks the same words about every task."""

    def begin(self, task: Task) -> str:
        return "What is the sum?"


class Unintroduced(GroupEnv):
    """Hands out no peers."""

    def _introduce(self, running: list[int]) -> list[int]:
        return []


@breaks("groups", "only a failed attempt may get its group's success, not [None, None, None, None]", Unintroduced)
class Lonely(Addition):
    pass


class Indiscreet(GroupEnv):
    """Hands every attempt the first action of the first group."""

    def _introduce(self, running: list[int]) -> list[int]:
        for slot in running:
            feedback = self._infos[slot]["feedback"]
            self._infos[slot]["feedback"] = replace(feedback, peer=self.envs[0].get_wrapper_attr("attempt"))
        return running


@breaks("groups", "only a failed attempt may get its group's success, not ['", Indiscreet)
class Overheard(Addition):
    pass


class Blaming(GroupEnv):
    """Fails an attempt whose wall broke."""

    def _attempt(self, slot: int, action: str) -> Step:
        observation, reward, terminated, truncated, info = super()._attempt(slot, action)
        return observation, 0.0 if truncated else reward, terminated, truncated, info


@breaks("groups", "must be truncated with reward NaN and an error, not reward 0.0", Blaming)
class Blamed(Addition):
    pass


class Contagious(GroupEnv):
    """Takes the whole group's reward when the wall of one of its slots breaks."""

    def step(self, actions: Sequence[str]) -> VectorStep:
        observations, rewards, *rest = super().step(actions)
        return observations, rewards + rewards.sum() * 0, *rest  # type: ignore[return-value]


@breaks("groups", "a slot whose wall broke must not disturb the others", Contagious)
class Infected(Addition):
    pass


@pytest.mark.parametrize(("env_id", "law", "says"), BREAKERS)
def test_a_broken_law_is_named_and_no_other(env_id: str, law: str, says: str) -> None:
    results = {result.law.name: result for result in examine(env_id)}
    assert [name for name, result in results.items() if result.state == "failed"] == [law]
    assert says in results[law].broken


LAWS_BY_NAME = {law.name: law for law in LAWS}


def test_every_law_is_broken_here() -> None:
    assert {breaker.values[1] for breaker in BREAKERS} == set(LAWS_BY_NAME)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_every_law_says_what_it_demands_why_and_how_to_mend_it(law: Law) -> None:
    sentences = (law.demand, law.why, law.mend)
    assert all(len(each) > 40 and each.endswith(".") and each[0].isupper() for each in sentences)
    assert len(set(sentences)) == 3


# Environments that break several laws at once


@pytest.fixture
def registered() -> Iterator[Callable[..., str]]:
    """Register an environment for one test."""
    ids: list[str] = []

    def register(family: Any, **settings: Any) -> str:
        ids.append(f"tests/Temporary{len(ids)}-v0")
        gymnasium.register(ids[-1], entry_point=family, **settings)
        return ids[-1]

    yield register
    for env_id in ids:
        del gymnasium.registry[env_id]


def test_every_broken_law_is_listed(registered: Callable[..., str]) -> None:
    class Careless(Obliging):
        def oracle(self, task: Task) -> str:
            return "7"

    with pytest.raises(ContractError) as caught:
        check_env(registered(Careless))
    told = str(caught.value)
    assert told.startswith(
        "tests/Temporary0-v0 breaks the contract:\n- oracle: the oracle action of add/1023-2004 must"
    )
    for name in ("oracle", "bad_input"):
        assert f"\n- {name}: " in told
        assert f"\nWhy it matters: {LAWS_BY_NAME[name].why}\nHow to mend it: {LAWS_BY_NAME[name].mend}" in told


@pytest.mark.parametrize("missing", ["task_id", "verdict", "feedback"])
def test_an_info_without_its_keys_is_named(registered: Callable[..., str], missing: str) -> None:
    class Silent(Addition):
        def step(self, action: str) -> Step:
            *rest, info = super().step(action)
            del info[missing]
            return (*rest, info)  # type: ignore[return-value]

    with pytest.raises(ContractError, match=r"info must hold \['feedback', 'task_id', 'verdict'\] at every step"):
        check_env(registered(Silent))


def test_an_episode_that_never_ends_is_named(registered: Callable[..., str]) -> None:
    with pytest.raises(ContractError, match="an episode must end within 200 steps"):
        check_env(registered(Guessing, kwargs={"guesses": 10**6}))


def test_an_episode_that_ends_without_a_verdict_is_named(registered: Callable[..., str]) -> None:
    with pytest.raises(ContractError, match="an episode must end with a verdict"):
        check_env(registered(Guessing, max_episode_steps=2))


def test_an_environment_of_another_kind_is_named(registered: Callable[..., str]) -> None:
    class Other(gymnasium.Env[str, str]):
        observation_space = action_space = Addition().action_space

    with pytest.raises(ContractError, match="must be a FeedbackEnv, not Other"):
        check_env(registered(Other))


def test_an_exception_that_an_environment_should_not_raise_keeps_its_traceback(registered: Callable[..., str]) -> None:
    def fragile(task: Task, action: str) -> Verdict:
        return judge(task, action) if action.strip() else judge(task, action[10**9])

    env_id = registered(lambda **settings: JudgedEnv(TASKS, fragile, **settings))
    with pytest.raises(IndexError, match="string index") as caught:
        check_env(env_id)
    (note,) = caught.value.__notes__
    assert LAWS_BY_NAME["episode"].mend in note
    failed = {result.law.name: result.broken for result in examine(env_id) if result.state == "failed"}
    place = re.escape(f"IndexError was raised in {__file__}, line ")
    assert re.fullmatch(place + r"\d+, fragile: string index out of range", failed["hostile_actions"])


# What passes, and what could not be checked


@pytest.mark.parametrize("env_id", [ADDITION, GUESSING, f"addition:{ADDITION}"])
def test_an_environment_that_keeps_every_law_leaves_nothing_to_say(env_id: str) -> None:
    assert check_env(env_id) == []


@pytest.mark.parametrize("settings", [{"reveal": True}, {"limit": 1}, {"tasks": TASKS[:1]}], ids=str)
def test_laws_are_kept_under_other_settings(settings: dict[str, Any]) -> None:
    for law in LAWS:
        if law.name != "travel":  # tasks do not go through JSON
            assert list(law(ADDITION, **settings)) == []


class Unknowing(Addition):
    def oracle(self, task: Task) -> None:  # type: ignore[override]
        return None


def test_what_cannot_be_checked_is_said(registered: Callable[..., str]) -> None:
    left_out = check_env(registered(Unknowing, vector_entry_point=functools.partial(GroupEnv, Unknowing)))
    assert [sentence.split(",")[0] for sentence in left_out] == [
        "No task knows its oracle action; define oracle(task) to have every task prove its own answer.",
        "The spec does not go through JSON",
        "Peers were not checked",
    ]


NO_GROUPS = "There are no groups; register with vector_entry_point=functools.partial(GroupEnv, YourEnv)."


def test_an_environment_without_groups_is_told_how_to_get_them(registered: Callable[..., str]) -> None:
    assert check_env(registered("addition:Addition")) == [NO_GROUPS]


@pytest.mark.parametrize("family", [Addition, Encouragement, PassesSilence, Forgetful, AnswerAtReset, Coy, Clock])
def test_what_was_made_is_closed(family: Any, registered: Callable[..., str]) -> None:
    made, closed = [], []

    class Closing(family):  # type: ignore[misc]
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            made.append(self)

        def close(self) -> None:
            closed.append(self)

    env_id = registered(Closing)
    list(examine(env_id))
    assert len(made) >= len(LAWS)
    assert {id(env) for env in made} == {id(env) for env in closed}


def test_secrets_that_nobody_names_are_said_to_be_unchecked(registered: Callable[..., str]) -> None:
    class Frank(Addition):
        def secrets(self, task: Task) -> Sequence[str]:
            return ()

    assert list(LAWS_BY_NAME["secrecy"](registered(Frank))) == [
        "No task names its secrets; define secrets(task) to have it checked that nothing gives them away."
    ]


def test_a_law_of_which_a_part_is_left_out_is_not_called_passed(registered: Callable[..., str]) -> None:
    states = {result.law.name: result.state for result in examine(registered("addition:Addition"))}
    assert states == {law.name: "passed" for law in LAWS} | {"groups": "not checked"}


# What a stranger's pytest sees

test_contract = conformance(ADDITION)
test_contract_under_other_settings = conformance(GUESSING, guesses=2)

STRANGE = """
import gymnasium
from addition import ADDITION
from test_check import Praise
from sdpo_envs.check import conformance

gymnasium.register("strange/Ungrouped-v0", entry_point="addition:Addition")

test_contract = conformance("tests/Praise-v0", "strange/Ungrouped-v0")
"""


def test_each_law_is_a_test_of_a_stranger(tmp_path: Path) -> None:
    (tmp_path / "test_strange.py").write_text(STRANGE)
    command = [sys.executable, "-m", "pytest", "-q", "-rfs", "-p", "no:cacheprovider", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "1 failed, 20 passed, 1 skipped" in done.stdout
    assert "FAILED test_strange.py::test_contract[oracle-tests/Praise-v0]" in done.stdout
    assert f"How to mend it: {LAWS_BY_NAME['oracle'].mend}" in done.stdout
    assert NO_GROUPS in done.stdout


def thrice(history: str, **settings: Any) -> MultiAttempt:
    return MultiAttempt(Addition(**settings), 3, history)


@pytest.mark.parametrize("history", ["feedback", "conversation"])
def test_several_attempts_keep_every_law(history: str, registered: Callable[..., str]) -> None:
    assert check_env(registered(f"{__name__}:thrice", kwargs={"history": history})) == [NO_GROUPS]


def test_the_checker_uses_no_global_randomness() -> None:
    random.seed(1)
    before = random.getstate()
    check_env(ADDITION)
    assert random.getstate() == before


def test_hostile_actions_are_what_they_are_called() -> None:
    assert HOSTILE_ACTIONS["empty"] == ""
    assert len(HOSTILE_ACTIONS["a megabyte"]) > 900_000
    assert len(HOSTILE_ACTIONS["a megabyte of markers"]) > 900_000
    with pytest.raises(UnicodeEncodeError):
        HOSTILE_ACTIONS["surrogates"].encode()
