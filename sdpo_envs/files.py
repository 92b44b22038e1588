"""Finds what travels with the code: the folders `tasks/` and `sandboxes/`, and the text of modules."""

from pathlib import Path

from sdpo_envs.errors import SdpoError


def bundled(*parts: str) -> Path:
    """Return the path of a bundled file or folder, in an install or in a checkout.

    Raises:
        SdpoError: it is in neither, so the installation is damaged.
    """
    package = Path(__file__).resolve().parent
    for root in (package / "_data", package.parent):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise SdpoError(f"The bundled {'/'.join(parts)} is missing from {package}; install sdpo-envs again.")


def source(module: str) -> str:
    """Return the text of one of this package's own modules, for a wall to run."""
    return Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
