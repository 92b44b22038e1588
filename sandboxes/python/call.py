"""Calls one function of a program: its arguments come in on standard input, one JSON value a line; its result goes out.

The result is written as JSON to standard output. Whatever the program prints goes to standard error, and standard input
is used up before the program is loaded.
"""

import inspect
import json
import os
import sys
import types
from collections.abc import Callable
from typing import Any

# What LiveCodeBench puts before every submission, in its order: star imports, and after them the modules themselves, so
# that `datetime`, `bisect`, `copy` and `random` are modules, and `pow` and `open` are the built-in functions.
PRELUDE = """
from string import *; from re import *; from datetime import *; from collections import *; from heapq import *
from bisect import *; from copy import *; from math import *; from random import *; from statistics import *
from itertools import *; from functools import *; from operator import *; from io import *; from sys import *
from json import *; from builtins import *; from typing import *
import string, re, datetime, collections, heapq, bisect, copy, math, random, statistics, itertools, functools, operator
import io, sys, json
"""
RECURSION_LIMIT = 50_000

prelude: dict[str, Any] = {}
exec(PRELUDE, prelude)
del prelude["__builtins__"]


def call(program: types.CodeType, name: str) -> None:
    """Read the arguments, call the function and write its result."""
    arguments = [json.loads(line) for line in sys.stdin.read().split("\n") if line.strip()]
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as results:
        os.dup2(2, 1)
        result = find(load(program), name)(*arguments)
        results.write(json.dumps(result, default=plain))


def load(program: types.CodeType) -> types.ModuleType:
    """Run the submission as a module called main, which knows the names of the prelude."""
    module = sys.modules["main"] = types.ModuleType("main")
    sys.setrecursionlimit(RECURSION_LIMIT)
    vars(module).update(prelude)
    exec(program, vars(module))
    return module


def find(module: types.ModuleType, name: str) -> Callable[..., Any]:
    """Return the method of that name of class Solution, or else the function of that name."""
    if hasattr(vars(module).get("Solution"), name):
        method: Callable[..., Any] = getattr(module.Solution(), name)
        return method
    if not hasattr(module, name):
        raise AttributeError(f"main.py defines neither Solution.{name} nor {name}")
    function: Callable[..., Any] = getattr(module, name)
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code and code.co_argcount and code.co_varnames[0] == "self":
        # The signature in the prompt is a method's, so some write it, with `self`, as a function.
        function = types.MethodType(function, type("Solution", (), dict(vars(module)))())
    return function


def plain(value: Any) -> Any:
    """Return the plain Python value of a NumPy scalar or array; JSON itself turns tuples into lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"the result must be made of numbers, strings, booleans and lists, not {type(value).__name__}")
