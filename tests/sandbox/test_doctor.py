"""The doctor, and the command line that it is called from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from containers import need
from wall import namespaces_missing

from sdpo_envs.errors import SandboxError
from sdpo_envs.sandbox import Run, doctor
from sdpo_envs.sandbox.doctor import Row
from sdpo_envs.sandbox.fake import FakeSandbox


def rows(text: str) -> dict[str, str]:
    return {line[:12].strip(): line[13:16].strip() for line in text.splitlines() if not line.startswith(" ")}


def test_it_runs_a_program_behind_each_wall_and_is_content_when_the_default_one_holds() -> None:
    if reason := namespaces_missing():
        pytest.skip(f"The local wall does not work here: this machine refuses namespaces ({reason}).")
    need("runsc")
    command = [sys.executable, "-m", "sdpo_envs.sandbox", "doctor"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rows(result.stdout).keys() > {"kernel", "namespaces", "landlock", "seccomp"}
    walls = {"local wall": "ok", "docker": "ok", "image": "ok", "docker wall": "ok", "gvisor wall": "ok"}
    assert rows(result.stdout).items() >= walls.items()
    assert (result.returncode, result.stderr) == (0, "")


def test_where_there_is_no_engine_it_says_so_and_looks_at_the_rest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr(doctor, "LocalSandbox", lambda workers: FakeSandbox(lambda program: [Run(0, "42\n")]))
    found = {row.name: row for row in doctor.examine()}
    assert found["local wall"].works
    assert not found["docker"].works
    assert "systemctl start docker" in found["docker"].cure
    assert "docker wall" not in found


@pytest.mark.parametrize(
    ("release", "works"), [("6.1+", True), ("5.12-rc1", True), ("5.11.9", False), ("7", True), ("mine", False)]
)
def test_it_reads_every_kernel_s_release(release: str, works: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "here", release, "", "x86_64")))
    assert next(doctor.kernel())[:3] == ("kernel", works, f"Linux {release}")


def test_without_the_default_wall_it_is_not_content(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        doctor, "examine", lambda: iter([Row("local wall", False, "no", "do a\nor b"), Row("x", True, "")])
    )
    assert doctor.main() == 1
    assert capsys.readouterr().out == f"local wall   NO  no\n{' ' * 17}do a\n{' ' * 17}or b\nx            ok  \n"


def test_a_wall_that_gives_another_answer_does_not_work() -> None:
    row = doctor.wall("x", lambda workers: FakeSandbox(lambda program: [Run(0, "41\n")]))
    assert not row.works
    assert "41" in row.found


def test_of_an_error_the_first_line_is_what_was_found_and_the_others_are_the_cure() -> None:
    def broken(workers: int) -> FakeSandbox:
        return FakeSandbox(lambda program: fail())

    def fail() -> list[Run]:
        raise SandboxError("it broke.\nMend it.\nLike this.")

    assert doctor.wall("x", broken) == Row("x", False, "it broke.", "Mend it.\nLike this.")


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["cure"], 2), (["--help"], 0)])
def test_the_command_line_says_what_it_offers(arguments: list[str], code: int) -> None:
    command = [sys.executable, "-m", "sdpo_envs.sandbox", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == code
    assert "doctor" in result.stdout + result.stderr
    assert "build" in result.stdout + result.stderr


def test_an_image_that_cannot_be_built_is_an_error_of_the_command_line() -> None:
    need("docker")
    command = [sys.executable, "-m", "sdpo_envs.sandbox", "build", "--base", "scratch"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "could not be built" in result.stderr
