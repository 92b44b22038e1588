"""Programs spread over the nodes of a real Ray cluster of several processes; and what goes wrong there.

One cluster serves all tests: a head that runs nothing, and two nodes. A node that a test needs besides, it adds.
"""

import contextlib
import copy
import math
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from containers import containers, need
from traces import eventually
from wall import namespaces_missing, processes_below

from sdpo_envs import Outcome, record
from sdpo_envs.errors import MissingExtra, SandboxError, SettingError
from sdpo_envs.livecodebench import LiveCodeBench, LiveCodeBenchGroup
from sdpo_envs.microcode import MicroCode
from sdpo_envs.record import rows
from sdpo_envs.sandbox import Program, Run, Sandbox, nodes, open_sandbox, station
from sdpo_envs.sandbox.docker import DockerSandbox
from sdpo_envs.sandbox.fake import FakeSandbox
from sdpo_envs.sandbox.local import LocalSandbox
from sdpo_envs.sandbox.ray import RaySandbox

ray = pytest.importorskip("ray", reason="skips the wall of a cluster: the extra 'ray' is not installed")
cluster_utils = pytest.importorskip("ray.cluster_utils")
cloudpickle = pytest.importorskip("ray.cloudpickle")

ECHO = Program({"main.py": "print(input())"}, ("python", "main.py"), ("a", "b"))
ANSWERS = ["a\n", "b\n"]
SMALL = {"object_store_memory": 80 << 20, "include_dashboard": False}


def sleeping(seconds: float) -> Program:
    source = f"import time\nn = input()\ntime.sleep({seconds})\nprint(n)"
    return Program({"main.py": source}, ("python", "main.py"), ("x",))


def outputs(runs: Sequence[Run]) -> list[str]:
    return [run.stdout for run in runs]


def is_ray(pid: int) -> bool:
    """Whether it is a process of Ray, or a zombie."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return not command or b"ray" in command


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster that this process is connected to; when it has gone, no process of it is left."""
    if reason := namespaces_missing():
        pytest.skip(f"The walls of a cluster are not tested: this machine refuses namespaces ({reason}).")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    others = processes_below(os.getpid())
    handler = signal.getsignal(signal.SIGTERM)
    soon = {"health_check_period_ms": 500, "health_check_timeout_ms": 1000, "health_check_failure_threshold": 8}
    started = cluster_utils.Cluster(True, head_node_args={"num_cpus": 0, "_system_config": soon, **SMALL})
    try:
        for _ in range(2):
            started.add_node(num_cpus=1, resources={"pair": 1}, **SMALL)
        ray.init(address=started.address, log_to_driver=False, configure_logging=False)
        yield started
    finally:
        ray.shutdown()
        started.shutdown()
        signal.signal(signal.SIGTERM, handler)
    left = "A process of the cluster was left."
    assert eventually(lambda: not any(map(is_ray, processes_below(os.getpid()) - others))), left


@pytest.fixture(scope="module")
def shared(cluster: Any) -> Iterator[RaySandbox]:
    """A sandbox on both nodes, for tests that leave it as it is."""
    with RaySandbox(resource="pair") as sandbox:
        yield sandbox


@pytest.fixture
def fresh(cluster: Any) -> Iterator[RaySandbox]:
    """A sandbox on both nodes that a test may break."""
    with RaySandbox(resource="pair") as sandbox:
        yield sandbox


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(nodes, "_LOST_SECONDS", 0.2)
    monkeypatch.setattr(nodes, "_JOIN_SECONDS", 1.0)


def stations(sandbox: RaySandbox) -> list[Any]:
    assert sandbox._nodes is not None
    return list(sandbox._nodes._nodes.values())


def pids(sandbox: RaySandbox) -> list[int]:
    return [int(ray.get(node.station.pid.remote())) for node in stations(sandbox)]


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


# Everything in order.


def test_it_is_a_sandbox_by_name(cluster: Any) -> None:
    sandbox = open_sandbox("ray")
    assert isinstance(sandbox, Sandbox)
    assert isinstance(sandbox, RaySandbox)
    assert (sandbox.address, sandbox.wall, sandbox.workers) == ("auto", "local", None)


def test_there_is_one_run_for_each_input_and_they_equal_those_of_the_plain_wall(
    shared: RaySandbox, sandbox: LocalSandbox
) -> None:
    assert outputs(shared.run(ECHO)) == ANSWERS
    for source in ("1 / 0", "print(", "import time; time.sleep(9)", "print('é' * 9)", "x = 'a' * 10**9", "exit(3)"):
        program = Program({"main.py": source}, ("python", "main.py"), seconds=1.0, memory_mb=64)
        assert shared.run(program) == sandbox.run(program)


def test_run_many_keeps_the_order_and_uses_every_node(shared: RaySandbox) -> None:
    programs = [replace(sleeping(0.05), inputs=(str(number),)) for number in range(20)]
    began = time.monotonic()
    assert [outputs(runs) for runs in shared.run_many(programs)] == [[f"{number}\n"] for number in range(20)]
    assert time.monotonic() - began < 20 * 0.05 + 1
    assert shared.run_many([]) == []
    asleep = sleeping(0.6)
    shared.run_many([asleep] * 2)
    began = time.monotonic()
    shared.run_many([asleep] * 2)
    assert time.monotonic() - began < 1.1, "Two nodes of one processor each run two programs at once."


class Crowd:
    """A wall that tells how many programs are at a node at once: those that run, and those that wait there."""

    workers = 1

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __reduce__(self) -> Any:
        return Crowd, ()

    def run(self, program: Program) -> tuple[Run, ...]:
        with self._lock:
            self._inside += 1
            inside = self._inside
        time.sleep(0.02)
        with self._lock:
            self._inside -= 1
        return (Run(0, str(inside)),)

    def run_many(self, programs: Sequence[Program]) -> list[tuple[Run, ...]]:
        return [self.run(program) for program in programs]

    def close(self) -> None:
        pass


class Refusing(Crowd):
    """A wall that is broken on one node, or on all, and remembers nothing."""

    def __init__(self, broken: str | None) -> None:
        super().__init__()
        self.broken = broken

    def __reduce__(self) -> Any:
        return Refusing, (self.broken,)

    def run(self, program: Program) -> tuple[Run, ...]:
        here = ray.get_runtime_context().get_node_id()
        if "long" in program.files:
            raise ValueError("A program and its inputs are too long.")
        if self.broken in (None, here):
            raise SandboxError(f"There is no wall on {here}.")
        return (Run(0, here),)


cloudpickle.register_pickle_by_value(sys.modules[__name__])


def test_a_node_has_a_bounded_number_of_programs_and_the_others_wait_here(cluster: Any) -> None:
    with RaySandbox(wall=Crowd(), resource="pair") as sandbox:
        inside = [int(run.stdout) for (run,) in sandbox.run_many([ECHO] * 60)]
        assert max(inside) == 2
        assert [node.taken for node in stations(sandbox)] == [0, 0]


def test_threads_share_it(shared: RaySandbox) -> None:
    found: dict[int, list[str]] = {}

    def run(number: int) -> None:
        found[number] = outputs(shared.run(replace(ECHO, inputs=(str(number),))))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [f"{number}\n"] for number in range(12)}


def test_what_the_wall_does_not_offer_is_refused_here_and_no_node_is_blamed(shared: RaySandbox) -> None:
    with pytest.raises(SandboxError, match="This sandbox offers"):
        shared.run(replace(ECHO, argv=("bash",)))
    with pytest.raises(ValueError, match="not a file name"):
        shared.run_many([ECHO, replace(ECHO, files={"main.py": "", "../x": ""})])
    assert len(stations(shared)) == 2


def test_a_copy_and_an_unpickled_one_keep_the_settings_and_have_actors_of_their_own(shared: RaySandbox) -> None:
    given = RaySandbox("auto", DockerSandbox(2, "image"), retries=7, resource="judge", num_cpus=0.5)
    for twin in (copy.deepcopy(given), pickle.loads(pickle.dumps(given))):
        assert repr(twin) == repr(given)
        assert (twin.retries, twin.resource, twin.num_cpus) == (7, "judge", 0.5)
    shared.run(ECHO)
    with pickle.loads(pickle.dumps(shared)) as twin:
        assert outputs(twin.run(ECHO)) == ANSWERS
        assert not {*pids(twin)} & {*pids(shared)}


def test_close_ends_its_actors_and_their_walls_and_nothing_else(fresh: RaySandbox, shared: RaySandbox) -> None:
    shared.run(ECHO)
    fresh.run_many([ECHO] * 4)
    own = pids(fresh)
    below = [child for pid in own for child in processes_below(pid)]
    assert below, "A wall has processes."
    fresh.close()
    fresh.close()
    assert eventually(lambda: all(map(gone, [*own, *below])))
    assert ray.is_initialized()
    assert outputs(shared.run(ECHO)) == ANSWERS
    assert outputs(fresh.run(ECHO)) == ANSWERS


def test_one_that_is_forgotten_leaves_no_actor(cluster: Any) -> None:
    forgotten = RaySandbox(resource="pair")
    forgotten.run(ECHO)
    own = pids(forgotten)
    del forgotten
    assert eventually(lambda: all(map(gone, own)))


def test_close_ends_a_run_in_another_thread(fresh: RaySandbox) -> None:
    fresh.run(ECHO)
    threading.Timer(0.3, fresh.close).start()
    began = time.monotonic()
    with pytest.raises(SandboxError, match="was closed"):
        fresh.run_many([replace(sleeping(60), seconds=60.0)] * 6)
    assert time.monotonic() - began < 10


def test_an_interruption_is_not_held_up_and_takes_no_room_for_good(fresh: RaySandbox) -> None:
    class Interruption(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interruption

    fresh.run_many([ECHO] * 2)
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        began = time.monotonic()
        with pytest.raises(Interruption):
            fresh.run_many([sleeping(1.3)] * 10)
        assert time.monotonic() - began < 1.2
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert outputs(fresh.run(ECHO)) == ANSWERS
    assert eventually(lambda: [node.taken for node in stations(fresh)] == [0, 0])


# What is lost, and what is broken.


def kill_when_busy(sandbox: RaySandbox, number: signal.Signals = signal.SIGKILL) -> threading.Thread:
    """Kill the actor of the first node as soon as its wall runs a program."""
    victim = pids(sandbox)[0]

    def kill() -> None:
        assert eventually(lambda: len(processes_below(victim)) >= 3)
        os.kill(victim, number)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@pytest.mark.usefixtures("_quick")
def test_a_worker_killed_in_the_midst_of_a_batch_costs_nothing(fresh: RaySandbox) -> None:
    fresh.run_many([ECHO] * 2)
    killer = kill_when_busy(fresh)
    programs = [replace(sleeping(0.3), inputs=(str(number),)) for number in range(8)]
    assert [outputs(runs) for runs in fresh.run_many(programs)] == [[f"{number}\n"] for number in range(8)]
    killer.join()
    assert outputs(fresh.run(ECHO)) == ANSWERS
    assert eventually(lambda: len(fresh.run_many([ECHO] * 2)) + len(stations(fresh)) == 4), "It is met again."


@pytest.mark.usefixtures("_quick")
def test_a_group_whose_worker_is_killed_is_recorded_once(fresh: RaySandbox, tmp_path: Path) -> None:
    envs = record(LiveCodeBenchGroup(num_envs=4, group_size=4, sandbox=fresh), tmp_path)
    fresh.run_many([ECHO] * 2)
    envs.reset(seed=0)
    right = [str(env.get_wrapper_attr("oracle")(env.get_wrapper_attr("task"))) for env in envs.envs]
    slow = [action.replace("```python\n", "```python\nimport time; time.sleep(0.05)\n") for action in right]
    killer = kill_when_busy(fresh)
    _, rewards, terminations, _, infos = envs.step(slow)
    killer.join()
    assert rewards.tolist() == [1.0] * 4
    assert terminations.all()
    assert "error" not in infos
    assert [row.passed for row in rows(tmp_path)] == [True] * 4
    envs.close()
    assert outputs(fresh.run(ECHO)) == ANSWERS, "A sandbox that was given stays open."


@pytest.mark.usefixtures("_quick")
def test_an_actor_that_is_killed_every_time_is_a_sandbox_error_and_never_a_run(cluster: Any) -> None:
    over = threading.Event()
    with RaySandbox(resource="pair", retries=1) as sandbox:
        sandbox.run(ECHO)

        def kill_all() -> None:
            while not over.wait(0.02):
                for node in stations(sandbox):
                    with contextlib.suppress(ray.exceptions.RayError, ProcessLookupError):
                        os.kill(int(ray.get(node.station.pid.remote(), timeout=5)), signal.SIGKILL)

        killer = threading.Thread(target=kill_all)
        killer.start()
        try:
            with pytest.raises(SandboxError, match=r"gave a program up after 2 tries.*died"):
                sandbox.run(sleeping(20))
        finally:
            over.set()
            killer.join()


@pytest.mark.usefixtures("_quick")
def test_an_actor_that_falls_silent_is_given_up(fresh: RaySandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.run_many([ECHO] * 2)
    monkeypatch.setattr(station, "_SILENT_SECONDS", 0.8)
    victim = pids(fresh)[0]
    killer = kill_when_busy(fresh, signal.SIGSTOP)
    programs = [replace(sleeping(0.3), inputs=(str(number),)) for number in range(6)]
    try:
        assert [outputs(runs) for runs in fresh.run_many(programs)] == [[f"{number}\n"] for number in range(6)]
        killer.join()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)


@pytest.mark.usefixtures("_quick")
def test_a_node_that_is_removed_and_one_that_joins(cluster: Any) -> None:
    leaving = cluster.add_node(num_cpus=1, resources={"mixed": 1}, **SMALL)
    with RaySandbox(resource="mixed") as sandbox:
        sandbox.run(ECHO)
        cluster.add_node(num_cpus=1, resources={"mixed": 1}, **SMALL)
        assert eventually(lambda: len(sandbox.run_many([ECHO])) and len(stations(sandbox)) == 2), "It is not used."
        programs = [replace(sleeping(0.3), inputs=(str(number),)) for number in range(8)]
        remover = threading.Timer(0.5, cluster.remove_node, (leaving,), {"allow_graceful": False})
        remover.start()
        assert [outputs(runs) for runs in sandbox.run_many(programs)] == [[f"{number}\n"] for number in range(8)]
        remover.join()
        assert eventually(lambda: outputs(sandbox.run(ECHO)) == ANSWERS and len(stations(sandbox)) == 1)


@pytest.mark.usefixtures("_quick")
def test_when_all_nodes_have_gone_it_is_a_sandbox_error_and_a_group_has_no_reward(cluster: Any) -> None:
    leaving = cluster.add_node(num_cpus=1, resources={"last": 1}, **SMALL)
    with RaySandbox(resource="last") as sandbox:
        sandbox.run(ECHO)
        remover = threading.Timer(0.4, cluster.remove_node, (leaving,))
        remover.start()
        with pytest.raises(SandboxError, match=r"no living node with the resource 'last'.*ray start"):
            sandbox.run(replace(sleeping(30), seconds=30.0))
        remover.join()
        envs = LiveCodeBenchGroup(num_envs=2, group_size=2, sandbox=sandbox)
        envs.reset(seed=0)
        _, rewards, terminations, truncations, infos = envs.step(["```python\nprint(1)\n```"] * 2)
    assert all(map(math.isnan, rewards))
    assert truncations.all()
    assert not terminations.any()
    assert all("SandboxError" in error for error in infos["error"])


def test_a_node_whose_wall_is_broken_runs_nothing_and_the_others_do(cluster: Any) -> None:
    first, second = [row["NodeID"] for row in ray.nodes() if row["Alive"] and row["Resources"].get("pair")]
    with RaySandbox(wall=Refusing(first), resource="pair") as sandbox:
        assert {run.stdout for (run,) in sandbox.run_many([ECHO] * 12)} == {second}
        assert [node.id for node in stations(sandbox)] == [second]
        with pytest.raises(ValueError, match="too long"):
            sandbox.run(replace(ECHO, files={**ECHO.files, "long": ""}))
        assert [node.id for node in stations(sandbox)] == [second], "A program that is refused blames no node."


def test_where_every_wall_is_broken_the_error_tells_what_each_node_says(cluster: Any) -> None:
    with RaySandbox(wall=Refusing(None), resource="pair") as sandbox:
        with pytest.raises(
            SandboxError, match=r"No node of the Ray cluster can run programs(?s:.*)There is no wall on"
        ):
            sandbox.run(ECHO)
        env = LiveCodeBench(sandbox=sandbox)
        env.reset(seed=0)
        with pytest.raises(SandboxError):
            env.step("```python\nprint(1)\n```")


def test_a_node_has_the_wall_that_was_named_or_none(cluster: Any) -> None:
    """No engine has such a runtime, and there may be no engine either."""
    with (
        RaySandbox(wall=DockerSandbox(1, runtime="none-such"), resource="pair") as sandbox,
        pytest.raises(SandboxError, match=r"(?s)No node of the Ray cluster.*Docker"),
    ):
        sandbox.run(ECHO)


def test_a_node_s_wall_may_be_a_container_which_ends_with_it(cluster: Any) -> None:
    need("docker")
    with RaySandbox(wall="docker", workers=1, resource="pair") as sandbox:
        assert [outputs(runs) for runs in sandbox.run_many([ECHO] * 4)] == [ANSWERS] * 4
        pids = ray.get([node.station.pid.remote() for node in stations(sandbox)])
        assert [len(containers(pid)) for pid in pids] == [1, 1]
    assert eventually(lambda: not any(containers(pid) for pid in pids))


def test_a_program_that_breaks_a_wall_by_itself_sets_no_node_aside(cluster: Any) -> None:
    def answer(program: Program) -> list[Run]:
        if "break" in program.files["main.py"]:
            raise SandboxError("A worker was lost twice.")
        return [Run(0, "fine")] * len(program.inputs)

    with RaySandbox(wall=FakeSandbox(answer), workers=None, resource="pair", retries=1) as sandbox:
        with pytest.raises(SandboxError, match=r"after 2 tries.*A worker was lost twice"):
            sandbox.run(replace(ECHO, files={"main.py": "break"}))
        assert len(stations(sandbox)) == 2
        assert sandbox.run(ECHO)[0].stdout == "fine"


def test_a_program_sees_nothing_of_the_cluster(shared: RaySandbox, cluster: Any) -> None:
    host, port = cluster.address.split(":")
    source = f"""
import os, socket
print([name for name in os.environ if "RAY" in name])
print(os.path.exists("/tmp/ray"), os.path.exists("/dev/shm/plasma"))
try:
    socket.create_connection(({host!r}, {port}), 1)
    print("connected")
except OSError:
    print("refused")
"""
    (run,) = shared.run(Program({"main.py": source}, ("python", "main.py")))
    assert (run.stdout, run.stderr) == ("[]\nFalse False\nrefused\n", "")


# Who asks.


def test_the_families_that_run_code_take_it_by_name(cluster: Any) -> None:
    assert isinstance(LiveCodeBench(sandbox="ray").sandbox, RaySandbox)
    env = MicroCode(sandbox="ray")
    env.reset(seed=1)
    *_, info = env.step(str(env.oracle(env.task)))
    assert info["verdict"].outcome is Outcome.PASSED
    env.close()


def test_a_group_waits_for_as_many_programs_as_a_cluster_has_room_for(cluster: Any) -> None:
    envs = LiveCodeBenchGroup(num_envs=40, group_size=40, sandbox="ray")
    assert envs._pool()._max_workers == 40
    envs.close()


REFUSED: list[dict[str, Any]] = [
    {"address": ""},
    {"address": "local"},
    {"address": "ray://127.0.0.1:10001"},
    {"wall": "ray"},
    {"wall": RaySandbox()},
    {"wall": "dokcer"},
    {"workers": 0},
    {"wall": LocalSandbox(1), "workers": 2},
    {"retries": -1},
    {"num_cpus": -1},
]


@pytest.mark.parametrize("settings", REFUSED, ids=range(len(REFUSED)))
def test_a_setting_that_is_not_offered_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        RaySandbox(**settings)


def test_another_cluster_than_the_one_this_process_is_in_is_refused(cluster: Any) -> None:
    with pytest.raises(SandboxError, match=r"is connected to the Ray cluster at .*ray\.shutdown"):
        RaySandbox("127.0.0.1:6").run(ECHO)
    assert outputs(RaySandbox(cluster.address, resource="pair").run(ECHO)) == ANSWERS


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"sdpo-envs\[ray\]"):
        RaySandbox().run(ECHO)


def python(source: str, seconds: float = 60.0, **environment: str) -> str:
    own = os.environ | {"PYTHONPATH": ":".join(sys.path)} | environment
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=seconds, env=own, check=False
    )
    return done.stdout + done.stderr


def test_where_nobody_listens_is_told_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        source = """
from sdpo_envs.sandbox import Program
from sdpo_envs.sandbox.ray import RaySandbox
RaySandbox().run(Program({"main.py": ""}, ("python", "main.py")))
"""
        began = time.monotonic()
        told = python(source, RAY_ADDRESS=address)
    assert "SandboxError: There is no Ray cluster to join at address='auto'" in told
    assert "ray start --head" in told
    assert time.monotonic() - began < 20


def test_another_process_joins_by_the_address_and_leaves_nothing(cluster: Any) -> None:
    source = f"""
from sdpo_envs.sandbox import Program
from sdpo_envs.sandbox.ray import RaySandbox
import ray
with RaySandbox({cluster.address!r}, resource="pair") as sandbox:
    print(sandbox.run(Program({{"main.py": "print(6 * 7)"}}, ("python", "main.py")))[0].stdout)
    print([ray.get(node.station.pid.remote()) for node in sandbox._nodes._nodes.values()])
    import os; os._exit(0) if {{end}} else None
"""
    for end in (False, True):
        told = python(source.replace("{end}", str(end))).split("\n")
        assert told[0] == "42", told
        assert eventually(lambda told=told: all(gone(int(pid)) for pid in told[2].strip("[]").split(","))), told


def test_a_cluster_that_does_not_answer_is_told_and_the_nodes_that_are_known_are_used_further(
    cluster: Any, shared: RaySandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its book-keeper is stopped."""
    shared.run(ECHO)
    (keeper,) = [each.process.pid for each in cluster.head_node.all_processes["gcs_server"]]
    sandbox = RaySandbox(resource="pair")
    guard = subprocess.Popen(["sh", "-c", f"sleep 8; kill -CONT {keeper}"])  # whatever waits for it in here
    with monkeypatch.context() as impatient:
        impatient.setattr(station, "_ANSWER_SECONDS", 0.5)
        impatient.setattr(nodes, "_LOOK_SECONDS", 0.0)
        os.kill(keeper, signal.SIGSTOP)
        try:
            with pytest.raises(SandboxError, match=r"has not answered for 0\.5 seconds"):
                sandbox.run(ECHO)
            assert outputs(shared.run(ECHO)) == ANSWERS
        finally:
            os.kill(keeper, signal.SIGCONT)
            guard.terminate()
            guard.wait()
    assert outputs(sandbox.run(ECHO)) == ANSWERS


def test_a_fork_of_a_connected_process_is_told_so(cluster: Any) -> None:
    """Ray itself would wait for ever, and not only in the fork; so another process does it, and is thrown away."""
    source = f"""
import os
from sdpo_envs.errors import SandboxError
from sdpo_envs.sandbox import Program
from sdpo_envs.sandbox.ray import RaySandbox
program = Program({{"main.py": ""}}, ("python", "main.py"))
mine = RaySandbox({cluster.address!r}, resource="pair")
mine.run(program)
if os.fork() == 0:
    for sandbox in (mine, RaySandbox({cluster.address!r})):
        try:
            sandbox.run(program)
        except SandboxError as error:
            sandbox.close()
            print(error, flush=True)
    os._exit(0)
os.wait()
os._exit(0)
"""
    assert python(source).count("Ray does not survive a fork") == 2
