"""Where the windows of a depthwise convolution look, row by row: tables for images in lanes.

A *run* is a row of outputs that read the same taps. Their pixels lie in planes with a margin of zero
columns left and right; rows above and below need none, as a tap that lies outside for a whole row is not
in the run's list. The gradient for the input is such a table too: it reads dy, and a stride s makes it s
runs for each row, one for each column modulo s, with the taps that reach there.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np


class Runs(NamedTuple):
    """One table; positions are in pixels.

    Attributes:
        first, count: int64 (R,), the first output of each run, and how many it has.
        starts: int64 (R + 1,), where the taps of each run begin in `at` and `tap`.
        at: int64 (T,), what the first output of a run reads.
        tap: int64 (T,), the number of the tap, row K + column.
        read_step, write_step: from one output of a run to the next.
        height, width, left, pitch: of the planes that are read: rows, columns, zero columns to the
            left, columns in all.
        plane: pixels of a plane, with the margins, an odd number: planes of a power of two would all
            lie in the same few lines of a cache.
        outputs: pixels of an output plane.
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
    plane: int
    outputs: int


def _table(rows, columns, kernel_width, size, out_width, read_step, write_step):
    """Runs from their parts.

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
    return Runs(
        *arrays, read_step, write_step, height, width, left, pitch, height * pitch | 1, outputs
    )


@lru_cache(maxsize=256)
def reading_runs(size, out_size, kernel, stride, padding, dilation):
    """Forward: what each output of `out_size` reads of an image of `size`.

    All are (height, width), but stride and dilation, which are one number for both. A padding of -1 begins
    at the second pixel.
    """
    (h, w), (out_h, out_w), s, d = size, out_size, stride, dilation
    rows = [
        [(i, r) for i in range(kernel[0]) if 0 <= (r := y * s - padding[0] + i * d) < h]
        for y in range(out_h)
    ]
    columns = [(j, j * d - padding[1]) for j in range(kernel[1])]
    columns = [(j, c) for j, c in columns if any(0 <= c + x * s < w for x in range(out_w))]
    return _table(rows, [(0, out_w, columns)], kernel[1], size, out_w, s, 1)


@lru_cache(maxsize=256)
def returning_runs(size, out_size, kernel, stride, padding, dilation):
    """Backward: which outputs read each pixel of an image of `size`; arguments as in `reading_runs`."""
    (h, w), (out_h, out_w), s, d = size, out_size, stride, dilation

    def readers(pixel, taps, pad):
        """(tap, output) for the outputs that read this pixel, inside the image or not."""
        shifted = ((t, pixel + pad - t * d) for t in range(taps))
        return [(t, at // s) for t, at in shifted if at % s == 0]

    rows = [
        [(i, y) for i, y in readers(r, kernel[0], padding[0]) if 0 <= y < out_h] for r in range(h)
    ]
    columns = []
    for phase in range(min(s, w)):
        count = -(-(w - phase) // s)
        taps = readers(phase, kernel[1], padding[1])
        taps = [(j, x) for j, x in taps if x < out_w and x + count > 0]
        columns.append((phase, count, taps))
    return _table(rows, columns, kernel[1], out_size, w, 1, s)
