"""Executes the notebooks on a run and stores them with its figures: python notebooks/refresh.py --workdir runs/demo

It does not store counts, times and ids of objects, which change each time without meaning.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient

sys.path.insert(0, str(Path(__file__).parent.parent))

from srpo_jax.analysis.run_files import RunFiles
from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.utils.errors import run_cli

HERE = Path(__file__).absolute().parent
KEPT = ("text/plain", "image/png", "image/svg+xml")  # kinds of output that are stored


def run(notebook: nbformat.NotebookNode, workdir: Path, folder: Path) -> None:
  """Executes a notebook in place, with `folder` as the working directory.

  Raises:
    nbclient.exceptions.CellExecutionError: a cell fails. The message shows the cell.
  """
  # The notebooks print the name of the run, but not its path.
  os.environ["WORKDIR"] = str(workdir.resolve())
  NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()


def strip(notebook: nbformat.NotebookNode) -> None:
  """Removes execution counts, metadata, output to stderr and text descriptions of images."""
  for cell in notebook.cells:
    cell.metadata = {}
    if cell.cell_type != "code":
      continue
    cell.execution_count = None
    outputs = []
    for output in cell.outputs:
      if output.output_type == "stream" and output.name == "stdout":
        outputs.append(output)
      elif output.output_type in ("display_data", "execute_result"):
        data = {kind: value for kind, value in output.data.items() if kind in KEPT}
        if len(data) > 1:
          data.pop("text/plain", None)
        outputs.append(nbformat.v4.new_output("display_data", data))
    cell.outputs = outputs


def main(args: Sequence[str]) -> None:
  parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--workdir", required=True, type=Path, help="Run directory.")
  options = parser.parse_args(args)
  RunFiles(options.workdir)  # raises InputError if this is not a run
  for file in sorted(HERE.glob("*.ipynb")):
    notebook = nbformat.read(file, as_version=4)
    run(notebook, options.workdir, HERE)
    strip(notebook)
    nbformat.write(notebook, file)
    print(f"{file.name}: {sum(len(cell.get('outputs', ())) for cell in notebook.cells)} outputs")


if __name__ == "__main__":
  run_cli(main)
