"""The points of a class."""

import numpy as np
from matplotlib.ticker import PercentFormatter

from bnas.plots.epochs import PARENT_COLOR, draw_legend, text_width
from bnas.plots.figure import Figure

_ROW = 0.42  # inches
_SPREAD = 0.28  # how far equal dots lie apart at most, in rows
_STUDENT = {"linestyle": "none", "marker": "o", "markersize": 5, "alpha": 0.45}
_MEAN = {"linestyle": "none", "marker": "D", "markersize": 8, "color": "#000000"}


def points_figure(shares):
    """Which share of its points each task has earned: a row for a task, a dot for a student, and the mean.

    shares: {assignment: {task: [share, 0 to 1, of each student]}}.
    """
    heights = [len(tasks) for tasks in shares.values()]
    margin = max(text_width(task, 10) for tasks in shares.values() for task in tasks)
    size = (5.4 + margin, 1.1 + 0.45 * len(heights) + _ROW * sum(heights))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    for ax, (assignment, tasks) in zip(panels, shares.items()):
        count = len(next(iter(tasks.values())))
        plural = "s" if count > 1 else ""
        ax.set_title(f"{assignment}: {count} submission{plural}", loc="left")
        for row, values in enumerate(tasks.values()):
            ax.plot(values, row + _apart(values), color=PARENT_COLOR, label="a student", **_STUDENT)
            ax.plot(np.mean(values), row, label="mean", **_MEAN)
        ax.set_yticks(range(len(tasks)), list(tasks))
        ax.set(ylim=(len(tasks) - 0.5, -0.5), xlim=(-0.04, 1.04))
        ax.grid(axis="x", color="#DDDDDD")
    panels[-1].xaxis.set_major_formatter(PercentFormatter(1))
    panels[-1].set_xlabel("share of the task's points")
    draw_legend(figure, panels[0].get_lines()[:2], columns=2)
    return figure


def _apart(values):
    """Offsets that let equal values lie above and below their row, in order."""
    values, offsets = np.round(values, 3), np.zeros(len(values))
    for value in np.unique(values):
        (equal,) = np.nonzero(values == value)
        offsets[equal] = np.linspace(-_SPREAD, _SPREAD, len(equal)) if len(equal) > 1 else 0
    return offsets
