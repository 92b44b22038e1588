"""Writes a program to the working directory and executes it.

program; fools bare: told.
"""

import json
import os
import subprocess
import sys

where = json.loads(input())
with open("mine", "w") as file:
    file.write(f"#!{sys.executable} -S\nprint({where['mark']!r})\n")
os.chmod("mine", 0o700)
try:
    print(subprocess.run(["./mine"], capture_output=True, text=True).stdout)
finally:
    os.remove("mine")
