"""Panels and tiles: how every convolution brings its numbers together.

A panel (K, 32) holds the K numbers or words that each of 32 output pixels sees, and stays in the
first-level cache while all tiles of weights (K, 4), four output channels each, pass over it.
"""

import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.sites import PANEL
from bnas.kernels.vectors import load, load_even, store

__all__ = ["PANEL", "ROWS", "fill_panel", "gather", "tiled"]

ROWS = 4  # output channels in a tile


def tiled(weights):
    """Weights (..., Cout, K) in the order in which tiles read them: (..., Cout / 4, K, 4).

    The last two axes come as one, flat. Missing rows of the last tile are zeros, never stored.
    """
    *rest, channels, length = weights.shape
    full = weights
    if channels % ROWS:
        full = np.zeros((*rest, -(-channels // ROWS) * ROWS, length), weights.dtype)
        full[..., :channels, :] = weights
    full = full.reshape(*rest, -1, ROWS, length).swapaxes(-1, -2)
    return np.ascontiguousarray(full).reshape(*rest, -1)


@jit(allocates=False)
def fill_panel(planes, at, site, first, where, panel, target=0):
    """Lay out what 32 output pixels from `first` on see: panel (K 32,), number k of every pixel.

    planes (flat) from index `at` on: an image; where (K,): what to add to the base of a pixel for
    number k. The panel begins at panel[target]. Pixels that lie side by side, or with a stride of 2,
    move as one vector; where a row ends between them they move one by one.
    """
    lanes = 64 // panel.itemsize
    for p in range(0, PANEL, lanes):
        start, step = at + site.base[first + p], site.steps[lanes // 16, (first + p) // 8]
        if step == 1:
            for k in range(where.size):
                store(panel, target + k * PANEL + p, load(planes, start + where[k]))
        elif step == 2:
            for k in range(where.size):
                store(panel, target + k * PANEL + p, load_even(planes, start + where[k]))
        else:
            for i in range(p, p + lanes):
                start = at + site.base[first + i]
                for k in range(where.size):
                    panel[target + k * PANEL + i] = planes[start + where[k]]


@jit(forceinline=True)
def gather(planes, base, first, step, offset, spare):
    """One vector of what `fill_panel` lays out, for a number or word that is used once.

    step: what `Sites` says of the steps from pixel `first` on; spare (a vector's length) is scratch.
    """
    if step == 1:
        return load(planes, base[first] + offset)
    if step == 2:
        return load_even(planes, base[first] + offset)
    for i in range(64 // planes.itemsize):
        spare[i] = planes[base[first + i] + offset]
    return load(spare, 0)
