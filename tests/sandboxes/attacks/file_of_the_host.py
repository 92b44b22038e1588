"""Reads a file of the host by its path.

program; fools naive: told.
"""

import json

print(open(json.loads(input())["file"]).read())
