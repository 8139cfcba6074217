"""The figures of a run, or of several: how the search went, and the network that came out of it.

Every function takes plain data (the history, one dict per epoch, or a genotype, or labels and
predictions of any network, or what `bnas.compare` returns) and returns a matplotlib Figure, which a
notebook shows; `draw_run`, `draw_evaluation` and `draw_comparison` save them as PNG files. Those that
show operations take their names, the eight of the paper unless told. Nothing here touches pyplot, so
no window and no global state.
"""

from bnas.plots.accuracy import accuracy_figure
from bnas.plots.alpha import alpha_figure, entropy_figure
from bnas.plots.cells import cell_figure
from bnas.plots.comparison import comparison_figure
from bnas.plots.figure import Figure
from bnas.plots.grades import points_figure
from bnas.plots.graph import graph_figure
from bnas.plots.images import mistakes_figure, samples_figure
from bnas.plots.landscape import landscape_figure
from bnas.plots.network import bits_figure, confusion_figure
from bnas.plots.run import (
    draw_comparison,
    draw_evaluation,
    draw_genotype,
    draw_landscape,
    draw_run,
    draw_runs,
    draw_study,
)
from bnas.plots.runs import runs_figure
from bnas.plots.search import operation_count_figure, tangent_figure
from bnas.plots.study import study_figure
from bnas.plots.styles import OPERATION_STYLES, operation_styles
from bnas.plots.training import training_figure

__all__ = [
    "OPERATION_STYLES",
    "Figure",
    "accuracy_figure",
    "alpha_figure",
    "bits_figure",
    "cell_figure",
    "comparison_figure",
    "confusion_figure",
    "draw_comparison",
    "draw_evaluation",
    "draw_genotype",
    "draw_landscape",
    "draw_run",
    "draw_runs",
    "draw_study",
    "entropy_figure",
    "graph_figure",
    "landscape_figure",
    "mistakes_figure",
    "operation_count_figure",
    "operation_styles",
    "points_figure",
    "runs_figure",
    "samples_figure",
    "study_figure",
    "tangent_figure",
    "training_figure",
]


def __dir__():
    return sorted(__all__)
