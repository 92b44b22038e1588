"""Lowers the priority of all processes of its user.

program; fools naive: next.
"""

import os

os.setpriority(os.PRIO_USER, 0, 15)
