"""A judge as many are: a forked copy of itself, with the expected outputs in it, runs the submission and compares.

It is the control of the red team and has to be fooled. Its ways are those of the judges in use: it patches the streams,
compares inside, ends a test by SIGALRM, reads what the copy reports from a pipe, and takes a silent exit for a success.
"""

import contextlib
import io
import json
import os
import select
import signal
import struct
import sys
import time
from typing import Any

ENCODE = json.JSONEncoder().encode
LENGTH = struct.Struct("!I")


class Capture(io.StringIO):
    """Standard output, or standard error, of a submission."""


def judge(code: str, tests: list[dict[str, str]], function: str | None, seconds: float) -> dict[str, Any]:
    """Run `code` on every test; return whether all passed, and what was written up to the first that did not."""
    with open("tests.json", "w+", encoding="utf-8") as file:
        json.dump(tests, file)
        file.flush()
        outputs, passed = [], True
        for test in tests:
            report = run(code, test, tests, function, seconds)
            outputs.append(str(report["output"]))
            passed = report["passed"]
            if not passed:
                break
    return {"passed": passed, "outputs": outputs}


def run(code: str, test: dict[str, str], tests: list[dict[str, str]], function: str | None, seconds: float) -> Any:
    """Run one test in a fork and return its report."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer(writer, attempt(code, test, function, seconds))
    os.close(writer)
    try:
        return receive(reader, pid, 5 * seconds)
    finally:
        os.close(reader)


def attempt(code: str, test: dict[str, str], function: str | None, seconds: float) -> dict[str, Any]:
    """Run the submission inside this process and compare what it did."""
    signal.signal(signal.SIGALRM, raise_timeout)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    sys.stdin = io.StringIO(test["input"])
    sys.stdout, sys.stderr = Capture(), Capture()
    passed = False
    try:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(code, "submission.py", "exec"), namespace)
        if function is None:
            passed = same(sys.stdout.getvalue().split(), test["output"].split())
        else:
            arguments = [json.loads(line) for line in test["input"].splitlines()]
            passed = same_value(namespace[function](*arguments), json.loads(test["output"]))
    except SystemExit as error:
        os._exit(error.code if isinstance(error.code, int) else 1)
    except Exception as error:  # noqa: BLE001 - it may be anything
        print(repr(error), file=sys.stderr)
    return {"passed": passed, "output": sys.stdout.getvalue() + sys.stderr.getvalue()}


def raise_timeout(*_: object) -> None:
    raise TimeoutError("time limit exceeded")


def same(found: list[str], expected: list[str]) -> bool:
    return len(found) == len(expected) and all(map(str.__eq__, found, expected))


def same_value(found: Any, expected: Any) -> bool:
    return bool(found == expected) or json.dumps(found, default=str) == json.dumps(expected)


def answer(writer: int, report: dict[str, Any]) -> None:
    """Report to the judge and end this process."""
    body = ENCODE(report).encode()
    with open(writer, "wb") as pipe:
        pipe.write(LENGTH.pack(len(body)) + body)
    os._exit(0)


def receive(reader: int, pid: int, patience: float) -> Any:
    """Return the report of a process. One that ended without a report, and without an error, did nothing wrong."""
    deadline = time.monotonic() + patience
    ready, _, _ = select.select([reader], [], [], patience)
    head = os.read(reader, LENGTH.size) if ready else b""
    if len(head) == LENGTH.size:
        body = bytearray()
        while len(body) < LENGTH.unpack(head)[0]:
            body += os.read(reader, 1 << 16)
        return json.loads(body)
    status = None
    while status is None and time.monotonic() < deadline:
        ended, code = os.waitpid(pid, os.WNOHANG)
        status = code if ended else time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    return {"passed": status == 0, "output": ""}
