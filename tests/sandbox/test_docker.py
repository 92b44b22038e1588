"""The Docker wall as a sandbox: the same results as the local one, and nothing left behind, however it ends."""

import pickle
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from containers import containers, kill, need, script
from traces import eventually
from wall import namespaces_missing

from sdpo_envs.errors import SandboxError, SettingError
from sdpo_envs.sandbox import Program, Run, Sandbox, container, engine
from sdpo_envs.sandbox.docker import DockerSandbox
from sdpo_envs.sandbox.local import LocalSandbox

ECHO = Program({"main.py": "print(input())"}, ("python", "main.py"), ("a", "b", "c"))
SLEEP = Program({"main.py": "import time; time.sleep(99)"}, ("python", "main.py"), seconds=99)


def python(source: str, *inputs: str, **limits: object) -> Program:
    return Program({"main.py": source}, ("python", "main.py"), inputs or ("",), **limits)  # type: ignore[arg-type]


def call(source: str, *inputs: str) -> Program:
    return Program({"main.py": source}, ("call", "main.py", "f"), inputs)


_FULL = """\
import threading
wait, count = threading.Event(), 0
try:
    for count in range(99): threading.Thread(target=wait.wait, daemon=True).start()
except RuntimeError as caught: error = caught
wait.set()
"""
SAME = {
    "echo": ECHO,
    "environment": python("import os; print(sorted(os.environ.items()), os.getcwd(), os.listdir())"),
    "syntax": python("x = 1\ny = (2\n"),
    "traceback": python("def f(n): return 1 // n\nf(int(input()))", "1", "0"),
    "exit": python("import sys; print('x', file=sys.stderr); sys.exit(3)"),
    "abort": python("import os; os.abort()"),
    "timeout": python("while input() != 'go': pass", "go", "stay", "go", seconds=0.5),
    "all timeouts": python("while input() != 'go': pass", "stay", "go", "stay", seconds=0.5, timeouts=None),
    "memory": python("x = [0] * 10**9", memory_mb=256),
    "output": python("while True: print('x' * 1000)", output_kb=64),
    "bytes": python("import sys; sys.stdout.buffer.write(b'\\xff\\xc3\\xa9'); print('é', input())", "ü\udc80"),
    "threads": python(f"{_FULL}print(count, error)", processes=8),
    "call": call("def f(a, b):\n    print('seen')\n    return [a, b, a + b]", "1\n2", "[1]\n[2]", '"a"\n3'),
    "packages": python(
        "import numpy, sortedcontainers; print(numpy.arange(3).sum(), sortedcontainers.SortedList('ba'))"
    ),
    "network": python("import socket; socket.socket()"),
    "fork": python("import os\nif os.fork(): print('parent', os.wait()[1])\nelse: os._exit(7)"),
    "files": python("import pathlib; pathlib.Path('a').write_text('b'); print(open('a').read(), open(input()))", "/x"),
}


@pytest.fixture(scope="module", params=["docker", "runsc"])
def wall(request: pytest.FixtureRequest) -> Iterator[DockerSandbox]:
    need(request.param)
    with DockerSandbox(1, runtime=None if request.param == "docker" else request.param) as wall:
        yield wall


@pytest.fixture
def fresh() -> Iterator[DockerSandbox]:
    """A sandbox of one container that a test may break; it starts without."""
    need("docker")
    with DockerSandbox(1) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSandbox]:
    if reason := namespaces_missing():
        pytest.skip(f"There is no local wall to compare with: this machine refuses namespaces ({reason}).")
    with LocalSandbox(1) as local:
        yield local


def started_by(act: Callable[[], object]) -> set[str]:
    """Return the containers that `act` has left running."""
    before = containers().keys()
    act()
    return containers().keys() - before


# What it offers.


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("name", SAME)
def test_programs_do_the_same_as_behind_the_local_wall(
    name: str, isolated: bool, wall: DockerSandbox, local: LocalSandbox
) -> None:
    program = replace(SAME[name], isolated=isolated)
    if name == "fork" and "threads" in wall.layers:
        assert "PermissionError" in wall.run(program)[0].stderr
    else:
        assert wall.run(program) == local.run(program)


def test_it_is_a_sandbox(wall: DockerSandbox) -> None:
    assert isinstance(wall, Sandbox)
    assert repr(DockerSandbox(2, "x", "crun")) == "DockerSandbox(workers=2, image='x', runtime='crun')"


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"workers": 0}, "at least 1"), ({"memory_mb": 10}, "memory_mb"), ({"layers": ("namespaces",)}, "layers")],
)
def test_a_setting_that_is_not_offered_is_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        DockerSandbox(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (Program({"main.py": ""}, ("bash", "main.py")), SandboxError, "offers"),
        (Program({"main.py": "", "../x": ""}, ("python", "main.py")), ValueError, "not a file name"),
        (Program({"main.py": ""}, ("python", "main.py"), memory_mb=8000), SandboxError, r"memory_mb=9024\) or more"),
    ],
)
def test_a_program_that_cannot_be_run_is_refused(program: Program, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DockerSandbox().run_many([program])


def test_programs_run_side_by_side_in_a_container_each() -> None:
    need("docker")
    source = "import threading, time\nthreads = [threading.Thread(target=time.sleep, args=(1,)) for _ in range(13)]\n"
    source += "for t in threads: t.start()\nfor t in threads: t.join()\nprint(input())"
    with DockerSandbox(3) as three:
        results: list[list[tuple[Run, ...]]] = []
        started = started_by(lambda: results.append(three.run_many([python(source, f"{n}") for n in range(6)])))
        assert len(started) == 3
    assert [run.stdout for [run] in results[0]] == [f"{n}\n" for n in range(6)], "none counts another's threads"


# Life and death.


def test_close_leaves_no_container_and_a_later_run_starts_again(wall: DockerSandbox) -> None:
    with DockerSandbox(1, runtime=wall.runtime) as fresh:
        for _ in range(2):
            started = started_by(lambda: fresh.run(ECHO))
            assert len(started) == 1
            fresh.close()
            fresh.close()
            assert not started & containers().keys()


def test_close_ends_a_run_in_another_thread(fresh: DockerSandbox) -> None:
    errors: list[SandboxError] = []

    def run() -> None:
        try:
            fresh.run(SLEEP)
        except SandboxError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    before = containers().keys()
    thread.start()
    assert eventually(lambda: bool(running(containers().keys() - before)))
    fresh.close()
    thread.join()
    assert len(errors) == 1
    assert containers().keys() == before


def running(ids: set[str]) -> list[str]:
    return [name for name, one in containers().items() if name in ids and one["State"] == "running"]


def test_a_killed_container_is_replaced(wall: DockerSandbox) -> None:
    with DockerSandbox(1, runtime=wall.runtime) as fresh:
        [started] = started_by(lambda: fresh.run(ECHO))
        kill(started)
        assert [run.stdout for run in fresh.run(ECHO)] == ["a\n", "b\n", "c\n"]


def test_a_container_that_is_killed_again_and_again_is_an_error(fresh: DockerSandbox) -> None:
    before, stop = containers().keys(), threading.Event()

    def kill_all() -> None:
        while not stop.wait(0.3):
            for name in running(containers().keys() - before):
                kill(name)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with pytest.raises(SandboxError, match="worker of the sandbox"):
            fresh.run(SLEEP)
    finally:
        stop.set()
        killer.join()
    assert containers().keys() == before


@pytest.mark.parametrize("end", ["pass", "del sandbox", "os.kill(os.getpid(), 9)", "os._exit(0)", "1 / 0"])
@pytest.mark.parametrize("busy", [False, True])
def test_no_container_outlives_the_process_that_used_it(end: str, busy: bool) -> None:
    need("docker")
    process = script(f"""
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sandbox = DockerSandbox(1)
        sandbox.run(ECHO)
        if {busy}:
            threading.Thread(target=sandbox.run, args=(SLEEP,), daemon=True).start()
            time.sleep(0.3)
        tell("ready")
        sys.stdin.readline()
        {end}
        """)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    assert len(containers(process.pid)) == 1
    process.communicate("\n", timeout=60)
    assert eventually(lambda: not containers(process.pid))


@pytest.mark.parametrize("when", [0.01, 0.03, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("call", ["run(SLEEP)", "run_many([SLEEP] * 4)"])
def test_ctrl_c_leaves_no_container_whenever_it_comes(when: float, call: str) -> None:
    need("docker")
    process = started(call, when)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert eventually(lambda: not containers(process.pid))


@pytest.mark.parametrize("when", [0.1, 0.5])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_process_leaves_no_container_running(when: float, number: signal.Signals) -> None:
    """One that it was about to start may be left. It is removed by whoever starts another, a minute later."""
    need("docker")
    process = started("run_many([SLEEP] * 4)", when)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert eventually(lambda: all(one["State"] == "created" for one in containers(process.pid).values()))


def test_a_container_that_was_never_started_is_removed_when_it_is_old(
    fresh: DockerSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "WORKER", "sdpo-envs.test")  # so as not to touch those of other tests
    fresh.run(ECHO)
    with engine.engine() as client:
        labelled = fresh._maker.configuration() | {"Labels": {"sdpo-envs.test": ""}}
        abandoned = client.create_container_from_config(labelled)["Id"]
        for old, left in ((3600.0, True), (-5.0, False)):
            monkeypatch.setattr(container, "_ABANDONED_SECONDS", old)
            container._remove_abandoned(client)
            assert (abandoned in str(client.containers(all=True, filters={"label": "sdpo-envs.test"}))) == left
        assert len(client.containers(filters={"label": "sdpo-envs.test"})) == 1, "the one that runs"


def started(call: str, seconds: float) -> subprocess.Popen[str]:
    """Start a process that runs programs which sleep, and wait for so long."""
    process = script(f"""
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sandbox = DockerSandbox(2)
        import docker
        tell("ready")
        sandbox.{call}
        """)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    time.sleep(seconds)
    return process


# Processes.


def test_a_copy_keeps_the_settings_and_has_containers_of_its_own(fresh: DockerSandbox) -> None:
    fresh.run(ECHO)
    with pickle.loads(pickle.dumps(fresh)) as other:
        assert vars(other).keys() == vars(fresh).keys()
        assert len(started_by(lambda: other.run(ECHO))) == 1
    assert fresh.run(ECHO)[0].stdout == "a\n"


def test_a_forked_process_has_containers_of_its_own_and_leaves_the_others_alone() -> None:
    need("docker")
    process = script("""
        from containers import containers
        sandbox = DockerSandbox(1)
        sandbox.run(ECHO)
        own = containers().keys()
        if (child := os.fork()) == 0:
            files = len(os.listdir("/proc/self/fd"))
            tell(sandbox.run(ECHO)[0].stdout.strip(), len(containers()), len(os.listdir("/proc/self/fd")) - files)
            sandbox.close()
            sys.exit(len(containers()))
        tell(os.waitpid(child, 0)[1], own == containers().keys(), sandbox.run(ECHO)[0].stdout.strip())
        tell(own == containers().keys())
        """)
    output, _ = process.communicate(timeout=60)
    assert output == "x 1 0\n0 True x\nTrue\n"


def test_it_works_in_the_daemonic_processes_of_a_vector_environment() -> None:
    need("docker")
    process = script("""
        import gymnasium, numpy
        class Judge(gymnasium.Env):
            observation_space = action_space = gymnasium.spaces.Discrete(100)
            def __init__(self): self.sandbox = DockerSandbox(1)
            def reset(self, seed=None, options=None): return 0, {}
            def step(self, action):
                source = f"print({action} + 1)"
                [run] = self.sandbox.run(Program({"main.py": source}, ("python", "main.py")))
                return int(run.stdout), 1.0, False, False, {}
        if __name__ == "__main__":
            envs = gymnasium.vector.AsyncVectorEnv([Judge, Judge], context="fork")
            envs.reset()
            tell(*envs.step(numpy.array([4, 7]))[0], *[p.pid for p in envs.processes])
            envs.close()
        """)
    output, _ = process.communicate(timeout=60)
    first, second, *pids = map(int, output.split())
    assert (first, second) == (5, 8)
    assert eventually(lambda: not any(containers(pid) for pid in pids))
