"""Convolution of real numbers, laid out like the 1-bit one: panels of pixels against tiles of weights.

For a few channels and small images this is as quick as BLAS, without its copies, and every output is
summed in the same order whatever the batch, the image or the number of threads: results agree to the bit.
"""

import numpy as np
from numba import get_num_threads, prange

from bnas.kernels.jit import jit
from bnas.kernels.panels import PANEL, ROWS, fill_panel, tiled
from bnas.kernels.planes import ready
from bnas.kernels.sites import sites
from bnas.kernels.threads import share
from bnas.kernels.vectors import broadcast, load, multiply_add, store, store_first


@jit(forceinline=True)
def multiply_tile(panel, at, length, weights, tile, sums, p):
    """Two vectors of pixels times 4 rows of weights: sums[row 32 + p ...] over `length` inputs.

    panel (K 32,) read from index `at` on, weights (K 4,) from index `tile` on.
    """
    lanes = 64 // panel.itemsize
    zero = broadcast(panel.dtype.type(0))
    a0, a1, a2, a3, b0, b1, b2, b3 = zero, zero, zero, zero, zero, zero, zero, zero
    for k in range(length):
        x, y = load(panel, at + PANEL * k + p), load(panel, at + PANEL * k + p + lanes)
        w = broadcast(weights[tile])
        a0, b0 = multiply_add(x, w, a0), multiply_add(y, w, b0)
        w = broadcast(weights[tile + 1])
        a1, b1 = multiply_add(x, w, a1), multiply_add(y, w, b1)
        w = broadcast(weights[tile + 2])
        a2, b2 = multiply_add(x, w, a2), multiply_add(y, w, b2)
        w = broadcast(weights[tile + 3])
        a3, b3 = multiply_add(x, w, a3), multiply_add(y, w, b3)
        tile += ROWS
    store(sums, p, a0)
    store(sums, p + lanes, b0)
    store(sums, PANEL + p, a1)
    store(sums, PANEL + p + lanes, b1)
    store(sums, 2 * PANEL + p, a2)
    store(sums, 2 * PANEL + p + lanes, b2)
    store(sums, 3 * PANEL + p, a3)
    store(sums, 3 * PANEL + p + lanes, b3)


@jit
def conv_panels(
    x, x_at, stored, site, where, floor, tiles, scale, shift, y, y_at, pitch, first, end
):
    """Panels from number `first` to before `end`, counted through all images.

    Image i starts at x[x_at + i stored] and its results go to y[y_at + i pitch], a channel after the
    other; x and y are flat. y = scale[o] sum + shift[o], each step rounded by itself.
    """
    length, panels, channels = where.size, site.classes.shape[0], scale.size
    panel, sums = np.empty(length * PANEL, x.dtype), np.empty(ROWS * PANEL, x.dtype)
    step = 128 // x.itemsize
    lanes = step // 2
    for task in range(first, end):
        image, j = divmod(task, panels)
        pixel = j * PANEL
        fill_panel(x, x_at + image * stored, site.base, pixel, where, floor, panel)
        for o in range(0, channels, ROWS):
            for p in range(0, PANEL, step):
                multiply_tile(panel, 0, length, tiles, o * length, sums, p)
            for row in range(min(ROWS, channels - o)):
                a, b = broadcast(scale[o + row]), broadcast(shift[o + row])
                target = y_at + image * pitch + (o + row) * site.pixels + pixel
                for p in range(0, min(PANEL, site.pixels - pixel), lanes):
                    value = load(sums, row * PANEL + p) * a + b
                    if site.pixels - pixel - p < lanes:
                        store_first(y, target + p, value, site.pixels - pixel - p)
                    else:
                        store(y, target + p, value)


@jit(parallel=True)
def _conv(x, stored, site, where, tiles, shift, workers, y):
    """All images of x (N groups, stored) -> y (N groups, Cout / groups, pixels), both flat."""
    groups, channels = shift.shape
    pitch = channels * site.pixels
    images, panels = y.size // pitch, site.classes.shape[0]
    scale, floor = np.ones(channels, x.dtype), x.dtype.type(-np.inf)
    for worker in prange(workers):
        for task in range(images * worker // workers, images * (worker + 1) // workers):
            group = task % groups
            conv_panels(
                x, task * stored, 0, site, where, floor, tiles[group], scale, shift[group],
                y, task * pitch, 0, 0, panels,
            )  # fmt: skip


def conv2d(x, w, bias, stride, padding, dilation, groups):
    """Convolution with zero padding: x (N, Cin, H, W), w (Cout, Cin / groups, Kh, Kw) -> (N, Cout, Ho, Wo).

    bias (Cout,) or None. float32 or float64, all of one dtype.
    """
    (n, c, h, width), (c_out, per_group, *kernel) = x.shape, w.shape
    site = sites((h, width), tuple(kernel), stride, padding, dilation)
    planes = ready(x)
    if any(padding):
        (top, left) = padding
        planes = np.zeros((n, c, h + 2 * top, width + 2 * left), x.dtype)
        planes[:, :, top : top + h, left : left + width] = x
    where = (np.arange(per_group)[:, None] * site.plane + site.taps).reshape(-1)
    tiles = tiled(w.reshape(groups, c_out // groups, -1))
    size = [
        (d + 2 * p - e * (k - 1) - 1) // s + 1
        for d, k, s, p, e in zip((h, width), kernel, stride, padding, dilation)
    ]
    y = np.empty((n, c_out, *size), x.dtype)
    shift = np.zeros(c_out, x.dtype) if bias is None else ready(bias)
    if y.size:
        share(
            _conv, y.size * where.size, planes.reshape(-1), per_group * site.plane, site, where, tiles,
            shift.reshape(groups, -1), get_num_threads(), y.reshape(-1),
        )  # fmt: skip
    return y
