"""Leaves a file, of the longest name there can be, for the next submission.

program; fools naive: next.
"""

open("x" * 255, "w").close()
