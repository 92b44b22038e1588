"""The loop. The only loop: play groups, learn from them, write down what happened.

A step's tasks, seeds and draws follow from the seed and its number alone, so that a run which was killed at any point
and resumed repeats what an uninterrupted one does, bit for bit on the CPU.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sdpo_agent.attempt import Group
from sdpo_agent.learn import Algorithm, LearnSettings, learn, make_optimizer
from sdpo_agent.policy import Policy
from sdpo_agent.processes import Processes
from sdpo_agent.rollout import Groups, History, collect
from sdpo_agent.run import TOKENS, Metrics, Run, State
from sdpo_agent.tokens import Tally, add
from sdpo_agent.tokenwise import teacher_of, token_rows
from sdpo_agent.trackers import Log, Tracker, require_trackers, tracking
from sdpo_agent.watch import fresh_warnings
from sdpo_envs import InfrastructureError, SettingError
from sdpo_envs.errors import choose, within

_TEST = 1  # tells the draws of a test from those of training


@dataclass(frozen=True, slots=True)
class TrainSettings(LearnSettings):
    """How long to train, and how to play."""

    steps: int = 100
    """Training steps: one batch of groups each."""
    batches: int = 1
    """Most batches to play for one step until it has enough groups whose rewards differ, to learn from those alone
    (DAPO's dynamic sampling); 1 learns from what comes."""
    history: History = "observation"
    """What is read before an action: the last observation alone, or the whole conversation."""
    retries: int = 2
    """How often to play a step again in which every attempt broke in the machinery, before the run ends."""
    checkpoint_every: int = 10
    """Training steps between checkpoints, besides the one at the end; 0 for none in between."""
    test_every: int = 10
    """Training steps between tests, besides one at the start and one at the end; 0 for those two alone. Where there is
    nothing to test on, none are made."""
    token_rows: int = 0
    """Attempts per step of which each token is written to tokens.jsonl, with its log-probability under student and
    self-teacher, for `sdpo view` to show. Each costs a forward pass of both; needs an algorithm with a self-teacher."""
    tracker: tuple[Tracker, ...] = ()
    """What shows the run while it is made, one or several (extra trackers); metrics.jsonl is written in any case."""

    def __post_init__(self) -> None:
        LearnSettings.__post_init__(self)
        for tracker in self.tracker:
            choose("tracker", tracker, get_args(Tracker))
        choose("history", self.history, ("observation", "conversation"))
        within("batches", self.batches, 1)
        for name in ("steps", "retries", "checkpoint_every", "test_every", "token_rows"):
            within(name, getattr(self, name), 0)
        if 0 < self.decay_steps < self.steps:
            raise SettingError(
                f"In steps {self.decay_steps + 1} to {self.steps} nothing would be learned, as the learning rate has "
                f"fallen to 0 after decay_steps={self.decay_steps}. Give at least as many as steps."
            )


def train(
    policy: Policy,
    algorithm: Algorithm,
    envs: Groups,
    settings: TrainSettings,
    run: str | Path,
    *,
    test: Groups | None = None,
    resume: bool = False,
    told: Mapping[str, object] | None = None,
) -> list[Metrics]:
    """Train `policy` in place.

    Args:
        policy: Learns.
        algorithm: What is learned, such as `sdpo_agent.GRPO` or `sdpo_agent.SDPO`.
        envs: Groups of attempts; its size is the batch. With several processes, this one's share of it.
        settings: See there.
        run: A new folder, or with `resume` one that holds a run; `sdpo_agent.run` says what is in it.
        test: Groups at other tasks, from which nothing is learned; see `play_test`.
        resume: Go on after the checkpoint in `run`, or from the start if it has none yet.
        told: What else to write into ``config.json``.

    Returns:
        The metrics of every step and what it took, those before a resumption included.

    Raises:
        FileExistsError: `run` holds a run already, and `resume` was not asked for.
        FileNotFoundError: there is no run to resume.
        SettingError: the run to resume was of another algorithm or other settings; `token_rows` are wanted of an
            algorithm without a self-teacher; or as for `tracking` and `play_test`.
        MissingExtra: a tracker is not installed.
        InfrastructureError: in some step every attempt broke, every time, so there was nothing to learn from.
    """
    processes, optimizer = Processes(), make_optimizer(policy, settings)
    _require(algorithm, settings)
    folder = Run(run, _config(algorithm, settings, told or {}), resume=resume, owner=processes.first)
    state = _taken_up(folder, policy, algorithm, optimizer) if resume else State([], [], {}, {})
    metrics, timing, tests = state.metrics, state.timing, state.tests

    def try_out(steps: int) -> None:
        if test is not None:
            tests.append({"step": float(steps), **play_test(policy, test, settings, steps, processes)})
            folder.append("tests.jsonl", tests[-1:])
            log("test", tests[-1])

    with _progress(settings.steps * processes.first) as progress, tracking(settings.tracker, folder, state) as log:
        bar = progress.add_task("", total=settings.steps, completed=len(metrics), said="")
        if not metrics:
            try_out(0)
        for step in range(len(metrics), settings.steps):
            row, seconds, spelled = train_step(policy, algorithm, envs, optimizer, settings, step, processes)
            _write(folder, state, row, seconds, spelled, log)
            progress.update(bar, advance=1, said=f"success {row['success_rate']:.2f}  loss {row['loss']:.4f}")
            _warn(folder, progress, metrics)
            if _is_due(step + 1, settings.test_every, settings.steps):
                try_out(step + 1)
            if _is_due(step + 1, settings.checkpoint_every, settings.steps):
                folder.save(policy, State(metrics, timing, optimizer.state_dict(), dict(algorithm.state()), tests))
    return [{**row, **seconds} for row, seconds in zip(metrics, timing, strict=True)]


def _require(algorithm: Algorithm, settings: TrainSettings) -> None:
    """Raise what is missing for the settings, before anything is written."""
    require_trackers(settings.tracker)
    if settings.token_rows:
        teacher_of(algorithm)


def _taken_up(folder: Run, policy: Policy, algorithm: Algorithm, optimizer: torch.optim.Optimizer) -> State:
    """Put everything back as it was at the last checkpoint, or the start if there is none, and return the state."""
    state = folder.load(policy)
    if state is None:
        return State([], [], {}, {})
    optimizer.load_state_dict(state.optimizer)
    algorithm.restore(state.algorithm)
    return state


def _write(
    folder: Run, state: State, row: Metrics, seconds: Metrics, spelled: Sequence[Mapping[str, Any]], log: Log
) -> None:
    """Write down a step: the rows of its tokens first, so that a step that counts has them."""
    step, made = len(state.metrics) + 1, int(sum(row["attempts"] for row in state.metrics))
    folder.append(TOKENS, [{"step": step, "generations": made, **each} for each in spelled])
    state.metrics.append({"step": float(step), **row})
    state.timing.append({"step": float(step), **seconds})
    folder.append("metrics.jsonl", state.metrics[-1:])
    folder.append("timing.jsonl", state.timing[-1:])
    log("train", {**state.metrics[-1], **seconds})


def _warn(folder: Run, progress: Progress, metrics: Sequence[Metrics]) -> None:
    for words in fresh_warnings(metrics) if folder.owner else ():
        folder.warn(len(metrics), words)
        progress.console.print(f"[yellow]step {len(metrics)}[/]: {words}")


def train_step(
    policy: Policy,
    algorithm: Algorithm,
    envs: Groups,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    step: int,
    processes: Processes | None = None,
) -> tuple[Metrics, Metrics, list[dict[str, Any]]]:
    """Play one batch of groups, learn from it. `step` counts from 0.

    Returns:
        What there is to tell; what it took; and the `token_rows` of all processes.
    """
    processes = processes or Processes()
    start = time.perf_counter()
    groups, told = _play(policy, envs, settings, step, processes)
    played = time.perf_counter()
    spelled = _spelled(policy, algorithm, groups, settings, step, processes)
    add(told, learn(policy, algorithm, optimizer, groups, settings, step=step, processes=processes))
    seconds = {"seconds_sampling": played - start, "seconds_learning": time.perf_counter() - played}
    return _means(told), seconds, spelled


def play_test(
    policy: Policy, envs: Groups, settings: TrainSettings, steps: int, processes: Processes | None = None
) -> Metrics:
    """Play all tasks of `envs` once, a group each, and tell of them; `steps` is how many were trained before.

    Raises:
        SettingError: their number is no multiple of those that are played at once.
    """
    processes = processes or Processes()
    task_ids, at_once = envs.task_ids, envs.num_groups * processes.count
    if len(task_ids) % at_once:
        raise SettingError(
            f"{len(task_ids)} tasks to test on cannot be played {at_once} at a time; choose a number that divides them."
        )
    seeds = np.random.SeedSequence([settings.seed, steps, _TEST]).generate_state(len(task_ids)).tolist()
    told: Tally = {}
    for start in range(0, len(task_ids), at_once):
        played = slice(start, start + at_once)
        groups = collect(
            envs,
            policy,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seeds=processes.share(seeds[played]),
            task_ids=processes.share(task_ids[played]),
            history=settings.history,
        )
        for each in processes.gather(describe(groups)):
            add(told, each)
    return _means(told)


def describe(groups: Sequence[Group]) -> Tally:
    """Tell of attempts; those that broke are counted, and count for nothing else."""
    attempts = [attempt for group in groups for attempt in group.decided]
    everything = [attempt for group in groups for attempt in group.attempts]
    turns = [turn for attempt in attempts for turn in attempt.turns]
    feedback = [attempt.feedback for attempt in attempts if attempt.feedback is not None]
    whole = [group for group in groups if group.decided]
    sums = {
        "reward_mean": (sum(attempt.reward for attempt in attempts), len(attempts)),
        "success_rate": (sum(attempt.passed for attempt in attempts), len(attempts)),
        "pass_at_k": (sum(any(attempt.passed for attempt in group.decided) for group in whole), len(whole)),
        "mixed_groups": (sum(map(_is_mixed, whole)), len(whole)),
        "peer_share": (sum(each.peer is not None for each in feedback), len(attempts)),
        "reveals_answer_share": (sum(each.reveals_answer for each in feedback), len(attempts)),
        "tokens_mean": (sum(len(turn.token_ids) for turn in turns), len(turns)),
        "cut_short_share": (sum(turn.cut_short for turn in turns), len(turns)),
        "entropy_estimate": (-sum(sum(turn.logprobs) for turn in turns), sum(len(turn.token_ids) for turn in turns)),
        "attempts": (len(everything), 0),
        "broken_attempts": (len(everything) - len(attempts), 0),
    }
    return {name: (float(value), float(count)) for name, (value, count) in sums.items()}


def _play(
    policy: Policy, envs: Groups, settings: TrainSettings, step: int, processes: Processes
) -> tuple[list[Group], Tally]:
    """Play the groups of one step, more than once if their rewards do not differ or all of them broke."""
    kept: list[Group] = []
    told: Tally = {}
    for batch in range(settings.batches):
        for _ in range(settings.retries + 1):
            groups = _play_batch(policy, envs, settings, step * settings.batches + batch, processes)
            for each in processes.gather(describe(groups)):
                add(told, each)
            if processes.sum(sum(len(group.decided) for group in groups)):
                break
        else:
            error = groups[0].attempts[0].error
            raise InfrastructureError(
                f"In step {step + 1} every attempt broke, {settings.retries + 1} times in a row; the first because of "
                f"{error}. Mend that, and resume the run."
            )
        kept += groups if settings.batches == 1 else filter(_is_mixed, groups)
        if min(processes.gather(len(kept))) >= envs.num_groups:
            break
    return kept[: envs.num_groups], told


def _play_batch(
    policy: Policy, envs: Groups, settings: TrainSettings, number: int, processes: Processes
) -> list[Group]:
    count = envs.num_groups * processes.count
    seeds = np.random.SeedSequence([settings.seed, number]).generate_state(count).tolist()
    return collect(
        envs,
        policy,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        seeds=processes.share(seeds),
        task_ids=processes.share(_tasks(envs.task_ids, count, settings.seed, number)),
        history=settings.history,
    )


def _spelled(
    policy: Policy,
    algorithm: Algorithm,
    groups: Sequence[Group],
    settings: TrainSettings,
    step: int,
    processes: Processes,
) -> list[dict[str, Any]]:
    """Return the `token_rows` of a step; each process scores its share of them."""
    if not settings.token_rows:
        return []
    rank, seed = processes.rank, [settings.seed, step, processes.rank]
    count = settings.token_rows // processes.count + (rank < settings.token_rows % processes.count)
    rows = token_rows(policy, algorithm, groups, count, temperature=settings.temperature, seed=seed)
    return [row for each in processes.gather(rows) for row in each]


def _means(told: Tally) -> Metrics:
    return {name: value / count if count else value for name, (value, count) in told.items()}


def _is_due(step: int, every: int, last: int) -> bool:
    return step == last or (every > 0 and step % every == 0)


def _is_mixed(group: Group) -> bool:
    return len({attempt.reward for attempt in group.decided}) > 1


def _tasks(task_ids: Sequence[str], count: int, seed: int, number: int) -> list[str]:
    """Choose the tasks of a batch: every task once, in an order of its own, before any comes again."""
    positions = range(number * count, (number + 1) * count)
    orders = {
        epoch: np.random.default_rng([seed, epoch]).permutation(len(task_ids))
        for epoch in {position // len(task_ids) for position in positions}
    }
    return [task_ids[orders[position // len(task_ids)][position % len(task_ids)]] for position in positions]


def _config(algorithm: Algorithm, settings: TrainSettings, told: Mapping[str, object]) -> dict[str, Any]:
    own: Any = algorithm.settings
    return {**told, "algorithm": type(algorithm).__name__, "settings": asdict(own), "loop": asdict(settings)}


def _progress(steps: int) -> Progress:
    columns = (MofNCompleteColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    return Progress(TextColumn("step"), *columns, console=Console(stderr=True), disable=steps == 0)
