"""What host and worker say to each other, see `sandboxes/python/worker.py`, seen from the host.

What a worker sends is hostile input: it speaks for a process in which untrusted programs run.
"""

import math
import re
import struct
from typing import NamedTuple

from sdpo_envs.sandbox import Program, Run

ANSWER = struct.Struct("!cIBd???QQQ")
LONGEST_ANSWER = 256 << 20

_LONGEST_REQUEST = 128 << 20  # the worker keeps it in a small tmpfs
_REQUEST = struct.Struct("!IdIIIId?Q")
_COUNTS = struct.Struct("!III")
_MARK = struct.Struct("!QQBd")
_MEMORY_ERROR = re.compile(r"([\w.]+\.)?\w*MemoryError\b.*")


class Answer(NamedTuple):
    """What a worker says of one process: the fields of its header, and three texts."""

    kind: bytes
    done: int
    code: int
    seconds: float
    timed_out: bool
    out_of_memory: bool
    alone: bool
    marks: bytes
    stdout: bytes
    stderr: bytes

    @property
    def ended_by_worker(self) -> bool:
        """Whether the worker says why it ended the process, or did so because others of its runs had ended."""
        return self.timed_out or self.out_of_memory or len(self.marks) >= _MARK.size


def request(program: Program, runs: list[Run], elapsed: float) -> bytes:
    """Return the request to run `program` on the inputs for which there are no `runs` yet, `elapsed` seconds later.

    Raises:
        ValueError: it is too long.
    """
    inputs = program.inputs[len(runs) :]
    texts = [*program.argv, *program.files, *program.files.values(), *inputs]
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    counts = _COUNTS.pack(len(program.argv), len(program.files), len(inputs))
    body = b"".join((counts, struct.pack(f"!{len(encoded)}Q", *map(len, encoded)), *encoded))
    if len(body) > _LONGEST_REQUEST:
        raise ValueError(f"A program and its inputs have {len(body)} bytes; up to {_LONGEST_REQUEST} are taken.")
    timeouts = 0 if program.timeouts is None else max(1, program.timeouts - sum(run.timed_out for run in runs))
    total_seconds = math.inf if program.total_seconds is None else program.total_seconds - elapsed
    limits = (program.seconds, program.memory_mb, program.output_kb, program.processes, timeouts, total_seconds)
    return _REQUEST.pack(len(inputs), *limits, program.isolated, len(body)) + body


def runs_of(answer: Answer, program: Program, left: int) -> list[Run]:
    """Return the runs that an answer tells of, at least one and at most `left`.

    What the process wrote is cut where it said that a run ended. It may have lied, which gains it nothing.

    Raises:
        ValueError: it does not keep to the protocol.
    """
    if answer.kind == b"G":
        return [Run(exit_code=-1, skipped=True)] * left
    marked = len(answer.marks) // _MARK.size
    if answer.kind != b"D" or not 1 <= answer.done <= min(left, max(marked, 1)):
        raise ValueError(f"it told of {answer.done} runs, with {marked} marks, where {left} were left")
    if program.isolated or not marked:
        return [_run(program, answer)]
    runs, ends = [], [0, 0]
    for number in range(answer.done):
        *wanted, code, seconds = _MARK.unpack_from(answer.marks, number * _MARK.size)
        starts, ends = ends, [max(old, new) for old, new in zip(ends, wanted, strict=True)]
        told = answer._replace(
            code=code,
            seconds=seconds,
            timed_out=False,
            out_of_memory=False,
            stdout=answer.stdout[starts[0] : ends[0]],
            stderr=answer.stderr[starts[1] : ends[1]],
        )
        runs.append(_run(program, told))
    return runs


def _run(program: Program, answer: Answer) -> Run:
    most = program.output_kb << 10
    stdout, stderr = (text[:most].decode("utf-8", "replace") for text in (answer.stdout, answer.stderr))
    last_line = stderr.rstrip().rpartition("\n")[2]
    return Run(
        answer.code,
        stdout,
        stderr,
        answer.seconds if 0 <= answer.seconds < math.inf else 0.0,
        answer.timed_out,
        out_of_memory=answer.out_of_memory or (answer.code == 1 and bool(_MEMORY_ERROR.fullmatch(last_line))),
        too_much_output=len(answer.stdout) > most or len(answer.stderr) > most,
        alone=answer.alone,
    )
