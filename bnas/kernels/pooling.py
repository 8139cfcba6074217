"""Max and average pooling and their gradients.

Max pooling slides like the depthwise convolution (see `planes`) with a running maximum in place of
the sum. Average pooling *is* a depthwise convolution with weights of one, divided by the count.
"""

import numpy as np

from bnas.kernels.depthwise import depthwise_conv2d, depthwise_conv2d_dx
from bnas.kernels.jit import jit
from bnas.kernels.planes import (
    dense_size,
    geometry,
    load_padded,
    padded_size,
    ready,
    store_dense,
    valid_taps,
)
from bnas.kernels.threads import run_tasks
from bnas.kernels.windows import Window

SMALL = 64  # pixels of a window whose sum in float32 is as exact as they are


@jit(allocates=False)
def _keep_larger(best, winner, values, step):
    """Running maximum; a NaN always wins, a tie never does."""
    for i in range(best.size):
        value = values[i]
        wins = (value > best[i]) | (value != value)
        best[i] = value if wins else best[i]
        winner[i] = step if wins else winner[i]


@jit(allocates=False)
def _first_inside(start, kernel, dilation, size):
    """First tap position of a window that is inside the image, or -1."""
    for k in range(kernel):
        if 0 <= start + k * dilation < size:
            return start + k * dilation
    return -1


@jit(allocates=False)
def _store_index(winner, c, first, count, g, index):
    for b in range(count):
        for h in range(g.out_h):
            top = h * g.sh - g.ph
            target = index[first + b, c, h]
            source = winner[(b * g.rows + h) * g.cols :]
            for k in range(g.out_w):
                left = k * g.sw - g.pw
                if source[k] >= 0:
                    target[k] = top * g.w + left + source[k]
                else:  # nothing above -inf in the window: its first pixel, if it has one
                    row = _first_inside(top, g.kh, g.dh, g.h)
                    col = _first_inside(left, g.kw, g.dw, g.w)
                    target[k] = row * g.w + col if row >= 0 and col >= 0 else -1


@jit
def _max_task(x, g, c, first, y, index):
    count = min(g.images, x.shape[0] - first)
    padded = np.full(padded_size(g), -np.inf, x.dtype)
    load_padded(x, c, first, count, g, padded)
    best = np.full(dense_size(g, count), -np.inf, x.dtype)
    winner = np.full(best.size, -1, np.int32)  # steps from the window's corner to its maximum
    for t in range(g.taps.shape[0]):
        i, j, at = g.taps[t]
        step = np.int32(i * g.dh * g.w + j * g.dw)
        _keep_larger(best, winner, padded[at : at + best.size], step)
    store_dense(best, c, first, count, g, y)
    _store_index(winner, c, first, count, g, index)


@jit
def _max(x, g, y, index, first, end):
    for task in range(first, end):
        c, chunk = divmod(task, g.chunks)
        _max_task(x, g, c, chunk * g.images, y, index)


@jit(allocates=False)
def _max_dx_plane(dy, index, dx):
    for i in range(dy.size):
        if index[i] >= 0:
            dx[index[i]] += dy[i]


@jit(allocates=False)
def _max_dx(dy, index, dx, first, end):
    for plane in range(first, end):
        _max_dx_plane(dy[plane], index[plane], dx[plane])


def max_pool2d(x, kernel, stride, padding, dilation):
    """Largest value of every window: x (N, C, H, W) -> (y, index), both (N, C, Ho, Wo).

    index is int32: the flat position h W + w of the first maximum in row-major order. Padding
    never wins; a window with nothing but padding gives -inf and index -1. NaN counts as larger
    than everything (of several NaN the last is indexed, as in PyTorch).
    """
    g = geometry(x.shape, Window(kernel, stride, padding, dilation))
    y = np.empty((*x.shape[:2], g.out_h, g.out_w), x.dtype)
    index = np.empty(y.shape, np.int32)
    work, tasks = y.size * len(g.taps), x.shape[1] * g.chunks
    run_tasks(_max, work, tasks, ready(x), g, y, index)
    return y, index


def max_pool2d_dx(dy, index, x_shape):
    """Gradient of `max_pool2d`: each dy (N, C, Ho, Wo) goes to the pixel that won, index >= 0."""
    n, c, h, w = x_shape
    dx = np.zeros(x_shape, dy.dtype)
    flat = (n * c, dy.shape[2] * dy.shape[3])
    run_tasks(
        _max_dx,
        dy.size,
        n * c,
        ready(dy).reshape(flat),
        ready(index).reshape(flat),
        dx.reshape(n * c, h * w),
    )
    return dx


def _summed_in(kernel, dtype):
    """The dtype in which a window is summed: float64 if it is large, as whole images are."""
    return np.dtype(np.float64 if kernel[0] * kernel[1] > SMALL else dtype)


def _divisors(size, kernel, stride, padding, count_include_pad, dtype):
    """Pixels per window, with the padding or without: a scalar or (Ho, Wo), of `dtype`."""
    if count_include_pad:
        return dtype.type(kernel[0] * kernel[1])
    return np.maximum(valid_taps(size, Window(kernel, stride, padding)), 1).astype(dtype)


def avg_pool2d(x, kernel, stride, padding, count_include_pad):
    """Mean of every window: x (N, C, H, W) -> y (N, C, Ho, Wo).

    `count_include_pad` (bool) says whether padded zeros count in the divisor.
    """
    real = _summed_in(kernel, x.dtype)
    ones = np.ones((x.shape[1], 1, *kernel), real)
    y = depthwise_conv2d(x.astype(real, copy=False), ones, stride, padding, (1, 1))
    y /= _divisors(x.shape[2:], kernel, stride, padding, count_include_pad, real)
    return y.astype(x.dtype, copy=False)


def avg_pool2d_dx(dy, x_shape, kernel, stride, padding, count_include_pad):
    """Gradient of `avg_pool2d`: dy (N, C, Ho, Wo) -> dx of `x_shape` (N, C, H, W)."""
    real = _summed_in(kernel, dy.dtype)
    ones = np.ones((x_shape[1], 1, *kernel), real)
    share = dy / _divisors(x_shape[2:], kernel, stride, padding, count_include_pad, real)
    dx = depthwise_conv2d_dx(share, ones, x_shape, stride, padding, (1, 1))
    return dx.astype(dy.dtype, copy=False)
