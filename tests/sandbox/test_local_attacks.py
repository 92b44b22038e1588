"""Where the local wall stands: before other runs, the host, the worker, the limits. It is attacked in `sandboxes`."""

import ast
import errno
import os
from pathlib import Path

import pytest
from traces import worker_among
from wall import Execute, processes_below

from sdpo_envs.sandbox import Program
from sdpo_envs.sandbox.local import LocalSandbox

REPOSITORY = Path(__file__).parents[2]
numbered = pytest.mark.skipif(os.uname().machine != "x86_64", reason="calls the kernel by the numbers of x86_64")


@pytest.fixture(autouse=True)
def _worker_survives(sandbox: LocalSandbox, execute: Execute, caplog: pytest.LogCaptureFixture) -> object:
    """No attack may cost a worker, nor leave a process: the same ones serve an honest program afterwards.

    While the kernel kills somebody on this machine for its memory, as other tests have it do, any program that is
    killed is taken for its victim, and the worker is replaced.
    """
    execute("")
    before = processes_below(os.getpid())
    yield
    assert execute("print(input())", "fine\n").stdout == "fine\n"
    told = [record.getMessage() for record in caplog.get_records("call")]
    assert processes_below(os.getpid()) == before or any("the machine's memory was full" in each for each in told)


# What belongs to other runs.

SEARCH_MEMORY = """
import ctypes, gc, re, sys
own = input()
mark = re.compile(own[:6].encode() + rb"\\d{4}")
found = set()
for line in open("/proc/self/maps"):
    area, mode, *_ = line.split()
    if mode.startswith("rw"):
        low, high = (int(part, 16) for part in area.split("-"))
        found.update(mark.findall(ctypes.string_at(low, high - low)))
frame = sys._getframe()
while frame:
    found.update(mark.findall(repr(frame.f_locals).encode()))
    frame = frame.f_back
found.update(mark.findall(repr([o for o in gc.get_objects() if isinstance(o, (list, dict))][:-1]).encode()))
print(sorted(found))
"""


def test_a_run_finds_neither_inputs_nor_outputs_nor_code_of_other_runs_in_its_memory() -> None:
    secret = "#kappa1111"
    source = f"print(input() * 300, {secret!r})\n#{secret * 9000}"
    inputs = tuple(secret * length for length in (1, 7, 60, 500, 4000, 30_000))
    earlier = Program({"main.py": source, secret: secret}, ("python", "main.py"), inputs)
    with LocalSandbox(workers=1) as sandbox:
        sandbox.run(earlier)
        runs = sandbox.run(Program({"main.py": SEARCH_MEMORY}, ("python", "main.py"), ("#kappa2222", "#kappa3333")))
    assert [run.stdout for run in runs] == ["[b'#kappa2222']\n", "[b'#kappa3333']\n"], runs


def test_a_run_finds_no_files_of_the_run_before(execute: Execute) -> None:
    leave = """
import os, sys
open("a\\nb", "w").write("x"); os.symlink("/", "link"); os.mkfifo("fifo"); open(b"\\xff", "w")
os.makedirs("sealed/inner"); open("sealed/file", "w"); os.chmod("sealed/inner", 0); os.chmod("sealed", 0)
for _ in range(2000):
    os.mkdir("d"); os.chdir("d")
os.chmod("/tmp", 0)
"""
    assert execute(leave).exit_code == 0
    assert execute("import os; print(os.listdir('.'), oct(os.stat('.').st_mode))").stdout == "['main.py'] 0o40700\n"


def test_a_program_that_fills_the_disk_leaves_it_empty(execute: Execute) -> None:
    for fill in ("open(str(number), 'wb').write(bytes(1 << 22))", "open(str(number), 'w').close()"):
        source = f"try:\n    for number in range(10**6): {fill}\nexcept OSError as error: code = error.errno\n"
        source += "import os\nos.remove('0')\nprint(code)"
        assert execute(source, seconds=30).stdout == f"{errno.ENOSPC}\n"


# What belongs to the host.


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/shadow", "/etc/passwd", "/home", "/root/.ssh", "/var", "/sys", "/dev/vda", "/dev/kmsg"),
        *("/proc/sys", "/proc/kcore", str(REPOSITORY / "tasks"), __file__),
    ],
)
def test_a_file_of_the_host_is_out_of_sight(path: str, execute: Execute) -> None:
    assert execute(f"import os; print(os.path.lexists({path!r}))").stdout == "False\n"


def test_nothing_of_this_project_is_in_sight_but_the_folder_of_the_worker(execute: Execute) -> None:
    source = """
import os
for folder, folders, files in os.walk("/"):
    if folder == "/proc": folders.clear()
    for name in folders + files:
        if "sdpo" in name or name in ("site-packages", "dist-packages") and os.listdir(f"{folder}/{name}"):
            print(folder, name)
print(sorted(name for name in os.listdir("/sandbox") if name.endswith(".py")))
print(sorted(os.listdir("/packages")))
"""
    inside, packages = execute(source, seconds=30).stdout.splitlines()
    assert inside == str(sorted(path.name for path in (REPOSITORY / "sandboxes" / "python").glob("*.py")))
    assert {*ast.literal_eval(packages)} <= {"numpy", "numpy.libs", "sortedcontainers"}


def test_the_root_is_read_only(execute: Execute) -> None:
    source = """
import os, errno
for path in ("/new", "/etc/new", "/sandbox/worker.py", os.__file__, "/packages/new", "/usr/lib/new", "/dev/new"):
    try: open(path, "a"); print("opened", path)
    except OSError as error: print(error.errno in (errno.EROFS, errno.EACCES))
"""
    assert execute(source).stdout == "True\n" * 7


@pytest.mark.parametrize("kind", ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"])
def test_no_namespace_is_the_host_s(kind: str, fresh: LocalSandbox) -> None:
    """Seen from outside, because the filter alone would refuse what could show it from inside."""
    before = processes_below(os.getpid())
    fresh.run(Program({"main.py": ""}, ("python", "main.py")))
    worker = worker_among(processes_below(os.getpid()) - before)
    try:
        assert os.readlink(f"/proc/{worker}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
    except PermissionError:
        pytest.skip("Only root may look at the namespaces of a worker.")


@numbered
def test_a_program_is_nobody_and_can_become_nobody_else(execute: Execute) -> None:
    source = """
import os, ctypes
print(os.getresuid(), os.getresgid(), os.getgroups())
for call in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.chroot("/tmp"), lambda: os.chown("main.py", 0, 0)):
    try: call(); print("done")
    except OSError: pass
status = open("/proc/self/status").read()
print([line.split()[1].strip("0") for line in status.splitlines() if line[:6] in ("CapEff", "CapPrm", "CapAmb")])
print("NoNewPrivs:\\t1" in status)
libc = ctypes.CDLL(None, use_errno=True)
print(libc.unshare(0x10000000), libc.setns(0, 0))
print(libc.mount(b"a", b"/tmp", b"tmpfs", 0, None), libc.umount2(b"/proc", 2))
print(libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0), libc.syscall(435, 0, 0))
"""
    run = execute(source)
    expected = "(65534, 65534, 65534) (65534, 65534, 65534) []\n['', '', '']\nTrue\n-1 -1\n-1 -1\n-1 -1\n"
    assert run.stdout.replace("[65534]", "[]") == expected, run.stderr


# The worker.


@pytest.mark.parametrize(
    "attack",
    [
        "os.killpg(0, signal.SIGKILL)",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os.chdir('/'), os.chmod('/tmp', 0)",
        "os.remove('main.py'), os.symlink('/sandbox', 'main.py')",
        "setattr(sys, 'stdout', None), setattr(sys, 'stderr', None), sys.modules.clear()",
        "vars(builtins).clear()",
        "resource.setrlimit(resource.RLIMIT_CPU, (1, 1)), exec('while True: pass')",
    ],
)  # fmt: skip
def test_the_worker_outlives(attack: str, execute: Execute) -> None:
    execute(f"import builtins, os, resource, signal, sys\n{attack}", seconds=2)


@pytest.mark.parametrize(
    "attack",
    [
        "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))",
        "open('/proc/1/mem', 'rb')",
        "open('/proc/1/maps', 'rb')",
        "os.listdir('/proc/1/fd')",
        "os.listdir('/proc/1/root')",
        "os.readlink('/proc/1/cwd')",
        "open('/proc/1/environ')",
        "open('/proc/1/oom_score_adj', 'w')",
        "open('/dev/kmsg')",
    ],
)
def test_the_worker_is_out_of_reach_of(attack: str, execute: Execute) -> None:
    source = f"import os, resource\ntry: {attack}\nexcept OSError as error: print(error.errno)"
    assert execute(source).stdout in {f"{errno.EPERM}\n", f"{errno.EACCES}\n", f"{errno.ENOENT}\n"}


def test_only_the_three_standard_descriptors_are_open(execute: Execute) -> None:
    source = """
import os
def is_open(descriptor):
    try: os.fstat(descriptor)
    except OSError: return False
    return True
print([descriptor for descriptor in range(5000) if is_open(descriptor)])
"""
    assert execute(source).stdout == "[0, 1, 2]\n"


# Limits.


def test_a_program_has_a_process_group_of_its_own_and_cannot_raise_its_limits(execute: Execute) -> None:
    source = """
import os, resource
print(os.getpgid(0) == os.getpid())
for name in ("AS", "NPROC", "CPU", "NOFILE", "CORE"):
    kind = getattr(resource, f"RLIMIT_{name}")
    soft, hard = resource.getrlimit(kind)
    try: resource.setrlimit(kind, (hard + 1, hard + 1))
    except ValueError: print(soft == hard)
print(resource.getrlimit(resource.RLIMIT_CORE))
"""
    assert execute(source).stdout == "True\n" * 6 + "(1, 1)\n"


def test_a_program_that_sleeps_is_ended_at_its_limit(execute: Execute) -> None:
    run = execute("import time\nprint('here', flush=True)\ntime.sleep(999)", seconds=0.3)
    assert (run.timed_out, run.exit_code, run.stdout) == (True, 137, "here\n")


@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
        "import os\nos.close(1); os.close(2)\nwhile True: pass",
        "import signal\nfor n in {*range(1, 32)} - {9, 19}: signal.signal(n, lambda *_: None)\nwhile True: pass",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()",
        "import atexit, time\natexit.register(time.sleep, 99)",
        "import os, time\nwhile True: os.write(1, b'.'); time.sleep(0.001)",
    ],
)  # fmt: skip
def test_no_program_outlives_its_time(source: str, execute: Execute) -> None:
    run = execute(source, seconds=0.3)
    assert run.timed_out
    assert not run.too_much_output


@pytest.mark.parametrize("new", ["os.fork() or time.sleep(99)", "threading.Timer(99, print).start()"])
def test_processes_and_threads_are_counted_together(new: str, execute: Execute) -> None:
    source = f"""
import os, threading, time
started = 0
try:
    while started < 100:
        {new}
        started += 1
except (OSError, RuntimeError):
    os.write(1, f"{{started}}".encode())
    os._exit(0)
"""
    assert execute(source, processes=5).stdout == "4"


def test_memory_is_limited_and_the_traceback_tells_where_it_ended(execute: Execute) -> None:
    run = execute("data = []\ndef fill():\n    while True: data.append(bytearray(1 << 20))\nfill()", memory_mb=64)
    assert run.out_of_memory
    assert run.exit_code == 1
    assert run.stderr.startswith('Traceback (most recent call last):\n  File "main.py", line 4, in <module>\n')
    assert "line 3, in fill" in run.stderr
    assert run.stderr.endswith("\nMemoryError\n")


@pytest.mark.parametrize(
    "source",
    [
        "bytearray(8 << 30)",
        "x = 'a' * (1 << 40)",
        "x = []\nwhile True: x = [x, x[:], {len(x): x}]",
        "x = {}\nfor i in range(10**9): x[i] = str(i)",
        "import mmap\ntry:\n    x = [mmap.mmap(-1, 1 << 20) for _ in range(9999)]\nexcept OSError: raise MemoryError",
        "import numpy\nnumpy.ones(10**9)",
    ],
)
def test_a_memory_bomb_is_out_of_memory(source: str, execute: Execute) -> None:
    run = execute(source, memory_mb=64, seconds=20)
    assert run.out_of_memory, run


def test_a_program_that_survives_a_memory_error_is_not_out_of_memory(execute: Execute) -> None:
    run = execute("try: bytearray(8 << 30)\nexcept MemoryError: print('smaller')", memory_mb=64)
    assert (run.stdout, run.exit_code, run.out_of_memory) == ("smaller\n", 0, False)


def test_a_program_has_the_memory_that_it_was_given(execute: Execute) -> None:
    assert execute("print(len(bytearray(200 << 20)))", memory_mb=256).exit_code == 0
    assert execute("print(len(bytearray(300 << 20)))", memory_mb=256).out_of_memory


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_is_cut_at_its_limit(stream: str, execute: Execute) -> None:
    run = execute(f"import sys\nwhile True: print('x' * 1000, file=sys.{stream})", output_kb=64)
    assert run.too_much_output
    assert not run.timed_out
    assert len(getattr(run, stream)) == 64 << 10


def test_output_up_to_its_limit_is_whole(execute: Execute) -> None:
    run = execute("print('x' * ((64 << 10) - 1))", output_kb=64)
    assert (len(run.stdout), run.too_much_output, run.exit_code) == (64 << 10, False, 0)


@pytest.mark.parametrize(
    "source",
    [
        "import sys\nsys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**6): x = [x]\nrepr(x)",
        "import ctypes\nctypes.string_at(0)",
        "(" * 100_000,
        "-" * 1_000_000 + "1",
        "x = " + "[" * 150 + "1" + "]" * 150,
        "a = 1\n" * 300_000 + "#",
        "#" * 5_000_000,
        "x = '" + "é" * 2_000_000 + "'",
        "\ud800",
        "print('\udcff')",
        "a\0b",
        "\0" * 1000,
        "# coding: nonsense\n",
        "# coding: utf-7\nprint('+AGE-')",
        "\ufeffprint(1)",
        "\x0c\x1a\x7f",
    ],
    ids=lambda source: repr(source[:20]),
)
def test_a_source_that_hurts_compiler_or_interpreter_gives_an_ordinary_run(source: str, execute: Execute) -> None:
    run = execute(source, seconds=20)
    assert not run.timed_out
    assert run.exit_code in (0, 1, 134, 139)


@pytest.mark.parametrize("stdin", ["", "\ud800", "\0\0", "é" * 3_000_000, "\r\n\r"], ids=len)
def test_any_text_can_be_an_input(stdin: str, execute: Execute) -> None:
    size = len(stdin.encode("utf-8", "surrogatepass"))
    assert execute("import sys; print(len(sys.stdin.buffer.read()))", stdin).stdout == f"{size}\n"


def test_bytes_that_are_not_text_are_replaced(execute: Execute) -> None:
    assert execute("import os; os.write(1, b'a\\xff\\xed\\xa0\\x80b')").stdout == "a\ufffd\ufffd\ufffd\ufffdb"
