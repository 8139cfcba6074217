"""Panels and tiles: a convolution as a product of small matrices that stay in the first-level cache.

A convolution is the product of its weights with what each output pixel reads. That is copied for 32 output
pixels at a time into a panel (K, 32), K words or numbers for each pixel. Weights are cut into tiles (K, 4) of
four output channels. A panel stays in the first-level cache while one tile after another is multiplied by it.
"""

import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.sites import PANEL
from bnas.kernels.vectors import lane_count, load, load_even, store

__all__ = ["PANEL", "ROWS", "fill_panel", "tiled"]

ROWS = 4  # output channels in a tile


def tiled(weights):
    """Weights (..., Cout, K) in the order in which tiles are read: (..., Cout / 4 K 4).

    The last axis is (Cout / 4, K, 4), flat. Where 4 does not divide Cout, the last tile is filled up with
    zeros, whose results are not stored.
    """
    *rest, channels, length = weights.shape
    full = weights
    if channels % ROWS:
        full = np.zeros((*rest, -(-channels // ROWS) * ROWS, length), weights.dtype)
        full[..., :channels, :] = weights
    full = full.reshape(*rest, -1, ROWS, length).swapaxes(-1, -2)
    return np.ascontiguousarray(full).reshape(*rest, -1)


@jit(allocates=False)
def fill_panel(planes, at, base, steps, first, where, panel, target=0):
    """Copy what 32 output pixels from `first` on read into a panel (K 32,), flat, from panel[target] on.

    planes (flat): the image begins at index `at`. base, steps: see `sites.Sites`. where (K,): the offset of
    element k from the base of a pixel. Output pixels whose bases are 1 or 2 apart are copied as one vector,
    others (such as those before and after the end of a row) one by one.
    """
    lanes = lane_count(panel)
    for p in range(0, PANEL, lanes):
        start, step = at + base[first + p], steps[lanes // 16, (first + p) // 8]
        if step == 1:
            for k in range(where.size):
                store(panel, target + k * PANEL + p, load(planes, start + where[k]))
        elif step == 2:
            for k in range(where.size):
                store(panel, target + k * PANEL + p, load_even(planes, start + where[k]))
        else:
            for i in range(p, p + lanes):
                start = at + base[first + i]
                for k in range(where.size):
                    panel[target + k * PANEL + i] = planes[start + where[k]]
