"""The figures of a search: the operations it keeps, and its tangent propagation."""

from collections import Counter

import numpy as np
from matplotlib.ticker import MaxNLocator

from bnas.config import PRIMITIVES
from bnas.plots.alpha import read_genotypes
from bnas.plots.cells import CELLS
from bnas.plots.epochs import (
    CHILD_COLOR,
    PHASES,
    draw_legend,
    draw_line,
    epoch_axis,
    read,
    read_numbers,
)
from bnas.plots.figure import Figure
from bnas.plots.styles import operation_styles
from bnas.space.operations import COLLAPSED, WEIGHTLESS

_WARNING = "#B00000"
_G_AND_T = (
    "g = ∂G/∂α̂, G = −KL(Parent ‖ Child): the way in which α̂ brings the Child closer to the Parent (4.30)\n"
    "t = ∂f̃/∂α, f̃ the Parent's mean log-likelihood: the way α was going when its phase ended (4.29)"
)
_ANGLES = {0: "agree, 0°", 45: "45°", 90: "unrelated, 90°", 135: "135°", 180: "opposed, 180°"}


def operation_count_figure(history, operations=PRIMITIVES):
    """How often the genotype of each epoch has each operation.

    It is the one in the record, the best that the search knew after the epoch, or where there is none the one that
    its alpha stands for. Operations without weights are at the bottom of each bar. Where they are more than
    `COLLAPSED` of it, there is a warning: that is the known failure of differentiable search. history and
    operations as for `alpha_figure`; alpha may be None where there is a genotype.
    """
    styles = operation_styles(operations)
    epochs = read(history, "epoch")
    genotypes = read_genotypes(history, operations)

    def stacked(operation):
        return operation not in WEIGHTLESS, operations.index(operation)

    figure = Figure(figsize=(9.0, 6.4), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for ax, (cell, title) in zip(panels, CELLS.items()):
        chosen = [getattr(genotype, cell, ()) for genotype in genotypes]
        counts = [Counter(operation for operation, _ in pairs) for pairs in chosen]
        kept = max(map(len, chosen))
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
