"""The figures of the study: what searches found and when, how supernets rank, where optima are."""

from collections import Counter

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

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
    styles = _styles(runs)
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
        if found["runs"][run]["gradient_steps"][0] == 0:  # it has not searched
            continue
        low, median, high = 100 * np.array(curves["runs"][run], np.float64)
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


def ranking_figure(figures):
    """How well the supernets of each search rank the table's architectures over the epochs, and what is lost.

    A row for each data set. Left and middle Kendall's τ and NDCG, by shared weights (filled) and by α (open),
    means over the seeds. Right the validation accuracy of all candidates, of the path that α keeps, and of that
    architecture trained alone, at the end.

    figures: what `bnas.study.ranking.analyse` returns.
    """
    datasets = figures["datasets"]
    styles = _styles(list(next(iter(datasets.values()))))
    figure = Figure(figsize=(13, 1.0 + 3.4 * len(datasets)), layout="constrained")
    panels = figure.subplots(len(datasets), 3, squeeze=False)
    for row, (dataset, runs) in zip(panels, datasets.items()):
        for ax, measure in zip(row, ("tau", "ndcg")):
            _draw_ranking(ax, measure, runs, styles)
            ax.set_title(f"{dataset}: {_MEASURES[measure]}", loc="left")
        _draw_gap(row[2], runs, styles)
        row[2].set_title(f"{dataset}: at the end", loc="left")
    legend = [
        Line2D([], [], color=color, linestyle=style, linewidth=2, label=run)
        for run, (color, style) in styles.items()
    ]
    legend += [
        Line2D([], [], color="#444444", label="by shared weights", **_MARK),
        Line2D([], [], color="#444444", label="by α", markerfacecolor="white", **_MARK),
    ]
    draw_legend(figure, legend, columns=6)
    return figure


_MEASURES = {"tau": "Kendall's τ with the table", "ndcg": "NDCG of the table"}
_MARK = {"linestyle": "none", "marker": "o", "markersize": 6}


def _styles(runs):
    return {run: (_COLORS[k % len(_COLORS)], _STYLES[k // 2 % 4]) for k, run in enumerate(runs)}


def _draw_ranking(ax, measure, runs, styles):
    for run, epochs in runs.items():
        color, style = styles[run]
        for by, face in (("weights", color), ("alpha", "white")):
            points = [(one["epoch"], _mean(one[f"{measure}_{by}"])) for one in epochs]
            points = [(epoch, value) for epoch, value in points if value is not None]
            if points:
                line = {"color": color, "linestyle": style, "marker": "o", "markerfacecolor": face}
                ax.plot(*zip(*points), **line)
    if measure == "tau":
        ax.axhline(0, color="#666666", linewidth=1)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
    ax.set_ylabel("τ" if measure == "tau" else "NDCG")
    ax.grid(color="#DDDDDD", linewidth=0.6)


def _draw_gap(ax, runs, styles):
    names = {
        "supernet": "all\ncandidates",
        "path": "its path,\nshared weights",
        "alone": "trained\nalone",
    }
    for run, epochs in runs.items():
        means = [_mean(epochs[-1][name]) for name in names]
        points = [(k, 100 * value) for k, value in enumerate(means) if value is not None]
        color, style = styles[run]
        ax.plot(*zip(*points), color=color, linestyle=style, marker="o")
    ax.set_xticks(range(len(names)), list(names.values()))
    ax.set_xlim(-0.3, len(names) - 0.7)
    ax.set_ylabel("validation accuracy (%)")
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)


def _mean(values):
    values = [value for value in values if value is not None]
    return float(np.mean(values)) if values else None


def optima_figure(figures):
    """L_NAS of the Parent and the KL divergence of the Child over a plane of α, both optima and the tangent.

    A row for each data set. figures: what `bnas.study.optima.analyse` returns.
    """
    datasets = figures["datasets"]
    figure = Figure(figsize=(12, 1.0 + 4.4 * len(datasets)), layout="constrained")
    panels = figure.subplots(len(datasets), 2, squeeze=False)
    titles = {"parent": "L_NAS of the Parent", "child": "KL of the Child from the Parent, -G"}
    for row, (dataset, found) in zip(panels, datasets.items()):
        for ax, (name, title) in zip(row, titles.items()):
            shades = ax.contourf(found["u"], found["v"], found[name], levels=20, cmap="Greys_r")
            figure.colorbar(shades, ax=ax)
            _draw_points(ax, found)
            ax.set_title(f"{dataset}: {title}", loc="left")
            ax.set_xlabel("from the Parent's α towards the Child's")
            ax.set_ylabel("along t, at a right angle to that")
            ax.set_aspect("equal")
    legend = [
        Line2D([], [], label=label, markeredgecolor="black", markersize=10, **style)
        for label, style in _POINTS.items()
    ]
    legend += [
        Line2D([], [], color=color, linewidth=3, label=label) for label, color in _ARROWS.items()
    ]
    draw_legend(figure, legend, columns=3)
    return figure


_POINTS = {
    "α of the Parent": {"marker": "o", "color": "#0072B2", "linestyle": "none"},
    "α of the Child": {"marker": "o", "color": "#D55E00", "linestyle": "none"},
    "least L_NAS of the Parent": {"marker": "*", "color": "#56B4E9", "linestyle": "none"},
    "least KL of the Child": {"marker": "*", "color": "#E69F00", "linestyle": "none"},
}
_ARROWS = {
    "direction of t, the Parent's tangent": "#0072B2",
    "direction of ∂G/∂α̂ of the Child": "#D55E00",
}


def _draw_points(ax, found):
    child, optima = found["child_alpha"], found["optima"]
    places = ((0, 0), child, optima["parent"], optima["child"])
    length = 0.25 * (found["u"][-1] - found["u"][0])
    for start, name, color in zip(((0, 0), child), ("tangent", "child_gradient"), _ARROWS.values()):
        direction = np.array(found[name])
        end = start + length * direction / max(np.linalg.norm(direction), 1e-30)
        arrow = {"arrowstyle": "-|>", "color": color, "linewidth": 2.5, "mutation_scale": 18}
        ax.annotate("", end, start, arrowprops=arrow)
    for place, style in zip(places, _POINTS.values()):
        ax.plot(*place, markersize=12, markeredgecolor="black", clip_on=False, **style)
