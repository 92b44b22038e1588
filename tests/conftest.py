"""Settings for all tests. The family that they play with is in addition.py, which pytest finds beside this file."""

import signal

import hypothesis

# A shell starts what it puts into the background with Ctrl-C ignored, which all processes of the tests would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No time limits, which fail on a busy machine, and no folder of examples left behind.
hypothesis.settings.register_profile("quiet", deadline=None, database=None)
hypothesis.settings.load_profile("quiet")
