"""Images side by side: the layout in which networks train, and its loops over elements.

An array in *lanes* is (blocks, C, H, W, L): image 16 i + l of a float32 batch is lane l of block i. So one
vector holds the same pixel of L images, and whatever a window does (stride, dilation, borders, images of
2×2 pixels), every load is whole and nothing is shuffled. What belongs to one sample, such as its share of
a gradient, is a lane and costs nothing. Lanes beyond the last image are zeros in all states and gradients,
as their factors in `weighted_sum` and `norm_gradient` are; what a unit makes of them in between is ignored.

A *plane* is all pixels of one channel of one block: vectors, one after another. Sums over the pixels of a
plane, for each lane, are *lane sums* (blocks, C, L). They and the means of channels are float64, whatever the
images are: the mean of float32 data far from zero, rounded to float32, would be off by much of their deviation.
"""

import numpy as np

from bnas.kernels.buffers import empty, zeros
from bnas.kernels.jit import jit
from bnas.kernels.planes import ready
from bnas.kernels.threads import run_tasks
from bnas.kernels.vectors import broadcast, lane_count, load, multiply_add, ravel, store, widen

VECTOR = 64  # bytes
CHUNK = 64  # pixels whose sum in float32 is as exact as they are; more are added in float64
COST = 2  # of an element that is read or written, in the multiply-adds that `run_tasks` counts


def lanes_of(dtype):
    """How many images stand side by side: 16 of float32, 8 of float64."""
    return VECTOR // np.dtype(dtype).itemsize


@jit(allocates=False)
def _into_lanes(images, lanes, first, end):
    for block in range(first, end):
        for lane in range(min(lanes.shape[2], images.shape[0] - block * lanes.shape[2])):
            image = images[block * lanes.shape[2] + lane]
            for i in range(image.size):
                lanes[block, i, lane] = image[i]


@jit(allocates=False)
def _out_of_lanes(lanes, images, first, end):
    for block in range(first, end):
        for lane in range(min(lanes.shape[2], images.shape[0] - block * lanes.shape[2])):
            image = images[block * lanes.shape[2] + lane]
            for i in range(image.size):
                image[i] = lanes[block, i, lane]


def to_lanes(x):
    """x (N, C, H, W) -> (blocks, C, H, W, L), the missing images of the last block zeros."""
    batch, lanes = len(x), lanes_of(x.dtype)
    blocks = -(-batch // lanes)
    make = empty if batch % lanes == 0 else zeros
    y = make((blocks, *x.shape[1:], lanes), x.dtype)
    if x.size:
        flat = ready(x).reshape(batch, -1), y.reshape(blocks, -1, lanes)
        run_tasks(_into_lanes, COST * x.size, blocks, *flat)
    return y


def from_lanes(x, batch):
    """The way back of `to_lanes`, for a batch of so many images."""
    y = np.empty((batch, *x.shape[1:-1]), x.dtype)
    if y.size:
        flat = ready(x).reshape(len(x), -1, x.shape[-1]), y.reshape(batch, -1)
        run_tasks(_out_of_lanes, COST * y.size, len(x), *flat)
    return y


@jit(forceinline=True)
def split(mean, real):
    """A float64 mean as a number of the type `real`, which is subtracted from every element, and the rest.

    The rest, times what deviations are multiplied by, goes into an offset: so it costs nothing.
    """
    near = real(mean)
    return near, real(mean - np.float64(near))


@jit(forceinline=True)
def affine(norm, c):
    """Vectors of channel c of a norm (mean, scale, shift): (x - middle) factor + offset, see `split`."""
    near, rest = split(norm[0][c], norm[1].dtype.type)
    return broadcast(near), broadcast(norm[1][c]), broadcast(norm[2][c] - norm[1][c] * rest)


@jit(allocates=False)
def _weighted_sum(base, has_base, xs, means, near, factors, offset, y, first, end):
    (blocks, channels, height, width, _), lanes = y.shape, lane_count(y)
    out, planes, size = ravel(y), blocks * channels, height * width * lanes
    start, by, shift = ravel(base), ravel(factors), ravel(offset)
    for plane in range(first, end):
        constant, channel = load(shift, plane * lanes), plane % channels
        for m in range(len(xs)):
            _, rest = split(means[m, channel], y.dtype.type)
            factor = load(by, (m * planes + plane) * lanes)
            constant = constant - factor * broadcast(rest)
        for i in range(plane * size, (plane + 1) * size, lanes):
            total = constant
            if has_base:
                total = total + load(start, i)
            for m in range(len(xs)):
                centred = load(xs[m], i) - broadcast(near[m, channel])
                total = multiply_add(centred, load(by, (m * planes + plane) * lanes), total)
            store(out, i, total)


def weighted_sum(base, xs, means, factors, offset):
    """y = base + offset + Σ_m factors_m (x_m - means_m): batch norms and their weighted sum in one pass.

    base: (blocks, C, H, W, L) or None for zero; xs: M such arrays; means (M, C) float64; factors (M,
    blocks, C, L) and offset (blocks, C, L), zero in lanes without an image -> (blocks, C, H, W, L).
    """
    y = empty(xs[0].shape, xs[0].dtype)
    if y.size:
        given = xs[0] if base is None else base
        run_tasks(
            _weighted_sum,
            COST * y.size * len(xs),
            y.shape[0] * y.shape[1],
            ready(given),
            base is not None,
            tuple(ready(x).reshape(-1) for x in xs),
            means,
            means.astype(y.dtype),
            ready(factors),
            ready(offset),
            y,
        )
    return y


@jit(allocates=False)
def _sum(a, start, end):
    """Σ a over a plane, for each lane, as float64; CHUNK pixels at a time in the dtype of a."""
    lanes = lane_count(a)
    zero = broadcast(a.dtype.type(0))
    total = widen(zero)
    for begin in range(start, end, CHUNK * lanes):
        part = zero
        for i in range(begin, min(begin + CHUNK * lanes, end), lanes):
            part = part + load(a, i)
        total = total + widen(part)
    return total


@jit(allocates=False)
def _dot(a, b, centre, start, end):
    """Σ a (b - centre) as `_sum` has it, every second pixel apart."""
    lanes = lane_count(a)
    zero, middle = broadcast(a.dtype.type(0)), broadcast(centre)
    total = widen(zero)
    for begin in range(start, end, CHUNK * lanes):
        stop = min(begin + CHUNK * lanes, end)
        even, odd = zero, zero
        for i in range(begin, stop - lanes, 2 * lanes):
            even = multiply_add(load(a, i), load(b, i) - middle, even)
            odd = multiply_add(load(a, i + lanes), load(b, i + lanes) - middle, odd)
        if (stop - begin) // lanes % 2:
            even = multiply_add(load(a, stop - lanes), load(b, stop - lanes) - middle, even)
        total = total + widen(even + odd)
    return total


@jit(allocates=False)
def _lane_sums(dy, xs, means, sums, first, end):
    (blocks, channels, height, width, _), lanes = dy.shape, lane_count(dy)
    given, out, size = ravel(dy), ravel(sums), height * width * lanes
    for plane in range(first, end):
        start, stop, channel = plane * size, (plane + 1) * size, plane % channels
        total = _sum(given, start, stop)
        store(out, plane * lanes, total)
        for m in range(len(xs)):
            near, rest = split(means[m, channel], dy.dtype.type)
            dot = _dot(given, ravel(xs[m]), near, start, stop)
            dot = dot - widen(broadcast(rest)) * total
            store(out, ((m + 1) * blocks * channels + plane) * lanes, dot)


def lane_sums(dy, xs, means):
    """Sums over pixels, each lane on its own: Σ dy, and Σ dy (x_m - means_m) for every x_m.

    dy and M arrays x_m (blocks, C, H, W, L), means (M, C) float64 -> float64 (1 + M, blocks, C, L). All
    that the backward of a weighted sum of batch norms needs to know of the whole batch.
    """
    blocks, channels, *_, lanes = dy.shape
    sums = np.zeros((1 + len(xs), blocks, channels, lanes))
    if dy.size:
        run_tasks(
            _lane_sums,
            COST * dy.size * len(xs),
            blocks * channels,
            ready(dy),
            tuple(map(ready, xs)),
            means,
            sums,
        )
    return sums


@jit(allocates=False)
def _norm_gradient(dy, x, mean, inverse, a, e, f, dx, first, end):
    (_, channels, height, width, _), lanes = dy.shape, lane_count(dy)
    given, before, out = ravel(dy), ravel(x), ravel(dx)
    factors, offsets, slopes = ravel(a), ravel(e), ravel(f)
    for plane in range(first, end):
        factor, offset = load(factors, plane * lanes), load(offsets, plane * lanes)
        slope, channel = load(slopes, plane * lanes), plane % channels
        by, (near, rest) = broadcast(inverse[channel]), split(mean[channel], x.dtype.type)
        middle, offset = broadcast(near), offset - broadcast(rest) * by * slope
        size = height * width * lanes
        for i in range(plane * size, (plane + 1) * size, lanes):
            value = load(given, i) * factor - offset
            store(out, i, value - (load(before, i) - middle) * by * slope)


def norm_gradient(dy, x, mean, inverse, a, e, f):
    """dx = a dy - e - f (x - mean) inverse: the backward of a batch norm, its sums over the batch known.

    dy, x (blocks, C, H, W, L), mean (C,) float64, inverse (C,), a, e, f (blocks, C, L), see `norm_slopes`.
    """
    dx = empty(dy.shape, dy.dtype)
    if dx.size:
        run_tasks(
            _norm_gradient,
            COST * dx.size,
            len(dy) * dy.shape[1],
            ready(dy),
            ready(x),
            mean,
            inverse,
            a,
            e,
            f,
            dx,
        )
    return dx


@jit(allocates=False)
def _scale(dy, factor, out, first, end):
    lanes = lane_count(dy)
    size = dy.shape[2] * dy.shape[3] * lanes
    given, target, factors = ravel(dy), ravel(out), ravel(factor)
    for plane in range(first, end):
        by = load(factors, plane * lanes)
        for i in range(plane * size, (plane + 1) * size, lanes):
            store(target, i, load(given, i) * by)


def scale_lanes(dy, factor):
    """dy (blocks, C, H, W, L) times a factor (blocks, C, L) for each lane."""
    out = empty(dy.shape, dy.dtype)
    if out.size:
        run_tasks(_scale, COST * dy.size, len(dy) * dy.shape[1], ready(dy), ready(factor), out)
    return out


@jit(forceinline=True)  # LLVM finds it too long, and a call costs as much as a small plane
def _plane_moments(z, start, pixels, sums, squares, at):
    """Σ z and Σ (z - mean)² of a plane in float64, lane by lane.

    One pass: deviations from the first pixel instead of the mean cost at most a factor of `pixels` in
    rounding, however far from zero the data lie. Sums of integers stay exact.
    """
    lanes = lane_count(z)
    first = widen(load(z, start))
    total = widen(broadcast(z.dtype.type(0)))
    square = total
    for i in range(start, start + pixels * lanes, lanes):
        deviation = widen(load(z, i)) - first
        total = total + deviation
        square = multiply_add(deviation, deviation, square)
    count = widen(broadcast(z.dtype.type(pixels)))
    store(sums, at, multiply_add(first, count, total))
    store(squares, at, square - total * total / count)


@jit(allocates=False)
def _moments(x, sums, squares, first, end):
    pixels, lanes = x.shape[2] * x.shape[3], lane_count(x)
    given, out, spread = ravel(x), ravel(sums), ravel(squares)
    for plane in range(first, end):
        at = plane * lanes
        _plane_moments(given, at * pixels, pixels, out, spread, at)


def moments(x):
    """Lane sums of x (blocks, C, H, W, L): Σ x, and Σ (x - mean of the lane)², float64 (blocks, C, L)."""
    blocks, channels, *_, lanes = x.shape
    sums, squares = np.empty((2, blocks, channels, lanes))
    run_tasks(_moments, COST * x.size, blocks * channels, ready(x), sums, squares)
    return sums, squares


@jit(allocates=False)
def _statistics(
    sums, squares, batch, pixels, scale, eps, running_mean, running_var, momentum, mean, inverse
):
    blocks, channels, lanes = sums.shape
    count, real = batch * pixels, inverse.dtype.type
    for c in range(channels):
        total, spread = 0.0, 0.0
        for block in range(blocks):
            for lane in range(min(lanes, batch - block * lanes)):
                total += sums[block, c, lane]
        centre = total / count
        for block in range(blocks):
            for lane in range(min(lanes, batch - block * lanes)):
                deviation = sums[block, c, lane] / pixels - centre
                spread += squares[block, c, lane] + pixels * deviation * deviation
        by = scale[c] if scale.size else real(1)
        near = real(centre)
        mean[c] = np.float64(near * by) + (centre - np.float64(near)) * by
        var = spread / count * by * by
        inverse[c] = 1 / np.sqrt(var + eps)
        if momentum > 0:
            running_mean[c] += real(momentum) * (real(mean[c]) - running_mean[c])
            unbiased = real(var * count / (count - 1))
            running_var[c] += real(momentum) * (unbiased - running_var[c])


def batch_statistics(sums, squares, batch, pixels, scale, eps, running_mean, running_var, momentum):
    """(mean, 1 / √(var + eps)), both (C,), of a batch of images of `pixels` pixels.

    sums, squares (blocks, C, L): as of `moments`. scale (C,), or empty for 1: what z was multiplied by
    afterwards. The running arrays move towards mean and unbiased variance, in place. The mean is float64,
    the other of their dtype. Accumulated in float64 (Chan, Golub & LeVeque 1979): where z are integers with
    an integer mean, z · scale - mean · scale is exactly 0.
    """
    mean, inverse = np.empty(sums.shape[1]), np.empty(sums.shape[1], scale.dtype)
    _statistics(
        sums,
        squares,
        batch,
        pixels,
        scale,
        float(eps),
        running_mean,
        running_var,
        float(momentum),
        mean,
        inverse,
    )
    return mean, inverse


@jit(allocates=False)
def _norm_slopes(sum_dy, sum_dot, factor, inverse, count, batch, a, e, f):
    blocks, channels, lanes = a.shape
    for c in range(channels):
        total, dot, by = 0.0, 0.0, float(inverse[c])
        for block in range(blocks):
            for lane in range(min(lanes, batch - block * lanes)):
                total += factor[block, lane] * sum_dy[block, c, lane]
                dot += factor[block, lane] * sum_dot[block, c, lane]
        offset, slope = 0.0, 0.0
        if count:
            offset, slope = by * total / count, by * by * dot / count
        for block in range(blocks):
            for lane in range(min(lanes, batch - block * lanes)):
                a[block, c, lane] = factor[block, lane] * by
                e[block, c, lane], f[block, c, lane] = offset, slope


def norm_slopes(sum_dy, sum_dot, factor, inverse, count, batch):
    """The a, e, f (blocks, C, L) of `norm_gradient`, for the gradient factor · dy of a batch norm.

    sum_dy, sum_dot (blocks, C, L): two of `lane_sums`, of dy and of dy (x - mean). factor (blocks, L),
    one for each sample; inverse (C,): 1 / √(v + ε). count: the values of a channel in the batch, or 0
    where mean and variance are constants (evaluation). Of the dtype of `inverse`, zero in lanes without an
    image.
    """
    a, e, f = np.zeros((3, *sum_dy.shape), inverse.dtype)
    _norm_slopes(sum_dy, sum_dot, factor, inverse, count, batch, a, e, f)
    return a, e, f
