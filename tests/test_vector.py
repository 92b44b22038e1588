import copy
import functools
import math
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from addition import (
    ADDITION,
    BREAK_JUDGE,
    BREAK_WALL,
    BUG,
    GUESSING,
    TASKS,
    Addition,
    AdditionGroup,
    Guessing,
    GuessingGroup,
    WaitingAddition,
    answer,
    judge,
)
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs import (
    ActionError,
    Feedback,
    GroupEnv,
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

FIRST, SECOND = TASKS[0], TASKS[1]
RIGHT = str(FIRST.answer)
OTHER_RIGHT = f" {RIGHT}"
THIRD_RIGHT = f"{RIGHT} "
ON_FIRST = {"task_id": FIRST.id}


def addition(num_envs: int, group_size: int = 1, **settings: Any) -> GroupEnv:
    return AdditionGroup(num_envs=num_envs, group_size=group_size, **settings)


def guessing(num_envs: int, group_size: int = 1, **settings: Any) -> GroupEnv:
    return GuessingGroup(num_envs=num_envs, group_size=group_size, **settings)


def peers(infos: dict[str, Any]) -> list[str | None]:
    return [feedback.peer for feedback in infos["feedback"]]


def peers_of(actions: list[str], seed: int = 0) -> list[str | None]:
    """What peer each action of one group is handed."""
    envs = addition(len(actions), len(actions))
    envs.reset(seed=seed, options=ON_FIRST)
    return peers(envs.step(actions)[4])


def mask(*slots: int, num_envs: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.isin(np.arange(num_envs), slots)


# Groups and seeds


@pytest.mark.parametrize(("num_envs", "group_size"), [(3, 2), (0, 1), (2, 0), (2, 4), (-2, -1), (4, -2)])
def test_slots_that_do_not_make_whole_groups_are_refused(num_envs: int, group_size: int) -> None:
    with pytest.raises(SettingError, match=f"num_envs={num_envs} must be a .* multiple of group_size={group_size}"):
        addition(num_envs, group_size)


@pytest.mark.parametrize("make", [addition, guessing])
@given(seed=st.integers(0, 2**32))
def test_a_group_shares_its_task_and_its_observation(make: Callable[..., GroupEnv], seed: int) -> None:
    envs = make(6, 3)
    observations, infos = envs.reset(seed=seed)
    for start in (0, 3):
        assert len(set(observations[start : start + 3])) == 1
        assert len(set(infos["task_id"][start : start + 3])) == 1


def test_an_attempt_is_a_group_of_its_own_by_default() -> None:
    envs = GroupEnv(Addition, 3)
    assert (envs.group_size, envs.num_groups) == (1, 3)


def test_groups_get_different_tasks() -> None:
    task_ids = addition(32, 2).reset(seed=0)[1]["task_id"]
    assert len(set(task_ids)) > 5


def test_one_seed_gives_each_group_the_seed_after_the_last() -> None:
    together = addition(8, 2).reset(seed=7)[0]
    alone = [Addition().reset(seed=seed)[0] for seed in (7, 7, 8, 8, 9, 9, 10, 10)]
    assert list(together) == alone


@pytest.mark.parametrize(
    "seed",
    [[7, 9], (7, 9), [7, 7, 7, 9, 9, 9], np.array([7, 9]), [np.int64(7), np.int32(9)], np.array([7, 7, 7, 9, 9, 9])],
    ids=repr,
)
def test_a_list_of_seeds_holds_one_per_group_or_one_per_slot(seed: Any) -> None:
    observations, _ = addition(6, 3).reset(seed=seed)
    assert list(observations) == [Addition().reset(seed=each)[0] for each in (7, 7, 7, 9, 9, 9)]


def test_a_numpy_integer_is_a_seed() -> None:
    number: Any = np.int64(7)
    assert addition(4, 2).reset(seed=number)[0] == addition(4, 2).reset(seed=7)[0]


@pytest.mark.parametrize("seed", [[], [1], [1, 2, 3], [1, 1, 2, 2, 3], [None]])
def test_a_list_of_seeds_of_another_length_is_refused(seed: list[int]) -> None:
    with pytest.raises(SettingError, match=f"seed needs 2 values, one per group, not {len(seed)}"):
        addition(4, 2).reset(seed=seed)


@pytest.mark.parametrize("seed", ["12", 1.5, -1, [-1, 2], ["1", "2"], [1.5, 2]], ids=repr)
def test_what_is_not_a_seed_is_refused(seed: Any) -> None:
    with pytest.raises(SettingError, match=r"seed=.* is not offered"):
        addition(4, 2).reset(seed=seed)


def test_seeds_that_differ_within_a_group_are_refused() -> None:
    with pytest.raises(SettingError, match="seed differs within a group"):
        addition(4, 2).reset(seed=[1, 1, 2, 3])


@pytest.mark.parametrize("seed", [3, [3, 4], [3, 3, 4, 4]], ids=str)
def test_a_seed_repeats_its_tasks_and_all_that_follow(seed: Any) -> None:
    fresh, used = addition(4, 2), addition(4, 2)
    used.reset(seed=99)
    assert fresh.reset(seed=seed)[0] == used.reset(seed=seed)[0]
    assert [fresh.reset()[0] for _ in range(5)] == [used.reset()[0] for _ in range(5)]


def test_groups_without_a_seed_of_their_own_follow_the_seeds_of_the_others() -> None:
    first, second = addition(4, 2), addition(4, 2)
    assert first.reset(seed=[3, None])[0] == second.reset(seed=[3, None])[0]
    assert first.reset()[0] == second.reset()[0]


def test_resets_without_a_seed_vary() -> None:
    envs, others = addition(2, 2), addition(2, 2)
    tasks = [envs.reset()[0][0] for _ in range(30)]
    assert len(set(tasks)) > 5
    assert tasks != [others.reset()[0][0] for _ in range(30)]


def test_what_the_policy_does_has_no_influence_on_which_tasks_come_next() -> None:
    def tasks_after(actions: list[str]) -> list[tuple[str, ...]]:
        envs = addition(4, 4)
        envs.reset(seed=1, options=ON_FIRST)
        envs.step(actions)
        return [envs.reset()[0] for _ in range(8)]

    assert tasks_after(["7", "8", "9", "10"]) == tasks_after([RIGHT, OTHER_RIGHT, THIRD_RIGHT, "7"])


def test_tasks_are_chosen_by_id_for_all_groups_or_for_each() -> None:
    envs = addition(4, 2)
    assert list(envs.reset(options=ON_FIRST)[1]["task_id"]) == [FIRST.id] * 4
    chosen = [FIRST.id, SECOND.id]
    assert list(envs.reset(options={"task_id": chosen})[1]["task_id"]) == [FIRST.id, FIRST.id, SECOND.id, SECOND.id]
    assert envs.reset(options={"task_id": [FIRST.id, None]})[1]["task_id"][1] == FIRST.id


def test_ids_for_another_number_of_groups_are_refused() -> None:
    with pytest.raises(SettingError, match="task_id needs 2 values"):
        addition(4, 2).reset(options={"task_id": [FIRST.id]})


@pytest.mark.parametrize("task_id", [3, [3, 4]], ids=repr)
def test_ids_that_are_not_text_are_refused(task_id: Any) -> None:
    with pytest.raises(SettingError, match="task_id=3 is not offered"):
        addition(4, 2).reset(options={"task_id": task_id})


def test_options_that_are_not_a_mapping_are_refused() -> None:
    options: Any = ["task_id"]
    with pytest.raises(SettingError, match="must be a mapping"):
        addition(4, 2).reset(options=options)


def test_a_task_that_is_not_there_is_an_error() -> None:
    with pytest.raises(TaskNotFound, match="did you mean"):
        addition(4, 2).reset(options={"task_id": f"{FIRST.id}?"})


def test_an_option_that_is_not_known_is_an_error() -> None:
    with pytest.raises(SettingError, match="did you mean 'reset_mask'"):
        addition(4, 2).reset(options={"resetmask": None})


def test_the_ids_of_all_tasks_can_be_read() -> None:
    assert addition(2, 2).task_ids == tuple(task.id for task in TASKS)


# Masks


def test_a_mask_resets_whole_groups_and_leaves_the_others_alone() -> None:
    envs = guessing(4, 2)
    envs.reset(options=ON_FIRST)
    before = envs.step(["7"] * 4)[0]
    observations, infos = envs.reset(options={"reset_mask": mask(2, 3, num_envs=4), "task_id": SECOND.id})
    assert observations == (*before[:2], SECOND.prompt, SECOND.prompt)
    assert infos["_task_id"].tolist() == [False, False, True, True]
    after = envs.step(["7"] * 4)[0]
    assert [text[-2] for text in after] == ["2", "2", "1", "1"]


def test_a_mask_stays_in_the_callers_options() -> None:
    options: dict[str, Any] = {"reset_mask": mask(0, 1, num_envs=4), "task_id": FIRST.id}
    before = copy.deepcopy(options)
    envs = addition(4, 2)
    envs.reset(options=options)
    assert options.keys() == before.keys()
    assert options["reset_mask"].tolist() == before["reset_mask"].tolist()


def test_a_group_that_a_mask_resets_runs_while_the_others_stay_ended() -> None:
    envs = addition(4, 2)
    envs.reset(options=ON_FIRST)
    envs.step(["7"] * 4)
    envs.reset(options={"reset_mask": mask(2, 3, num_envs=4), "task_id": FIRST.id})
    _, rewards, terminations, _, infos = envs.step([RIGHT] * 4)
    assert rewards.tolist() == [0.0, 0.0, 1.0, 1.0]
    assert terminations.tolist() == [True] * 4
    assert infos["_feedback"].tolist() == [False, False, True, True]


def test_a_mask_before_the_first_reset_starts_only_its_groups() -> None:
    envs = addition(4, 2)
    observations, _ = envs.reset(options={"reset_mask": mask(0, 1, num_envs=4), "task_id": FIRST.id})
    assert observations == (FIRST.prompt, FIRST.prompt, "", "")
    assert envs.step([RIGHT] * 4)[1].tolist() == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("slots", [(0,), (1, 2), (0, 1, 2)])
def test_a_mask_that_cuts_through_a_group_is_refused(slots: tuple[int, ...]) -> None:
    with pytest.raises(SettingError, match="whole groups of 2 slots"):
        addition(4, 2).reset(options={"reset_mask": mask(*slots, num_envs=4)})


@pytest.mark.parametrize(
    "bad", [[True] * 4, np.ones(4), np.ones(3, dtype=bool), np.ones((4, 1), dtype=bool), "all"], ids=repr
)
def test_a_mask_of_another_shape_or_type_is_refused(bad: Any) -> None:
    with pytest.raises(SettingError, match="must be a numpy array of 4 bools"):
        addition(4, 2).reset(options={"reset_mask": bad})


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(SettingError, match="at least one group"):
        addition(4, 2).reset(options={"reset_mask": np.zeros(4, dtype=bool)})


# Steps


def test_a_step_returns_one_entry_per_slot_in_the_types_of_gymnasium() -> None:
    envs = addition(4, 2)
    observations, _ = envs.reset(options=ON_FIRST)
    assert observations in envs.observation_space
    assert observations[0] in envs.single_observation_space
    observations, rewards, terminations, truncations, infos = envs.step([RIGHT, "7", "", "\ud800"])
    assert observations in envs.observation_space
    assert isinstance(observations, tuple)
    assert rewards.tolist() == [1.0, 0.0, 0.0, 0.0]
    assert terminations.tolist() == [True] * 4
    assert truncations.tolist() == [False] * 4
    assert [each.dtype for each in (rewards, terminations, truncations)] == [np.float64, np.bool_, np.bool_]
    for key in ("task_id", "verdict", "feedback"):
        assert infos[key].dtype == object
        assert infos[f"_{key}"].tolist() == [True] * 4
    assert "error" not in infos


def test_sampled_actions_can_be_taken() -> None:
    envs = addition(4, 2)
    envs.action_space.seed(0)
    assert envs.single_action_space.sample() in envs.single_action_space
    for seed in range(20):
        envs.reset(seed=seed)
        assert not envs.step(envs.action_space.sample())[1].any()


def test_a_slot_answers_as_the_environment_alone_does() -> None:
    envs, alone = addition(2, 1), Addition()
    envs.reset(seed=[4, 5])
    observations, rewards, _, _, infos = envs.step(["7", "no number"])
    for slot, (seed, action) in enumerate([(4, "7"), (5, "no number")]):
        alone.reset(seed=seed)
        observation, reward, _, _, info = alone.step(action)
        assert (observations[slot], rewards[slot]) == (observation, reward)
        assert {key: infos[key][slot] for key in info} == info


@pytest.mark.parametrize("actions", [["7"], ["7"] * 5, "7777", []])
def test_another_number_of_actions_is_refused(actions: Any) -> None:
    envs = addition(4, 2)
    envs.reset()
    with pytest.raises(ActionError, match=f"must be 4 strings, one per slot, not a {type(actions).__name__} of"):
        envs.step(actions)


@pytest.mark.parametrize(
    "actions",
    [None, 7, iter(["7"] * 4), set("7890"), dict.fromkeys(range(4), "7")],
    ids=lambda actions: type(actions).__name__,
)
def test_actions_that_are_not_a_sequence_are_refused(actions: Any) -> None:
    envs = addition(4, 2)
    envs.reset()
    with pytest.raises(ActionError, match=f"must be 4 strings, one per slot, not a {type(actions).__name__}"):
        envs.step(actions)


def test_an_array_of_actions_can_be_taken() -> None:
    envs = addition(2, 2)
    envs.reset(options=ON_FIRST)
    actions: Any = np.array([RIGHT, "7"])
    assert envs.step(actions)[1].tolist() == [1.0, 0.0]


def test_an_action_that_is_not_text_is_refused_before_any_slot_steps() -> None:
    envs = addition(4, 2)
    envs.reset(options=ON_FIRST)
    actions: Any = [RIGHT, RIGHT, RIGHT, None]
    with pytest.raises(ActionError, match="action of slot 3 must be a str, not NoneType"):
        envs.step(actions)
    assert envs.step([RIGHT] * 4)[1].tolist() == [1.0] * 4


def test_a_step_before_a_reset_or_after_the_end_is_refused() -> None:
    envs = addition(2, 2)
    with pytest.raises(ResetNeeded, match="reset_mask"):
        envs.step(["7", "7"])
    envs.reset()
    envs.step(["7", "7"])
    with pytest.raises(ResetNeeded, match="reset_mask"):
        envs.step(["7", "7"])


def test_arrays_that_were_returned_do_not_change_later() -> None:
    envs = guessing(2, 2)
    envs.reset(options=ON_FIRST)
    _, _, terminations, truncations, _ = envs.step([RIGHT, "7"])
    envs.step(["", RIGHT])
    assert (terminations.tolist(), truncations.tolist()) == ([True, False], [False, False])


@pytest.mark.parametrize("family", [Addition, Guessing])
def test_slots_share_tasks_and_nothing_that_an_episode_changes(family: Any) -> None:
    envs = GroupEnv(family, 3, 3)
    bare: list[Any] = [env.unwrapped for env in envs.envs]
    assert all(env.tasks is bare[0].tasks for env in bare)
    for name in ("_transcript", "observation_space", "action_space"):
        assert len({id(getattr(env, name)) for env in bare}) == 3


# Peers


def test_a_failed_attempt_is_handed_the_success_of_its_group() -> None:
    assert peers_of(["7", RIGHT, "no number"]) == [RIGHT, None, RIGHT]


@pytest.mark.parametrize("actions", [["7"], [RIGHT], ["7", "8"], [RIGHT, RIGHT]])
def test_without_the_success_of_another_there_is_no_peer(actions: list[str]) -> None:
    assert peers_of(actions) == [None] * len(actions)


@given(st.lists(st.sampled_from([RIGHT, OTHER_RIGHT, THIRD_RIGHT, "7", "", "no"]), min_size=1, max_size=6))
def test_a_peer_is_a_success_and_never_ones_own_text(actions: list[str]) -> None:
    successes = {action for action in actions if action.strip() == RIGHT}
    for action, peer in zip(actions, peers_of(actions), strict=True):
        others = successes - {action}
        assert peer in others if others else peer is None


def test_a_peer_is_of_the_own_group() -> None:
    envs = addition(6, 2)
    envs.reset(options={"task_id": [FIRST.id, FIRST.id, SECOND.id]})
    right = str(SECOND.answer)
    *_, infos = envs.step([RIGHT, "7", "7", "7", "7", right])
    assert peers(infos) == [None, RIGHT, None, None, right, None]


def test_equal_seeds_hand_out_equal_peers_and_every_success_is_drawn() -> None:
    actions = [RIGHT, OTHER_RIGHT, THIRD_RIGHT, *["7"] * 5]
    drawn = [peers_of(actions, seed) for seed in range(20)]
    assert drawn == [peers_of(actions, seed) for seed in range(20)]
    assert {peer for group in drawn for peer in group[3:]} == {RIGHT, OTHER_RIGHT, THIRD_RIGHT}
    assert len({tuple(group) for group in drawn}) > 10


def test_a_peer_is_not_part_of_what_is_observed() -> None:
    envs = addition(2, 2)
    envs.reset(options=ON_FIRST)
    observations, *_, infos = envs.step([RIGHT, "7"])
    assert RIGHT not in observations[1]
    assert str(infos["feedback"][1]) == observations[1]
    assert not infos["feedback"][1].reveals_answer


# Broken slots


@pytest.mark.parametrize(
    ("action", "error"),
    [(BREAK_JUDGE, "JudgeError: the judge lost its glasses"), (BREAK_WALL, "SandboxError: the wall has a hole")],
)
@pytest.mark.parametrize("family", [Addition, WaitingAddition])
def test_a_slot_whose_machinery_broke_does_not_stop_the_others(family: Any, action: str, error: str) -> None:
    envs = GroupEnv(family, 4, 4)
    envs.reset(options=ON_FIRST)
    observations, rewards, terminations, truncations, infos = envs.step([RIGHT, action, "7", OTHER_RIGHT])
    assert np.isnan(rewards).tolist() == [False, True, False, False]
    assert np.nan_to_num(rewards).tolist() == [1.0, 0.0, 0.0, 1.0]
    assert terminations.tolist() == [True, False, True, True]
    assert truncations.tolist() == [False, True, False, False]
    assert (infos["error"][1], infos["_error"].tolist()) == (error, [False, True, False, False])
    assert (infos["verdict"][1], infos["feedback"][1], observations[1]) == (None, Feedback(), FIRST.prompt)
    assert infos["task_id"].tolist() == [FIRST.id] * 4
    assert peers(infos)[0] == OTHER_RIGHT
    assert peers(infos)[2] in (RIGHT, OTHER_RIGHT)
    envs.close()


def test_a_group_in_which_all_break_still_ends() -> None:
    envs = addition(2, 2)
    envs.reset(options=ON_FIRST)
    _, rewards, terminations, truncations, infos = envs.step([BREAK_JUDGE, BREAK_WALL])
    assert np.isnan(rewards).all()
    assert (terminations.tolist(), truncations.tolist()) == ([False, False], [True, True])
    assert infos["_error"].all()


def test_a_broken_slot_works_again_after_a_reset() -> None:
    envs = addition(2, 2)
    envs.reset(options=ON_FIRST)
    envs.step([BREAK_JUDGE, BREAK_WALL])
    envs.reset(options=ON_FIRST)
    _, rewards, _, truncations, infos = envs.step([RIGHT, "7"])
    assert rewards.tolist() == [1.0, 0.0]
    assert not truncations.any()
    assert "error" not in infos


@pytest.mark.parametrize("family", [Addition, WaitingAddition])
def test_a_bug_is_raised_as_it_is(family: Any) -> None:
    envs = GroupEnv(family, 2, 2)
    envs.reset(options=ON_FIRST)
    with pytest.raises(ZeroDivisionError):
        envs.step([RIGHT, BUG])
    envs.close()


# Several turns


def test_a_slot_that_ended_is_idle_until_its_group_has_ended() -> None:
    envs = guessing(2, 2)
    envs.reset(options=ON_FIRST)
    first, rewards, terminations, _, infos = envs.step([RIGHT, "7"])
    assert (rewards.tolist(), terminations.tolist()) == ([1.0, 0.0], [True, False])
    assert infos["verdict"][0].passed
    assert infos["verdict"][1] is None

    second, rewards, terminations, _, infos = envs.step(["this is not even looked at", "8"])
    assert (rewards.tolist(), terminations.tolist()) == ([0.0, 0.0], [True, False])
    assert second[0] == first[0]
    assert infos["_feedback"].tolist() == [False, True]

    _, rewards, terminations, _, infos = envs.step(["", "9"])
    assert (rewards.tolist(), terminations.tolist()) == ([0.0, 0.0], [True, True])
    assert infos["_feedback"].tolist() == [True, True]
    assert infos["verdict"][0].passed
    assert peers(infos) == [None, RIGHT]


def test_a_slot_that_ended_first_is_handed_a_peer_when_the_last_has_ended() -> None:
    envs = guessing(2, 2, guesses=2)
    envs.reset(options=ON_FIRST)
    envs.step(["7", "8"])
    *_, infos = envs.step(["7", RIGHT])
    assert peers(infos) == [f"8\n{RIGHT}", None]


def test_groups_meet_when_they_end_and_not_before() -> None:
    envs = guessing(4, 2)
    envs.reset(options=ON_FIRST)
    *_, infos = envs.step([RIGHT, "7", RIGHT, f"{RIGHT} "])
    assert peers(infos) == [None, None, f"{RIGHT} ", RIGHT]
    *_, infos = envs.step(["", RIGHT, "", ""])
    assert infos["_feedback"].tolist() == [True, True, False, False]
    assert peers({"feedback": infos["feedback"][:2]}) == [f"7\n{RIGHT}", RIGHT]


def test_a_broken_slot_stays_out_of_its_group_when_that_ends_later() -> None:
    envs = guessing(3, 3)
    envs.reset(options=ON_FIRST)
    envs.step([BREAK_JUDGE, "7", "7"])
    _, rewards, _, truncations, infos = envs.step(["", RIGHT, "7"])
    assert rewards.tolist() == [0.0, 1.0, 0.0]
    assert truncations.tolist() == [True, False, False]
    *_, infos = envs.step(["", "", "7"])
    assert peers(infos) == [None, None, f"7\n{RIGHT}"]
    assert infos["_error"].tolist() == [True, False, False]


def test_an_attempt_that_a_step_limit_ended_is_handed_a_peer_too() -> None:
    envs = guessing(2, 2, max_episode_steps=2)
    envs.reset(options=ON_FIRST)
    envs.step(["7", "7"])
    _, rewards, terminations, truncations, infos = envs.step(["8", RIGHT])
    # At its limit gymnasium's TimeLimit truncates what ended by itself as well.
    assert (rewards.tolist(), terminations.tolist(), truncations.tolist()) == ([0.0, 1.0], [False, True], [True, True])
    assert infos["verdict"][0] is None
    assert peers(infos) == [f"7\n{RIGHT}", None]


def test_a_reset_forgets_the_actions_of_the_last_episode() -> None:
    envs = guessing(2, 2)
    envs.reset(options=ON_FIRST)
    envs.step(["7", "8"])
    envs.reset(options=ON_FIRST)
    assert peers(envs.step([RIGHT, OTHER_RIGHT])[4]) == [OTHER_RIGHT, RIGHT]


# Threads, rendering, closing


def test_waiting_slots_are_stepped_side_by_side() -> None:
    barrier = threading.Barrier(4, timeout=30)

    def wait(task: Task, action: str) -> Verdict:
        barrier.wait()
        return judge(task, action)

    class Waiting(JudgedEnv):
        waits = True

        def __init__(self) -> None:
            super().__init__(TASKS, wait)

    envs = GroupEnv(Waiting, 4, 4)
    envs.reset(options=ON_FIRST)
    assert envs.step([RIGHT, "7", RIGHT, "8"])[1].tolist() == [1.0, 0.0, 1.0, 0.0]
    envs.close()


@pytest.mark.parametrize("family", [Addition, WaitingAddition])
def test_only_waiting_slots_get_threads_and_closing_ends_them(family: Any) -> None:
    before = threading.active_count()
    envs = GroupEnv(family, 4, 4)
    envs.reset(options=ON_FIRST)
    envs.step(["7"] * 4)
    assert (threading.active_count() > before) is family.waits
    envs.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("family", [Addition, WaitingAddition])
def test_a_closed_environment_can_be_used_again(family: Any) -> None:
    envs = GroupEnv(family, 2, 2)
    for _ in range(2):
        envs.reset(options=ON_FIRST)
        assert envs.step([RIGHT, "7"])[1].tolist() == [1.0, 0.0]
        envs.close_extras()
    assert envs._threads is None


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda envs: pickle.loads(pickle.dumps(envs))])
@pytest.mark.parametrize("family", [Addition, WaitingAddition])
def test_a_copy_of_a_group_goes_on_by_itself(family: Any, travel: Any) -> None:
    envs = GroupEnv(family, 2, 2)
    envs.reset(options=ON_FIRST)
    envs.step(["7", "8"])
    envs.reset(options=ON_FIRST)
    twin = travel(envs)
    assert twin.step([RIGHT, "7"])[1].tolist() == [1.0, 0.0]
    assert envs.step(["7", RIGHT])[1].tolist() == [0.0, 1.0]
    twin.close()
    envs.close()


def test_threads_change_nothing_in_what_a_step_returns() -> None:
    steps = []
    for family in (Addition, WaitingAddition):
        envs = GroupEnv(family, 4, 4)
        envs.reset(seed=3, options=ON_FIRST)
        observations, rewards, _, _, infos = envs.step([RIGHT, "7", OTHER_RIGHT, ""])
        steps.append((observations, rewards.tolist(), infos["verdict"].tolist(), infos["feedback"].tolist()))
        envs.close()
    assert steps[0] == steps[1]


def test_every_slot_renders() -> None:
    envs = addition(2, 2, render_mode="ansi")
    envs.reset(options=ON_FIRST)
    envs.step([RIGHT, "7"])
    rendered = envs.render()
    assert rendered is not None
    assert [text.split("\n\n")[1] for text in rendered] == [f"> {RIGHT}", "> 7"]
    assert addition(2, 2).render() is None


def test_closing_closes_every_slot_and_may_be_repeated() -> None:
    closed = []

    class Closing(Addition):
        def close(self) -> None:
            closed.append(self)

    envs = GroupEnv(Closing, 3, 3)
    envs.close()
    envs.close()
    assert len({id(env) for env in closed}) == len(closed) == 3


# Gymnasium


@pytest.mark.parametrize("env", [ADDITION, f"addition:{ADDITION}", gymnasium.spec(ADDITION)], ids=str)
def test_make_vec_makes_groups(env: Any) -> None:
    envs: Any = gymnasium.make_vec(env, num_envs=4, group_size=2, limit=20)
    assert isinstance(envs, GroupEnv)
    assert (envs.num_envs, envs.group_size, envs.num_groups) == (4, 2, 2)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert envs.envs[0].get_wrapper_attr("limit") == 20
    assert envs.spec is not None


def test_make_vec_passes_a_step_limit_on() -> None:
    envs: Any = gymnasium.make_vec(GUESSING, num_envs=2, group_size=2, max_episode_steps=1)
    envs.reset(options=ON_FIRST)
    assert envs.step(["7", "8"])[3].tolist() == [True, True]


def test_make_vec_refuses_an_unknown_keyword() -> None:
    with pytest.raises(TypeError, match="no_such_keyword"):
        gymnasium.make_vec(ADDITION, num_envs=2, no_such_keyword=1)


def test_a_group_env_takes_wrapped_environments() -> None:
    envs = GroupEnv(lambda **settings: MultiAttempt(Addition(**settings), attempts=2), 2, 2)
    envs.reset(options=ON_FIRST)
    envs.step(["7", "8"])
    _, rewards, _, _, infos = envs.step([RIGHT, "9"])
    assert rewards.tolist() == [1.0, 0.0]
    assert peers(infos) == [None, RIGHT]


def test_a_peer_of_several_attempts_is_the_attempt_that_succeeded_alone() -> None:
    envs = GroupEnv(lambda: MultiAttempt(Guessing(guesses=2), attempts=2), 2, 2)
    envs.reset(options=ON_FIRST)
    for actions in (["1", "1"], ["2", "2"], ["3", "3"]):
        envs.step(actions)
    *_, infos = envs.step([RIGHT, "4"])
    assert peers(infos) == [None, f"3\n{RIGHT}"]


def test_broken_attempts_of_wrapped_environments_say_so() -> None:
    envs = GroupEnv(lambda: MultiAttempt(Addition(), attempts=2), 2, 2)
    envs.reset(options=ON_FIRST)
    _, rewards, _, truncations, infos = envs.step([BREAK_JUDGE, RIGHT])
    assert math.isnan(rewards[0])
    assert truncations.tolist() == [True, False]
    assert infos["task_id"].tolist() == [FIRST.id] * 2


def test_episode_statistics_are_recorded_for_groups() -> None:
    envs = RecordEpisodeStatistics(addition(4, 2))
    envs.reset(options=dict(ON_FIRST))
    *_, infos = envs.step([RIGHT, "7", BREAK_JUDGE, RIGHT])
    assert infos["_episode"].tolist() == [True] * 4
    assert infos["episode"]["l"].tolist() == [1] * 4
    assert np.isnan(infos["episode"]["r"]).tolist() == [False, False, True, False]
    envs.reset(options={"reset_mask": mask(2, 3, num_envs=4), "task_id": FIRST.id})
    *_, infos = envs.step([RIGHT] * 4)
    assert infos["episode"]["r"][2:].tolist() == [1.0, 1.0]


def test_infos_can_be_had_as_a_list() -> None:
    envs = DictInfoToList(addition(2, 2))
    envs.reset(options=ON_FIRST)
    infos: Any = envs.step([RIGHT, BREAK_JUDGE])[4]
    assert [sorted(info) for info in infos] == [
        ["feedback", "task_id", "verdict"],
        ["error", "feedback", "task_id", "verdict"],
    ]


def test_the_answer_stays_with_the_judge() -> None:
    envs = addition(2, 2, render_mode="ansi")
    shown = [envs.reset(options=ON_FIRST), envs.step(["7", BREAK_JUDGE]), repr(envs), str(envs), envs.render()]
    assert RIGHT.encode() not in pickle.dumps(shown)


# Gymnasium's own vector environments


@pytest.fixture(params=["sync", "async"])
def vectorize(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Make a vector environment of gymnasium's own, and close it after the test."""
    made = []

    def make(env_id: str, num_envs: int, mode: AutoresetMode = AutoresetMode.NEXT_STEP, **settings: Any) -> Any:
        keywords: dict[str, Any] = {"autoreset_mode": mode}
        if request.param == "async":
            keywords["shared_memory"] = False
        made.append(gymnasium.make_vec(env_id, num_envs, request.param, vector_kwargs=keywords, **settings))
        return made[-1]

    yield make
    for envs in made:
        envs.close(**({"terminate": True} if request.param == "async" else {}))


def test_next_step_autoreset_shows_a_new_task_one_step_later(vectorize: Callable[..., Any]) -> None:
    envs = vectorize(ADDITION, 2)
    prompts, _ = envs.reset(seed=[4, 4])
    right = answer(Addition().reset(seed=4)[1]["task_id"])
    observations, rewards, terminations, _, infos = envs.step([right, "7"])
    assert (rewards.tolist(), terminations.tolist()) == ([1.0, 0.0], [True, True])
    assert infos["verdict"][0].passed
    assert observations[1] == "This is too small.\nYou wrote: 7"
    observations, rewards, terminations, _, infos = envs.step(["ignored", "ignored"])
    assert (rewards.tolist(), terminations.tolist()) == ([0.0, 0.0], [False, False])
    assert observations[0] == observations[1]
    assert "verdict" not in infos
    assert prompts[0] == prompts[1]


def test_same_step_autoreset_keeps_the_verdict_in_the_final_info(vectorize: Callable[..., Any]) -> None:
    envs = vectorize(GUESSING, 2, AutoresetMode.SAME_STEP, guesses=2)
    envs.reset(seed=[4, 5])
    right = answer(Addition().reset(seed=4)[1]["task_id"])
    observations, rewards, _, _, infos = envs.step([right, "7"])
    assert rewards.tolist() == [1.0, 0.0]
    assert infos["_final_info"].tolist() == [True, False]
    assert infos["final_info"]["verdict"][0].passed
    assert infos["final_info"]["feedback"][0] == Feedback()
    assert infos["verdict"][1] is None
    assert observations[0].startswith("What is")


def test_without_autoreset_a_mask_resets_single_slots(vectorize: Callable[..., Any]) -> None:
    envs = vectorize(ADDITION, 2, AutoresetMode.DISABLED)
    envs.reset(seed=[4, 5])
    envs.step(["7", "7"])
    options = {"reset_mask": np.array([True, True]), "task_id": FIRST.id}
    observations, infos = envs.reset(options=options)
    assert list(observations) == [FIRST.prompt] * 2
    assert infos["task_id"].tolist() == [FIRST.id] * 2
    assert envs.step([RIGHT, "7"])[1].tolist() == [1.0, 0.0]


def test_a_seed_gives_a_slot_the_task_that_it_gives_alone(vectorize: Callable[..., Any]) -> None:
    observations, _ = vectorize(ADDITION, 3).reset(seed=[4, 5, 4])
    assert list(observations) == [Addition().reset(seed=seed)[0] for seed in (4, 5, 4)]


@pytest.mark.parametrize(
    ("action", "error"), [(BREAK_JUDGE, JudgeError), (BREAK_WALL, SandboxError), (7, ActionError)], ids=str
)
@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.filterwarnings("ignore:.*ERROR:")
def test_our_errors_come_out_as_themselves(
    vectorize: Callable[..., Any], mode: AutoresetMode, action: Any, error: type[Exception]
) -> None:
    envs = vectorize(ADDITION, 2, mode)
    envs.reset(seed=0)
    with pytest.raises(error):
        envs.step(["7", action])


@pytest.mark.filterwarnings("ignore:.*ERROR:")
def test_an_unknown_task_comes_out_as_itself(vectorize: Callable[..., Any]) -> None:
    with pytest.raises(TaskNotFound, match="did you mean"):
        vectorize(ADDITION, 2).reset(options={"task_id": f"{FIRST.id}?"})


def test_verdicts_are_equal_whatever_stepped_the_environment(vectorize: Callable[..., Any]) -> None:
    envs = vectorize(ADDITION, 2)
    envs.reset(options=ON_FIRST)
    *_, infos = envs.step(["7", RIGHT])
    groups = addition(2)
    groups.reset(options=ON_FIRST)
    *_, expected = groups.step(["7", RIGHT])
    assert infos["verdict"].tolist() == expected["verdict"].tolist()
    assert infos["verdict"][0].outcome is Outcome.WRONG
    assert infos["feedback"].tolist() == expected["feedback"].tolist()


def test_statistics_and_lists_of_infos_work(vectorize: Callable[..., Any]) -> None:
    envs = DictInfoToList(RecordEpisodeStatistics(vectorize(ADDITION, 2)))
    envs.reset(options=dict(ON_FIRST))
    infos: Any = envs.step([RIGHT, "7"])[4]
    assert [info["episode"]["r"] for info in infos] == [1.0, 0.0]


def test_a_partial_can_be_registered() -> None:
    env_id = "tests/Partial-v0"
    gymnasium.register(env_id, entry_point=Addition, vector_entry_point=functools.partial(GroupEnv, Addition))
    try:
        assert isinstance(gymnasium.make_vec(env_id, num_envs=2, group_size=2), GroupEnv)
    finally:
        del gymnasium.registry[env_id]


# What is about to come


class _Expecting(Guessing):
    """Remembers what it was told to expect, and breaks as its judge would."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.heard: list[list[tuple[str, str]]] = []

    def expect(self, attempts: Sequence[tuple[Task, str]]) -> None:
        self.heard.append([(task.id, action) for task, action in attempts])
        for task, action in attempts:
            judge(task, action)


def expecting(num_envs: int, group_size: int = 1, wrap: Any = lambda env: env, **settings: Any) -> GroupEnv:
    return GroupEnv(lambda: wrap(_Expecting(**settings)), num_envs, group_size)


def heard(envs: GroupEnv) -> list[list[tuple[str, str]]]:
    return envs.envs[0].unwrapped.heard  # type: ignore[attr-defined, no-any-return]


def test_all_actions_of_a_step_are_expected_at_once_and_each_with_its_task() -> None:
    envs = expecting(4, 2, guesses=1)
    envs.reset(options={"task_id": [FIRST.id, SECOND.id]})
    envs.step(["1", "2", "3", "4"])
    assert heard(envs) == [[(FIRST.id, "1"), (FIRST.id, "2"), (SECOND.id, "3"), (SECOND.id, "4")]]
    assert not any(env.unwrapped.heard for env in envs.envs[1:])  # type: ignore[attr-defined]


def test_only_running_slots_are_expected_to_act() -> None:
    envs = expecting(3, 3, guesses=3)
    envs.reset(options=ON_FIRST)
    envs.step(["1", RIGHT, "3"])
    envs.step(["4", "ignored", RIGHT])
    envs.step(["5", "ignored", "ignored"])
    assert [[action for _, action in step] for step in heard(envs)] == [["1", RIGHT, "3"], ["4", RIGHT], ["5"]]


@pytest.mark.parametrize("action", [BREAK_JUDGE, BREAK_WALL])
def test_what_breaks_when_expected_concerns_its_slot_alone(action: str) -> None:
    envs, plain = expecting(3, 3, guesses=1), guessing(3, 3, guesses=1)
    for each in (envs, plain):
        each.reset(options=ON_FIRST, seed=1)
    _, rewards, terminations, truncations, infos = envs.step(["7", action, RIGHT])
    _, others, *_, other_infos = plain.step(["7", action, RIGHT])
    assert len(heard(envs)) == 1
    np.testing.assert_array_equal(rewards, [0.0, math.nan, 1.0])
    np.testing.assert_array_equal(rewards, others)
    assert (terminations.tolist(), truncations.tolist()) == ([True, False, True], [False, True, False])
    assert infos["error"].tolist() == other_infos["error"].tolist()
    assert infos["feedback"].tolist() == other_infos["feedback"].tolist()


def test_a_bug_where_actions_are_expected_is_raised_as_it_is() -> None:
    envs = expecting(2, guesses=1)
    envs.reset()
    with pytest.raises(ZeroDivisionError):
        envs.step(["7", BUG])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: MultiAttempt(env, attempts=2),
        lambda env: TimeLimit(env, 5),
        lambda env: MultiAttempt(TimeLimit(env, 5), attempts=2),
    ],
    ids=["attempts", "step limit", "both"],
)
def test_a_wrapped_environment_expects_them_too(wrap: Any) -> None:
    envs = expecting(2, 2, wrap, guesses=1)
    envs.reset(options=ON_FIRST)
    envs.step(["1", "2"])
    assert heard(envs) == [[(FIRST.id, "1"), (FIRST.id, "2")]]
    if isinstance(envs.envs[0], MultiAttempt):
        envs.step([RIGHT, "3"])
        assert heard(envs)[1:] == [[(FIRST.id, RIGHT), (FIRST.id, "3")]]


@pytest.mark.parametrize(
    "travel", [copy.deepcopy, lambda envs: pickle.loads(pickle.dumps(envs))], ids=["copy", "pickle"]
)
def test_a_copy_of_a_group_expects_its_own_actions(travel: Any) -> None:
    envs = GroupEnv(_Expecting, 2, 2, guesses=1)
    envs.reset(options=ON_FIRST)
    twin = travel(envs)
    twin.step(["1", "2"])
    assert (heard(envs), heard(twin)) == ([], [[(FIRST.id, "1"), (FIRST.id, "2")]])


def test_an_action_that_is_refused_is_not_expected() -> None:
    envs = expecting(2, guesses=1)
    envs.reset()
    wrong: Any = ["7", None]
    with pytest.raises(ActionError):
        envs.step(wrong)
    assert heard(envs) == []
