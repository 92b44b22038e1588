"""The language of one line: what it gives, and that no line can do more than fail."""

import json
import time
import warnings
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sums import wall

from sdpo_envs import Program, microcode
from sdpo_envs.files import source
from sdpo_envs.oneliner import HELPERS, KEYWORDS, LONGEST, namespace, outcome, read

NAMES = {word: readings[0] for word, readings in microcode.NAMES.items()}
"""All that a world can define, under its likeliest name; of size_of(x) and pad(x, size=7) both."""
INPUTS = ("1234", "98765", "102938")


def given_by(line: str, inputs: Sequence[str] = INPUTS) -> list[list[str] | str] | str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of what is no mistake of ours, such as ''(x)
        return outcome(line, NAMES, inputs)


def one(line: str, x: str = "4021") -> list[str] | str:
    values = given_by(line, [x])
    assert isinstance(values, list), values
    return values[0]


# What a line gives


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("return x", "'4021'"),
        ("return x[::-1]", "'1204'"),
        ("return x[1:]+x[:1]", "'0214'"),
        ("return ''.join(sorted(x))", "'0124'"),
        ("return min(x)", "'0'"),
        ("return x[-1]+max(x)", "'14'"),
        ("return (x[0])", "'4'"),
        ("return x[0],x[1]", ["'4'", "'0'"]),
        ("return (x[0],x[1])", ["'4'", "'0'"]),
        ("return x[0],", ["'4'"]),
        ("return uniq_of(x+x)", "'0124'"),
        ("return sum_in(x)", "7"),
        ("return even_by(x)", "'402'"),
        ("return odd_at(x)", "'1'"),
        ("return size_of(x)", "4"),
        ("return flip_in(x)", "'40211204'"),
        ("return twice_by(x)", "'8042'"),
        ("return hide_at(x)", "'**21'"),
        ("return pad(x,size=7)", "'0004021'"),
        ("return clip(x,limit=3)", "'402'"),
        ("return shift(x,by=2)", "'2140'"),
        ("return drop(x,at=1)", "'421'"),
        ("return x  # said", "'4021'"),
    ],
)
def test_a_line_gives_its_value(line: str, value: str | list[str]) -> None:
    assert one(line) == value


def test_every_word_of_the_world_can_be_called() -> None:
    assert {*HELPERS, *KEYWORDS} == microcode.NAMES.keys()
    known = namespace(NAMES)
    assert {"uniq_of", "sum_in", "size_of", "pad", "clip", "shift", "drop", "min", "max", "sorted"} <= known.keys()


def test_only_what_the_world_defines_can_be_named() -> None:
    assert outcome("return dedup(x)", {"unique": "uniq_of"}, INPUTS) == "NameError: name 'dedup' is not defined"
    meant = "NameError: name 'uniq_in' is not defined. Did you mean: 'uniq_of'?"
    assert outcome("return uniq_in(x)", {"unique": "uniq_of"}, INPUTS) == meant
    assert outcome("return uniq_of(x)", {}, INPUTS) == "NameError: name 'uniq_of' is not defined"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("return pad(x,width=7)", "TypeError: pad() got an unexpected keyword argument 'width'"),
        ("return pad(x,7)", "TypeError: pad() takes 1 positional argument but 2 were given"),
        ("return pad(x)", "TypeError: pad() missing 1 required keyword-only argument: 'size'"),
        ("return x[9]", "IndexError: string index out of range"),
        ("return x+1", 'TypeError: can only concatenate str (not "int") to str'),
        ("return max('')", "ValueError: max() arg is an empty sequence"),
        ("return 1 .join(x)", "AttributeError: 'int' object has no attribute 'join'"),
        ("return x[", "SyntaxError: '[' was never closed"),
        ("return f(x)", "NameError: name 'f' is not defined"),
    ],
)
def test_an_error_is_told_as_python_tells_it(line: str, error: str) -> None:
    told = given_by(line)
    assert isinstance(told, str)
    assert told.startswith(error.partition("() arg")[0] if "empty" in error else error)


def test_the_first_input_that_fails_fails_all() -> None:
    assert given_by("return x[4]", ["12345", "1234"]) == "IndexError: string index out of range"


# What is no line of this language


@pytest.mark.parametrize(
    "line",
    [
        "x",
        "return x;y=1",
        "return x; return x",
        "yield x",
        "import os",
        "pass",
        "return __import__('os')",
        "return x.__class__",
        "return ''.format(x)",
        "return x.join('')",
        "return ''.join.__self__",
        "return (lambda: x)()",
        "return [x]",
        "return {x}",
        "return [c for c in x]",
        "return f'{x}'",
        "return x*9",
        "return 9**9",
        "return x if x else x",
        "return x==x",
        "return not x",
        "return ~1",
        "return (y:=x)",
        "return print(*x)",
        "return pad(**x)",
        "return 100",
        "return 1.5",
        "return True",
        "return None",
        "return ...",
        "return 'a'",
        "return b''",
        "return _pad(x,7)",
        "return __builtins__",
        "return \uff3fpad(x,7)",
        "return await x",
        "return x\nimport os",
        "return x\rimport os",
        "return x\x0cimport os",
        "return x\u2028",
        "return " + "x+" * LONGEST + "x",
    ],
)
def test_it_is_refused_before_it_runs(line: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SyntaxError):
            read(line)
    told = given_by(line)
    assert isinstance(told, str)
    assert told.startswith("SyntaxError: ")


@pytest.mark.parametrize("line", ["return exec", "return open", "return getattr", "return print(x)", "return eval(x)"])
def test_nothing_of_python_can_be_named_but_three_functions(line: str) -> None:
    told = given_by(line)
    assert isinstance(told, str)
    assert told.startswith("NameError: ")


@pytest.mark.parametrize("line", ["", " ", "return \0", "return '\ud800'", "return é", "\\", "#", "return \\"])
def test_what_cannot_be_read_is_an_error_of_the_line(line: str) -> None:
    assert isinstance(given_by(line), str)


# What a line could do to its process


@pytest.mark.parametrize(
    "line",
    [
        "return f(x)",
        "return sorted(x,key=f)",
        "return sorted((" + "x[1:]," * 20 + ")[:sum_in(x)],key=f)",
        "return " + "flip_in(" * 21 + "x" + ")" * 21,
        "return " + "drop(" * 15 + "x" + ",at=-1)" * 15,
        "return " + "flip_in(" * 8 + "drop(" * 8 + "x" + ",at=-1)" * 8 + ")" * 8,
        "return pad(x,size=sum_in((x+x+x+x+x,)))",
        "return pad(x,size=sum_in((x+x,)))",
        "return pad(x,size=-sum_in((x+x+x+x+x,)))",
        "return pad(x,size=sum_in((pad(x,size=999)+pad(x,size=999)+pad(x,size=999)+pad(x,size=999)+x,)))",
        "return sum_in((" + "flip_in(" * 7 + "x" + ")" * 7 + "+x[:3],x))",
        "return " + "(" * 95 + "x" + ")" * 95,
        "return " + "x[" * 60 + "0" + "]" * 60,
        "return " + "-" * 190 + "1",
        "return " + "sorted(" * 24 + "x" + ")" * 24,
        "return " + "(" * 190,
        "return " + "{x:" * 60,
        "return " + "lambda x=(" * 19,
        "return " + "not " * 48,
    ],
)
def test_a_line_that_would_never_end_or_grow_without_end_is_over_at_once(line: str) -> None:
    assert len(line) <= LONGEST
    start = time.process_time()
    given = given_by(line)
    assert time.process_time() - start < 0.5
    assert len(json.dumps(given)) < 30_000


def test_a_value_may_be_much_longer_than_any_task_asks_for() -> None:
    assert one("return " + "flip_in(" * 7 + "x" + ")" * 7, "1234") == repr("12344321" * 64)
    assert one("return pad(x,size=99)") == repr("4021".rjust(99, "0"))
    assert one("return drop(x,at=-1)") == "'4024021'"


def test_what_one_line_does_the_next_does_not_see() -> None:
    before = {line: given_by(line) for line in ("return uniq_of(x)", "return sorted(x)", "return pad(x,size=7)")}
    for line in (
        "return sorted(x,key=uniq_of)",
        "return f",
        "return uniq_of,pad,min",
        "return pad(x,size=f)",
        "return x[f]",
    ):
        given_by(line)
    assert {line: given_by(line) for line in before} == before


@pytest.mark.parametrize("line", ["return min", "return (uniq_of,),x", "return ''.join,uniq_of", "return (x,(pad,))"])
def test_where_a_function_stands_in_memory_is_not_told(line: str) -> None:
    assert "0x" not in json.dumps(given_by(line))


@pytest.mark.parametrize("line", ["return (min,)(**x)", "return x(**x)", "return (uniq_of,)(x)", "return x+uniq_of"])
def test_nor_in_an_error(line: str) -> None:
    told = given_by(line)
    assert isinstance(told, str)
    assert "0x" not in told


# Every line

_ATOMS = st.sampled_from(["x", "x", "0", "1", "-1", "99", "''", "f", "min", "uniq_of", "size", "sum_in(x)", "(x,)"])
_CALLED = st.sampled_from([*(name for name in NAMES.values() if name != "to"), "sorted", "max", "f", "''.join", "pad"])


def _within(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    keyword = st.sampled_from(
        ["pad({},size={})", "drop({},at={})", "shift({},by={})", "sorted({},key={})", "max({},{})"]
    )
    form = st.sampled_from(["{}+{}", "{}[{}:]", "{}[:{}]", "{}[{}]", "({},{})", "({}+{})"])
    return st.one_of(
        st.builds(lambda shape, one, other: shape.format(one, other), st.one_of(keyword, form), inner, inner),
        st.builds(lambda name, one: f"{name}({one})", _CALLED, inner),
        st.builds(lambda one: f"flip_in(flip_in({one}))", inner),
        st.builds(lambda one: f"-{one}", inner),
    )


_LINES = st.recursive(_ATOMS, _within, max_leaves=25).map(lambda inner: f"return {inner}")
_PIECES = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "x",
    ",",
    ":",
    "lambda ",
    "yield ",
    "-",
    "+",
    "*",
    "if ",
    "for ",
    "f'",
    "'",
    "#",
]
_PIECES += [":=", ".", "0", "1e9", "await ", "return ", "\t", "=", "<", "...", "@", "\\", "é", "\x00", "\ud800", '"""']
_SHREDS = st.lists(st.sampled_from(_PIECES), max_size=60).map(lambda pieces: f"return {''.join(pieces)}")
_HOSTILE = st.one_of(_LINES, _SHREDS, st.text(max_size=250), st.text(max_size=190).map("return {}".format))


@settings(max_examples=400)
@given(line=_HOSTILE)
def test_every_line_ends_soon_and_is_an_outcome_of_few_words(line: str) -> None:
    start = time.process_time()
    given = given_by(line)
    assert time.process_time() - start < 1.0
    told = json.dumps(given)
    assert len(told) < 300_000  # of the 1024 KiB that a run may print
    assert "0x" not in told or "0x" in line
    if isinstance(given, str):
        assert given.partition(": ")[0].endswith("Error")
        assert len(given) < 1000
    else:
        assert len(given) == len(INPUTS)
    assert given == given_by(line)


def test_as_a_program_it_answers_every_input_as_if_it_were_alone() -> None:
    lines = [
        "return x",
        "return f(x)",
        "return uniq_of(x)",
        "return \ud800",
        "return " + "flip_in(" * 21 + "x" + ")" * 21,
    ]
    lines += ["return pad(x,size=sum_in((x+x,)))", "import os", "return ''(x)", "return '\\d'", "return uniq_of(x)"]
    asked = tuple(json.dumps({"line": line, "names": NAMES, "inputs": INPUTS}) for line in lines)
    program = Program({"main.py": source("oneliner")}, ("python", "main.py"), asked, isolated=False)
    runs = wall().run(program)
    assert [run.exit_code for run in runs] == [0] * len(lines)
    assert [json.loads(run.stdout) for run in runs] == [given_by(line) for line in lines]
