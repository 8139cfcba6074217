"""Which taps every output of a depthwise convolution reads, row by row: tables for images in lanes.

The pixels that are read lie in planes with a margin of zero columns left and right; rows above and below need
none, as a tap that lies outside for a whole row is not in the row's list. The gradient for the input is such a
table too: it reads dy, and a stride s splits each row into s entries, one for each column modulo s, with the
taps that reach there.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

DILATIONS = 1, 2  # for which sums in registers are compiled


class TapTable(NamedTuple):
    """Rows of outputs that read the same taps; positions are in pixels.

    Attributes:
        first, count: int64 (R,), the first output of each row, and how many it has.
        starts: int64 (R + 1,), where the taps of each row begin in `at` and `tap`.
        at: int64 (T,), what the first output of a row reads.
        tap: int64 (T,), the number of the tap, row K + column.
        read_step, write_step: from one output of a row to the next.
        height, width, left, pitch: of the planes that are read: rows, columns, zero columns to the
            left, columns in all.
        outputs: pixels of an output plane.
        columns, dilation: of tables without a stride whose outputs see a row of the kernel whole: its taps, 3
            or 5, and the pixels from what one reads to what the next does, up to 2 (negative if backwards).
            Of others 0, 0.
    """

    first: np.ndarray
    count: np.ndarray
    starts: np.ndarray
    at: np.ndarray
    tap: np.ndarray
    read_step: int
    write_step: int
    height: int
    width: int
    left: int
    pitch: int
    outputs: int
    columns: int
    dilation: int


def _table(rows, columns, kernel_width, size, out_width, read_step, write_step):
    """A TapTable from its parts.

    rows: for every output row, pairs (tap row, row read). columns: for every phase of the output
    columns (first column, how many, pairs (tap column, column read by the first)).
    size: (height, width) of the planes that are read.
    """
    height, width = size
    seen = [0, width - 1]
    for _, count, pairs in columns:
        for _, column in pairs:
            seen += [column, column + (count - 1) * read_step]
    left = -min(seen)
    pitch = left + max(seen) + 1
    first, counts, starts, at, tap = [], [], [0], [], []
    for y, row_pairs in enumerate(rows):
        for x, count, column_pairs in columns:
            first.append(y * out_width + x)
            counts.append(count)
            for i, row in row_pairs:
                for j, column in column_pairs:
                    at.append(row * pitch + left + column)
                    tap.append(i * kernel_width + j)
            starts.append(len(at))
    arrays = (np.array(values, np.int64) for values in (first, counts, starts, at, tap))
    outputs = len(rows) * out_width
    sizes = read_step, write_step, height, width, left, pitch, outputs
    return TapTable(*arrays, *sizes, *_neighbours(columns, kernel_width, read_step, write_step))


def _neighbours(columns, kernel_width, read_step, write_step):
    """(columns, dilation) of a TapTable; arguments as of `_table`."""
    taps = columns[0][2] if columns else []
    if kernel_width not in (3, 5) or len(taps) < kernel_width or not read_step == write_step == 1:
        return 0, 0
    dilation = taps[1][1] - taps[0][1]
    return (kernel_width, dilation) if abs(dilation) in DILATIONS else (0, 0)


@lru_cache(maxsize=256)
def reading_table(size, window):
    """Forward: what each output of a `window` (a Window) reads of an image of `size` (H, W)."""
    (h, w), out_w = size, window.out_size(size)[1]
    rows, columns = (at.tolist() for at in window.seen(size))
    rows = [[(i, r) for i, r in enumerate(row) if 0 <= r < h] for row in rows]
    reached = [any(0 <= row[j] < w for row in columns) for j in range(window.kernel[1])]
    taps = [(j, column) for j, column in enumerate(columns[0]) if reached[j]]
    return _table(rows, [(0, out_w, taps)], window.kernel[1], size, out_w, window.stride[1], 1)


@lru_cache(maxsize=256)
def returning_table(size, window):
    """Backward: which outputs read each pixel of an image of `size`; arguments as in `reading_table`."""
    (h, w), (out_h, out_w) = size, window.out_size(size)

    def readers(pixel, axis):
        """(tap, output) for the outputs that read this pixel, inside the image or not."""
        kernel, stride, padding, dilation = (part[axis] for part in window[:4])
        shifted = ((t, pixel + padding - t * dilation) for t in range(kernel))
        return [(t, at // stride - window.skip) for t, at in shifted if at % stride == 0]

    rows = [[(i, y) for i, y in readers(r, 0) if 0 <= y < out_h] for r in range(h)]
    stride, columns = window.stride[1], []
    for phase in range(min(stride, w)):
        count = -(-(w - phase) // stride)
        taps = [(j, x) for j, x in readers(phase, 1) if x < out_w and x + count > 0]
        columns.append((phase, count, taps))
    return _table(rows, columns, window.kernel[1], (out_h, out_w), w, 1, stride)
