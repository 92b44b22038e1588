"""A recording in short, for people: what it was told, and a line per phase. Keys are kept back."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sdpo_envs.core import Feedback, Verdict
from sdpo_envs.html import Tried, attempt_html, card, facts_html, grid, shown
from sdpo_envs.record.row import Row, World, rows, told, worlds

_SECRET = ("key", "password", "secret", "token")


def recording_html(folder: Path) -> str:
    """Show a recording: its facts and its phases."""
    return card(heading(folder.name, facts(folder)), phases(rows(folder)))


def row_html(row: Row) -> str:
    """Show one attempt whole."""
    verdict = None if row.outcome is None else Verdict(row.outcome, row.reward)
    feedback = Feedback(row.feedback, row.reveals_answer)
    error = row.error or ("nobody said" if row.broken else "")
    return attempt_html(row.task, Tried(row.actions, row.reward, verdict, feedback, error))


def facts(run: str | Path) -> dict[str, str]:
    """Return what a recording was told and the environment of each phase, as text, but for what may be a key.

    Raises:
        FileNotFoundError: `run` holds no recording.
        RecordError: its ``recording.json`` is damaged.
    """
    found = {name: str(_kept(name, value)) for name, value in told(run).items()}
    return found | {f"{phase} environment": _named(world) for phase, world in worlds(run).items()}


def heading(name: str, found: Mapping[str, str]) -> str:
    """Return the name of a run and its facts. It is a part for `sdpo_envs.html.card`."""
    return f"<b>{shown(name)}</b>{facts_html(found)}"


def phases(attempts: Sequence[Row]) -> str:
    """Return a table with a line per phase. It is a part for `sdpo_envs.html.card`."""
    names = list(dict.fromkeys(row.phase for row in attempts))
    heads = ["phase", "attempts", "groups", "tasks", "passed", "broken", "mean reward", "outcomes"]
    return grid(heads, [list(_cells(name, [row for row in attempts if row.phase == name])) for name in names])


def outcome(row: Row) -> str:
    """Return how an attempt ended, in a word."""
    if row.broken or row.error:
        return "broken"
    if row.outcome is None:
        return "passed" if row.passed else "no outcome"
    return row.outcome.value


def _cells(phase: str, mine: Sequence[Row]) -> Iterator[str]:
    judged = [row for row in mine if not row.broken]
    yield shown(phase)
    yield f"{len(mine):,}"
    yield f"{len({row.group for row in mine}):,}"
    yield f"{len({row.task for row in mine}):,}"
    yield f"{sum(row.passed for row in judged) / len(judged):.3f}" if judged else ""
    yield f"{len(mine) - len(judged):,}"
    yield f"{sum(row.reward for row in judged) / len(judged):.3f}" if judged else ""
    yield ", ".join(f"{name} {count:,}" for name, count in Counter(map(outcome, mine)).most_common())


def _named(world: World) -> str:
    settings = ", ".join(f"{name}={_kept(name, value)!r}" for name, value in world.settings.items())
    return f"{world.env or 'made by hand'}{f' ({settings})' if settings else ''}"


def _kept(name: str, value: object) -> object:
    """Return a value without what may be a key, however deep it stands in it."""
    if isinstance(value, bool | int | float | None):
        return value  # max_tokens is no key
    if any(word in name.lower() for word in _SECRET):
        return "(hidden)"
    if isinstance(value, Mapping):
        return {inner: _kept(inner, each) for inner, each in value.items()}
    return [_kept("", each) for each in value] if isinstance(value, list) else value
