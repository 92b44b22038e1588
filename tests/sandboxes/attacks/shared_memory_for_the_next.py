"""Leaves System V shared memory, a queue and a semaphore.

program; fools bare: next.
"""

import ctypes

libc = ctypes.CDLL(None)
libc.shmget(7, 4096, 0o1666)
libc.msgget(7, 0o1666)
libc.semget(7, 1, 0o1666)
