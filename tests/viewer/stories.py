"""Runs to look at: a small one of each kind of attempt, and a hostile one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recorded import row, write_run

ENV = "sdpo/MicroCode-v0"
Open = Callable[..., Any]
"""Opens a file in a browser, at a fragment of it."""
SECOND = "microcode/0/mixed/train/1"
MARKER = "pwned"
EVIL = (
    f"</script><script>window.{MARKER}=1</script>",
    f"<img src=x onerror='window.{MARKER}=1'>",
    f'"><svg onload="window.{MARKER}=1">',
    f"<!--<script>window.{MARKER}=1</script>",
    f"</pre></details></div><iframe srcdoc='<script>parent.{MARKER}=1</script>'></iframe>",
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css><img src=http://127.0.0.1:9/x.png>",
    "{script}{data}{style}{policy}\\1\\g<0>",
    "\ud800 half, \x00 nothing, \u202e turned, \u2028 line, \x1b[31m red",
    "]]>&lt;script&gt;&amp;",
    "__proto__",
)


def scored(
    task: str, attempt: int, action: str, tokens: list[str], generations: int = 0, **more: Any
) -> dict[str, Any]:
    """A row of tokens whose teacher doubts the second of them and likes the third."""
    student = [-0.5] * len(tokens)
    teacher = [-0.5, -5.5, -0.01, *student][: len(tokens)]
    turn = {"action": action, "saw": "the question", "reads": "the question, and why", "tokens": tokens}
    turn |= {"student": student, "teacher": teacher}
    return {"step": 1, "generations": generations, "task": task, "attempt": attempt, "turns": [turn], **more}


def write_tokens(run: Path, *rows: dict[str, Any]) -> None:
    (run / "tokens.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))


def small(folder: Path) -> Path:
    """Seven attempts: two groups of training, one of which met a second time, one test, one broken, one of turns."""
    first = "microcode/0/mixed/train/0"
    rows = [
        row(True, task=first, actions=["return max(x)"], outcome="passed", feedback="", reward=1.0),
        row(False, task=first, actions=["return min(x)"], feedback="Not <b>right</b>", peer=True, tokens=4),
        row(
            False, group=1, task=SECOND, actions=["look", "take"], outcome="malformed", feedback="No form.", reward=0.5
        ),
        row(None, group=1, task=SECOND, actions=["go"], error="JudgeError: out"),
        row(
            False, group=2, generations=4, task=first, actions=["return min(x)"], outcome="crashed", feedback="It told"
        ),
        row(False, group=2, generations=4, task=first, actions=["return min(x)"], feedback="42!", reveals_answer=True),
        row(True, phase="test", generations=6, task="gone/1", actions=["yes"], outcome="passed", reward=1.0),
    ]
    phases = {
        "train": {"env": ENV, "settings": {}},
        "test": {"env": "nobody/Knows-v9", "settings": {"api_key": "s3cret", "max_tokens": 9}},
    }
    run = write_run(folder, rows, {"algorithm": "sdpo", "seed": 3}, phases=phases)
    write_tokens(run, scored(first, 1, "return min(x)", ["return", " min", "(x)", "<|end|>"], generations=4))
    return run


def hostile(folder: Path) -> Path:
    """Each text of a run is an attack."""
    rows = []
    for number, evil in enumerate(EVIL):
        more = {"feedback": evil, "error": "" if number % 2 else evil, "phase": "train" if number % 3 else evil}
        rows.append(row(False, group=number, task=evil, actions=[evil, evil], **more))
    settings = {"payload": EVIL[0]}
    phases = {"train": {"env": EVIL[0], "settings": settings}, EVIL[1]: {"env": EVIL[1], "settings": settings}}
    run = write_run(folder, rows, {"algorithm": EVIL[0], EVIL[1]: EVIL[2]}, phases=phases)
    turns = [
        {"action": EVIL[1], "saw": EVIL[0], "reads": EVIL[1], "tokens": list(EVIL), "student": [-1.0] * len(EVIL)}
        | {"teacher": [-3.0] * len(EVIL)}
    ] * 2
    write_tokens(run, {"step": 1, "generations": 0, "task": EVIL[1], "attempt": 0, "turns": turns})
    return run
