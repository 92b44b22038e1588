"""Batch mode, attacked: what one run leaves behind neither fails nor passes another, and no run is told of another."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from catalogue import ATTACKS
from traces import worker_among
from wall import namespaces_missing, processes_below

from sdpo_envs import Outcome, Sandbox, explain
from sdpo_envs.codejudge import Case, Exam, judge_code
from sdpo_envs.sandbox import Program
from sdpo_envs.sandbox.local import LocalSandbox

DOUBLE = Exam(tuple(Case(f"{number}\n", f"{2 * number}\n", public=number == 1) for number in range(1, 6)))
MAIN = ("python", "main.py")

# Right programs that leave something behind, and right programs that would be wrong if they found it.

IMPORTS = """\
import atexit, builtins, contextlib, gc, io, json, os, random, resource, signal, struct, sys, threading, time, weakref
from decimal import Decimal, getcontext
"""
LEFT_BEHIND = {
    "another print": "builtins.print = lambda *_: None",
    "another input": "builtins.input = lambda: '7'",
    "another int": "builtins.int = str",
    "a module without functions": "vars(json).clear()",
    "no modules": "sys.modules.clear()",
    "an os that cannot": "os.write = os.fstat = os.ftruncate = os.lseek = None",
    "a clock that stands still": "time.monotonic = lambda: 0.0",
    "a struct that lies": "struct.pack = struct.Struct = None",
    "a closed input": "sys.stdin.close()",
    "a closed output": "sys.stdout.close()",
    "closed descriptors": "sys.stdout.flush()\nos.closerange(0, 256)",
    "another descriptor for output": "sys.stdout.flush()\nos.dup2(os.open('x', 66), 1)",
    "another stream for output": "sys.stdout.flush()\nsys.stdout = io.StringIO()",
    "another path": "os.mkdir('d')\nos.chdir('d')\nsys.path.clear()",
    "another program": "open('main.py', 'w').write('1 / 0')",
    "no program": "os.remove('main.py')",
    "a sealed folder": "os.chmod('.', 0)",
    "a full folder": (
        "sys.stdout.flush()\ntry:\n    for n in range(99): open(str(n), 'wb').write(bytes(1 << 22))\n"
        "except OSError: 0"
    ),
    "a trace": "def trace(*_): sys.traced = True\nsys.settrace(trace)",
    "a profile": "def profile(*_): sys.profiled = True\nsys.setprofile(profile)",
    "an exit function": "atexit.register(print, end='')",
    "an exit function that ends all": "sys.stdout.flush()\natexit.register(os._exit, 0)",
    "a weak finalizer": "weakref.finalize(sys, print, end='')",
    "a callback of the collector": "gc.callbacks.append(lambda *_: print(end=''))",
    "no collector": "gc.disable()",
    "a hook for errors": "sys.excepthook = sys.unraisablehook = None",
    "a hook for the import": "sys.meta_path.clear()\nsys.path_hooks.clear()",
    "a hook for events": "sys.addaudithook(lambda *_: 1 / 0)",
    "a thread": "threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
    "a thread that prints": (
        "sys.stdout.flush()\ndef say():\n    time.sleep(0.05)\n    print('x', flush=True)\n"
        "threading.Thread(target=say, daemon=True).start()"
    ),
    "a timer": "sys.stdout.flush()\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\ntime.sleep(0.005)",
    "an alarm handler": "signal.signal(signal.SIGTERM, lambda *_: print('x'))",
    "blocked signals": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))",
    "lower limits": "sys.stdout.flush()\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))",
    "no descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))",
    "little memory": "resource.setrlimit(resource.RLIMIT_AS, (1 << 20, 1 << 20))",
    "a low recursion limit": "sys.setrecursionlimit(30)",
    "a short number limit": "sys.set_int_max_str_digits(640)",
    "a silent death": "sys.stdout.flush()\nos._exit(0)",
    "an exit": "sys.exit()",
    "an exit that ends nothing": "os._exit = os.kill = lambda *_: None",
    "a process": "sys.stdout.flush()\nif os.fork() == 0: time.sleep(9); os._exit(0)",
    "a process that prints": (
        "sys.stdout.flush()\nif os.fork() == 0:\n    time.sleep(0.05)\n    os.write(1, b'x')\n    os._exit(0)"
    ),
    "forged marks": (
        "sys.stdout.flush()\nfor n in range(3, 99):\n"
        "    with contextlib.suppress(OSError): os.write(n, struct.pack('!QQBd', 99, 99, 7, -1.0) * 9)"
    ),
    "a torn mark": (
        "sys.stdout.flush()\nfor n in range(3, 99):\n    with contextlib.suppress(OSError): os.write(n, b'x')"
    ),
}  # fmt: skip
REFUSED_WITH_THREADS_ONLY = ("a process", "a process that prints", "a sealed folder")
FOUND = {
    "a finalizer": "class X:\n    def __del__(self): print(end='')\nx = X()\nprint(2 * int(input()))",
    "much memory": "sys.kept = getattr(sys, 'kept', []) + [bytearray(60 << 20)]\nprint(2 * int(input()))",
    "another precision": (
        "from decimal import Decimal, getcontext\nprint(Decimal(2) * int(input()))\ngetcontext().prec = 1"
    ),
    "another seed": "assert random.random() != 0.25\nprint(2 * int(input()))\nrandom.random = lambda: 0.25",
    "a count": "sys.count = getattr(sys, 'count', 0) + 1\nprint(2 * int(input()) * sys.count)",
    "a file": "print(2 * int(input()) if not os.path.exists('x') else 'again')\nopen('x', 'w').close()",
}  # fmt: skip
RIGHT = {name: f"{IMPORTS}print(2 * int(input()))\n{code}" for name, code in LEFT_BEHIND.items()}
RIGHT |= {name: IMPORTS + code for name, code in FOUND.items()}


@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "batch"])
@pytest.mark.parametrize("left", RIGHT)
def test_what_a_run_leaves_behind_fails_no_other(left: str, isolated: bool, wall: Sandbox) -> None:
    if left in REFUSED_WITH_THREADS_ONLY and "threads" in getattr(wall, "layers", ()):
        pytest.skip("Behind this wall programs start no processes, and change no modes.")
    verdict = judge_code(RIGHT[left], DOUBLE, wall, seconds=1.0, memory_mb=256, isolated=isolated)
    assert verdict.passed, explain(verdict, reveal=True).text


@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "batch"])
@pytest.mark.parametrize("stop", ["never", "timeout", "failure"])
def test_runs_side_by_side_or_in_turn_tell_a_public_test_nothing(stop: str, isolated: bool, wall: Sandbox) -> None:
    """Hidden runs hang and try to tell a public run their inputs: by files, and by locks on files that all see."""
    code = """
import os, time
text = input()
if "secret" in text:
    open("message", "w").write(text)
    time.sleep(9)
end = time.monotonic() + 0.2
while time.monotonic() < end:
    for folder in (".", "/dev/shm"):
        for name in os.listdir(folder):
            if name == "message":
                print(open(f"{folder}/{name}").read(), flush=True)
    time.sleep(0.01)
"""
    cases = [Case("1", "x", public=True), *(Case(f"secret-{n}", "x") for n in range(3)), Case("2", "x", public=True)]
    verdict = judge_code(code, Exam(tuple(cases)), wall, seconds=0.5, memory_mb=96, isolated=isolated, stop=stop)
    assert not verdict.passed
    assert "secret" not in explain(verdict).text


def test_runs_that_kill_one_another_side_by_side_harm_their_own_program_only(wall: Sandbox) -> None:
    """One kills all that it can see, one fills the disk, one is right: with time-outs these run together."""
    code = """
import os, signal, time
what = input()
if what == "hang": time.sleep(9)
if what == "fill":
    try:
        for number in range(999): open(f"fill{number}", "wb").write(bytes(1 << 22))
    except OSError: time.sleep(9)
if what == "kill":
    time.sleep(0.1); os.kill(-1, signal.SIGKILL)
time.sleep(0.2)
open("mine", "w").write("x")
print("right")
"""
    inputs = ("hang", "fill", "kill", "right", "right")
    cases = tuple(Case(text, "right") for text in inputs)
    verdict = judge_code(code, Exam(cases), wall, seconds=0.5, memory_mb=96, fraction=True)
    assert verdict.reward <= 3 / 5, explain(verdict, reveal=True).text
    assert judge_code("print(input())", Exam((Case("right", "right"),)), wall, seconds=2.0, memory_mb=96).passed


def test_what_needs_little_time_has_it_beside_a_hang_on_a_busy_machine(wall: Sandbox) -> None:
    code = """
import time
if input() == "hang":
    while True: pass
while time.process_time() < 0.03: pass
print("right")
"""
    cases = tuple(Case(text, "right") for text in ("hang", *("quick",) * 20))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        verdict = judge_code(code, Exam(cases), wall, seconds=4, memory_mb=96, fraction=True)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert verdict.reward == 20 / 21, explain(verdict, reveal=True).text


def test_what_hangs_only_when_it_is_alone_takes_the_time_of_few_hangs(wall: Sandbox) -> None:
    """In company it has a descriptor for marks; there it crashes, and is run again."""
    code = "import os, time\ntry: os.fstat(3)\nexcept OSError: time.sleep(99)\n1 / 0"
    started = time.monotonic()
    verdict = judge_code(code, Exam(DOUBLE.cases[:1] * 8), wall, seconds=2, memory_mb=96, fraction=True)
    assert time.monotonic() - started < 4 * 2
    assert verdict.outcome is Outcome.TIMED_OUT


def test_a_program_that_imitates_the_worker_s_questions_does_not_silence_it(wall: Sandbox) -> None:
    [code] = [attack.code for attack in ATTACKS if attack.name == "imitated_question"]
    cases = tuple(Case(f'{{"seconds": 3, "number": {number}}}', "x") for number in range(3))
    verdict = judge_code(code, Exam(cases), wall, seconds=3, memory_mb=96)
    assert verdict.outcome in (Outcome.CRASHED, Outcome.TIMED_OUT)


def test_a_process_of_many_runs_has_the_time_of_one(wall: Sandbox) -> None:
    """A run cannot hand on time that it has saved, nor can a process that lies about what it has done."""
    code = "import os, struct, time\nos.write(3, struct.pack('!QQBd', 0, 0, 0, 0.0) * 5)\ntime.sleep(9)"
    program = Program({"main.py": code}, MAIN, ("",) * 5, seconds=0.4, isolated=False)
    runs = wall.run(program)
    assert sum(run.seconds for run in runs) < 2 * program.seconds
    assert not any(run.stdout for run in runs)


@pytest.mark.parametrize("isolated", [True, False])
def test_a_run_that_hangs_is_timed_out_whatever_it_has_written(isolated: bool, wall: Sandbox) -> None:
    code = RIGHT["a torn mark"].replace("print(2 * int(input()))", "") + "\ntime.sleep(9)"
    program = Program({"main.py": code}, MAIN, ("",), seconds=0.3, isolated=isolated)
    (run,) = wall.run(program)
    assert run.timed_out


@pytest.mark.parametrize("code", [0, 1, 2, 99, 120, 137, 199, 200, 201, 202, 254, 255])
def test_every_exit_code_is_the_program_s_own(code: int, wall: Sandbox) -> None:
    program = Program({"main.py": f"import os\nprint('once', flush=True)\nos._exit({code})"}, MAIN, ("", ""))
    for isolated in (True, False):
        assert {(run.exit_code, run.stdout) for run in wall.run(replace(program, isolated=isolated))} == {
            (code, "once\n")
        }


def test_a_wrong_program_that_learns_from_other_runs_is_wrong_in_both_modes(wall: Sandbox) -> None:
    """It has all inputs of its process, and still no output."""
    code = "import sys\nframe = sys._getframe()\nwhile frame.f_back: frame = frame.f_back\nprint(dir(frame.f_locals))"
    verdicts = [
        judge_code(code, DOUBLE, wall, seconds=1, memory_mb=96, isolated=isolated) for isolated in (True, False)
    ]
    assert verdicts[0] == verdicts[1]
    assert verdicts[0].outcome is Outcome.WRONG


@pytest.mark.parametrize("isolated", [True, False])
def test_output_that_is_only_announced_is_too_much_output(isolated: bool, wall: Sandbox) -> None:
    """Files without content are as long as one likes; neither host nor worker may choke on them."""
    code = """
import contextlib, os
for descriptor in range(1, 4):
    for length in range(34, 10, -1):
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 1 << length)
            break
"""
    code = "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n" + code
    program = Program({"main.py": code}, MAIN, ("",) * 64, output_kb=4096, isolated=isolated)
    runs = wall.run(program)
    assert runs[0].too_much_output
    assert all(len(run.stdout) <= 4096 << 10 for run in runs)


def fewest(descriptors: Path) -> int:
    """Return how few are open within half a second: a worker sweeps only after it has answered."""
    counts = []
    for _ in range(50):
        counts.append(len(list(descriptors.iterdir())))
        time.sleep(0.01)
    return min(counts)


def test_neighbours_that_find_room_for_some_of_their_files_only_leave_none_of_them_open() -> None:
    """A program leaves two inodes free and hangs, so that what is to run beside it cannot be started."""
    if os.geteuid() != 0 or namespaces_missing():
        pytest.skip("Only root may count the descriptors of a worker, and it needs namespaces to be one.")
    code = """
import os
try:
    for number in range(9999): os.mkdir(f"{number}")
except OSError: os.rmdir("0"); os.rmdir("1")
while True: pass
"""
    hang = Program({"main.py": code}, MAIN, ("", ""), seconds=0.8, timeouts=None)
    others = processes_below(os.getpid())
    with LocalSandbox(1) as sandbox:
        sandbox.run(Program({"main.py": ""}, MAIN))
        descriptors = Path(f"/proc/{worker_among(processes_below(os.getpid()) - others)}/fd")
        before = fewest(descriptors)
        for _ in range(3):
            assert all(run.timed_out for run in sandbox.run(hang))
        sandbox.run(Program({"main.py": ""}, MAIN))
        assert fewest(descriptors) == before
