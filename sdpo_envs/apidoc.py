"""Reads the documentation of an API as it stands in a prompt, and finds where calls break it."""

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sdpo_envs.core import Finding
from sdpo_envs.errors import nearest
from sdpo_envs.parsing import Call, json_type

_TOOL = re.compile(
    r"^(?P<name>[^\n:]+): .*?\nParameters: (?P<parameters>\{.*?\})\nOutput:.*?\n - Format:.*?\n - Structure:",
    re.DOTALL | re.MULTILINE,
)
_PARAMETER = re.compile(r"(?:Required\. )?(?P<type>string|integer|number|boolean|Array|Object)[.\[{](?P<items>\w*)")
_CHOICES = re.compile(r"One of: \[([^]]*)\]")
_WELL_TYPED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "string": ("a string", lambda value: isinstance(value, str)),
    "integer": ("an integer", lambda value: _is_number(value) and value % 1 == 0),
    "number": ("a number", lambda value: _is_number(value)),
    "boolean": ("a boolean", lambda value: isinstance(value, bool)),
    "Array": ("an array", lambda value: isinstance(value, list)),
    "Object": ("an object", lambda value: isinstance(value, dict)),
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """What the documentation says of one parameter.

    Attributes:
        text: All of it.
        required: Whether a call must give it.
        type: A type word of the documentation, or ``""`` when it has none that can be checked.
        items: The type word of an array's items, or ``""``.
        choices: The values that are offered, as text; empty when any may be given.
    """

    text: str
    required: bool = False
    type: str = ""
    items: str = ""
    choices: tuple[str, ...] = ()


Tools = Mapping[str, Mapping[str, Parameter] | None]
"""Name to parameters, None when the documentation of these cannot be read."""


@functools.lru_cache(maxsize=1024)
def tools(documentation: str) -> Tools:
    r"""Read the tools and their parameters from the documentation of an API, the text that the prompt holds.

    >>> list(tools('find: Look.\nParameters: {"near": "Required. string. "}\nOutput: \n - Format: \n - Structure: \n'))
    ['find']
    """
    return {tool["name"]: _parameters(tool["parameters"]) for tool in _TOOL.finditer(documentation)}


def breaches(made: Iterable[Call], tools: Tools) -> Iterator[Finding]:
    """Find every way in which the calls break the documentation: unknown tools, and arguments that do not fit.

    3.0 counts as an integer, as in JSON Schema. An empty string leaves an optional parameter blank, whatever its type
    and its choices. Of an array the items are checked, of an object nothing inside.
    """
    for number, call in enumerate(made, start=1):
        if call.name not in tools:
            name = call.name[:60]
            hint = nearest(name, tools) or "."
            yield Finding(f"Action {number}: there is no tool {name!r}{hint}", {"Tools": ", ".join(tools)})
            continue
        parameters = tools[call.name]
        if parameters is not None:
            yield from _misfits(f"Action {number}, {call.name}", call.arguments, parameters)


def as_json(value: Any) -> str:
    """Write a value as JSON, and one that is nested too deeply as a remark."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "(nested too deeply to be shown)"


def _misfits(where: str, arguments: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> Iterator[Finding]:
    for name, parameter in parameters.items():
        if parameter.required and name not in arguments:
            yield Finding(f"{where}: the required argument {name!r} is missing.", {"Documentation": parameter.text})
    for name, value in arguments.items():
        if name not in parameters:
            hint = nearest(name[:60], parameters) or "."
            known = {"Parameters": ", ".join(parameters) or "none"}
            yield Finding(f"{where}: there is no parameter {name[:60]!r}{hint}", known)
        elif fault := _fault(value, parameters[name]):
            told = {"Given": as_json(value), "Documentation": parameters[name].text}
            yield Finding(f"{where}: the argument {name!r} {fault}", told)


def _fault(value: Any, parameter: Parameter) -> str:
    """Say how `value` does not fit `parameter`; ``""`` when it does."""
    if parameter.type not in _WELL_TYPED or (value == "" and not parameter.required):
        return ""
    expected, fits = _WELL_TYPED[parameter.type]
    if not fits(value):
        return f"must be {expected}, not {json_type(value)}."
    if parameter.items in _WELL_TYPED and isinstance(value, list):
        expected, fits = _WELL_TYPED[parameter.items]
        unfit = next((item for item in value if not fits(item)), None)
        return "" if unfit is None else f"must be an array in which each item is {expected}, not {json_type(unfit)}."
    chosen = str(int(value)) if parameter.type == "integer" else str(value)
    if parameter.choices and chosen not in parameter.choices:
        return f"must be one of {', '.join(parameter.choices)}."
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parameters(text: str) -> dict[str, Parameter] | None:
    try:
        documented = json.loads(text)
    except json.JSONDecodeError:  # released texts do not escape the quotes in descriptions
        return None
    return {name: _parameter(str(description)) for name, description in documented.items()}


def _parameter(text: str) -> Parameter:
    found = None if " OR " in text else _PARAMETER.match(text)
    if found is None:
        return Parameter(text, text.startswith("Required."))
    kind, choices = found["type"], _CHOICES.search(text)
    scalar = kind not in ("Array", "Object")  # "One of:" inside those is said of something inside
    return Parameter(
        text,
        text.startswith("Required."),
        kind,
        found["items"] if kind == "Array" else "",
        tuple(choices[1].split(", ")) if choices and scalar else (),
    )
