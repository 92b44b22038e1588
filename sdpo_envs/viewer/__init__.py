"""A recorded run to look at: `read(run)` in a notebook, `view(run)` for one HTML file, ``sdpo view RUN`` in a shell."""

from pathlib import Path

from sdpo_envs.viewer.page import page
from sdpo_envs.viewer.reading import Reading, Turn, read

__all__ = ["Reading", "Turn", "page", "read", "save", "view"]


def view(run: str | Path, out: str | Path | None = None, *, prompts: bool = True, play: bool = False) -> Path:
    """Write a page with the attempts of a run: filters, feedback, peers, turns, and tokens coloured by the gap.

    Args:
        run: A recording, or a file of rows.
        out: The file to write; None for ``view.html`` in the folder of the run.
        prompts: As for `read`.
        play: The same.

    Returns:
        The file. It needs no other, and no network.

    Raises:
        FileNotFoundError: there is no such run.
        RecordError: a row is not as it should be.
    """
    return save(read(run, prompts=prompts, play=play), out)


def save(reading: Reading, out: str | Path | None = None) -> Path:
    """Write the page of a run that was read; see `view`."""
    path = reading.folder / "view.html" if out is None else Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(reading), encoding="utf-8")
    return path
