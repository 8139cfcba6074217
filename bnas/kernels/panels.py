"""Panels and tiles: how every convolution brings its numbers together.

A panel (K, 32) holds the K numbers or words that each of 32 output pixels sees, and stays in the
first-level cache while all tiles of weights (K, 4), four output channels each, pass over it.
"""

import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.sites import PANEL
from bnas.kernels.vectors import clamp, load, store

__all__ = ["PANEL", "ROWS", "fill_panel", "tiled"]

ROWS = 4  # output channels in a tile


def tiled(weights):
    """Weights (..., Cout, K) in the order in which tiles read them: (..., Cout / 4, K, 4).

    The last two axes come as one, flat. Missing rows of the last tile are zeros, never stored.
    """
    *rest, channels, length = weights.shape
    full = np.zeros((*rest, -(-channels // ROWS) * ROWS, length), weights.dtype)
    full[..., :channels, :] = weights
    full = full.reshape(*rest, -1, ROWS, length).swapaxes(-1, -2)
    return np.ascontiguousarray(full).reshape(*rest, -1)


@jit
def fill_panel(planes, at, base, first, where, floor, panel):
    """Lay out what 32 output pixels from `first` on see: panel (K 32,), number k of every pixel.

    planes (flat) from index `at` on: an image; base as in `Sites`; where (K,): what to add to a base
    for number k. Anything below `floor` becomes the floor: 0 makes a ReLU. Pixels that lie side by side
    move as one vector; at the end of a row they do not.
    """
    lanes = 64 // panel.itemsize
    for p in range(0, PANEL, lanes):
        start = at + base[first + p]
        if base[first + p + lanes - 1] - base[first + p] == lanes - 1:
            for k in range(where.size):
                store(panel, k * PANEL + p, clamp(load(planes, start + where[k]), floor))
        else:
            for i in range(p, p + lanes):
                start = at + base[first + i]
                for k in range(where.size):
                    number = planes[start + where[k]]
                    panel[k * PANEL + i] = floor if number < floor else number
