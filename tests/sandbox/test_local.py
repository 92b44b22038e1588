"""The local wall as a sandbox: what it offers, and how it lives and dies."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from traces import Traces
from wall import Execute, processes_below

from sdpo_envs.errors import SandboxError, SettingError
from sdpo_envs.sandbox import Program, Run, Sandbox, frames, open_sandbox, workers
from sdpo_envs.sandbox.local import LAYERS, LocalSandbox

ECHO = Program({"main.py": "print(input())"}, ("python", "main.py"), ("a\n", "b\n", "c\n"))
SLEEP = Program({"main.py": "import time; time.sleep(99)"}, ("python", "main.py"), seconds=60)


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return held


def started_by(call: Callable[[], object]) -> set[int]:
    """Return the processes that `call` has left running."""
    before = processes_below(os.getpid())
    call()
    return processes_below(os.getpid()) - before


def script(text: str) -> subprocess.Popen[str]:
    """Start a Python process of its own, for what cannot be done to the one that runs the tests."""
    imports = "from sdpo_envs.sandbox import Program\nfrom sdpo_envs.sandbox.local import LocalSandbox\n"
    environment = os.environ | {"PYTHONPATH": ":".join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", imports + textwrap.dedent(text)], stdout=subprocess.PIPE, text=True, env=environment
    )


# What it offers.


def test_it_is_a_sandbox_and_the_default_one(sandbox: LocalSandbox) -> None:
    assert isinstance(sandbox, Sandbox)
    assert isinstance(open_sandbox(), LocalSandbox)


def test_there_is_one_run_for_each_input_in_their_order(sandbox: LocalSandbox) -> None:
    assert [run.stdout for run in sandbox.run(ECHO)] == ["a\n", "b\n", "c\n"]
    assert sandbox.run(Program(ECHO.files, ECHO.argv, ())) == ()


def test_the_same_program_gives_equal_runs_on_different_workers(sandbox: LocalSandbox, fresh: LocalSandbox) -> None:
    source = "print(set('abcdef'), hash('a'))\nraise ValueError({'x', 'y'})"
    program = Program({"main.py": source}, ("python", "main.py"), ("", ""))
    assert len({*sandbox.run(program), *fresh.run(program), *fresh.run(program)}) == 1


def test_a_program_has_files_folders_modules_and_arguments(sandbox: LocalSandbox) -> None:
    files = {
        "main.py": "import sys, pack.part, queue\nprint(pack.part.f(), queue.mine, open('d/x.txt').read(), sys.argv)",
        "pack/__init__.py": "",
        "pack/part.py": "def f(): return __name__",
        "queue.py": "mine = 'shadows the standard library'",
        "d/x.txt": "é",
    }
    [run] = sandbox.run(Program(files, ("python", "main.py", "-v", "7")))
    assert run == Run(0, "pack.part shadows the standard library é ['main.py', '-v', '7']\n")


def test_a_main_file_in_a_folder_imports_its_neighbours(sandbox: LocalSandbox) -> None:
    files = {"a/main.py": "import near\nprint(near.__file__, __file__)", "a/near.py": ""}
    [run] = sandbox.run(Program(files, ("python", "a/main.py")))
    assert run.stdout == "/tmp/a/near.py /tmp/a/main.py\n"


def test_a_traceback_shows_the_frames_of_the_program_only(sandbox: LocalSandbox) -> None:
    helper = "import json\ndef parse(t):\n    return json.loads(t)"
    files = {"main.py": "import helper\nhelper.parse('{')", "helper.py": helper}
    [run] = sandbox.run(Program(files, ("python", "main.py")))
    frames = [line for line in run.stderr.splitlines() if "File" in line]
    assert frames == ['  File "main.py", line 2, in <module>', '  File "/tmp/helper.py", line 3, in parse']
    assert run.stderr.splitlines()[-1].startswith("json.decoder.JSONDecodeError: ")


def test_a_traceback_of_a_thread_shows_the_frames_of_the_program_only(execute: Execute) -> None:
    run = execute("import threading\ndef f(): 1 / 0\nt = threading.Thread(target=f); t.start(); t.join()")
    assert run.exit_code == 0
    assert run.stderr.startswith("Exception in thread Thread-1 (f):\nTraceback (most recent call last):\n")
    assert run.stderr.count("File") == run.stderr.count('File "main.py", line 2, in f') == 1


def test_a_syntax_error_is_shown_with_its_line_and_caret(execute: Execute) -> None:
    run = execute("x = 1\ny = (2\n")
    assert run == Run(1, "", "  File \"main.py\", line 2\n    y = (2\n        ^\nSyntaxError: '(' was never closed\n")


def test_a_recursion_error_is_an_ordinary_error(execute: Execute) -> None:
    run = execute("def f(): f()\nf()")
    assert run.exit_code == 1
    assert run.stderr.endswith("RecursionError: maximum recursion depth exceeded\n")


@pytest.mark.parametrize(
    ("source", "exit_code"),
    [("os.abort()", 134), ("os.kill(os.getpid(), 15)", 143), ("ctypes.string_at(0)", 139)],
)
def test_a_signal_counts_as_in_the_shell(source: str, exit_code: int, execute: Execute) -> None:
    assert execute(f"import ctypes, os\n{source}").exit_code == exit_code


@pytest.mark.parametrize(("timeouts", "skipped"), [(1, 3), (2, 1), (None, 0)])
def test_after_so_many_timeouts_the_rest_is_skipped(timeouts: int | None, skipped: int, sandbox: LocalSandbox) -> None:
    source = "import time\nif input() == 'hang': time.sleep(99)"
    inputs = ("go", "hang", "go", "hang", "go")
    runs = sandbox.run(Program({"main.py": source}, ("python", "main.py"), inputs, seconds=0.2, timeouts=timeouts))
    assert [run.skipped for run in runs] == [False] * (5 - skipped) + [True] * skipped
    assert all(run == Run(-1, skipped=True) for run in runs if run.skipped)


@pytest.mark.parametrize(("total_seconds", "skipped"), [(0.01, 2), (600.0, 0), (None, 0)])
def test_after_so_much_time_of_all_runs_the_rest_is_skipped(
    total_seconds: float | None, skipped: int, sandbox: LocalSandbox
) -> None:
    program = Program({"main.py": "import time\ntime.sleep(0.05)"}, ("python", "main.py"), ("", "", ""))
    runs = sandbox.run(replace(program, total_seconds=total_seconds))
    assert runs == (Run(0),) * (3 - skipped) + (Run(-1, skipped=True),) * skipped


@pytest.mark.parametrize(
    "argv",
    [
        *((), ("python",), ("python", "-c", "1"), ("python", "other.py"), ("bash", "main.py")),
        *(("call",), ("call", "main.py"), ("call", "other.py", "f"), ("call", "main.py", "f", "g")),
    ],
)
def test_another_command_is_refused_with_what_is_offered(argv: tuple[str, ...], sandbox: LocalSandbox) -> None:
    offered = r"offers \('python', FILE, \.\.\.\) and \('call', FILE, FUNCTION\) with FILE of \['main.py'\]"
    with pytest.raises(SandboxError, match=offered):
        sandbox.run(Program({"main.py": ""}, argv))


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/x", "..", "../x", "a/../../x", "", ".", "./x", "a/", "a//b", "a\0b"),
        *("x" * 256, "a/" * 600 + "b", "\ud800", "main.py/x"),
    ],
    ids=repr,
)
def test_a_file_name_that_is_none_is_refused(name: str, sandbox: LocalSandbox) -> None:
    with pytest.raises(ValueError, match=r"name|encode|folder"):
        sandbox.run(Program({"main.py": "", name: ""}, ("python", "main.py")))


@pytest.mark.parametrize("name", ["a b", "-", "\n", "é", "\\", "con", "a.", "...", "~", "$HOME"], ids=repr)
def test_a_strange_file_name_is_a_file_name(name: str, sandbox: LocalSandbox) -> None:
    source = "import os; print(repr(sorted(os.listdir('.'))))"
    [run] = sandbox.run(Program({"main.py": source, name: ""}, ("python", "main.py")))
    assert run.stdout == f"{sorted(['main.py', name])!r}\n"


def test_a_program_or_input_that_is_too_long_is_refused(fresh: LocalSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_LONGEST_REQUEST", 1000)
    for program in (Program({"main.py": "#" * 2000}, ECHO.argv), Program({"main.py": ""}, ECHO.argv, ("x" * 2000,))):
        with pytest.raises(ValueError, match="up to 1000 are taken"):
            fresh.run(program)
    assert fresh.run(ECHO)[0].stdout == "a\n"


def test_there_is_at_least_one_worker() -> None:
    with pytest.raises(SettingError, match="at least 1"):
        LocalSandbox(workers=0)
    assert LocalSandbox().workers == len(os.sched_getaffinity(0))


# Side by side.


def test_run_many_keeps_the_order_and_uses_every_worker(sandbox: LocalSandbox) -> None:
    def program(number: int) -> Program:
        source = f"import time\ntime.sleep({(9 - number) / 100})\nprint({number})"
        return Program({"main.py": source}, ("python", "main.py"))

    with LocalSandbox(workers=3) as three:
        results: list[list[tuple[Run, ...]]] = []
        started = started_by(lambda: results.append(three.run_many([program(number) for number in range(9)])))
    assert [run.stdout for [run] in results[0]] == [f"{number}\n" for number in range(9)]
    assert len(started) == 2 * 3, "a launcher and a worker each"


def test_threads_can_share_a_sandbox(sandbox: LocalSandbox) -> None:
    seen: dict[int, str] = {}

    def use(number: int) -> None:
        for _ in range(3):
            seen[number] = sandbox.run(Program(ECHO.files, ECHO.argv, (f"{number}",)))[0].stdout

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {number: f"{number}\n" for number in range(8)}


def test_a_copy_keeps_the_settings_and_starts_workers_of_its_own(fresh: LocalSandbox) -> None:
    fresh.run(ECHO)
    for other in (pickle.loads(pickle.dumps(fresh)), copy.deepcopy(fresh)):
        assert repr(other) == repr(fresh) == f"LocalSandbox(workers=1, layers={LAYERS})"
        before = processes_below(os.getpid())
        with other:
            other.run(ECHO)
            assert len(processes_below(os.getpid()) - before) == 2
    assert fresh.run(ECHO)[0].stdout == "a\n"


def test_a_forked_process_starts_workers_of_its_own_and_leaves_the_others_alone(sandbox: LocalSandbox) -> None:
    process = script("""
        import os, sys
        from wall import processes_below
        sandbox = LocalSandbox(workers=1)
        echo = Program({"main.py": "print(input())"}, ("python", "main.py"), ("x",))
        sandbox.run(echo)
        workers = processes_below(os.getpid())
        if (child := os.fork()) == 0:
            files = len(os.listdir("/proc/self/fd"))
            print(sandbox.run(echo)[0].stdout.strip(), len(processes_below(os.getpid())))
            print(len(os.listdir("/proc/self/fd")) == files, flush=True)
            sandbox.close()
            sys.exit(len(processes_below(os.getpid())))
        print(os.waitpid(child, 0)[1], workers == processes_below(os.getpid()), sandbox.run(echo)[0].stdout.strip())
        """)
    output, _ = process.communicate(timeout=60)
    assert output == "x 2\nTrue\n0 True x\n"


def test_it_works_in_a_daemonic_process(sandbox: LocalSandbox) -> None:
    """As in gymnasium's AsyncVectorEnv, whose workers must not have children of multiprocessing's kind."""
    process = script("""
        import multiprocessing
        def work():
            [run] = LocalSandbox(workers=1).run(Program({"main.py": "print(5)"}, ("python", "main.py")))
            print(run.stdout, flush=True)
        process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
        process.start()
        process.join()
        """)
    output, _ = process.communicate(timeout=60)
    assert output.strip() == "5"


# Life and death.


def test_close_leaves_nothing_and_a_later_run_starts_again(fresh: LocalSandbox) -> None:
    before = Traces.now()
    for _ in range(2):
        started = started_by(lambda: fresh.run(ECHO))
        assert len(started) == 2
        fresh.close()
        fresh.close()
        assert not started & processes_below(os.getpid())
        assert Traces.now() == before


def test_close_ends_a_run_in_another_thread(fresh: LocalSandbox) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            fresh.run(SLEEP)
        except SandboxError as error:
            errors.append(error)

    before = processes_below(os.getpid())
    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: len(processes_below(os.getpid()) - before) == 3)
    fresh.close()
    for thread in threads:
        thread.join()
    assert len(errors) == 3
    assert all("sandbox was closed" in str(error) for error in errors)
    assert processes_below(os.getpid()) == before
    assert fresh.run(ECHO)[0].stdout == "a\n"


def test_an_interrupted_run_leaves_the_sandbox_fit_for_use(fresh: LocalSandbox) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    fresh.run(ECHO)
    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            fresh.run(SLEEP)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert [run.stdout for run in fresh.run(ECHO)] == ["a\n", "b\n", "c\n"]


@pytest.mark.parametrize("end", ["pass", "del sandbox", "os.kill(os.getpid(), 9)", "os._exit(0)", "1 / 0"])
@pytest.mark.parametrize("busy", [False, True])
def test_nothing_outlives_the_process_that_used_it(end: str, busy: bool, sandbox: LocalSandbox) -> None:
    process = script(f"""
        import os, threading, time
        from wall import processes_below
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sandbox = LocalSandbox(workers=1)
        sandbox.run(Program({{"main.py": "print(5)"}}, ("python", "main.py")))
        sleep = Program({{"main.py": "import time; time.sleep(99)"}}, ("python", "main.py"), seconds=99)
        if {busy}:
            threading.Thread(target=sandbox.run, args=(sleep,), daemon=True).start()
            while len(processes_below(os.getpid())) < 3: time.sleep(0.01)
        print(*processes_below(os.getpid()), flush=True)
        {end}
        """)
    assert process.stdout is not None
    pids = process.stdout.readline().split()
    assert len(pids) == 2 + busy
    process.communicate(timeout=60)
    assert eventually(lambda: not any(Path("/proc", pid).exists() for pid in pids))


@pytest.mark.parametrize("which", [min, max], ids=["launcher", "worker"])
def test_a_killed_worker_is_replaced(which: Callable[[set[int]], int], fresh: LocalSandbox) -> None:
    started = started_by(lambda: fresh.run(ECHO))
    os.kill(which(started), signal.SIGKILL)
    assert [run.stdout for run in fresh.run(ECHO)] == ["a\n", "b\n", "c\n"]
    assert eventually(lambda: not started & processes_below(os.getpid()))


def test_a_worker_that_is_killed_during_a_run_is_replaced_and_the_run_repeated(fresh: LocalSandbox) -> None:
    started = started_by(lambda: fresh.run(ECHO))
    timer = threading.Timer(0.3, os.kill, (max(started), signal.SIGKILL))
    timer.start()
    [run] = fresh.run(Program({"main.py": "import time; time.sleep(1); print('late')"}, ("python", "main.py")))
    timer.join()
    assert run == Run(0, "late\n")


def test_a_silent_worker_is_replaced(fresh: LocalSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_GRACE_SECONDS", 1.0)
    started = started_by(lambda: fresh.run(ECHO))
    os.kill(max(started), signal.SIGSTOP)
    assert fresh.run(Program({"main.py": "print(1)"}, ("python", "main.py"), seconds=1))[0].stdout == "1\n"
    assert eventually(lambda: not started & processes_below(os.getpid()))


def test_a_wall_by_name_has_as_many_workers_as_are_asked_for(sandbox: LocalSandbox) -> None:
    assert open_sandbox("local", workers=3).workers == 3
    assert open_sandbox(sandbox) is sandbox
    with pytest.raises(SettingError, match="has its own"):
        open_sandbox(sandbox, workers=3)
