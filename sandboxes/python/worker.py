"""The program behind the wall: a Python that has started already, and forks for whatever it is to run.

    python worker.py [LAYER ...]

It puts the layers "landlock" and "seccomp" around itself where they are named, sees that it is behind "namespaces"
where these are, and runs programs in the directory where it was started. In a pid namespace it is PID 1, so that
nothing inside can signal it, and one kill(-1) ends whatever a program left behind. Where that is not so, in gVisor or
without namespaces, programs can have "threads" only, and signal nobody.

What a program is, reads and writes passes through it without being kept: requests go from the pipe to an unlinked file
that only the forked child reads, and output comes back from unlinked files, both through one buffer that is wiped. So a
program, which runs in a copy of this process and may search all of its memory, finds nothing of other programs.

A request is a `REQUEST` and its body, which only `script.py` reads. Each process that was forked for it is answered by
an `ANSWER` and three texts: the marks of `script.py`, what the process wrote to standard output and to standard error.
Kinds of answers: R ready, with the layers as JSON in place of marks; D a process has ended; G the inputs that are left
are given up; X a process could not be set up, with the reason in place of marks.
"""

import _signal  # without the conversions of signal, which every fork would pay for
import contextlib
import ctypes
import errno
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
from collections.abc import Callable, Iterable
from typing import NoReturn

import hooks  # noqa: F401 - before the modules whose hooks it keeps
import landlock
import processes
import script
import syscalls
from processes import ALONE, Process, Request

REQUEST = struct.Struct("!IdIIIId?Q")  # a Request
ANSWER = struct.Struct("!cIBd???QQQ")  # kind, inputs done, exit code, seconds, timed out, out of memory, alone, lengths
REQUESTS, ANSWERS = 100, 101  # away from 0, 1 and 2, which are the programs'
PRELOADED = ("bisect", "collections", "functools", "heapq", "itertools", "operator", "random", "re", "typing")
# Loaded ahead from the first program on that mentions them, as all that is loaded makes every fork slower.
LATER = ("copy", "dataclasses", "datetime", "decimal", "fractions", "numpy", "queue", "sortedcontainers", "statistics")
COMMANDS = ("call",)  # likewise, from the first program on that uses them
ASKS = 200  # the exit code by which a process asks for modules, those whose numbers are the bits in its marks
MOST_HANGS = 3  # after so many, what hangs beside another is not given another chance
MOST_TOGETHER = 64  # inputs that one process is given

MOST_FILES = 256  # open in the worker
PR_SET_DUMPABLE = 4
HANDLERS = ((_signal.SIGCHLD, 0), (_signal.SIGXFSZ, 0), (_signal.SIGINT, _signal.default_int_handler))  # of programs

missing = dict(enumerate((*LATER, *COMMANDS)))  # what has not been asked for yet
poll = select.poll()
in_child: list[Callable[[], None]] = []  # what of the wall is put up around programs only
libc = ctypes.CDLL(None, use_errno=True)
buffer = memoryview(bytearray(1 << 16))


def send(view: memoryview) -> None:
    """Write all of `view` to the host."""
    while view:
        view = view[os.write(ANSWERS, view) :]


def answer(kind: bytes, text: bytes = b"") -> None:
    """Send an answer that tells of no process."""
    send(memoryview(ANSWER.pack(kind, 0, 0, 0.0, False, False, False, len(text), 0, 0) + text))


def receive(length: int) -> bytes:
    """Read `length` bytes that are no secret."""
    body = b""
    while len(body) < length:
        body += os.read(REQUESTS, length - len(body)) or leave()
    return body


def spool(length: int) -> int:
    """Move the next `length` bytes from the host to a new file."""
    file = processes.scratch()
    while length:
        count = os.readv(REQUESTS, [buffer[:length]]) or leave()
        if os.write(file, buffer[:count]) < count:
            raise OSError(errno.ENOSPC, "a request does not fit into the working directory")
        buffer[:count] = bytes(count)
        length -= count
    return file


def leave() -> NoReturn:
    """End, and with PID 1 everything behind the wall: the host has closed the pipe, or is gone."""
    os._exit(0)


def start(layers: Iterable[str]) -> None:
    """Get ready to serve: pipes out of the programs' way, modules loaded, walls up, memory closed to others."""
    os.dup2(0, REQUESTS, inheritable=False)
    os.dup2(1, ANSWERS, inheritable=False)
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # PID 1 is immune to a signal only without a handler
    signal.signal(signal.SIGCHLD, lambda *_: None)  # this one it wants to hear of
    load(*PRELOADED)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    for layer in layers:
        try:
            put_up(layer)
        except OSError as error:
            sys.exit(f"The layer {layer} could not be set up ({error}).")
    answer(b"R", json.dumps([*layers]).encode())


def put_up(layer: str) -> None:
    """Put a layer around this process and all that come from it."""
    if layer == "landlock":
        landlock.confine(processes.DIRECTORY)
    elif layer == "seccomp" and ALONE:
        syscalls.filter_system_calls()
    elif layer in ("seccomp", "threads"):
        in_child.append(lambda: syscalls.filter_system_calls(processes=False))
    elif layer != "namespaces" or not ALONE:
        sys.exit(f"There is no layer {layer!r} here.")


def load(*modules: str) -> None:
    """Load those of `modules` that there are, for all processes to come."""
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    processes.mapped.cache_clear()
    gc.collect()
    gc.freeze()


def serve() -> NoReturn:
    """Answer requests for ever."""
    for descriptor in processes.WAKE:
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(processes.WAKE[1], warn_on_full_buffer=False)
    poll.register(processes.WAKE[0], select.POLLIN)
    poll.register(REQUESTS, 0)  # reports only that the host has hung up
    while True:
        request = Request(*REQUEST.unpack(receive(REQUEST.size)))
        body, cache = spool(request.length), processes.scratch()
        run_all(request, body, cache)
        os.close(body)
        os.close(cache)


def run_all(request: Request, body: int, cache: int) -> None:
    """Run all inputs of a request, with as many in one process as it allows."""
    first = timeouts = 0
    asked = False
    started = time.monotonic()
    while first < request.count:
        if 0 < request.timeouts <= timeouts or time.monotonic() - started >= request.total_seconds:
            answer(b"G")
            return
        process = Process(first, first + 1 if request.isolated else min(first + MOST_TOGETHER, request.count))
        group = [process]
        fork(process, request, body, cache)
        if processes.watch(process, request, pause, beside=not request.timeouts and first + 1 < request.count):
            beside = range(first + 1, min(first + processes.MOST_ABREAST, request.count))
            with contextlib.suppress(OSError):  # there is no room for more
                for place in beside:
                    group.append(Process(place, place + 1, beside=True))
                    fork(group[-1], request, body, cache)
            running = [each for each in group if each.pid > 0]
            processes.watch_group(running, request, pause, patient=timeouts < MOST_HANGS)
        question = () if asked else wanted(process)
        asked = asked or bool(question)
        load(*question)
        process.alone = process.single and len(group) == 1
        for each in group:
            if each.pid > 0 and each.first == first and not each.unfinished and not question:
                first += report(each, request)
                timeouts += each.timed_out
            each.close()
        if not processes.sweep():
            leave()  # the host starts another


def fork(process: Process, request: Request, body: int, cache: int) -> None:
    """Start `process`.

    Raises:
        OSError: there is no room for its files.
    """
    process.open()
    ceilings = processes.kernel_limits(request, process)
    process.pid = os.fork()
    if not process.pid:
        script.run(prepare(process, body, cache, ceilings), request.seconds)


def pause(seconds: float) -> None:
    """Wait for so long, or until a process has ended; leave when the host has."""
    if any(descriptor == REQUESTS for descriptor, _ in poll.poll(math.ceil(seconds * 1000))):
        leave()
    with contextlib.suppress(BlockingIOError):
        os.read(processes.WAKE[0], 1 << 12)


def wanted(process: Process) -> tuple[str, ...]:
    """Return the modules that a process has asked for, to have them loaded ahead; nothing if it did not.

    A program that imitates the question only runs again, once.
    """
    if os.waitstatus_to_exitcode(process.status or 0) != ASKS:
        return ()
    mask = int.from_bytes(os.pread(process.files[0], 2, 0), "big")
    return tuple(missing.pop(number) for number in list(missing) if mask >> number & 1)


def report(process: Process, request: Request) -> int:
    """Send what there is to tell about a process that has ended; return how many inputs it has dealt with.

    They are those that it marked, or else the one that its end tells about.
    """
    done = min(max(processes.marked(process), 1), process.last - process.first)
    most = processes.most_written(request) + 1
    files = process.files[:3]
    most_of = (done * script.MARK.size, most, most)
    lengths = [min(os.fstat(file).st_size, limit) for file, limit in zip(files, most_of, strict=True)]
    code = os.waitstatus_to_exitcode(process.status or 0)
    ANSWER.pack_into(
        buffer,
        0,
        *(b"D", done, code if code >= 0 else 128 - code, process.seconds),
        *(process.timed_out, process.out_of_memory, process.alone, *lengths),
    )
    filled = ANSWER.size
    for file, length in zip(files, lengths, strict=True):
        place = 0
        while place < length:
            if filled == len(buffer):
                filled = flush(filled)
            count = os.preadv(file, [buffer[filled : filled + length - place]], place)
            place, filled = place + count, filled + count
    flush(filled)
    return done


def flush(filled: int) -> int:
    """Send and wipe what the buffer is filled with."""
    send(buffer[:filled])
    buffer[:filled] = bytes(filled)
    return 0


def prepare(process: Process, body: int, cache: int, ceilings: dict[int, int]) -> script.Work:
    """Make this child a process that has the program, its streams and limits, and nothing else of the worker's."""
    try:
        _signal.set_wakeup_fd(-1)
        for number, handler in HANDLERS:
            _signal.signal(number, handler)
        os.setpgid(0, 0)  # a session of its own would have a processor share of its own
        processes.offer_to_killer()
        if process.beside:
            processes.stand_back()
        work = script.read(body, process.first, process.last)
        for confine in in_child:
            confine()
        marks, stdout, stderr, stdin = process.files
        if mask := sum(1 << number for number, name in missing.items() if work.uses(name)):
            os.write(marks, mask.to_bytes(2, "big"))
            os._exit(ASKS)
        for place, descriptor in enumerate((stdin, stdout, stderr, marks, cache)):
            os.dup2(descriptor, place)
        os.closerange(script.CACHE + 1, MOST_FILES)
        for kind, value in ceilings.items():
            resource.setrlimit(kind, (value, value))
        return work
    except BaseException:  # noqa: BLE001 - whatever it was, it was not the program
        answer(b"X", traceback.format_exc().encode())
        os._exit(1)


if __name__ == "__main__":
    start(sys.argv[1:])
    serve()
