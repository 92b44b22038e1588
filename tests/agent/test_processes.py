"""Several processes that train one policy together do what one does alone. Two on the CPU, over the loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
import torch
from torch import Tensor

from sdpo_agent.__main__ import parse
from sdpo_agent.processes import Processes

KINDS = ("grpo", "kl", "ema", "lora-ema", "hybrid")
ALL = (*KINDS, "dynamic")
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # of peft


def launched(*arguments: str) -> None:
    """Run a script in two processes."""
    here = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    with subprocess.Popen(command, env=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as launcher:
        try:
            told, errors = launcher.communicate(timeout=200)
        finally:
            launcher.terminate()  # it ends those that it launched, should one wait for the other in vain
    assert launcher.returncode == 0, errors[-3000:] + told[-1000:]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same runs, made by one process and by two; of these none but the first writes, or the launch fails."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    launched(runs.__file__, "share", str(two), *ALL)
    runs.share(one, list(KINDS))
    return one, two


def rows(folder: Path, name: str = "metrics.jsonl") -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def ended(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / name)
    return found


def flat(weights: Any) -> Tensor:
    return torch.cat([weight.flatten() for weight in (weights.values() if isinstance(weights, dict) else weights)])


@pytest.mark.parametrize("kind", KINDS)
def test_two_tell_what_one_tells(folders: tuple[Path, Path], kind: str) -> None:
    one, two = (rows(folder / kind / "whole") for folder in folders)
    assert len(one) == len(two) == runs.STEPS
    for mine, theirs in zip(one, two, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-6)  # a loss may be a sum that is nearly zero
    assert {row["attempts"] for row in two} == {12}
    assert 2 in {row["optimizer_steps"] for row in two}


@pytest.mark.parametrize("kind", KINDS)
def test_two_test_what_one_tests(folders: tuple[Path, Path], kind: str) -> None:
    one, two = (rows(folder / kind / "whole", "tests.jsonl") for folder in folders)
    assert [row["step"] for row in two] == list(range(runs.STEPS + 1))
    for mine, theirs in zip(one, two, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-6)
    assert {row["attempts"] for row in two} == {6}
    assert len({row["entropy_estimate"] for row in two}) == len(two)


@pytest.mark.parametrize("kind", KINDS)
def test_two_learn_what_one_learns(folders: tuple[Path, Path], kind: str) -> None:
    one, two = (ended(folder / kind, "whole-0.pt") for folder in folders)
    torch.testing.assert_close(flat(two["policy"]), flat(one["policy"]), rtol=1e-5, atol=1e-5)
    began = flat([weight.detach() for weight in runs.begin(kind)[0].trainable()])
    assert (flat(one["policy"]) - began).abs().max() > 1e-3
    if one["algorithm"]:
        torch.testing.assert_close(flat(two["algorithm"]), flat(one["algorithm"]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ALL)
def test_both_hold_the_same_policy_and_the_same_teacher(folders: tuple[Path, Path], kind: str) -> None:
    first, second = (ended(folders[1] / kind, f"whole-{rank}.pt") for rank in (0, 1))
    assert runs.same(first, second)


@pytest.mark.parametrize("kind", ALL)
def test_two_that_resume_repeat_two_that_were_not_interrupted(folders: tuple[Path, Path], kind: str) -> None:
    folder = folders[1] / kind
    for file in ("metrics.jsonl", "tests.jsonl"):
        whole, parts = ((folder / name / file).read_bytes() for name in ("whole", "parts"))
        assert whole == parts
    for rank in (0, 1):
        assert runs.same(ended(folder, f"whole-{rank}.pt"), ended(folder, f"parts-{rank}.pt"))


def test_two_play_on_until_both_have_enough_to_learn_from(folders: tuple[Path, Path]) -> None:
    """Each needs enough of its own, so the groups are not those of one process; but both play as often."""
    told = rows(folders[1] / "dynamic" / "whole")
    assert {row["taught_share"] for row in told} == {1}
    assert {row["attempts"] for row in told} <= {12, 24, 36}
    assert max(row["attempts"] for row in told) > 12


def test_two_begin_one_recording_and_go_on_with_it(tmp_path: Path) -> None:
    """From the command line; each plays its share of every batch and of every test, and the first opens the files."""
    policy = runs.begin("grpo")[0]
    policy.save(tmp_path / "policy")
    world = ("--env", "letters:agent-test/Say-v0", "--test-settings", "{}", "--test-attempts", "1", "--test-every", "1")
    size = ("--tasks", "4", "--group-size", "3", "--max-tokens", "3", "--checkpoint-every", "1")
    command = ("train", "grpo", *world, *size, "--policy", str(tmp_path / "policy"))
    one, two = tmp_path / "one", tmp_path / "two"
    parse([*command, "--steps", "3", "--run", str(one)])()
    for more in (("--steps", "2"), ("--steps", "3", "--resume")):
        launched(runs.__file__, "call", str(two), json.dumps([*command, *more]))

    def attempts(folder: Path, phase: str) -> list[list[str]]:
        """Of each training step, or of each test, what was written; whichever process was faster."""
        found = [
            json.dumps([row["task"], row["actions"]]) for row in rows(folder, "attempts.jsonl") if row["phase"] == phase
        ]
        size = 12 if phase == "train" else 6
        return [sorted(found[start : start + size]) for start in range(0, len(found), size)]

    assert [len(attempts(two, phase)) for phase in ("train", "test")] == [3, 4]
    for phase in ("train", "test"):
        assert attempts(two, phase) == attempts(one, phase)
    for mine, theirs in zip(rows(one, "tests.jsonl"), rows(two, "tests.jsonl"), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-6)
    generations = {row["generations"] for row in rows(two, "attempts.jsonl") if row["phase"] == "test"}
    assert generations == {0, 12, 24, 36}


def test_in_some_mini_batch_one_of_them_had_nothing_to_learn() -> None:
    """Else the tests above would not show that it takes the same step all the same."""
    seed = runs.settings().seed
    orders = [np.random.default_rng([seed, step]).permutation(4).tolist() for step in range(runs.STEPS)]
    assert sum({order[0], order[1]} in ({0, 1}, {2, 3}) for order in orders) == 4


def test_what_they_say_to_one_another(folders: tuple[Path, Path]) -> None:
    for rank in (0, 1):
        assert ended(folders[1], f"said-{rank}.pt") == {
            "rank": rank,
            "count": 2,
            "first": rank == 0,
            "gathered": [0, 1],
            "sum": 4.0,
            "shares": [[[5, 6], [7, 8]][rank], [[5], [6]][rank]],
            "gradients": [3.0, 5.0, None],
        }


def test_one_alone_says_nothing() -> None:
    alone = Processes()
    assert (alone.count, alone.rank, alone.first) == (1, 0, True)
    assert alone.gather(3) == [3]
    assert alone.sum(2.5) == 2.5
    assert list(alone.share([1, 2, 3])) == [1, 2, 3]
    weight = torch.nn.Parameter(torch.zeros(2))
    alone.sum_gradients([weight])
    assert weight.grad is None
