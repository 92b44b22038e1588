"""How fast a policy is trained: by this agent, and by TRL's trainers, on the same work in one run, on the CPU.

Two pairs: SDPO and `trl.experimental.sdpo.SDPOTrainer`, GRPO and `trl.GRPOTrainer`. Each measurement is a process of
its own that loads the same small, untrained policy from the same folder; rounds are interleaved. A training step is one
batch of groups and one optimizer step. Printed are steps per second after warm-up steps, the median [min..max], and the
ratio within a round, by the clock and by processor time, which a busy machine disturbs less. The peer is an extra:
`pip install trl==1.16.*`.

    python benchmarks/training.py --rounds 3 --steps 10

What is equal: the tasks, each met once; the weights, float32; the tokenizer; temperature 1, the longest action, the
learning rate, AdamW, micro-batches, threads; the loss (SDPO: reverse KL over the top 20 and the tail, towards a teacher
that follows by 0.05; GRPO: clipped at 0.2 and 0.28, advantages not scaled, no KL); the wording of what the teacher
reads; and the groups that judge, which either side resets and steps once per training step. The clock is read there, so
that everything between two steps counts. TRL's recomputing of activations, bfloat16, logs, bars and saves are off.

An untrained policy earns nothing, and GRPO learns nothing where all fail. So an attempt passes here where a checksum of
its text is odd, about every second one; the environment's judge is asked all the same, and is right about the others.

What cannot be equal: TRL's feedback is a column of the data set, told before there is an attempt. Here it is the text
that this agent writes about failures that were cut short, as nearly all are. Either side shows the teacher a success of
the group and, where there is none, that text. A lone success is taught by it in TRL, and by nothing here.
"""

import argparse
import functools
import os
import statistics
import tempfile
import time
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import torch

from sdpo_agent import GRPO, SDPO, Policy, SDPOSettings, TrainSettings, train
from sdpo_envs import GroupEnv, JudgedEnv, Outcome, Task, Verdict

PAIRS = {"sdpo": "SDPOTrainer", "grpo": "GRPOTrainer"}
SIDES = ("ours", "TRL")


@dataclass(frozen=True)
class Work:
    """What both sides do.

    Attributes:
        folder: Of the policy.
        env: Whose tasks and judge.
        tasks: Per training step.
        group_size: Attempts per task.
        max_tokens: The longest action.
        warmup: Training steps that are not timed.
        steps: Training steps that are.
        microbatch: Attempts per forward pass of the learning.
        threads: Of torch.
        learning_rate: Constant.
        top_k: Of SDPO's loss.
        teacher_rate: Of SDPO's average.
    """

    folder: str
    env: str
    tasks: int
    group_size: int
    max_tokens: int
    warmup: int
    steps: int
    microbatch: int
    threads: int
    learning_rate: float = 1e-5
    top_k: int = 20
    teacher_rate: float = 0.05

    @property
    def batch(self) -> int:
        """Attempts per training step."""
        return self.tasks * self.group_size

    @property
    def all_steps(self) -> int:
        """One more than are timed: the clock is read in the middle of a step."""
        return self.warmup + self.steps + 1


class Told(NamedTuple):
    """What a side says of its training; `taught` is the share of the attempts that were learned from."""

    model: torch.nn.Module
    tokens: float
    taught: float
    sampling: float = float("nan")


class Measured(NamedTuple):
    """One side in one round.

    Attributes:
        rate: Steps per second.
        cpu_rate: Steps per second of processor time.
        tokens: As in `Told`.
        taught: As in `Told`.
        moved: Root mean square of the change of the weights, in learning rates.
        sampling: As in `Told`.
    """

    rate: float
    cpu_rate: float
    tokens: float
    taught: float
    moved: float
    sampling: float


class Clocked(GroupEnv):
    """Groups that note when they are stepped: by the clock, and in processor time of this process."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.times: list[tuple[float, float]] = []

    def step(self, actions: Sequence[str]) -> Any:
        """Read the clocks, and step."""
        self.times.append((time.perf_counter(), time.process_time()))
        return super().step(actions)


def world(work: Work) -> JudgedEnv:
    """Return as many of the environment's tasks as are met, those of middling length; see above for the judge."""
    env: Any = gymnasium.make(work.env).unwrapped
    count = work.tasks * work.all_steps
    spare = len(env.tasks) - count
    if spare < 0:
        raise SystemExit(f"{work.env} has {len(env.tasks)} tasks, and {count} are to be met. Give fewer --steps.")

    def judge(task: Task, action: str) -> Verdict:
        verdict: Verdict = env.judge(task, action)
        return Verdict(Outcome.PASSED, 1.0) if zlib.crc32(action.encode(errors="replace")) % 2 else verdict

    ordered = sorted(env.tasks, key=lambda task: len(task.prompt))
    return JudgedEnv(ordered[spare // 2 : spare // 2 + count], judge)


def train_here(pair: str, work: Work, envs: GroupEnv, run: str) -> Told:
    """Train with this agent."""
    policy = Policy.load(work.folder, device="cpu")
    told = SDPOSettings(top_k=work.top_k, alpha=1.0, teacher_rate=work.teacher_rate, aggregate="sequence-mean")
    settings = TrainSettings(
        steps=work.all_steps,
        learning_rate=work.learning_rate,
        max_tokens=work.max_tokens,
        microbatch=work.microbatch,
        checkpoint_every=0,
    )
    rows = train(policy, SDPO(policy, told) if pair == "sdpo" else GRPO(), envs, settings, Path(run, "run"))
    tokens, taught, sampling, learning = (
        statistics.mean(row[name] for row in rows)
        for name in ("tokens_mean", "taught_share", "seconds_sampling", "seconds_learning")
    )
    return Told(policy.model, tokens, taught, sampling / (sampling + learning))


def train_there(pair: str, work: Work, envs: GroupEnv, run: str) -> Told:
    """Train with TRL, which only this process imports."""
    import trl_peer

    return Told(*trl_peer.train(pair, work, envs, run))


def measure(side: str, pair: str, work: Work) -> Measured:
    """Train, in a process of its own, and return what was measured."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(work.threads)
    envs = Clocked(functools.partial(world, work), work.batch, work.group_size)
    trained = train_here if side == "ours" else train_there
    with tempfile.TemporaryDirectory() as run, open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        told = trained(pair, work, envs, run)
    if len(envs.times) != work.all_steps:
        raise RuntimeError(f"{side} stepped {len(envs.times)} times in {work.all_steps} training steps of {pair}.")
    rates = (work.steps / (end - start) for start, end in zip(envs.times[work.warmup], envs.times[-1], strict=True))
    before = dict(Policy.load(work.folder, device="cpu").model.named_parameters())
    ways = [(weight - before[name]).flatten() for name, weight in told.model.named_parameters()]
    moved = float(torch.cat(ways).square().mean().sqrt()) / work.learning_rate
    return Measured(*rates, told.tokens, told.taught, moved, told.sampling)


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Return the median and the range."""
    low, middle, high = (format(value, form) for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} [{low}..{high}]"


def report(results: dict[tuple[str, str], list[Measured]]) -> None:
    """Print the table, and what shows that the work was the same."""
    titles = ("ours, steps/s", "TRL, steps/s", "ratio", "ratio, CPU time")
    print(f"\n{'pair':20}" + "".join(f"{title:>20}" for title in titles))
    for pair in dict.fromkeys(pair for pair, _ in results):
        mine, theirs = (results[pair, side] for side in SIDES)
        ratios, cpu = ([a[clock] / b[clock] for a, b in zip(mine, theirs, strict=True)] for clock in (0, 1))
        columns = ([each.rate for each in mine], [each.rate for each in theirs], ratios, cpu)
        print(f"{f'{pair}, {PAIRS[pair]}':20}" + "".join(f"{spread(values):>20}" for values in columns))
    titles = ("tokens per action", "taught share", "weights moved, rates")
    print(f"\n{'pair':10}{'side':12}" + "".join(f"{title:>22}" for title in titles))
    for (pair, side), measured in results.items():
        cells = [spread([each[column] for each in measured]) for column in (2, 3, 4)]
        print(f"{pair:10}{side:12}" + "".join(f"{cell:>22}" for cell in cells))
    for (pair, side), measured in results.items():
        if side == "ours":
            print(f"Ours, {pair}: sampling takes {statistics.median(each.sampling for each in measured):.0%}.")


def main() -> None:
    """Print a row per pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="timed, per measurement")
    parser.add_argument("--warmup", type=int, default=2, help="steps before those")
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--env", default="sdpo/SciKnowEval-v0")
    parser.add_argument("--tasks", type=int, default=4, help="per step")
    parser.add_argument("--group-size", type=int, default=8, help="attempts per task")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--microbatch", type=int, default=8, help="attempts per forward pass; divides the batch")
    parser.add_argument("--threads", type=int, default=1)
    settings = vars(parser.parse_args())
    rounds, pairs = settings.pop("rounds"), settings.pop("pairs")
    try:
        print(", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl")))
    except PackageNotFoundError:
        raise SystemExit("The peer is missing. Install it: pip install 'trl==1.16.*'") from None
    os.environ["OMP_NUM_THREADS"] = str(settings["threads"])
    results: dict[tuple[str, str], list[Measured]] = {(pair, side): [] for pair in pairs for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        work = Work(folder, **settings)
        texts = [task.prompt for task in world(work).tasks]
        Policy.small(texts=texts, vocab_size=1024, device="cpu").save(folder)
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
            for number in range(rounds):
                for pair, side in list(results)[:: -1 if number % 2 else 1]:
                    results[pair, side].append(processes.submit(measure, side, pair, work).result())
    print("; ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items()))
    report(results)


if __name__ == "__main__":
    main()
