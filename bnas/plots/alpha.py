"""The figures of alpha in a search: the weights of every edge, and how far they are decided."""

from typing import NamedTuple

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bnas.config import PRIMITIVES
from bnas.errors import InputError
from bnas.plots.cells import CELLS, state_name
from bnas.plots.epochs import (
    LARGEST,
    PHASES,
    draw_legend,
    draw_line,
    epoch_axis,
    log_if_wide,
    read,
    read_numbers,
)
from bnas.plots.figure import Figure
from bnas.plots.styles import operation_styles
from bnas.space.alpha import DECIDED, edge_entropies, mixing_weights
from bnas.space.genotype import discretise, edges, number_of_nodes
from bnas.space.text import parse_genotype

_RING = {"marker": "o", "markersize": 10, "markerfacecolor": "none", "markeredgecolor": "#000000"}
_CELL_LINES = {
    "normal": {"color": "#009E73", "marker": "o"},
    "reduce": {"color": "#AA4499", "marker": "s", "linestyle": "--"},
}


class Alphas(NamedTuple):
    """Alpha over the epochs, arrays (epochs, 2, E, M)."""

    logits: np.ndarray  # alpha itself, float64
    active: np.ndarray  # False where the search has dropped the operation
    scaled: np.ndarray  # alpha / temperature, 0 for an edge's largest, -LARGEST where dropped
    weights: np.ndarray  # softmax(alpha / temperature), 0 where dropped
    name: str  # of the weights, in a figure


def with_alpha(history):
    """The records of the epochs that have an alpha."""
    return [record for record in history if record.get("alpha", ()) is not None]


def has_genotypes(history):
    """Whether `read_genotypes` finds one in any epoch."""
    return any(record.get("genotype") is not None for record in history) or bool(
        with_alpha(history)
    )


def read_alphas(history, operations):
    """The Alphas of a history; InputError unless every epoch has one, of the M `operations`."""
    try:
        raw = np.array(read(history, "alpha"))
        logits = raw.astype(np.float64)
        number_of_nodes(logits.shape[2])
        well_formed = raw.dtype.kind in "if" and logits.shape[1::2] == (2, len(operations))
        well_formed = well_formed and (np.abs(logits) <= LARGEST).all()
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        well_formed = False
    if not well_formed:
        raise InputError(
            "the history's alpha must be finite numbers of one shape "
            f"(2, edges, {len(operations)}) in every epoch, one for each of the operations"
        )
    active = _read_active(history, logits.shape[1:])
    temperature = read_numbers([{"temperature": None, **r} for r in history], "temperature")
    temperature[np.isnan(temperature)] = 1
    if not (temperature > 0).all():
        raise InputError("the history's temperature must be above 0 wherever an epoch has one")

    top = np.where(active, logits, -np.inf).max(axis=3, keepdims=True)
    with np.errstate(over="ignore"):
        scaled = (logits - top) / temperature[:, None, None, None]
    scaled = np.where(active, np.maximum(scaled, -LARGEST), -LARGEST)
    weights = mixing_weights(scaled, mask=active)
    name = "softmax(α)" if (temperature == 1).all() else "softmax(α / temperature)"
    return Alphas(logits, active, scaled, weights, name)


def _read_active(history, shape):
    """Which operations each epoch still had, bool (epochs, *shape): all, where it does not say."""
    active = np.ones((len(history), *shape), bool)
    for k, record in enumerate(history):
        if record.get("active") is None:
            continue
        try:
            given = np.array(record["active"])
        except ValueError:  # lists of several lengths
            given = np.array(None)
        if given.dtype != bool or given.shape != shape:
            raise InputError(
                f"the history's active must be true or false for every entry of alpha, {shape}, or null"
            )
        active[k] = given
    return active


def read_genotypes(history, operations):
    """The Genotype of every epoch: that in its record, or else what its alpha stands for; None without both.

    Raises InputError for a history whose genotypes are not all of one size and of these `operations`.
    """
    genotypes = [None] * len(read(history, "epoch"))
    from_alpha = []
    for k, record in enumerate(history):
        text = record.get("genotype")
        if text is not None:
            try:
                genotypes[k] = parse_genotype(text, operations)
            except InputError as error:
                raise InputError(
                    f"the history's genotype of epoch {record['epoch']}: {error}"
                ) from None
        elif "genotype" not in record or record.get("alpha", ()) is not None:
            from_alpha.append(k)
    if from_alpha:
        alphas = read_alphas([history[k] for k in from_alpha], operations)
        for k, scaled, active in zip(from_alpha, alphas.scaled, alphas.active):
            genotypes[k] = _discretised(scaled, active, operations)
    found = [genotype for genotype in genotypes if genotype is not None]
    if not found:
        raise InputError("the history has neither a genotype nor an alpha in any epoch")
    names = {name for g in found for name, _ in (*g.normal, *g.reduce)}
    if len({(len(g.normal), len(g.reduce)) for g in found}) > 1 or not names <= set(operations):
        raise InputError(
            "the history's genotypes must have as many nodes in every epoch, and the operations "
            f"{', '.join(operations)} alone"
        )
    return genotypes


def _discretised(scaled, active, operations):
    """What logits (2, E, M) stand for; operations that were dropped are taken last."""
    if not active.all():
        if "none" not in operations:
            operations = (*operations, "none")
            scaled = np.concatenate([scaled, np.full_like(scaled[..., :1], -LARGEST)], axis=2)
        scaled = scaled.copy()
        scaled[~active.any(axis=2), operations.index("none")] = 0  # nothing left is nothing chosen
    return discretise(scaled, operations)


def alpha_figure(history, cell, operations=PRIMITIVES):
    """softmax(alpha) over the epochs, one panel per edge of `cell` ("normal" or "reduce").

    A row holds the edges into one node, a column those out of one state (Eq. 4.28). Marked are the
    edges and operations of the last epoch's genotype, or where it has none of the genotype that its alpha
    stands for. The line of an operation that the search drops ends there.

    history: one dict per epoch with epoch, round, phase and alpha, the logits (2, E, M); if it has them,
    also temperature, by which alpha is divided, active (2, E, M), false where the operation is dropped,
    and genotype, a text. operations: the M names of the search space, in the order of alpha's last
    axis. Raises InputError for a history that lacks them or has another M, and for operations that
    are no search space.
    """
    styles = operation_styles(operations)
    alphas = read_alphas(history, operations)
    (genotype,) = read_genotypes(history[-1:], operations)
    kept = {(i, k // 2 + 2): name for k, (name, i) in enumerate(getattr(genotype, cell))}
    weights = np.where(alphas.active, alphas.weights, np.nan)[:, list(CELLS).index(cell)]
    epochs = read(history, "epoch")
    nodes = number_of_nodes(weights.shape[1])
    if len(getattr(genotype, cell)) != 2 * nodes:
        raise InputError("the history's genotype has another number of nodes than its alpha")

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
            if np.isnan(weights[:, e, m]).all():
                continue
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
    figure.suptitle(f"{CELLS[cell]}: {alphas.name} of every edge")
    draw_legend(figure, lines + phases, columns=5)
    return figure


def draw_entropy(ax, epochs, alphas):
    """The mean entropy of each cell's edges, in nats, and that of equal weights; returns the lines drawn.

    Edges of which every operation is dropped have none, and do not count.
    """
    entropy = np.where(alphas.active.any(axis=3), edge_entropies(alphas.weights), np.nan)
    count = np.isfinite(entropy).sum(axis=2)
    mean = np.where(count > 0, np.nansum(entropy, axis=2) / np.maximum(count, 1), np.nan)
    for values, (cell, style) in zip(mean.T, _CELL_LINES.items()):
        draw_line(ax, epochs, values, label=CELLS[cell], **style)
    operations = alphas.logits.shape[3]
    uniform = np.log(operations)
    label = f"all equal: ln {operations} = {uniform:.2f}"
    ax.axhline(uniform, color="#000000", linewidth=1.2, linestyle=(0, (2, 2)), label=label)
    ax.set_ylim(0, 1.08 * uniform or 1)
    return ax.get_lines()[-3:]


def entropy_figure(history, operations=PRIMITIVES):
    """How far alpha is decided over the epochs: entropy, max |alpha|, and the edges decided.

    The entropy is that of softmax(alpha), the mean over a cell's edges, in nats: ln M where all operations
    weigh the same, 0 where one has all the weight. An edge is decided when one weighs 0.99 or more,
    see bnas.space.alpha.DECIDED. Operations that were dropped do not count.

    history and operations as for `alpha_figure`; all is computed from the alpha of the history.
    """
    operation_styles(operations)  # refuses what is no search space
    alphas = read_alphas(history, operations)
    epochs = read(history, "epoch")
    largest = np.where(alphas.active, np.abs(alphas.logits), 0).max(axis=(2, 3))
    decided = (alphas.weights.max(axis=3) >= DECIDED).sum(axis=2)
    total = alphas.logits.shape[2]

    figure = Figure(figsize=(9.0, 7.6), layout="constrained")
    figure.suptitle(f"How far α is decided: {alphas.name}")
    panels = figure.subplots(3, 1, sharex=True)
    for ax in panels:
        phases = epoch_axis(ax, history, "phase", PHASES)
        ax.grid(axis="y", color="#CCCCCC", linewidth=0.6)
    top, middle, bottom = panels
    lines = draw_entropy(top, epochs, alphas)
    top.set_ylabel("mean entropy\nof an edge (nats)")
    for c, style in enumerate(_CELL_LINES.values()):
        draw_line(middle, epochs, largest[:, c], **style)
        draw_line(bottom, epochs, decided[:, c], **style)
    middle.set_ylabel("max |α|")
    log_if_wide(middle, largest.ravel())
    if middle.get_yscale() == "linear":
        middle.set_ylim(0, 1.08 * largest.max() or 1)
    first = np.flatnonzero(decided.sum(axis=1))
    when = f"the first in epoch {epochs[first[0]]}" if len(first) else "none so far"
    bottom.set_title(f"an operation weighs {DECIDED} or more: {when}", loc="left", fontsize=9)
    bottom.set_ylabel(f"edges decided\nof {total}")
    bottom.set_ylim(-0.04 * total, 1.08 * total)
    bottom.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    bottom.set_xlabel("epoch")
    draw_legend(figure, [*lines, *phases], columns=5)
    return figure
