"""Makes the working directory one that anybody may use.

program; fools naive: next.
"""

import os

os.chmod(".", 0o1777)
