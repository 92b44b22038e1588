"""Takes from its parent process the right to open files.

program; fools bare: next.
"""

import os
import resource

resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))
