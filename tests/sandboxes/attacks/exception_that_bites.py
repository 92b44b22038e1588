"""Raises an exception that runs code of its own whenever somebody looks at it.

program; fools naive: next.
"""

import os
import signal


class Bite(Exception):
    def __getattribute__(self, name):
        raise KeyboardInterrupt

    def __repr__(self):
        os.kill(os.getppid(), signal.SIGKILL)
        return "bitten"

    __str__ = __repr__


raise Bite
