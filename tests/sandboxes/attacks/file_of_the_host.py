"""Reads a file of the host by its path.

program; fools bare: told.
"""

import json
from pathlib import Path

print(Path(json.loads(input())["file"]).read_text())
