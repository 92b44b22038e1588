"""Makes more files than there is room for and hangs, so that nothing is left for the tests that are to run beside it.

program; fools naive: next.
"""

import json
import os
import time

where = json.loads(input())
try:
    for number in range(4200):
        os.close(os.open(f"f{number}", os.O_CREAT | os.O_WRONLY))
finally:
    time.sleep(5 * where["seconds"])
