"""1-bit depthwise convolution of float images, as training needs it.

A window of one channel has 9 or 25 bits, too few to fill a word, and reading and writing the floats takes
longer than the sum itself. So here a sign is a byte, +1, -1 or 0 in the padding, and 64 of them make a
vector. A negative weight turns x into -x = (x ^ -1) + 1 in two's complement: one xor for each tap, and one
addition at the end for all negative weights together. `planes` says how the window slides.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.planes import dense_size, floats, geometry, padded_size, ready
from bnas.kernels.threads import run_tasks
from bnas.kernels.vectors import (
    broadcast,
    lane_count,
    load,
    load_even_int32,
    load_int32,
    scaled_like,
    store,
    store_first,
    store_signs,
)

COST = 16  # of an output in the multiply-adds that `run_tasks` counts: it mostly waits for memory
MOST_TAPS = 2**15  # whose sum fits int16
SLACK = 128  # elements past the end of a buffer that whole vectors may read or write


@jit(forceinline=True)
def _load_signs(x, start, g, padded, at):
    """Signs of the image x[start], x[start + 1], ... into the padded plane that begins at `at`.

    Stored 16 at a time, the end of a row spills zeros: into padding, or where the next row will be.
    """
    for h in range(g.h):
        target = at + (h + g.ph) * g.cols + g.pw
        for w in range(0, g.w, 16):
            store_signs(padded, target + w, x, start + h * g.w + w, min(g.w - w, 16))


@jit(forceinline=True)
def _sum_taps(padded, offsets, flips, o, dense, size, negatives):
    """dense = Σ_t (padded from offsets[t] on) ^ flips[o, t], plus the number of negative weights."""
    step = lane_count(dense)
    start = broadcast(negatives)
    i = 0
    while i + 3 * step < size:
        a, b, c, d = start, start, start, start
        for t in range(offsets.size):
            at, flip = offsets[t] + i, broadcast(flips[o, t])
            a = a + (load(padded, at) ^ flip)
            b = b + (load(padded, at + step) ^ flip)
            c = c + (load(padded, at + 2 * step) ^ flip)
            d = d + (load(padded, at + 3 * step) ^ flip)
        store(dense, i, a)
        store(dense, i + step, b)
        store(dense, i + 2 * step, c)
        store(dense, i + 3 * step, d)
        i += 4 * step
    while i < size:
        a = start
        for t in range(offsets.size):
            a = a + (load(padded, offsets[t] + i) ^ broadcast(flips[o, t]))
        store(dense, i, a)
        i += step


@jit(forceinline=True)
def _store_dense(dense, at, g, stride, scale, y, target):
    """Every stride-th row and pixel out of `dense`, times the scale if y holds floats."""
    width = -(-g.out_w // stride[1])
    for _ in range(0, g.out_h, stride[0]):
        for w in range(0, width if stride[1] <= 2 else 0, 16):
            if stride[1] == 1:
                sums = load_int32(dense, at + w)
            else:
                sums = load_even_int32(dense, at + 2 * w)
            store_first(y, target + w, scaled_like(y, sums, scale), min(width - w, 16))
        for w in range(0, width if stride[1] > 2 else 0):
            y[target + w] = y.dtype.type(dense[at + w * stride[1]]) * y.dtype.type(scale)
        target += width
        at += stride[0] * g.cols


@jit
def _depthwise(x, channels, offsets, flips, negatives, beta, g, stride, y, first_task, end_task):
    """A task is a chunk of images of one channel, numbered through all channels."""
    images = x.size // (channels * g.h * g.w)
    outputs, multiplier = beta.size, beta.size // channels
    pixels = y.size // (images * outputs)
    padded = np.zeros(padded_size(g) + SLACK, flips.dtype)
    dense = np.empty(dense_size(g, g.images) + SLACK, flips.dtype)
    for task in range(first_task, end_task):
        c, chunk = divmod(task, g.chunks)
        first = chunk * g.images
        count = min(g.images, images - first)
        for b in range(count):
            start = ((first + b) * channels + c) * g.h * g.w
            _load_signs(x, start, g, padded, b * g.rows * g.cols)
        for o in range(c * multiplier, (c + 1) * multiplier):
            _sum_taps(padded, offsets, flips, o, dense, dense_size(g, count), negatives[o])
            for b in range(count):
                target = ((first + b) * outputs + o) * pixels
                _store_dense(dense, b * g.rows * g.cols, g, stride, beta[o], y, target)


@lru_cache(maxsize=128)
def _dense_geometry(x_shape, window):
    """The Geometry of a Window, but with a stride of 1.

    Counting bytes is so quick that a stride skips results at the end, not work at the start.
    """
    return geometry(x_shape, window._replace(stride=(1, 1)))


class DepthwiseWeights(NamedTuple):
    """The signs of weights with one input channel to a group.

    Attributes:
        shape: of the weights, (Cout, 1, Kh, Kw).
        groups: how many.
        beta: (Cout,) floats, mean|w|.
        flips: int8, or int16 where sums are larger, (Cout, taps): 0 of a positive weight, -1 of the others.
    """

    shape: tuple
    groups: int
    beta: np.ndarray
    flips: np.ndarray


def pack_depthwise(w, groups):
    """The `DepthwiseWeights` of w (Cout, 1, Kh, Kw), of any real dtype; β is right for floats alone."""
    w = floats(w)
    taps = w.shape[2] * w.shape[3]
    sign = np.int8 if taps < 128 else np.int16  # the sum is at most the number of taps
    beta = np.add.reduce(np.abs(w).reshape(len(w), taps), axis=1) / taps
    flips = np.where(w > 0, sign(0), sign(-1)).reshape(len(w), taps)
    return DepthwiseWeights(w.shape, groups, beta.astype(w.dtype, copy=False), flips)


def xnor_depthwise(x, weights, beta, window):
    """`xnor_conv2d` with `DepthwiseWeights` and a Window: int32, or float32 after the scale."""
    g, stride = _dense_geometry(x.shape, window), window.stride
    outputs, taps = weights.flips.shape
    seen = g.taps[:, 0] * window.kernel[1] + g.taps[:, 1]  # without taps that only ever see padding
    flips = weights.flips[:, seen]
    negatives = -flips.sum(axis=1, dtype=flips.dtype)
    size = -(-g.out_h // stride[0]), -(-g.out_w // stride[1])
    y = np.empty((x.shape[0], outputs, *size), np.int32 if beta is None else np.float32)
    beta = np.ones(outputs, np.float32) if beta is None else ready(beta)
    if y.size:
        run_tasks(
            _depthwise,
            y.size * (COST + taps // 16),
            x.shape[1] * g.chunks,
            x.reshape(-1),
            x.shape[1],
            np.ascontiguousarray(g.taps[:, 2]),
            flips,
            negatives,
            beta,
            g,
            stride,
            y.reshape(-1),
        )
    return y
