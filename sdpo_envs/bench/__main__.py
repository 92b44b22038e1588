"""The command line: ``python -m sdpo_envs.bench RUN ... --baseline grpo --out report``."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from sdpo_envs.bench.compare import LEVELS, compare
from sdpo_envs.bench.report import save, show
from sdpo_envs.errors import SdpoError


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare runs, print the tables, and write the report where asked.

    Args:
        arguments: Of the command line; None for those of this process.

    Returns:
        The exit code: 0, or 2 for what cannot be compared.
    """
    parser = argparse.ArgumentParser("python -m sdpo_envs.bench", description="Compare recorded runs.")
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="recordings, files of rows, folders above them, patterns"
    )
    parser.add_argument("--baseline", help="the algorithm to compare the others with")
    parser.add_argument("--levels", type=float, nargs="+", default=LEVELS, help="success rates to time")
    parser.add_argument("--phase", default="test", help="whose attempts to take")
    parser.add_argument("--last", type=int, default=3, help="evaluations that make up the final success")
    parser.add_argument("--out", type=Path, help="a folder for report.html, summary.csv, curves.csv and curves.png")
    parser.add_argument("--title", default="Comparison", help="of the report")
    given = parser.parse_args(arguments)
    try:
        found = compare(given.runs, baseline=given.baseline, levels=given.levels, phase=given.phase, last=given.last)
        show(found)
        if given.out is not None:
            words = sys.argv[1:] if arguments is None else arguments
            save(found, given.out, title=given.title, command=shlex.join(["python", "-m", "sdpo_envs.bench", *words]))
    except SdpoError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
