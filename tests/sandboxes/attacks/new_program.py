"""Becomes another program, which ends in good order, so that nobody is left to compare.

program; fools naive: passed.
"""

import os
import sys

os.execv(sys.executable, [sys.executable, "-S", "-c", ""])
