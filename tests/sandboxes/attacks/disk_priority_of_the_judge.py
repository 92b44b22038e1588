"""Has its parent process wait for the disk until nobody else wants it.

program; fools bare: next.
"""

import ctypes
import os

ctypes.CDLL(None).syscall(251, 1, os.getppid(), 3 << 13)
