"""Opens a file a thousand times.

program; fools naive: told.
"""

import json
import os
import resource

where = json.loads(input())
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
files = [os.open("/dev/null", os.O_RDONLY) for _ in range(1000)]
print(where["mark"])
