"""Landlock: what a confined process can and cannot do, each time in a process of its own."""

import contextlib
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

INSIDE = Path(__file__).parents[2] / "sandboxes" / "python"


@pytest.fixture
def landlock(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # programs see that folder
    monkeypatch.syspath_prepend(INSIDE)
    return importlib.import_module("landlock")


@pytest.fixture
def confined(landlock: ModuleType, tmp_path: Path) -> "Confined":
    return Confined(landlock.abi(), tmp_path)


class Confined:
    """Runs source text in a process that may write to the folder `own`, beside which there is the folder `other`."""

    def __init__(self, abi: int, folder: Path) -> None:
        self.abi, self.folder = abi, folder
        for name in ("own", "other"):
            (folder / name).mkdir()
        (folder / "other" / "secret").write_text("swordfish")

    def __call__(self, source: str, more: str = "", abi: int = 2) -> list[str]:
        """Return, for each line of `source`, ok or what kind of error it raised."""
        if self.abi < abi:
            pytest.skip(f"Landlock of this kernel has ABI {self.abi}; this needs {abi}.")
        program = f"""
import ctypes, os, signal, socket, sys
sys.path.insert(0, {str(INSIDE)!r})
import landlock
parent, outside, other = os.getppid(), os.open("../other", os.O_PATH), "../other"
listener = socket.create_server(("127.0.0.1", 0))
named = socket.socket(socket.AF_UNIX); named.bind("\\0sdpo-" + str(os.getpid())); named.listen()
landlock.confine(".", {more})
for line in {source.strip().splitlines()!r}:
    try: exec(line); print("ok")
    except OSError as error: print(type(error).__name__)
    except AssertionError: print("wrong")
sys.stdout.flush()
"""
        command = [sys.executable, "-B", "-c", program]
        result = subprocess.run(command, cwd=self.folder / "own", capture_output=True, text=True, check=False)
        assert not result.stderr
        return result.stdout.split()


def test_the_version_of_the_kernel_s_landlock_is_told(landlock: ModuleType) -> None:
    assert landlock.abi() >= 0


def test_only_its_own_folder_can_be_written_to(confined: Confined) -> None:
    writes = """
open("file", "w").close()
os.mkdir("folder")
open("/dev/null", "w").write("x")
open(f"{other}/file", "w")
open(f"{other}/secret", "a")
open("/proc/self/fd/%d/file" % outside, "w")
os.mkdir(f"{other}/folder")
os.symlink("a", f"{other}/link")
os.mkfifo(f"{other}/fifo")
os.unlink(f"{other}/secret")
os.rename(f"{other}/secret", f"{other}/renamed")
open("fifo", "w") if os.mkfifo("fifo") else os.unlink("fifo")
"""
    assert confined(writes) == ["ok"] * 3 + ["PermissionError"] * 8 + ["ok"]
    assert [path.name for path in (confined.folder / "other").iterdir()] == ["secret"]


def test_files_move_within_the_folder_and_neither_in_nor_out(confined: Confined) -> None:
    moves = """
os.mkdir("a"), os.mkdir("b"), open("a/file", "w").close()
os.rename("a/file", "b/file")
os.link("b/file", "a/linked")
os.rename("b/file", f"{other}/file")
os.link("b/file", f"{other}/file")
os.rename(f"{other}/secret", "secret")
os.link(f"{other}/secret", "secret")
"""
    assert confined(moves)[:3] == ["ok"] * 3
    assert "ok" not in confined(moves.replace("os.mkdir", "").replace("'w'", "'a'"))[3:]
    assert (confined.folder / "other" / "secret").read_text() == "swordfish"


def test_another_s_file_is_not_truncated(confined: Confined) -> None:
    assert confined('os.truncate(f"{other}/secret", 0)', abi=3) == ["PermissionError"]
    assert (confined.folder / "other" / "secret").read_text() == "swordfish"


def test_everything_can_be_read_unless_it_is_said_what(confined: Confined) -> None:
    reads = """
open(f"{other}/secret").read()
os.listdir(other)
open("/proc/self/fd/%d/secret" % outside)
open("file", "w").close(), open("file").read(), os.listdir(".")
open("/dev/urandom", "rb").read(1)
"""
    assert confined(reads) == ["ok"] * 5
    assert confined(reads, "('/usr',)") == ["PermissionError"] * 3 + ["ok"] * 2
    assert confined(reads, "('../other/secret',)") == ["ok", "PermissionError", "ok", "ok", "ok"]


def test_nothing_is_executed_unless_what_can_be_read_may_be(confined: Confined) -> None:
    executes = "assert os.spawnv(os.P_WAIT, '/bin/true', ['true']) == 0"
    assert confined(executes) == ["wrong"]
    assert confined(executes, "execute=True") == ["ok"]
    assert confined("import shutil; shutil.copy('/bin/true', '.'); os.execv('./true', ['true'])") == ["PermissionError"]


def test_there_is_no_tcp(confined: Confined) -> None:
    connects = """
socket.create_connection(listener.getsockname())
socket.create_server(("127.0.0.1", 0))
"""
    assert confined(connects, abi=4) == ["PermissionError"] * 2


def test_nobody_outside_is_signalled_or_reached_by_name(confined: Confined) -> None:
    reaches = """
os.kill(parent, 0)
socket.socket(socket.AF_UNIX).connect(named.getsockname())
os.kill(os.getpid(), 0)
os._exit(0) if (child := os.fork()) == 0 else os.kill(child, 9)
"""
    assert confined(reaches, abi=6) == ["PermissionError"] * 2 + ["ok"] * 2


def test_confining_itself_again_takes_away_only(confined: Confined) -> None:
    again = """
landlock.confine(".", ("/usr",))
open(f"{other}/secret")
landlock.confine(other)
open(f"{other}/file", "w")
open("file", "w")
"""
    assert confined(again) == ["ok", "PermissionError", "ok", "PermissionError", "PermissionError"]


@pytest.mark.parametrize("abi", [0, 1])
def test_a_kernel_that_cannot_is_told(abi: int, landlock: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: abi)
    with pytest.raises(OSError, match=f"Landlock ABI 2 is needed .*, not {abi}"):
        landlock.confine(".")


def test_a_path_that_is_not_there_is_told(confined: Confined) -> None:
    assert confined("open('file', 'w').close()\nlandlock.confine('.', ('/nowhere',))") == ["ok", "FileNotFoundError"]


@pytest.mark.parametrize("version", [2, 3, 4, 5, 6, 7, 99])
def test_each_version_is_asked_for_what_it_knows(
    version: int, landlock: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    @contextlib.contextmanager
    def ruleset(version: int, rights: int) -> Iterator[int]:
        asked.append((version, rights))
        yield -1

    monkeypatch.setattr(landlock, "abi", lambda: version)
    monkeypatch.setattr(landlock, "_ruleset", ruleset)
    with pytest.raises(OSError, match="landlock_add_rule /"):
        landlock.confine("/")
    assert asked == [(version, (1 << {2: 14, 3: 15, 4: 15}.get(version, 16)) - 1)]
