import builtins
import pickle
import re
import types
from pathlib import Path

import pytest

from sdpo_envs import errors
from sdpo_envs.errors import MissingExtra, SdpoError, SettingError, choose, nearest, require

CLASSES = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, SdpoError)]
each_class = pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    drawn: dict[str, tuple[str, str | None]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if node := re.match(r"    ([│├└─ ]*)(\w+Error|\w+NotFound|\w+Extra)\s+(?:\((\w+)\))?", line + " "):
            del path[len(node[1]) // 4 :]
            drawn[node[2]] = (path[-1] if path else "Exception", node[3])
            path.append(node[2])
    assert drawn == {each.__name__: (each.__bases__[0].__name__, _builtin(each)) for each in CLASSES}


def _builtin(error: type[SdpoError]) -> str | None:
    return error.__bases__[1].__name__ if len(error.__bases__) > 1 else None


@each_class
def test_an_error_says_its_one_message(error: type[SdpoError]) -> None:
    assert str(error("what happened")) == "what happened"


@each_class
def test_an_error_survives_pickling(error: type[SdpoError]) -> None:
    twin = pickle.loads(pickle.dumps(error("what happened")))
    assert type(twin) is error
    assert str(twin) == "what happened"


@each_class
def test_an_error_survives_being_raised_again_as_gymnasiums_workers_do(error: type[SdpoError]) -> None:
    first = error("what happened")
    assert str(error(first)) == "what happened"


@each_class
def test_an_error_is_caught_as_the_builtin_it_resembles(error: type[SdpoError]) -> None:
    builtin = getattr(builtins, _builtin(error) or "Exception")
    with pytest.raises(builtin, match="what happened"):
        raise error("what happened")


def test_nearest_names_the_closest() -> None:
    assert nearest("physic", ["biology", "physics"]) == "; did you mean 'physics'?"


@pytest.mark.parametrize("names", [[], ["biology", "chemistry"]])
def test_nearest_is_silent_when_nothing_is_close(names: list[str]) -> None:
    assert nearest("xyz", names) == ""


def test_choose_returns_what_is_offered() -> None:
    assert choose("split", "test", ("train", "test")) == "test"


def test_choose_lists_what_is_offered_and_names_the_nearest() -> None:
    with pytest.raises(SettingError) as caught:
        choose("split", "tset", ("train", "test"))
    assert str(caught.value) == "split='tset' is not offered; did you mean 'test'? Choose from ['train', 'test']."


def test_choose_makes_a_sentence_when_nothing_is_near() -> None:
    with pytest.raises(SettingError) as caught:
        choose("split", "xyz", iter(("train", "test")))
    assert str(caught.value) == "split='xyz' is not offered. Choose from ['train', 'test']."


@pytest.mark.parametrize("value", [None, 3, ["test"], b"test"])
def test_choose_refuses_values_that_are_not_text(value: object) -> None:
    with pytest.raises(SettingError, match="is not offered"):
        choose("split", value, ("train", "test"))  # type: ignore[arg-type]


def test_require_returns_the_module() -> None:
    assert isinstance(require("json", "data"), types.ModuleType)


def test_a_missing_module_is_an_error_that_says_how_to_install_it() -> None:
    with pytest.raises(MissingExtra, match=r"'no_such_module'.*pip install 'sdpo-envs\[data\]'"):
        require("no_such_module", "data")


def test_a_missing_dependency_of_a_module_is_named_instead_of_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "halfinstalled.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match="'no_such_dependency'"):
        require("halfinstalled", "data")


def test_a_module_that_breaks_while_it_is_imported_keeps_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("from json import no_such_name\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="no_such_name") as caught:
        require("broken", "data")
    assert not isinstance(caught.value, SdpoError)
