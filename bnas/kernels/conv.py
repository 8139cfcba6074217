"""Convolution of real numbers, laid out like the 1-bit one: panels of pixels against tiles of weights.

For a few channels and small images this is as quick as BLAS, without its copies, and every output is
summed in the same order whatever the batch, the image or the number of threads: results agree to the bit.
"""

import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.panels import PANEL, ROWS, fill_panel, tiled
from bnas.kernels.planes import ready
from bnas.kernels.sites import require_convolution, sites
from bnas.kernels.threads import run_tasks
from bnas.kernels.vectors import (
    broadcast,
    clamp,
    lane_count,
    load,
    multiply_add,
    store,
    store_first,
)


@jit(forceinline=True)
def multiply_tile(panel, at, length, floor, weights, tile, sums):
    """32 pixels times 4 rows of weights: sums (4 32,) over `length` inputs, none below `floor`.

    panel (K 32,) from index `at` on, weights (K 4,) from index `tile` on. A floor of 0 is a ReLU.
    """
    lanes = lane_count(panel)
    zero = broadcast(panel.dtype.type(0))
    for p in range(0, PANEL, 2 * lanes):
        a0, a1, a2, a3, b0, b1, b2, b3 = zero, zero, zero, zero, zero, zero, zero, zero
        for k in range(length):
            from_here, w = at + PANEL * k + p, tile + ROWS * k
            x = clamp(load(panel, from_here), floor)
            y = clamp(load(panel, from_here + lanes), floor)
            w0, w1 = broadcast(weights[w]), broadcast(weights[w + 1])
            w2, w3 = broadcast(weights[w + 2]), broadcast(weights[w + 3])
            a0, b0 = multiply_add(x, w0, a0), multiply_add(y, w0, b0)
            a1, b1 = multiply_add(x, w1, a1), multiply_add(y, w1, b1)
            a2, b2 = multiply_add(x, w2, a2), multiply_add(y, w2, b2)
            a3, b3 = multiply_add(x, w3, a3), multiply_add(y, w3, b3)
        store(sums, p, a0)
        store(sums, p + lanes, b0)
        store(sums, PANEL + p, a1)
        store(sums, PANEL + p + lanes, b1)
        store(sums, 2 * PANEL + p, a2)
        store(sums, 2 * PANEL + p + lanes, b2)
        store(sums, 3 * PANEL + p, a3)
        store(sums, 3 * PANEL + p + lanes, b3)


@jit(allocates=False)
def _conv_image(x, at, pixels, base, steps, where, tiles, shift, panel, sums, y, target):
    """One image of one group: y[target...] = the sums + shift, channel after channel."""
    channels, length, lanes = shift.size, where.size, lane_count(x)
    floor = x.dtype.type(-np.inf)
    for first in range(0, pixels, PANEL):
        fill_panel(x, at, base, steps, first, where, panel)
        for o in range(0, channels, ROWS):
            multiply_tile(panel, 0, length, floor, tiles, o * length, sums)
            for row in range(min(ROWS, channels - o)):
                offset = broadcast(shift[o + row])
                for p in range(0, min(PANEL, pixels - first), lanes):
                    value = load(sums, row * PANEL + p) + offset
                    there, left = target + (o + row) * pixels + first + p, pixels - first - p
                    if left < lanes:
                        store_first(y, there, value, left)
                    else:
                        store(y, there, value)


@jit
def _conv(x, stored, pixels, base, steps, where, tiles, shift, y, first, end):
    """Images of x (N groups, stored) -> y (N groups, Cout / groups, pixels), both flat, one a task."""
    groups, channels = shift.shape
    pitch = channels * pixels
    panel = np.empty(where.size * PANEL, x.dtype)
    sums = np.empty(ROWS * PANEL, x.dtype)
    for task in range(first, end):
        at, group, target = task * stored, task % groups, task * pitch
        weights, offsets = tiles[group], shift[group]
        _conv_image(x, at, pixels, base, steps, where, weights, offsets, panel, sums, y, target)


def conv2d(x, w, bias, stride, padding, dilation, groups):
    """Convolution with zero padding: x (N, Cin, H, W), w (Cout, Cin / groups, Kh, Kw) -> (N, Cout, Ho, Wo).

    bias (Cout,) or None. float32 or float64, all of one dtype.

    Raises:
        ValueError: as `xnor_conv2d` does.
    """
    window, size = require_convolution("conv2d", x, w.shape, stride, padding, dilation, groups)
    (n, c, h, width), (c_out, per_group) = x.shape, w.shape[:2]
    site = sites((h, width), window)
    planes = ready(x)
    if any(padding):
        (top, left) = padding
        planes = np.zeros((n, c, h + 2 * top, width + 2 * left), x.dtype)
        planes[:, :, top : top + h, left : left + width] = x
    where = (np.arange(per_group)[:, None] * site.plane + site.taps).reshape(-1)
    tiles = tiled(w.reshape(groups, c_out // groups, -1))
    y = np.empty((n, c_out, *size), x.dtype)
    shift = np.zeros(c_out, x.dtype) if bias is None else ready(bias)
    if y.size:
        run_tasks(
            _conv,
            y.size * where.size,
            n * groups,
            planes.reshape(-1),
            per_group * site.plane,
            site.pixels,
            site.base,
            site.steps,
            where,
            tiles,
            shift.reshape(groups, -1),
            y.reshape(-1),
        )
    return y
