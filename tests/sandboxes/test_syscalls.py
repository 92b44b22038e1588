"""The system call filter: its program is run here, call by call, for both kinds of machine; then by the kernel."""

import errno
import importlib
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

INSIDE = Path(__file__).parents[2] / "sandboxes" / "python"
ARCHS = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
I386, X32 = 0x40000003, 0x40000000
ALLOWED, KILLED, REFUSED, ABSENT = 0x7FFF0000, 0x80000000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
CLONE, CLONE3, FCNTL, SOCKETPAIR = (56, 220), (435, 435), (72, 25), (53, 199)
KILL, TGKILL, FORK, FCHMOD, IOCTL, PRCTL = (62, 129), (234, 131), (57, None), (91, 52), (16, 29), (157, 167)
PRLIMIT64, SCHED_SETAFFINITY, MADVISE, FADVISE64 = (302, 261), (203, 122), (28, 233), (221, 223)
A_PROCESS, A_THREAD = 17, 0x3D0F00


@pytest.fixture(params=ARCHS)
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=name))
    return name


@pytest.fixture
def syscalls(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # programs see that folder
    monkeypatch.syspath_prepend(INSIDE)
    return importlib.import_module("syscalls")


def decide(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """Run the filter as the kernel does."""
    code = list(struct.iter_unpack("HBBI", program))
    data = struct.pack("=IIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    place = value = 0
    while True:
        operation, if_true, if_false, operand = code[place]
        place += 1
        if operation == 0x06:
            return int(operand)
        if operation == 0x20:
            value = struct.unpack_from("=I", data, operand)[0]
        else:
            holds = {0x15: value == operand, 0x25: value > operand, 0x35: value >= operand, 0x45: value & operand != 0}
            place += if_true if holds[operation] else if_false


def decisions(syscalls: ModuleType, machine: str, call: tuple[int | None, int | None], *arguments: int) -> list[int]:
    """Return what is decided about a call where processes are allowed, and where they are not."""
    number = call[list(ARCHS).index(machine)]
    assert number is not None
    return [decide(syscalls._filter(processes), ARCHS[machine], number, *arguments) for processes in (True, False)]


@pytest.mark.parametrize(
    "name",
    [
        *("execve", "execveat", "socket", "connect", "bind", "accept4", "setsockopt", "ptrace", "process_vm_readv"),
        *("process_vm_writev", "process_madvise", "kcmp", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "mount"),
        *("umount2", "pivot_root", "chroot", "unshare", "setns", "open_tree", "move_mount", "fsopen", "fsmount"),
        *("mount_setattr", "name_to_handle_at", "open_by_handle_at", "bpf", "perf_event_open", "userfaultfd"),
        *("io_uring_setup", "io_uring_enter", "io_uring_register", "io_setup", "add_key", "request_key", "keyctl"),
        *("memfd_create", "memfd_secret", "shmget", "shmat", "msgget", "semget", "mq_open", "setxattr", "lsetxattr"),
        *("fsetxattr", "removexattr", "inotify_init1", "inotify_add_watch", "fanotify_init", "setpriority"),
        *("ioprio_set", "sched_setattr", "personality", "kexec_load", "syslog", "quotactl", "acct", "swapon"),
        *("reboot", "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "init_module", "finit_module"),
        *("setuid", "setgid", "setgroups", "capset", "chown", "fchown", "sethostname", "sync", "syncfs", "mlock"),
        *(
            "mbind",
            "move_pages",
            "vmsplice",
            "mincore",
            "rt_sigqueueinfo",
            "rt_tgsigqueueinfo",
            "seccomp",
            "landlock_restrict_self",
        ),
    ],
)
def test_what_reaches_past_the_wall_is_refused(name: str, syscalls: ModuleType) -> None:
    number = numbers_of_linux().get(name)
    assert number is not None
    assert {decide(syscalls._filter(True), ARCHS["x86_64"], number, *[0] * 6)} <= {REFUSED, ABSENT}


def numbers_of_linux() -> dict[str, int]:
    """Return the numbers of x86_64 as the kernel's own header gives them."""
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if os.uname().machine != "x86_64" or not header.exists():
        pytest.skip("Needs the kernel's headers for x86_64 (Debian: linux-libc-dev).")
    return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header.read_text())}


def test_every_number_is_the_kernel_s(syscalls: ModuleType) -> None:
    tables = [syscalls._ALLOWED, syscalls._ALLOWED_IN_NAMESPACES, *syscalls._ALLOWED_WITH, "clone 56 220"]
    ours = {entry.split()[0]: int(entry.split()[1]) for entry in ",".join(tables).split(",") if entry.strip()}
    linux = numbers_of_linux()
    assert len(ours) > 190
    assert {name: number for name, number in ours.items() if name in linux} == {
        name: linux[name] for name in ours if name in linux
    }


@pytest.mark.parametrize("column", [1, 2])
def test_no_number_stands_for_two_calls(column: int, syscalls: ModuleType) -> None:
    tables = ",".join([syscalls._ALLOWED, syscalls._ALLOWED_IN_NAMESPACES, *syscalls._ALLOWED_WITH, "clone 56 220"])
    numbers = syscalls._numbers(tables, column)
    assert len(numbers) == len(set(numbers))


def test_exactly_the_numbers_of_the_tables_are_allowed(machine: str, syscalls: ModuleType) -> None:
    column = list(ARCHS).index(machine) + 1
    plain = set(syscalls._numbers(syscalls._ALLOWED, column))
    more = set(syscalls._numbers(syscalls._ALLOWED_IN_NAMESPACES, column))
    nodes = "mknod 133 -, mknodat 259 33"
    checked = set(syscalls._numbers(",".join([*syscalls._ALLOWED_WITH, "clone 56 220", nodes]), column))
    for processes, expected in ((True, plain | more), (False, plain)):
        program = syscalls._filter(processes)
        always = {number for number in range(600) if decide(program, ARCHS[machine], number, *[1 << 31] * 6) == ALLOWED}
        assert always - checked == expected


def test_a_call_of_another_architecture_ends_the_process(machine: str, syscalls: ModuleType) -> None:
    other = next(arch for name, arch in ARCHS.items() if name != machine)
    assert [decide(syscalls._filter(True), arch, 0) for arch in (I386, other, 0)] == [KILLED] * 3


def test_newer_calls_and_x32_are_absent_so_that_libraries_do_without(machine: str, syscalls: ModuleType) -> None:
    program = syscalls._filter(True)
    numbers = (CLONE3[0], 463, 467, 999, X32, X32 | 1, X32 | 59, 0xFFFFFFFF)
    assert [decide(program, ARCHS[machine], number) for number in numbers] == [ABSENT] * len(numbers)


@pytest.mark.parametrize("flag", [0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000])
@pytest.mark.parametrize("kind", [A_PROCESS, A_THREAD])
def test_nothing_is_started_in_a_new_namespace(flag: int, kind: int, machine: str, syscalls: ModuleType) -> None:
    assert decisions(syscalls, machine, CLONE, kind | flag) == [REFUSED, REFUSED]


def test_threads_can_always_be_started_and_processes_where_that_is_allowed(machine: str, syscalls: ModuleType) -> None:
    assert decisions(syscalls, machine, CLONE, A_THREAD) == [ALLOWED, ALLOWED]
    assert decisions(syscalls, machine, CLONE, A_PROCESS) == [ALLOWED, REFUSED]
    if machine == "x86_64":
        assert decisions(syscalls, machine, FORK) == [ALLOWED, REFUSED]


@pytest.mark.parametrize("call", [KILL, TGKILL])
def test_where_there_are_no_processes_only_the_own_one_can_be_signalled(
    call: tuple[int, int], machine: str, syscalls: ModuleType
) -> None:
    assert decisions(syscalls, machine, call, os.getpid(), 9) == [ALLOWED, ALLOWED]
    for pid in (0, 1, os.getppid(), 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF):
        assert decisions(syscalls, machine, call, pid, 9) == [ALLOWED, REFUSED]


def test_modes_of_files_can_be_changed_only_behind_namespaces(machine: str, syscalls: ModuleType) -> None:
    assert decisions(syscalls, machine, FCHMOD, 3, 0o777) == [ALLOWED, REFUSED]


@pytest.mark.parametrize(
    ("call", "allowed", "refused"),
    [
        (SOCKETPAIR, [(1, 1), (1, 0x80001), (1, 0x80801)], [(2, 1), (30, 1), (1, 2), (1, 5), (1, 0x80002)]),
        (FCNTL, [(0, 1), (0, 3), (0, 4), (9, 1030)], [(0, 8), (0, 10), (0, 15), (0, 1024), (0, 1026), (0, 1033)]),
        (IOCTL, [(0, 0x5401), (0, 0x541B)], [(0, 0x5412), (0, 0x541C), (0, 0x8901), (0, 0x5452)]),
        (PRCTL, [(15, 0), (38, 1)], [(1, 0), (4, 1), (10, 0), (22, 2), (24, 0), (36, 1), (0x59616D61, 1)]),
        (MADVISE, [(0, 0, 4), (0, 0, 8), (0, 0, 14)], [(0, 0, 20), (0, 0, 21), (0, 0, 12), (0, 0, 100)]),
        (FADVISE64, [(0, 0, 0, 0), (0, 0, 0, 3)], [(0, 0, 0, 4)]),
        (PRLIMIT64, [(0, 7)], [(1, 7), (0xFFFFFFFF, 7)]),
        (SCHED_SETAFFINITY, [(0,)], [(1,)]),
    ],
)
def test_a_call_of_two_uses_is_allowed_for_one(
    call: tuple[int, int],
    allowed: list[tuple[int, ...]],
    refused: list[tuple[int, ...]],
    machine: str,
    syscalls: ModuleType,
) -> None:
    for arguments in allowed:
        assert decisions(syscalls, machine, call, *arguments) == [ALLOWED, ALLOWED]
    for arguments in refused:
        assert decisions(syscalls, machine, call, *arguments) == [REFUSED, REFUSED]


def test_the_filter_is_short_enough_for_the_kernel_and_no_jump_leaves_it(machine: str, syscalls: ModuleType) -> None:
    code = list(struct.iter_unpack("HBBI", syscalls._filter(False)))
    assert len(code) < 400
    assert all(place + max(skips) < len(code) for place, (_, *skips, _) in enumerate(code))


def test_on_another_machine_it_says_where_it_works(monkeypatch: pytest.MonkeyPatch, syscalls: ModuleType) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="pdp11"))
    with pytest.raises(OSError, match="x86_64 and aarch64 only"):
        syscalls.filter_system_calls()


# By the kernel.


def filtered(processes: bool, source: str) -> subprocess.CompletedProcess[str]:
    """Run source text in an interpreter that has filtered itself."""
    start = (
        f"import sys; sys.path.insert(0, {str(INSIDE)!r}); import syscalls; syscalls.filter_system_calls({processes})"
    )
    command = [sys.executable, "-B", "-c", f"{start}\n{source}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("processes", [True, False])
def test_what_is_refused_is_an_ordinary_error(processes: bool) -> None:
    source = """
import os, socket, subprocess, threading
for attempt in (
    lambda: os.execv("/bin/true", ["true"]), lambda: subprocess.run(["true"]), socket.socket,
    lambda: os.memfd_create("a"), lambda: os.setxattr(".", "user.a", b""), lambda: os.setpriority(0, 1, 19),
):
    try: attempt(); print("done")
    except PermissionError as error: print(error.errno)
threading.Thread(target=print, args=("a thread",)).start()
"""
    result = filtered(processes, source)
    assert result.stdout == "1\n" * 6 + "a thread\n", result.stderr


def test_a_process_that_may_start_no_others_can_still_end_itself() -> None:
    source = """
import os, signal
for attempt in (os.fork, lambda: os.kill(os.getppid(), 0), lambda: os.chmod(".", 0o700)):
    try: attempt(); print("done")
    except PermissionError: print("refused")
print(end="", flush=True)
os.abort()
"""
    result = filtered(False, source)
    assert (result.stdout, result.returncode) == ("refused\n" * 3, -6), result.stderr


def test_it_holds_without_further_privileges_for_what_comes_from_the_process() -> None:
    source = """
import os
if os.fork() == 0:
    status = open("/proc/self/status").read().split()
    print(status[status.index("NoNewPrivs:") + 1], status[status.index("Seccomp:") + 1])
"""
    assert filtered(True, source).stdout == "1 2\n"
