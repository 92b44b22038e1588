"""Prints the environment that it was given.

program; fools naive: told.
"""

import os

print(dict(os.environ), open("/proc/self/environ").read())
