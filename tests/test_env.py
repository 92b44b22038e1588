import copy
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from addition import ADDITION, BREAK_JUDGE, BREAK_WALL, BUG, GUESSING, TASKS, Addition, Guessing, answer, judge
from gymnasium.error import ResetNeeded
from gymnasium.wrappers import RecordEpisodeStatistics
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs import (
    ActionError,
    Feedback,
    FeedbackEnv,
    JudgedEnv,
    JudgeError,
    Outcome,
    Program,
    RecordError,
    Run,
    SandboxError,
    SettingError,
    Task,
    TaskNotFound,
    Verdict,
)

FIRST = {"task_id": TASKS[0].id}
RIGHT = str(TASKS[0].answer)
each_family = pytest.mark.parametrize("family", [Addition, Guessing])


def _tasks_of(env: FeedbackEnv, resets: int) -> list[str]:
    return [env.reset()[1]["task_id"] for _ in range(resets)]


# Choosing a task


def test_a_reset_shows_the_prompt_and_tells_the_id_and_the_system_prompt() -> None:
    observation, info = Addition().reset(options=FIRST)
    assert observation == TASKS[0].prompt
    assert info == {"task_id": TASKS[0].id, "system": "You add up."}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_every_task_can_be_chosen_by_its_id(task: Task) -> None:
    env = Addition()
    assert env.reset(options={"task_id": task.id})[1]["task_id"] == task.id
    assert env.task is task
    assert env.find(task.id) is task


def test_the_ids_stand_in_the_order_of_the_tasks() -> None:
    assert Addition().task_ids == tuple(task.id for task in TASKS)


def test_a_task_that_is_not_there_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(TaskNotFound, match=r"'add/1023-2005' among the 16 loaded; did you mean 'add/1023-2004'\?"):
        Addition().reset(options={"task_id": "add/1023-2005"})


def test_an_id_that_is_like_no_other_is_not_found_either() -> None:
    with pytest.raises(TaskNotFound, match=r"loaded\.$"):
        Addition().reset(options={"task_id": ""})


@pytest.mark.parametrize("task_id", [7, ("add",), ["add"], b"add/1023-2004"], ids=repr)
def test_an_id_that_is_not_text_is_refused(task_id: Any) -> None:
    with pytest.raises(SettingError, match=r"task_id=.* is not offered; an id is a str"):
        Addition().reset(options={"task_id": task_id})


@pytest.mark.parametrize("options", ["task_id", ["task_id"], 7, [("task_id", "add/1023-2004")]], ids=repr)
def test_options_that_are_not_a_mapping_are_refused(options: Any) -> None:
    with pytest.raises(SettingError, match="must be a mapping"):
        Addition().reset(options=options)


def test_an_option_that_is_not_known_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(SettingError, match="option='task' is not offered; did you mean 'task_id'"):
        Addition().reset(options={"task": TASKS[0].id})


@pytest.mark.parametrize("options", [None, {}, {"task_id": None}])
def test_without_an_id_a_task_is_drawn(options: dict[str, Any] | None) -> None:
    env = Addition()
    assert env.reset(seed=5, options=options) == Addition().reset(seed=5)


def test_a_failed_reset_leaves_the_episode_running() -> None:
    env = Addition()
    env.reset(options=FIRST)
    with pytest.raises(TaskNotFound):
        env.reset(options={"task_id": "no such"})
    assert env.step(RIGHT)[1] == 1.0


def test_an_episode_that_could_not_begin_takes_no_action(monkeypatch: pytest.MonkeyPatch) -> None:
    env = Addition()
    env.reset(options=FIRST)
    monkeypatch.setattr(env, "begin", _no_world)
    with pytest.raises(SandboxError):
        env.reset(options={"task_id": TASKS[1].id})
    with pytest.raises(ResetNeeded):
        env.step(str(TASKS[1].answer))


def _no_world(task: Task) -> str:
    raise SandboxError(f"The world of {task.id} cannot be opened.")


# Seeds


@each_family
@given(seed=st.integers(0, 2**32))
def test_a_seed_repeats_its_task_and_all_that_follow(family: Any, seed: int) -> None:
    fresh, used = family(), family()
    used.reset(seed=99)
    assert fresh.reset(seed=seed) == used.reset(seed=seed)
    assert _tasks_of(fresh, 5) == _tasks_of(used, 5)


@each_family
def test_what_the_policy_does_has_no_influence_on_which_tasks_come_next(family: Any) -> None:
    idle, busy = family(), family()
    idle.reset(seed=0)
    busy.reset(seed=0)
    for action in ("7", BREAK_JUDGE, RIGHT):
        try:
            busy.step(action)
        except JudgeError:
            continue
        assert idle.reset() == busy.reset()


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3)], ids=repr)
def test_a_numpy_integer_is_a_seed(seed: Any) -> None:
    assert Addition().reset(seed=seed) == Addition().reset(seed=3)


@pytest.mark.parametrize("seed", ["12", 1.5, -1, [3], np.float64(3)], ids=repr)
def test_another_seed_is_refused(seed: Any) -> None:
    with pytest.raises(SettingError, match="a seed is None or an int of at least 0"):
        Addition().reset(seed=seed)


def test_choosing_by_id_uses_up_no_randomness() -> None:
    env = Addition()
    env.reset(seed=3, options=FIRST)
    assert env.reset() == Addition().reset(seed=3)


def test_seeds_and_unseeded_resets_reach_every_task() -> None:
    env = Addition()
    everything = {task.id for task in TASKS}
    assert {env.reset(seed=seed)[1]["task_id"] for seed in range(300)} == everything
    assert set(_tasks_of(env, 300)) == everything


def test_two_environments_without_a_seed_differ() -> None:
    assert _tasks_of(Addition(), 30) != _tasks_of(Addition(), 30)


# Steps


def test_a_right_action_ends_the_episode_with_a_reward_and_without_words() -> None:
    env = Addition()
    env.reset(options=FIRST)
    observation, reward, terminated, truncated, info = env.step(RIGHT)
    assert (observation, reward, terminated, truncated) == ("", 1.0, True, False)
    assert info == {"task_id": TASKS[0].id, "verdict": Verdict(Outcome.PASSED, 1.0), "feedback": Feedback()}


def test_a_wrong_action_ends_the_episode_with_words() -> None:
    env = Addition()
    env.reset(options=FIRST)
    observation, reward, terminated, truncated, info = env.step("7")
    assert (observation, reward, terminated, truncated) == ("This is too small.\nYou wrote: 7", 0.0, True, False)
    assert info["verdict"].outcome is Outcome.WRONG
    assert info["feedback"] == Feedback(observation)


def test_a_step_gives_the_plain_types_of_gymnasium() -> None:
    env = Addition()
    env.reset()
    observation, reward, terminated, truncated, _ = env.step("7")
    assert (type(observation), type(reward), terminated, truncated) == (str, float, True, False)


def test_an_episode_of_several_turns_goes_on_without_a_verdict() -> None:
    env = Guessing(guesses=2)
    env.reset(options=FIRST)
    observation, reward, terminated, truncated, info = env.step("7")
    assert (observation, reward, terminated, truncated) == ("This is too small. Guesses so far: 1.", 0.0, False, False)
    assert info == {"task_id": TASKS[0].id, "verdict": None, "feedback": Feedback()}
    assert env.step("9999")[2:4] == (True, False)


@each_family
@pytest.mark.parametrize("action", ["7", RIGHT, "\ud800", ""])
def test_equal_episodes_have_equal_steps(family: Any, action: str) -> None:
    envs = family(), family()
    for env in envs:
        env.reset(options=FIRST)
    assert envs[0].step(action) == envs[1].step(action)


@each_family
def test_a_step_before_the_first_reset_is_refused(family: Any) -> None:
    env = family()
    with pytest.raises(ResetNeeded, match="reset"):
        env.step("7")
    with pytest.raises(ResetNeeded, match="reset"):
        _ = env.task


@each_family
def test_a_step_after_the_end_is_refused(family: Any) -> None:
    env = family()
    env.reset(options=FIRST)
    env.step(RIGHT)
    with pytest.raises(ResetNeeded, match="ended"):
        env.step(RIGHT)


@each_family
@pytest.mark.parametrize("action", [None, 7, b"7", ["7"], {"text": "7"}])
def test_an_action_that_is_not_text_is_an_error_and_no_attempt(family: Any, action: Any) -> None:
    env = family()
    env.reset(options=FIRST)
    with pytest.raises(ActionError, match=f"must be a str, not {type(action).__name__}"):
        env.step(action)
    assert env.step(RIGHT)[1] == 1.0


@each_family
@pytest.mark.parametrize(("action", "error"), [(BREAK_JUDGE, JudgeError), (BREAK_WALL, SandboxError)])
def test_broken_machinery_is_raised_and_the_episode_can_go_on(family: Any, action: str, error: type[Exception]) -> None:
    env = family()
    env.reset(options=FIRST)
    with pytest.raises(error):
        env.step(action)
    assert env.step(RIGHT)[1] == 1.0
    assert env.attempt == RIGHT


def test_a_bug_in_a_judge_is_raised_as_it_is() -> None:
    env = Addition()
    env.reset()
    with pytest.raises(ZeroDivisionError):
        env.step(BUG)


def test_an_environment_without_a_step_says_that_it_must_define_one() -> None:
    class Unfinished(FeedbackEnv):
        pass

    env = Unfinished(TASKS)
    env.reset()
    with pytest.raises(NotImplementedError, match=r"Unfinished must define step\(action\)"):
        env.step("7")


def test_an_environment_knows_no_oracle_no_guess_no_secrets_and_no_tools_by_default() -> None:
    env = JudgedEnv(TASKS, judge)
    assert env.oracle(TASKS[0]) is None
    assert env.guess(TASKS[0], np.random.default_rng(0), 1.0) is None
    assert env.secrets(TASKS[0]) == ()
    assert env.tools() == ()


def test_what_an_environment_expects_changes_nothing_by_default() -> None:
    env, other = Addition(), Addition()
    for each in (env, other):
        each.reset(options=FIRST)
    env.expect([(TASKS[0], "7"), (TASKS[1], BREAK_JUDGE)])
    assert env.step("7") == other.step("7")


@each_family
def test_an_attempt_is_what_was_written_since_the_reset(family: Any) -> None:
    env = family()
    assert env.attempt == ""
    for actions in (["7"], [RIGHT]) if family is Addition else (["7", "8"], ["9", RIGHT]):
        env.reset(options=FIRST)
        assert env.attempt == ""
        for action in actions:
            env.step(action)
        assert env.attempt == "\n".join(actions)


# What may be known


def _everything_shown(env: gymnasium.Env[str, str], action: str) -> bytes:
    """All that leaves an environment in an episode, as the bytes that a worker process would send."""
    shown: list[Any] = [env.reset(options=FIRST)]
    while True:
        shown.append(env.step(action))
        if shown[-1][2]:
            break
    return pickle.dumps([shown, repr(env), str(env), repr(env.spec), env.render()])


@pytest.mark.parametrize("env_id", [ADDITION, GUESSING])
@pytest.mark.parametrize("action", ["7", "9999", "no number"])
def test_the_answer_stays_with_the_judge(env_id: str, action: str) -> None:
    assert RIGHT.encode() not in _everything_shown(gymnasium.make(env_id, render_mode="ansi"), action)


@pytest.mark.parametrize("env_id", [ADDITION, GUESSING])
def test_the_answer_is_told_on_request_and_the_feedback_says_so(env_id: str) -> None:
    env = gymnasium.make(env_id, reveal=True)
    assert RIGHT.encode() in _everything_shown(env, "7")
    env.reset(options=FIRST)
    while not (step := env.step("7"))[2]:
        assert not step[4]["feedback"].reveals_answer
    assert step[4]["feedback"].reveals_answer
    assert step[4]["verdict"].findings[0].answer == {"The sum is": RIGHT}


def test_feedback_keeps_the_limit_of_its_environment() -> None:
    env = Addition(limit=10)
    env.reset(options=FIRST)
    assert env.step("7")[0] == "This is..."


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": ()}, "No task is left.*loosen the filters"),
        ({"limit": -1}, "limit=-1 is not offered; it is an int of at least 0"),
        ({"limit": "2000"}, "limit='2000'"),
        ({"limit": None}, "limit=None"),
        ({"limit": 1.5}, "limit=1.5"),
        ({"limit": True}, "limit=True"),
        ({"reveal": "false"}, "reveal='false' is not offered; it is True or False"),
        ({"reveal": None}, "reveal=None"),
        ({"reveal": 0}, "reveal=0"),
        ({"render_mode": "human"}, "render_mode='human' is not offered"),
    ],
)
@each_family
def test_settings_that_cannot_be_are_refused(family: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        family(**settings)


def test_a_limit_of_one_character_is_kept() -> None:
    env = Addition(limit=1)
    env.reset(options=FIRST)
    assert env.step("7")[0] == "."


def test_a_limit_of_0_leaves_rewards_alone_to_tell() -> None:
    env = Addition(limit=0, render_mode="ansi")
    env.reset(options=FIRST)
    observation, reward, terminated, truncated, info = env.step("7")
    assert (observation, reward, terminated, truncated) == ("", 0.0, True, False)
    assert info["feedback"] == Feedback()
    assert info["verdict"].outcome is Outcome.WRONG
    assert str(env.render()).endswith("WRONG (reward 0)")


def test_a_limit_of_0_tells_nothing_on_request_either() -> None:
    env = Addition(limit=0, reveal=True)
    env.reset(options=FIRST)
    assert env.step("7")[4]["feedback"] == Feedback()


def test_two_tasks_with_one_id_are_refused() -> None:
    with pytest.raises(RecordError, match="17 tasks have only 16 different ids"):
        Addition(tasks=[*TASKS, TASKS[0]])


def test_an_unknown_keyword_is_an_error() -> None:
    with pytest.raises(TypeError, match="hidden"):
        Addition(hidden=True)


# Rendering


def test_an_episode_renders_as_text() -> None:
    env = Guessing(guesses=2, render_mode="ansi")
    env.reset(options=FIRST)
    env.step("7")
    env.step("8")
    assert env.render() == (
        "[add/1023-2004]\nWhat is 1023 + 2004?\n\n> 7\n\nThis is too small. Guesses so far: 1.\n\n"
        "> 8\n\nWRONG (reward 0)\nThis is too small.\nYou wrote: 8"
    )


def test_a_success_renders_without_a_trailing_line() -> None:
    env = Addition(render_mode="ansi")
    env.reset(options=FIRST)
    env.step(RIGHT)
    assert str(env.render()).endswith("PASSED (reward 1)")


def test_a_reset_renders_only_the_new_episode() -> None:
    env = Addition(render_mode="ansi")
    env.reset(options=FIRST)
    env.step("7")
    env.reset(options=FIRST)
    assert env.render() == "[add/1023-2004]\nWhat is 1023 + 2004?"


def test_a_rendered_episode_can_be_printed_whatever_the_policy_wrote() -> None:
    env = Addition(render_mode="ansi")
    env.reset(options=FIRST)
    env.step("\x1b[2J \ud800 \r")
    rendered = str(env.render())
    rendered.encode("utf-8")
    assert "\x1b" not in rendered
    assert "> \\x1b[2J \\ud800 \\r\n" in rendered


def test_nothing_is_rendered_without_a_mode() -> None:
    env = Addition()
    env.reset()
    assert env.render() is None


# Copies


def _copies() -> list[Any]:
    return [
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(lambda env: pickle.loads(pickle.dumps(env)), id="pickle"),
    ]


each_copy = pytest.mark.parametrize("duplicate", _copies())


@each_family
@each_copy
def test_a_copy_goes_on_from_the_same_point(family: Any, duplicate: Callable[[Any], Any]) -> None:
    env = family(render_mode="ansi")
    env.reset(seed=8)
    env.action_space.seed(8)
    twin = duplicate(env)
    assert twin.step("7") == env.step("7")
    assert twin.render() == env.render()
    assert _tasks_of(twin, 5) == _tasks_of(env, 5)
    assert [twin.action_space.sample() for _ in range(5)] == [env.action_space.sample() for _ in range(5)]


@each_family
@each_copy
def test_a_copy_and_its_original_do_not_disturb_each_other(family: Any, duplicate: Callable[[Any], Any]) -> None:
    env = family(render_mode="ansi")
    env.reset(seed=8, options=FIRST)
    twin = duplicate(env)
    before = env.render()
    twin.reset(options={"task_id": TASKS[1].id})
    twin.step(answer(TASKS[1].id))
    assert env.render() == before
    assert env.task.id == TASKS[0].id
    assert env.step(RIGHT)[1] == 1.0
    untouched = family()
    untouched.reset(seed=8, options=FIRST)
    assert _tasks_of(env, 5) == _tasks_of(untouched, 5)


def test_copies_share_tasks_and_judge() -> None:
    tasks = list(TASKS)
    env = JudgedEnv(tasks, lambda task, action: judge(task, action))
    twin = copy.deepcopy(env)
    assert twin.tasks is tasks
    assert twin.judge is env.judge
    assert twin.task_ids == env.task_ids


class _Wall:
    """A sandbox that runs nothing."""

    def run(self, program: Program) -> tuple[Run, ...]:
        raise SandboxError("this wall is only here to be shared")

    def run_many(self, programs: Sequence[Program]) -> list[tuple[Run, ...]]:
        return [self.run(program) for program in programs]

    def close(self) -> None:
        pass


def test_copies_share_their_sandbox() -> None:
    env = Addition()
    env.sandbox = _Wall()  # type: ignore[attr-defined]
    twin = copy.deepcopy(env)
    assert twin.sandbox is env.sandbox  # type: ignore[attr-defined]


class Opening(Addition):
    """Opens a sandbox of its own, and closes it."""

    def __init__(self) -> None:
        super().__init__()
        self._opened = True
        self.closed: list[bool] = []

    def close(self) -> None:
        self.closed.append(self._opened)


def test_a_copy_must_not_close_what_its_original_opened() -> None:
    env = Opening()
    twin, travelled = copy.deepcopy(env), pickle.loads(pickle.dumps(env))
    for each in (env, twin, travelled):
        each.close()
    assert (env.closed, twin.closed) == ([True], [False])
    assert travelled.closed == [True]  # another process has the sandbox to itself


def test_a_judge_that_is_a_method_belongs_to_its_copy() -> None:
    class Strict(JudgedEnv):
        def __init__(self) -> None:
            super().__init__(TASKS, self.decide)

        def decide(self, task: Task, action: str) -> Verdict:
            assert self.task is task
            return judge(task, action)

    env = Strict()
    env.reset(options=FIRST)
    twin = copy.deepcopy(env)
    twin.reset(options={"task_id": TASKS[1].id})
    assert twin.step(answer(TASKS[1].id))[1] == 1.0
    assert env.step(RIGHT)[1] == 1.0


# Gymnasium


def test_an_environment_is_made_by_its_module_and_id() -> None:
    env = gymnasium.make(f"addition:{ADDITION}", limit=50)
    assert isinstance(env.unwrapped, Addition)
    assert env.unwrapped.limit == 50


def test_closing_twice_is_allowed() -> None:
    env = gymnasium.make(ADDITION)
    env.close()
    env.close()


def test_a_step_limit_truncates_an_episode_without_a_verdict() -> None:
    env = gymnasium.make(GUESSING, max_episode_steps=2)
    env.reset(options=FIRST)
    env.step("7")
    _, reward, terminated, truncated, info = env.step("7")
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["verdict"] is None


def test_a_step_limit_does_not_mark_an_episode_that_ends_by_itself() -> None:
    env = gymnasium.make(ADDITION, max_episode_steps=2)
    env.reset(options=FIRST)
    assert env.step("7")[2:4] == (True, False)


def test_episode_statistics_are_recorded() -> None:
    env = RecordEpisodeStatistics(gymnasium.make(GUESSING))
    env.reset(options=FIRST)
    env.step("7")
    *_, info = env.step(RIGHT)
    assert (info["episode"]["r"], info["episode"]["l"]) == (1.0, 2)


def test_an_episode_renders_as_a_list_of_frames() -> None:
    env = gymnasium.make(ADDITION, render_mode="ansi_list")
    env.reset(options=FIRST)
    env.step(RIGHT)
    frames: Any = env.render()
    assert frames[0] == "[add/1023-2004]\nWhat is 1023 + 2004?"
    assert frames[1].startswith(frames[0])
