"""verl: tasks as rows of its data sets, and the reward function that judges answers to them. Imports nothing of verl.

A row names its environment, how that was made, and a task; it holds no answer. Whoever judges makes the environment
again from the row, finds the task by its id, and lets the environment itself decide. `sdpo_envs.adapters.verl_agent`
plays episodes of several turns by the same rows. docs/verl.md has the commands.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium

from sdpo_envs.adapters.told import chat, told
from sdpo_envs.adapters.verl_episode import Episode, loaded
from sdpo_envs.env import JudgedEnv
from sdpo_envs.errors import SettingError, require
from sdpo_envs.turns import TurnsEnv

CONVERSATION, OBSERVATION = AGENTS = ("sdpo_envs_conversation", "sdpo_envs_observation")
"""``agent_name`` of rows that `sdpo_envs.adapters.verl_agent.EpisodeLoop` plays, by what is read before an action."""
AGENT_LOOPS = Path(__file__).with_name("verl_agent.yaml")
"""For verl's ``actor_rollout_ref.rollout.agent.agent_loop_config_path``, so that it knows `AGENTS`."""
_THREADS = 16

Scored = dict[str, float | str]
"""What a reward manager reads: always the same keys, each a number or a text, so that numpy makes an array of each."""


def export(
    env_id: str,
    path: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    task_ids: Sequence[str] | None = None,
    agent: str | None = None,
) -> tuple[int, str]:
    """Write the tasks of an environment as a parquet file that verl's `RLHFDataset` reads.

    All such files have the same columns of the same types, whatever the environment, so verl reads several as one.

    Args:
        env_id: As `gymnasium.make` takes it; ``module:id`` where a module of yours registers it.
        path: Ends in ``.parquet``, by which verl knows the format. Its folder is made; a file there is replaced.
        settings: Keywords of the environment; they go through JSON into every row, as they are: put no key in.
        task_ids: Which tasks, in this order; None for all.
        agent: See `rows`.

    Returns:
        How many tasks were written, and the ``agent_name`` of their rows.

    Raises:
        SettingError: `path` ends otherwise, no task is asked for, or as `rows`.
        TaskNotFound: there is no such task.
        MissingExtra: pyarrow is not installed.
    """
    path = Path(path)
    if path.suffix != ".parquet":
        raise SettingError(f"path={str(path)!r} is not offered; verl knows the format by the ending '.parquet'.")
    arrow, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    written = list(rows(env_id, settings=settings, task_ids=task_ids, agent=agent))
    if not written:
        raise SettingError("task_ids is empty; give the ids of the tasks to write, or None for all.")
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.Table.from_pylist(written), path)
    return len(written), written[0]["agent_name"]


def rows(
    env_id: str,
    *,
    settings: Mapping[str, Any] | None = None,
    task_ids: Sequence[str] | None = None,
    agent: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield a row per task, in the schema of verl's data sets.

    ``data_source`` is the id of the environment; ``prompt`` its first observation, after the system prompt if the task
    has one, as chat messages; ``ability`` the name of the environment; ``reward_model["ground_truth"]`` the id of the
    task; and ``extra_info`` holds ``index``, which row it is and the seed of the reset, and ``settings``, JSON.

    Args:
        env_id: See `export`.
        settings: See `export`.
        task_ids: See `export`.
        agent: ``agent_name``: which of verl's agent loops plays the episode. By default verl's own
            ``single_turn_agent`` where an episode is one action; else `OBSERVATION` where each observation is complete
            in itself, as with ``prompt="complete"`` and several attempts, and `CONVERSATION` where it may not be.

    Raises:
        SettingError: the settings do not go through JSON or are not offered, or this is no environment with feedback.
        TaskNotFound: there is no such task.
    """
    try:
        spelled = json.dumps(dict(settings or {}), sort_keys=True)
    except (TypeError, ValueError) as error:
        raise SettingError(f"Settings are written into the rows as JSON, but {error}. Name them by text.") from error
    env, _ = loaded(env_id, spelled)
    agent = agent or _agent(env)
    for index, task_id in enumerate(env.get_wrapper_attr("task_ids") if task_ids is None else task_ids):
        extra = {"index": index, "settings": spelled}
        episode = Episode(env_id, task_id, extra)
        yield {
            "data_source": env_id,
            "prompt": chat(episode.system, episode.observation),
            "ability": env_id if env.spec is None else env.spec.name,
            "reward_model": {"style": "rule", "ground_truth": task_id},
            "extra_info": extra,
            "agent_name": agent,
        }


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, Any] | None = None
) -> Scored:
    """Judge one answer to one row: verl's ``custom_reward_function``.

    Returns:
        See `scored`.

    Raises:
        SettingError: the episode is not over after one action, or the environment cannot be made as the row says.
        TaskNotFound: the environment has no such task any more.
        InfrastructureError: the judge could not decide. What verl makes of that is in docs/verl.md.
    """
    episode = Episode(data_source, ground_truth, extra_info)
    _, reward, ended, info = episode.step(solution_str)
    if not ended:
        how = f"export its tasks with agent={CONVERSATION!r} or {OBSERVATION!r}, and let verl know {AGENT_LOOPS.name}"
        raise SettingError(f"An episode of {data_source} may take several actions; {how}.")
    return scored(reward, info)


def compute_scores(
    data_sources: Sequence[str],
    solution_strs: Sequence[str],
    ground_truths: Sequence[str],
    extra_infos: Sequence[Mapping[str, Any] | None],
) -> list[Scored]:
    """Judge answers side by side, in threads: the reward function for verl's older ``batch`` manager.

    Raises:
        SdpoError: as `compute_score`, for any of them.
    """
    with ThreadPoolExecutor(_THREADS, "sdpo-envs-verl") as threads:
        return list(threads.map(compute_score, data_sources, solution_strs, ground_truths, extra_infos))


def scored(reward: float, info: Mapping[str, Any]) -> Scored:
    """Return what a reward manager reads of an episode.

    Returns:
        ``score``, the reward; ``feedback``, text, empty for a success; ``passed``, 1.0 or 0.0; ``outcome``, the value
        of an `Outcome`, or ``"truncated"`` where a limit of steps cut the episode without a verdict; and
        ``reveals_answer``, 1.0 or 0.0. There is no ``acc``: where there is, verl counts a broken attempt as ``acc`` 0.
    """
    said = told(info)
    return {
        "score": float(reward),
        "feedback": said["feedback"],
        "passed": float(said["outcome"] == "passed"),
        "outcome": said["outcome"] or "truncated",
        "reveals_answer": float(said["reveals_answer"]),
    }


def _agent(env: gymnasium.Env[str, str]) -> str:
    innermost = env.unwrapped
    if env.has_wrapper_attr("attempts") or (isinstance(innermost, TurnsEnv) and innermost.prompt == "complete"):
        return OBSERVATION
    return "single_turn_agent" if isinstance(innermost, JudgedEnv) else CONVERSATION
