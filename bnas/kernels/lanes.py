"""Images side by side: the layout in which the supernet computes, and its loops over elements.

An array in *lanes* is (blocks, C, H, W, L): image 16 i + l of a float32 batch is lane l of block i. So one
vector holds the same pixel of L images, and whatever a window does (stride, dilation, borders, images of
2×2 pixels), every load is whole and nothing is shuffled. What belongs to one sample, such as its share of
a gradient, is a lane and costs nothing. Lanes beyond the last image are zeros, and stay zeros.

Sums over pixels are kept for each (block, channel, lane), an array of *lane sums* (blocks, C, L).
"""

import numpy as np

from bnas.kernels.buffers import empty, zeros
from bnas.kernels.jit import jit
from bnas.kernels.planes import ready
from bnas.kernels.threads import run_tasks
from bnas.kernels.vectors import broadcast, load, multiply_add, store
from bnas.reference import lanes_of

COST = 2  # of an element that is read or written, in the multiply-adds that `share` counts


@jit(allocates=False)
def _to_lanes(x, lanes, y, first, end):
    """x (N, C P) -> y (blocks, C P, L)."""
    for block in range(first, end):
        image = block * lanes
        for i in range(y.shape[1]):
            for lane in range(min(lanes, x.shape[0] - image)):
                y[block, i, lane] = x[image + lane, i]


@jit(allocates=False)
def _from_lanes(x, lanes, y, first, end):
    for block in range(first, end):
        image = block * lanes
        for i in range(x.shape[1]):
            for lane in range(min(lanes, y.shape[0] - image)):
                y[image + lane, i] = x[block, i, lane]


def to_lanes(x):
    """x (N, C, H, W) -> (blocks, C, H, W, L), the missing images of the last block zeros."""
    lanes = lanes_of(x.dtype)
    blocks = -(-len(x) // lanes)
    make = empty if len(x) % lanes == 0 else zeros
    y = make((blocks, *x.shape[1:], lanes), x.dtype)
    if x.size:
        run_tasks(
            _to_lanes, COST * x.size, blocks,
            ready(x).reshape(len(x), -1), lanes, y.reshape(blocks, -1, lanes),
        )  # fmt: skip
    return y


def from_lanes(x, batch):
    """The way back of `to_lanes`, for a batch of so many images."""
    y = np.empty((batch, *x.shape[1:-1]), x.dtype)
    if y.size:
        lanes = x.shape[-1]
        run_tasks(
            _from_lanes, COST * y.size, len(x),
            ready(x).reshape(len(x), -1, lanes), lanes,
            y.reshape(batch, -1),
        )  # fmt: skip
    return y


# Below, a plane is all pixels of one channel of one block: `pixels` vectors, one after another.


@jit(allocates=False)
def _weighted_sum(base, xs, means, factors, pixels, y, first, end):
    lanes = 64 // y.itemsize
    planes = y.size // (pixels * lanes)
    channels = means.shape[1]
    for plane in range(first, end):
        start = plane * pixels * lanes
        for i in range(start, start + pixels * lanes, lanes):
            total = broadcast(y.dtype.type(0))
            if base.size:
                total = load(base, i)
            for m in range(len(xs)):
                factor = load(factors, (m * planes + plane) * lanes)
                centre = broadcast(means[m, plane % channels])
                total = multiply_add(load(xs[m], i) - centre, factor, total)
            store(y, i, total)


def weighted_sum(base, xs, means, factors):
    """y = base + Σ_m factors_m (x_m - means_m): batch norms and their weighted sum in one pass.

    base: (blocks, C, H, W, L) or None for zero; xs: M such arrays; means (M, C); factors (M, blocks,
    C, L), zero in lanes without an image -> (blocks, C, H, W, L).
    """
    y = empty(xs[0].shape, xs[0].dtype)
    if y.size:
        base = np.empty(0, y.dtype) if base is None else ready(base).reshape(-1)
        run_tasks(
            _weighted_sum, COST * y.size * len(xs), len(y) * y.shape[1],
            base, tuple(ready(x).reshape(-1) for x in xs),
            means, ready(factors).reshape(-1), y.shape[2] * y.shape[3], y.reshape(-1),
        )  # fmt: skip
    return y


@jit(allocates=False)
def _dot_plane(a, b, centre, start, end):
    """Σ a (b - centre) over a plane, lane by lane."""
    lanes = 64 // a.itemsize
    middle = broadcast(centre)
    zero = broadcast(a.dtype.type(0))
    even, odd = zero, zero
    for i in range(start, end - lanes, 2 * lanes):
        even = multiply_add(load(a, i), load(b, i) - middle, even)
        odd = multiply_add(load(a, i + lanes), load(b, i + lanes) - middle, odd)
    if (end - start) // lanes % 2:
        even = multiply_add(load(a, end - lanes), load(b, end - lanes) - middle, even)
    return even + odd


@jit(allocates=False)
def _sum_plane(a, start, end):
    lanes = 64 // a.itemsize
    total = broadcast(a.dtype.type(0))
    for i in range(start, end, lanes):
        total = total + load(a, i)
    return total


@jit(allocates=False)
def _lane_sums(dy, xs, means, pixels, sums, first, end):
    lanes = 64 // dy.itemsize
    planes = dy.size // (pixels * lanes)
    channels = means.shape[1]
    for plane in range(first, end):
        start = plane * pixels * lanes
        end = start + pixels * lanes
        store(sums, plane * lanes, _sum_plane(dy, start, end))
        for m in range(len(xs)):
            dot = _dot_plane(dy, xs[m], means[m, plane % channels], start, end)
            store(sums, ((m + 1) * planes + plane) * lanes, dot)


def lane_sums(dy, xs, means):
    """Sums over pixels, each lane on its own: Σ dy, and Σ dy (x_m - means_m) for every x_m.

    dy and M arrays x_m (blocks, C, H, W, L), means (M, C) -> (1 + M, blocks, C, L). All that the
    backward of a weighted sum of batch norms needs to know of the whole batch.
    """
    blocks, channels, height, width, lanes = dy.shape
    sums = zeros((1 + len(xs), blocks, channels, lanes), dy.dtype)
    if dy.size:
        run_tasks(
            _lane_sums, COST * dy.size * len(xs), blocks * channels,
            ready(dy).reshape(-1),
            tuple(ready(x).reshape(-1) for x in xs), means, height * width, sums.reshape(-1),
        )  # fmt: skip
    return sums


@jit(allocates=False)
def _norm_gradient(dy, x, mean, a, e, f, pixels, out, first, end):
    lanes = 64 // dy.itemsize
    for plane in range(first, end):
        at = plane * lanes
        start = at * pixels
        factor, offset, slope = load(a, at), load(e, at), load(f, at)
        middle = broadcast(mean[plane % mean.size])
        for i in range(start, start + pixels * lanes, lanes):
            value = load(dy, i) * factor - offset
            store(out, i, value - (load(x, i) - middle) * slope)


def norm_gradient(dy, x, mean, a, e, f):
    """dx = a dy - e - f (x - mean): the backward of a batch norm, its sums over the batch known.

    dy, x (blocks, C, H, W, L), mean (C,), a, e, f (blocks, C, L), see `norm_slopes`.
    """
    dx = empty(dy.shape, dy.dtype)
    if dx.size:
        run_tasks(
            _norm_gradient, COST * dx.size, len(dy) * dy.shape[1],
            ready(dy).reshape(-1), ready(x).reshape(-1), mean,
            a.reshape(-1), e.reshape(-1), f.reshape(-1), dy.shape[2] * dy.shape[3], dx.reshape(-1),
        )  # fmt: skip
    return dx


@jit(allocates=False)
def _scale(dy, factor, pixels, out, first, end):
    lanes = 64 // dy.itemsize
    for plane in range(first, end):
        by = load(factor, plane * lanes)
        start = plane * pixels * lanes
        for i in range(start, start + pixels * lanes, lanes):
            store(out, i, load(dy, i) * by)


def scale_lanes(dy, factor):
    """dy (blocks, C, H, W, L) times a factor (blocks, C, L) for each lane."""
    out = empty(dy.shape, dy.dtype)
    if out.size:
        run_tasks(
            _scale, COST * dy.size, len(dy) * dy.shape[1],
            ready(dy).reshape(-1), ready(factor).reshape(-1),
            dy.shape[2] * dy.shape[3], out.reshape(-1),
        )  # fmt: skip
    return out


@jit
def _statistics(sums, squares, batch, pixels, scale, eps, running_mean, running_var, momentum, mean, inverse):
    lanes, count = sums.shape[2], batch * pixels
    real = mean.dtype.type
    for c in range(mean.size):
        total, spread = 0.0, 0.0
        for i in range(batch):
            total += sums[i // lanes, c, i % lanes]
        centre = total / count
        for i in range(batch):
            deviation = sums[i // lanes, c, i % lanes] / pixels - centre
            spread += squares[i // lanes, c, i % lanes] + pixels * deviation * deviation
        by = scale[c] if scale.size else real(1)
        mean[c] = real(centre) * by
        var = spread / count * by * by
        inverse[c] = 1 / np.sqrt(var + eps)
        if momentum > 0:
            running_mean[c] += real(momentum) * (mean[c] - running_mean[c])
            running_var[c] += real(momentum) * (real(var * count / (count - 1)) - running_var[c])


def batch_statistics(sums, squares, batch, pixels, scale, eps, running_mean, running_var, momentum):
    """(mean, 1 / √(var + eps)), both (C,), of a batch of images of `pixels` pixels.

    sums, squares (blocks, C, L): Σ z and Σ (z - mean of the lane)², see `moments`. scale (C,), or empty for 1: what z was
    multiplied by afterwards. The running arrays move towards mean and unbiased variance, in place.
    Accumulated in float64 (Chan, Golub & LeVeque 1979): where z are integers with an integer mean,
    z · scale - mean · scale is exactly 0.
    """
    mean, inverse = (np.empty(sums.shape[1], sums.dtype) for _ in range(2))
    _statistics(
        sums, squares, batch, pixels, scale, float(eps), running_mean, running_var, float(momentum),
        mean, inverse,
    )  # fmt: skip
    return mean, inverse


@jit
def _norm_slopes(sum_dy, sum_dot, factor, inverse, count, batch, a, e, f):
    lanes = a.shape[2]
    for c in range(inverse.size):
        total, dot, by = 0.0, 0.0, float(inverse[c])
        for i in range(batch if count else 0):
            weight = factor[i // lanes, i % lanes]
            total += weight * sum_dy[i // lanes, c, i % lanes]
            dot += weight * sum_dot[i // lanes, c, i % lanes]
        offset, slope = 0.0, 0.0
        if count:
            offset, slope = by * total / count, by * by * by * dot / count
        for i in range(a.shape[0] * lanes):
            real = i < batch
            a[i // lanes, c, i % lanes] = factor[i // lanes, i % lanes] * by if real else 0.0
            e[i // lanes, c, i % lanes] = offset if real else 0.0
            f[i // lanes, c, i % lanes] = slope if real else 0.0


def norm_slopes(sum_dy, sum_dot, factor, inverse, count, batch):
    """The a, e, f (blocks, C, L) of `norm_gradient`, for the gradient factor · dy of a batch norm.

    sum_dy, sum_dot (blocks, C, L): two of `lane_sums`, of dy and of dy (x - mean). factor (blocks, L), one
    for each sample; inverse (C,): 1 / √(v + ε). count: the pixels of the batch, or 0 where mean
    and variance are constants (evaluation). Zero in lanes without an image.
    """
    a, e, f = (np.empty(sum_dy.shape, sum_dy.dtype) for _ in range(3))
    _norm_slopes(sum_dy, sum_dot, factor, inverse, count, batch, a, e, f)
    return a, e, f


@jit(allocates=False)
def plane_moments(z, start, pixels, scale, scaled, sums, squares, at):
    """Σ z and Σ (z - mean)² of a plane, lane by lane; then z is multiplied by the scale, if `scaled`.

    One pass: deviations from the first pixel instead of the mean cost at most a factor of `pixels` in
    rounding, however far from zero the data lie. Sums of integers stay exact.
    """
    lanes = 64 // z.itemsize
    first, by = load(z, start), broadcast(scale)
    total = broadcast(z.dtype.type(0))
    square = total
    for i in range(start, start + pixels * lanes, lanes):
        value = load(z, i)
        deviation = value - first
        total = total + deviation
        square = multiply_add(deviation, deviation, square)
        if scaled:
            store(z, i, value * by)
    count = broadcast(z.dtype.type(pixels))
    store(sums, at, multiply_add(first, count, total))
    store(squares, at, square - total * total / count)


@jit(allocates=False)
def _moments(x, pixels, sums, squares, first, end):
    lanes = 64 // x.itemsize
    for plane in range(first, end):
        at = plane * lanes
        plane_moments(x, at * pixels, pixels, x.dtype.type(1), False, sums, squares, at)


def moments(x):
    """Lane sums of x (blocks, C, H, W, L): Σ x, and Σ (x - mean of the lane)², both (blocks, C, L)."""
    blocks, channels, height, width, lanes = x.shape
    sums, squares = (np.empty((blocks, channels, lanes), x.dtype) for _ in range(2))
    run_tasks(
        _moments, COST * x.size, blocks * channels,
        ready(x).reshape(-1), height * width, sums.reshape(-1),
        squares.reshape(-1),
    )  # fmt: skip
    return sums, squares
