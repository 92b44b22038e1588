"""Leaves files, of names and modes that are hard to remove, for the next submission.

program; fools naive: next.
"""

import os

open("a\nb", "w").close()
os.mkfifo("fifo")
os.symlink("/", "link")
os.makedirs("sealed/inner")
os.chmod("sealed", 0)
for _ in range(500):
    os.mkdir("d")
    os.chdir("d")
