"""The figures of a run: what the search did to alpha, and the network that came out of it.

Every function takes plain data (the history, one dict per epoch, or a genotype) and returns a
matplotlib Figure; `draw_run` saves them all as PNG files. Nothing here touches pyplot, so no
window and no global state. Colours are those of Okabe and Ito, safe for colour-blind readers, and
an operation has the same colour in every figure; line styles, markers and hatches carry the same
information in greyscale.
"""

import io
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Patch
from matplotlib.path import Path as Curve
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

from bnas.errors import InputError
from bnas.config import PRIMITIVES
from bnas.space.genotype import discretise, edges, number_of_nodes, validate_genotype
from bnas.runs import atomic_write

DPI = 130


class _Style(NamedTuple):
    color: str
    linestyle: str
    marker: str
    hatch: str

    @property
    def line(self):
        return {"color": self.color, "linestyle": self.linestyle, "marker": self.marker}


OPERATION_STYLES = {
    "none": _Style("#999999", ":", "x", ""),
    "skip_connect": _Style("#D55E00", "-", "s", ""),
    "dil_conv_3x3": _Style("#56B4E9", "--", "<", "///"),
    "dil_conv_5x5": _Style("#0072B2", "--", ">", "\\\\\\"),
    "max_pool_3x3": _Style("#CC79A7", "-.", "^", ".."),
    "avg_pool_3x3": _Style("#E69F00", "-.", "v", "oo"),
    "sep_conv_3x3": _Style("#009E73", "-", "o", "--"),
    "sep_conv_5x5": _Style("#000000", "-", "D", "xx"),
    "sep_conv_7x7": _Style("#B5A800", "-", "P", "++"),  # the palette's yellow, darkened
    "conv_7x1_1x7": _Style("#6A4C93", "--", "*", "||"),
}
_CELLS = {"normal": "Normal cell", "reduce": "Reduction cell"}  # in the order of alpha's axis 0
_PHASES = {  # value: name, background
    "parent": ("Parent phase", "#FFFFFF"),
    "child": ("Child phase", "#E8E8E8"),
}
_STAGES = {
    "real": ("real", "#FFFFFF"),
    "activations": ("1-bit activations, real weights", "#FFFFFF"),
    "binary": ("1-bit activations and weights", "#E8E8E8"),
}
_TRAINING = {"linestyle": "--", "markerfacecolor": "white"}
_PARENT, _CHILD, _WARNING = "#0072B2", "#D55E00", "#B00000"


# Reading the history ---------------------------------------------------------------------------


def _values(history, key):
    """One value per epoch, or an InputError for a history without them."""
    if not history:
        raise InputError("the history is empty: there is no finished epoch to draw")
    if any(key not in record for record in history):
        raise InputError(
            f"the history lacks {key!r} in some epoch: it was not written by this version of bnas"
        )
    return [record[key] for record in history]


def _numbers(history, key):
    """float64 array with one entry per epoch, NaN where the history has null."""
    return np.array([np.nan if v is None else v for v in _values(history, key)], dtype=np.float64)


def _alphas(history):
    """All logits as a float64 array (epochs, 2, E, M)."""
    try:
        alphas = np.array(_values(history, "alpha"), dtype=np.float64)
        number_of_nodes(alphas.shape[2])
        well_formed = alphas.shape[1::2] == (2, len(PRIMITIVES)) and np.isfinite(alphas).all()
    except (ValueError, TypeError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        well_formed = False
    if not well_formed:
        raise InputError(
            "the history's alpha must be finite numbers of one shape "
            f"(2, edges, {len(PRIMITIVES)}) in every epoch"
        )
    return alphas


def _state_name(state):
    return {0: "$c_{k-2}$", 1: "$c_{k-1}$"}.get(state, str(state))


# Parts shared by the figures -------------------------------------------------------------------


def _epoch_axis(ax, history, key, kinds):
    """Shade the background by `record[key]`, mark the rounds, and let the x axis count epochs.

    Returns legend entries for the kinds that occur.
    """
    epochs = _values(history, "epoch")
    values = _values(history, key)
    if not set(values) <= set(kinds):
        raise InputError(f"the history has an unknown {key}: expected one of {list(kinds)}")
    rounds = [record.get("round") for record in history]
    first = 0
    for last in range(len(history)):
        if last + 1 < len(history) and values[last + 1] == values[first]:
            continue
        ax.axvspan(
            epochs[first] - 0.5,
            epochs[last] + 0.5,
            color=kinds[values[first]][1],
            linewidth=0,
            zorder=0,
        )
        first = last + 1
    for k in range(1, len(history)):
        if rounds[k] != rounds[k - 1]:
            ax.axvline(epochs[k] - 0.5, color="#666666", linewidth=0.8, zorder=1)
    ax.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    return [
        Patch(facecolor=color, edgecolor="#666666", label=name)
        for value, (name, color) in kinds.items()
        if value in values
    ]


def _line(ax, x, y, **style):
    """A line with markers on every eighth of it, and where it starts anew after a gap (NaN).

    So a stretch of one epoch shows, and sixty epochs are not a blur.
    """
    drawn = np.isfinite(y)
    starts = drawn & ~np.concatenate([[False], drawn[:-1]])
    regular = np.arange(len(x)) % max(1, len(x) // 8) == 0
    ax.plot(
        x,
        y,
        markevery=list(np.flatnonzero(starts | regular)),
        linewidth=1.5,
        markersize=4.5,
        **style,
    )


def _log_if_wide(ax, values):
    """A logarithmic y axis when positive values span two orders of magnitude or more."""
    values = np.concatenate(values)
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() >= 100 * values.min():
        ax.set_yscale("log")


# The figures -----------------------------------------------------------------------------------


def alpha_figure(history, cell):
    """softmax(alpha) over the epochs, one panel per edge of `cell` ("normal" or "reduce").

    A row holds the edges into one node, a column those out of one state (Eq. 4.28). history: one
    dict per epoch with epoch, round, phase and alpha, the logits (2, E, 8). Raises InputError
    for a history that lacks them.
    """
    alphas = _alphas(history)[:, list(_CELLS).index(cell)]
    weights = np.exp(alphas - alphas.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    epochs = _values(history, "epoch")
    nodes = number_of_nodes(weights.shape[1])

    figure = Figure(figsize=(max(7.6, 2.3 * (nodes + 1)), 1.7 * nodes + 1.6), layout="constrained")
    panels = figure.subplots(nodes, nodes + 1, sharex=True, sharey=True, squeeze=False)
    for panel in panels.flat:
        panel.set_visible(False)
    for e, (i, j) in enumerate(edges(nodes)):
        ax = panels[j - 2, i]
        ax.set_visible(True)
        ax.set_title(f"{_state_name(i)} → {j}", fontsize=10)
        phases = _epoch_axis(ax, history, "phase", _PHASES)
        for m, operation in enumerate(PRIMITIVES):
            _line(ax, epochs, weights[:, e, m], label=operation, **OPERATION_STYLES[operation].line)
        ax.tick_params(labelsize=8)
        if j == nodes + 1:
            ax.set_xlabel("epoch", fontsize=9)
    lines = panels[0, 0].get_lines()[-len(PRIMITIVES) :]
    figure.suptitle(f"{_CELLS[cell]}: softmax(α) of every edge")
    figure.legend(handles=lines + phases, loc="outside lower center", ncols=5, fontsize=9)
    return figure


def operation_count_figure(history):
    """How often each operation is among those that discretising alpha would keep, per epoch.

    Warns in a cell in which skip_connect has made up more than half, the field's known collapse.
    history as for `alpha_figure`.
    """
    alphas = _alphas(history)
    epochs = _values(history, "epoch")
    genotypes = [discretise(alpha) for alpha in alphas]
    kept = 2 * number_of_nodes(alphas.shape[2])

    figure = Figure(figsize=(9.0, 6.4), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for ax, (cell, title) in zip(panels, _CELLS.items()):
        counts = [Counter(operation for operation, _ in getattr(g, cell)) for g in genotypes]
        phases = _epoch_axis(ax, history, "phase", _PHASES)
        base = np.zeros(len(epochs))
        for operation in PRIMITIVES[1:]:
            heights = np.array([count[operation] for count in counts])
            style = OPERATION_STYLES[operation]
            edge = "#BBBBBB" if style.color == "#000000" else "#333333"
            ax.bar(
                epochs,
                heights,
                bottom=base,
                width=0.9,
                label=operation,
                color=style.color,
                hatch=style.hatch,
                edgecolor=edge,
                linewidth=0,
            )
            base += heights
        ax.axhline(kept / 2, color="#FFFFFF", linewidth=2.5)
        ax.axhline(kept / 2, color="#000000", linewidth=1.2, linestyle="--")
        ax.set_ylim(0, 1.1 * kept)  # leaves a strip in which the phases show
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_ylabel("operations kept")
        ax.set_title(title, loc="left")

        skips = np.array([count["skip_connect"] for count in counts])
        collapsed = np.flatnonzero(2 * skips > kept)
        if len(collapsed):
            ax.text(
                1.0,
                1.03,
                f"COLLAPSE: more than half skip_connect in {len(collapsed)} of "
                f"{len(epochs)} epochs, first in {epochs[collapsed[0]]}; at the end "
                f"{skips[-1]} of {kept}",
                transform=ax.transAxes,
                ha="right",
                va="bottom",
                fontsize=9,
                fontweight="bold",
                color=_WARNING,
            )
    panels[-1].set_xlabel("epoch (dashed: half of the cell's operations)")
    bars = panels[0].get_legend_handles_labels()[0]
    figure.legend(handles=bars + phases, loc="outside lower center", ncols=5, fontsize=9)
    return figure


def accuracy_figure(history):
    """Accuracy and loss of Parent and Child over the epochs of a search.

    history: one dict per epoch with epoch, round, phase, loss, train_accuracy and
    validation_accuracy (0 to 1). The losses are those each is trained on: cross-entropy (4.21)
    for the Parent, the KL divergence of Eq. 4.30 for the Child.
    """
    epochs = _values(history, "epoch")
    phase = np.array(_values(history, "phase"))

    figure = Figure(figsize=(9.0, 6.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    losses = []
    for value, name, color, marker, loss_name in (
        ("parent", "Parent", _PARENT, "o", "Parent, Eq. 4.21"),
        ("child", "Child", _CHILD, "s", "Child, Eq. 4.30"),
    ):
        if value not in phase:
            continue
        validation, training, loss = (
            np.where(phase == value, _numbers(history, key), np.nan)  # NaN interrupts the line
            for key in ("validation_accuracy", "train_accuracy", "loss")
        )
        style = {"color": color, "marker": marker}
        _line(top, epochs, 100 * validation, label=f"{name}, validation", **style)
        _line(top, epochs, 100 * training, label=f"{name}, training", **style, **_TRAINING)
        _line(bottom, epochs, loss, label=loss_name, **style)
        losses.append(loss)
    _log_if_wide(bottom, losses)
    for ax in (top, bottom):
        phases = _epoch_axis(ax, history, "phase", _PHASES)
        ax.grid(axis="y", color="#CCCCCC", linewidth=0.6)
        ax.legend(fontsize=9)
    top.set_title("Parent and Child")
    top.set_ylabel("accuracy (%)")
    bottom.set_ylabel("loss")
    bottom.set_xlabel("epoch")
    figure.legend(handles=phases, loc="outside lower center", ncols=2, fontsize=9)
    return figure


def tangent_figure(history):
    """D(alpha) of Eq. 4.31 and the angle between g and the tangent t, over the Child's epochs.

    history: one dict per epoch with epoch, round, phase, distance and angle (degrees); both are
    None where they do not exist, as in the Parent's epochs.
    """
    epochs = _values(history, "epoch")
    distance, angle = _numbers(history, "distance"), _numbers(history, "angle")

    figure = Figure(figsize=(9.0, 5.6), layout="constrained")
    figure.suptitle("Tangent propagation in the Child's epochs")
    top, bottom = figure.subplots(2, 1, sharex=True)
    for ax, values, marker, label in (
        (top, distance, "o", "distance D(α̂) of g and t"),
        (bottom, angle, "s", "angle between g and t (°)"),
    ):
        phases = _epoch_axis(ax, history, "phase", _PHASES)
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
        _line(ax, epochs, values, color=_CHILD, marker=marker)
        ax.grid(axis="y", color="#CCCCCC", linewidth=0.6)
    _log_if_wide(top, [distance])
    if not np.isnan(angle).all():
        bottom.axhline(90, color="#000000", linewidth=1, linestyle=":")
        bottom.set_ylim(0, 180)
        bottom.set_yticks(range(0, 181, 45))
    bottom.set_xlabel("epoch (0°: Child and Parent agree, 90°: unrelated, 180°: opposed)")
    figure.legend(handles=phases, loc="outside lower center", ncols=2, fontsize=9)
    return figure


def training_figure(history):
    """Training accuracy and loss of the found network, with what was 1-bit in each stage.

    history: one dict per epoch with epoch, stage ("real", "activations" or "binary"), loss and
    train_accuracy (0 to 1).
    """
    epochs = _values(history, "epoch")
    figure = Figure(figsize=(9.0, 6.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    style = {"color": _CHILD, "marker": "s"}
    _line(top, epochs, 100 * _numbers(history, "train_accuracy"), **style)
    loss = _numbers(history, "loss")
    _line(bottom, epochs, loss, **style)
    _log_if_wide(bottom, [loss])
    for ax in (top, bottom):
        stages = _epoch_axis(ax, history, "stage", _STAGES)
        ax.grid(axis="y", color="#CCCCCC", linewidth=0.6)
    top.set_title("Training the found network")
    top.set_ylabel("training accuracy (%)")
    bottom.set_ylabel("loss")
    bottom.set_xlabel("epoch")
    figure.legend(handles=stages, loc="outside lower center", ncols=2, fontsize=9)
    return figure


# Cells as graphs -------------------------------------------------------------------------------

_NODE_RADIUS, _LABEL_WIDTH, _GUTTER = 0.24, 1.1, 0.42  # inches
_NODE_HEIGHT, _LABEL_HEIGHT, _LANE_HEIGHT = 0.72, 0.36, 0.2  # inches, gaps included


class _Layout(NamedTuple):
    """Where a cell's parts go, in inches; the parts are its states, its output, and way points."""

    x: np.ndarray  # centre of each part
    y: np.ndarray
    half_width: np.ndarray  # of the column that the part stands in
    chains: list  # per edge: parts from source to target, the last but one carrying the label


def _lay_out(pairs, concat):
    """Layers by longest path, so that every edge points right (after Sugiyama et al., 1981).

    Between two layers of nodes stands a column for labels. An edge gets a way point in every
    column that it crosses, so no label or node ever lies on another or under a foreign edge.
    """
    depth = [0, 0]
    for k in range(0, len(pairs), 2):
        depth.append(1 + max(depth[pairs[k][1]], depth[pairs[k + 1][1]]))
    output = len(depth)
    depth.append(1 + max(depth))

    column = [2 * d for d in depth]
    height = [_NODE_HEIGHT] * len(depth)
    chains = []
    connections = [(i, k // 2 + 2, _LABEL_HEIGHT) for k, (_, i) in enumerate(pairs)]
    connections += [(i, output, _LANE_HEIGHT) for i in concat]
    for source, target, last_height in connections:
        between = range(column[source] + 1, column[target])
        way = range(len(column), len(column) + len(between))
        column += between
        height += [_LANE_HEIGHT] * (len(between) - 1) + [last_height]
        chains.append([source, *way, target])

    column, height = np.array(column), np.array(height)
    half_width = np.where(column % 2 == 0, _NODE_RADIUS, _LABEL_WIDTH / 2)
    half_width[column == column.max() - 1] = 0.0  # the edges to the output have no labels
    x = np.zeros(len(column))
    right = 0.0
    for c in range(column.max() + 1):
        half = half_width[column == c][0]
        x[column == c] = right + half
        right += 2 * half + _GUTTER
    return _Layout(x, _heights(column, height, chains), half_width, chains)


def _heights(column, height, chains):
    """y of every part: near its neighbours' mean, and in its column clear of the others.

    The relaxation depends on where it starts, so the best of several starts is taken (fewest
    crossings, then shortest edges) and relaxed to the end.
    """
    links = np.array([link for chain in chains for link in zip(chain, chain[1:])])
    adjacent = np.zeros((len(column), len(column)))
    np.add.at(adjacent, (links[:, 0], links[:, 1]), 1.0)
    adjacent += adjacent.T
    to_mean = adjacent / np.maximum(adjacent.sum(axis=1, keepdims=True), 1.0)
    columns = [np.flatnonzero(column == c) for c in range(column.max() + 1)]

    def settle(y, sweeps):
        for sweep in range(sweeps):
            for members in columns if sweep % 2 == 0 else columns[::-1]:
                wish = to_mean[members] @ y
                order = np.argsort(wish, kind="stable")
                members, wish = members[order], wish[order]
                # Least squares under minimum gaps: an isotonic regression once they are deducted.
                gaps = (height[members][1:] + height[members][:-1]) / 2
                offset = np.concatenate([[0.0], np.cumsum(gaps)])
                y[members] = isotonic_regression(wish - offset).x + offset
        return y

    def cost(y):
        start, end = y[links].T
        above = np.sign(np.subtract.outer(start, start)) * np.sign(np.subtract.outer(end, end))
        between = column[links[:, 0]]
        crossings = np.sum((above < 0) & (between[:, None] == between)) // 2
        return crossings, np.sum((start - end) ** 2)

    rng = np.random.default_rng(0)  # always the same picture of the same cell
    starts = (rng.permutation(len(column)).astype(float) for _ in range(30))
    y = settle(min((settle(start, 40) for start in starts), key=cost), 200)
    return y if y[0] <= y[1] else -y  # mirrored where needed: y points down, c_{k-2} is on top


def _draw_cell(ax, pairs, concat, layout):
    x, y, half_width, chains = layout
    for chain, (operation, _) in zip(chains, [*pairs, *((None, i) for i in concat)]):
        style = OPERATION_STYLES[operation] if operation else _Style("#AAAAAA", "-", "", "")
        vertices, codes = [], []
        for k, part in enumerate(chain):
            left = (x[part] - half_width[part], y[part])
            right = (x[part] + half_width[part], y[part])
            if k > 0:
                middle = (vertices[-1][0] + left[0]) / 2
                vertices += [(middle, vertices[-1][1]), (middle, left[1]), left]
                codes += [Curve.CURVE4] * 3
            if k < len(chain) - 1:
                vertices.append(right)
                codes.append(Curve.LINETO if k > 0 else Curve.MOVETO)
        ax.add_patch(
            FancyArrowPatch(
                path=Curve(vertices, codes),
                arrowstyle="-|>",
                mutation_scale=11,
                linewidth=1.6,
                color=style.color,
                linestyle=style.linestyle,
                zorder=1,
            )
        )
        if operation:
            ax.text(
                x[chain[-2]],
                y[chain[-2]],
                operation,
                ha="center",
                va="center",
                fontsize=8.5,
                zorder=3,
                bbox={
                    "boxstyle": "round,pad=0.25",
                    "facecolor": "white",
                    "edgecolor": style.color,
                    "linewidth": 1.4,
                },
            )
    output = len(pairs) // 2 + 2
    for state in range(output + 1):
        name = "$c_k$" if state == output else _state_name(state)
        color = "#FFFFFF" if 2 <= state < output else "#DDDDDD"
        ax.add_patch(
            Circle(
                (x[state], y[state]), _NODE_RADIUS, facecolor=color, edgecolor="#000000", zorder=2
            )
        )
        ax.text(x[state], y[state], name, ha="center", va="center", fontsize=10, zorder=3)


def cell_figure(genotype):
    """Both cells of a genotype drawn as graphs, from the two inputs to the concatenated output.

    Nodes carry the numbers that the genotype counts its states by; grey edges are concatenated.
    Raises InputError for an invalid genotype.
    """
    genotype = validate_genotype(genotype)
    margin, title_height = 0.2, 0.4  # inches
    cells = [
        (title, getattr(genotype, cell), getattr(genotype, f"{cell}_concat"))
        for cell, title in _CELLS.items()
    ]
    layouts = [_lay_out(pairs, concat) for _, pairs, concat in cells]
    reach = _NODE_RADIUS + margin
    heights = [np.ptp(layout.y) + 2 * reach + title_height for layout in layouts]
    width = max(np.ptp(layout.x) for layout in layouts) + 2 * reach
    total = sum(heights)

    figure = Figure(figsize=(width, total))
    bottom = total
    for (title, pairs, concat), layout, height in zip(cells, layouts, heights):
        bottom -= height
        # One data unit is one inch.
        ax = figure.add_axes((0, bottom / total, 1, height / total))
        centre = (layout.x.min() + layout.x.max()) / 2
        ax.set_xlim(centre - width / 2, centre + width / 2)
        ax.set_ylim(layout.y.max() + reach, layout.y.min() - reach - title_height)
        ax.set_axis_off()
        ax.text(centre, layout.y.min() - reach, title, ha="center", va="center", fontsize=12)
        _draw_cell(ax, pairs, concat, layout)
    return figure


# All of them -----------------------------------------------------------------------------------


def draw_run(history, genotype, folder):
    """Write every figure that a run has the data for into `folder`; returns the PNGs' paths.

    history: the records of a search (phase "parent" or "child"), of a training (phase "train"),
    or both; genotype: what the search found, or None before it has. Files are replaced as a
    whole. Raises InputError for unusable data or a folder that cannot be written.
    """
    search = [record for record in history if record.get("phase") != "train"]
    training = [record for record in history if record.get("phase") == "train"]
    figures = {}
    if search:
        figures["alpha_normal"] = alpha_figure(search, "normal")
        figures["alpha_reduce"] = alpha_figure(search, "reduce")
        figures["operations"] = operation_count_figure(search)
        figures["accuracy"] = accuracy_figure(search)
        figures["tangent"] = tangent_figure(search)
    if training:
        figures["training"] = training_figure(training)
    if genotype is not None:
        figures["cells"] = cell_figure(genotype)

    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from None
    paths = []
    for name, figure in figures.items():
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=DPI)
        paths.append(folder / f"{name}.png")
        atomic_write(paths[-1], png.getvalue())
    return paths
