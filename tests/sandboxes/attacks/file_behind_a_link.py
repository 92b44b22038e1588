"""Reads a file of the host through a symbolic link and a hard link of its own.

program; fools bare: told.
"""

import contextlib
import json
import os
from pathlib import Path

where = json.loads(input())
for link in (os.symlink, os.link):
    with contextlib.suppress(OSError):
        link(where["file"], "here")
        print(Path("here").read_text())
        os.remove("here")
