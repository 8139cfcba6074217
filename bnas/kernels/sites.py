"""Tables that tell a convolution which words or numbers each output pixel reads, for any window.

A plane holds one word or number for each pixel of an image, row by row, with a margin of zeros around it. In
a flat plane tap t of output pixel p reads index base[p] + taps[t], whatever kernel size, stride, padding and
dilation are.

In a 1-bit convolution a bit of 0 stands for -1, so a tap in the margin would count as -1 where padding should
add nothing, and the sum has to be corrected. The correction depends only on which taps lie outside the image.
Output pixels with the same taps outside form a border class (a 3×3 window with padding 1 has 9), and each
class has one correction.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bnas.kernels.windows import Window, fitted

PANEL = 32  # output pixels that are computed together: four vectors of 8 words


class Sites(NamedTuple):
    """Tables of one sliding window over one size of image.

    Attributes:
        pixels: number of output pixels, row by row; tables over pixels are filled up to whole panels.
        plane: elements of one plane, margin included.
        interior: int64 (H W,), the index in the plane of each pixel of the image.
        base: int64 (pixels,), the index that tap 0 of each output pixel reads.
        steps: int64 (2, pixels / 8), the distance between the bases of neighbouring output pixels, so that
            they can be read as one vector: 1, 2, or 0 where it varies or is larger. Row 0 is for vectors of
            8 elements, row 1 for those of 16 (row lanes // 16).
        taps: int64 (T,), the offset of each tap from the base.
        border: int32 (pixels,), the border class of each output pixel.
        classes: int64 (panels, 2), the lowest class in each panel and one past the highest.
        outside: bool (number of classes, T), the taps outside the image.
    """

    pixels: int
    plane: int
    interior: np.ndarray
    base: np.ndarray
    steps: np.ndarray
    taps: np.ndarray
    border: np.ndarray
    classes: np.ndarray
    outside: np.ndarray


def _fill_up(table):
    """A flat table, filled up to whole panels with its first entry."""
    table = table.ravel()
    return np.concatenate([table, np.repeat(table[:1], -table.size % PANEL)])


def _steps(base):
    """`Sites.steps` of a table of bases: where 8 or 16 of them in a row have a distance of 1 or 2."""
    steps = np.zeros((2, base.size // 8), np.int64)
    for row, lanes in enumerate((8, 16)):
        if base.size:
            groups = base.reshape(-1, lanes)
            for step in (1, 2):
                even = (np.diff(groups, axis=1) == step).all(axis=1)
                steps[row, :: lanes // 8][even] = step
    return steps


def _axis_classes(inside):
    """(class of each output, taps inside for each class) along one axis; inside (outputs, taps)."""
    patterns, first, classes = np.unique(inside, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # in the order of appearance: neighbours get near numbers
    rank = np.argsort(order)
    return rank[classes.reshape(-1)], patterns[order]


@lru_cache(maxsize=256)
def sites(size, window, margin=None):
    """The Sites of a Window over images of `size` (H, W).

    margin: (height, width) of the planes' margin, at least the padding (by default just that).
    """
    window = window.bounded(size)
    (h, w), (mh, mw) = size, margin or window.padding
    stored_w = w + 2 * mw

    def place(row, col):
        return ((row[:, None] + mh) * stored_w + col + mw).astype(np.int64)

    first_rows, first_cols = (seen[:, 0] for seen in window.seen(size))
    tap_rows, tap_cols = (np.arange(k) * d for k, d in zip(window.kernel, window.dilation))
    taps = (tap_rows[:, None] * stored_w + tap_cols).astype(np.int64)
    (row_class, rows), (col_class, cols) = map(_axis_classes, window.taps_inside(size))
    base = _fill_up(place(first_rows, first_cols))
    border = _fill_up((row_class[:, None] * len(cols) + col_class).astype(np.int32))
    inside = rows[:, None, :, None] & cols[None, :, None, :]
    panels = border.reshape(border.size // PANEL, PANEL)
    return Sites(
        first_rows.size * first_cols.size,
        (h + 2 * mh) * stored_w,
        place(np.arange(h), np.arange(w)).ravel(),
        base,
        _steps(base),
        taps.ravel(),
        border,
        np.stack([panels.min(1, initial=2**30), panels.max(1, initial=-1) + 1], 1).astype(np.int64),
        ~inside.reshape(len(rows) * len(cols), taps.size),
    )


def require_convolution(operation, x, w_shape, stride, padding, dilation, groups):
    """(Window, (height, width) of the output) of a convolution; ValueError unless its arguments fit."""
    if x.ndim != 4 or len(w_shape) != 4 or groups < 1 or 0 in w_shape:
        raise ValueError(
            f"{operation}: expected x (N, Cin, H, W) and w (Cout, Cin / groups, Kh, Kw), "
            f"got {x.shape} and {w_shape}, {groups} groups"
        )
    if w_shape[1] * groups != x.shape[1] or w_shape[0] % groups:
        raise ValueError(
            f"{operation}: x {x.shape} has no {groups} groups of {w_shape[1]} channels for w {w_shape}"
        )
    if min(*stride, *dilation) < 1 or min(padding) < 0:
        raise ValueError(
            f"{operation}: stride and dilation must be at least 1 and padding at least 0, got "
            f"{stride}, {dilation}, {padding}"
        )
    window = Window(w_shape[2:], stride, padding, dilation)
    window = fitted(window, x.shape, operation, x.dtype.itemsize)
    return window, window.out_size(x.shape[2:])
