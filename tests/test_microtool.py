"""MicroTool: which calls are right, what is said of those that are not, and that nothing else gives them away."""

import copy
import itertools
import json
import math
import pickle
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs import Outcome, SettingError, Task, Verdict, explain
from sdpo_envs.check import HOSTILE_ACTIONS
from sdpo_envs.lexicon import Request
from sdpo_envs.microtool import LEXICON, MicroTool, judge
from sdpo_envs.parsing import Call, calls


def task_of(*words: str, readings: Sequence[int] | None = None) -> Task:
    places = tuple(readings or (0,) * len(words))
    return Task("own", "", Request("own", words, places))


def call(name: str, *written: str, **arguments: Any) -> str:
    return f"Action: {name}\nAction Input: {written[0] if written else json.dumps(arguments)}"


DIM, LOCK = call("lamp", level=1), call("door", state="shut")
BOTH = task_of("dim", "lock")


def told(action: str, task: Task = BOTH, most: int | None = None) -> str:
    verdict = judge(task, action, most)
    assert verdict.outcome is Outcome.WRONG
    return verdict.findings[0].title.removeprefix("Wrong: ")


# The lexicon


def test_no_tool_serves_two_words() -> None:
    """So that the calls of two words are never mistaken for each other."""
    served = Counter(
        tool
        for readings in LEXICON.values()
        for tool in {each.name for each in calls("\n".join(readings))}  # type: ignore[union-attr]
    )
    assert set(served.values()) == {1}
    assert len(served) == 2 * len(LEXICON)


@pytest.mark.parametrize("word", LEXICON)
def test_a_reading_is_one_call_and_no_reading_passes_for_another(word: str) -> None:
    for reading in LEXICON[word]:
        (made,) = calls(reading)
        assert isinstance(made, Call)
        assert len(made.arguments) == 1
    for right, guessed in itertools.product(range(4), repeat=2):
        assert judge(task_of(word, readings=[right]), LEXICON[word][guessed]).passed == (right == guessed)


# What is right


@pytest.mark.parametrize("world", [0, 1, 2, 77])
@pytest.mark.parametrize(
    ("split", "level"), [*itertools.product(("train", "test"), ("mixed", "hard", "very-hard")), ("warm", "mixed")]
)
def test_the_right_calls_earn_1_everywhere(world: int, split: str, level: str) -> None:
    env = MicroTool(world, split=split, level=level)
    for task in env.tasks:
        assert judge(task, env.oracle(task)) == Verdict(Outcome.PASSED, 1.0), task.id


@pytest.mark.parametrize("split", ["train", "test", "warm"])
def test_guesses_are_right_as_often_as_the_chance_says(split: str) -> None:
    env, rng = MicroTool(split=split), np.random.default_rng(0)
    tasks = [task for _, task in zip(range(2048), itertools.cycle(env.tasks), strict=False)]
    right = np.mean([judge(task, env.guess(task, rng)).passed for task in tasks])
    chances = [task.meta["chance"] for task in tasks]
    assert abs(right - np.mean(chances)) < 4 * math.sqrt(sum(each * (1 - each) for each in chances)) / len(chances)


def test_who_knows_a_task_is_right() -> None:
    env, rng = MicroTool(), np.random.default_rng(0)
    assert all(judge(task, env.guess(task, rng, 1.0)).passed for task in env.tasks)


@given(order=st.permutations(range(3)))
def test_calls_may_come_in_any_order(order: list[int]) -> None:
    task, written = task_of("dim", "lock", "mute"), [DIM, LOCK, call("radio", volume=0)]
    assert judge(task, "\n".join(written[place] for place in order)).passed


@pytest.mark.parametrize(
    "action",
    [
        f"Let me see.\n{DIM}\nObservation: done\n{LOCK}\nThat is all.",
        f'**Action:** `lamp`\n**Action Input:** {{\n  "level": 1\n}}\n{LOCK}',
        f'Action: lamp Action Input: {{"level": 1}}\n{LOCK}',
        'Action: lamp\nAction Input: {"level": 2, "level": 1}\n' + LOCK,
    ],
)
def test_how_calls_are_written_is_free(action: str) -> None:
    assert judge(BOTH, action).passed


# What is wrong


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (DIM, "1 calls, expected 2"),
        (f"{DIM}\n{LOCK}\n{LOCK}", "3 calls, expected 2"),
        (f"{DIM}\n{DIM}", "the same call twice"),
        (f"{DIM}\n{DIM}\n{LOCK}", "3 calls, expected 2"),
        (f"{call('light', level=1)}\n{LOCK}", "call 1: there is no tool 'light'"),
        (f"{DIM}\n{call('door', bolt='shut')}", "call 2: door has no argument 'bolt'"),
        (f"{DIM}\n{call('door', state='barred')}", 'call 2: state is "barred", expected "shut"'),
        (f"{DIM}\n{call('door')}", 'call 2: state is null, expected "shut"'),
        (f"{DIM}\n{call('door', state='shut', bolt='shut')}", "call 2: door has no argument 'bolt'"),
        (
            f"{call('lamp', level=2)}\n{call('gate', state=1)}",
            "call 1: level is 2, expected 1; call 2: there is no tool 'gate'",
        ),
        (f"{call('Lamp', level=1)}\n{LOCK}", "call 1: there is no tool 'Lamp'"),
        (f"{call('lamp', Level=1)}\n{LOCK}", "call 1: lamp has no argument 'Level'"),
        (f"{call('lamp', **{'': 1, 'level': 1})}\n{LOCK}", "call 1: lamp has no argument ''"),
        (f"{DIM}\n{LOCK}\n{call('oven', minutes=30)}", "call 3: there is no tool 'oven'; 3 calls, expected 2"),
    ],
)
def test_a_fault_is_told_with_its_call(action: str, said: str) -> None:
    assert told(action) == said
    assert told(action, most=1) == said.partition(";")[0]


@pytest.mark.parametrize(
    "value", ["true", "1.0", '"1"', "null", "[1]", '{"level": 1}', "1e0", "10", "-1", "[[[]]]", "false"]
)
def test_a_value_of_another_type_is_another_value(value: str) -> None:
    assert told(call("lamp", f'{{"level": {value}}}'), task_of("dim")).startswith("call 1: level is ")


@pytest.mark.parametrize("value", ["false", "0.0", '"0"', "null", "[]", '""', "-1"])
def test_and_so_is_what_is_like_nothing(value: str) -> None:
    """The right value here is 0."""
    assert told(call("radio", f'{{"volume": {value}}}'), task_of("mute")).startswith("call 1: volume is ")


def test_what_is_quoted_is_short() -> None:
    assert told(call("x" * 5000), task_of("dim")) == f"call 1: there is no tool '{'x' * 20}'"
    assert told(call("lamp", **{"y" * 5000: 1}), task_of("dim")) == f"call 1: lamp has no argument '{'y' * 20}'"
    assert told(call("lamp", level="z" * 5000), task_of("dim")) == f'call 1: level is "{"z" * 19}, expected 1'


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("", "No line starts with 'Action:'."),
        ("lamp level 1", "No line starts with 'Action:'."),
        ("Action: lamp", "has no Action Input"),
        ('Action Input: {"level": 1}', "has no Action above it"),
        ("Action: lamp\nAction Input: {level: 1}", "is not valid JSON"),
        ("Action: lamp\nAction Input: [1]", "must be a JSON object, not an array"),
        ("Action: lamp\nAction Input: NaN", "is not valid JSON"),
        (f"{DIM}\n{LOCK}\nAction: door", "has no Action Input"),
        (f"Action: lamp\n{DIM}\n{LOCK}", "has no Action Input"),
        (call("lamp", '{"level": ' + "[" * 100_000 + "]" * 100_000 + "}"), "is nested too deeply"),
        (call("lamp", '{"level": ' + "9" * 5000 + "}"), "is not valid JSON"),
    ],
)
def test_what_is_no_call_is_malformed(action: str, said: str) -> None:
    verdict = judge(BOTH, action)
    assert (verdict.outcome, verdict.reward) == (Outcome.MALFORMED, 0.0)
    assert said in verdict.findings[0].title


def test_however_deep_a_value_is_nested_it_is_a_failure() -> None:
    """Writing it again may take more of the stack than reading it took."""
    for depth in range(800, 1100):
        verdict = judge(task_of("dim"), call("lamp", '{"level": ' + "[" * depth + "]" * depth + "}"))
        assert verdict.outcome in (Outcome.WRONG, Outcome.MALFORMED)


@pytest.mark.parametrize(
    "action", [*HOSTILE_ACTIONS.values(), "Action: a\n" * 40_000, f"{DIM}\n" * 10_000], ids=range(10)
)
def test_a_megabyte_is_judged_at_once(action: str) -> None:
    start = time.process_time()
    assert not judge(BOTH, action).passed
    assert time.process_time() - start < 2


@given(
    st.text(st.characters(), max_size=80), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)
)
def test_whatever_is_written_is_judged(name: str, value: Any) -> None:
    for action in (f"Action: {name}\nAction Input: {json.dumps(value)}", call("lamp", level=value), f"{DIM}\n{name}"):
        assert judge(BOTH, action).reward == 0.0


# What is said, and what is not


def test_how_much_is_said_is_chosen() -> None:
    action = f"{call('light', level=1)}\n{call('gate', state='shut')}"
    assert told(action).count("there is no tool") == 2
    assert told(action, most=1).count("there is no tool") == 1
    texts = {}
    for feedback in ("all", "first", "none"):
        env = MicroTool(feedback=feedback)
        env.reset(seed=0)
        texts[feedback] = env.step(f"{call('no')}\n{call('never')}")[0]
    assert texts["none"] == ""
    assert texts["first"] == "Wrong: call 1: there is no tool 'no'"
    assert texts["all"].startswith(f"{texts['first']}; call 2: there is no tool 'never'")


@pytest.mark.parametrize("action", ["", DIM, call("no"), "Action: lamp", call("lamp", level=2)])
def test_the_right_calls_are_told_on_request_alone(action: str) -> None:
    for reveal in (False, True):
        env = MicroTool(reveal=reveal, render_mode="ansi")
        for task in env.tasks:
            env.reset(options={"task_id": task.id})
            *_, info = env.step(action)
            right = env.oracle(task)
            first = right.partition("\n")[0]
            if info["verdict"].passed or first in action:
                continue
            sent = pickle.dumps(info).decode("latin-1") + str(env.render()) + repr(info) + repr(task) + repr(env)
            assert (first in sent) == reveal
            assert info["feedback"].reveals_answer == reveal


def test_what_is_quoted_cannot_play_tricks() -> None:
    text = explain(judge(BOTH, call("\x1b[2J\u202eRight"))).text
    assert "\x1b" not in text
    assert "\u202e" not in text


# The environment


def test_equal_verdicts_again_from_a_copy_and_alone() -> None:
    env = MicroTool()
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    rng = np.random.default_rng(0)
    for task in env.tasks[:30]:
        action = env.guess(task, rng)
        assert len({repr(each.judge(task, action)) for each in (env, env, *twins)}) == 1


def test_groups_judge_as_the_environment_alone() -> None:
    envs: Any = gymnasium.make_vec("sdpo/MicroTool-v0", num_envs=4, group_size=4)
    envs.reset(seed=0)
    task = envs.envs[0].unwrapped.task
    right = envs.envs[0].unwrapped.oracle(task)
    *_, infos = envs.step([right, call("no"), "", right])
    assert [verdict.outcome for verdict in infos["verdict"]] == [
        judge(task, action).outcome for action in (right, call("no"), "", right)
    ]
    assert [feedback.peer for feedback in infos["feedback"]] == [None, right, right, None]
    envs.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"feedback": "some"}, "feedback='some' is not offered"),
        ({"split": "valid"}, "split='valid' is not offered"),
        ({"level": "easy"}, "level='easy' is not offered"),
        ({"world": -1}, "world=-1 is not offered"),
        ({"limit": -1}, "limit=-1 is not offered"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        MicroTool(**settings)


def test_words_and_chance_are_told_of_each_task() -> None:
    for task in MicroTool(world=3).tasks:
        assert task.prompt == f"Do: {' '.join(task.answer.words)}"
        assert task.meta == {"words": len(task.answer.words), "chance": task.answer.chance}
