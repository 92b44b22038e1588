"""Makes a file that is the memory device of the host.

program; fools bare: told, as root.
"""

import json
import os
import stat

where = json.loads(input())
os.mknod("memory", stat.S_IFCHR | 0o600, os.makedev(1, 3))
os.remove("memory")
print(where["mark"])
