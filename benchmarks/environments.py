"""What the environment adds to its judge, and how busy a group of attempts keeps the processors."""

import functools
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import processors
from judges import MEMORY_MB, SECONDS
from work import Submission, dataset_row

import sdpo_envs  # noqa: F401 - registers the environments
from sdpo_envs.codejudge import judge_code
from sdpo_envs.sandbox import Sandbox

ENV_ID = "sdpo/LiveCodeBench-v0"
SLOTS, GROUP = 64, 8


def step_ratio(work: Sequence[Submission], sandbox: Sandbox, rounds: int, seconds: float) -> list[float]:
    """Return, for each round, the time that `step` takes over the time that the judge takes, one after the other."""
    env = _open(gymnasium.make, work, sandbox)
    judge = functools.partial(judge_code, sandbox=sandbox, seconds=SECONDS, memory_mb=MEMORY_MB, total_seconds=60.0)
    ratios = []
    for _ in range(rounds):
        seconds_of = {"step": 0.0, "judge": 0.0}
        order = ["step", "judge"]
        while seconds_of["judge"] < seconds:
            for submission in work:
                env.reset(options={"task_id": submission.name})
                action = _action(submission)
                for name in order:
                    start = time.perf_counter()
                    env.step(action) if name == "step" else judge(submission.code, submission.exam)
                    seconds_of[name] += time.perf_counter() - start
            order.reverse()
        ratios.append(seconds_of["step"] / seconds_of["judge"])
    env.close()
    return ratios


def keep_busy(work: Sequence[Submission], sandbox: Sandbox, rounds: int, seconds: float) -> list[float]:
    """Return, for each round, which share of all processors is used while 64 slots step."""
    envs = _open(gymnasium.make_vec, work, sandbox, num_envs=SLOTS, group_size=GROUP)
    chosen = [work[group % len(work)] for group in range(SLOTS // GROUP)]
    actions = [_action(submission) for submission in chosen for _ in range(GROUP)]
    shares = []
    for _ in range(rounds):
        used = stepping = 0.0
        while stepping < seconds:
            envs.reset(options={"task_id": [submission.name for submission in chosen]})
            before, start = processors.used_seconds(), time.perf_counter()
            _, rewards, *_ = envs.step(actions)
            stepping += time.perf_counter() - start
            used += processors.used_seconds() - before
            assert rewards.all(), "A right program was rejected."
        shares.append(used / stepping / len(os.sched_getaffinity(0)))
    envs.close()
    return shares


def _open(make: Callable[..., Any], work: Sequence[Submission], sandbox: Sandbox, **settings: int) -> Any:
    """Return the environment with this work, behind this wall."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "work.jsonl")
        source.write_text("".join(json.dumps(dataset_row(submission)) + "\n" for submission in work), encoding="utf-8")
        limits = {"time_limit_seconds": SECONDS, "memory_limit_mb": MEMORY_MB}
        return make(ENV_ID, source=str(source), tests="hidden", sandbox=sandbox, **limits, **settings)


def _action(submission: Submission) -> str:
    return f"```python\n{submission.code}```\n"
