"""Executes the notebooks on a run and stores them with its figures: python notebooks/refresh.py --workdir runs/demo

Counts, times and ids of objects change from run to run without meaning, so they are not stored. Figures are stored as
PNG with few colours. `--check` runs nothing and names each stored notebook that is too large.
"""

import base64
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from srpo_jax.analysis.run_files import RunFiles
from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.utils.errors import InputError, run_cli

HERE = Path(__file__).absolute().parent
KEPT = ("text/plain", "image/png")  # of a cell's output
COLOURS = 64  # of a stored figure
MAX_LINES, MAX_BYTES = 600, 300_000  # of a stored notebook: a reviewer can read its diff


def run(notebook: nbformat.NotebookNode, workdir: Path, folder: Path) -> None:
  """Executes a notebook in place, with `folder` as the working directory.

  Raises:
    nbclient.exceptions.CellExecutionError: a cell fails. The message shows the cell.
  """
  # The notebooks print the name of the run, but not its path.
  os.environ["WORKDIR"] = str(workdir.resolve())
  NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()


def strip(notebook: nbformat.NotebookNode) -> None:
  """Removes execution counts, metadata, output to stderr, text descriptions of images and surplus colours."""
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
        if "image/png" in data:
          data = {"image/png": shrink(data["image/png"])}
        outputs.append(nbformat.v4.new_output("display_data", data))
    cell.outputs = outputs


def shrink(png: str) -> str:
  """Returns a PNG (base64) with at most `COLOURS` colours, about a third of its size."""
  out = io.BytesIO()
  image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
  image.quantize(COLOURS, dither=Image.Dither.NONE).save(out, format="PNG", optimize=True)
  return base64.b64encode(out.getvalue()).decode()


def check_size(file: Path) -> None:
  """Raises InputError for a notebook of more than `MAX_LINES` lines or `MAX_BYTES` bytes, or with an SVG or HTML."""
  content = file.read_bytes()
  if (lines := content.count(b"\n")) > MAX_LINES:
    raise InputError(f"{file}: {lines} lines, expected at most {MAX_LINES}")
  if len(content) > MAX_BYTES:
    raise InputError(f"{file}: {len(content)} bytes, expected at most {MAX_BYTES}")
  for cell in nbformat.reads(content.decode(), as_version=4).cells:
    for output in cell.get("outputs", ()):
      if surplus := set(output.get("data", ())) - set(KEPT):
        raise InputError(f"{file}: stores {', '.join(sorted(surplus))}, expected figures as image/png")


def main(args: Sequence[str]) -> None:
  parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--workdir", type=Path, help="Run directory.")
  parser.add_argument("--check", action="store_true", help="Check of the stored sizes; nothing is run.")
  options = parser.parse_args(args)
  files = sorted(HERE.glob("*.ipynb"))
  if options.check:
    for file in files:
      check_size(file)
    return
  if options.workdir is None:
    raise InputError("--workdir: missing, expected a run's directory")
  RunFiles(options.workdir)  # raises InputError if this is not a run
  for file in files:
    notebook = nbformat.read(file, as_version=4)
    run(notebook, options.workdir, HERE)
    strip(notebook)
    nbformat.write(notebook, file)
    check_size(file)
    print(f"{file.name}: {sum(len(cell.get('outputs', ())) for cell in notebook.cells)} outputs")


if __name__ == "__main__":
  run_cli(main)
