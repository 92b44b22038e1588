"""``sdpo new-env``: the beginning of an environment of your own, which works as it stands."""

import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sdpo_envs.errors import SettingError
from sdpo_envs.files import bundled

_FILES = ("README.md", "my_env.py", "pyproject.toml", "test_my_env.py")


@dataclass(frozen=True)
class NewEnv:
    """Write an environment to start from, with its test.

    Both stand in a folder of their own and keep the contract as they are: words to put in order, for you to replace.
    Nothing is overwritten.

    Examples:
        sdpo new-env riddles
        sdpo new-env word_chains --into environments
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """Of the folder, the module and the ids, such as word_chains: small letters, digits and underscores."""
    into: Path = Path()
    """Where the folder is made."""

    def __call__(self) -> None:
        """Run it.

        Raises:
            SettingError: no module can have that name, or one has it already, or the folder is there.
            OSError: it cannot be written.
        """
        folder = write(self.name, self.into)
        env_id = f"{self.name}:{self.name}/{_class(self.name)}-v0"
        sys.stdout.write(
            f"{folder} holds {', '.join(sorted(path.name for path in folder.iterdir()))}. Try, in that folder:\n"
            f"  sdpo check {env_id}\n  sdpo play {env_id}\n  python -m pytest\n"
        )


def write(name: str, into: Path) -> Path:
    """Write the template, with `name` for its own, and return its folder.

    Raises:
        SettingError: no module can have that name, or one has it already, or the folder is there.
        OSError: it cannot be written.
    """
    folder = into / _free(name, into)
    folder.mkdir(parents=True)
    for file in _FILES:
        text = bundled("template", file).read_text(encoding="utf-8")
        text = text.replace("my_env", name).replace("MyEnv", _class(name))
        (folder / file.replace("my_env", name)).write_text(text, encoding="utf-8")
    return folder


def _free(name: str, into: Path) -> str:
    """Return `name` if a new module can have it."""
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or keyword.iskeyword(_class(name)):
        near = re.sub("[^a-z0-9_]+", "_", name.lower()).strip("_0123456789")
        hint = f"; how about {near}?" if near and near != name else "."
        raise SettingError(
            f"{name!r} cannot be the name of a module: small letters, digits and underscores make one{hint}"
        )
    if (into / name).exists() or (into / name).is_symlink():
        raise SettingError(f"{into / name} is there already, and nothing is overwritten; choose another name.")
    if re.search(rf"\b{_class(name)}\b", bundled("template", "my_env.py").read_text(encoding="utf-8")):
        raise SettingError(f"The class {_class(name)} would hide another of that name; choose another name for yours.")
    if importlib.util.find_spec(name):
        raise SettingError(f"A module {name!r} can be imported here already; choose another name for yours.")
    return name


def _class(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
