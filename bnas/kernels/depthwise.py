"""Depthwise convolution in floating point and its two gradients, for training.

One task is a chunk of images of one channel (see `planes`). The three loops mirror each other:
forward adds tap times shifted input, dx adds tap times output gradient onto the shifted input
gradient, dw takes the dot product of the two.
"""

import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.planes import (
    CHUNK,
    dense_size,
    geometry,
    load_dense,
    load_padded,
    padded_size,
    ready,
    store_dense,
    store_padded,
)
from bnas.kernels.threads import run_tasks
from bnas.kernels.windows import Window


@jit(allocates=False)
def _add_scaled(target, weight, source):
    for i in range(target.size):
        target[i] += weight * source[i]


@jit(allocates=False)
def _add_four(target, w0, w1, w2, w3, s0, s1, s2, s3):
    """Four taps in one pass, a quarter of the traffic on the running sum, added one by one."""
    for i in range(target.size):
        target[i] = target[i] + w0 * s0[i] + w1 * s1[i] + w2 * s2[i] + w3 * s3[i]


@jit(allocates=False, fastmath={"reassoc", "contract"})
def _dot(a, b):
    total = a.dtype.type(0)
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@jit(allocates=False)
def _long_dot(a, b):
    """As `_dot`, but for images larger than a chunk in float64, a piece after another."""
    total = 0.0
    for i in range(0, a.size, CHUNK):
        total += _dot(a[i : i + CHUNK], b[i : i + CHUNK])
    return total


@jit(allocates=False)
def _add_taps(dense, w, taps, padded):
    """dense = the sum over taps of weight times shifted input."""
    dense[:] = 0
    size, fours = dense.size, taps.shape[0] // 4 * 4
    for t in range(0, fours, 4):
        (i0, j0, a0), (i1, j1, a1) = taps[t], taps[t + 1]
        (i2, j2, a2), (i3, j3, a3) = taps[t + 2], taps[t + 3]
        _add_four(
            dense,
            w[i0, j0],
            w[i1, j1],
            w[i2, j2],
            w[i3, j3],
            padded[a0 : a0 + size],
            padded[a1 : a1 + size],
            padded[a2 : a2 + size],
            padded[a3 : a3 + size],
        )
    for t in range(fours, taps.shape[0]):
        i, j, at = taps[t]
        _add_scaled(dense, w[i, j], padded[at : at + size])


@jit
def _forward_task(x, w, g, c, first, y):
    count = min(g.images, x.shape[0] - first)
    padded = np.zeros(padded_size(g), x.dtype)
    load_padded(x, c, first, count, g, padded)
    dense = np.empty(dense_size(g, count), x.dtype)
    multiplier = w.shape[0] // x.shape[1]
    for o in range(c * multiplier, (c + 1) * multiplier):
        _add_taps(dense, w[o, 0], g.taps, padded)
        store_dense(dense, o, first, count, g, y)


@jit
def _dx_task(dy, w, g, c, first, dx):
    count = min(g.images, dx.shape[0] - first)
    padded = np.zeros(padded_size(g), dx.dtype)
    dense = np.zeros(dense_size(g, count), dx.dtype)
    multiplier = w.shape[0] // dx.shape[1]
    for o in range(c * multiplier, (c + 1) * multiplier):
        load_dense(dy, o, first, count, g, dense)
        for t in range(g.taps.shape[0]):
            i, j, at = g.taps[t]
            _add_scaled(padded[at : at + dense.size], w[o, 0, i, j], dense)
    store_padded(padded, c, first, count, g, dx)


@jit
def _dw_task(dy, x, g, c, first, dw):
    count = min(g.images, x.shape[0] - first)
    padded = np.zeros(padded_size(g), x.dtype)
    load_padded(x, c, first, count, g, padded)
    dense = np.zeros(dense_size(g, count), x.dtype)
    multiplier = dw.shape[0] // x.shape[1]
    for o in range(c * multiplier, (c + 1) * multiplier):
        load_dense(dy, o, first, count, g, dense)
        for t in range(g.taps.shape[0]):
            i, j, at = g.taps[t]
            dw[o, 0, i, j] = _long_dot(dense, padded[at : at + dense.size])


@jit
def _forward(x, w, g, y, first, end):
    for task in range(first, end):
        c, chunk = divmod(task, g.chunks)
        _forward_task(x, w, g, c, chunk * g.images, y)


@jit
def _dx(dy, w, g, dx, first, end):
    for task in range(first, end):
        c, chunk = divmod(task, g.chunks)
        _dx_task(dy, w, g, c, chunk * g.images, dx)


@jit
def _dw(dy, x, g, partial, first, end):
    for task in range(first, end):
        c, chunk = divmod(task, g.chunks)
        _dw_task(dy, x, g, c, chunk * g.images, partial[chunk])


def depthwise_conv2d(x, w, stride, padding, dilation):
    """Depthwise convolution: x (N, C, H, W), w (C m, 1, Kh, Kw) -> y (N, C m, Ho, Wo).

    Output channel o reads input channel o // m; m is the channel multiplier.
    """
    g = geometry(x.shape, Window(w.shape[2:], stride, padding, dilation))
    y = np.empty((x.shape[0], w.shape[0], g.out_h, g.out_w), x.dtype)
    work, tasks = y.size * len(g.taps), x.shape[1] * g.chunks
    run_tasks(_forward, work, tasks, ready(x), ready(w), g, y)
    return y


def depthwise_conv2d_dx(dy, w, x_shape, stride, padding, dilation):
    """Gradient for x: dy (N, C m, Ho, Wo), w (C m, 1, Kh, Kw) -> dx of `x_shape` (N, C, H, W)."""
    g = geometry(x_shape, Window(w.shape[2:], stride, padding, dilation))
    dx = np.empty(x_shape, dy.dtype)
    work, tasks = dy.size * len(g.taps), x_shape[1] * g.chunks
    run_tasks(_dx, work, tasks, ready(dy), ready(w), g, dx)
    return dx


def depthwise_conv2d_dw(dy, x, w_shape, stride, padding, dilation):
    """Gradient for w: dy (N, C m, Ho, Wo), x (N, C, H, W) -> dw of `w_shape` (C m, 1, Kh, Kw).

    Every chunk of images has its own partial sum, so the result does not depend on the threads.
    A NaN or inf anywhere in x may reach every tap of its channel.
    """
    g = geometry(x.shape, Window(w_shape[2:], stride, padding, dilation))
    partial = np.zeros((g.chunks, *w_shape))
    work, tasks = dy.size * len(g.taps), x.shape[1] * g.chunks
    run_tasks(_dw, work, tasks, ready(dy), ready(x), g, partial)
    return partial.sum(axis=0).astype(dy.dtype, copy=False)
