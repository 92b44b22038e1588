"""The folder of a run: what it was begun with, what happened, and its last whole state.

``config.json``: the settings. ``metrics.jsonl``: a row per step, and ``tests.jsonl``: a row per test, the same to the
last bit however often the run was interrupted; and so is ``tokens.jsonl``, what student and teacher think of the tokens
of some attempts, where it is asked for. ``timing.jsonl``: what the clock said, kept apart for that reason.
``warnings.txt``: what the watch said. ``checkpoint/``: a policy to load, and the rest of the state.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdpo_agent.policy import Policy
from sdpo_envs import SettingError

Metrics = dict[str, float]
FREE = dict.fromkeys(
    ("steps", "attempts", "checkpoint_every", "test_every", "microbatch", "retries", "token_rows", "tracker")
)
"""What may change when a run is resumed."""
TOKENS = "tokens.jsonl"
"""What student and teacher think of tokens; `sdpo_agent.tokenwise` says what is in a row."""
_CONFIG = "config.json"


@dataclass(frozen=True, slots=True)
class State:
    """Everything that a run goes on from.

    Attributes:
        metrics: A row per step that was made.
        timing: The same.
        optimizer: Its state.
        algorithm: What the algorithm keeps.
        tests: A row per test.
    """

    metrics: list[Metrics]
    timing: list[Metrics]
    optimizer: dict[str, Any]
    algorithm: Mapping[str, Tensor]
    tests: list[Metrics] = field(default_factory=list)


class Run:
    """A folder, begun anew or resumed.

    Args:
        folder: A new one, or with `resume` one that holds a run.
        config: What the run is begun with; to be resumed, it must be the same but for `FREE`.
        resume: Whether to go on.
        owner: Whether to write. Of several processes one does; the others read the state, and their writing is void.

    Raises:
        FileExistsError: the folder holds a run already, and is not to be resumed.
        FileNotFoundError: there is no run to resume.
        SettingError: the run to resume was begun with another algorithm or other settings.
    """

    def __init__(self, folder: str | Path, config: Mapping[str, Any], *, resume: bool, owner: bool = True) -> None:
        self.folder = Path(folder)
        self.owner = owner
        if not owner:
            return
        path = self.folder / _CONFIG
        if not resume and path.exists():
            raise FileExistsError(f"{self.folder} already holds a run. Name another folder, or resume it.")
        if resume:
            require_run(self.folder)
        plain = json.loads(json.dumps(config, default=str))
        if resume:
            _require_same(json.loads(path.read_text(encoding="utf-8")), plain, self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        _replace(path, json.dumps(plain, indent=2) + "\n")

    def load(self, policy: Policy) -> State | None:
        """Take up the last whole state: the policy's weights in place, the rest returned; None if there is none yet.

        Rows of steps that came after it are dropped, for they will be made again; a row that was torn when the process
        was killed is whole again, because the state has a copy.
        """
        folder = _checkpoint(self.folder)
        state = None
        if folder is not None:
            state = State(**torch.load(folder / "state.pt", map_location=policy.device, weights_only=True))
            policy.restore(folder / "policy")
        for name in ("checkpoint.new", "checkpoint.old") if self.owner else ():
            if self.folder / name != folder:  # a crash left it
                shutil.rmtree(self.folder / name, ignore_errors=True)
        self.rewrite("metrics.jsonl", state.metrics if state else [])
        self.rewrite("timing.jsonl", state.timing if state else [])
        self.rewrite("tests.jsonl", state.tests if state else [])
        steps = len(state.metrics) if state else 0
        self.rewrite(TOKENS, [row for row in self.read(TOKENS) if row["step"] <= steps])
        self._forget_warnings(steps)
        return state

    def read(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a file, without one that was torn when the process was killed."""
        path = self.folder / name
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def append(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to a file, on disk before anything else happens; none are no reason to begin one."""
        if self.owner and rows:
            with (self.folder / name).open("a", encoding="utf-8") as file:
                file.write(_lines(rows))
                file.flush()
                os.fsync(file.fileno())

    def rewrite(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the rows of a file; none are no reason to begin one."""
        if self.owner and (rows or (self.folder / name).exists()):
            _replace(self.folder / name, _lines(rows))

    def warn(self, step: int, words: str) -> None:
        """Add a warning."""
        with (self.folder / "warnings.txt").open("a", encoding="utf-8") as file:
            file.write(f"step {step}: {words}\n")

    def _forget_warnings(self, steps: int) -> None:
        path = self.folder / "warnings.txt"
        if self.owner and path.exists():
            told = re.findall(r"^step (\d+)(: .*\n)", path.read_text(encoding="utf-8"), re.MULTILINE)
            _replace(path, "".join(f"step {step}{words}" for step, words in told if int(step) <= steps))

    def save(self, policy: Policy, state: State) -> None:
        """Write the whole state beside the last one, then put it in its place. At any moment one is whole."""
        if not self.owner:
            return
        fresh, folder, old = (self.folder / name for name in ("checkpoint.new", "checkpoint", "checkpoint.old"))
        shutil.rmtree(fresh, ignore_errors=True)
        policy.save(fresh / "policy")
        torch.save({name: getattr(state, name) for name in State.__slots__}, fresh / "state.pt")
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def require_run(folder: str | Path) -> None:
    """Raise FileNotFoundError if there is no run to resume in `folder`."""
    if not (Path(folder) / _CONFIG).exists():
        raise FileNotFoundError(f"{folder} holds no run to resume. Start one there without resume.")


def saved_attempts(folder: str | Path) -> int | None:
    """Return how many attempts were made before the last whole state of a run; None if there is none yet."""
    checkpoint = _checkpoint(Path(folder))
    if checkpoint is None:
        return None
    state = torch.load(checkpoint / "state.pt", map_location="cpu", weights_only=True)
    return int(sum(row["attempts"] for row in state["metrics"]))


def _checkpoint(folder: Path) -> Path | None:
    return next((each for name in ("checkpoint", "checkpoint.old") if (each := folder / name).is_dir()), None)


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _replace(path: Path, text: str) -> None:
    """Write a file so that at any moment the old or the new one is whole."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def _require_same(old: Mapping[str, Any], new: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on with a run of another kind; how long it is and how it is stored may change."""
    for name in {**old, **new}:
        before, now = old.get(name), new.get(name)
        if name == "loop":
            before, now = {**old[name], **FREE}, {**new[name], **FREE}
        if before != now:
            raise SettingError(
                f"{folder} was begun with the {name} {before}, not {now}. Resume it with those, or begin anew."
            )
