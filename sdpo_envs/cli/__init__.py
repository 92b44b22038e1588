"""The command line: ``sdpo envs``, ``sdpo play sdpo/ToolUse-v0`` and the other commands of the table below.

A command is a frozen dataclass in a module of its own, which tyro reads and which is then called without arguments. Its
docstring is its help: first what the table says, and last an ``Examples:`` section. Only the module of the command that
was asked for is imported, so that the light ones start without torch.

How a command ends:

    0    it did what was asked
    1    it could not, or what it looked at is not in order: a broken contract,
         another verdict, a failed check
    2    the command line was not understood
    130  it was interrupted
"""

import contextlib
import inspect
import io
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Annotated, Any, Union

import gymnasium

from sdpo_envs.errors import MissingExtra, SdpoError, SettingError, nearest, require
from sdpo_envs.feedback import printable

COMMANDS = {
    "envs": ("sdpo_envs.cli.envs:Envs", "list the environments, what each has and what it needs"),
    "check": ("sdpo_envs.cli.check:Check", "hold an environment to each law of the contract"),
    "new-env": ("sdpo_envs.cli.new_env:NewEnv", "write an environment to start from, with its test"),
    "show": ("sdpo_envs.cli.show:Show", "show a task as a policy reads it"),
    "play": ("sdpo_envs.cli.play:Play", "answer a task yourself, and see the verdict and the feedback"),
    "view": ("sdpo_envs.cli.view:View", "write a page to look at the attempts of a recorded run"),
    "train": ("sdpo_agent.__main__:Training", "train a policy on an environment with feedback"),
    "evaluate": ("sdpo_agent.evaluation:Evaluate", "score a policy, or a served model, on environments"),
    "discover": ("sdpo_agent.__main__:Discover", "attempt hard tasks until an attempt succeeds"),
    "probe": ("sdpo_agent.__main__:Probe", "tell, before any training, how much feedback helps a policy"),
    "bench": ("sdpo_agent.__main__:Bench", "tune algorithms alike, train each over seeds, and compare"),
    "warm-start": ("sdpo_agent.__main__:WarmStart", "make the small policy of the laptop benchmark"),
    "report": ("sdpo_envs.cli.report:Report", "compare recorded runs, with intervals"),
    "replay": ("sdpo_envs.cli.replay:Replay", "judge what was recorded again, and tell what differs"),
    "judge-agreement": ("sdpo_envs.cli.judge_agreement:JudgeAgreement", "tell how far a model judges as a rule does"),
    "serve": ("sdpo_envs.cli.serve:Serve", "serve an environment to the clients of OpenEnv"),
    "export-verl": ("sdpo_envs.cli.export_verl:ExportVerl", "write the tasks of an environment as a data set for verl"),
    "doctor": ("sdpo_envs.cli.doctor:Doctor", "tell what is missing on this machine, and what mends it"),
}
"""Name to ``module:Class`` and what it does in a line. Strings only, as nothing is imported before it is asked for."""

FOR_THE_USER = (SdpoError, gymnasium.error.Error, ModuleNotFoundError, OSError)
"""Errors whose message is all that a user needs; others are bugs, and come with their traceback."""
_COMPLETION = ("--tyro-print-completion", "--tyro-write-completion")
_ENDS = (__doc__ or "").partition("How a command ends:\n\n")[2]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that was asked for.

    Args:
        argv: Of the command line; None for those of this process.

    Raises:
        SystemExit: it did not do what was asked; the code is as the module says.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # where a terminal knows ASCII only
    if "" not in sys.path:
        sys.path.insert(0, "")  # as for python -m: MODULE:ID may name a module of this folder
    with for_the_user():
        run(sys.argv[1:] if argv is None else argv)


@contextlib.contextmanager
def for_the_user() -> Iterator[None]:
    """Within, an error that is none of ours ends the program with its message and with the code that the module says.

    Raises:
        SystemExit: there was one.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError as error:  # who reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from error
    except FOR_THE_USER as error:
        red, plain = ("\x1b[31m", "\x1b[0m") if sys.stderr.isatty() and "NO_COLOR" not in os.environ else ("", "")
        sys.stderr.write(f"{red}{type(error).__name__}: {printable(str(error))}{plain}\n")
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
    elif name in _COMPLETION:
        _complete(argv)
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
    made, tyro = _load(name), require("tyro", "cli")
    manners = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.HelptextFromCommentsOff)
    command: Callable[[], None] = tyro.cli(
        made, args=list(argv), prog=f"sdpo {name}", description=_about(made), config=manners
    )
    return command


def parse_settings(text: str, flag: str = "--settings") -> dict[str, Any]:
    """Read keywords for an environment from the JSON object that `flag` gives.

    Raises:
        SettingError: it is not one.
    """
    try:
        settings: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingError(f"{flag} must be a JSON object, not {text!r}: {error}") from error
    if not isinstance(settings, dict):
        raise SettingError(f"{flag} must be a JSON object, not {text!r}.")
    return settings


def _load(name: str) -> Any:
    module, _, attribute = COMMANDS[name][0].partition(":")
    return getattr(require(module, "agent" if module.startswith("sdpo_agent") else "cli"), attribute)


def _about(made: Any) -> str:
    """Return the help of a command: its docstring, as wide as the terminal.

    Tyro joins lines of which the second begins with a letter, so those that go on begin with a space.
    """
    told, examples, lines = (inspect.getdoc(made) or "").partition("\n\nExamples:\n")
    wide = min(shutil.get_terminal_size().columns, 120)
    filled = [textwrap.fill(paragraph, wide, subsequent_indent=" ") for paragraph in told.split("\n\n")]
    return "\n\n".join(filled) + examples + lines


def _complete(argv: Sequence[str]) -> None:
    """Have tyro write what a shell completes, of every command that can be loaded here."""
    tyro, kinds = require("tyro", "cli"), []
    for name, (_, about) in COMMANDS.items():
        try:
            kinds.append(Annotated[_load(name), tyro.conf.subcommand(name, description=about)])
        except MissingExtra as error:
            sys.stderr.write(f"sdpo: {name} will not be completed. {error}\n")
    tyro.cli(Union[tuple(kinds)], prog="sdpo", args=list(argv), config=(tyro.conf.OmitSubcommandPrefixes,))  # noqa: UP007


def _help() -> str:
    wide = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{wide}}  {about}" for name, (_, about) in COMMANDS.items())
    ends = textwrap.indent(textwrap.dedent(_ENDS).rstrip(), "  ")
    return (
        "Usage: sdpo COMMAND ...\n\n"
        "Environments that say why an attempt failed, and an agent that learns from it.\n"
        "`sdpo COMMAND --help` tells what a command takes, with examples.\n\n"
        f"Commands:\n{commands}\n\n"
        f"Exit codes:\n{ends}\n\n"
        "`sdpo --version` tells the version; `sdpo --tyro-print-completion bash` (or zsh,\n"
        "tcsh) writes what a shell needs to complete all of this.\n"
    )
