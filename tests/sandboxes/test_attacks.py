"""The red team. Every attack is held by every wall in every mode, and every attack is known to bite."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from catalogue import ATTACKS, FUNCTION, PROBE, SECONDS, SIGNS, Attack, Plant, Recorder, judge, told
from wall import namespaces_missing, processes_below

from sdpo_envs import explain
from sdpo_envs.sandbox import Sandbox

HERE = Path(__file__).parent
NAMESPACES = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--ipc", "--uts"]
BITING = [attack for attack in ATTACKS if attack.control != "none"]


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "batch"])
def test_an_attack_is_held(attack: Attack, isolated: bool, wall: Sandbox, plant: Plant) -> None:
    hold(attack, isolated, False, wall, plant)


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
@pytest.mark.parametrize("wall", ["local"], indirect=True)
def test_an_attack_is_held_where_nothing_stops_after_a_time_out(attack: Attack, wall: Sandbox, plant: Plant) -> None:
    hold(attack, False, True, wall, plant)


def hold(attack: Attack, isolated: bool, fraction: bool, wall: Sandbox, plant: Plant) -> None:
    """Judge an attack, which must gain nothing and leave nothing."""
    recorder = Recorder(wall)
    before = state(recorder, plant)
    processes = processes_below(os.getpid())
    function = FUNCTION if attack.function else None
    verdict = judge(attack.code, plant.tests, function, recorder, isolated, fraction=fraction)
    assert verdict.reward == 0, "It passed a test that it does not solve."
    assert not told(recorder.take(), plant.secrets), "It found what it must not find."
    assert not told([(plant.tests[0]["input"], explain(verdict).text)], plant.hidden), "It was told of hidden tests."
    assert state(recorder, plant) == before, "The next submission found another state."
    assert processes_below(os.getpid()) == processes, "It left a process, or cost one."
    assert (plant.folder / "source.py").read_text() == "# the judge's own\n"


def state(recorder: Recorder, plant: Plant) -> Any:
    """Judge an honest submission, at once, and return what it says about the state that it found."""
    verdict = judge(PROBE, plant.honest, None, recorder, isolated=True)
    assert verdict.passed, explain(verdict).text
    return [json.loads(text.partition("\n")[2]) for _, text in recorder.take()]


@pytest.mark.parametrize("attack", BITING, ids=[attack.name for attack in BITING])
def test_an_attack_bites_where_there_is_no_wall(attack: Attack, plant: Plant) -> None:
    if attack.root and os.geteuid() != 0:
        pytest.skip("It bites only a judge that is run by root.")
    if "syscall(" in attack.code and os.uname().machine != "x86_64":
        pytest.skip("It calls the kernel by the numbers of x86_64.")
    if reason := namespaces_missing():
        pytest.skip(f"There is no place to throw away: this machine refuses namespaces ({reason}).")
    assert attack.sign in signs(attack, plant)


def signs(attack: Attack, plant: Plant) -> set[str]:
    """Let the control be attacked, and return how that shows."""
    request = {
        "judge": attack.control,
        "code": attack.code,
        "function": FUNCTION if attack.function else None,
        "tests": plant.tests,
        "seconds": SECONDS if "seconds" in attack.code or attack.sign == "left" else 20 * SECONDS,
        "probe": PROBE,
        "honest": plant.honest,
    }
    users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    result = subprocess.run(
        [*NAMESPACES, *users, sys.executable, "-B", HERE / "control.py"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
    )
    (plant.folder / "source.py").write_text("# the judge's own\n", encoding="utf-8")
    report = json.loads(result.stdout)
    before, after, attacked = (report.get(name, {}) for name in ("before", "after", "attack"))
    written: Sequence[tuple[str, str]] = [*attacked.get("written", []), ("", report["stray"])]
    happened = (attacked.get("passed"), told(written, plant.secrets), report["left"], after != before)
    assert before["passed"], before
    return {sign for sign, it in zip(SIGNS, happened, strict=True) if it}


def test_of_more_than_a_hundred_attacks_few_are_not_known_to_bite_and_they_say_why() -> None:
    assert len(ATTACKS) > 100
    assert {attack.sign for attack in BITING} == {*SIGNS}
    rest = [attack for attack in ATTACKS if attack not in BITING]
    assert len(rest) < 15
    assert all(len(attack.sign.split()) > 3 for attack in rest)
