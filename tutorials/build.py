"""Build the tutorials: run every source NN_name.py in a fresh kernel, keep the result as NN_name.ipynb.

    python tutorials/build.py             all of them
    python tutorials/build.py 01 04       these
    python tutorials/build.py --write 01  and put the new outputs in place of the old ones

A notebook that has its source's cells and their outputs is run as well, but left as it is: timings differ from
run to run. Figures are written with 256 colours, which takes a third of the space. The PNG of a cell tagged
`picture` is kept in images/ too, for tutorials/README.md.
"""

import argparse
import base64
import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import matplotlib.font_manager  # noqa: F401  its first import says on stderr that it looks for fonts
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from PIL import Image

FOLDER = Path(__file__).resolve().parent
LONGEST = 300  # seconds for one cell, compilation of kernels included
_METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}


def sources(folder=FOLDER):
    """The sources of all tutorials, in their order."""
    return sorted(folder.glob("[0-9][0-9]_*.py"))


def read_source(path):
    """A source in jupytext's percent format as a notebook without outputs; cells are called by position."""
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(_METADATA)  # nothing that names versions of tools
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for position, cell in enumerate(notebook.cells):
        cell.id = f"cell-{position:02}"
        cell.metadata = nbformat.from_dict({"tags": tags(cell)} if tags(cell) else {})
    return notebook


def read_notebook(path):
    """A notebook from its file."""
    return nbformat.read(path, as_version=4)


def tags(cell):
    """The tags of a cell, a list."""
    return cell.metadata.get("tags", [])


def cells(notebook):
    """What a notebook and its source have in common: of each cell id, kind, text and tags."""
    return [(cell.id, cell.cell_type, cell.source, tags(cell)) for cell in notebook.cells]


def outputs(notebook):
    """{cell id: what sort of outputs it has, a set}, of all cells with outputs.

    A sort is stdout or stderr, the richest type of a value, or an error.
    """
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            sort = output.get("name", output.output_type)
            if "data" in output:
                sort = max(output.data, key=lambda mime: mime.startswith("image/"))
            found.setdefault(cell.id, set()).add(sort)
    return found


def execute(notebook, folder=FOLDER, variables=()):
    """Run all cells in place, in a fresh kernel of this Python; returns the seconds.

    folder: in which the cells run. variables: of the environment, on top of this process's own.
    Raises nbclient's CellExecutionError when a cell raises.
    """
    paths = os.pathsep.join(filter(None, [str(FOLDER.parent), os.environ.get("PYTHONPATH")]))
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook,
        timeout=LONGEST,
        kernel_name="python3",
        resources=resources,
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],  # else every kernel says that it listens unencrypted
        coalesce_streams=True,  # else what a cell prints is cut where the kernel happens to pause
    )
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as settings:  # none of the user's own
        own = {"PYTHONPATH": paths, "IPYTHONDIR": settings, **dict(variables)}
        client.execute(env={**os.environ, **own})
    seconds = time.perf_counter() - start
    notebook.metadata = nbformat.from_dict(_METADATA)
    return seconds


def smaller(png):
    """A PNG with 256 colours, or as it was if that is no smaller; both as bytes."""
    reduced = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(reduced, "PNG", optimize=True)
    return min(reduced.getvalue(), png, key=len)


def write(notebook, path):
    """Write an executed notebook, and the PNG of its cell tagged `picture` into images/ beside it."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", ()):
                png = smaller(base64.b64decode(output.data["image/png"]))
                output.data["image/png"] = base64.b64encode(png).decode()
    nbformat.write(notebook, path)
    for png in pictures(notebook):
        image = path.parent / "images" / f"{path.stem}.png"
        image.parent.mkdir(exist_ok=True)
        image.write_bytes(png)


def pictures(notebook):
    """The PNG files, as bytes, that the cells tagged `picture` have shown."""
    return [
        base64.b64decode(output.data["image/png"])
        for cell in notebook.cells
        if "picture" in tags(cell)
        for output in cell.outputs
        if "image/png" in output.get("data", ())
    ]


def build(path, overwrite):
    """Run the source at `path` and write its notebook if need be; (seconds, what was done)."""
    notebook, target = read_source(path), path.with_suffix(".ipynb")
    seconds = execute(notebook, path.parent)
    if target.exists() and not overwrite:
        before = read_notebook(target)
        if cells(before) == cells(notebook) and outputs(before) == outputs(notebook):
            return seconds, "as before"
    write(notebook, target)
    return seconds, "written"


def main(arguments=None, folder=FOLDER):
    """Build the tutorials that are named, or all; the exit code is 1 if one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tutorials", nargs="*", metavar="NN", help="their numbers; all if none")
    parser.add_argument(
        "--write", action="store_true", help="write outputs even if only they are new"
    )
    options = parser.parse_args(arguments)
    paths, numbers = sources(folder), [int(text) for text in options.tutorials if text.isdigit()]
    known = [int(path.name[:2]) for path in paths]
    if len(numbers) < len(options.tutorials) or not set(numbers) <= set(known):
        parser.error(f"expected numbers of tutorials: {', '.join(map(str, known))}")
    chosen = [path for path, number in zip(paths, known) if not numbers or number in numbers]
    right = 0
    for path in chosen:
        print(f"{path.stem:<40}", end="", flush=True)
        try:
            seconds, done = build(path, options.write)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            text = re.sub(r"\x1b\[[\d;]*m", "", str(error))
            print(f"failed\n{text}", flush=True)
        else:
            right += 1
            print(f"{seconds:6.1f} s   {done}", flush=True)
    print(f"{right} of {len(chosen)} ran without error")
    return int(right < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
