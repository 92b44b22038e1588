"""The attacks, read from their files, and what every one of them is told: where on the host there is something to find.

An attack is a submission to a problem whose answers cannot be known. It is told in its input where the secrets of the
host are, and a mark, which it writes when it has done what it must not be able to do.
"""

import ast
import contextlib
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdpo_envs import Program, Run, Sandbox, Verdict
from sdpo_envs.codejudge import Case, Exam, judge_code

HERE = Path(__file__).parent
PROBE = (HERE / "probe.py").read_text(encoding="utf-8")
SIGNS = ("passed", "told", "left", "next")
SECONDS, MEMORY_MB = 0.5, 96
FUNCTION = "answer"


@dataclass(frozen=True)
class Attack:
    """A submission that tries one thing.

    Attributes:
        code: The submission. Its docstring says what it tries, and how it is known to bite.
        function: Whether it is a function, rather than a whole program.
        control: The judge that it fools, "naive" or "bare", or "none" with the reason.
        sign: How that shows: it passed, told a secret, left something, or spoilt what came next.
        root: Whether it fools a judge only that is run by root.
    """

    name: str
    code: str
    function: bool
    control: str
    sign: str
    root: bool


@dataclass(frozen=True)
class Plant:
    """What there is to find on this host, and the tests that nobody can pass."""

    folder: Path
    places: dict[str, Any]
    secrets: dict[str, str]
    tests: tuple[dict[str, str], ...]
    honest: tuple[dict[str, str], ...]

    @property
    def hidden(self) -> dict[str, str]:
        """The secrets that do not stand in the first test, which is public."""
        public = self.tests[0]["input"] + self.tests[0]["output"]
        return {name: secret for name, secret in self.secrets.items() if secret not in public}


@dataclass
class Recorder:
    """A sandbox that passes everything on to another, and keeps what each run read and wrote."""

    sandbox: Sandbox
    written: list[tuple[str, str]] = field(default_factory=list)

    def run(self, program: Program) -> tuple[Run, ...]:
        runs = self.sandbox.run(program)
        for number, run in enumerate(runs, start=1):
            known = program.inputs[number - 1 : number] if program.isolated else program.inputs
            self.written.append(("".join(known), run.stdout + run.stderr))
        return runs

    def run_many(self, programs: Sequence[Program]) -> list[tuple[Run, ...]]:
        return [self.run(program) for program in programs]

    def close(self) -> None:
        self.sandbox.close()

    def take(self) -> list[tuple[str, str]]:
        """Return what may have been known to each run since the last call, and what it wrote."""
        written, self.written = self.written, []
        return written


def read(path: Path) -> Attack:
    """Read an attack. The last line of its docstring is such as ``function; fools naive: passed``."""
    code = path.read_text(encoding="utf-8")
    kind, _, fooled = (ast.get_docstring(ast.parse(code)) or "").rpartition("\n")[2].partition("; fools ")
    control, _, rest = fooled.rstrip(".").partition(": ")
    return Attack(
        path.stem, code, kind == "function", control, rest.removesuffix(", as root"), rest.endswith("as root")
    )


ATTACKS = [read(path) for path in sorted((HERE / "attacks").glob("*.py"))]


def judge(
    code: str,
    tests: Sequence[dict[str, str]],
    function: str | None,
    sandbox: Sandbox,
    isolated: bool,
    seconds: float = SECONDS,
    fraction: bool = False,
) -> Verdict:
    """Judge a submission by these tests, of which the first is public."""
    cases = tuple(Case(test["input"], test["output"], public=test is tests[0]) for test in tests)
    exam = Exam(cases, function, ("where",) if function else ())
    limits: dict[str, Any] = {"seconds": seconds, "memory_mb": MEMORY_MB}
    return judge_code(code, exam, sandbox, **limits, isolated=isolated, fraction=fraction)


@contextlib.contextmanager
def planted(folder: Path) -> Iterator[Plant]:
    """Hide secrets on this host: in a file, the environment, the working directory, behind sockets."""
    hidden = {name: f"{name}-{secrets.token_hex(8)}" for name in ("file", "variable", "port", "abstract", "socket")}
    (folder / "secret.txt").write_text(hidden["file"], encoding="utf-8")
    (folder / "source.py").write_text("# the judge's own\n", encoding="utf-8")
    os.environ["RED_TEAM_SECRET"] = hidden["variable"]
    abstract = f"\0red-team-{secrets.token_hex(4)}"
    places = {
        "file": str(folder / "secret.txt"),
        "source": str(folder / "source.py"),
        "socket": str(folder / "socket"),
        "abstract": abstract,
        "hostname": socket.gethostname(),
        "seconds": SECONDS,
        "mark": (mark := f"reached-{secrets.token_hex(8)}"),
    }
    with contextlib.ExitStack() as listeners:
        places["port"] = listeners.enter_context(listening(socket.AF_INET, ("127.0.0.1", 0), hidden["port"]))[1]
        for name in ("abstract", "socket"):
            listeners.enter_context(listening(socket.AF_UNIX, places[name], hidden[name]))
        yield plant(folder, places, hidden | {"mark": mark})
    del os.environ["RED_TEAM_SECRET"]


def plant(folder: Path, places: dict[str, Any], hidden: dict[str, str]) -> Plant:
    """Make the tests: each input tells the places and has a word of its own, each output is a word nobody can know."""
    tests, honest = [], []
    for number in (1, 2, 3):
        hidden |= {(own := f"input-{number}"): f"{own}-{secrets.token_hex(8)}"}
        hidden |= {(answer := f"answer-{number}"): f"{answer}-{secrets.token_hex(8)}"}
        text = json.dumps(places | {"number": number, "own": hidden[own]}) + "\n"
        tests.append({"input": text, "output": json.dumps(hidden[answer])})
    hidden["previous"] = f"previous-{secrets.token_hex(8)}"
    for number in (21, 22):
        text = json.dumps({"number": number, "own": hidden["previous"]}) + "\n"
        honest.append({"input": text, "output": str(2 * number)})
    (folder / "tests.json").write_text(json.dumps(tests), encoding="utf-8")
    return Plant(folder, places, hidden, tuple(tests), tuple(honest))


@contextlib.contextmanager
def listening(family: socket.AddressFamily, address: Any, secret: str) -> Iterator[Any]:
    """Tell `secret` to all who connect to, or send something to, `address`; yield that as it came to be."""
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen(16)

        def tell() -> None:
            with contextlib.suppress(OSError):
                while True:
                    visitor, _ = listener.accept()
                    with visitor:
                        visitor.sendall(secret.encode())

        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def told(written: Sequence[tuple[str, str]], hidden: dict[str, str]) -> set[str]:
    """Name the secrets in what runs wrote; what was in their own inputs is none, but for the mark."""
    found = ((name, secret in known) for known, text in written for name, secret in hidden.items() if secret in text)
    return {name for name, known in found if name == "mark" or not known}
