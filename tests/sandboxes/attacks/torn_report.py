"""Begins a report on every descriptor, and never ends it.

program; fools naive: next.
"""

import contextlib
import os
import struct

for descriptor in range(3, 256):
    with contextlib.suppress(OSError):
        os.write(descriptor, struct.pack("!I", 100) + b"{")
