"""Runs a Python file in a forked process as a newly started interpreter would, and ends the process.

Three things differ from ``python FILE``: some modules have been loaded ahead, the traceback of an error shows frames of
the program only, and at the end the interpreter is not torn down, which would take longer than most programs do.
"""

import atexit
import builtins
import gc
import importlib.machinery
import os
import sys
import threading
from collections.abc import Iterable
from types import CodeType, ModuleType, TracebackType
from typing import NoReturn

DIRECTORY = "/tmp"  # the working directory, and all that a program can write to

reserve = [bytes(8 << 20)]  # let go when a program has failed, so that a MemoryError can still be written


def run(argv: list[str]) -> NoReturn:
    """Run ``argv[0]``, a path in the working directory, and exit as it does."""
    code = 1
    try:
        set_stage(argv)
        try:
            exec(compiled(argv[0]), vars(sys.modules["__main__"]))
            code = 0
        except BaseException as error:  # noqa: BLE001 - the job is to report it
            code = exit_code(error)
        code = finish(code)
    finally:
        os._exit(code)


def forget_modules(files: Iterable[str]) -> None:
    """Unload what was loaded ahead under the name of one of the program's own files, which come first."""
    own = {name.split("/")[0].removesuffix(".py") for name in files}.difference(sys.builtin_module_names)
    if own & sys.modules.keys():  # rarely; going through all names would copy the memory that they are in
        for name in [name for name in sys.modules if name.partition(".")[0] in own]:
            del sys.modules[name]


def set_stage(argv: list[str]) -> None:
    """Bring the interpreter into the state in which a script starts."""
    path = f"{DIRECTORY}/{argv[0]}"
    sys.argv[:] = argv
    sys.path[0] = os.path.dirname(path)
    module = sys.modules["__main__"] = ModuleType("__main__")
    module.__file__ = path
    module.__builtins__ = builtins  # type: ignore[attr-defined]
    module.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
    sys.excepthook = report
    threading.excepthook = report_thread


def compiled(path: str) -> CodeType:
    """Compile the bytes of a file, so that whatever is wrong with them is a SyntaxError of that file."""
    with open(path, "rb") as file:
        return compile(file.read(), path, "exec", dont_inherit=True)


def exit_code(error: BaseException) -> int:
    """Say how the program failed, as the interpreter does, and return the exit code that it gives to that."""
    if not isinstance(error, SystemExit):
        reserve.clear()
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    if isinstance(error.code, int):
        return error.code & 0xFF
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


def finish(code: int) -> int:
    """Do what the interpreter does at exit: wait for threads, call what atexit has, drop the module, flush."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    del sys.modules["__main__"]
    gc.collect()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except OSError:
            code = 120
    return code
