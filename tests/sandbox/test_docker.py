"""The Docker wall as a sandbox: the same results as the local one, and nothing left behind, however it ends."""

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from containers import containers, kill, need, script
from traces import eventually
from wall import namespaces_missing

from sdpo_envs.errors import SandboxError, SettingError
from sdpo_envs.sandbox import Program, Run, Sandbox, container, engine
from sdpo_envs.sandbox import docker as docker_module
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
    with engine.engine() as client:
        configuration = fresh._configuration() | {"Labels": {container.WORKER: f"{os.getpid()}-x"}}
        abandoned = client.create_container_from_config(configuration)["Id"]
    fresh.run(ECHO)
    assert abandoned in containers()
    monkeypatch.setattr(container, "_ABANDONED_SECONDS", -5.0)
    fresh.close()
    fresh.run(ECHO)
    assert abandoned not in containers()


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


# Engines.


class Front:
    """Stands between the sandbox and the engine, and can be away for a while, as an engine that is started again."""

    def __init__(self, path: Path) -> None:
        self.path, self._open = path, list[socket.socket]()
        with engine.engine() as client:
            self._behind = client.adapters["http+docker://"].socket_path
        self._start()

    def _start(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._behind)
            self._open += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def go(self) -> None:
        """End all connections, and take no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink(missing_ok=True)
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._open.clear()

    def come_back(self, seconds: float) -> None:
        threading.Timer(seconds, self._start).start()


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    need("docker")
    front = Front(tmp_path / "front.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{front.path}")
    yield front
    front.go()


def test_an_engine_that_is_started_again_is_waited_for(front: Front) -> None:
    with DockerSandbox(1) as sandbox:
        first = started_by(lambda: sandbox.run(ECHO))
        front.go()
        front.come_back(1.0)
        assert sandbox.run(ECHO)[0].stdout == "a\n"
        assert eventually(lambda: not first & containers().keys())


def test_an_engine_that_does_not_come_back_is_an_error(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_module, "_RESTART_SECONDS", 0.5)
    with DockerSandbox(1) as sandbox:
        sandbox.run(ECHO)
        front.go()
        with pytest.raises(SandboxError, match="No Docker engine answers at unix:///"):
            sandbox.run(ECHO)
        front._start()
        assert sandbox.run(ECHO)[0].stdout == "a\n"


def test_where_there_is_no_engine_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(SandboxError, match=r"none.sock: .*No such file(.|\n)*systemctl start docker"):
        DockerSandbox(1).run(ECHO)


def test_a_runtime_that_the_engine_does_not_have_is_named_with_those_it_has() -> None:
    need("docker")
    with pytest.raises(SandboxError, match=r"no runtime 'nine', but \[.*'runc'.*daemon.json"):
        DockerSandbox(1, runtime="nine").run(ECHO)


# Images.


@pytest.fixture
def variant(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Builds an image that differs from the right one by some lines."""
    need("docker")
    names: list[str] = []

    def build(lines: str) -> str:
        names.append(f"sdpo-test-{tmp_path.name}-{len(names)}".replace("_", "-").lower())
        (tmp_path / "Dockerfile").write_text(f"FROM {engine.tag()}\n{lines}\n")
        with engine.engine() as client:
            assert "Successfully" in "".join(
                line.get("stream", "") for line in client.build(str(tmp_path), names[-1], decode=True, rm=True)
            )
        return names[-1]

    yield build
    with engine.engine() as client:
        for name in names:
            client.remove_image(name, force=True)


def test_an_image_made_from_ours_can_hold_more(variant: Callable[[str], str]) -> None:
    image = variant("COPY Dockerfile /packages/more.py\nENV X=1")
    with DockerSandbox(1, image) as sandbox:
        assert sandbox.run(python("import os\nprint(os.path.exists('/packages/more.py'))"))[0].stdout == "True\n"


def test_an_image_that_is_not_there_is_an_error() -> None:
    need("docker")
    with pytest.raises(SandboxError, match="no image 'sdpo-test-none'"):
        DockerSandbox(1, "sdpo-test-none").run(ECHO)


def test_an_image_with_other_programs_is_not_run(variant: Callable[[str], str]) -> None:
    with pytest.raises(SandboxError, match="does not hold the programs of this installation"):
        DockerSandbox(1, variant(f"LABEL {engine.DIGEST}=old")).run(ECHO)


def test_an_image_that_cannot_be_read_is_an_error(variant: Callable[[str], str]) -> None:
    before = containers().keys()
    with pytest.raises(SandboxError, match=r"(?i)engine answers: (.|\n)*no such file"):
        DockerSandbox(1, variant('ENTRYPOINT ["/none"]')).run(ECHO)
    assert containers().keys() == before


def test_a_worker_that_does_not_start_says_why(variant: Callable[[str], str]) -> None:
    broken = variant('ENTRYPOINT ["/sandbox/python", "-c", "import sys; sys.exit(\'the reason\')"]')
    with pytest.raises(SandboxError, match=r"the reason\n(.|\n)*doctor"):
        DockerSandbox(1, broken).run(ECHO)


def test_a_base_that_does_not_do_is_an_error_with_what_the_engine_wrote() -> None:
    need("docker")
    with pytest.raises(SandboxError, match=r"could not be built:\n(.|\n)*'scratch' needs (.|\n)*Python 3.11"):
        engine.build_image("scratch")
