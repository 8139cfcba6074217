"""All figures of a run, as PNG files."""

import io
from pathlib import Path

from bnas.config import PRIMITIVES
from bnas.errors import InputError
from bnas.plots.cells import cell_figure
from bnas.plots.search import (
    accuracy_figure,
    alpha_figure,
    operation_count_figure,
    tangent_figure,
)
from bnas.plots.training import training_figure
from bnas.runs import atomic_write

_DPI = 130


def draw_run(history, genotype, folder, operations=PRIMITIVES):
    """Write every figure that a run has the data for into `folder`; returns the PNGs' paths.

    history: the records of a search (phase "parent" or "child"), of a training (phase "train"),
    or both; genotype: what the search found, or None before it has. operations: the names of
    the search space, in the order of alpha's last axis. Files are replaced as a whole. Raises
    InputError for unusable data or a folder that cannot be written.
    """
    search = [record for record in history if record.get("phase") != "train"]
    training = [record for record in history if record.get("phase") == "train"]
    figures = {}
    if search:
        figures["alpha_normal"] = alpha_figure(search, "normal", operations)
        figures["alpha_reduce"] = alpha_figure(search, "reduce", operations)
        figures["operations"] = operation_count_figure(search, operations)
        figures["accuracy"] = accuracy_figure(search)
        figures["tangent"] = tangent_figure(search)
    if training:
        figures["training"] = training_figure(training)
    if genotype is not None:
        figures["cells"] = cell_figure(genotype, operations)

    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from None
    paths = []
    for name, figure in figures.items():
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=_DPI)
        paths.append(folder / f"{name}.png")
        atomic_write(paths[-1], png.getvalue())
    return paths
