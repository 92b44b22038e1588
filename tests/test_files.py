from pathlib import Path

import pytest

from sdpo_envs import SdpoError, files
from sdpo_envs.files import bundled, source

CHECKOUT = Path(__file__).parents[1]


@pytest.mark.parametrize("folder", ["tasks", "sandboxes"])
def test_a_checkout_finds_the_folders_beside_the_package(folder: str) -> None:
    assert bundled(folder) == CHECKOUT / folder


def _install(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pretend that the package is installed below `root`; return its folder."""
    package = root / "site-packages" / "sdpo_envs"
    package.mkdir(parents=True)
    monkeypatch.setattr(files, "__file__", str(package / "files.py"))
    return package


def test_an_install_finds_its_own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _install(tmp_path, monkeypatch) / "_data" / "tasks" / "family"
    data.mkdir(parents=True)
    assert bundled("tasks", "family") == data


def test_an_install_prefers_its_own_data_to_a_neighbour_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = _install(tmp_path, monkeypatch)
    (package / "_data" / "tasks").mkdir(parents=True)
    (package.parent / "tasks").mkdir()
    assert bundled("tasks") == package / "_data" / "tasks"


def test_what_is_missing_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = _install(tmp_path, monkeypatch)
    with pytest.raises(SdpoError, match=r"tasks/family.*install sdpo-envs again") as caught:
        bundled("tasks", "family")
    assert str(package) in str(caught.value)


def test_a_module_is_found_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert source("oneliner") == (CHECKOUT / "sdpo_envs" / "oneliner.py").read_text(encoding="utf-8")
    (_install(tmp_path, monkeypatch) / "own.py").write_text("x = 'é'\n", encoding="utf-8")
    assert source("own") == "x = 'é'\n"


def test_a_module_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.py"):
        source("nothing")
