"""Walks from a traceback, rather than by sys, to the variables of its callers.

program; fools naive: passed.
"""

try:
    raise ZeroDivisionError
except ZeroDivisionError as error:
    frame = error.__traceback__.tb_frame
    while frame:
        test = frame.f_locals.get("test")
        if isinstance(test, dict):
            print(test["output"])
            break
        frame = frame.f_back
