"""Changes the streams which it shares with its parent process, so that they no longer wait.

program; fools naive: next.
"""

import os

for descriptor in range(3):
    os.set_blocking(descriptor, False)
