"""Has nine processes that each keep within the limit fill more together than four runs side by side may.

program; fools naive: told.
"""

import json
import os
import signal
import time

where = json.loads(input())
reader, writer = os.pipe()
children = []
for _ in range(9):
    child = os.fork()
    if child == 0:
        data = bytearray(b"x") * (45 << 20)
        os.write(writer, b"x")
        time.sleep(3)
        os._exit(0)
    children.append(child)
full = 0
while full < 9:
    full += len(os.read(reader, 9))
time.sleep(0.25)
for child in children:
    os.kill(child, signal.SIGKILL)
print(where["mark"])
