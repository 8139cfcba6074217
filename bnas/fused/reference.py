"""The array functions of fused training in plain NumPy: the oracle of `bnas.fused.kernels`.

Each public name of `bnas.fused.kernels` stands here once more with the same signature, written to be read and
not to be fast. Arrays are in lanes, (blocks, C, H, W, L), where a docstring does not say otherwise;
`bnas.fused.kernels.lanes` tells the layout.
"""

import numpy as np

from bnas.fused.kernels.lanes import lanes_of
from bnas.fused.kernels.separable import Unit
from bnas.reference import avg_pool2d, avg_pool2d_dx, max_pool2d, max_pool2d_dx


def to_lanes(x):
    """x (N, C, H, W) -> (blocks, C, H, W, L), the missing images of the last block zeros."""
    lanes = lanes_of(x.dtype)
    blocks = -(-len(x) // lanes)
    full = np.zeros((blocks * lanes, *x.shape[1:]), x.dtype)
    full[: len(x)] = x
    return np.ascontiguousarray(np.moveaxis(full.reshape(blocks, lanes, *x.shape[1:]), 1, -1))


def from_lanes(x, batch):
    """The way back of `to_lanes`, for a batch of so many images."""
    images = np.moveaxis(x, -1, 1).reshape(-1, *x.shape[1:-1])
    return images[:batch].copy()


def _by_channel(values):
    """(C,) to meet (blocks, C, H, W, L)."""
    return values[:, None, None, None]


def weighted_sum(base, xs, means, factors, offset):
    """y = base + offset + Σ_m factors_m (x_m - means_m): batch norms and their weighted sum in one pass.

    base: (blocks, C, H, W, L) or None for zero; xs: M such arrays; means (M, C) float64; factors (M,
    blocks, C, L) and offset (blocks, C, L), zero in lanes without an image -> (blocks, C, H, W, L).
    """
    y = np.zeros(xs[0].shape) if base is None else base.astype(np.float64)
    y += offset[:, :, None, None]
    for x, mean, factor in zip(xs, means, factors):
        y += (x - _by_channel(mean)) * factor[:, :, None, None]
    return y.astype(xs[0].dtype)


def lane_sums(dy, xs, means):
    """Sums over pixels, each lane on its own: Σ dy, and Σ dy (x_m - means_m) for every x_m.

    dy and M arrays x_m (blocks, C, H, W, L), means (M, C) float64 -> float64 (1 + M, blocks, C, L). All
    that the backward of a weighted sum of batch norms needs to know of the whole batch.
    """
    products = [dy * (x - _by_channel(mean)) for x, mean in zip(xs, means)]
    return np.stack([part.sum(axis=(2, 3), dtype=np.float64) for part in (dy, *products)])


def norm_gradient(dy, x, mean, inverse, a, e, f):
    """dx = a dy - e - f (x - mean) inverse: the backward of a batch norm, its sums over the batch known.

    dy, x (blocks, C, H, W, L), mean (C,) float64, inverse (C,), a, e, f (blocks, C, L), see `norm_slopes`.
    """
    a, e, f = (s[:, :, None, None] for s in (a, e, f))
    normed = (x - _by_channel(mean)) * _by_channel(inverse)
    return (a * dy - e - f * normed).astype(x.dtype, order="C")


def norm_slopes(sum_dy, sum_dot, factor, inverse, count, batch):
    """The a, e, f (blocks, C, L) of `norm_gradient`, for the gradient factor · dy of a batch norm.

    sum_dy, sum_dot (blocks, C, L): two of `lane_sums`, of dy and of dy (x - mean). factor (blocks, L),
    one for each sample; inverse (C,): 1 / √(v + ε). count: the values of a channel in the batch, or 0
    where mean and variance are constants (evaluation). Of the dtype of `inverse`, zero in lanes without an
    image.
    """
    blocks, channels, lanes = sum_dy.shape
    real = (np.arange(blocks * lanes) < batch).reshape(blocks, 1, lanes)
    by = inverse.astype(np.float64)[:, None]
    factor = np.where(real, factor[:, None], 0).astype(np.float64)
    offset = slope = np.zeros((channels, 1))
    if count:
        offset = by * (factor * sum_dy).sum(axis=(0, 2))[:, None] / count
        slope = by**2 * (factor * np.where(real, sum_dot, 0)).sum(axis=(0, 2))[:, None] / count
    parts = (np.broadcast_to(part * real, sum_dy.shape) for part in (factor * by, offset, slope))
    return tuple(part.astype(inverse.dtype, order="C") for part in parts)


def scale_lanes(dy, factor):
    """dy (blocks, C, H, W, L) times a factor (blocks, C, L) for each lane."""
    return dy * factor[:, :, None, None]


def moments(x):
    """Lane sums of x (blocks, C, H, W, L): Σ x, and Σ (x - mean of the lane)², float64 (blocks, C, L)."""
    x = x.astype(np.float64)
    mean = x.mean(axis=(2, 3), keepdims=True)
    return x.sum(axis=(2, 3)), ((x - mean) ** 2).sum(axis=(2, 3))


def batch_statistics(sums, squares, batch, pixels, scale, eps, running_mean, running_var, momentum):
    """(mean, 1 / √(var + eps)), both (C,), of a batch of images of `pixels` pixels.

    sums, squares (blocks, C, L): as of `moments`. scale (C,), or empty for 1: what z was multiplied by
    afterwards. The running arrays move towards mean and unbiased variance, in place. The mean is float64,
    the other of their dtype. Accumulated in float64 (Chan, Golub & LeVeque 1979): where z are integers with
    an integer mean, z · scale - mean · scale is exactly 0.
    """
    count, real = batch * pixels, scale.dtype.type
    sums, squares = (from_lanes(s[:, :, None, None], batch)[..., 0, 0] for s in (sums, squares))
    centre = sums.sum(axis=0) / count
    spread = squares.sum(axis=0) + pixels * ((sums / pixels - centre) ** 2).sum(axis=0)
    by = scale if scale.size else real(1)
    near = centre.astype(scale.dtype)
    mean, var = near * by + (centre - near) * by, spread / count * by * by
    if momentum > 0:
        running_mean += real(momentum) * (mean.astype(scale.dtype) - running_mean)
        unbiased = (var * count / (count - 1)).astype(scale.dtype)
        running_var += real(momentum) * (unbiased - running_var)
    return mean, (1 / np.sqrt(var + eps)).astype(scale.dtype)


def pool_lanes(x, largest, kernel, stride, padding):
    """Pooling of x (blocks, C, H, W, L) -> (blocks, C, Ho, Wo, L).

    largest: whether the largest pixel of each window, not the mean of those inside the image. kernel,
    stride and padding are one number for both axes; every window sees a pixel. NaN is larger than all.
    """
    images, window = (
        from_lanes(x, len(x) * x.shape[-1]),
        [(n, n) for n in (kernel, stride, padding)],
    )
    if largest:
        return to_lanes(max_pool2d(images, *window, (1, 1))[0])
    return to_lanes(avg_pool2d(images, *window, False))


def pool_lanes_dx(dy, y, x, largest, kernel, stride, padding):
    """Gradient of `pool_lanes` for x; of equal pixels the first in row order counts.

    A maximum that is NaN equals no pixel: its gradient is dropped.
    """
    images, dy, y = (from_lanes(a, len(a) * a.shape[-1]) for a in (x, dy, y))
    window = [(n, n) for n in (kernel, stride, padding)]
    if not largest:
        return to_lanes(avg_pool2d_dx(dy, images.shape, *window, False))
    index = max_pool2d(images, *window, (1, 1))[1]
    return to_lanes(max_pool2d_dx(dy, np.where(np.isnan(y), -1, index), images.shape))


def real_unit(depthwise, pointwise):
    """The Unit of real weights (C, 1, Kh, Kw), or None for none, and (Cout, C, 1, 1)."""
    nothing = np.empty(0, pointwise.dtype)
    if depthwise is None:
        depthwise = np.ones(pointwise.shape[1], pointwise.dtype)
    return Unit(depthwise.ravel(), nothing, pointwise.ravel(), nothing, False)


def binary_unit(depthwise, pointwise, binary_weights=True):
    """The Unit of 1-bit inputs and latent weights, of the shapes as in `real_unit`: signs, and β = mean|w|
    (Eq. 4.23).

    Without `binary_weights` the weights are real and the scales ones.
    """
    if not binary_weights:
        unit = real_unit(depthwise, pointwise)
        inner = [] if depthwise is None else np.ones(len(depthwise))
        return unit._replace(inner=np.array(inner, pointwise.dtype), binary=True)

    def parts(w):
        return _signs(w).ravel(), np.abs(w).mean(axis=(1, 2, 3)).astype(w.dtype)

    if depthwise is None:
        first = np.ones(pointwise.shape[1], pointwise.dtype), np.empty(0, pointwise.dtype)
    else:
        first = parts(depthwise)
    return Unit(*first, *parts(pointwise), True)


def _signs(x):
    return np.where(x > 0, 1, -1).astype(x.dtype)


def _unit_taps(size, window):
    """For every tap: its number, and the pixels (rows, columns) that it sees, -1 outside the image."""
    rows, columns = (
        np.where((at >= 0) & (at < n), at, -1) for at, n in zip(window.seen(size), size)
    )
    for number, (i, j) in enumerate(np.ndindex(*window.kernel)):
        yield number, [rows[:, i], columns[:, j]]


def _unit_depthwise(x, w, window):
    """x (N, C, H, W), w (C, T) -> (N, C, Ho, Wo)."""
    framed = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)))  # what -1 sees is zero
    return sum(
        w[:, t, None, None] * framed[:, :, rows[:, None], columns]
        for t, (rows, columns) in _unit_taps(x.shape[2:], window)
    )


def _unit_forward(x, norm, unit, window):
    """(normed input, activated input, depthwise result times β, its activation), all NCHW."""
    mean, scale, shift = (part[:, None, None] for part in norm)
    normed = ((from_lanes(x, len(x) * x.shape[-1]) - mean) * scale + shift).astype(x.dtype)
    activated = _signs(normed) if unit.binary else np.maximum(normed, 0)
    dense = _unit_depthwise(activated, unit.depthwise.reshape(len(mean), -1), window)
    if not unit.inner.size:
        return normed, activated, dense, dense
    dense = dense * unit.inner[:, None, None]
    return normed, activated, dense, _signs(dense)


def separable(x, norm, unit, window):
    """One unit: x (blocks, C, H, W, L) -> (z (blocks, Cout, Ho, Wo, L), sums, squares).

    real     x -> norm -> max(., 0) -> depthwise w ----------------> pointwise v
    1-bit    x -> norm -> sign ------> depthwise sign w, times β -> sign -> pointwise sign v, times β

    norm: (mean, scale, shift), each (C,), the mean float64, for (x - mean) · scale + shift. unit: a Unit.
    window: the Window of the depthwise convolution, of a kernel (1, 1) where there is none. sums and squares
    (blocks, Cout, L): the `moments` of z before the last β.
    """
    *_, signal = _unit_forward(x, norm, unit, window)
    z = to_lanes(np.einsum("oc,ncij->noij", unit.pointwise.reshape(-1, x.shape[1]), signal))
    sums, squares = moments(z)
    return z * _by_channel(unit.scale) if unit.scale.size else z, sums, squares


def _slope(x, slope):
    """The derivative that stands for an activation's at x."""
    if slope == "relu":
        return x > 0
    if slope == "clip":
        return np.abs(x) <= 1
    if slope == "polynomial":
        return np.maximum(2 - 2 * np.abs(x), 0)
    return np.ones_like(x)


def separable_gradients(dy, z, after, x, norm, unit, window, slope, learns, dx=None, sums=None):
    """Backward of `separable` and of a batch norm after it.

    dy, z (blocks, Cout, Ho, Wo, L): the gradient after the norm, and what the unit gave. after:
    (mean, inverse (Cout,), a, e, f (blocks, Cout, L)) of `norm_gradient`. x, norm, unit, window: as they went
    forward. slope: "relu", or a surrogate of sign, "clip", "identity" or "polynomial". learns:
    whether gradients of the weights are wanted. dx: where to add the gradient, or None for a new array.
    sums: float64 (2, blocks, C, L) to be filled with the `lane_sums` of dx and x, about the mean of `norm`, for
    the backward of that norm, or None.

    Returns (dx, the gradient for the norm's output before the activation, like x; d depthwise (C, T) and
    d pointwise (Cout, C), or None).
    """
    dz = norm_gradient(dy, z, *after)
    if unit.scale.size:
        dz = dz * _by_channel(unit.scale)
    dz = from_lanes(dz, len(x) * x.shape[-1])
    normed, activated, dense, signal = _unit_forward(x, norm, unit, window)
    ddense = np.einsum("oc,noij->ncij", unit.pointwise.reshape(-1, x.shape[1]), dz)
    if unit.inner.size:
        ddense = ddense * _slope(dense, slope) * unit.inner[:, None, None]
    w = unit.depthwise.reshape(x.shape[1], -1)
    framed = np.zeros((*activated.shape[:2], *(n + 1 for n in activated.shape[2:])), x.dtype)
    seen = np.pad(activated, ((0, 0), (0, 0), (0, 1), (0, 1)))
    dw = np.empty_like(w)
    for t, (rows, columns) in _unit_taps(activated.shape[2:], window):
        framed[:, :, rows[:, None], columns] += w[:, t, None, None] * ddense
        products = seen[:, :, rows[:, None], columns] * ddense
        dw[:, t] = products.sum(axis=(0, 2, 3), dtype=np.float64)
    dnormed = to_lanes(np.ascontiguousarray(framed[:, :, :-1, :-1] * _slope(normed, slope)))
    if dx is not None:
        dx += dnormed
        dnormed = dx
    if sums is not None:
        sums[...] = lane_sums(dnormed, (x,), norm[0][None])
    if not learns:
        return dnormed, None, None
    dpointwise = np.einsum("noij,ncij->oc", dz, signal, dtype=np.float64)
    return dnormed, dw, dpointwise.astype(x.dtype)
