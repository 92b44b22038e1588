"""What the local wall is made of: each layer that is missing is named, and a weaker wall is had only by name."""

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from wall import processes_below

from sdpo_envs.errors import SandboxError, SettingError
from sdpo_envs.sandbox import Program, local, open_sandbox
from sdpo_envs.sandbox.local import LAYERS, LocalSandbox

ROOT = Path(__file__).parents[2]
ECHO = Program({"main.py": "print(input())"}, ("python", "main.py"), ("a\n", "b\n", "c\n"))


# When it cannot.


def test_a_worker_that_cannot_start_is_a_sandbox_error_that_says_why_and_what_to_do(
    fresh: LocalSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_command", lambda _: [sys.executable, "-c", "import sys; sys.exit('no paint left')"])
    with pytest.raises(SandboxError, match="no paint left\nnamespaces, which keep") as caught:
        fresh.run(ECHO)
    for layer in LAYERS:
        rest = tuple(other for other in LAYERS if other != layer)
        assert f"    LocalSandbox(layers={rest}), without {layer}" in str(caught.value).splitlines()
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), SandboxError)


def test_a_missing_interpreter_is_a_sandbox_error(fresh: LocalSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/nowhere")
    with pytest.raises(SandboxError, match="the interpreter /nowhere/bin/python"):
        fresh.run(ECHO)


PIECES = {
    "libc.unshare(0x10000000)": "The user namespace",
    "os.geteuid = lambda: 0; launch.libc.unshare = lambda _: -1": "The mount, pid, network, ipc, uts and cgroup names",
    "launch.libc.umount2 = lambda *_: -1": "The read-only root",
    "os.setgroups = lambda _: os.stat('/nowhere')": "The change to uid 65534",
    "os.uname = lambda: type('U', (), {'machine': 'pdp11'})": "built on x86_64 and aarch64, not on pdp11",
    "os.execve = lambda *_: os.stat('/nowhere')": "The interpreter",
}


def launched(before: str, layers: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """Build a wall after something has been done to what builds it, and ask nothing of the worker."""
    folder = ROOT / "sandboxes" / "python"
    source = f"import ctypes, os, sys; libc = ctypes.CDLL(None); sys.argv[1:] = [{str(folder / 'worker.py')!r}, "
    source += f"{layers!r}]; sys.path.insert(0, {str(folder)!r}); import launch; {before}; launch.main()"
    command = [sys.executable, "-B", "-c", source]
    return subprocess.run(command, input=b"", capture_output=True, check=False, env=environment)


@pytest.mark.parametrize("before", PIECES)
def test_a_missing_piece_of_the_wall_is_named_and_nothing_is_run(before: str, sandbox: LocalSandbox) -> None:
    if os.geteuid() != 0 and "setgroups" in before:
        pytest.skip("Only root gives up being root.")
    result = launched(before, "namespaces,landlock,seccomp")
    assert result.returncode != 0
    assert result.stdout == b""
    assert PIECES[before] in result.stderr.decode()


REFUSE = """
import errno, struct
code = [(0x20, 0, 0, 0), (0x15, 0, 3, {number}), (0x20, 0, 0, 16), (0x15, 0, 1, {argument}), (6, 0, 0, 0x50026)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *c) for c in [*code, (6, 0, 0, 0x7FFF0000)]))
libc.prctl(38, 1, 0, 0, 0)
libc.prctl(22, 2, struct.pack("HxxxxxxP", 6, ctypes.addressof(code)), 0, 0)
"""


@pytest.mark.parametrize(("layer", "numbers", "argument"), [("landlock", (444, 444), 0), ("seccomp", (157, 167), 22)])
def test_a_layer_that_the_kernel_does_not_have_is_named_and_nothing_is_run(
    layer: str, numbers: tuple[int, int], argument: int, sandbox: LocalSandbox
) -> None:
    """A filter around all of it lets the kernel seem older."""
    number = numbers[os.uname().machine != "x86_64"]
    before = f"exec({REFUSE.format(number=number, argument=argument)!r})"
    result = launched(before, "namespaces,landlock,seccomp")
    assert (result.returncode, result.stdout) == (1, b"")
    assert f"The layer {layer} could not be set up" in result.stderr.decode()
    others = ",".join(other for other in LAYERS if other != layer)
    assert launched(before, others).stdout, "the others do not depend on it"


def test_an_old_landlock_is_not_enough_where_there_are_no_namespaces(sandbox: LocalSandbox) -> None:
    result = launched("launch.landlock.abi = lambda: 5; os.geteuid = lambda: 1", "landlock,seccomp")
    assert (result.returncode, result.stdout) == (1, b"")
    assert "The layer 'landlock' cannot be had." in result.stderr.decode()
    assert "ABI 6 is needed (Linux 6.12), not 5" in result.stderr.decode()


# Weaker walls, by name.


@pytest.mark.parametrize("layers", ["landlock", ("landlok",), ("rlimits", "landlock"), ("",), (1,)])
def test_a_layer_that_is_none_is_refused_with_what_is_offered(layers: Any) -> None:
    with pytest.raises(SettingError, match=r"namespaces.*landlock.*seccomp"):
        LocalSandbox(layers=layers)


def test_layers_are_kept_in_the_order_in_which_they_are_built() -> None:
    assert LocalSandbox().layers == open_sandbox("local").layers == LAYERS  # type: ignore[attr-defined]
    assert LocalSandbox(layers=["seccomp", "namespaces", "seccomp"]).layers == ("namespaces", "seccomp")


def test_a_start_says_behind_which_layers(fresh: LocalSandbox, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "sdpo_envs.sandbox"):
        fresh.run(ECHO)
        fresh.run(ECHO)
    [record] = caplog.records
    assert "landlock, seccomp" in record.getMessage()


PROBE = """
import os, socket
def can(name, attempt):
    try: attempt()
    except OSError: return
    print(name)
can("read", lambda: open({secret!r}).read())
can("write", lambda: open({secret!r}, "a"))
can("write here", lambda: open("file", "w"))
can("connect", lambda: socket.socket().close())
can("fork", lambda: os.fork() or os._exit(0))
can("signal", lambda: os.kill(os.getppid(), 0))
can("change modes", lambda: os.chmod("main.py", 0o600))
can("execute", lambda: os.path.exists("/bin/true") and os.spawnv(os.P_WAIT, "/bin/true", ["true"]) and os.stat("/no"))
"""


def test_without_any_layer_there_is_no_wall(tmp_path: Path, sandbox: LocalSandbox) -> None:
    """The control: what is held elsewhere is held by the wall."""
    (tmp_path / "secret").write_text("swordfish")
    source = PROBE.format(secret=str(tmp_path / "secret"))
    with LocalSandbox(workers=1, layers=()) as bare:
        [run] = bare.run(Program({"main.py": source}, ("python", "main.py")))
        assert bare.run(ECHO)[2].stdout == "c\n"
    assert run.stdout.split("\n")[:-1] == [
        *("read", "write", "write here", "connect", "fork", "signal", "change modes", "execute")
    ], run.stderr


def test_without_namespaces_the_folder_of_a_worker_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: LocalSandbox
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    leave = """
import os, time
print(os.getcwd(), os.environ["HOME"], os.environ["TMPDIR"], flush=True)
for _ in range(2000): os.mkdir("deep"); os.chdir("deep")
if os.fork() == 0: os.setsid(); time.sleep(99)
"""
    before = processes_below(os.getpid())
    with LocalSandbox(workers=1, layers=()) as bare:
        [run] = bare.run(Program({"main.py": leave}, ("python", "main.py")))
        [folder] = tmp_path.iterdir()
        assert run.stdout.split() == [f"{folder}/tmp"] * 3
        bare.run(ECHO)
    assert not list(tmp_path.iterdir())
    assert processes_below(os.getpid()) == before


@pytest.mark.parametrize("missing", ["landlock", "seccomp"])
def test_a_wall_without_one_layer_still_hides_the_host(missing: str, tmp_path: Path, sandbox: LocalSandbox) -> None:
    (tmp_path / "secret").write_text("swordfish")
    source = PROBE.format(secret=str(tmp_path / "secret"))
    layers = [layer for layer in LAYERS if layer != missing]
    with LocalSandbox(workers=1, layers=layers) as weaker:
        [run] = weaker.run(Program({"main.py": source}, ("python", "main.py")))
    assert {"read", "write"}.isdisjoint(run.stdout.split("\n"))
    assert "write here" in run.stdout
    assert ("connect" in run.stdout) == (missing == "seccomp")


# As other users than the one who runs the tests.

OUTSIDER = """
import os, shutil, sys
for name in ("sdpo_envs/errors.py", "sdpo_envs/files.py", "sdpo_envs/sandbox", "sandboxes/python"):
    copy = shutil.copytree if os.path.isdir(f"{root}/{{name}}") else shutil.copy
    os.makedirs(os.path.dirname(name), exist_ok=True)
    copy(f"{root}/{{name}}", name)
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
sys.path.insert(0, os.getcwd())
from sdpo_envs.sandbox import Program
from sdpo_envs.sandbox.local import LocalSandbox
with LocalSandbox(workers=1, layers={layers}) as sandbox:
    [run] = sandbox.run(Program({{"main.py": {source!r}}}, ("python", "main.py")))
    assert sandbox.run(Program({{"main.py": ""}}, ("python", "main.py")))[0].exit_code == 0
print(run.stdout + run.stderr)
"""


def outsider(uid: int, source: str, layers: tuple[str, ...] = LAYERS) -> list[str]:
    """Run source text as another user would: with an interpreter that everybody may read."""
    interpreter = Path("/usr/bin/python3")
    version = [str(interpreter), "-c", "import sys; print(sys.version_info >= (3, 11))"]
    if os.geteuid() != 0 or not interpreter.exists() or subprocess.check_output(version) != b"True\n":
        pytest.skip("Needs root, to become somebody else, and a Python >= 3.11 in /usr/bin.")
    code = OUTSIDER.format(root=ROOT, uid=uid, layers=layers, source=source)
    with tempfile.TemporaryDirectory() as folder:  # unlike tmp_path, below folders that everyone may enter
        Path(folder).chmod(0o755)
        (Path(folder) / "tmp").mkdir()
        (Path(folder) / "tmp").chmod(0o1777)
        environment = {"TMPDIR": f"{folder}/tmp"}
        command: list[str | Path] = [interpreter, "-B", "-c", code]
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert not list((Path(folder) / "tmp").iterdir()), "no folder is left"
    assert not result.stderr
    return result.stdout.strip().split("\n")


def test_an_ordinary_user_has_the_same_wall(sandbox: LocalSandbox) -> None:
    source = "import os; print(os.getuid(), os.listdir('/proc')[2:], os.path.exists('/etc/passwd')); open('/x', 'w')"
    told = outsider(4321, source)
    assert told[0] == "65534 ['1', '2'] False"
    assert told[-1] == "OSError: [Errno 30] Read-only file system: '/x'"


@pytest.mark.parametrize("uid", [0, 4321])
def test_without_namespaces_programs_have_threads_and_their_own_folder_only(
    uid: int, tmp_path: Path, sandbox: LocalSandbox
) -> None:
    source = (
        PROBE.format(secret="/etc/passwd")
        + """
import tempfile, threading
can("start a thread", lambda: threading.Thread(target=print, args=("thread",)).start())
can("make a temporary file", tempfile.TemporaryFile)
can("signal itself", lambda: os.kill(os.getpid(), 0))
can("list", lambda: os.listdir("/tmp"))
can("list processes", lambda: os.listdir("/proc"))
print(os.getuid())
"""
    )
    told = outsider(uid, source, ("landlock", "seccomp"))
    assert told == [
        "write here",
        "thread",
        "start a thread",
        "make a temporary file",
        "signal itself",
        f"{uid or 65534}",
    ]
