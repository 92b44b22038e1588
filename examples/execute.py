"""Executes the notebooks and stores what they show, each in a fresh kernel, offline, on the CPU.

python examples/execute.py [NAME ...]; the tests execute them too, and compare.
"""

import os
import sys
from pathlib import Path

import nbclient
import nbformat

EXAMPLES = Path(__file__).parent
NOTEBOOKS = ("first_step", "own_environment", "own_algorithm", "reading_a_run")
QUIET = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}
"""One thread is faster on a busy machine; and libraries warn of bars that no notebook on the web can show."""


def stored(name: str) -> nbformat.NotebookNode:
    """Return a notebook as it is stored."""
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)


def executed(name: str) -> nbformat.NotebookNode:
    """Return a notebook as it comes out now, without what only the clock or the machine says."""
    notebook = nbformat.from_dict(stored(name))
    client = nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3", record_timing=False)
    client.execute(env=os.environ | QUIET)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_empty(output)]
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def _is_empty(output: nbformat.NotebookNode) -> bool:
    """A bar that has come to its end leaves an empty text."""
    return output.output_type == "display_data" and not output.data.get("text/plain", "").strip()


def main(names: list[str]) -> None:
    for name in names or NOTEBOOKS:
        fresh = executed(name)
        nbformat.write(fresh, EXAMPLES / f"{name}.ipynb")
        print(f"{name}: {sum(len(cell.get('outputs', [])) for cell in fresh.cells)} outputs")


if __name__ == "__main__":
    main(sys.argv[1:])
