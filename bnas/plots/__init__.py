"""The figures of a run."""

from bnas.plots.figures import draw_run

__all__ = ["draw_run"]
