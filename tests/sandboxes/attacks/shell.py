"""Has a shell of the host read a file.

program; fools bare: told.
"""

import json
import subprocess

where = json.loads(input())
print(subprocess.run(["/bin/sh", "-c", f"cat {where['file']}"], capture_output=True, text=True).stdout)
