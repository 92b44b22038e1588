"""Runs that are tracked, and what their trackers then hold. A script, which writes ``told.json`` into a folder.

``python tracked.py FOLDER``: one run that breaks and is resumed, with all trackers; one that is tracked only when it is
resumed; and one without an account at W&B, and the error that it ends with.

In a process of its own, as trackers read their settings from the environment when they are imported, and stay.
"""

import contextlib
import json
import os
import sqlite3
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from letters import SayEven
from runs import begin, settings

from sdpo_agent import train
from sdpo_envs import GroupEnv, SettingError

ALL = ("tensorboard", "wandb", "trackio")


class Stop(Exception):
    """What ends a run early here."""


def play(folder: Path, steps: int, *, resume: bool = False, stop: int = 0, **changes: Any) -> None:
    """Make a run of `steps`, a test and a checkpoint every second one, that breaks in step `stop` if it is not 0."""
    policy, algorithm = begin("grpo")
    envs: Any = Breaking(stop - 2 if resume else stop, num_envs=6, group_size=3)
    test: Any = GroupEnv(SayEven, num_envs=6, group_size=1)
    loop = settings(steps=steps, test_every=2, checkpoint_every=2, **changes)
    train(policy, algorithm, envs, loop, folder, test=test, resume=resume, told={"made": {"by": "hand", "of": None}})


class Breaking(GroupEnv):
    """Raises when it is reset for the `stop`-th time."""

    def __init__(self, stop: int, **keywords: Any) -> None:
        super().__init__(SayEven, **keywords)
        self.left = stop

    def reset(self, **keywords: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise Stop
        return super().reset(**keywords)


def rows(folder: Path, name: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def tensorboard(folder: Path) -> dict[str, Any]:
    """Values by step, as TensorBoard reads them, and the names of the settings."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    names = events.Tags()["scalars"]
    values = {name: [(each.step, each.value) for each in events.Scalars(name)] for name in names}
    return {"values": values, "settings": len(list((folder / "tensorboard").glob("*/hparams.yml")))}


def wandb(folder: Path) -> list[dict[str, Any]]:
    """Of each offline run, in their order, its id, settings, values by step, and how it ended."""
    return [_offline(path) for path in sorted((folder / "wandb").glob("offline-run-*/run-*.wandb"))]


def _offline(path: Path) -> dict[str, Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    told: dict[str, Any] = {"values": {}, "config": {}, "exit": None}
    for data in _logged(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            told |= {"id": record.run.run_id, "name": record.run.display_name, "project": record.run.project}
            told["config"] |= {each.key: json.loads(each.value_json) for each in record.run.config.update}
        elif kind == "history":
            items = {"/".join(each.nested_key) or each.key: json.loads(each.value_json) for each in record.history.item}
            step = items["_step"]
            for name, value in items.items():
                if name[0] != "_":
                    told["values"].setdefault(name, []).append((step, value))
        elif kind == "exit":
            told["exit"] = record.exit.exit_code
    return told


def _logged(data: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's form, after a header of seven bytes."""
    at, part = 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield part
            part = b""


def trackio(name: str) -> dict[str, Any]:
    """Values by step of the runs of that name, and their settings."""
    with contextlib.closing(sqlite3.connect(Path(os.environ["TRACKIO_DIR"]) / "sdpo.db")) as base:
        logged = base.execute("select run_name, step, metrics from metrics order by id").fetchall()
        configs = base.execute("select run_name, config from configs").fetchall()
    values: dict[str, Any] = {}
    for run, step, metrics in logged:
        if run.startswith(name):
            for key, value in json.loads(metrics).items():
                values.setdefault(key, []).append((step, value))
    names = sorted({run for run, *_ in logged if run.startswith(name)})
    return {"names": names, "values": values, "configs": [json.loads(c) for run, c in configs if run.startswith(name)]}


def told(folder: Path) -> dict[str, Any]:
    return {
        "record": {name: rows(folder, f"{name}.jsonl") for name in ("metrics", "tests", "timing")},
        "known": json.loads((folder / "trackers.json").read_text()),
        "tensorboard": tensorboard(folder),
        "wandb": wandb(folder),
        "trackio": trackio(folder.name),
    }


def refused(folder: Path) -> str:
    """What a run says that W&B does not know the owner of."""
    from wandb import teardown

    teardown()  # and it reads the environment again
    del os.environ["WANDB_MODE"]
    os.environ["WANDB_BASE_URL"] = "http://127.0.0.1:9"
    try:
        play(folder, 1, tracker=("wandb",))
    except SettingError as error:
        return str(error)
    return ""


def main(folder: str) -> None:
    torch.set_num_threads(1)
    broken, late = Path(folder) / "broken", Path(folder) / "late"
    with contextlib.suppress(Stop):
        play(broken, 4, stop=4, tracker=ALL)
    play(broken, 4, resume=True, tracker=ALL)
    play(late, 2)
    play(late, 3, resume=True, tracker=("tensorboard", "trackio", "tensorboard"))
    found = {"broken": told(broken), "late": told(late), "refused": refused(Path(folder) / "refused")}
    (Path(folder) / "told.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
