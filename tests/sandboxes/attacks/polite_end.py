"""Asks the interpreter to exit with success before it has printed anything.

program; fools naive: passed.
"""

import sys

sys.exit(0)
