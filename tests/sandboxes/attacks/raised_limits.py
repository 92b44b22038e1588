"""Gives itself more processes, memory, time and core files.

program; fools naive: told.
"""

import contextlib
import json
import resource

where = json.loads(input())
for kind in (resource.RLIMIT_NPROC, resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_CORE):
    soft, hard = resource.getrlimit(kind)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(kind, (soft, resource.RLIM_INFINITY))
        print(where["mark"])
