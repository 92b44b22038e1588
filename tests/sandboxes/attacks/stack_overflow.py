"""Overflows the stack of the interpreter itself.

program; fools none: a dead process is nothing new to a judge.
"""

import sys

sys.setrecursionlimit(10**9)
nested = []
for _ in range(10**6):
    nested = [nested]
repr(nested)
