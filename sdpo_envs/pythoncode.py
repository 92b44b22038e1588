"""What the judge has to know about Python: how a program is started, whether it compiles, what its traceback says.

A program writes, or forges, its own traceback. So what is told of hidden tests too, the cause of a crash, is one of a
fixed set of words; and of a program's main file, line numbers are all that is taken from a traceback.
"""

import builtins
import json
import re
import signal
from dataclasses import dataclass
from itertools import groupby

from sdpo_envs.core import Finding
from sdpo_envs.feedback import printable
from sdpo_envs.sandbox import Program, Run, Sandbox

MAIN = "main.py"

_MOST_CHARACTERS = 2**20
_FRAMES_TOLD = 5
_LINE_SHOWN, _BEFORE_THE_CARET = 100, 60
_SIGNALS = {
    "SIGSEGV": "the interpreter crashed",
    "SIGBUS": "the interpreter crashed",
    "SIGILL": "the interpreter crashed",
    "SIGFPE": "the interpreter crashed",
    "SIGABRT": "the interpreter aborted",
    "SIGKILL": "the program was killed",
    "SIGSYS": "a forbidden system call",
    "SIGXFSZ": "a file grew too long",
}
_HEADER = "Traceback (most recent call last):\n"
_FRAME = re.compile(r'^ *File "(?:/tmp/)?([\w./-]+\.py)", line (\d{1,6})\b.*(?:\n {4}(.*))?', re.MULTILINE)
_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)
_CLEANING = (
    # Frames outside of the working directory, with the lines that they show.
    (re.compile(r'^ *File "(?:/(?!tmp/)|<frozen )[^"\n]*", line \d+.*\n?(?: {4}.*\n?)*', re.MULTILINE), ""),
    (re.compile(r"(?<![\w./+-])/(?:[\w./+-]*/)?([\w.+-]+\.(?:pyc?|so))\b"), r"\1"),
    (re.compile(r"\bat 0x[0-9a-fA-F]+"), "at 0x..."),
    (re.compile(r"\b0x(?:0000)?[0-9a-f]{12}\b"), "0x..."),
    (re.compile(r"\b(pid|parent)=\d+"), r"\1=..."),
)
_COMPILE = f"""\
import json, warnings

def fault(source):
    try:
        compile(source, {MAIN!r}, "exec", dont_inherit=True)
    except SyntaxError as error:
        return [type(error).__name__, error.msg, error.lineno, error.offset]
    except Exception as error:
        return [type(error).__name__, str(error), None, None]

warnings.simplefilter("ignore")
with open({MAIN!r}, "rb") as file:
    source = file.read()
if found := fault(source):
    print(json.dumps(fault(source.decode()) or found))  # of text, the offset counts characters
"""


@dataclass(frozen=True, slots=True)
class Crash:
    """Why a program ended badly.

    Attributes:
        cause: In fixed words; ``""`` where they have none for it.
        message: What the program, or the interpreter, said.
        lines: The program's own lines in the traceback, the innermost last.
    """

    cause: str
    message: str
    lines: str


def as_program(code: str, function: str | None, inputs: tuple[str, ...]) -> Program:
    """Return what runs `code`, or calls `function` of it, on each of `inputs`."""
    return Program({MAIN: code}, ("python", MAIN) if function is None else ("call", MAIN, function), inputs)


def why_unfit(code: str) -> str:
    """Say why no interpreter should be given `code`; ``""`` where one may."""
    if len(code) > _MOST_CHARACTERS:
        return f"the program is longer than {_MOST_CHARACTERS} characters"
    if any(0xD800 <= ord(character) < 0xE000 for character in code):
        return "the program holds half of a surrogate pair, which UTF-8 cannot encode"
    return ""


def why_not_compiled(code: str, sandbox: Sandbox) -> Finding | None:
    """Compile `code` without running it, so that what is found cannot hold a hidden test.

    Raises:
        SandboxError: the wall broke.
    """
    (run,) = sandbox.run(Program({MAIN: code, "compile.py": _COMPILE}, ("python", "compile.py")))
    if run.exit_code != 0 or not run.stdout.strip():
        return None
    name, message, number, offset = json.loads(run.stdout)
    lines = _lines(code)
    shown = _with_caret(lines[number - 1], offset) if number and number <= len(lines) else ""
    return Finding(f"{name}: {cleaned(message)}", {f"Line {number}": shown} if shown else {})


def read_crash(code: str, function: str | None, run: Run) -> Crash:
    """Read from `run` how `code` crashed; `function` is the one that was called, if it was one."""
    _, header, trace = run.stderr.rpartition(_HEADER)
    exception = _EXCEPTION.search(trace) if header else None
    if exception:
        cause, message = _built_in(exception[1]), trace[exception.start() :]
    elif run.exit_code == 0:
        cause, message = f"the program ended before {function} returned", run.stderr
    else:
        cause, message = _signal(run.exit_code), run.stderr or f"exit code {run.exit_code}"
    return Crash(cause, message.strip(), _own_lines(code, trace) if header else "")


def cleaned(text: str) -> str:
    """Return `text` without what differs from run to run or machine to machine, so that a program's words repeat.

    Addresses, process ids, folders of Python files, and frames that are not the program's own.
    """
    for pattern, words in _CLEANING:
        text = pattern.sub(words, text)
    return text


def _lines(code: str) -> list[str]:
    return re.split(r"\r\n?|\n", code)


def _with_caret(line: str, offset: int | None) -> str:
    """Return the part of `line` around the character at `offset`, counted from 1, and below it a caret."""
    text = line.rstrip()
    indent = len(text) - len(text.lstrip())
    place = min(max((offset or 0) - 1, indent), len(text))
    start = indent if place - indent < _LINE_SHOWN else place - _BEFORE_THE_CARET
    before, after = printable(text[start:place].replace("\t", " ")), printable(text[place : start + _LINE_SHOWN])
    before = before if start == indent else f"...{before}"
    after = after if start + _LINE_SHOWN >= len(text) else f"{after}..."
    return f"{before}{after}\n{' ' * len(before)}^" if offset and text else before + after


def _own_lines(code: str, trace: str) -> str:
    """Return the lines of `trace`: of the main file as `code` has them, of files that it wrote as `trace` has them."""
    lines = _lines(code)
    told = []
    for name, digits, text in _FRAME.findall(trace):
        number = int(digits)
        if name == MAIN and 0 < number <= len(lines):
            told.append(f"line {number}: {lines[number - 1].strip()}")
        elif name != MAIN and not name.startswith("/"):
            told.append(f"{name}, line {number}: {text.strip()}")
    return "\n".join([line for line, _ in groupby(told)][-_FRAMES_TOLD:])


def _built_in(name: str) -> str:
    known = getattr(builtins, name, None)
    return name if isinstance(known, type) and issubclass(known, BaseException) else ""


def _signal(exit_code: int) -> str:
    names = {128 + number: number.name for number in signal.Signals}
    name = names.get(exit_code, "")
    return f"{name}: {_SIGNALS[name]}" if name in _SIGNALS else name
