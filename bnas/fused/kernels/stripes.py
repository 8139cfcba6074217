"""Loop tiling: a unit is computed for a stripe of rows of all its channels, and then for the next.

A plane in lanes is larger than the first-level cache, and all planes of a unit together are larger than the
second. So each step of a unit is done for a few rows before the next step reads them again. What a window
reads of the rows above a stripe is kept: scratch planes hold so many rows only, and rows that are needed
again move to their top.
"""

from typing import NamedTuple

import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.vectors import lane_count, load, store

PIXELS = 128  # of one plane that are computed together: with 8 to 16 channels 64 to 128 KiB
STRIPE = np.dtype([(name, np.int64) for name in ("top", "end", "since", "until", "low", "done")])


class Stripes(NamedTuple):
    """Which rows are there at each of S stripes, from the top of an image to its bottom.

    Attributes:
        each: (S,), of the type STRIPE:
            top, end: the rows of outputs that are computed.
            since, until: the rows of the input that these read, from the first that is read here or later.
            low: backward: the first row of the output's gradients that is read here or later.
            done: backward: before which row of the input all gradients are known afterwards.
        output_rows, input_rows, gradient_rows: how many rows of each are in memory at most.
    """

    each: np.ndarray
    output_rows: int
    input_rows: int
    gradient_rows: int


def stripes(size, out_size, reading, returning):
    """The Stripes of a window over images of `size`, whose outputs are of out_size; the TapTables of both ways."""
    (height, _), (out_height, out_width) = size, out_size
    together = max(1, min(out_height, PIXELS // max(1, out_width)))
    since, until = _reach(reading, out_height)
    first_gradient, known = _reach(returning, height)
    table, done = [], 0
    for top in range(0, out_height, together):
        end = min(top + together, out_height)
        low = min([top, *first_gradient[done : done + 1]])
        while done < height and known[done] <= end:
            done += 1
        table.append((top, end, since[top], until[end - 1], low, done))
    each = np.array(table, STRIPE)
    spans = (("top", "end"), ("since", "until"), ("low", "end"))
    heights = (int((each[end] - each[start]).max(initial=0)) for start, end in spans)
    return Stripes(each, *heights)


def _reach(table, rows):
    """Of each row: the first row that it and those below read, and the end of what it and those above do."""
    entries = len(table.first) // max(1, rows)
    since, until = np.full(rows, table.height), np.zeros(rows, np.int64)
    for row in range(rows):
        taps = slice(table.starts[row * entries], table.starts[(row + 1) * entries])
        read = table.at[taps] // table.pitch
        if read.size:
            since[row], until[row] = read.min(), read.max() + 1
    return np.minimum.accumulate(since[::-1])[::-1], np.maximum.accumulate(until)


@jit(allocates=False)
def move_up(planes, plane, pitch, above, since, until):
    """Move the rows from `since` to `until`, of rows that begin with `above`, to the top of each plane.

    plane: from one to the next, in elements; pitch: pixels of a row.
    """
    lanes = lane_count(planes)
    distance, size = (since - above) * pitch * lanes, (until - since) * pitch * lanes
    if distance > 0:
        for start in range(0, planes.size, plane):
            for i in range(start, start + size, lanes):
                store(planes, i, load(planes, i + distance))


@jit(allocates=False)
def clear(array):
    for i in range(array.size):
        array[i] = 0
