"""Names its parent process as the first to be killed when memory is short.

program; fools naive: next.
"""

import os

with open(f"/proc/{os.getppid()}/oom_score_adj", "w") as file:
    file.write("900")
