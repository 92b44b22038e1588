"""Starts forty threads that stay.

program; fools naive: told.
"""

import json
import threading

where = json.loads(input())
end = threading.Event()
try:
    for _ in range(40):
        threading.Thread(target=end.wait, daemon=True).start()
    print(where["mark"])
finally:
    end.set()
