"""The processes of the worker: how they are limited, watched and ended, and how what they leave behind is removed."""

import contextlib
import ctypes
import functools
import math
import os
import resource
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from script import MARK

DIRECTORY = os.getcwd()  # all that a program can write to
ALONE = os.getpid() == 1  # in a pid namespace, where nothing but the worker and its programs is
MOST_ABREAST = 32  # processes that run side by side
MOST_FULL = 4  # of them may use all of their memory
TICK = 0.05  # seconds between two looks at how much memory they have
MOST_WAITED = 3.0  # times its limit that a process may take longer when it is made to wait for a processor
PATIENCE = 1 / 8  # of the time limit: what takes longer is dealt with as what may hang
SMALLEST_FILE_LIMIT = 16 << 20
USUAL_FILE = "main.py"  # what most programs leave behind, and nothing else
SYS_GETDENTS = {"x86_64": 217, "aarch64": 61}
SIZE_OF_DOTS = 48  # bytes that getdents64 returns for . and ..

Pause = Callable[[float], None]  # waits for so many seconds, or until a process has ended

WAKE = os.pipe()  # tells that a process has ended
libc = ctypes.CDLL(None, use_errno=True)
entries = ctypes.create_string_buffer(1024)  # enough for the longest name


class Request(NamedTuple):
    """What the worker has to know of a request. The meaning is that of the fields of Program."""

    count: int
    seconds: float
    memory_mb: int
    output_kb: int
    processes: int
    timeouts: int  # 0 for no such limit
    total_seconds: float
    isolated: bool
    length: int


class Process:
    """A process that runs the inputs from `first` up to `last`, and the files that it writes to."""

    def __init__(self, first: int, last: int, beside: bool = False) -> None:
        self.first, self.last, self.beside = first, last, beside
        self.started = time.monotonic()
        self.files: list[int] = []  # marks, standard output, standard error, standard input
        self.pid = -1
        self.probes: list[int] = []  # see `waited`
        self.marked, self.marked_at = 0, 0.0  # see `stuck`
        self.status: int | None = None
        self.seconds = 0.0
        self.timed_out = self.out_of_memory = self.unfinished = self.alone = False

    def open(self) -> None:
        """Make its files.

        Raises:
            OSError: others, that run already, have left no room for them.
        """
        for _ in range(4):
            self.files.append(scratch())

    def close(self) -> None:
        """Let go of its files."""
        while self.files:
            os.close(self.files.pop())

    @property
    def single(self) -> bool:
        """Whether it has one input only."""
        return self.last - self.first == 1


def scratch() -> int:
    """Return a new file without a name."""
    with contextlib.suppress(OSError):  # gVisor does not have it
        return os.open(DIRECTORY, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    path = f"{DIRECTORY}/{os.urandom(16).hex()}"
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return file


def marked(process: Process) -> int:
    """Return of how many inputs a process has marked the end."""
    return os.fstat(process.files[0]).st_size // MARK.size


def watch(process: Process, request: Request, pause: Pause, beside: bool) -> bool:
    """Wait until `process` has ended, or reaches a limit; then end it and whatever it has started.

    If others may run beside it, return True, and end nothing, as soon as it seems to hang at its first input.
    """
    limit = request.seconds
    while not ended(process):
        elapsed = time.monotonic() - process.started
        if elapsed >= limit:
            limit = request.seconds + waited([process], request)
        process.out_of_memory = elapsed >= TICK and occupied([process]) > request.memory_mb << 20
        if elapsed >= limit or process.out_of_memory or stuck(process, request):
            process.timed_out = not process.out_of_memory
            break
        if beside and elapsed >= PATIENCE * request.seconds and not marked(process):
            return True
        pause(min(limit - elapsed, TICK))
    end_all([process])
    process.timed_out = process.timed_out and (process.single or not marked(process))
    return False


def watch_group(group: list[Process], request: Request, pause: Pause, patient: bool) -> None:
    """Wait until the first of `group`, which seemed to hang, has ended or reached its time limit; then end all.

    The others only use that time. If the first ended well, those that did not are unfinished. If it timed out they have
    as long as it had, and then have timed out as well; except, if we are `patient`, those that got hardly any of it.
    """
    first, running = group[0], group
    limit = request.seconds
    while running := [process for process in running if not ended(process)]:
        elapsed = time.monotonic() - first.started
        if elapsed >= limit and not first.timed_out:
            limit = request.seconds + waited(group, request)
        first.timed_out = first.timed_out or (first in running and elapsed >= limit)
        if not first.timed_out and (first not in running or marked(first)):
            break
        full = occupied(group) > request.memory_mb * MOST_FULL << 20
        if full or elapsed >= limit + PATIENCE * request.seconds:
            for process in running:
                process.out_of_memory = full
                process.timed_out = not full and (process is first or not (patient and starved(process, request)))
            break
        pause(TICK)
    for process in running:
        process.unfinished = process is not first and not process.timed_out and not process.out_of_memory
    end_all(running)


def starved(process: Process, request: Request) -> bool:
    """Whether a process wanted a processor, and hardly got one."""
    ran, waiting = schedule(process.pid)
    return ran < PATIENCE * request.seconds < waiting


def stuck(process: Process, request: Request) -> bool:
    """Whether a process is at one input, not its first, for so long that this had better start again as a first."""
    now = time.monotonic()
    if not process.single and process.marked != marked(process):
        process.marked, process.marked_at = marked(process), now
    return process.marked > 0 and now - process.marked_at > PATIENCE * request.seconds


def ended(process: Process) -> bool:
    """Whether `process` has ended; then its status is known."""
    if process.status is None:
        pid, status = os.waitpid(process.pid, os.WNOHANG)
        if not pid:
            return False
        process.status, process.seconds = status, time.monotonic() - process.started
    return True


def end_all(group: list[Process]) -> None:
    """Kill and reap everything but this process; without a pid namespace, `group` and what stayed with it."""
    running = [process for process in group if process.status is None]
    for pid in [-1] if ALONE else [pid for process in running for pid in (process.pid, -process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    statuses = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, 0)
            statuses[pid] = status
    for process in running:
        process.status, process.seconds = statuses[process.pid], time.monotonic() - process.started


def waited(group: list[Process], request: Request) -> float:
    """Return for how many seconds others made the first of `group` wait for a processor, where the kernel tells.

    None if one of the group ever had threads or processes of its own, which could have made it wait: they took numbers
    between and after those of the group.
    """
    if not ALONE:
        return 0.0
    if not (probe := os.fork()):
        os._exit(0)
    os.waitpid(probe, 0)
    pid = group[0].pid
    group[0].probes.append(probe)
    numbers = [*(process.pid for process in group), *group[0].probes]
    if numbers != list(range(pid, pid + len(numbers))):
        return 0.0
    return min(schedule(pid)[1], MOST_WAITED * request.seconds)


def schedule(pid: int) -> tuple[float, float]:
    """Return for how many seconds a process has run and has waited for a processor, as far as the kernel tells."""
    try:
        with open(f"/proc/{pid}/schedstat") as schedstat:
            ran, waiting, _ = schedstat.read().split()
            return int(ran) / 1e9, int(waiting) / 1e9
    except (OSError, ValueError):
        return 0.0, 0.0


def occupied(group: list[Process]) -> int:
    """Return how many bytes of memory the processes behind the wall have, if several, beyond what each inherits.

    The kernel limits each process. Without a pid namespace those of `group` cannot have started others.
    """
    pids = [process.pid for process in group]
    if ALONE:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]
    inherited = resident("self")
    return sum(max(0, resident(pid) - inherited) for pid in pids) if len(pids) > 1 else 0


def resident(pid: int | str) -> int:
    """Return how many bytes of memory a process has; none if it has ended."""
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def offer_to_killer() -> None:
    """Make the kernel kill this process first when memory is full, before any other of this machine."""
    try:
        file = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(file, b"1000")
        os.close(file)
    except OSError:
        pass  # not every kernel has it


def stand_back() -> None:
    """Make this process use only the time of the processors that others leave."""
    with contextlib.suppress(OSError):  # gVisor does not have it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def most_written(request: Request) -> int:
    """Return how many bytes a process may write to each stream, for all of its inputs together."""
    return max(request.output_kb << 10, SMALLEST_FILE_LIMIT)


@functools.cache
def mapped() -> int:
    """Return how many bytes of addresses the worker uses, and with it every process that it forks."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


def kernel_limits(request: Request, process: Process) -> dict[int, int]:
    """Return the arguments of setrlimit(2). What the worker has mapped comes on top of a program's own memory."""
    wanted = {
        resource.RLIMIT_AS: mapped() + (request.memory_mb << 20) + request.length,
        resource.RLIMIT_CPU: math.ceil(request.seconds * (os.cpu_count() or 1)) + 1,
        resource.RLIMIT_FSIZE: max(most_written(request), request.length) + 1,
        resource.RLIMIT_NOFILE: 128,
        resource.RLIMIT_CORE: 1,  # 0 would still start the host's core dump handler, where it is a pipe
    }
    if ALONE:
        wanted[resource.RLIMIT_NPROC] = request.processes + 1 + MOST_ABREAST * process.beside
    for kind, value in wanted.items():
        most = resource.getrlimit(kind)[1]
        wanted[kind] = value if most == resource.RLIM_INFINITY else min(value, most)
    return wanted


def sweep() -> bool:
    """Empty the directory, and return whether that went well.

    What stands there stays out of this process's memory, which all programs to come inherit.
    """
    with contextlib.suppress(OSError):
        os.unlink(f"{DIRECTORY}/{USUAL_FILE}")
    os.chmod(DIRECTORY, 0o700)
    emptied = is_empty(DIRECTORY)
    if not emptied:
        if not (pid := os.fork()):
            try:
                empty()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        emptied = is_empty(DIRECTORY)
    os.utime(DIRECTORY, (0, 0))
    return emptied


def is_empty(folder: str) -> bool:
    """Whether there is nothing in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    count = libc.syscall(SYS_GETDENTS[os.uname().machine], descriptor, entries, len(entries))
    ctypes.memset(entries, 0, len(entries))
    os.close(descriptor)
    return bool(count <= SIZE_OF_DOTS)


def empty() -> None:
    """Remove all in the directory, whatever the names, modes and depth that a program has chosen for it."""
    folders = clear(DIRECTORY)
    while folders:
        folder = folders.pop()
        for inner in clear(folder):
            os.chmod(inner, 0o700)
            folders.append(lifted := f"{DIRECTORY}/{os.urandom(16).hex()}")
            os.rename(inner, lifted)  # so that no path grows with the depth
        os.rmdir(folder)


def clear(folder: str) -> list[str]:
    """Remove all but the folders in `folder`, and return those."""
    os.chmod(folder, 0o700)
    folders = []
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.path)
        else:
            os.unlink(entry.path)
    return folders
