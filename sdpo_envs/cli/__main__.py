"""The command line where the script ``sdpo`` is not on the path: ``python -m sdpo_envs.cli``."""

from sdpo_envs.cli import main

if __name__ == "__main__":
    main()
