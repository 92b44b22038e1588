"""The program behind the wall: a Python that has started already, and forks once for every run.

It is PID 1 in there, so that nothing inside can signal it and one kill(-1) ends whatever a run left behind. What a
program is, reads and writes passes through it without being kept: requests go from the pipe to unlinked files that
only the forked child reads, and output goes through one buffer that is wiped. So a run, which is a copy of this process
and may search all of its memory, finds nothing of other runs.

Frames, both ways: one byte of kind, four of length, and the body.

    in    L    the limits of what follows, JSON: seconds, memory_mb, output_kb, processes
          P    the program of what follows, JSON: files, argv
          I    a standard input: run the program on it
    out   R    ready
          O E  a piece of standard output, of standard error
          D    done, packed: exit code, seconds, timed out, too much output
          X    this run could not be set up: why
"""

import contextlib
import ctypes
import gc
import importlib
import json
import math
import os
import resource
import select
import signal
import struct
import sys
import time
import traceback
from typing import Any, NoReturn

import script
from script import DIRECTORY

HEAD, DONE = struct.Struct("!cI"), struct.Struct("!Bd??")
REQUESTS, ANSWERS = 100, 101  # away from 0, 1 and 2, which are the programs'
PRELOADED = (
    *("bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "fractions", "functools", "heapq"),
    *("itertools", "numpy", "operator", "queue", "random", "re", "statistics", "string", "typing"),
)
PR_SET_DUMPABLE = 4
SYS_PIDFD_OPEN, SYS_CLOSE_RANGE = 434, 436  # a Python built with old kernel headers does not know them

libc = ctypes.CDLL(None, use_errno=True)

buffer = memoryview(bytearray(HEAD.size + (1 << 16)))


class Stream:
    """One output of the run, and how many bytes it may still write."""

    def __init__(self, kind: bytes, room: int) -> None:
        self.kind, self.room = kind, room
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)  # a program can open the pipe again and read from it first

    def relay(self) -> bool:
        """Pass on what has been written; return whether more can come."""
        try:
            count = os.readv(self.reader, [buffer[HEAD.size :]])
        except BlockingIOError:
            return True
        if count:
            fitting = min(count, max(self.room, 0))
            HEAD.pack_into(buffer, 0, self.kind, fitting)
            answer(buffer[: HEAD.size + fitting])
            buffer[: HEAD.size + count] = bytes(HEAD.size + count)
            self.room -= count
        return count > 0


def answer(frame: bytes | memoryview) -> None:
    """Write a whole frame."""
    rest = memoryview(frame)
    while rest:
        rest = rest[os.write(ANSWERS, rest) :]


def receive(length: int) -> bytes:
    """Read `length` bytes that are no secret."""
    body = b""
    while len(body) < length:
        body += os.read(REQUESTS, length - len(body)) or leave()
    return body


def spool(length: int) -> int:
    """Move the next `length` bytes of the pipe to an unlinked file, past this process's memory."""
    file = os.open(DIRECTORY, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    while length:
        length -= os.splice(REQUESTS, file, length) or leave()
    os.lseek(file, 0, os.SEEK_SET)
    return file


def leave() -> NoReturn:
    """End, and with PID 1 everything behind the wall: the host has closed the pipe, or is gone."""
    os._exit(0)


def start() -> None:
    """Get ready to serve: pipes out of the programs' way, modules loaded, memory closed to others."""
    if os.getpid() != 1:
        sys.exit("worker.py has to be PID 1 of its own pid namespace: after each run it kills all that it can see.")
    os.dup2(0, REQUESTS, inheritable=False)
    os.dup2(1, ANSWERS, inheritable=False)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # PID 1 is immune to a signal only without a handler
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    gc.collect()
    gc.freeze()
    answer(HEAD.pack(b"R", 0))


def serve() -> list[str]:
    """Answer requests for ever. Return in each forked child, with the command line that it is to run."""
    limits: dict[str, Any] = {}
    ceilings: dict[int, int] = {}
    program = -1
    while True:
        kind, length = HEAD.unpack(receive(HEAD.size))
        if kind == b"L":
            limits = json.loads(receive(length))
            ceilings = kernel_limits(limits)
        elif kind == b"P":
            with contextlib.suppress(OSError):
                os.close(program)
            program = spool(length)
        elif kind == b"I":
            stdin = spool(length)
            streams = [Stream(name, limits["output_kb"] << 10) for name in (b"O", b"E")]
            if not (pid := os.fork()):
                return prepare(program, (stdin, *(stream.writer for stream in streams)), ceilings)
            for descriptor in (stdin, *(stream.writer for stream in streams)):
                os.close(descriptor)
            answer(HEAD.pack(b"D", DONE.size) + watch(pid, streams, limits["seconds"]))
            for stream in streams:
                os.close(stream.reader)
            sweep()
        else:
            sys.exit(f"unknown frame {kind!r}")


def watch(pid: int, streams: list[Stream], seconds: float) -> bytes:
    """Relay what the run writes until it ends or reaches a limit; end all that it started, and tell how it ended."""
    started = time.monotonic()
    process = libc.syscall(SYS_PIDFD_OPEN, pid, 0)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(REQUESTS, 0)  # reports only that the host has hung up
    readers = {stream.reader: stream for stream in streams}
    for reader in readers:
        poll.register(reader, select.POLLIN)
    ended = False
    while not ended and (left := started + seconds - time.monotonic()) > 0 and all(s.room >= 0 for s in streams):
        for descriptor, _ in poll.poll(math.ceil(left * 1000)):
            if descriptor == REQUESTS:
                leave()
            elif descriptor == process:
                ended = True
            elif not readers[descriptor].relay():
                poll.unregister(descriptor)
    elapsed = time.monotonic() - started
    os.close(process)
    code = os.waitstatus_to_exitcode(end_all()[pid])
    for stream in streams:
        while stream.room >= 0 and stream.relay():
            pass
    too_much_output = any(stream.room < 0 for stream in streams)
    timed_out = not ended and not too_much_output
    return DONE.pack(code if code >= 0 else 128 - code, elapsed, timed_out, too_much_output)


def end_all() -> dict[int, int]:
    """Kill and reap everything but this process; return the wait statuses by process id."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    statuses = []
    with contextlib.suppress(ChildProcessError):
        while True:
            statuses.append(os.waitpid(-1, 0))
    return dict(statuses)


def sweep() -> None:
    """Empty the directory, whatever the names, modes and depth that a program has chosen for what it left there."""
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


def prepare(program: int, streams: tuple[int, ...], ceilings: dict[int, int]) -> list[str]:
    """Make this child a process that has the program's files, streams and limits, and nothing else of the worker's."""
    try:
        request = json.loads(os.pread(program, os.fstat(program).st_size, 0))
        for name, text in request["files"].items():
            if "/" in name:
                os.makedirs(os.path.dirname(f"{DIRECTORY}/{name}"), exist_ok=True)
            with open(f"{DIRECTORY}/{name}", "wb") as file:
                file.write(text.encode("utf-8", "surrogatepass"))
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        script.forget_modules(request["files"])
        for kind, value in ceilings.items():
            resource.setrlimit(kind, (value, value))
        for wanted, descriptor in enumerate(streams):
            os.dup2(descriptor, wanted)
        if libc.syscall(SYS_CLOSE_RANGE, 3, (1 << 31) - 1, 0) != 0:
            raise OSError(ctypes.get_errno(), "close_range, which needs Linux 5.9")
        return list(request["argv"][1:])
    except BaseException:  # noqa: BLE001 - whatever it was, it was not the program
        reason = traceback.format_exc().encode()
        answer(HEAD.pack(b"X", len(reason)) + reason)
        os._exit(1)


def kernel_limits(limits: dict[str, Any]) -> dict[int, int]:
    """Return the arguments of setrlimit(2). What the worker has mapped comes on top of a program's own memory."""
    with open("/proc/self/statm") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    wanted = {
        resource.RLIMIT_AS: mapped + (limits["memory_mb"] << 20),
        resource.RLIMIT_NPROC: limits["processes"] + 1,  # the worker counts too
        resource.RLIMIT_CPU: math.ceil(limits["seconds"] * (os.cpu_count() or 1)) + 1,
        resource.RLIMIT_NOFILE: 128,
        resource.RLIMIT_CORE: 1,  # 0 would still start the host's core dump handler, where it is a pipe
    }
    for kind, value in wanted.items():
        most = resource.getrlimit(kind)[1]
        wanted[kind] = value if most == resource.RLIM_INFINITY else min(value, most)
    return wanted


if __name__ == "__main__":
    start()
    script.run(serve())
