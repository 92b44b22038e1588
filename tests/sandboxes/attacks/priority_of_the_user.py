"""Lowers the priority of all processes of its user.

program; fools bare: next.
"""

import os

os.setpriority(os.PRIO_USER, 0, 15)
