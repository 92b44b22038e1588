"""The benchmark of the judges: its work is what it says, its figures are paired, its processes are counted."""

import re
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sums import wall

from sdpo_envs import Outcome
from sdpo_envs.codejudge import judge_code

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PEER = """
import json

def compute_score(solution, truth, extra_info, sparse_rewards, max_test_cases):
    print("noise")
    return {"acc": len(json.loads(truth)["inputs"]) / 40}
"""
BURNER = """
import time
while time.process_time() < 0.5:
    pass
print("done", flush=True)
input()
"""


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def judges() -> Any:
    import judges

    return judges


def submissions() -> Any:
    import work

    return work.submissions()


def test_twelve_are_right_three_wrong_three_crash_and_two_hang() -> None:
    quick = [each for each in submissions() if not each.hangs]
    limits = {"seconds": 6.0, "memory_mb": 1024}
    outcomes = Counter(judge_code(each.code, each.exam, wall(), **limits).outcome for each in quick)
    assert outcomes == {Outcome.PASSED: 12, Outcome.WRONG: 3, Outcome.CRASHED: 3}
    assert sum(each.hangs for each in submissions()) == 2
    assert {len(each.exam.cases) for each in submissions()} == {10}


@pytest.mark.parametrize("mode", ["batch", "hybrid", "isolated", "stop"])
def test_every_mode_gives_every_submission_its_share(mode: str) -> None:
    ours = {
        "batch": judges().batch_judge("batch", wall()),
        "hybrid": judges().own_judge("hybrid", wall()),
        "isolated": judges().own_judge("isolated", wall(), isolated=True),
        "stop": judges().own_judge("stop", wall(), stop="failure"),
    }[mode]
    work = submissions() if mode == "stop" else [each for each in submissions() if not each.hangs]
    assert [each.name for each in work if not ours.right(each, ours.grade(each))] == []


def test_a_peer_is_asked_in_a_process_of_its_own_and_may_print(tmp_path: Path) -> None:
    path = tmp_path / "verl" / "utils" / "reward_score" / "feedback" / "code.py"
    path.parent.mkdir(parents=True)
    path.write_text(PEER, encoding="utf-8")
    with ExitStack() as closing:
        peer = judges().peer_judge("sdpo", tmp_path, 1, closing)
        assert [peer.grade(each) for each in submissions()[:3]] == [0.25] * 3


def test_work_that_a_peer_wrongly_rejects_is_left_out_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    import judging

    peer = judges().Judge("sdpo", lambda each: float(each.name != "sieve"))
    right = [each for each in submissions() if each.share == 1.0]
    benchmark = judging.Benchmark([peer], {"pass": right}, 1, seconds=1e-6)
    benchmark.rehearse()
    assert len(benchmark.work["pass"]) == 11
    assert "sieve (sdpo)" in capsys.readouterr().out


def test_ratios_are_taken_within_a_round() -> None:
    import judging

    benchmark = judging.Benchmark([], {}, 1, seconds=1.0)
    benchmark.results["pass", "batch"] = [judging.Measured(100, 1), judging.Measured(60, 2)]
    benchmark.results["pass", "sdpo"] = [judging.Measured(10, 4), judging.Measured(5, 4)]
    assert benchmark.ratios("pass", "batch", "sdpo") == [10, 12]
    assert benchmark.ratios("pass", "batch", "sdpo", of="cpu_ms") == [0.25, 0.5]
    assert benchmark.ratios("pass", "batch", "livecodebench") == []


def test_a_wrong_verdict_in_a_round_is_reported() -> None:
    import judging

    judge = judges().Judge("forgetful", lambda each: 0.0)
    benchmark = judging.Benchmark([judge], {"pass": [submissions()[0]]}, 1, 1.0, passes={("pass", "forgetful"): 1})
    benchmark.run(0)
    assert benchmark.disagreements == ["forgetful on pairs of pass: 0.00, not 1.00"]


def test_processor_time_counts_children_that_live_and_that_were_waited_for() -> None:
    import processors

    before = processors.used_seconds()
    child = subprocess.Popen([sys.executable, "-c", BURNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    living = processors.used_seconds() - before
    child.communicate(b"\n")
    ended = processors.used_seconds() - before
    assert living > 0.4
    assert ended > living - 0.05


@pytest.mark.parametrize("path", ["trl", "plain"])
def test_distillation_is_the_same_whoever_computes_it(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import distillation
    import torch

    monkeypatch.setattr(distillation, "VOCABULARY", 300)
    monkeypatch.setattr(distillation, "WIDTH", 64)
    results = []
    for name in ("ours", path):
        policy, algorithm, samples = distillation.make_work([9, 30, 17], torch.float32)
        loss = distillation.PATHS[name](policy, algorithm, samples)
        loss.backward()
        results.append((loss.item(), torch.cat([weight.grad.flatten() for weight in policy.trainable()])))
    (ours, our_gradient), (theirs, their_gradient) = results
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert ours > 1e-3
    assert (our_gradient - their_gradient).norm() < 1e-4 * their_gradient.norm()


def test_what_a_cluster_is_measured_by_is_checked_and_its_paper_is_arithmetic(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import cluster

    rival = cluster.Rival("fake", 2, lambda submission: True, list(submissions())[:2])
    rival.rehearse(0.01)
    rival.measure()
    assert rival.rounds[0].rate > 0
    with pytest.raises(SystemExit, match="1 wrong verdicts"):
        cluster.Rival("liar", 1, lambda submission: False, list(submissions())[:1]).rehearse(0.01)
    rival.rounds = [cluster.Measured(rate=1, here_ms=2.0, below_ms=98.0)]
    cluster.print_extrapolated(rival, price=0.04)
    told = re.findall(r" {2,}([\d.]+)", capsys.readouterr().out)
    assert told == ["10204", "500", "49", "20.4", "33.3", "27.8", "1.11"]
