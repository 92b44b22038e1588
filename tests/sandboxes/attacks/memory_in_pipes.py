"""Fills the buffers of the kernel by two hundred pipes, each of the greatest size.

program; fools naive: told, as root.
"""

import fcntl
import json
import os

where = json.loads(input())
pipes = [os.pipe() for _ in range(200)]
for _, writer in pipes:
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
    os.write(writer, bytes(1 << 20))
print(where["mark"])
