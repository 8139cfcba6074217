"""The figure of a comparison: the accuracies of several searches, and their differences seed by seed."""

import textwrap
from collections import Counter

from matplotlib.lines import Line2D

from bnas.plots.epochs import CHILD_COLOR, PARENT_COLOR, draw_legend, text_width
from bnas.plots.figure import Figure

_LABEL_SIZE = 10  # points
_LABEL_WIDTH = 36  # characters
_SEED = {"linestyle": "none", "marker": "o", "markersize": 6, "alpha": 0.75}
_MEAN = {"linestyle": "none", "marker": "D", "markersize": 8, "color": "#000000"}
_INTERVAL = {"color": "#000000", "linewidth": 2.5, "solid_capstyle": "butt"}


def comparison_figure(comparison):
    """Test accuracies of the trained networks, a row for each group, and beside them what `compare` found.

    A dot is a seed; equal ones are stacked. Beside are the differences from the first group, a dot for each
    pair, with their mean and its 95 % interval.

    comparison: what `bnas.compare` returns.
    """
    groups, rows = comparison.groups, range(len(comparison.groups))
    labels = [textwrap.fill(group.label, _LABEL_WIDTH) for group in groups]
    labels = [f"{label}\n{_counted(len(g.seeds), 'seed')}" for label, g in zip(labels, groups)]
    margin = max(text_width(line, _LABEL_SIZE) for label in labels for line in label.split("\n"))
    lines = max(label.count("\n") + 1 for label in labels)
    panels = 1 if len(groups) == 1 else 2
    size = (0.6 + 4.0 * panels + margin, 2.2 + max(0.8, 0.2 * lines) * len(groups))
    figure = Figure(figsize=size, layout="constrained")
    left, *beside = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    left.set_title(f"Test accuracy, RUN/{comparison.name}", loc="left")
    left.set_xlabel("test accuracy (%)")
    left.set_yticks(list(rows), labels, fontsize=_LABEL_SIZE)
    left.margins(x=0.12)
    for row, group in zip(rows, groups):
        _draw_dots(left, 100 * group.test_accuracy, row, PARENT_COLOR)
    legend = [
        Line2D([], [], color=PARENT_COLOR, label="a seed", **_SEED),
        Line2D([], [], label="mean", **_MEAN),
    ]
    for right in beside:
        _draw_differences(right, comparison)
        legend += [
            Line2D([], [], color=CHILD_COLOR, label="a pair of runs with the same seeds", **_SEED),
            Line2D([], [], label="95 % bootstrap interval of the mean", **_INTERVAL),
        ]
    for ax in (left, *beside):
        ax.grid(axis="x", color="#CCCCCC", linewidth=0.6)
        ax.set_axisbelow(True)
    left.set_ylim(len(groups) - 0.4, -0.6)  # the first on top
    draw_legend(figure, legend, columns=4)
    return figure


def _draw_differences(ax, comparison):
    """The right panel: differences from the first group, which the rows below it are compared with."""
    ax.set_title("Minus that of the first, seed by seed", loc="left")
    ax.set_xlabel("percentage points")
    ax.axvline(0, color="#666666", linewidth=1.2, linestyle="--")
    ax.text(0, 0, "compared with this  ", ha="right", va="center", fontsize=9)
    found = [one for one in comparison.differences if one.measure == "test_accuracy"]
    widest = 0.0
    for row, difference in enumerate(found, start=1):
        if len(difference.values):
            _draw_dots(ax, 100 * difference.values, row, CHILD_COLOR)
            widest = max(widest, 100 * abs(difference.values).max())
        if difference.low is not None:
            ax.plot([100 * difference.low, 100 * difference.high], [row, row], **_INTERVAL)
        pairs = len(difference.values)
        ax.annotate(
            difference.verdict + (f", {pairs} pairs" if pairs > 1 else ""),
            (0.99, row),
            xycoords=ax.get_yaxis_transform(),
            xytext=(0, -16),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=9,
        )
    ax.set_xlim(-1.25 * widest or -1, 1.25 * widest or 1)  # 0 in the middle


def _draw_dots(ax, values, row, color):
    """A dot for each value, above the line of the row, and their mean on it."""
    before = Counter()
    for value in values.tolist():
        ax.plot(value, row - 0.2 - 0.07 * before[value], color=color, **_SEED)
        before[value] += 1
    ax.plot(values.mean(), row, **_MEAN)


def _counted(number, noun):
    return f"{number} {noun}{'' if number == 1 else 's'}"
