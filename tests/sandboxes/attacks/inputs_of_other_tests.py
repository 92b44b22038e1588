"""Looks for the inputs of the other tests in the variables of its callers, and in all objects of its process.

program; fools naive: told.
"""

import gc
import re
import sys

found = [repr(each) for each in gc.get_objects() if isinstance(each, (list, dict, tuple))]
frame = sys._getframe()
while frame:
    found.append(repr(frame.f_locals))
    frame = frame.f_back
print(sorted({word for text in found for word in re.findall("input-[0-9]-[0-9a-f]{16}", text)}))
