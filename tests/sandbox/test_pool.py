"""The pool of workers behind the local wall: order, cancellation, threads, forks, and that it leaves nothing behind."""

import copy
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from traces import Traces, eventually, gone, output_of, script, worker_among
from wall import processes_below

from sdpo_envs.errors import SandboxError
from sdpo_envs.sandbox import Program, Run, frames
from sdpo_envs.sandbox.local import LocalSandbox

ECHO = Program({"main.py": "print(input())"}, ("python", "main.py"), ("a", "b", "c"))
SLEEP = Program({"main.py": "import time; time.sleep(99)"}, ("python", "main.py"), seconds=99)


@pytest.fixture
def pair(sandbox: LocalSandbox) -> Iterator[LocalSandbox]:
    """A sandbox of two workers, without processes at first."""
    with LocalSandbox(workers=2) as pair:
        yield pair


def echo(number: int) -> Program:
    return replace(ECHO, inputs=(f"{number}", f"{-number}"))


# Order.


@pytest.mark.parametrize("isolated", [True, False])
def test_results_keep_the_order_of_programs_and_inputs(isolated: bool, pair: LocalSandbox) -> None:
    source = "import time\nn = int(input())\nif n % 7 == 3: time.sleep(99)\ntime.sleep((9 - n % 10) / 100)\nprint(n)"
    programs = [
        Program(
            {"main.py": source}, ("python", "main.py"), (f"{n}", f"{100 + n}"), 0.5, timeouts=None, isolated=isolated
        )
        for n in range(14)
    ]
    found = [[run.stdout for run in runs] for runs in pair.run_many(programs)]
    expected = [["" if number % 7 == 3 else f"{number}\n" for number in (n, 100 + n)] for n in range(14)]
    assert found == expected


def test_no_programs_and_no_inputs_have_no_results(pair: LocalSandbox) -> None:
    assert pair.run_many([]) == []
    assert pair.run_many([replace(ECHO, inputs=()), echo(1)])[0] == ()


def test_many_threads_can_run_many_programs_each(pair: LocalSandbox) -> None:
    def use(thread: int) -> list[tuple[Run, ...]]:
        return pair.run_many([echo(100 * thread + number) for number in range(8)])

    before = processes_below(os.getpid())
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(use, range(8)))
    found = [[int(run.stdout) for runs in result for run in runs] for result in results]
    assert found == [[sign * (100 * t + n) for n in range(8) for sign in (1, -1)] for t in range(8)]
    assert len(processes_below(os.getpid()) - before) == 2 * 2, "two launchers and two workers"


# Cancellation.


def test_closing_ends_every_run_of_run_many(pair: LocalSandbox) -> None:
    errors: list[str] = []

    def use() -> None:
        try:
            pair.run_many([SLEEP] * 6)
        except SandboxError as error:
            errors.append(str(error))

    before = processes_below(os.getpid())
    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: len(processes_below(os.getpid()) - before) == 3 * 2)
    pair.close()
    for thread in threads:
        thread.join(timeout=60)
    assert len(errors) == 3
    assert all("closed" in error for error in errors)
    assert processes_below(os.getpid()) == before
    assert pair.run(echo(1))[0].stdout == "1\n"


def test_an_error_of_one_program_stops_the_others(pair: LocalSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_LONGEST_REQUEST", 10_000)
    too_long = replace(ECHO, inputs=("x" * 20_000,))
    with pytest.raises(ValueError, match="are taken"):
        pair.run_many([SLEEP, too_long, SLEEP, SLEEP, SLEEP])
    assert pair.run(echo(1))[0].stdout == "1\n"


def test_an_exception_in_the_waiting_thread_stops_the_programs(pair: LocalSandbox) -> None:
    def give_up(*_: object) -> None:
        raise RuntimeError("enough")

    before = processes_below(os.getpid())
    pair.run(ECHO)
    previous = signal.signal(signal.SIGALRM, give_up)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(RuntimeError, match="enough"):
            pair.run_many([SLEEP] * 8)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert [run.stdout for run in pair.run(echo(2))] == ["2\n", "-2\n"]
    pair.close()
    assert processes_below(os.getpid()) == before


def test_control_c_stops_the_programs_and_leaves_the_sandbox_fit_for_use(sandbox: LocalSandbox) -> None:
    process = script("""
        sandbox = LocalSandbox(workers=2)
        threading.Thread(target=lambda: eventually(busy(2)) and os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            sandbox.run_many([SLEEP] * 8)
        except KeyboardInterrupt:
            tell("interrupted")
        tell(sandbox.run(ECHO)[0].stdout.strip())
        sandbox.close()
        tell(len(processes_below(os.getpid())))
        """)
    output, _ = process.communicate(timeout=60)
    assert output.split() == ["interrupted", "x", "0"]


# What is left behind.


def test_a_with_block_leaves_nothing(sandbox: LocalSandbox) -> None:
    before = Traces.now()
    with LocalSandbox(workers=2) as pair:
        pair.run_many([echo(number) for number in range(6)])
        assert len(Traces.now().processes - before.processes) == 2 * 2
    assert Traces.now() == before


def test_an_exception_in_a_with_block_leaves_nothing(sandbox: LocalSandbox) -> None:
    def use() -> None:
        with LocalSandbox(workers=1) as one:
            one.run(ECHO)
            raise ZeroDivisionError

    before = Traces.now()
    with pytest.raises(ZeroDivisionError):
        use()
    assert Traces.now() == before


def test_a_sandbox_that_is_forgotten_leaves_nothing(sandbox: LocalSandbox) -> None:
    before = Traces.now()
    LocalSandbox(workers=1).run(ECHO)
    assert eventually(lambda: Traces.now() == before)


def test_runs_of_every_kind_leave_no_descriptor_and_no_process(pair: LocalSandbox) -> None:
    sources = [
        "print(1)",
        "1 / 0",
        "import os; os._exit(3)",
        "import os; os.kill(os.getpid(), 9)",
        "print('x' * 2**21)",
    ]
    sources += ["import os\nfor _ in range(3):\n    if not os.fork(): __import__('time').sleep(99)", "while 1: pass"]
    programs = [Program({"main.py": text}, ("python", "main.py"), ("", ""), 0.3, isolated=False) for text in sources]
    pair.run_many(programs)
    before = Traces.now()
    for _ in range(5):
        pair.run_many(programs)
    assert Traces.now() == before


def test_lost_workers_leave_no_zombie_and_no_descriptor(sandbox: LocalSandbox) -> None:
    before = Traces.now()
    with LocalSandbox(workers=1) as one:
        for _ in range(3):
            one.run(ECHO)
            os.kill(worker_among(Traces.now().processes - before.processes), signal.SIGKILL)
        one.run(ECHO)
    assert Traces.now() == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_nothing_outlives_a_host_process_that_a_signal_ends(
    number: signal.Signals, busy: bool, sandbox: LocalSandbox
) -> None:
    process = script(f"""
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sandbox = LocalSandbox(workers=2)
        sandbox.run_many([ECHO] * 4)
        threading.Thread(target=lambda: tell(not {busy} or eventually(busy(2)))).start()
        sandbox.run_many([SLEEP] * 4 * {busy})
        time.sleep(99)
        """)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    pids = processes_below(process.pid)
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    assert len(pids) >= 2
    assert eventually(lambda: gone(pids))


# Processes.


def test_a_fork_in_the_midst_of_a_run_does_not_disturb_it(sandbox: LocalSandbox) -> None:
    output = output_of("""
        sandbox = LocalSandbox(workers=2)
        nap = Program({"main.py": "import time; time.sleep(1); print('rested')"}, ("python", "main.py"))
        results = []
        thread = threading.Thread(target=lambda: results.extend(sandbox.run_many([nap] * 2)))
        thread.start()
        eventually(busy(2))
        if (child := os.fork()) == 0:
            status = sandbox.run(ECHO)[0].stdout != "x\\n"
            sandbox.close()
            os._exit(status)
        tell(os.waitpid(child, 0)[1])
        thread.join()
        tell(*(run.stdout.strip() for [run] in results))
        """)
    assert output.split() == ["0", "rested", "rested"]


def test_an_idle_fork_keeps_no_worker_of_its_parent_alive(sandbox: LocalSandbox) -> None:
    """It has a copy of the parent's pipes, and never touches the sandbox."""
    output = output_of("""
        sandbox = LocalSandbox(workers=1)
        sandbox.run(ECHO)
        if (child := os.fork()) == 0:
            time.sleep(99)
        sandbox.close()
        tell(processes_below(os.getpid()) == {child})
        os.kill(child, signal.SIGKILL)
        """)
    assert output == "True\n"


def test_gymnasium_s_daemonic_workers_have_sandboxes_of_their_own(sandbox: LocalSandbox) -> None:
    output = output_of("""
        import gymnasium, sdpo_envs
        make = lambda: gymnasium.make("sdpo/LiveCodeBench-v0", sandbox=LocalSandbox(workers=1))
        envs = gymnasium.vector.AsyncVectorEnv([make] * 2, shared_memory=False, daemon=True)
        envs.reset(seed=0)
        plain = gymnasium.make("sdpo/LiveCodeBench-v0", sandbox="local").unwrapped
        for answer in (None, "```python\\nprint(0)\\n```"):
            _, infos = envs.reset(seed=0)
            right = [plain.oracle(plain.find(name)) for name in infos["task_id"]]
            tell(*envs.step([answer] * 2 if answer else right)[1])
        eventually(lambda: len(processes_below(os.getpid())) == 6)
        tell(len(processes_below(os.getpid())))
        envs.close()
        plain.close()
        tell(len(processes_below(os.getpid())))
        """)
    assert output.split() == ["1.0", "1.0", "0.0", "0.0", "6", "0"]


def test_a_copy_and_an_unpickled_one_have_workers_of_their_own(pair: LocalSandbox) -> None:
    pair.run_many([echo(1), echo(2)])
    before = Traces.now()
    for other in (pickle.loads(pickle.dumps(pair)), copy.deepcopy(pair), copy.copy(pair)):
        with other:
            assert other.run(echo(3))[1].stdout == "-3\n"
            assert len(Traces.now().processes - before.processes) == 2
        assert Traces.now() == before


def test_a_run_that_waits_for_a_worker_gets_one_when_another_is_done(sandbox: LocalSandbox) -> None:
    with LocalSandbox(workers=1) as one, ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(one.run, echo(number)) for number in range(12)]
        assert [future.result(timeout=60)[0].stdout for future in futures] == [f"{number}\n" for number in range(12)]


def test_closing_twice_from_several_threads_is_safe(pair: LocalSandbox) -> None:
    pair.run_many([echo(1), echo(2)])
    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(pair.close) for _ in range(4)]:
            future.result(timeout=60)
    assert pair.run(echo(4))[0].stdout == "4\n"
