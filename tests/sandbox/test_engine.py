"""What the Docker wall does when the engine goes away, and with images that are not what they should be."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from containers import containers, need
from traces import eventually

from sdpo_envs.errors import SandboxError
from sdpo_envs.sandbox import Program, engine
from sdpo_envs.sandbox import docker as docker_module
from sdpo_envs.sandbox.docker import DockerSandbox

ECHO = Program({"main.py": "print(input())"}, ("python", "main.py"), ("a", "b", "c"))


# Engines.


class Front:
    """Stands between the sandbox and the engine, and can be away for a while, as an engine that is started again."""

    def __init__(self, path: Path) -> None:
        self.path, self._open = path, list[socket.socket]()
        with engine.engine() as client:
            self._behind = client.adapters["http+docker://"].socket_path
        self._start()

    def _start(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._behind)
            self._open += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def go(self) -> None:
        """End all connections, and take no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink(missing_ok=True)
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._open.clear()

    def come_back(self, seconds: float) -> None:
        threading.Timer(seconds, self._start).start()


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    need("docker")
    front = Front(tmp_path / "front.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{front.path}")
    yield front
    front.go()


def test_an_engine_that_is_started_again_is_waited_for(front: Front) -> None:
    with DockerSandbox(1) as sandbox:
        before = containers().keys()
        sandbox.run(ECHO)
        first = containers().keys() - before
        front.go()
        front.come_back(1.0)
        assert sandbox.run(ECHO)[0].stdout == "a\n"
        assert eventually(lambda: not first & containers().keys())


def test_an_engine_that_does_not_come_back_is_an_error(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_module, "_RESTART_SECONDS", 0.5)
    with DockerSandbox(1) as sandbox:
        sandbox.run(ECHO)
        front.go()
        with pytest.raises(SandboxError, match="No Docker engine answers at unix:///"):
            sandbox.run(ECHO)
        front._start()
        assert sandbox.run(ECHO)[0].stdout == "a\n"


def test_where_there_is_no_engine_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(SandboxError, match=r"none.sock: .*No such file(.|\n)*systemctl start docker"):
        DockerSandbox(1).run(ECHO)


def test_a_runtime_that_the_engine_does_not_have_is_named_with_those_it_has() -> None:
    need("docker")
    with pytest.raises(SandboxError, match=r"no runtime 'nine', but \[.*'runc'.*daemon.json"):
        DockerSandbox(1, runtime="nine").run(ECHO)


# Images.


@pytest.fixture
def variant(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Builds an image that differs from the right one by some lines."""
    need("docker")
    names: list[str] = []

    def build(lines: str) -> str:
        names.append(f"sdpo-test-{tmp_path.name}-{len(names)}".replace("_", "-").lower())
        (tmp_path / "Dockerfile").write_text(f"FROM {engine.tag()}\n{lines}\n")
        with engine.engine() as client:
            assert "Successfully" in "".join(
                line.get("stream", "") for line in client.build(str(tmp_path), names[-1], decode=True, rm=True)
            )
        return names[-1]

    yield build
    with engine.engine() as client:
        for name in names:
            client.remove_image(name, force=True)


def test_an_image_made_from_ours_can_hold_more(variant: Callable[[str], str]) -> None:
    image = variant("COPY Dockerfile /packages/more.py\nENV X=1")
    source = "import os\nprint(os.path.exists('/packages/more.py'), 'X' in os.environ)"
    with DockerSandbox(1, image) as sandbox:
        assert sandbox.run(Program({"main.py": source}, ("python", "main.py")))[0].stdout == "True False\n"


def test_an_image_that_is_not_there_is_an_error() -> None:
    need("docker")
    with pytest.raises(SandboxError, match="no image 'sdpo-test-none'"):
        DockerSandbox(1, "sdpo-test-none").run(ECHO)


def test_an_image_with_other_programs_is_not_run(variant: Callable[[str], str]) -> None:
    with pytest.raises(SandboxError, match="does not hold the programs of this installation"):
        DockerSandbox(1, variant(f"LABEL {engine.DIGEST}=old")).run(ECHO)


def test_an_image_that_cannot_be_read_is_an_error(variant: Callable[[str], str]) -> None:
    before = containers().keys()
    with pytest.raises(SandboxError, match=r"(?i)engine answers: (.|\n)*no such file"):
        DockerSandbox(1, variant('ENTRYPOINT ["/none"]')).run(ECHO)
    assert containers().keys() == before


def test_a_worker_that_does_not_start_says_why(variant: Callable[[str], str]) -> None:
    broken = variant('ENTRYPOINT ["/sandbox/python", "-c", "import sys; sys.exit(\'the reason\')"]')
    with pytest.raises(SandboxError, match=r"the reason\n(.|\n)*doctor"):
        DockerSandbox(1, broken).run(ECHO)


def test_a_base_that_does_not_do_is_an_error_with_what_the_engine_wrote() -> None:
    need("docker")
    with pytest.raises(SandboxError, match=r"could not be built:\n(.|\n)*'scratch' needs (.|\n)*Python 3.11"):
        engine.build_image("scratch")
