"""The figures of the study: what searches found, and when."""

from collections import Counter

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnas.plots.epochs import draw_legend, text_width
from bnas.plots.figure import Figure

_COLORS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#B5A800",
    "#6A4C93",
)
_STYLES = ("-", "--", "-.", ":")
_LABEL_SIZE = 10  # points
_SEED = {"linestyle": "none", "marker": "o", "markersize": 5, "alpha": 0.7}
_MEAN = {"linestyle": "none", "marker": "D", "markersize": 7, "color": "#000000"}
_AVERAGE = {"color": "#666666", "linewidth": 1.2, "linestyle": "--"}
_AXES = {"seconds": "seconds of one core", "gradient_steps": "gradient steps"}


def study_figure(figures):
    """The regret of what the searches found, a row of panels for each data set, and when they had found it.

    Left a dot for each seed, equal ones stacked, and their mean; the dashed line is the average architecture of
    the table. Right the median regret over the cost, with the quartiles shaded.

    figures: what `bnas.study.searches.analyse` returns.
    """
    datasets = figures["datasets"]
    runs = list(next(iter(datasets.values()))["runs"])
    styles = {run: (_COLORS[k % 9], _STYLES[k // 2 % 4]) for k, run in enumerate(runs)}
    margin = max(text_width(run, _LABEL_SIZE) for run in runs)
    height = max(2.6, 0.5 + 0.34 * len(runs))
    figure = Figure(
        figsize=(margin + 12.5, 0.9 + (height + 0.6) * len(datasets)), layout="constrained"
    )
    panels = figure.subplots(
        len(datasets), 3, squeeze=False, gridspec_kw={"width_ratios": (1.2, 1, 1)}
    )
    for row, (dataset, found) in zip(panels, datasets.items()):
        _draw_found(row[0], dataset, found, styles)
        for ax, axis in zip(row[1:], _AXES):
            _draw_anytime(ax, found, axis, styles)
            ax.set_title(f"{dataset}: regret over {axis.replace('_', ' ')}", loc="left")
    legend = [
        Line2D([], [], color=color, linestyle=style, linewidth=2, label=run)
        for run, (color, style) in styles.items()
    ]
    legend += [
        Patch(color="#BBBBBB", alpha=0.5, label="between the quartiles of the seeds"),
        Line2D([], [], color="#0072B2", label="a seed", **_SEED),
        Line2D([], [], label="mean", **_MEAN),
        Line2D([], [], label="average architecture of the table", **_AVERAGE),
    ]
    draw_legend(figure, legend, columns=6)
    return figure


def _draw_found(ax, dataset, found, styles):
    ax.set_title(f"{dataset}: regret of what was found", loc="left")
    for row, (run, one) in enumerate(found["runs"].items()):
        before = Counter()
        for value in one["regret"]:
            place = row - 0.16 - 0.05 * before[round(value, 6)]
            ax.plot(100 * value, place, color=styles[run][0], clip_on=False, **_SEED)
            before[round(value, 6)] += 1
        ax.plot(100 * np.mean(one["regret"]), row, clip_on=False, **_MEAN)
    ax.axvline(100 * (found["optimum"] - found["random"]), **_AVERAGE)
    ax.set_yticks(range(len(styles)), list(styles), fontsize=_LABEL_SIZE)
    ax.set_ylim(len(styles) - 0.6, -0.9)  # the first on top
    ax.set_xlim(left=0)
    ax.set_xlabel("test accuracy below the best (percentage points)")
    ax.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)


def _draw_anytime(ax, found, axis, styles):
    curves = found["anytime"][axis]
    for run, (color, style) in styles.items():
        low, median, high = 100 * np.array(curves[run], np.float64)
        ax.fill_between(
            curves["grid"], low, high, step="post", color=color, alpha=0.12, linewidth=0
        )
        ax.step(curves["grid"], median, where="post", color=color, linestyle=style, linewidth=1.8)
    ax.axhline(100 * (found["optimum"] - found["random"]), **_AVERAGE)
    ax.set_xlim(0, curves["grid"][-1])
    ax.set_ylim(bottom=0)
    ax.set_xlabel(_AXES[axis])
    ax.set_ylabel("regret (percentage points)")
    ax.grid(color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
