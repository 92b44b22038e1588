"""Prints the environment of every process in sight.

program; fools bare: told.
"""

import contextlib
import glob
from pathlib import Path

for path in glob.glob("/proc/[0-9]*/environ"):
    with contextlib.suppress(OSError):
        print(Path(path).read_text())
