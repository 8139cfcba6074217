"""All figures of a run, as PNG files."""

from pathlib import Path

from bnas.config import PRIMITIVES
from bnas.errors import InputError
from bnas.nn import bits_by_part
from bnas.plots.accuracy import accuracy_figure
from bnas.plots.alpha import alpha_figure, entropy_figure, has_genotypes, with_alpha
from bnas.plots.cells import cell_figure
from bnas.plots.comparison import comparison_figure
from bnas.plots.figure import is_figure, to_png
from bnas.plots.images import mistakes_figure, samples_figure
from bnas.plots.landscape import landscape_figure
from bnas.plots.network import bits_figure, confusion_figure
from bnas.plots.runs import runs_figure
from bnas.plots.search import operation_count_figure, tangent_figure
from bnas.plots.training import training_figure
from bnas.runs import atomic_write


def draw_run(history, genotype, folder, operations=PRIMITIVES):
    """Write every figure that a run has the data for into `folder`; returns the PNGs' paths.

    history: the records of a search of any strategy, of a training (phase "train"), or both;
    genotype: what the search found, or None before it has. operations: the names of the search
    space, in the order of alpha's last axis. Files are replaced as a whole. Raises InputError for
    unusable data or a folder that cannot be written.
    """
    search = [record for record in history if record.get("phase") != "train"]
    training = [record for record in history if record.get("phase") == "train"]
    figures = {}
    learnt = with_alpha(search)
    if learnt:
        figures["alpha_normal"] = alpha_figure(learnt, "normal", operations)
        figures["alpha_reduce"] = alpha_figure(learnt, "reduce", operations)
        figures["entropy"] = entropy_figure(learnt, operations)
    if has_genotypes(search):
        figures["operations"] = operation_count_figure(search, operations)
    if search:
        figures["accuracy"] = accuracy_figure(search)
    if any(record.get(key) is not None for record in search for key in ("distance", "angle")):
        figures["tangent"] = tangent_figure(search)
    if training:
        figures["training"] = training_figure(training)
    if genotype is not None:
        figures["cells"] = cell_figure(genotype, operations)
    return _write(figures, folder)


def draw_evaluation(network, dataset, predictions, folder):
    """Write the figures of a trained network on the test images into `folder`; returns the PNGs' paths.

    network: a Module; dataset: bnas.data.Dataset; predictions: (N,), the class it gives each test image.
    Raises InputError for a folder that cannot be written.
    """
    train, test, pixels = dataset.train, dataset.test, (dataset.mean, dataset.std)
    wrong = mistakes_figure(test.images, test.labels, predictions, *pixels, what="test images")
    figures = {
        "samples": samples_figure(train.images, train.labels, *pixels, what="training images"),
        "confusion": confusion_figure(test.labels, predictions, dataset.classes, "test images"),
        "mistakes": wrong,
        "bits": bits_figure(bits_by_part(network)),
    }
    return _write(figures, folder)


def draw_genotype(genotype, path):
    """Write the cells of a genotype into the PNG file `path`.

    Raises InputError where there is a file already that is no figure of ours, or that cannot be written.
    """
    require_own_figure(path)
    atomic_write(path, to_png(cell_figure(genotype)))


def draw_runs(runs, path, operations=PRIMITIVES):
    """Write the `runs_figure` of several searches into the PNG file `path`.

    Raises InputError as it does, and as `draw_genotype` does for the file.
    """
    require_own_figure(path)
    atomic_write(path, to_png(runs_figure(runs, operations)))


def draw_comparison(comparison, path):
    """Write the figure of what `bnas.compare` returned into the PNG file `path`; raises as `draw_genotype`."""
    require_own_figure(path)
    atomic_write(path, to_png(comparison_figure(comparison)))


def draw_landscape(table, landscapes, path, by="convolutions"):
    """Write the `landscape_figure` of a table into the PNG file `path`; raises as `draw_genotype`."""
    require_own_figure(path)
    atomic_write(path, to_png(landscape_figure(table, landscapes, by)))


def draw_study(figure, path):
    """Write a figure of the study into the PNG file `path`; raises as `draw_genotype`."""
    require_own_figure(path)
    atomic_write(path, to_png(figure))


def require_own_figure(path):
    """Raise InputError if there is a file at `path` that is no figure of ours."""
    path = Path(path)
    if path.exists() and not (path.is_file() and is_figure(path)):
        raise InputError(
            f"{path} is there and no figure of bnas; move it away or give another -o FILE"
        )


def _write(figures, folder):
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from None
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        atomic_write(paths[-1], to_png(figure))
    return paths
