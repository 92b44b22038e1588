"""MicroCode: that its judge is fair, alone and in a crowd, and that only feedback tells what the words mean."""

import copy
import functools
import itertools
import json
import math
import pickle
import re
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit
from sums import wall

from sdpo_envs import (
    FakeSandbox,
    Finding,
    GroupEnv,
    JudgeError,
    MultiAttempt,
    Outcome,
    Program,
    Run,
    SandboxError,
    SettingError,
    Task,
    Verdict,
)
from sdpo_envs.feedback import redact
from sdpo_envs.lexicon import Request
from sdpo_envs.microcode import LEXICON, NAMES, VALUES, BatchJudge, MicroCode, MicroCodeGroup, _inputs
from sdpo_envs.oneliner import outcome

HOSTILE = ["return f(x)", "return " + "echo(" * 30 + "x", "import os", "", "\ud800", "return x[", "return uniq_of(**x)"]


def unwalled(program: Program) -> list[Run]:
    """Answer as the program does, here: for lines that are known to do no harm."""
    return [Run(0, json.dumps(outcome(**json.loads(asked)))) for asked in program.inputs]


def env_of(sandbox: Any = None, **settings: Any) -> MicroCode:
    return MicroCode(sandbox=FakeSandbox(unwalled) if sandbox is None else sandbox, **settings)


def task_of(*words: str, readings: Sequence[int] | None = None) -> Task:
    places = tuple(readings or (0,) * len(words))
    return Task(f"own/{'-'.join(words)}/{places}", "", Request(f"own/{words}/{places}", words, places))


def judge(task: Task, action: str, feedback: str = "all") -> Verdict:
    return BatchJudge(FakeSandbox(unwalled), feedback)(task, action)


def told(task: Task, action: str, feedback: str = "all") -> str:
    return judge(task, action, feedback).findings[0].title


def attempts(env: MicroCode, number: int, known: float = 0.0) -> list[tuple[Task, str]]:
    rng = np.random.default_rng(0)
    return [
        (task, env.guess(task, rng, known)) for _, task in zip(range(number), itertools.cycle(env.tasks), strict=False)
    ]


# What is right


@pytest.mark.parametrize("world", [0, 1, 2, 77])
@pytest.mark.parametrize(
    ("split", "level"), [*itertools.product(("train", "test"), ("mixed", "hard", "very-hard")), ("warm", "mixed")]
)
def test_the_right_line_earns_1_everywhere(world: int, split: str, level: str) -> None:
    env = env_of(world=world, split=split, level=level)
    env.expect([(task, env.oracle(task)) for task in env.tasks])
    for task in env.tasks:
        assert env.judge(task, env.oracle(task)) == Verdict(Outcome.PASSED, 1.0), task.id


@pytest.mark.parametrize("word", LEXICON)
def test_no_reading_of_a_word_passes_for_another(word: str) -> None:
    env = env_of()
    for places in itertools.product(range(4), repeat=2):
        task = task_of(word, readings=places[:1])
        guessed = env.oracle(task_of(word, readings=places[1:]))
        assert env.judge(task, guessed).passed == (places[0] == places[1]), (places, guessed)


def test_nor_do_readings_of_two_words() -> None:
    env, rng = env_of(), np.random.default_rng(1)
    for _ in range(300):
        words = rng.choice([*LEXICON], 2, replace=False).tolist()
        one, other = rng.integers(4, size=(2, 2)).tolist()
        right = env.judge(task_of(*words, readings=one), env.oracle(task_of(*words, readings=other))).passed
        assert right == (one == other), (words, one, other)


def test_the_first_input_mostly_tells_two_values_of_a_word_apart() -> None:
    env, alike, tried = env_of(), 0, 0
    for task in env.tasks:
        if task.meta["words"] == 1 and set(task.answer.words) <= VALUES.keys():
            (word,) = task.answer.words
            for place in set(range(4)) - set(task.answer.readings):
                title = env.judge(task, f"return {VALUES[word][place]}").findings[0].title
                alike += not title.startswith(f"Wrong Answer: f('{_inputs(task.answer)[0]}') -> ")
                tried += 1
    assert tried > 10
    assert alike <= 0.1 * tried


def test_another_line_that_gives_the_same_is_right_too() -> None:
    assert judge(task_of("head"), "return x[0]+x[1]").passed
    assert judge(task_of("head", "tail"), "return (x[:2],x[-2:],)").passed
    assert judge(task_of("total"), f"return {NAMES['total'][0]}(x+'')").passed


@pytest.mark.parametrize(
    "action", ["return x[:2]", "  return x[:2]\n", "```\nreturn x[:2]\n```", "So:\n```python\nreturn x[:2]```"]
)
def test_a_line_is_bare_or_in_a_fence(action: str) -> None:
    assert judge(task_of("head"), action).passed


def test_the_order_of_words_is_that_of_values() -> None:
    assert judge(task_of("head", "tail"), "return x[:2],x[-2:]").passed
    assert not judge(task_of("head", "tail"), "return x[-2:],x[:2]").passed


@pytest.mark.parametrize("split", ["train", "test", "warm"])
def test_guesses_are_right_as_often_as_the_chance_says(split: str) -> None:
    env = env_of(split=split)
    made = attempts(env, 2048)
    env.expect(made)
    right = np.mean([env.judge(*each).passed for each in made])
    chances = [task.meta["chance"] for task, _ in made]
    error = math.sqrt(sum(chance * (1 - chance) for chance in chances)) / len(chances)
    assert abs(right - np.mean(chances)) < 4 * error


def test_who_knows_a_task_is_right() -> None:
    env = env_of(split="warm")
    assert all(env.judge(*each).passed for each in attempts(env, 100, known=1.0))
    knows_half = attempts(env, 1000, known=0.5)
    assert 0.3 < np.mean([env.judge(*each).passed for each in knows_half]) < 0.8


def test_words_and_chance_are_told_of_each_task() -> None:
    for task in env_of().tasks:
        assert task.prompt == f"Write f(x): {' '.join(task.answer.words)}"
        assert task.meta == {"words": len(task.answer.words), "chance": task.answer.chance}


# What is said


@pytest.mark.parametrize(
    ("action", "outcome", "title"),
    [
        ("return x[:3],x[-2:]", Outcome.WRONG, r"f\('\d+'\)\[0\] -> '\d{3}', expected '\d\d'$"),
        ("return x[:3],x[1:]", Outcome.WRONG, r"f\('\d+'\)\[0\] -> '\d{3}', expected '\d\d'; \[1\] -> '\d+', expected"),
        ("return x[:2]", Outcome.WRONG, r"f\('\d+'\) has 1 values, expected 2"),
        ("return x[:2],x,x", Outcome.WRONG, r"f\('\d+'\) has 3 values, expected 2"),
        ("return uniq_of(x)", Outcome.CRASHED, r"^NameError: name 'uniq_of' is not defined$"),
        ("return x[9]", Outcome.CRASHED, r"^IndexError: string index out of range$"),
        ("return f(x)", Outcome.CRASHED, r"^NameError: name 'f' is not defined$"),
        ("return x[", Outcome.INVALID, r"^SyntaxError: '\[' was never closed$"),
        ("import os", Outcome.INVALID, r"^SyntaxError: "),
        ("", Outcome.MALFORMED, r"^There is no line of code\.$"),
        (" \n", Outcome.MALFORMED, r"^There is no line of code\.$"),
        ("```\n```", Outcome.MALFORMED, r"^There is no line of code\.$"),
        ("return x" + " " * 300 + "+x", Outcome.INVALID, "one line of at most 200 characters"),
    ],
)
def test_a_failure_is_told(action: str, outcome: Outcome, title: str) -> None:
    verdict = judge(task_of("head", "tail"), action)
    assert (verdict.outcome, verdict.reward) == (outcome, 0.0)
    assert re.search(title, verdict.findings[0].title)


def test_the_name_of_a_helper_is_python_s_to_refuse() -> None:
    task = task_of("unique", "pad", readings=(2, 1))
    meant = "name 'uniq_at' is not defined. Did you mean: 'uniq_by'?"
    assert told(task, "return uniq_at(x),pad(x,width=7)") == f"NameError: {meant}"
    assert told(task, "return nub(x),pad(x,width=7)") == "NameError: name 'nub' is not defined"
    assert told(task, "return uniq_by(x),pad(x,size=7)") == "TypeError: pad() got an unexpected keyword argument 'size'"
    assert judge(task, "return uniq_by(x),pad(x,width=7)").passed


def test_only_helpers_that_the_words_ask_for_are_defined() -> None:
    assert told(task_of("head"), f"return {NAMES['unique'][0]}(x)").startswith("NameError")
    assert told(task_of("head"), "return pad(x,size=7)").startswith("NameError")


def test_the_first_difference_is_told_alone_or_all_or_nothing() -> None:
    task, action = task_of("head", "tail"), "return x,x"
    assert told(task, action).count("expected") == 2
    assert told(task, action, "first") == told(task, action).partition(";")[0]
    texts = {}
    for feedback in ("all", "first", "none"):
        env = env_of(feedback=feedback)
        env.reset(options={"task_id": next(task.id for task in env.tasks if task.meta["words"] == 2)})
        observation, reward, *_, info = env.step("return '','' ")
        texts[feedback] = observation
        assert (reward, info["feedback"].text) == (0.0, observation)
    assert texts["none"] == ""
    assert texts["all"].startswith(texts["first"])
    assert len(texts["all"]) > len(texts["first"]) > 0


def test_without_words_a_request_to_reveal_reveals_nothing() -> None:
    env = env_of(feedback="none", reveal=True)
    env.reset(seed=0)
    assert env.step("return x")[0] == ""


@pytest.mark.parametrize("action", ["return x", "return f(x)", "import os", "", "return x,x,x"])
def test_the_right_line_is_told_on_request_alone(action: str) -> None:
    for reveal in (False, True):
        env = env_of(reveal=reveal, render_mode="ansi")
        for task in env.tasks:
            env.reset(options={"task_id": task.id})
            *_, info = env.step(action)
            right = env.oracle(task)
            sent = pickle.dumps(info).decode("latin-1") + str(env.render()) + repr(info) + repr(task) + repr(env)
            if not info["verdict"].passed and right != action:
                assert (right in sent) == reveal, task.id
                assert info["feedback"].reveals_answer == reveal


# Alone, in a crowd, and again


def test_a_crowd_with_hostile_neighbours_gives_each_the_verdict_that_it_gets_alone() -> None:
    walled = env_of(wall())
    made = [(task, action) for (task, action), bad in zip(attempts(walled, 30), itertools.cycle(HOSTILE), strict=False)]
    made += [(task, bad) for (task, _), bad in zip(made, itertools.cycle(HOSTILE), strict=False)]
    order = np.random.default_rng(0).permutation(len(made))
    crowd = BatchJudge(wall(), "all")
    crowd.judge([made[place] for place in order])
    alone = {(task.id, action): BatchJudge(wall(), "all")(task, action) for task, action in made[::3]}
    here = {(task.id, action): judge(task, action) for task, action in made}
    together = {(task.id, action): crowd(task, action) for task, action in made}
    assert together == here
    assert alone.items() <= together.items()
    assert {verdict.outcome for verdict in together.values()} == {
        Outcome.PASSED,
        Outcome.WRONG,
        Outcome.CRASHED,
        Outcome.INVALID,
        Outcome.MALFORMED,
    }


def test_a_step_of_a_group_is_one_process_and_its_verdicts_those_of_single_steps() -> None:
    sandbox = FakeSandbox(unwalled)
    envs: Any = MicroCodeGroup(num_envs=12, group_size=4, sandbox=sandbox)
    envs.reset(seed=3)
    rng = np.random.default_rng(0)
    tasks = [env.unwrapped.task for env in envs.envs]
    actions = [envs.envs[0].unwrapped.guess(task, rng, 0.5) for task in tasks]
    _, rewards, *_, infos = envs.step(actions)
    assert len(sandbox.programs) == 1
    assert not sandbox.programs[0].isolated
    assert len(sandbox.programs[0].inputs) == len({*zip((task.id for task in tasks), actions, strict=True)})
    for task, action, reward, verdict in zip(tasks, actions, rewards, infos["verdict"], strict=True):
        assert redact(judge(task, action)) == verdict
        assert reward == verdict.reward


def test_a_verdict_is_remembered() -> None:
    sandbox = FakeSandbox(unwalled)
    batch, task = BatchJudge(sandbox, "all"), task_of("head")
    first = batch(task, "return x")
    assert batch(task, "return x") is first
    batch.judge([(task, "return x"), (task, "return x[:2]"), (task, "return x[:2]")])
    assert [len(program.inputs) for program in sandbox.programs] == [1, 1]


def test_what_is_remembered_is_of_its_task() -> None:
    batch = BatchJudge(FakeSandbox(unwalled), "all")
    assert batch(task_of("head"), "return x[:2]").passed
    assert not batch(task_of("tail"), "return x[:2]").passed


def test_no_more_is_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdpo_envs.microcode._REMEMBERED", 10)
    batch, task = BatchJudge(FakeSandbox(unwalled), "all"), task_of("head")
    verdicts = []
    for number in range(60):
        verdicts.append(batch(task, f"return x[:{number}]"))
        assert len(batch._verdicts) <= 11
    assert [verdict.passed for verdict in verdicts] == [number == 2 for number in range(60)]


def test_nothing_is_run_where_there_is_no_line() -> None:
    sandbox = FakeSandbox(unwalled)
    BatchJudge(sandbox, "all").judge([(task_of("head"), ""), (task_of("head"), "```\n```")])
    assert sandbox.programs == []


# The wall


def broken(program: Program, when: str = "return x") -> list[Run]:
    if any(when in asked for asked in program.inputs):
        raise SandboxError("the wall has a hole")
    return unwalled(program)


@pytest.mark.parametrize(
    "run", [Run(1, stderr="a\nboom"), Run(-1, timed_out=True), Run(137, out_of_memory=True), Run(0), Run(0, "[1")]
)
def test_a_process_that_ended_before_it_answered_is_nobody_s_failure(run: Run) -> None:
    batch = BatchJudge(FakeSandbox(lambda program: [run]), "all")
    with pytest.raises(JudgeError):
        batch(task_of("head"), "return x")


def test_a_wall_that_breaks_breaks_the_slots_that_it_concerns() -> None:
    envs = GroupEnv(lambda: env_of(FakeSandbox(functools.partial(broken, when="return x[0]+x"))), 4, 4)
    envs.reset(seed=0)
    right = envs.envs[0].unwrapped.oracle(envs.envs[0].unwrapped.task)  # type: ignore[attr-defined]
    _, rewards, terminations, truncations, infos = envs.step(
        ["return '','','',''", "return x[0]+x", right, "return f(x)"]
    )
    np.testing.assert_array_equal(rewards, [0.0, math.nan, 1.0, 0.0])
    assert terminations.tolist() == [True, False, True, True]
    assert truncations.tolist() == [False, True, False, False]
    assert infos["error"][1] == "SandboxError: the wall has a hole"
    assert infos["feedback"][0].peer == right


def test_a_verdict_that_broke_is_not_remembered() -> None:
    broke: list[int] = []

    def once(program: Program) -> list[Run]:
        broke.append(1)
        if len(broke) == 1:
            raise SandboxError("the wall has a hole")
        return unwalled(program)

    env = env_of(FakeSandbox(once))
    env.reset(seed=0)
    with pytest.raises(SandboxError):
        env.step("return x,x,x,x")
    assert env.step("return x,x,x,x")[1] == 0.0


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
def test_a_copy_judges_what_it_expects_once(travel: Any) -> None:
    twin = travel(MicroCode(sandbox=_Counting()))
    task = twin.tasks[0]
    twin.expect([(task, "return x,x,x,x")])
    twin.reset(options={"task_id": task.id})
    twin.step("return x,x,x,x")
    assert twin.sandbox.ran == 1


def test_a_copy_judges_ahead_behind_the_wall_that_it_judges_behind() -> None:
    ran: list[Program] = []  # a copy of the sandbox would share it

    def answer(program: Program) -> list[Run]:
        ran.append(program)
        return unwalled(program)

    twin = copy.deepcopy(env_of(FakeSandbox(answer)))
    twin.expect([(twin.tasks[0], "return x,x,x,x")])
    twin.judge(twin.tasks[0], "return x,x,x,x")
    assert len(ran) == 1


def test_copies_judge_behind_one_wall() -> None:
    env = env_of()
    twin = copy.deepcopy(env)
    assert twin.judge is env.judge
    assert twin.sandbox is env.sandbox


@pytest.mark.parametrize("wrap", [lambda env: MultiAttempt(env, attempts=3), lambda env: TimeLimit(env, 4)])
def test_wrapped_groups_are_one_process_a_step_too(wrap: Any) -> None:
    sandbox = FakeSandbox(unwalled)
    envs = GroupEnv(lambda: wrap(env_of(sandbox)), 6, 3)
    envs.reset(seed=1)
    envs.step([f"return x[{number}:],'','',''" for number in range(6)])
    assert len(sandbox.programs) == 1


class _Counting:
    """A sandbox that pickles, and knows whether it is open."""

    def __init__(self) -> None:
        self.ran, self.closed = 0, 0

    def run(self, program: Program) -> tuple[Run, ...]:
        self.ran += 1
        return tuple(unwalled(program))

    def run_many(self, programs: Sequence[Program]) -> list[tuple[Run, ...]]:
        return [self.run(program) for program in programs]

    def close(self) -> None:
        self.closed += 1


def test_a_sandbox_that_was_given_stays_open_and_one_that_was_opened_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    given, opened = _Counting(), _Counting()
    MicroCode(sandbox=given).close()
    assert given.closed == 0
    monkeypatch.setattr("sdpo_envs.microcode.open_sandbox", lambda sandbox: opened)
    env = MicroCode()
    copy.deepcopy(env).close()
    assert opened.closed == 0
    env.close()
    assert opened.closed == 1


# Settings, and the whole


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"feedback": "some"}, "feedback='some' is not offered"),
        ({"split": "valid"}, "split='valid' is not offered"),
        ({"level": "easy"}, "level='easy' is not offered"),
        ({"world": -1}, "world=-1 is not offered"),
        ({"limit": -1}, "limit=-1 is not offered"),
        ({"sandbox": "bubble"}, "sandbox='bubble' is not offered"),
        ({"reveal": 1}, "reveal=1 is not offered"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        MicroCode(**settings)


def test_worlds_are_equal_for_equal_numbers_and_otherwise_differ() -> None:
    one, same, other = env_of(world=4), env_of(world=4), env_of(world=5)
    assert one.tasks == same.tasks
    assert [task.prompt for task in one.tasks] != [task.prompt for task in other.tasks]
    assert not {*one.task_ids} & {*env_of(world=4, split="test").task_ids}


def test_a_task_has_the_same_verdict_in_every_environment_that_has_it() -> None:
    one, other = env_of(world=4), env_of(world=4, feedback="first", reveal=True)
    for task in one.tasks[:20]:
        action = one.guess(task, np.random.default_rng(0))
        assert one.judge(task, action).outcome is other.judge(other.find(task.id), action).outcome


@pytest.mark.parametrize("feedback", ["all", "first"])
def test_it_is_made_by_its_id_and_runs_behind_a_real_wall(feedback: str) -> None:
    wall()
    env = gymnasium.make("sdpo/MicroCode-v0", feedback=feedback)
    bare: Any = env.unwrapped
    env.reset(seed=0)
    _, reward, *_ = env.step(bare.oracle(bare.task))
    assert reward == 1.0
    env.reset(seed=0)
    _, reward, *_, info = env.step("return f(x)")
    assert (reward, info["feedback"].text) == (0.0, "NameError: name 'f' is not defined")
    assert info["verdict"].findings == (Finding("NameError: name 'f' is not defined"),)
    env.close()
