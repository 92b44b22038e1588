"""What `sdpo new-env` writes works unchanged, and nothing that is there is lost."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sdpo_envs.cli import COMMANDS, main
from sdpo_envs.cli.new_env import write
from sdpo_envs.errors import SettingError


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-W", "error", "-m", *command]
    bare = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # which no stranger needs, and which take seconds
    return subprocess.run(arguments, cwd=folder, env=bare, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("word_chains", tmp_path_factory.mktemp("strange") / "deeper")


def test_it_passes_check_unchanged(folder: Path) -> None:
    done = run("sdpo_envs.cli", "check", "word_chains:word_chains/WordChains-v0", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 11
    assert all(line.startswith("passed") for line in lines)


def test_its_tests_pass_unchanged(folder: Path) -> None:
    done = run("pytest", "-q", "-p", "no:cacheprovider", folder=folder)
    assert "12 passed" in done.stdout, done.stdout + done.stderr
    assert "skipped" not in done.stdout


def test_it_builds_a_wheel_of_one_module(folder: Path, tmp_path: Path) -> None:
    done = run("build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("word_chains-0.1.0-*.whl")
    assert [name for name in zipfile.ZipFile(wheel).namelist() if "dist-info" not in name] == ["word_chains.py"]


def test_nothing_of_the_template_s_own_name_is_left(folder: Path) -> None:
    for path in folder.glob("*.*"):
        assert "my_env" not in path.name + path.read_text()
        assert "MyEnv" not in path.read_text()
    assert len((folder / "README.md").read_text().splitlines()) == 3


def test_what_to_do_next_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["new-env", "riddlers", "--into", str(tmp_path)])
    told = capsys.readouterr().out
    assert f"{tmp_path / 'riddlers'} holds README.md, pyproject.toml, riddlers.py, test_riddlers.py." in told
    assert "sdpo check riddlers:riddlers/Riddlers-v0" in told
    assert all(line.split()[1] in COMMANDS for line in told.splitlines() if line.startswith("  sdpo "))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "'' cannot be the name of a module"),
        ("1x", "how about x?"),
        ("Word-Chain", "how about word_chain?"),
        ("../escape", "how about escape?"),
        ("a/b", "how about a_b?"),
        ("a.b", "how about a_b?"),
        ("rätsel", "how about r_tsel?"),
        ("x\n", "how about x?"),
        ("_hidden", "how about hidden?"),
        ("class", "'class' cannot be the name of a module"),
        ("none", "'none' cannot be the name of a module"),
        ("json", "A module 'json' can be imported here already"),
        ("numpy", "A module 'numpy' can be imported here already"),
        ("sdpo_envs", "A module 'sdpo_envs' can be imported here already"),
        ("task", "The class Task would hide another of that name"),
        ("group_env", "The class GroupEnv would hide another of that name"),
    ],
)
def test_a_name_that_no_new_module_can_have_is_refused(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        write(name, tmp_path)
    assert says in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["folder", "file", "link"])
def test_what_is_there_stays_as_it_is(there: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "riddlers"
    if there == "folder":
        path.mkdir()
        (path / "riddlers.py").write_text("mine")
    elif there == "file":
        path.write_text("mine")
    else:
        path.symlink_to(tmp_path / "nowhere")
    before = sorted(os.walk(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main(["new-env", "riddlers", "--into", str(tmp_path)])
    assert ended.value.code == 1
    assert "is there already, and nothing is overwritten" in capsys.readouterr().err
    assert sorted(os.walk(tmp_path)) == before
    if there != "link":
        assert (path / "riddlers.py" if there == "folder" else path).read_text() == "mine"


def test_a_module_of_this_folder_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "riddlers.py").write_text("")
    with pytest.raises(SettingError, match="A module 'riddlers' can be imported here already"):
        write("riddlers", Path())
