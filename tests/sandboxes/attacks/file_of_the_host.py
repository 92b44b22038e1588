"""Reads a file of the host by its path.

program; fools bare: told.
"""

import json

print(open(json.loads(input())["file"]).read())
