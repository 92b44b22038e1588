"""What holds a container, asked of the engine and tried from inside, without the layers that a worker adds."""

import json
import os
from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from containers import bare, inspected, need
from hypothesis import given

from sdpo_envs.sandbox import Program
from sdpo_envs.sandbox.container import Streams
from sdpo_envs.sandbox.docker import DockerSandbox


@pytest.fixture(scope="module")
def docker() -> Iterator[DockerSandbox]:
    need("docker")
    with DockerSandbox(1) as docker:
        yield docker


@pytest.fixture(scope="module", params=["docker", "runsc"])
def wall(request: pytest.FixtureRequest) -> Iterator[DockerSandbox]:
    need(request.param)
    with DockerSandbox(1, runtime=None if request.param == "docker" else request.param) as wall:
        yield wall


def test_the_engine_knows_every_limit(docker: DockerSandbox) -> None:
    docker.run(Program({"main.py": ""}, ("python", "main.py")))
    [container] = inspected(docker)
    host, config = container["HostConfig"], container["Config"]
    wanted = {"AutoRemove": True, "Init": False, "Privileged": False, "ReadonlyRootfs": True}
    wanted |= {"CapDrop": ["ALL"], "CapAdd": None, "SecurityOpt": ["no-new-privileges"], "Binds": None, "Devices": None}
    wanted |= {"IpcMode": "none", "NetworkMode": "none", "PidMode": "", "UTSMode": "", "UsernsMode": ""}
    wanted |= {"Memory": 6144 << 20, "MemorySwap": 6144 << 20, "NanoCpus": 10**9, "PidsLimit": 512}
    wanted |= {"LogConfig": {"Type": "none", "Config": {}}}
    assert {name: host.get(name) for name in wanted} == wanted
    assert list(host["Tmpfs"]) == ["/tmp"]
    assert {"noexec", "nosuid", "nodev", "mode=0700", "size=256m"} < set(host["Tmpfs"]["/tmp"].split(","))
    assert (config["OpenStdin"], config["StdinOnce"], config["Tty"]) == (True, True, False)
    assert int(config["User"].partition(":")[0]) >= 1000
    assert container["NetworkSettings"]["Networks"].keys() <= {"none"}
    assert container["Mounts"] == []


def test_nobody_with_no_rights_and_no_way_to_gain_any(wall: DockerSandbox) -> None:
    found = bare(
        wall,
        """
        import ctypes, os
        status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
        print([status[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapBnd")], os.getuid() >= 1000)
        print(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0), os.getgid(), os.getgroups() in ([], [65534]))
        """,
    )
    assert found.stdout == "['', '', '', ''] True\n1 65534 True\n"


def test_the_filter_of_docker_is_on(docker: DockerSandbox) -> None:
    source = "import os; print([line for line in open('/proc/self/status') if line.startswith('Seccomp:')])"
    assert bare(docker, source).stdout == "['Seccomp:\\t2\\n']\n"


@pytest.mark.parametrize(
    "call", ["unshare(0x10000000)", "unshare(0x20000)", "mount(b'x', b'/tmp', b'tmpfs', 0, 0)", "sethostname(b'x', 1)"]
)
def test_what_needs_rights_is_refused(call: str, docker: DockerSandbox) -> None:
    """GVisor lets anybody have namespaces, of a kernel that is its own; there the worker's filter refuses it."""
    source = f"import ctypes; libc = ctypes.CDLL(None, use_errno=True); print(libc.{call}, ctypes.get_errno())"
    assert bare(docker, source).stdout == "-1 1\n"


def test_no_network(wall: DockerSandbox) -> None:
    found = bare(
        wall,
        """
        import errno, socket
        for address in ("192.0.2.1", "169.254.169.254", "8.8.8.8"):
            try: socket.create_connection((address, 80), 5)
            except OSError as error: print(error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH))
        try: print(socket.getaddrinfo("example.org", 80))
        except OSError as error: print(type(error).__name__)
        print({name for _, name in socket.if_nameindex()} <= {"lo"})
        """,
    )
    assert found.stdout == "True\n" * 3 + "gaierror\nTrue\n"


def test_nothing_but_tmp_can_be_written_to(wall: DockerSandbox) -> None:
    found = bare(
        wall,
        """
        import errno, os
        for folder in ("/", "/sandbox", "/packages", "/usr/lib", "/etc", "/var/tmp", "/root", "/run", "/home"):
            try: open(f"{folder}/x", "w")
            except OSError as error: print(errno.errorcode[error.errno], end=" ")
        written = [folder for folder, _, _ in os.walk("/", onerror=None) if not folder.startswith("/proc")
                   and os.access(folder, os.W_OK) and not os.statvfs(folder).f_flag & os.ST_RDONLY]
        print(written)
        """,
    )
    assert set(found.stdout.split(" ")[:9]) <= {"EROFS", "EACCES"}
    assert found.stdout.endswith(" ['/tmp']\n")


def test_tmp_is_full_when_its_size_is_reached_and_can_hold_no_programs(wall: DockerSandbox) -> None:
    found = bare(
        wall,
        """
        import errno, os
        written = 0
        try:
            with open("/tmp/big", "wb", 0) as file:
                while True: written += file.write(bytes(1 << 20))
        except OSError as error: print(errno.errorcode[error.errno], written >> 20)
        os.truncate("/tmp/big", 0)
        open("/tmp/run", "w").write("#!/bin/true")
        os.chmod("/tmp/run", 0o700)
        try: os.execv("/tmp/run", ["run"])
        except OSError as error: print(errno.errorcode[error.errno])
        """,
    )
    assert found.stdout == "ENOSPC 256\nEACCES\n"


def test_who_takes_too_much_memory_is_killed(wall: DockerSandbox) -> None:
    with DockerSandbox(1, runtime=wall.runtime, memory_mb=300) as small:
        source = "for n in range(1, 10): a = bytearray(n << 26); print(n << 6, flush=True)"
        last = [int(line) for line in bare(small, source).stdout.split()][-1]
    assert 64 <= last < 320


def test_who_starts_too_many_threads_is_stopped(docker: DockerSandbox) -> None:
    source = """
        import threading
        wait, count = threading.Event(), 0
        try:
            for count in range(2000): threading.Thread(target=wait.wait, daemon=True).start()
        except RuntimeError as error: print(count, error)
        wait.set()
        """
    assert bare(docker, source).stdout == "511 can't start new thread\n"


def test_one_process_is_seen_and_nothing_of_the_host(wall: DockerSandbox) -> None:
    found = bare(
        wall,
        """
        import json, os
        seen = [name for name in os.listdir("/proc") if name.isdigit()]
        hidden = [path for path in ("/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda") if os.path.exists(path)]
        print(json.dumps([seen, os.uname().nodename, hidden]))
        """,
    )
    assert json.loads(found.stdout) == [["1"], "sandbox", []]


def test_the_kernel_tells_little(docker: DockerSandbox) -> None:
    source = "import os; print(os.listdir('/sys'), os.listdir('/dev/mqueue'), open('/proc/keys').read() == '')"
    assert bare(docker, source).stdout == "[] [] True\n"


def test_two_containers_have_different_users(docker: DockerSandbox) -> None:
    """The kernel counts a user's processes over all containers: they would have to share what a program may start."""
    assert len({bare(docker, "import os; print(os.getuid())").stdout for _ in range(2)}) == 2


def test_a_container_leaves_no_descriptor_open(wall: DockerSandbox) -> None:
    bare(wall, "")
    before = len(os.listdir("/proc/self/fd"))
    bare(wall, "print('x' * 100_000)")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_long_output_arrives_whole(wall: DockerSandbox) -> None:
    found = bare(wall, "import sys\nfor n in range(99_999): print(n); n % 99 or print('e', file=sys.stderr)")
    assert found.stdout == "".join(f"{n}\n" for n in range(99_999))
    assert found.stderr.split() == ["e"] * 1011


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=20))), st.lists(st.integers(1, 30)))
def test_streams_are_taken_apart_wherever_they_are_torn(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    sent = b"".join(bytes([kind, 0, 0, 0]) + len(body).to_bytes(4, "big") + body for kind, body in frames)
    streams, output = Streams(), b""
    for cut in cuts:
        output, sent = output + streams.take(sent[:cut]), sent[cut:]
    output += streams.take(sent)
    assert output == b"".join(body for kind, body in frames if kind == 1)
    assert streams.report == b"".join(body for kind, body in frames if kind == 2)


def test_of_what_a_worker_complains_the_end_is_kept() -> None:
    streams = Streams()
    for _ in range(10):
        streams.take(b"\2\0\0\0" + (30_000).to_bytes(4, "big") + b"x" * 29_999 + b"\n")
    assert len(streams.report) == 1 << 16
