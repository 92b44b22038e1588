"""Writes a message for the next submission into an attribute of the working directory.

program; fools bare: next.
"""

import os

os.setxattr(".", "user.message", b"x")
