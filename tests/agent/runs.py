"""Small runs for tests that kill them, or spread them over processes. A script: ``python runs.py COMMAND ...``.

``share FOLDER KIND ...``: of each kind, make one run whole and resume another; under torchrun, this process's share.
``kill FOLDER KIND ...``: of each kind, make one recorded run whole, and another that is killed over and over; tell what
differs.
``once FOLDER``: kill a recorded run at each operation on files, once, and resume it; tell after which it differs.
``call FOLDER ARGUMENTS``: do as ``python -m sdpo_agent`` with a JSON list; torchrun takes a bare ``--run`` for its own.
``save FOLDER``: kill a process at each operation on files while it writes a checkpoint; tell what was left.

Processes are forked, since importing takes longer than all the rest.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from letters import SayEven
from tiny import sharpen
from torch import Tensor

from sdpo_agent import GRPO, SDPO, Algorithm, GRPOSettings, Policy, SDPOSettings, TrainSettings, train
from sdpo_agent.__main__ import Train, parse
from sdpo_agent.learn import make_optimizer
from sdpo_agent.processes import Processes
from sdpo_agent.run import Run, State
from sdpo_envs import GroupEnv, record

STEPS = 6
SAME = ("metrics.jsonl", "tests.jsonl", "tokens.jsonl", "attempts.jsonl", "recording.json")
"""Files that are the same to the byte however often a recorded run was interrupted."""


def settings(**changes: Any) -> TrainSettings:
    """Two optimizer steps and a test per training step, and a checkpoint after every second."""
    small: dict[str, Any] = {"steps": STEPS, "checkpoint_every": 2, "minibatches": 2, "max_tokens": 3, "seed": 13}
    small["test_every"] = 1
    return TrainSettings(**{**small, "learning_rate": 1e-3, "warmup_steps": 2, **changes})


def begin(kind: str) -> tuple[Policy, Algorithm]:
    """Make an untrained policy and what it learns by."""
    policy = Policy.small(hidden=16, layers=1, heads=2, max_positions=256, device="cpu")
    sharpen(policy.model, 10)  # so that a hindsight is heard
    if kind.startswith("lora"):
        policy = policy.with_lora(2)
    if kind in ("grpo", "kl", "dynamic"):
        return policy, GRPO(GRPOSettings(kl=0.1 if kind == "kl" else 0.0), policy)
    share = 0.5 if kind == "hybrid" else 0.0
    teacher: Any = "trust-region" if kind == "trust-region" else "ema"
    return policy, SDPO(policy, SDPOSettings(teacher=teacher, teacher_rate=0.1, policy_share=share, top_k=20))


def play(kind: str, folder: Path, resume: bool | None = None, recorded: bool = False, **changes: Any) -> None:
    """Begin or resume a run of four groups that is tested at six tasks, and keep what it ends with."""
    processes = Processes()
    policy, algorithm = begin(kind)
    envs: Any = GroupEnv(SayEven, num_envs=12 // processes.count, group_size=3)
    test: Any = GroupEnv(SayEven, num_envs=6 // processes.count, group_size=1)
    resume = (folder / "config.json").exists() if resume is None else resume
    rows = 0 if isinstance(algorithm, GRPO) else 2
    loop = settings(**{"batches": 3 if kind == "dynamic" else 1, "token_rows": rows, **changes})
    if recorded:
        recording = Train(run=folder, resume=resume)._recording(processes)
        envs, test = record(envs, recording), record(test, recording, phase="test")
    train(policy, algorithm, envs, loop, folder, test=test, resume=resume)
    ended = {"policy": [weight.detach() for weight in policy.trainable()], "algorithm": dict(algorithm.state())}
    torch.save(ended, folder.parent / f"{folder.name}-{processes.rank}.pt")


def speak(processes: Processes) -> dict[str, Any]:
    """Have the processes say something to one another; return what this one heard."""
    rank = processes.rank
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(3)]
    weights[0].grad = torch.full((1,), 1.0 + rank)
    weights[1].grad = torch.full((1,), 5.0) if rank else None
    processes.sum_gradients(weights)
    return {
        "rank": rank,
        "count": processes.count,
        "first": processes.first,
        "gathered": processes.gather(rank),
        "sum": processes.sum(1.5 + rank),
        "shares": [list(processes.share(values)) for values in ([5, 6, 7, 8], [5, 6, 7])],
        "gradients": [None if weight.grad is None else float(weight.grad) for weight in weights],
    }


def share(folder: Path, kinds: list[str]) -> None:
    """See the top."""
    processes = Processes()
    if processes.count > 1:
        torch.save(speak(processes), folder / f"said-{processes.rank}.pt")

    def refuse(path: str) -> None:
        if path.startswith(str(folder)) and not path.endswith(f"-{processes.rank}.pt"):
            sys.exit(f"{path} was written by a process that must not write")

    if not processes.first:
        on_writing(refuse)
    for kind in kinds:
        if processes.first:
            (folder / kind).mkdir(parents=True)
        play(kind, folder / kind / "whole", resume=False)
        play(kind, folder / kind / "parts", resume=False, steps=3)
        processes.gather("written")  # the next begins by reading
        play(kind, folder / kind / "parts", resume=True)


def forked(work: Callable[[], None], kill_after: float | None = None, kill_at: int | None = None) -> bool:
    """Do `work` in a process of its own, killed after so many seconds or at that operation on files; return if done."""
    child = os.fork()
    if child == 0:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 2)
        if kill_at is not None:
            kill_myself(kill_at)
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # a child must not return to the caller's code
            print(f"{type(error).__name__}: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    deadline = time.monotonic() + (600 if kill_after is None else kill_after)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.002)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a run ended with an error")
    return os.WIFEXITED(status)


def kill_myself(at: int) -> None:
    """Kill this process when it is about to touch files for the `at`-th time."""
    left = [at]

    def count(path: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    on_writing(count)


def on_writing(told: Callable[[str], object]) -> None:
    """Have `told` hear of every operation that changes files, before it happens; for good."""

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"):
            told(str(arguments[0]))

    sys.addaudithook(hear)


def kill(folder: Path, kinds: list[str]) -> dict[str, Any]:
    """See the top."""
    told: dict[str, Any] = {}
    for number, kind in enumerate(kinds):
        dice, whole, broken = random.Random(number), folder / kind / "whole", folder / kind / "broken"
        start = time.monotonic()
        assert forked(lambda kind=kind, whole=whole: play(kind, whole, recorded=True))
        seconds = time.monotonic() - start
        kills = {"clock": 0, "file": 0}
        for turn in range(10):
            by = "clock" if turn % 2 else "file"
            when: dict[str, Any] = {"kill_at": dice.randint(1, 45)}
            if by == "clock":
                when = {"kill_after": dice.uniform(0.1, 0.7) * seconds}
            if forked(lambda kind=kind, broken=broken: play(kind, broken, recorded=True), **when):
                break
            kills[by] += 1
        else:
            assert forked(lambda kind=kind, broken=broken: play(kind, broken, recorded=True))
        ends = [torch.load(each.parent / f"{each.name}-0.pt") for each in (whole, broken)]
        states = [torch.load(each / "checkpoint" / "state.pt") for each in (whole, broken)]
        for state in states:
            del state["timing"]
        told[kind] = {
            **kills,
            **{name: content(whole / name) == content(broken / name) for name in SAME},
            "rows": len((broken / "metrics.jsonl").read_text().splitlines()),
            "warnings": warnings(whole) == warnings(broken),
            "ends": same(*ends),
            "states": same(*states),
            "files": sorted(path.name for path in broken.iterdir()) == sorted(path.name for path in whole.iterdir()),
        }
    return told


def once(folder: Path) -> dict[str, Any]:
    """See the top."""
    short = {"steps": 2, "checkpoint_every": 1}
    assert forked(lambda: play("grpo", folder / "whole", recorded=True, **short))
    wrong, at, done, unbegun = [], 0, False, 0
    while not done:
        at += 1
        broken = folder / f"killed-{at}"
        done = forked(lambda broken=broken: play("grpo", broken, recorded=True, **short), kill_at=at)
        unbegun += broken.exists() and not (broken / "config.json").exists()
        assert forked(lambda broken=broken: play("grpo", broken, recorded=True, **short))
        same = [content(broken / name) == content(folder / "whole" / name) for name in SAME]
        if not all(same):
            wrong.append([at, *same])
    return {"kills": at - 1, "unbegun": unbegun, "wrong": wrong}


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def warnings(folder: Path) -> str:
    path = folder / "warnings.txt"
    return path.read_text() if path.exists() else ""


def same(one: Any, other: Any) -> bool:
    """Whether two nests of tensors are equal to the last bit."""
    if isinstance(one, Tensor):
        return torch.equal(one, other) and one.dtype == other.dtype
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def save(folder: Path) -> dict[str, Any]:
    """See the top. What is loaded after each kill must be all of the old state, or all of the new."""
    policy, algorithm = begin("ema")
    optimizer = make_optimizer(policy, settings())
    rows = [{"step": 1.0, "loss": 0.1}]

    def state(steps: int) -> State:
        return State(rows * steps, rows * steps, optimizer.state_dict(), dict(algorithm.state()))

    def set_to(value: float) -> None:
        with torch.no_grad():
            for weight in (*policy.trainable(), *algorithm.state().values()):
                weight.fill_(value)

    def new_run(name: str) -> Run:
        path = folder / name
        return Run(path, {"algorithm": "", "settings": {}, "loop": {}}, resume=path.exists())

    set_to(1.0)
    new_run("began").save(policy, state(1))
    found, at, done = [], 0, False
    while not done:
        at += 1
        name = f"killed-{at}"
        shutil.copytree(folder / "began", folder / name)

        def again(name: str = name) -> None:
            set_to(2.0)
            Run(folder / name, {"algorithm": "", "settings": {}, "loop": {}}, resume=True).save(policy, state(2))

        done = forked(again, kill_at=at)
        set_to(3.0)
        loaded = new_run(name).load(policy)
        assert loaded is not None
        values = {float(weight.min()) for weight in (*policy.trainable(), *loaded.algorithm.values())}
        values |= {float(weight.max()) for weight in (*policy.trainable(), *loaded.algorithm.values())}
        found.append([len(loaded.metrics), *sorted(values)])
        # and the next checkpoint finds nothing in its way
        set_to(4.0)
        new_run(name).save(policy, state(3))
        again_loaded = new_run(name).load(policy)
        assert again_loaded is not None
        left = sorted(path.name for path in (folder / name).iterdir())
        found[-1] += [len(again_loaded.metrics), left]
    return {"found": found}


def main(command: str, folder: str, *more: str) -> None:
    torch.set_num_threads(1)
    path = Path(folder)
    if command == "call":
        parse([*json.loads(more[0]), "--run", folder])()
    elif command == "share":
        share(path, list(more))
    elif command == "kill":
        print(json.dumps(kill(path, list(more))))
    else:
        print(json.dumps(once(path) if command == "once" else save(path)))


if __name__ == "__main__":
    main(*sys.argv[1:])
