"""verl's rows and its reward function, as far as they need no verl; tests/adapters/test_verl_agent.py has the rest."""

import functools
import json
import pickle
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import addition
import gymnasium
import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs import (
    FeedbackEnv,
    JudgedEnv,
    JudgeError,
    MultiAttempt,
    Outcome,
    SandboxError,
    SettingError,
    Task,
    TaskNotFound,
    Verdict,
)
from sdpo_envs.adapters import verl, verl_episode

ONE_ACTION = ["sdpo/MicroTool-v0", "sdpo/SciKnowEval-v0", "sdpo/ToolUse-v0", addition.ADDITION]
TURNS = ["sdpo/MicroHouse-v0", addition.GUESSING]
KEYS = ["score", "feedback", "passed", "outcome", "reveals_answer"]


def make(env_id: str, **settings: Any) -> tuple[gymnasium.Env[str, str], FeedbackEnv]:
    env: gymnasium.Env[str, str] = gymnasium.make(env_id, **settings)
    assert isinstance(env.unwrapped, FeedbackEnv)
    return env, env.unwrapped


def judged(row: dict[str, Any], action: str) -> verl.Scored:
    return verl.compute_score(row["data_source"], action, row["reward_model"]["ground_truth"], row["extra_info"])


def register(env_id: str, **how: Any) -> None:
    gymnasium.registry.pop(env_id, None)
    gymnasium.register(env_id, **how)


@pytest.mark.parametrize("env_id", [*ONE_ACTION, *TURNS])
def test_a_row_shows_what_a_reset_shows(env_id: str) -> None:
    env, own = make(env_id)
    rows = list(verl.rows(env_id))
    assert [row["reward_model"] for row in rows] == [{"style": "rule", "ground_truth": id} for id in own.task_ids]
    for index, row in enumerate(rows):
        observation, info = env.reset(options={"task_id": own.task_ids[index]})
        system = [{"role": "system", "content": info["system"]}] if info["system"] else []
        assert row["prompt"] == [*system, {"role": "user", "content": observation}]
        assert row["data_source"] == env_id
        assert row["extra_info"] == {"index": index, "settings": "{}"}
        assert row["ability"] in env_id


@pytest.mark.parametrize("env_id", [*ONE_ACTION, *TURNS])
def test_a_row_holds_no_answer(env_id: str) -> None:
    _, own = make(env_id)
    for row in verl.rows(env_id):
        task = own.find(row["reward_model"]["ground_truth"])
        unasked = json.dumps({**row, "prompt": None})
        assert not [secret for secret in own.secrets(task) if secret in unasked]
        if env_id.startswith("tests/"):
            assert str(task.answer) not in json.dumps(row)


def test_the_loop_of_a_row_follows_from_how_many_actions_an_episode_has() -> None:
    assert {row["agent_name"] for env_id in ONE_ACTION for row in verl.rows(env_id)} == {"single_turn_agent"}
    assert {row["agent_name"] for row in verl.rows("sdpo/MicroHouse-v0")} == {verl.OBSERVATION}
    new = {"prompt": "new"}
    assert {row["agent_name"] for row in verl.rows("sdpo/MicroHouse-v0", settings=new)} == {verl.CONVERSATION}
    assert {row["agent_name"] for row in verl.rows(addition.GUESSING)} == {verl.CONVERSATION}
    assert {row["agent_name"] for row in verl.rows(addition.ADDITION, agent="mine")} == {"mine"}


def test_several_attempts_are_several_actions() -> None:
    wrapper = MultiAttempt.wrapper_spec(attempts=2)
    register("tests/TwoAttempts-v0", entry_point="addition:Addition", additional_wrappers=(wrapper,))
    row = next(verl.rows("tests/TwoAttempts-v0"))
    assert row["agent_name"] == verl.OBSERVATION
    with pytest.raises(SettingError, match="may take several actions"):
        judged(row, "0")


def test_a_file_holds_the_rows_and_all_files_have_the_same_columns(tmp_path: Path) -> None:
    tables = []
    for number, env_id in enumerate([*ONE_ACTION, *TURNS]):
        path = tmp_path / "new" / f"{number}.parquet"
        settings = {"reveal": True, "limit": 300} if number % 2 else None
        written, agent = verl.export(env_id, path, settings=settings)
        tables.append(pyarrow.parquet.read_table(path))
        assert tables[-1].to_pylist() == list(verl.rows(env_id, settings=settings))
        assert written == len(tables[-1])
        assert tables[-1]["agent_name"].to_pylist() == [agent] * written
    assert {table.schema for table in tables} == {tables[0].schema}


def test_a_file_is_replaced_and_holds_only_the_tasks_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "few.parquet"
    asked = [addition.TASKS[3].id, addition.TASKS[1].id]
    assert verl.export(addition.ADDITION, path) == (len(addition.TASKS), "single_turn_agent")
    assert verl.export(addition.ADDITION, str(path), task_ids=asked)[0] == 2
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert [row["reward_model"]["ground_truth"] for row in rows] == asked


def test_what_cannot_be_written_is_said_before_anything_is(tmp_path: Path) -> None:
    path = tmp_path / "data" / "train.parquet"
    with pytest.raises(SettingError, match=r"ending '\.parquet'"):
        verl.export(addition.ADDITION, tmp_path / "train.json")
    with pytest.raises(SettingError, match="task_ids is empty"):
        verl.export(addition.ADDITION, path, task_ids=[])
    with pytest.raises(SettingError, match="as JSON"):
        verl.export(addition.ADDITION, path, settings={"tasks": object()})
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(SettingError, match="as JSON"):
        verl.export(addition.ADDITION, path, settings={"tasks": endless})
    with pytest.raises(SettingError, match="gives no feedback"):
        verl.export("CartPole-v1", path)
    with pytest.raises(TaskNotFound, match="add/1023-2004"):
        verl.export(addition.ADDITION, path, task_ids=["add/1023-2005"])
    with pytest.raises(TypeError, match="surprise"):
        verl.export(addition.ADDITION, path, settings={"surprise": 1})
    with pytest.raises(gymnasium.error.NameNotFound):
        verl.export("sdpo/Nothing-v0", path)
    assert not path.parent.exists()


@pytest.mark.parametrize("env_id", ONE_ACTION)
@pytest.mark.parametrize("reveal", [False, True])
def test_score_and_feedback_are_those_of_the_environment_s_own_step(env_id: str, reveal: bool) -> None:
    env, own = make(env_id, reveal=reveal)
    rows = list(verl.rows(env_id, settings={"reveal": reveal}))[::7]
    other = own.oracle(own.tasks[-1]) or ""
    for row in rows:
        task = own.find(row["reward_model"]["ground_truth"])
        for action in (own.oracle(task) or "", other, "", "nonsense", "Action: \nAction Input: {", "\ud800\x00"):
            env.reset(options={"task_id": task.id})
            _, reward, terminated, _, info = env.step(action)
            assert terminated
            assert judged(row, action) == {
                "score": reward,
                "feedback": info["feedback"].text,
                "passed": float(info["verdict"].passed),
                "outcome": info["verdict"].outcome.value,
                "reveals_answer": float(info["feedback"].reveals_answer),
            }


@given(st.text())
def test_whatever_is_written_gets_the_same_keys_and_kinds(action: str) -> None:
    row = next(verl.rows(addition.ADDITION))
    said = judged(row, action)
    assert list(said) == KEYS
    assert [type(value) for value in said.values()] == [float, str, float, str, float]
    for name, value in said.items():
        column = np.array([value, judged(row, addition.answer(row["reward_model"]["ground_truth"]))[name]])
        assert column.dtype != object
        assert column.tolist()[0] == value


def test_what_a_manager_adds_to_the_extra_info_is_no_matter() -> None:
    row = next(verl.rows(addition.ADDITION, settings={"reveal": True}))
    more = {"num_turns": None, "rollout_reward_scores": {}, "truncated": True, "index": np.int64(0)}
    assert judged({**row, "extra_info": {**row["extra_info"], **more}}, "7") == judged(row, "7")
    told_nothing = verl.compute_score(addition.ADDITION, "7", row["reward_model"]["ground_truth"])
    assert told_nothing["reveals_answer"] == 0.0
    assert judged(row, "7")["reveals_answer"] == 1.0


@pytest.mark.parametrize(
    ("action", "error"),
    [(addition.BREAK_JUDGE, JudgeError), (addition.BREAK_WALL, SandboxError), (addition.BUG, ZeroDivisionError)],
)
def test_a_broken_judge_raises_and_the_next_answer_is_judged(action: str, error: type[Exception]) -> None:
    row = next(verl.rows(addition.ADDITION))
    with pytest.raises(error):
        judged(row, action)
    assert judged(row, addition.answer(row["reward_model"]["ground_truth"]))["score"] == 1.0
    rows = [row] * 3
    with pytest.raises(error):
        batch(rows, ["1", action, "2"])


def batch(rows: list[dict[str, Any]], actions: list[str]) -> list[verl.Scored]:
    sources, truths, extras = zip(
        *((row["data_source"], row["reward_model"]["ground_truth"], row["extra_info"]) for row in rows), strict=True
    )
    return verl.compute_scores(data_sources=sources, solution_strs=actions, ground_truths=truths, extra_infos=extras)


def test_a_batch_is_judged_in_its_order() -> None:
    rows = list(verl.rows(addition.ADDITION))
    actions = [
        addition.answer(row["reward_model"]["ground_truth"]) if index % 3 else "1" for index, row in enumerate(rows)
    ]
    assert batch(rows, actions) == [judged(row, action) for row, action in zip(rows, actions, strict=True)]


def test_one_action_does_not_end_an_episode_of_several() -> None:
    row = next(verl.rows(addition.GUESSING))
    with pytest.raises(SettingError, match=f"agent='{verl.CONVERSATION}'.*verl_agent.yaml"):
        judged(row, "1")
    assert judged(row, addition.answer(row["reward_model"]["ground_truth"]))["score"] == 1.0


def test_an_episode_that_a_limit_cuts_has_no_verdict() -> None:
    register("tests/Cut-v0", entry_point="addition:Guessing", max_episode_steps=1)
    said = judged(next(verl.rows("tests/Cut-v0")), "1")
    assert said == {"score": 0.0, "feedback": "", "passed": 0.0, "outcome": "truncated", "reveals_answer": 0.0}


def test_the_module_of_a_stranger_s_environment_is_imported_by_its_id() -> None:
    code = (
        "from sdpo_envs.adapters import verl; import sys;"
        "row = next(verl.rows('addition:tests/Addition-v0'));"
        "print(verl.compute_score(row['data_source'], '1', row['reward_model']['ground_truth'])['outcome']);"
        "print(sorted({'addition', 'pyarrow', 'torch', 'verl', 'ray'} & set(sys.modules)))"
    )
    tests = str(Path(addition.__file__).parent)
    said = subprocess.run([sys.executable, "-c", code], cwd=tests, capture_output=True, text=True, check=True)
    assert said.stdout.split("\n")[:2] == ["wrong", "['addition']"]


class Rendezvous(JudgedEnv):
    """Knows how many judgements went on at once, and how often it was made."""

    made = 0
    at_once = 0
    most_at_once = 0

    def __init__(self, *, waiting: bool = False, **settings: Any) -> None:
        type(self).made += 1
        time.sleep(0.05)
        self.waits = waiting
        super().__init__([Task(str(number), "?", number) for number in range(8)], judge, **settings)


COUNTING = threading.Lock()


def judge(task: Task, action: str) -> Verdict:
    with COUNTING:
        Rendezvous.at_once += 1
        Rendezvous.most_at_once = max(Rendezvous.most_at_once, Rendezvous.at_once)
    time.sleep(0.02)
    with COUNTING:
        Rendezvous.at_once -= 1
    return Verdict(Outcome.PASSED, float(task.answer == int(action)))


@pytest.mark.parametrize("waiting", [False, True])
def test_threads_share_one_environment_and_take_turns_unless_it_waits(waiting: bool) -> None:
    register("tests/Rendezvous-v0", entry_point=functools.partial(Rendezvous, waiting=waiting))
    Rendezvous.made = Rendezvous.most_at_once = 0
    verl_episode.loaded.cache_clear()
    with ThreadPoolExecutor(16) as threads:
        calls = [threads.submit(verl.compute_score, "tests/Rendezvous-v0", str(n % 8), str(n % 8)) for n in range(16)]
        assert [call.result()["score"] for call in calls] == [1.0] * 16
    assert Rendezvous.made == 1
    assert Rendezvous.most_at_once > 1 if waiting else Rendezvous.most_at_once == 1


def test_the_reward_functions_travel_by_name() -> None:
    for function in (verl.compute_score, verl.compute_scores):
        assert pickle.loads(pickle.dumps(function)) is function


def test_the_list_of_loops_names_ours() -> None:
    listed = re.findall(r"- name: (\S+)\n  _target_: (\S+)\n  history: (\S+)\n", verl.AGENT_LOOPS.read_text("utf-8"))
    loop = "sdpo_envs.adapters.verl_agent.EpisodeLoop"
    assert listed == [(name, loop, name.removeprefix("sdpo_envs_")) for name in verl.AGENTS]
