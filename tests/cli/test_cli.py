"""The command line as a whole: its table, its helps, how it ends, and what it loads."""

import inspect
import io
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commandline import SDPO, run, started

from sdpo_envs import cli
from sdpo_envs.cli import COMMANDS, main, read
from sdpo_envs.errors import SandboxError, SettingError

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
each_command = pytest.mark.parametrize("name", COMMANDS)


def loadable(name: str) -> Any:
    """Return the class of a command; skip where the extra that it needs is not installed."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    if module.startswith("sdpo_agent"):
        pytest.importorskip("torch", reason="skips the agent: the extra 'agent' is not installed")
    __import__(module)
    return getattr(sys.modules[module], attribute)


def examples(made: Any) -> list[str]:
    """Return the command lines in the help of a command."""
    return [line.strip() for line in (inspect.getdoc(made) or "").partition("Examples:\n")[2].splitlines()]


def words(line: str) -> list[str]:
    """Return what a shell makes of a command line, without the redirections and the comment."""
    return [*shlex.split(re.split(r" (?:<+|>|\|) ", line)[0], comments=True)]


# --- the table and the helps


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_the_help_tells_every_command_and_every_exit_code(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    ended = run(capsys, *arguments)
    assert (ended.code, ended.err) == (0, "")
    for name, (_, about) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(about)}$", ended.out, re.MULTILINE)
    assert re.findall(r"^  (\d+) ", ended.out, re.MULTILINE) == ["0", "1", "2", "130"]
    assert max(map(len, ended.out.splitlines())) <= 80


@each_command
def test_each_help_says_what_the_table_says_and_shows_how(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = loadable(name)
    first = (inspect.getdoc(made) or "").partition("\n")[0]
    assert first.rstrip(".").lower() == COMMANDS[name][1].lower()
    assert examples(made)
    ended = run(capsys, name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"usage: sdpo {name} ")
    for line in (first, *examples(made)):
        assert line in ended.out


@each_command
def test_each_example_is_understood(name: str) -> None:
    for line in examples(loadable(name)):
        sdpo, command, *arguments = words(line)
        assert (sdpo, command) == ("sdpo", name), line
        assert callable(read(name, arguments))


@pytest.mark.parametrize(
    "line",
    [
        "train grpo --env sdpo/MicroCode-v0 --policy micro --steps 20 --run runs/grpo --gradient.clip-high 0.3",
        "train sdpo --reprompt.feedback always --lora-rank 4",
        "discover --ways best-of-k sdpo --sdpo.alpha 0.5 --task-ids a b",
        "bench --algorithms grpo sdpo --seeds 3",
    ],
)
def test_a_launcher_s_module_understands_the_same(line: str) -> None:
    pytest.importorskip("torch", reason="skips the agent: the extra 'agent' is not installed")
    from sdpo_agent.__main__ import Training, parse

    name, *arguments = shlex.split(line)
    command = read(name, arguments)
    assert (command.chosen if isinstance(command, Training) else command) == parse([name, *arguments])


def test_the_page_lists_exactly_the_commands_in_the_same_words() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `sdpo ([\w-]+)` \| (.*) \|$", page, re.MULTILINE) == [
        (name, about) for name, (_, about) in COMMANDS.items()
    ]


def test_the_page_shows_what_a_script_reads(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    ((line, answer, shown),) = re.findall(r"^\$ sdpo (.*) <<< '(.*)'\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{answer}\n"))
    assert run(capsys, *words(line)).out == shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_docs_is_understood(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^ *```(?:console|bash|sh)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^ *(?:\$ |\w+=\S+ )*sdpo (.*)$", "\n".join(blocks), re.MULTILINE)
    for line in lines:
        name, *arguments = words(line)
        if name[0] != "-" and not {"--help", "-h"} & set(arguments):
            loadable(name)
            assert callable(read(name, arguments)), line


def test_no_page_says_another_way_what_sdpo_says() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"python -m sdpo_agent|python -m sdpo_envs\.bench", text), page.name


# --- how it ends


def test_an_unknown_command_is_a_mistake_that_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    ended = run(capsys, "paly", "x")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "sdpo: there is no command 'paly'; did you mean 'play'? `sdpo --help` lists them all.\n"
    assert run(capsys, "\x1b[31m").err.startswith(r"sdpo: there is no command '\\x1b[31m'.")


@pytest.mark.parametrize(
    "arguments",
    [("show",), ("show", "sdpo/ToolUse-v0", "--tsk", "x"), ("replay", "a", "b"), ("play", "x", "--seed", "a")],
)
def test_what_is_not_understood_ends_with_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    ended = run(capsys, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert f"sdpo {arguments[0]}" in ended.err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SettingError("x=1 is not offered."), "SettingError: x=1 is not offered.\n"),
        (SandboxError("No wall.\nBuild it."), "SandboxError: No wall.\nBuild it.\n"),
        (PermissionError(13, "Permission denied", "a\x1b[2J"), "PermissionError: [Errno 13] Permission denied: "),
        (ModuleNotFoundError("No module named 'x'"), "ModuleNotFoundError: No module named 'x'\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_for_the_user_is_told_and_ends_with_1(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "run", fail)
    ended = run(capsys, "envs")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(said)
    assert "\x1b" not in ended.err


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(cli, "run", fail)
    with pytest.raises(KeyError):
        main(["envs"])


def test_an_interrupted_command_ends_with_130() -> None:
    command = [str(SDPO), "play", "sdpo/MicroTool-v0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()  # the task is shown, so it waits for an answer
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, b"")


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = [str(SDPO), "show", "sdpo/WebShop-v0", "--ids"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.wait(60), said) == (1, b"")


def test_on_a_terminal_an_error_is_red_unless_colour_is_unwanted() -> None:
    for wanted in (True, False):
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        ours, theirs = pty.openpty()
        command = [str(SDPO), "show", "sdpo/None-v0"]
        subprocess.run(command, stderr=theirs, env=environment | ({} if wanted else {"NO_COLOR": "1"}), check=False)
        os.close(theirs)
        said = os.read(ours, 10_000).decode()
        os.close(ours)
        assert said.startswith("\x1b[31mSettingError: " if wanted else "SettingError: ")
        assert said.endswith("\x1b[0m\r\n") is wanted


# --- what is installed and what is loaded


def test_the_installed_script_runs() -> None:
    ended = started("--version")
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(r"sdpo-envs \d+\.\d+\.\d+\n", ended.out)
    assert started("envs", "--json").json()[0]["id"] == "sdpo/ALFWorld-v0"


@pytest.mark.parametrize("arguments", [("--help",), ("envs",), ("show", "sdpo/ToolUse-v0"), ("replay", "--help")])
def test_the_light_commands_load_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code = (
        "import atexit, sys\n"
        "heavy = {'torch', 'transformers', 'datasets', 'matplotlib', 'ray', 'openai', 'sdpo_agent'}\n"
        "atexit.register(lambda: print('LOADED', sorted(heavy & set(sys.modules)), file=sys.stderr))"
    )
    ended = started(*arguments, code=code)
    assert ended.code == 0
    assert ended.err == "LOADED []\n"


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("torch", ("train", "sdpo"), "agent"),
        ("tyro", ("envs",), "cli"),
        ("rich", ("doctor",), "cli"),
        ("packaging", ("doctor",), "cli"),
    ],
)
def test_without_its_extra_a_command_names_it(module: str, arguments: tuple[str, ...], extra: str) -> None:
    ended = started(*arguments, code=f"import sys; sys.modules[{module!r}] = None")
    assert (ended.code, ended.out) == (1, "")
    assert re.fullmatch(rf"MissingExtra: .*'{module}[\w.]*'.* pip install 'sdpo-envs\[{extra}\]'\n", ended.err)
    assert started("--help", code=f"import sys; sys.modules[{module!r}] = None").code == 0


def test_a_shell_completes_the_commands_and_their_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="skips the agent: the extra 'agent' is not installed")
    ended = run(capsys, "--tyro-print-completion", "bash")
    assert (ended.code, ended.err) == (0, "")
    ask = [ended.out, 'f=$(complete -p sdpo | sed "s/.*-F \\([^ ]*\\).*/\\1/")']
    for line in ("sdpo pl", "sdpo show --ta", "sdpo train dap", "sdpo train grpo --learning"):
        *before, last = line.split()
        ask.append(
            f"COMP_WORDS=({line}); COMP_CWORD={len(before)}; $f sdpo {last} {before[-1]}; echo ${{COMPREPLY[@]}}"
        )
    script = tmp_path / "ask.bash"
    script.write_text("\n".join(ask))
    told = subprocess.run(["bash", script], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.split() == ["play", "--task", "dapo", "--learning-rate"]


def test_a_module_of_this_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import gymnasium\nfrom sdpo_envs import JudgedEnv, Outcome, Task, Verdict\n\n\n"
        "class Echo(JudgedEnv):\n    '''Say it again.'''\n\n"
        "    def __init__(self, **settings):\n"
        "        tasks = [Task('echo/1', 'Say a.', 'a')]\n"
        "        super().__init__(tasks, lambda task, action: Verdict(Outcome.PASSED, 1.0), **settings)\n"
        "\n\ngymnasium.register('mine/Echo-v0', entry_point=Echo)\n"
    )
    done = subprocess.run(
        [str(SDPO), "show", "mine:mine/Echo-v0"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Say a." in done.stdout
    listed = subprocess.run(
        [str(SDPO), "envs", "mine", "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert '"mine/Echo-v0"' in listed.stdout
    assert '"Say it again."' in listed.stdout
