"""The cells of a genotype, drawn as graphs."""

from typing import NamedTuple

import numpy as np
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.path import Path as Curve

from bnas.config import PRIMITIVES
from bnas.plots.epochs import text_width
from bnas.plots.figure import Figure
from bnas.plots.layers import heights
from bnas.plots.styles import operation_styles
from bnas.space import validate_genotype
from bnas.space.operations import distinct_names

CELLS = {"normal": "Normal cell", "reduce": "Reduction cell"}  # in the order of alpha's axis 0
_NODE_RADIUS, _LABEL_WIDTH, _GUTTER = 0.24, 1.1, 0.42  # inches; a longer label is wider
_NODE_HEIGHT, _LABEL_HEIGHT, _LANE_HEIGHT = 0.72, 0.36, 0.2  # inches, gaps included
_LABEL_SIZE = 8.5  # points
_CONCATENATED = "#AAAAAA"


def state_name(state):
    return {0: "$c_{k-2}$", 1: "$c_{k-1}$"}.get(state, str(state))


class _Layout(NamedTuple):
    """Where a cell's parts go, in inches; the parts are its states, its output, and way points."""

    x: np.ndarray  # centre of each part
    y: np.ndarray
    half_width: np.ndarray  # of the column that the part stands in
    chains: list  # per edge: parts from source to target, the last but one carrying the label


def _lay_out(pairs, concat, label_width):
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
    half_width = np.where(column % 2 == 0, _NODE_RADIUS, label_width / 2)
    half_width[column == column.max() - 1] = 0.0  # the edges to the output have no labels
    x = np.zeros(len(column))
    right = 0.0
    for c in range(column.max() + 1):
        half = half_width[column == c][0]
        x[column == c] = right + half
        right += 2 * half + _GUTTER
    y = heights(column, height, chains)
    if y[0] > y[1]:
        y = -y  # y points down, c_{k-2} is on top
    return _Layout(x, y, half_width, chains)


def _draw_cell(ax, pairs, concat, layout, styles):
    x, y, half_width, chains = layout
    for chain, (operation, _) in zip(chains, [*pairs, *((None, i) for i in concat)]):
        color, linestyle = _CONCATENATED, "-"
        if operation:
            color, linestyle = styles[operation].color, styles[operation].linestyle
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
                color=color,
                linestyle=linestyle,
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
                fontsize=_LABEL_SIZE,
                zorder=3,
                bbox={
                    "boxstyle": "round,pad=0.25",
                    "facecolor": "white",
                    "edgecolor": color,
                    "linewidth": 1.4,
                },
            )
    output = len(pairs) // 2 + 2
    for state in range(output + 1):
        name = "$c_k$" if state == output else state_name(state)
        color = "#FFFFFF" if 2 <= state < output else "#DDDDDD"
        ax.add_patch(
            Circle(
                (x[state], y[state]), _NODE_RADIUS, facecolor=color, edgecolor="#000000", zorder=2
            )
        )
        ax.text(x[state], y[state], name, ha="center", va="center", fontsize=10, zorder=3)


def cell_figure(genotype, operations=PRIMITIVES):
    """Both cells of a genotype drawn as graphs, from the two inputs to the concatenated output.

    Nodes carry the numbers that the genotype counts its states by; grey edges are concatenated.
    operations: the names of the search space, which tell how those of one's own look in the other
    figures of the run. Raises InputError for an invalid genotype.
    """
    operations = distinct_names(operations)
    genotype = validate_genotype(genotype, operations)
    chosen = (operation for operation, _ in (*genotype.normal, *genotype.reduce))
    styles = operation_styles(tuple(dict.fromkeys((*operations, *chosen))))
    margin, title_height = 0.2, 0.4  # inches
    cells = [
        (title, getattr(genotype, cell), getattr(genotype, f"{cell}_concat"))
        for cell, title in CELLS.items()
    ]
    label_width = max(
        _LABEL_WIDTH,
        *(text_width(op, _LABEL_SIZE) + 0.15 for _, pairs, _ in cells for op, _ in pairs),
    )
    layouts = [_lay_out(pairs, concat, label_width) for _, pairs, concat in cells]
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
        _draw_cell(ax, pairs, concat, layout, styles)
    return figure
