"""The computation graph of a Tensor, drawn: what its backward walks through."""

from typing import NamedTuple

import numpy as np
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path as Curve

from bnas.autodiff import Context, Tensor, sources
from bnas.errors import InputError
from bnas.plots.epochs import text_width
from bnas.plots.figure import Figure
from bnas.plots.layers import heights

_LARGEST = 60  # operations
_NODE_HEIGHT, _PASSING_HEIGHT = 0.66, 0.3  # inches, gaps included
_GUTTER, _MARGIN, _PORT = 0.34, 0.15, 0.16  # inches; the last between the arrows into one operation
_SIZE = 9  # points
_OPERATION, _LEAF, _OUTPUT = (
    "#FFFFFF",
    "#BBDDF3",
    "#F9E3A8",
)  # tints of the palette of Okabe and Ito


class _Part(NamedTuple):
    """A node of the graph, or the place where an arrow passes a column."""

    text: str
    color: str
    column: int


def graph_figure(output, names=None):
    """The operations that made a Tensor, from left to right, with the shapes of what they return.

    Blue boxes are the leaves that a gradient is computed for, the yellow one is `output`; constants are left out,
    as the backward does not go there. The arrows point the way of the forward; the backward goes against them.

    Args:
        output: a Tensor that was computed from some that require a gradient.
        names: {name: leaf Tensor}; other leaves have no name.

    Raises:
        InputError: nothing was recorded for `output`, its graph was freed by a backward, or has more than 60
            operations.
    """
    if not isinstance(output, Tensor) or output.node is None:
        raise InputError(
            "graph_figure: nothing was recorded for this output; give a Tensor that was computed, outside "
            "no_grad(), from one with requires_grad=True"
        )
    found = sources(output.node)
    nodes = sorted((s for s in found if isinstance(s, Context)), key=lambda node: node.order)
    if any(not node.inputs for node in nodes):
        raise InputError(
            "graph_figure: the graph was freed by a backward; draw it before, or pass retain_graph=True to that"
        )
    if len(nodes) > _LARGEST:
        raise InputError(
            f"graph_figure: {len(nodes)} operations, more than the {_LARGEST} that a figure can show; draw a part"
        )
    called = {leaf: name for name, leaf in (names or {}).items()}
    return _draw(*_parts(nodes, called, output.shape))


def _parts(nodes, called, shape):
    """(parts, chains of their positions, from one box to another)."""
    column, shapes = {}, {nodes[-1]: shape}
    for node in nodes:  # every one after its inputs
        inputs = [source for source in node.inputs if source is not None]
        column[node] = 1 + max((column.get(source, 0) for source in inputs), default=0)
        shapes.update(zip(node.inputs, node.shapes))
    for node in reversed(nodes):
        for leaf in node.inputs:
            if isinstance(leaf, Tensor):  # next to the first operation that needs it
                column[leaf] = min(column.get(leaf, column[node]), column[node] - 1)
    parts, place = [], {}
    for source in column:
        name, color = called.get(source, "leaf"), _LEAF
        if isinstance(source, Context):
            name, color = source.function.__name__, _OUTPUT if source is nodes[-1] else _OPERATION
        place[source] = len(parts)
        parts.append(_Part(f"{name}\n{shapes[source]}", color, column[source]))
    chains = []
    for node in nodes:
        for source in node.inputs:
            if source is not None:
                between = range(column[source] + 1, column[node])
                way = range(len(parts), len(parts) + len(between))
                chains.append([place[source], *way, place[node]])
                parts += [_Part("", "", at) for at in between]
    return parts, chains


def _draw(parts, chains):
    column = np.array([part.column for part in parts])
    row = np.array([_NODE_HEIGHT if part.text else _PASSING_HEIGHT for part in parts])
    y = heights(column, row, chains)
    half = np.array([_half_width(part.text) for part in parts])
    widest = np.array([half[column == at].max() for at in range(column.max() + 1)])
    x = (_MARGIN - widest + np.cumsum(2 * widest + _GUTTER) - _GUTTER)[column]
    width, top = (x + half).max() + _MARGIN, y.min() - _NODE_HEIGHT / 2
    height = y.max() + _NODE_HEIGHT / 2 - top

    figure = Figure(figsize=(width, height))
    ax = figure.add_axes((0, 0, 1, 1))  # one data unit is one inch, y points down
    ax.set_xlim(0, width)
    ax.set_ylim(top + height, top)
    ax.set_axis_off()
    for chain, port in zip(chains, _ports(chains, y)):
        on_way = [*y[chain[:-1]], y[chain[-1]] + port]
        _arrow(ax, x[chain], on_way, half[[chain[0], chain[-1]]], widest[column[chain]])
    for part, across, down in zip(parts, x, y):
        if part.text:
            box = {"boxstyle": "round,pad=0.4", "facecolor": part.color, "edgecolor": "#000000"}
            text = {"ha": "center", "va": "center", "fontsize": _SIZE, "bbox": box, "zorder": 2}
            ax.text(across, down, part.text, **text)
    return figure


def _half_width(text):
    """Of the box around lines of text, in inches; 0 for none."""
    lines = [text_width(line, _SIZE) for line in text.splitlines()]
    return max(lines) / 2 + 0.06 if lines else 0.0


def _ports(chains, y):
    """How far from the centre of its target each chain ends: those that arrive from above end above."""
    ports = np.zeros(len(chains))
    for target in {chain[-1] for chain in chains}:
        arriving = [k for k, chain in enumerate(chains) if chain[-1] == target]
        arriving.sort(key=lambda k: y[chains[k][-2]])
        for turn, k in enumerate(arriving):
            ports[k] = _PORT * (turn - (len(arriving) - 1) / 2)
    return ports


def _arrow(ax, x, y, reach, widest):
    """One arrow through its way points; it bends between the columns alone, past whose boxes it goes straight.

    reach: half the widths of the boxes at its ends; widest: of the columns.
    """
    points, codes = [(x[0] + reach[0], y[0])], [Curve.MOVETO]
    for k in range(1, len(x)):
        start, end = x[k - 1] + widest[k - 1], x[k] - widest[k]
        middle = (start + end) / 2
        points += [(start, y[k - 1]), (middle, y[k - 1]), (middle, y[k]), (end, y[k])]
        codes += [Curve.LINETO] + 3 * [Curve.CURVE4]
    if reach[1] < widest[-1]:  # else the arrow would have no direction at its end
        points.append((x[-1] - reach[1], y[-1]))
        codes.append(Curve.LINETO)
    style = {"arrowstyle": "-|>", "mutation_scale": 10, "color": "#555555", "zorder": 1}
    ax.add_patch(FancyArrowPatch(path=Curve(points, codes), **style))
