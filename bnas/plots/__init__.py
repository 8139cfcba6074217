"""The figures of a run: what the search did to alpha, and the network that came out of it.

Every function takes plain data (the history, one dict per epoch, or a genotype) and returns a
matplotlib Figure; `draw_run` saves them all as PNG files. Those that show operations take their
names, the eight of the paper unless told. Nothing here touches pyplot, so no window and no global
state.
"""

from bnas.plots.cells import cell_figure
from bnas.plots.run import draw_run
from bnas.plots.search import (
    accuracy_figure,
    alpha_figure,
    operation_count_figure,
    tangent_figure,
)
from bnas.plots.styles import OPERATION_STYLES, operation_styles
from bnas.plots.training import training_figure

__all__ = [
    "OPERATION_STYLES",
    "accuracy_figure",
    "alpha_figure",
    "cell_figure",
    "draw_run",
    "operation_count_figure",
    "operation_styles",
    "tangent_figure",
    "training_figure",
]
