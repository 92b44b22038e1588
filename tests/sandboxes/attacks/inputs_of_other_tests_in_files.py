"""Looks for the inputs of the other tests in every file that is open in its process.

program; fools naive: told.
"""

import contextlib
import os
import re

for descriptor in range(256):
    with contextlib.suppress(OSError):
        data = os.pread(descriptor, 1 << 20, 0)
        print(re.findall(rb"input-[0-9]-[0-9a-f]{16}", data))
