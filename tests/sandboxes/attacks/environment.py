"""Prints the environment that it was given.

program; fools naive: told.
"""

import os
from pathlib import Path

print(dict(os.environ), Path("/proc/self/environ").read_text())
