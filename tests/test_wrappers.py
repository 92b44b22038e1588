import copy
from typing import Any

import gymnasium
import pytest
from addition import ADDITION, BREAK_JUDGE, GUESSING, TASKS, Addition, Guessing
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs import Feedback, FeedbackEnv, JudgeError, MultiAttempt, Outcome, SettingError, Task, Verdict
from sdpo_envs.env import Step

FIRST = {"task_id": TASKS[0].id}
QUESTION = TASKS[0].prompt
RIGHT = str(TASKS[0].answer)
SMALL, LARGE = "This is too small.\nYou wrote: 7", "This is too large.\nYou wrote: 9999"


def play(env: gymnasium.Env[str, str], *actions: str) -> list[Any]:
    """Take the actions on the first task; return what the reset and each step returned."""
    return [env.reset(options=FIRST), *(env.step(action) for action in actions)]


# The templates of the paper's multi-turn baseline


def test_the_next_attempt_reads_the_question_and_the_feedback() -> None:
    *_, step = play(MultiAttempt(Addition(), attempts=3), "7")
    assert step[0] == (
        "What is 1023 + 2004?\n\n"
        "The following is feedback from your unsuccessful earlier attempt:\n\n"
        "This is too small.\nYou wrote: 7\n\n"
        "Correctly solve the original question."
    )


def test_all_feedback_is_joined_by_blank_lines_under_one_heading() -> None:
    *_, step = play(MultiAttempt(Addition(), attempts=3), "7", "9999")
    assert step[0] == (
        f"{QUESTION}\n\nThe following is feedback from your unsuccessful earlier attempt:\n\n"
        f"{SMALL}\n\n{LARGE}\n\nCorrectly solve the original question."
    )


def test_a_conversation_holds_the_attempts_too() -> None:
    *_, step = play(MultiAttempt(Addition(), attempts=3, history="conversation"), "7", "9999")
    assert step[0] == (
        f"{QUESTION}\n\n"
        f"Your attempt:\n\n7\n\nThe following is feedback from your unsuccessful earlier attempt:\n\n{SMALL}\n\n"
        f"Your attempt:\n\n9999\n\nThe following is feedback from your unsuccessful earlier attempt:\n\n{LARGE}\n\n"
        "Correctly solve the original question."
    )


def test_a_conversation_is_told_as_messages_too() -> None:
    reset, first, second = play(MultiAttempt(Addition(), attempts=3, history="conversation"), "7", "9999")
    heading = "The following is feedback from your unsuccessful earlier attempt:\n\n"
    closing = "\n\nCorrectly solve the original question."
    asked = {"role": "user", "content": QUESTION}
    tried = {"role": "assistant", "content": "7"}
    told = {"role": "user", "content": f"{heading}{SMALL}{closing}"}
    again = {"role": "assistant", "content": "9999"}
    told_again = {"role": "user", "content": f"{heading}{LARGE}{closing}"}
    assert reset[1]["messages"] == (asked,)
    assert first[4]["messages"] == (asked, tried, told)
    assert second[4]["messages"] == (asked, tried, told, again, told_again)


def test_feedback_alone_comes_without_messages() -> None:
    reset, step = play(MultiAttempt(Addition(), attempts=2), "7")
    assert "messages" not in reset[1]
    assert "messages" not in step[4]


def test_the_first_observation_is_the_bare_question() -> None:
    for history in ("feedback", "conversation"):
        assert MultiAttempt(Addition(), 2, history=history).reset(options=FIRST)[0] == QUESTION


# Attempts and rewards


def test_an_episode_ends_at_the_first_success() -> None:
    *_, first, second = play(MultiAttempt(Addition(), attempts=5), "7", RIGHT)
    assert first[1:4] == (0.0, False, False)
    assert second[1:4] == (1.0, True, False)
    assert second[4]["verdict"] == Verdict(Outcome.PASSED, 1.0)


def test_an_episode_ends_after_the_last_attempt_with_its_feedback() -> None:
    *_, first, second = play(MultiAttempt(Addition(), attempts=2), "7", "9999")
    assert first[1:4] == (0.0, False, False)
    assert second[:4] == (LARGE, 0.0, True, False)
    assert second[4]["feedback"] == Feedback(LARGE)


def test_a_failed_attempt_has_its_own_verdict_in_its_info() -> None:
    *_, step = play(MultiAttempt(Addition(), attempts=2), "no number")
    assert step[4]["verdict"].outcome is Outcome.MALFORMED
    assert step[4]["task_id"] == TASKS[0].id


def test_one_attempt_is_the_environment_itself() -> None:
    for action in ("7", RIGHT):
        assert play(MultiAttempt(Addition(), attempts=1), action) == play(Addition(), action)


class Partial(FeedbackEnv):
    """Every attempt but `RIGHT` fails with half a reward."""

    def step(self, action: str) -> Step:
        passed = self.accept(action) == RIGHT
        return self.conclude(Verdict(Outcome.PASSED, 1.0) if passed else Verdict(Outcome.WRONG, 0.5))


def test_only_the_last_attempt_is_rewarded() -> None:
    steps = play(MultiAttempt(Partial(TASKS), attempts=3), "7", "8", "9")[1:]
    assert [step[1] for step in steps] == [0.0, 0.0, 0.5]


@given(st.lists(st.sampled_from(["7", "9999", "no number", RIGHT]), min_size=6, max_size=6), st.integers(1, 6))
def test_an_episode_is_as_long_as_its_attempts(actions: list[str], attempts: int) -> None:
    env = MultiAttempt(Addition(), attempts)
    env.reset(options=FIRST)
    expected = actions.index(RIGHT) + 1 if RIGHT in actions else attempts
    taken, rewards = 0, 0.0
    for action in actions:
        _, reward, terminated, _, _ = env.step(action)
        taken, rewards = taken + 1, rewards + reward
        if terminated:
            break
    assert taken == min(expected, attempts)
    assert rewards == (RIGHT in actions[:attempts])


def test_attempts_of_several_turns_are_counted_as_one_each() -> None:
    reset, *steps = play(MultiAttempt(Guessing(guesses=2), attempts=2, history="conversation"), "1", "7", "8", RIGHT)
    assert [step[1:4] for step in steps] == [*[(0.0, False, False)] * 3, (1.0, True, False)]
    assert steps[0][0] == "This is too small. Guesses so far: 1."
    assert steps[1][0].startswith(f"{QUESTION}\n\nYour attempt:\n\n1\n7\n\nThe following is feedback")
    assert steps[2][0] == "This is too small. Guesses so far: 1."
    assert [message["role"] for message in steps[3][4]["messages"]] == ["user", "assistant", "user"]
    assert reset[0] == QUESTION


def test_an_attempt_that_breaks_can_be_repeated() -> None:
    env = MultiAttempt(Addition(), attempts=2)
    play(env, "7")
    with pytest.raises(JudgeError):
        env.step(BREAK_JUDGE)
    assert env.step(RIGHT)[1:4] == (1.0, True, False)


def test_an_attempt_that_a_step_limit_ends_without_a_verdict_ends_the_episode() -> None:
    env = MultiAttempt(gymnasium.make(GUESSING, max_episode_steps=2), attempts=2)
    *_, step = play(env, "7", "8")
    assert step[1:4] == (0.0, False, True)
    assert step[4]["verdict"] is None


def test_an_attempt_that_ends_by_itself_at_a_step_limit_leaves_the_next_one() -> None:
    env = MultiAttempt(gymnasium.make(GUESSING, max_episode_steps=3), attempts=2)
    *_, third, fourth = play(env, "7", "8", "9", RIGHT)
    assert third[1:4] == (0.0, False, False)
    assert fourth[1:3] == (1.0, True)


def test_the_question_shown_is_the_one_that_the_attempt_is_about() -> None:
    class Shuffled(Addition):
        """Asks in other words at every attempt."""

        def begin(self, task: Task) -> str:
            return f"({self.np_random.random()}) {task.prompt}"

    env = MultiAttempt(Shuffled(render_mode="ansi"), attempts=2)
    env.reset(seed=0, options=FIRST)
    observation = env.step("7")[0]
    assert str(env.render()).partition("\n")[2] == observation.partition("\n")[0]


# Forgetting


def test_the_oldest_feedback_is_forgotten_first() -> None:
    env = MultiAttempt(Addition(), attempts=9, limit=len(SMALL) + len(LARGE))
    *_, second, third = play(env, "7", "9999", "7")
    assert f"attempt:\n\n{SMALL}\n\n{LARGE}\n\n" in second[0]
    assert f"attempt:\n\n{LARGE}\n\n{SMALL}\n\n" in third[0]


def test_a_conversation_forgets_attempts_with_their_feedback() -> None:
    env = MultiAttempt(Addition(), attempts=9, history="conversation", limit=len(LARGE) + len("9999"))
    *_, step = play(env, "7", "9999")
    assert "Your attempt:\n\n9999\n\n" in step[0]
    assert SMALL not in step[0]
    assert [message["content"] for message in step[4]["messages"][:2]] == [QUESTION, "9999"]


@pytest.mark.parametrize("history", ["feedback", "conversation"])
def test_when_nothing_fits_the_bare_question_is_left(history: str) -> None:
    *_, step = play(MultiAttempt(Addition(), attempts=9, history=history, limit=1), "7")
    assert step[0] == QUESTION


@given(st.lists(st.sampled_from(["7", "9999", "x" * 40]), max_size=7), st.integers(1, 200))
def test_history_keeps_its_limit(actions: list[str], limit: int) -> None:
    *_, last = play(MultiAttempt(Addition(), attempts=9, history="conversation", limit=limit), *actions)
    told = last[-1]["messages"][1:]
    words = sum(len(message["content"]) for message in told[::2])
    feedback = [message["content"].partition("attempt:\n\n")[2].rpartition("\n\n")[0] for message in told[1::2]]
    assert words + sum(map(len, feedback)) <= limit


def test_a_reset_forgets_everything() -> None:
    env = MultiAttempt(Addition(), attempts=2)
    play(env, "7")
    assert env.reset(options=FIRST)[0] == QUESTION
    assert env.step("7")[2] is False


# Seeds


def test_seeds_vary_the_next_task_after_an_episode() -> None:
    env, bare = MultiAttempt(Addition(), attempts=3), Addition()
    env.reset(seed=5)
    bare.reset(seed=5)
    for action in ("7", "8", "9"):
        env.step(action)
    tasks = [env.reset()[1]["task_id"] for _ in range(10)]
    assert tasks == [bare.reset()[1]["task_id"] for _ in range(10)]
    assert len(set(tasks)) > 3


def test_every_attempt_is_at_the_task_that_was_drawn() -> None:
    env = MultiAttempt(Addition(), attempts=4)
    _, info = env.reset(seed=5)
    assert [env.step("7")[4]["task_id"] for _ in range(4)] == [info["task_id"]] * 4


# Gymnasium


@pytest.mark.parametrize("number", [0, -1, 2.5, "3", None, True], ids=repr)
@pytest.mark.parametrize("name", ["attempts", "limit"])
def test_what_is_not_a_whole_number_of_at_least_one_is_refused(name: str, number: Any) -> None:
    settings: dict[str, Any] = {"attempts": 2, name: number}
    with pytest.raises(SettingError, match=f"{name}={number!r} is not offered; it is an int of at least 1"):
        MultiAttempt(Addition(), **settings)


def test_an_unknown_history_is_refused() -> None:
    with pytest.raises(SettingError, match="history='feedbacks' is not offered; did you mean 'feedback'"):
        MultiAttempt(Addition(), 2, history="feedbacks")


def test_a_wrapped_environment_is_made_again_from_its_spec() -> None:
    env = MultiAttempt(gymnasium.make(ADDITION, limit=20), attempts=3, history="conversation", limit=50)
    assert env.spec is not None
    twin: Any = gymnasium.make(env.spec)
    assert isinstance(twin, MultiAttempt)
    assert (twin.attempts, twin.history, twin.limit) == (3, "conversation", 50)
    assert twin.get_wrapper_attr("env").get_wrapper_attr("limit") == 20
    assert play(twin, "7", RIGHT) == play(env, "7", RIGHT)


@pytest.mark.parametrize("history", ["feedback", "conversation"])
def test_gymnasiums_checker_passes_a_wrapped_environment(history: str) -> None:
    with pytest.warns(UserWarning, match="different from the unwrapped version"):
        check_env(MultiAttempt(gymnasium.make(ADDITION), 3, history=history), skip_render_check=True)


def test_a_copy_goes_on_by_itself() -> None:
    env = MultiAttempt(Addition(), attempts=3)
    play(env, "7")
    twin = copy.deepcopy(env)
    assert twin.step("9999") == env.step("9999")
    twin.step("7")
    assert env.step(RIGHT)[1] == 1.0


def test_episode_statistics_count_the_attempts() -> None:
    env = RecordEpisodeStatistics(MultiAttempt(gymnasium.make(ADDITION), attempts=3))
    *_, step = play(env, "7", RIGHT)
    assert (step[4]["episode"]["r"], step[4]["episode"]["l"]) == (1.0, 2)
