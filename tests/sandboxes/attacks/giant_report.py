"""Announces, on every descriptor, four gigabytes of report.

program; fools naive: next.
"""

import contextlib
import os

for descriptor in range(3, 256):
    with contextlib.suppress(OSError):
        os.write(descriptor, b"\xff" * 4)
