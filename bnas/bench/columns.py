"""Tables as text: columns of cells, in as many blocks beneath each other as the width needs."""

import math
import textwrap
from statistics import geometric_mean
from typing import NamedTuple

WIDTH = 110


class Column(NamedTuple):
    """A head, which may take several lines, a cell for each row, and a last line ("" for none)."""

    head: str
    cells: list
    foot: str


def section(table, columns):
    """Title, note and columns of a table of bnas.bench; every block begins with the first column."""
    first, *others = columns
    blocks = [[first]]
    for column in others:
        if sum(_width(c) + 2 for c in [*blocks[-1], column]) - 2 > WIDTH:
            blocks.append([first])
        blocks[-1].append(column)
    lines = [table["title"], "=" * len(table["title"])]
    if table["note"]:
        lines.append(textwrap.fill(table["note"], WIDTH))
    return "\n".join(lines + ["\n\n".join(_block(block) for block in blocks)])


def significant(value):
    """Three significant digits, but never less than the whole part."""
    decimals = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{min(max(decimals, 0), 4)}f}"


def times(ratios):
    """The geometric mean of some numbers, "" of none."""
    return f"{geometric_mean(ratios):.2f}x" if ratios else ""


def _width(column):
    return max(len(text) for text in [*column.cells, column.foot, *_head_lines(column)])


def _head_lines(column):
    """The head in lines as short as its longest word or the cells."""
    width = max(8, *(len(text) for text in [*column.cells, column.foot]))
    return textwrap.wrap(column.head, width, break_long_words=False)


def _block(columns):
    heads = [_head_lines(column) for column in columns]
    height = max(len(head) for head in heads)
    rows = [[""] * (height - len(head)) + head for head in heads]  # heads stand on the rule
    widths = [_width(column) for column in columns]
    body = [list(line) for line in zip(*rows)]
    body.append(["-" * width for width in widths])
    body += [list(cells) for cells in zip(*(column.cells for column in columns))]
    if any(column.foot for column in columns[1:]):
        body.append([column.foot for column in columns])
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in body
    )
