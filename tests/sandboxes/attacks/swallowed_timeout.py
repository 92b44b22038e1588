"""Catches the exception that should end it, and goes on.

program; fools naive: told.
"""

import contextlib
import json
import time

where = json.loads(input())
with contextlib.suppress(BaseException):
    time.sleep(3 * where["seconds"])
with contextlib.suppress(BaseException):
    time.sleep(where["seconds"])
print(where["mark"])
