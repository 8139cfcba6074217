"""Several searches side by side."""

import textwrap

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator

from bnas.config import PRIMITIVES
from bnas.errors import InputError
from bnas.plots.accuracy import draw_validation
from bnas.plots.alpha import draw_entropy, has_genotypes, read_alphas, read_genotypes, with_alpha
from bnas.plots.epochs import PHASES, draw_legend, epoch_axis, read
from bnas.plots.figure import Figure
from bnas.plots.styles import operation_styles
from bnas.space.operations import COLLAPSED, WEIGHTLESS

_WEIGHTED = {"color": "#009E73", "label": "operations with weights"}
_IDLE = {
    "facecolor": "#D55E00",
    "label": "skips and poolings",
    "hatch": "///",
    "edgecolor": "#333333",
}
_NOTE = {
    "ha": "center",
    "va": "center",
    "fontsize": 9,
    "bbox": {"boxstyle": "round", "facecolor": "white", "edgecolor": "#666666"},
}


def runs_figure(runs, operations=PRIMITIVES):
    """Searches of any strategies, a column each, on the same axes.

    Above, the validation accuracy of those who learn, and of individuals the best so far; then the operations
    of both cells that the genotype of each epoch has, with and without weights; and below, if there is any
    alpha, the mean entropy of its softmax.

    runs: {label: history}, the histories as for `accuracy_figure`, `operation_count_figure` and
    `entropy_figure`. operations: the names of the search space of all of them, or {label: names}. Raises
    InputError for no runs and for what those functions refuse.
    """
    if not runs:
        raise InputError("there is no run to draw; give {label: history} of one or more")
    if not isinstance(operations, dict):
        operations = dict.fromkeys(runs, operations)
    alphas = {label: with_alpha(history) for label, history in runs.items()}
    rows = 2 + any(alphas.values())
    figure = Figure(
        figsize=(max(8.6, 0.9 + 2.3 * len(runs)), 1.0 + 2.2 * rows), layout="constrained"
    )
    panels = figure.subplots(rows, len(runs), sharex=True, sharey="row", squeeze=False)
    legend = [{} for _ in range(rows + 1)]  # row by row, and last the phases; {text: handle}
    for (label, history), column in zip(runs.items(), panels.T):
        operation_styles(operations[label])  # refuses what is no search space
        title = textwrap.fill(label, 22).replace("$", r"\$")  # of which two would begin a formula
        column[0].set_title(title, fontsize=10)
        column[-1].set_xlabel("epoch", fontsize=9)
        for ax in column:
            ax.tick_params(labelsize=8)
            ax.grid(axis="y", color="#CCCCCC", linewidth=0.6)
            ax.set_axisbelow(True)  # else the grid would run across the operations
            phases = epoch_axis(ax, history, "phase", PHASES)
        draw_validation(column[0], history)
        if has_genotypes(history):
            _draw_kept(column[1], history, operations[label])
        else:
            column[1].text(0.5, 0.5, "no genotype yet", transform=column[1].transAxes, **_NOTE)
        if alphas[label]:
            drawn = read_alphas(alphas[label], operations[label])
            draw_entropy(column[2], read(alphas[label], "epoch"), drawn)
        elif rows == 3:
            column[2].text(0.5, 0.5, "no α", transform=column[2].transAxes, **_NOTE)
        for ax, entries in zip(column, legend):
            entries |= {text: handle for handle, text in zip(*ax.get_legend_handles_labels())}
        white = "#FFFFFF"  # several phases have no shade: their lines tell them apart
        legend[-1] |= {
            p.get_label(): p for p in phases if to_hex(p.get_facecolor()).upper() != white
        }
    for row, name in zip(panels, ("validation\naccuracy (%)", "operations kept", "entropy (nats)")):
        row[0].set_ylabel(name, fontsize=9)
    epochs = [epoch for history in runs.values() for epoch in read(history, "epoch")]
    panels[0, 0].set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    panels[0, 0].xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
    panels[1, 0].yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    for row, least in zip(panels[1:], (1, 0.1)):  # of the height of an axis
        row[0].set_ylim(0, 1.08 * max(least, *(ax.dataLim.y1 for ax in row)))
    draw_legend(figure, [handle for entries in legend for handle in entries.values()], columns=6)
    return figure


def _draw_kept(ax, history, operations):
    """How many operations of the genotype of each epoch have weights, stacked on those that have none."""
    genotypes = read_genotypes(history, operations)
    chosen = [() if g is None else (*g.normal, *g.reduce) for g in genotypes]
    idle = np.array([sum(name in WEIGHTLESS for name, _ in pairs) for pairs in chosen])
    total = np.array([len(pairs) for pairs in chosen])
    epochs = np.array(read(history, "epoch"))
    between = [*(epochs - 0.5), epochs[-1] + 0.5]
    ax.stairs(idle, between, fill=True, **_IDLE)
    ax.stairs(total, between, baseline=idle, fill=True, **_WEIGHTED)
    collapse = f"collapse: above {COLLAPSED:.0%}"
    ax.axhline(
        COLLAPSED * total.max(), color="#000000", linewidth=1.2, linestyle="--", label=collapse
    )
