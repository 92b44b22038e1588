"""Faults: each is mended without a trace or is a `SandboxError` that says what broke. None is ever a verdict."""

import contextlib
import itertools
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_worker import ADVICE, FakeChannel, outputs, pool_of
from traces import Traces, eventually, output_of, worker_among
from wall import processes_below

from sdpo_envs import Outcome
from sdpo_envs.codejudge import Case, Exam, judge_code
from sdpo_envs.errors import SandboxError
from sdpo_envs.livecodebench import LiveCodeBench, LiveCodeBenchGroup
from sdpo_envs.sandbox import Program, Run, workers
from sdpo_envs.sandbox.local import LocalSandbox
from sdpo_envs.sandbox.workers import WorkerPool

ROOT = Path(__file__).parents[2]
SQUARES = Exam(tuple(Case(f"{n}\n", f"{n * n}\n") for n in range(6)))
SQUARE = "print(int(input()) ** 2)"


# What an environment makes of it.


def test_a_group_has_no_reward_for_an_attempt_whose_wall_broke() -> None:
    pool, _ = pool_of(*[lambda _: ()] * 4)
    envs = LiveCodeBenchGroup(num_envs=2, group_size=2, sandbox=pool)
    envs.reset(seed=0)
    _, rewards, terminations, truncations, infos = envs.step(["```python\nprint(1)\n```"] * 2)
    assert all(map(math.isnan, rewards))
    assert not terminations.any()
    assert truncations.all()
    assert list(infos["verdict"]) == [None, None]
    assert all(error.startswith("SandboxError: The worker of the sandbox ended") for error in infos["error"])


def test_an_attempt_whose_wall_broke_can_be_made_again(sandbox: LocalSandbox) -> None:
    broken = iter([FakeChannel(lambda _: ())] * 2)
    with contextlib.closing(WorkerPool(1, lambda: next(broken, None) or sandbox._pool._connect(), ADVICE)) as pool:
        env = LiveCodeBench(sandbox=pool)
        env.reset(seed=0)
        right = str(env.oracle(env.task))
        with pytest.raises(SandboxError):
            env.step(right)
        _, reward, terminated, _, info = env.step(right)
    assert (reward, terminated, info["verdict"].outcome) == (1.0, True, Outcome.PASSED)


# Behind the real wall.


@pytest.fixture
def fresh(sandbox: LocalSandbox) -> Iterator[LocalSandbox]:
    """A sandbox of one worker that a test may break."""
    with LocalSandbox(workers=1) as fresh:
        yield fresh


def kill_worker(before: Traces, busy: Callable[[int], bool]) -> None:
    """Kill the worker that has started since, once there are so many processes."""

    def started() -> set[int]:
        return processes_below(os.getpid()) - before.processes

    assert eventually(lambda: busy(len(started())))
    launcher = min(started())
    os.kill(min(started() - {launcher}), signal.SIGKILL)


@pytest.mark.parametrize("isolated", [True, False])
def test_a_worker_killed_in_the_midst_of_a_program_costs_nothing(isolated: bool, fresh: LocalSandbox) -> None:
    before = Traces.now()
    source = "import time\nn = input()\ntime.sleep(0.3)\nprint(n)"
    inputs = tuple(map(str, range(5)))
    killer = threading.Thread(target=kill_worker, args=(before, lambda count: count == 3))
    killer.start()
    program = Program({"main.py": source}, ("python", "main.py"), inputs, isolated=isolated)
    assert outputs(fresh.run(program)) == [f"{text}\n" for text in inputs]
    killer.join()


def test_a_worker_that_is_killed_every_time_is_a_sandbox_error(fresh: LocalSandbox) -> None:
    before, over = Traces.now(), threading.Event()

    def kill_all() -> None:
        while not over.wait(0.05):
            started = processes_below(os.getpid()) - before.processes
            if len(started) == 3:
                os.kill(worker_among({min(started)}), signal.SIGKILL)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with pytest.raises(SandboxError, match="The worker of the sandbox ended"):
            judge_code("import time\ntime.sleep(5)\nprint(1)", SQUARES, fresh, seconds=9.0, memory_mb=256)
    finally:
        over.set()
        killer.join()
    assert judge_code(SQUARE, SQUARES, fresh, seconds=5.0, memory_mb=256).passed


FILL = {
    "bytes": "for n in range(99): open(str(n), 'wb').write(bytes(15 << 20))",
    "files": "for n in range(99_999): open(str(n), 'wb').close()",
    "folders": "for n in range(99_999): os.mkdir(str(n))",
    "one deep path": "for n in range(99_999): os.mkdir('x'); os.chdir('x')",
}


@pytest.mark.parametrize("name", FILL)
@pytest.mark.parametrize("isolated", [True, False])
def test_a_full_file_system_hurts_nobody_else(name: str, isolated: bool, sandbox: LocalSandbox) -> None:
    fill = f"    try:\n        {FILL[name]}\n    except OSError as e: os._exit(e.errno)"
    source = f"import os\nif input() == 'fill':\n{fill}\nprint(1)"
    program = Program({"main.py": source}, ("python", "main.py"), ("fill", "go", "fill", "go"), 20.0, isolated=isolated)
    runs = sandbox.run(program)
    assert [run.exit_code for run in runs] == [28, 0, 28, 0]
    assert sandbox.run(replace(program, inputs=("go",)))[0] == Run(0, "1\n")


def test_what_fills_the_file_system_and_stays_does_not_fail_the_next_test(sandbox: LocalSandbox) -> None:
    fill = "try:\n    for n in range(99): open(f'{n}', 'wb').write(bytes(15 << 20))\nexcept OSError: pass\n"
    verdict = judge_code(
        f"{SQUARE}\nimport sys\nsys.stdout.flush()\n{fill}", SQUARES, sandbox, seconds=20.0, memory_mb=256
    )
    assert verdict.passed


@pytest.mark.skipif(os.geteuid() != 0, reason="skips a full disk: only root can mount one")
def test_a_full_disk_of_the_host_does_not_matter(sandbox: LocalSandbox, tmp_path: Path) -> None:
    mount = (
        'mount -t tmpfs -o size=64k tmpfs "$0" && cd "$0" && head -c 99999 /dev/zero > fill; export HOME=$0 TMPDIR=$0'
    )
    output = output_of(
        """
        import pathlib
        try: pathlib.Path("more").write_text("x" * 5000)
        except OSError as error: tell(error.errno)
        sandbox = LocalSandbox(workers=1)
        tell(sandbox.run(ECHO)[0].stdout.strip())
        sandbox.close()
        """,
        *("unshare", "--mount", "sh", "-c", f'{mount} && head -c 64k /dev/zero > fill && exec "$@"', tmp_path),
    )
    assert output.split() == ["28", "x"]


def test_a_program_that_the_kernel_kills_for_want_of_memory_is_not_judged(sandbox: LocalSandbox) -> None:
    """It kept to its own limit; on a machine with more memory it would pass."""
    group = Path("/sys/fs/cgroup/memory", f"sdpo-envs-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(f"{200 << 20}")
    except OSError as error:
        pytest.skip(f"skips a full memory: this machine offers no memory cgroup of version 1 ({error.strerror})")
    try:
        output = output_of(f"""
            from pathlib import Path
            Path("{group}/cgroup.procs").write_text(str(os.getpid()))
            sandbox = LocalSandbox(workers=1)
            greedy = Program({{"main.py": "x = b'1' * (500 << 20); print(len(x))"}}, ("python", "main.py"))
            try: tell(sandbox.run(greedy))
            except SandboxError as error: tell(error)
            tell(sandbox.run(ECHO)[0].stdout.strip())
            sandbox.close()
            """)
    finally:
        assert eventually(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()
    first, last = output.splitlines()
    assert first.startswith("The worker of the sandbox ")
    assert "memory" in first
    assert last == "x"


@pytest.mark.parametrize("isolated", [True, False])
def test_memory_that_runs_out_elsewhere_does_not_cost_a_slow_program_its_verdict(
    isolated: bool, fresh: LocalSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel counts for the whole machine."""
    kills = itertools.count()
    monkeypatch.setattr(workers, "_kernel_kills", lambda: next(kills))
    source = "import time\nn = int(input())\ntime.sleep(n)\nprint(n)"
    program = Program({"main.py": source}, ("python", "main.py"), ("0", "1", "0", "9"), 2.0, isolated=isolated)
    runs = fresh.run(program)
    assert outputs(runs) == ["0\n", "1\n", "0\n", ""]
    assert [run.timed_out for run in runs] == [False, False, False, True]


def test_a_wall_clock_that_jumps_changes_no_verdict(fresh: LocalSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = iter(range(1, 10**6))
    monkeypatch.setattr(time, "time", lambda: (-1.0) ** (jump := next(jumps)) * jump * 1e7)
    assert judge_code(SQUARE, SQUARES, fresh, seconds=5.0, memory_mb=256).passed
    hang = judge_code("while True: pass", SQUARES, fresh, seconds=0.3, memory_mb=256)
    assert hang.outcome is Outcome.TIMED_OUT


@pytest.mark.parametrize(
    "pattern", ["sdpo_envs/sandbox/channel.py", "sdpo_envs/sandbox/workers.py", "sandboxes/python/*.py"]
)
def test_no_limit_is_kept_by_the_wall_clock(pattern: str) -> None:
    """No test can move the machine's clock; so nothing that runs a program may read it."""
    sources = sorted(ROOT.glob(pattern))
    assert sources
    for source in sources:
        text = source.read_text(encoding="utf-8")
        assert not [name for name in ("time.time", "datetime.now", "CLOCK_REALTIME") if f"{name}(" in text]


def test_a_host_without_descriptors_is_told_so_and_works_again_later(sandbox: LocalSandbox) -> None:
    output = output_of("""
        import resource
        sandbox = LocalSandbox(workers=1)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 1, hard))
        try: sandbox.run(ECHO)
        except SandboxError as error: tell(str(error).splitlines()[0])
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        tell(sandbox.run(ECHO)[0].stdout.strip())
        sandbox.close()
        """)
    assert output.splitlines()[0].endswith("Too many open files.")
    assert output.splitlines()[1] == "x"
