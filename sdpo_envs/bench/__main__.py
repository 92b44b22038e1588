"""``python -m sdpo_envs.bench RUN ...`` is ``sdpo report RUN ...``."""

import sys

from sdpo_envs.cli import main

if __name__ == "__main__":
    main(["report", *sys.argv[1:]])
