"""Crashes the interpreter.

function; fools none: a dead process is nothing new to a judge.
"""

import ctypes


def answer(where):
    return ctypes.string_at(0)
