"""Runs an attack against a judge without a wall, as PID 1 of a throw-away namespace, and tells what it did there.

    unshare --pid --fork --kill-child --mount-proc --ipc --uts python control.py < REQUEST

The request is JSON: ``judge`` is "naive" or "bare" (the project's own worker, in no wall); ``code``, ``function``,
``tests``, ``seconds``; ``probe``, an honest submission that is judged before and after by the tests ``honest``. The
answer is JSON.
"""

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from os import _exit
from typing import Any

PATIENCE = 15.0  # seconds, after which the judge is taken for lost; five thousand files take a busy disk more than 5


def naive(code: str, tests: list[dict[str, str]], function: str | None, seconds: float) -> dict[str, Any]:
    """Judge as most do."""
    import naive

    report = naive.judge(code, tests, function, seconds)
    return {
        "passed": report["passed"],
        "written": [*zip((test["input"] for test in tests), report["outputs"], strict=False)],
    }


def bare() -> Callable[..., dict[str, Any]]:
    """Return a judge that is the project's own, without a wall."""
    from catalogue import Recorder, judge

    from sdpo_envs.sandbox.local import LocalSandbox

    recorder = Recorder(LocalSandbox(workers=1, layers=()))

    def judge_in_it(code: str, tests: list[dict[str, str]], function: str | None, seconds: float) -> dict[str, Any]:
        verdict = judge(code, tests, function, recorder, isolated=True, seconds=seconds)
        return {"passed": verdict.passed, "written": recorder.take()}

    return judge_in_it


def serve(request: dict[str, Any], path: str) -> None:
    """Judge the probe, the attack and the probe again, and write what was found to `path`."""
    judge = bare() if request["judge"] == "bare" else naive
    report: dict[str, Any] = {}
    for name, code, tests, function in (
        ("before", request["probe"], request["honest"], None),
        ("attack", request["code"], request["tests"], request["function"]),
        ("after", request["probe"], request["honest"], None),
    ):
        report[name] = judge(code, tests, function, request["seconds"])
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(report, file)
        os.replace(f"{path}.new", path)


def others() -> set[int]:
    """Return all processes of this namespace but this one."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return {int(name) for name in os.listdir("/proc") if name.isdigit()} - {1}


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which PID 1 does not die of, as it has no handler
    request = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as work:
        path = f"{folder}/report.json"
        judge = os.fork()
        if judge == 0:
            os.chdir(work)
            output = os.open(f"{folder}/output", os.O_RDWR | os.O_CREAT)
            for descriptor in (1, 2):
                os.dup2(output, descriptor)
            try:
                serve(request, path)
            finally:
                _exit(0)
        deadline = time.monotonic() + PATIENCE
        while judge in others() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.02)
        report: dict[str, Any] = {"left": len(others() - {judge})}
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
            report |= json.load(file)
        with open(f"{folder}/output", encoding="utf-8", errors="replace") as file:
            report["stray"] = file.read()
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
