"""The reader of packed tests: what is honest is read, and a pickle that does anything is not even tried."""

import base64
import contextlib
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs import Record, RecordError, testcases
from sdpo_envs.testcases import read_cases, read_tests, unpack

TEST = {"input": "1 2\n", "output": "3\n", "testtype": "stdin"}
CALL = {"input": "[1, 2]\n3", "output": "true", "testtype": "functional"}


def pack(value: Any, protocol: int = 4) -> str:
    return zip_up(pickle.dumps(value, protocol))


def zip_up(pickled: bytes) -> str:
    return base64.b64encode(zlib.compress(pickled)).decode()


def record(tests: Any) -> Record:
    return Record("rows.jsonl line 7", {"tests": tests if isinstance(tests, str) else json.dumps(tests)})


class Command:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from([2, 3, 4, 5]))
def test_any_pickled_text_is_unpacked(text: str, protocol: int) -> None:
    assert unpack(pack(text, protocol)) == text


@given(st.text() | st.binary().map(lambda raw: base64.b64encode(raw).decode()) | st.binary().map(zip_up))
def test_anything_else_is_a_value_error(packed: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(unpack(packed), str)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    with pytest.raises(ValueError, match="not just one str"):
        unpack(pack(Command(trace), protocol))
    assert not trace.exists()


@pytest.mark.parametrize(
    "pickled",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x02\x82\x01.",
        b"Pname\n.",
        b"\x80\x04\x8c\x01a\x8c\x01b.",
        b"\x80\x04.",
        b"\x80\x04]\x8c\x01a.",
        b"\x80\x04\x8c\x01a}b.",
        b"\x80\x05\x8e\xff\xff\xff\xff\xff\xff\xff\x7fa.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fa.",
        b"\x80\x04\x8c\x01a",
    ],
)
def test_any_instruction_beyond_one_str_is_refused(pickled: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unpack(zip_up(pickled))


def test_a_zip_bomb_is_refused_at_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testcases, "_UNPACKED_LIMIT", 1 << 20)
    assert len(unpack(pack("a" * 1_000_000))) == 1_000_000
    with pytest.raises(ValueError, match="more than 1048576 bytes"):
        unpack(pack("a" * 50_000_000))


@pytest.mark.parametrize("packed", [pack("text")[:-4], pack("text")[4:], "not base64!", "é", "", "AAAA"])
def test_damage_is_refused(packed: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unpack(packed)


@pytest.mark.parametrize("tests", [[TEST, TEST], json.dumps([TEST, TEST]), pack(json.dumps([TEST, TEST]))])
def test_tests_are_read_from_json_and_from_packed_json(tests: Any) -> None:
    assert read_tests(record(tests), "tests") == [TEST, TEST]


def test_cases_keep_input_and_output_and_show_neither() -> None:
    (case,) = read_cases(record([TEST]), "tests", function=None, public=True)
    assert (case.input, case.output, case.public) == ("1 2\n", "3\n", True)
    assert repr(case) == "Case(public=True)"


@pytest.mark.parametrize(
    "tests",
    [
        "[",
        "{}",
        [],
        [7],
        [{}],
        [{"input": "1", "output": 3, "testtype": "stdin"}],
        [{"input": "1", "output": "3"}],
        pack("no JSON"),
        pack(json.dumps({"input": "1"})),
        pack(b"bytes"),
        zip_up(b"not a pickle"),
        "plain words",
        [CALL],
        [TEST, TEST | {"testtype": "functional"}],
    ],
)
def test_what_is_not_a_list_of_tests_is_an_error_that_names_place_and_column(tests: Any) -> None:
    with pytest.raises(RecordError, match=r"^rows\.jsonl line 7: the column 'tests' .*must|has a test of type"):
        read_cases(record(tests), "tests", function=None)


@pytest.mark.parametrize("flaw", [{"input": "[1, 2] 3"}, {"input": "1\n\n2\noops"}, {"output": "True"}, {"output": ""}])
def test_arguments_and_results_must_be_json_so_that_no_policy_is_blamed_for_them(flaw: dict[str, str]) -> None:
    assert len(read_cases(record([CALL]), "tests", function="f")) == 1
    with pytest.raises(RecordError, match=r"line 7: the column 'tests' must hold JSON, not"):
        read_cases(record([CALL | flaw]), "tests", function="f")


def test_a_missing_column_is_named() -> None:
    with pytest.raises(RecordError, match=r"the column 'other' is missing"):
        read_tests(record([TEST]), "other")
