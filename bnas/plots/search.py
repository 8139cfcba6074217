"""The figures of a search: what it did to alpha, and how Parent and Child fared."""

from collections import Counter

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bnas.config import PRIMITIVES
from bnas.errors import InputError
from bnas.plots.cells import CELLS, state_name
from bnas.plots.epochs import (
    CHILD_COLOR,
    PARENT_COLOR,
    PHASES,
    TRAINING_LINE,
    draw_legend,
    draw_line,
    epoch_axis,
    log_if_wide,
    read,
    read_numbers,
)
from bnas.plots.figure import Figure
from bnas.plots.styles import operation_styles
from bnas.space.genotype import discretise, edges, number_of_nodes
from bnas.space.operations import COLLAPSED, WEIGHTLESS

_WARNING = "#B00000"
_RING = {"marker": "o", "markersize": 10, "markerfacecolor": "none", "markeredgecolor": "#000000"}
_G_AND_T = (
    "g = ∂G/∂α̂, G = −KL(Parent ‖ Child): the way in which α̂ brings the Child closer to the Parent (4.30)\n"
    "t = ∂f̃/∂α, f̃ the Parent's mean log-likelihood: the way α was going when its phase ended (4.29)"
)
_ANGLES = {0: "agree, 0°", 45: "45°", 90: "unrelated, 90°", 135: "135°", 180: "opposed, 180°"}


def _read_alphas(history, operations):
    """All logits as a float64 array (epochs, 2, E, M)."""
    try:
        raw = np.array(read(history, "alpha"))
        alphas = raw.astype(np.float64)
        number_of_nodes(alphas.shape[2])
        well_formed = raw.dtype.kind in "if" and alphas.shape[1::2] == (2, len(operations))
        well_formed = well_formed and np.isfinite(alphas).all()
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        well_formed = False
    if not well_formed:
        raise InputError(
            "the history's alpha must be finite numbers of one shape "
            f"(2, edges, {len(operations)}) in every epoch, one for each of the operations"
        )
    return alphas


def alpha_figure(history, cell, operations=PRIMITIVES):
    """softmax(alpha) over the epochs, one panel per edge of `cell` ("normal" or "reduce").

    A row holds the edges into one node, a column those out of one state (Eq. 4.28). Marked are the
    edges and operations of the genotype that the last epoch's alpha stands for. history: one
    dict per epoch with epoch, round, phase and alpha, the logits (2, E, M). operations: the
    M names of the search space, in the order of alpha's last axis. Raises InputError for a history
    that lacks them or has another M, and for operations that are no search space.
    """
    styles = operation_styles(operations)
    alphas = _read_alphas(history, operations)
    genotype = discretise(alphas[-1], operations)
    kept = {(i, k // 2 + 2): name for k, (name, i) in enumerate(getattr(genotype, cell))}
    alphas = alphas[:, list(CELLS).index(cell)]
    weights = np.exp(alphas - alphas.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    epochs = read(history, "epoch")
    nodes = number_of_nodes(weights.shape[1])

    figure = Figure(figsize=(max(7.6, 2.3 * (nodes + 1)), 1.7 * nodes + 1.6), layout="constrained")
    panels = figure.subplots(nodes, nodes + 1, sharex=True, sharey=True, squeeze=False)
    for panel in panels.flat:
        panel.set_visible(False)
    for e, (i, j) in enumerate(edges(nodes)):
        ax = panels[j - 2, i]
        ax.set_visible(True)
        ax.set_title(f"{state_name(i)} → {j}", fontsize=10)
        phases = epoch_axis(ax, history, "phase", PHASES)
        for m, operation in enumerate(operations):
            width = 3.0 if operation == kept.get((i, j)) else 1.5
            style = styles[operation].line
            draw_line(ax, epochs, weights[:, e, m], width, label=operation, **style)
        if (i, j) in kept:
            last = weights[-1, e, operations.index(kept[i, j])]
            ax.plot(epochs[-1], last, clip_on=False, zorder=5, **_RING)
            ax.spines[:].set(color=styles[kept[i, j]].color, linewidth=2.5)
        ax.tick_params(labelsize=8)
        if j == nodes + 1:
            ax.set_xlabel("epoch", fontsize=9)
    if len(operations) == 1:  # a constant 1, around which the axis would show rounding errors
        panels[0, 0].set_ylim(0, 1.05)
    lines = [
        Line2D([], [], label=operation, markersize=4.5, **styles[operation].line)
        for operation in operations
    ]
    kept_line = {"color": "#000000", "linewidth": 3.0, "label": "kept (its edge is framed)"}
    lines.append(Line2D([], [], **kept_line, **_RING))
    figure.suptitle(f"{CELLS[cell]}: softmax(α) of every edge")
    draw_legend(figure, lines + phases, columns=5)
    return figure


def operation_count_figure(history, operations=PRIMITIVES):
    """How often each operation is among those that discretising alpha would keep, per epoch.

    Operations without weights are at the bottom of each bar. Where they are more than `COLLAPSED` of it, there is
    a warning: that is the known failure of differentiable search. history and operations as for `alpha_figure`.
    """
    styles = operation_styles(operations)
    alphas = _read_alphas(history, operations)
    epochs = read(history, "epoch")
    genotypes = [discretise(alpha, operations) for alpha in alphas]
    kept = 2 * number_of_nodes(alphas.shape[2])

    def stacked(operation):
        return operation not in WEIGHTLESS, operations.index(operation)

    figure = Figure(figsize=(9.0, 6.4), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for ax, (cell, title) in zip(panels, CELLS.items()):
        counts = [Counter(operation for operation, _ in getattr(g, cell)) for g in genotypes]
        phases = epoch_axis(ax, history, "phase", PHASES)
        base = np.zeros(len(epochs))
        for operation in sorted(set(operations) - {"none"}, key=stacked):
            heights = np.array([count[operation] for count in counts])
            style = styles[operation]
            ax.bar(
                epochs,
                heights,
                bottom=base,
                width=0.9,
                label=operation,
                color=style.color,
                hatch=style.hatch,
                edgecolor=style.hatch_color,
                linewidth=0,
            )
            base += heights
        ax.axhline(COLLAPSED * kept, color="#FFFFFF", linewidth=2.5)
        most = ax.axhline(COLLAPSED * kept, color="#000000", linewidth=1.2, linestyle="--")
        most.set_label(f"collapse: skips and poolings above {COLLAPSED:.0%}")
        ax.set_ylim(0, 1.1 * kept)  # leaves a strip in which the phases show
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_ylabel("operations kept")
        ax.set_title(title, loc="left")

        idle = np.array([sum(count[name] for name in WEIGHTLESS) for count in counts])
        collapsed = np.flatnonzero(idle > COLLAPSED * kept)
        if len(collapsed):
            ax.text(
                1.0,
                1.03,
                f"COLLAPSE: skips and poolings in {len(collapsed)} of {len(epochs)} epochs, first in "
                f"{epochs[collapsed[0]]}; at the end {idle[-1]} of {kept}",
                transform=ax.transAxes,
                ha="right",
                va="bottom",
                fontsize=9,
                fontweight="bold",
                color=_WARNING,
            )
    panels[-1].set_xlabel("epoch")
    bars = panels[0].containers
    draw_legend(figure, [*bars, most, *phases], columns=5)
    return figure


def accuracy_figure(history):
    """Accuracy and loss of Parent and Child over the epochs of a search.

    history: one dict per epoch with epoch, round, phase, loss, train_accuracy and
    validation_accuracy (0 to 1). Each has an axis for the loss it is trained on: cross-entropy (4.21)
    for the Parent, the KL divergence of Eq. 4.30 for the Child.
    """
    epochs = read(history, "epoch")
    phase = np.array(read(history, "phase"))
    learners = [
        learner
        for learner in (
            ("parent", "Parent", PARENT_COLOR, "o", "cross-entropy of\nthe Parent (4.21)"),
            ("child", "Child", CHILD_COLOR, "s", "KL(Parent ‖ Child)\nof the Child (4.30)"),
        )
        if learner[0] in phase
    ]

    figure = Figure(figsize=(9.0, 4.0 + 2.2 * len(learners)), layout="constrained")
    heights = [1.6, *(1 for _ in learners)]
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    for ax in panels:
        phases = epoch_axis(ax, history, "phase", PHASES)
        ax.grid(axis="y", color="#CCCCCC", linewidth=0.6)
    top = panels[0]
    for (value, name, color, marker, loss_name), bottom in zip(learners, panels[1:]):
        validation, training, loss = (
            np.where(phase == value, read_numbers(history, key), np.nan)  # NaN interrupts the line
            for key in ("validation_accuracy", "train_accuracy", "loss")
        )
        style = {"color": color, "marker": marker}
        draw_line(top, epochs, 100 * validation, label=f"{name}, validation", **style)
        draw_line(top, epochs, 100 * training, label=f"{name}, training", **style | TRAINING_LINE)
        draw_line(bottom, epochs, loss, **style)
        bottom.set_ylabel(loss_name)
        log_if_wide(bottom, loss)
    top.legend(fontsize=9)
    top.set_title("Parent and Child")
    top.set_ylabel("accuracy (%)")
    panels[-1].set_xlabel("epoch")
    draw_legend(figure, phases, columns=2)
    return figure


def tangent_figure(history):
    """D(alpha) of Eq. 4.31 and the angle between g and the tangent t, over the Child's epochs.

    g is the Child's gradient for alpha, t the Parent's at the end of its phase (Eq. 4.29).

    history: one dict per epoch with epoch, round, phase, distance and angle (degrees); both are
    None where they do not exist, as in the Parent's epochs.
    """
    epochs = read(history, "epoch")
    distance, angle = read_numbers(history, "distance"), read_numbers(history, "angle")

    figure = Figure(figsize=(9.0, 6.4), layout="constrained")
    figure.suptitle("Tangent propagation in the Child's epochs")
    top, bottom = figure.subplots(2, 1, sharex=True)
    top.set_title(_G_AND_T, loc="left", fontsize=9)
    for ax, values, marker, label in (
        (top, distance, "o", "D(α̂), distance of g from t"),
        (bottom, angle, "s", "angle between g and t"),
    ):
        phases = epoch_axis(ax, history, "phase", PHASES)
        ax.set_ylabel(label)
        if np.isnan(values).all():
            ax.text(
                0.5,
                0.5,
                "not recorded in any epoch of this run",
                transform=ax.transAxes,
                ha="center",
                va="center",
                bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "#666666"},
            )
            ax.set_yticks([])
            continue
        draw_line(ax, epochs, values, color=CHILD_COLOR, marker=marker)
        ax.grid(axis="y", color="#CCCCCC", linewidth=0.6)
    if not np.isnan(distance).all():
        top.set_ylim(0, 1.08 * np.nanmax(distance) or 1)
    if not np.isnan(angle).all():
        bottom.axhline(90, color="#000000", linewidth=1, linestyle=":")
        bottom.set_ylim(0, 180)
        bottom.set_yticks(list(_ANGLES), list(_ANGLES.values()))
    bottom.set_xlabel("epoch")
    draw_legend(figure, phases, columns=2)
    return figure
