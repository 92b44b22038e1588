"""Writes what is no report at all on every descriptor.

program; fools naive: next.
"""

import contextlib
import os
import random

for descriptor in range(3, 256):
    with contextlib.suppress(OSError):
        os.write(descriptor, (64).to_bytes(4, "big") + random.Random(descriptor).randbytes(64))
