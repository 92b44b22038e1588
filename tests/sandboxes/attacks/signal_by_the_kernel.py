"""Has the kernel send the signal: its parent process is named as the owner of a pipe.

program; fools bare: next, as root.
"""

import fcntl
import os
import signal

reader, writer = os.pipe()
fcntl.fcntl(reader, fcntl.F_SETOWN, os.getppid())
fcntl.fcntl(reader, 10, signal.SIGKILL)  # F_SETSIG
fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
os.write(writer, b"x")
