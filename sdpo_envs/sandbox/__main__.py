"""The walls from the command line.

python -m sdpo_envs.sandbox doctor                what works on this machine, and how to mend what does not
python -m sdpo_envs.sandbox build [--base IMAGE]  build the image of the Docker wall
"""

import argparse
import sys

from sdpo_envs.errors import SdpoError
from sdpo_envs.sandbox import doctor
from sdpo_envs.sandbox.engine import BASE_NEEDS, build_image


def main() -> int:
    """Do what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser("python -m sdpo_envs.sandbox", description="The walls around untrusted code.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="tell what works on this machine, and how to mend what does not")
    build = commands.add_parser("build", help="build the image of the Docker wall")
    build.add_argument("--base", metavar="IMAGE", help=f"an image that has {BASE_NEEDS}")
    arguments = parser.parse_args()
    if arguments.command == "doctor":
        return doctor.main()
    try:
        sys.stdout.write(f"{build_image(arguments.base)}\n")
    except SdpoError as error:
        sys.exit(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
