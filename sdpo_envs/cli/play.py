"""``sdpo play``: a person, or a script, answers in place of a policy."""

import contextlib
import io
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium
from rich.console import Console

from sdpo_envs.cli.screen import body, heading, screen, shown, write_json
from sdpo_envs.cli.world import EnvId, ForScript, Settings, Switch, TaskId, make
from sdpo_envs.core import Feedback, Verdict
from sdpo_envs.env import JudgedEnv, natural
from sdpo_envs.record import record
from sdpo_envs.wrappers import MultiAttempt

_FENCE = "```"
_HOW = {
    True: "An empty line ends your answer, but not between ``` and ```. Ctrl-D leaves.",
    False: "A line is an action. Ctrl-D leaves.",
}


@dataclass(frozen=True)
class Play:
    """Answer a task yourself, and see the verdict and the feedback.

    What comes through a pipe is one answer, whole; where there are several turns, a line is an action.

    Examples:
        sdpo play sdpo/MicroHouse-v0
        sdpo play sdpo/ALFWorld-v0 --settings '{"form": "bare"}'
        sdpo play sdpo/SciKnowEval-v0 --task physics/train/3 --attempts 2 --record runs/by-hand
        sdpo play sdpo/LiveCodeBench-v0 --task sdpo_s01 --json < answer.md
    """

    env: EnvId
    task: TaskId = None
    seed: int = 0
    """Draws the tasks."""
    tasks: int = 1
    """How many to play, one after the other."""
    attempts: int = 1
    """Attempts at each, until one succeeds."""
    settings: Settings = "{}"
    reveal: Switch = False
    """Have the feedback tell what was right."""
    record: Path | None = None
    """A folder to write the attempts to, or to go on with, for `sdpo report` and `sdpo replay`."""
    json: ForScript = False

    def __call__(self) -> None:
        """Run it."""
        natural("tasks", self.tasks)
        env, innermost = make(self.env, self.settings, **({"reveal": True} if self.reveal else {}))
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: env.close())  # as it is wrapped by then
            if self.attempts != 1:
                env = MultiAttempt(env, self.attempts)
            if self.record is not None:
                env = record(env, self.record, told={"algorithm": "by hand"}, resume=True)
            console = Console(quiet=True) if self.json else screen()
            answers = Answers(console, whole=isinstance(innermost, JudgedEnv), at_once=self.json)
            played = list(self._play(env, answers, console))
        if self.json:
            write_json([asdict(each) for each in played])
        if len(played) < self.tasks and not answers.typed:
            sys.stderr.write("sdpo play: the answers ended before the episode did.\n")
            raise SystemExit(1)

    def _play(self, env: gymnasium.Env[str, str], answers: "Answers", console: Console) -> Iterator["Played"]:
        options = None if self.task is None else {"task_id": self.task}
        for number in range(self.tasks):
            prompt, info = env.reset(seed=self.seed if number == 0 else None, options=options)
            begin(console, self.env, prompt, info)
            if number == 0 and answers.typed:
                console.print(shown(f"\n{answers.how}", "dim"))
            actions: list[str] = []
            rewards, ended = 0.0, False
            while not ended:
                action = answers.read()
                if action is None:
                    return
                observation, reward, terminated, truncated, info = env.step(action)
                actions, rewards, ended = [*actions, action], rewards + float(reward), terminated or truncated
                reply(console, info.get("seen", observation), info, rewards, ended=ended)
            verdict, feedback = info["verdict"], info["feedback"]
            outcome = None if verdict is None else verdict.outcome.value
            passed = verdict is not None and verdict.passed
            yield Played(info["task_id"], actions, rewards, outcome, passed, feedback.text, feedback.reveals_answer)


@dataclass(frozen=True, slots=True)
class Played:
    """What became of a task; as the columns of `sdpo_envs.record.Row`."""

    task: str
    actions: list[str]
    reward: float
    outcome: str | None
    passed: bool
    feedback: str
    reveals_answer: bool


class Answers:
    """What is typed, or comes through a pipe.

    Args:
        console: Where it is asked for.
        whole: Whether an answer may have several lines.
        at_once: Whether nothing is asked, even where somebody types.

    Attributes:
        typed: Whether somebody types on a terminal.
        how: How an answer is typed.
    """

    def __init__(self, console: Console, *, whole: bool, at_once: bool = False) -> None:
        self.typed = sys.stdin.isatty() and console.is_terminal and not at_once
        self.how = _HOW[whole]
        self._whole = whole
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")  # whatever is written is an answer
        if self.typed:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401  gives `input` its arrow keys

    def read(self) -> str | None:
        """Return the next answer, or None where there is none."""
        if self.typed:
            return self._ask()
        text = sys.stdin.read() if self._whole else sys.stdin.readline()
        return text.removesuffix("\n") if text else None

    def _ask(self) -> str | None:
        lines: list[str] = []
        while True:
            try:
                line = input("> ")
            except EOFError:
                print()  # noqa: T201  after what the terminal shows of Ctrl-D
                return "\n".join(lines) or None
            if line.strip() or _fenced(lines):
                lines.append(line)
            if lines and (not self._whole or not (line.strip() or _fenced(lines))):
                return "\n".join(lines)


def begin(console: Console, env_id: str, prompt: str, info: Mapping[str, Any]) -> None:
    """Write what a policy reads first."""
    heading(console, f"{env_id}  {info['task_id']}")
    for text in (info["system"], prompt):
        if text:
            console.print()
            body(console, text.strip("\n"))


def reply(console: Console, seen: str, info: Mapping[str, Any], reward: float, *, ended: bool) -> None:
    """Write what a step came to: a verdict, or what is seen and may be done now; and the feedback."""
    verdict: Verdict | None = info["verdict"]
    feedback: Feedback = info["feedback"]
    console.print()
    if verdict is not None:
        heading(
            console, f"{verdict.outcome.name}  reward {reward:g}", style="bold green" if verdict.passed else "bold red"
        )
    elif ended:
        heading(console, "Cut short, without a verdict", style="bold red")
    if feedback:
        body(console, feedback.text)
    if not ended and verdict is None:
        body(console, seen)
        if commands := info.get("commands"):
            console.print(shown(", ".join(commands), "dim"))


def _fenced(lines: list[str]) -> bool:
    """Whether a block of code has begun and not ended."""
    return sum(line.lstrip().startswith(_FENCE) for line in lines) % 2 == 1
