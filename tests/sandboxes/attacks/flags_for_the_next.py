"""Writes a message for the next submission into the flags of the working directory.

program; fools bare: next.
"""

import fcntl
import os

fcntl.ioctl(os.open(".", os.O_RDONLY), 0x40086602, (0x40).to_bytes(8, "little"))
