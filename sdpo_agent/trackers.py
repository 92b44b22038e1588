"""Trackers: TensorBoard, Weights & Biases and trackio show a run while it is made, through accelerate's classes.

The record of a run is its folder; a tracker is told what is written there, the rows of training under ``train/`` and
those of tests under ``test/``, by the numbers of their steps. A run that is resumed goes on in the same place. The rows
of a step that is made again are the same, so it does not matter which of them a tracker keeps. One that is asked for
only when a run is resumed is told of the steps before.
"""

import functools
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker, WandBTracker

from sdpo_agent.run import Metrics, Run, State
from sdpo_envs import SettingError
from sdpo_envs.errors import require

Tracker = Literal["tensorboard", "wandb", "trackio"]
Log = Callable[[str, Metrics], None]
"""Tells trackers of a row, which has its ``step``; the first argument says of what: ``"train"`` or ``"test"``."""

PROJECT = "sdpo"
"""What runs are gathered under; W&B takes WANDB_PROJECT instead, where it is set."""
_FILE = "trackers.json"
"""What trackers call the run, and which of them know it."""


def require_trackers(names: Sequence[Tracker]) -> None:
    """Import the packages of these trackers.

    Raises:
        MissingExtra: one is not installed.
    """
    for name in names:
        require(name, "trackers")


@contextmanager
def tracking(names: Sequence[Tracker], run: Run, state: State) -> Iterator[Log]:
    """Start trackers, and finish them at the end, also when an error is what ends it.

    Args:
        names: Of the trackers. Each writes to its usual place: TensorBoard to ``tensorboard/`` in the folder of the
            run, W&B to ``wandb/`` there and to its server, trackio to its own folder.
        run: Is told of. Of several processes, only the owner's trackers are started.
        state: What it goes on from.

    Raises:
        SettingError: W&B cannot start.
    """
    if not run.owner or not names:
        yield lambda kind, row: None
        return
    (known,) = run.read(_FILE) or [{"id": uuid.uuid4().hex[:8], "begun": []}]
    with ExitStack() as stack:
        trackers = {name: _made(name, run.folder, known, len(state.metrics)) for name in dict.fromkeys(names)}
        for name, tracker in trackers.items():
            _start(tracker)
            stack.push(functools.partial(_finish, tracker))
            if name not in known["begun"]:
                _catch_up(tracker, run.folder, state)
        begun = [*dict.fromkeys([*known["begun"], *trackers])]
        run.rewrite(_FILE, [{**known, "begun": begun}])
        yield lambda kind, row: _log(trackers.values(), kind, row)


def _made(name: Tracker, folder: Path, known: Mapping[str, Any], steps: int) -> GeneralTracker:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if name == "tensorboard":
        again = {"purge_step": steps + 1 if steps else 0} if name in known["begun"] else {}
        return TensorBoardTracker("tensorboard", folder, **again)
    if name == "wandb":
        project, names = os.environ.get("WANDB_PROJECT", PROJECT), {"name": folder.name, "id": known["id"]}
        return WandBTracker(project, **names, dir=folder, resume="allow", config=config)
    return TrackioTracker(PROJECT, name=f"{folder.name}-{known['id']}", resume="allow", config=config)


def _start(tracker: GeneralTracker) -> None:
    if tracker.name != "wandb":
        tracker.start()
        return
    errors = require("wandb.errors", "trackers")
    try:
        tracker.start()
    except errors.Error as error:
        advice = "Log in by `wandb login`, or set WANDB_MODE=offline and `wandb sync` the run later."
        raise SettingError(f"W&B cannot start: {str(error).rstrip('.')}. {advice}") from error


def _catch_up(tracker: GeneralTracker, folder: Path, state: State) -> None:
    """Tell a tracker what it has not heard of: the settings, and the steps that were made without it."""
    if tracker.name == "tensorboard":  # the others were given them when they were made
        tracker.store_init_configuration(_flat(json.loads((folder / "config.json").read_text(encoding="utf-8"))))
    rows = [("train", {**row, **seconds}) for row, seconds in zip(state.metrics, state.timing, strict=True)]
    for kind, row in sorted([*rows, *(("test", row) for row in state.tests)], key=lambda each: each[1]["step"]):
        _log([tracker], kind, row)


def _log(trackers: Any, kind: str, row: Metrics) -> None:
    values = {f"{kind}/{name}": value for name, value in row.items() if name != "step"}
    for tracker in trackers:
        tracker.log(values, step=int(row["step"]))


def _finish(
    tracker: GeneralTracker, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> None:
    if tracker.name == "wandb" and kind is not None:
        tracker.tracker.finish(exit_code=1)  # else it counts as finished well
    else:
        tracker.finish()


def _flat(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return a nest of settings as pairs of a path and a value that TensorBoard takes."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{above}{name}/")
        else:
            flat[f"{above}{name}"] = value if isinstance(value, bool | int | float | str) else json.dumps(value)
    return flat
