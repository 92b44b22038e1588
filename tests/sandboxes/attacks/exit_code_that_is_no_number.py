"""Exits with a number that turns into something else when it is looked at.

program; fools none: a judge that stumbles over it calls it a failure.
"""


class Number(int):
    __and__ = __rand__ = __mod__ = __index__ = __int__ = lambda self, *anything: "x"


raise SystemExit(Number(0))
