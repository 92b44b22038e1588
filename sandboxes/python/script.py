"""Runs a Python file in a forked process as a newly started interpreter would, once per input, and ends the process.

Some things differ from ``python FILE``: some modules have been loaded ahead, the traceback of an error shows frames of
the program only, and at the end the interpreter is not torn down, which would take longer than most programs do.

When it is given several inputs it marks, after each, where its outputs end; the process ends early, and is forked again
for the rest, when a run leaves something behind that goes on, or an eighth of the time limit is used up.
"""

import atexit
import builtins
import errno
import gc
import importlib.machinery
import io
import marshal
import os
import random
import struct
import sys
import threading
import time
import warnings
from types import CodeType, ModuleType, TracebackType
from typing import Any, NamedTuple, NoReturn

import hooks

DIRECTORY = os.getcwd()  # all that a program can write to
COUNTS = struct.Struct("!III")  # the body: how many arguments, files and inputs, the length of each text, the texts
MARK = struct.Struct("!QQBd")  # where standard output and standard error end, exit code, seconds
MARKS, CACHE = 3, 4  # descriptors
RECURSION_LIMIT, HARNESS_FRAMES = 1000, 7  # and one more where several inputs share a process
FINALIZERS = (b"__del__", b"yield", b"weakref", b"finalize", b"async ")

reserve = [bytes(8 << 20)]  # let go when a program has failed, so that a MemoryError can still be written


class Work(NamedTuple):
    """What a process is to do."""

    argv: list[str]
    files: dict[str, bytes]
    inputs: list[bytes]

    def uses(self, module: str) -> bool:
        """Whether it may need a module that is loaded for those programs only that do."""
        return module == self.argv[0] if module == "call" else self.mentions(module.encode())

    def mentions(self, *words: bytes) -> bool:
        """Whether one of the words stands somewhere in the files."""
        return any(word in text for text in self.files.values() for word in words)


def read(body: int, first: int, last: int) -> Work:
    """Read the program, and the inputs from `first` up to `last`; no others, as memory can be searched."""
    arguments, files, inputs = COUNTS.unpack(os.pread(body, COUNTS.size, 0))
    fixed = arguments + 2 * files
    lengths = struct.unpack(f"!{fixed + inputs}Q", pread(body, 8 * (fixed + inputs), COUNTS.size))
    place = COUNTS.size + 8 * (fixed + inputs)
    texts = []
    for number, length in enumerate(lengths[: fixed + last]):
        if number < fixed or number >= fixed + first:
            texts.append(pread(body, length, place))
        place += length
    names = [text.decode("utf-8", "surrogatepass") for text in texts[: arguments + files]]
    contents = texts[arguments + files : fixed]
    return Work(names[:arguments], dict(zip(names[arguments:], contents, strict=True)), texts[fixed:])


def pread(file: int, length: int, place: int) -> bytes:
    """Read `length` bytes, also where one call does not return as many."""
    data = os.pread(file, length, place)
    while len(data) < length:
        data += os.pread(file, length - len(data), place + len(data))
    return data


def run(work: Work, seconds: float) -> NoReturn:
    """Run the program on each input and exit; when there is one input only, as the program does."""
    code, end = 1, os._exit  # here a program cannot replace it
    started = time.monotonic()
    try:
        hooks.release()
        furnish(work.files)
        forget_modules(work)
        if len(work.inputs) == 1:
            os.close(MARKS)
            feed(work.inputs.pop())
            code = finish(work, attempt(work, HARNESS_FRAMES))
        else:
            run_together(work, started + seconds / 8)
            code = 0
    finally:
        end(code)


def run_together(work: Work, deadline: float) -> None:
    """Run the program on one input after the other, and mark where the outputs of each end."""
    streams = [os.dup(descriptor) for descriptor in (0, 1, 2)]
    state = random.getstate() if work.mentions(b"random") else None
    for number, data in enumerate(work.inputs):
        if state and number:
            random.setstate(state)
        started = time.monotonic()
        for descriptor, stream in enumerate(streams):
            os.dup2(stream, descriptor)
        feed(data)
        renew_streams()
        code = attempt(work, HARNESS_FRAMES + 1)
        crowded = threading.active_count() > 1
        code = finish(work, code)
        ends = (os.fstat(stream).st_size for stream in streams[1:])
        os.write(MARKS, MARK.pack(*ends, code, time.monotonic() - started))
        if crowded or time.monotonic() > deadline:
            break


def furnish(files: dict[str, bytes]) -> None:
    """Write the program's files to the working directory."""
    for name, text in files.items():
        if "/" in name:
            os.makedirs(os.path.dirname(f"{DIRECTORY}/{name}"), exist_ok=True)
        file = os.open(f"{DIRECTORY}/{name}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        if os.write(file, text) < len(text):
            raise OSError(errno.ENOSPC, "the working directory is full")
        os.close(file)


def forget_modules(work: Work) -> None:
    """Unload what was loaded ahead under the name of one of the program's own files, which come first."""
    own = {name.split("/")[0].removesuffix(".py") for name in work.files}
    own.difference_update(sys.builtin_module_names, work.argv[:1])
    if own & sys.modules.keys():  # rarely; going through all names would copy the memory that they are in
        for name in [name for name in sys.modules if name.partition(".")[0] in own]:
            del sys.modules[name]


def feed(data: bytes) -> None:
    """Make `data` the standard input."""
    os.ftruncate(0, 0)
    if os.pwrite(0, data, 0) < len(data):
        raise OSError(errno.ENOSPC, "the working directory is full")
    os.lseek(0, 0, os.SEEK_SET)


def renew_streams() -> None:
    """Give the program standard streams that no earlier run has used."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        old = getattr(sys, f"__{name}__")
        buffering = 1 if descriptor == 2 else -1
        new = io.open(descriptor, mode, buffering, old.encoding, old.errors, closefd=False)  # noqa: SIM115, UP020
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def attempt(work: Work, frames: int) -> int:
    """Run the program once, from `frames` calls deep, and return its exit code."""
    command, path, *arguments = work.argv
    try:
        namespace = set_stage([path, *arguments], frames)
        code = compiled(path, work.files[path])
        if command == "call":
            sys.modules["call"].call(code, arguments[0])
        else:
            exec(code, namespace)
    except BaseException as error:  # noqa: BLE001 - the job is to report it
        return exit_code(error)
    return 0


def set_stage(argv: list[str], frames: int) -> dict[str, Any]:
    """Bring the interpreter, `frames` calls deep, to where a script starts, and return the script's namespace."""
    path = f"{DIRECTORY}/{argv[0]}"
    os.chdir(DIRECTORY)
    sys.argv[:] = argv
    sys.path[0] = os.path.dirname(path)
    sys.setrecursionlimit(RECURSION_LIMIT + frames)
    sys.excepthook = report
    threading.excepthook = report_thread
    module = sys.modules["__main__"] = ModuleType("__main__")
    module.__file__ = path
    module.__builtins__ = builtins  # type: ignore[attr-defined]
    module.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
    return vars(module)


codes: list[CodeType] = []


def compiled(path: str, source: bytes) -> CodeType:
    """Compile the bytes of a file, so that whatever is wrong with them is a SyntaxError of that file.

    It is done once for all processes of a request: the first leaves the code in a file, before the program runs and
    could change it.
    """
    if not codes:
        codes.extend(kept_code())
        if not codes:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                codes.append(compile(source, path, "exec", dont_inherit=True))
            kept = marshal.dumps(codes[0])
            if os.pwrite(CACHE, kept, 0) < len(kept):
                os.ftruncate(CACHE, 0)
        os.close(CACHE)
    return codes[0]


def kept_code() -> list[CodeType]:
    """Return the code that another process has left, if it has, and is not just doing so."""
    try:
        return [marshal.loads(pread(CACHE, os.fstat(CACHE).st_size, 0))]
    except (EOFError, ValueError, TypeError):
        return []


def exit_code(error: BaseException) -> int:
    """Say how the program failed, as the interpreter does, and return the exit code that it gives to that."""
    if not isinstance(error, SystemExit):
        reserve.clear()
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    if isinstance(error.code, int):
        return int.__and__(error.code, 0xFF)
    if error.code is not None:
        sys.stderr.write(f"{error.code}\n")
    return int(error.code is not None)


def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback as the interpreter does, but of the program's own frames."""
    pending, seen = [error], set[int]()
    while pending:
        if id(part := pending.pop()) not in seen:
            seen.add(id(part))
            part.__traceback__ = own_frames(part.__traceback__)
            pending += [linked for linked in (part.__cause__, part.__context__) if linked]
            pending += part.exceptions if isinstance(part, BaseExceptionGroup) else []
    if error.__traceback__ is None and not isinstance(error, SyntaxError):
        sys.stderr.write("Traceback (most recent call last):\n")
    sys.__excepthook__(kind, error, error.__traceback__)


def report_thread(args: threading.ExceptHookArgs) -> None:
    """Print the traceback of a thread in the same way."""
    if args.exc_type is not SystemExit and args.exc_value:
        sys.stderr.write(f"Exception in thread {args.thread.name if args.thread else ''}:\n")
        report(args.exc_type, args.exc_value, args.exc_traceback)


def own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return `trace` without the frames of files outside of the working directory."""
    entries = []
    while trace:
        path = trace.tb_frame.f_code.co_filename
        if path.startswith(f"{DIRECTORY}/") or not path.startswith(("/", "<frozen ")):
            entries.append(trace)
        trace = trace.tb_next
    for entry in reversed(entries):
        trace = TracebackType(trace, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return trace


def finish(work: Work, code: int) -> int:
    """Do what the interpreter does at exit: wait for threads, call what atexit has, flush, drop the program, flush."""
    if threading.active_count() > 1:
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    code = flush(code)
    for name in ("__main__", "main"):
        module = sys.modules.pop(name, None)
        if module and not work.mentions(*FINALIZERS):
            vars(module).clear()  # at once, where nobody can see in which order
        del module
    if work.mentions(*FINALIZERS):
        gc.collect()
    return flush(code)


def flush(code: int) -> int:
    """Write what the program has left in its streams, and return its exit code."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            if not getattr(stream, "closed", stream is None):
                stream.flush()
        except Exception:  # noqa: BLE001 - a stream may be anything
            code = 120 if stream in (sys.stdout, sys.__stdout__) else code
    return code
