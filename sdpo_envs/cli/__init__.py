"""The command line: ``sdpo envs``, ``sdpo play sdpo/ToolUse-v0`` and the other commands of the table below.

A command is a frozen dataclass in a module of its own, which tyro reads and which is then called without arguments; its
docstring is its help, with an ``Examples:`` section. The agent's commands are read by a function of the agent instead.
Only the module of the command that was asked for is imported, so the light ones start without torch.

How a command ends:

    0    it did what was asked
    1    it could not, or what it looked at is not in order: a broken contract, another verdict, a failed check
    2    the command line was not understood
    130  it was interrupted
"""

import inspect
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from importlib.metadata import version
from operator import attrgetter
from typing import Any

import gymnasium

from sdpo_envs.errors import SdpoError, nearest, require
from sdpo_envs.feedback import printable

COMMANDS = {
    "envs": ("sdpo_envs.cli.envs:Envs", "list the environments, what each has and what it needs"),
    "train": ("sdpo_agent.__main__:parse", "train a policy on an environment with feedback"),
    "discover": ("sdpo_agent.__main__:parse", "attempt hard tasks until an attempt succeeds"),
    "probe": ("sdpo_agent.__main__:parse", "tell, before any training, how much feedback helps a policy"),
    "bench": ("sdpo_agent.__main__:parse", "tune algorithms alike, train them over many seeds, and compare them"),
    "warm-start": ("sdpo_agent.__main__:parse", "make the small policy of the laptop benchmark"),
}
"""Name to ``module:what`` and what it does in one line. Strings only, as nothing is imported before it is asked for."""

FOR_THE_USER = (SdpoError, gymnasium.error.Error, ModuleNotFoundError, OSError)
"""Errors whose message is all that a user needs; others are bugs, and come with their traceback."""
_ENDS = (__doc__ or "").partition("How a command ends:\n\n")[2]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that was asked for.

    Args:
        argv: Of the command line; None for those of this process.

    Raises:
        SystemExit: it did not do what was asked; the code is as the module says.
    """
    try:
        run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except BrokenPipeError as error:  # who read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from error
    except FOR_THE_USER as error:
        tell(error)
        raise SystemExit(1) from error
    except KeyboardInterrupt as error:
        raise SystemExit(130) from error


def run(argv: Sequence[str]) -> None:
    """Run the command that `argv` names; see `main`."""
    name = argv[0] if argv else "--help"
    if name in ("--help", "-h"):
        sys.stdout.write(_help())
    elif name == "--version":
        sys.stdout.write(f"sdpo-envs {version('sdpo-envs')}\n")
    elif name not in COMMANDS:
        hint = nearest(name, COMMANDS) or "."
        sys.stderr.write(f"sdpo: there is no command {printable(name)!r}{hint} `sdpo --help` lists them all.\n")
        raise SystemExit(2)
    else:
        read(name, argv[1:])()


def read(name: str, argv: Sequence[str]) -> Callable[[], None]:
    """Return the command of that name with what the rest of the command line says.

    Raises:
        SystemExit: it was not understood, or only its help was asked for.
        MissingExtra: what the command needs is not installed.
    """
    module, _, attribute = COMMANDS[name][0].partition(":")
    extra = "agent" if module.startswith("sdpo_agent") else "cli"
    made: Any = attrgetter(attribute)(require(module, extra))
    if inspect.isclass(made):
        tyro, about = require("tyro", "cli"), inspect.getdoc(made)
        command: Callable[[], None] = tyro.cli(made, args=list(argv), prog=f"sdpo {name}", description=about)
    else:
        command = made([name, *argv], prog="sdpo")
    return command


def tell(error: BaseException) -> None:
    """Write an error for the user: its kind in red where that can be seen, and its message."""
    red, plain = ("\x1b[31m", "\x1b[0m") if sys.stderr.isatty() and "NO_COLOR" not in os.environ else ("", "")
    sys.stderr.write(f"{red}{type(error).__name__}:{plain} {printable(str(error))}\n")


def _help() -> str:
    wide = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{wide}}  {about}" for name, (_, about) in COMMANDS.items())
    ends = textwrap.indent(textwrap.dedent(_ENDS).rstrip(), "  ")
    return (
        f"Usage: sdpo COMMAND ...\n\nFeedback environments, and an agent that learns from feedback.\n\n"
        f"Commands; `sdpo COMMAND --help` tells the rest of each:\n\n{commands}\n\nExit codes:\n\n{ends}\n"
    )
