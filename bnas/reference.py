"""The array floor in plain NumPy: the oracle of every kernel.

Each public name of `bnas.kernels` stands here once more with the same signature, written to be
read and not to be fast. Two helpers carry most of it: `_windows` lays out what each tap of a
sliding window sees, `_fold` is its adjoint and adds everything back. Arrays are NCHW; `stride`,
`padding`, `dilation` and `kernel` are pairs (height, width).
"""

from typing import NamedTuple

import numpy as np

WORD = 64  # bits in a packed word
VECTOR = 64  # bytes of a vector


def output_size(size, kernel, stride, padding, dilation):
    """Number of window positions along one axis (all five are ints)."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _output_shape(shape, kernel, stride, padding, dilation):
    """Output (height, width) of a window of `kernel` sliding over an NCHW `shape`."""
    return tuple(map(output_size, shape[2:], kernel, stride, padding, dilation))


def _tap_slices(tap, out_shape, stride, dilation):
    """Slices of the padded image that the tap (row, column) sees, one pixel per output."""
    return tuple(
        slice(t * d, t * d + (n - 1) * s + 1, s)
        for t, d, n, s in zip(tap, dilation, out_shape, stride)
    )


def _windows(x, kernel, stride, padding, dilation, fill=0):
    """x (N, C, H, W) -> (N, C, Kh, Kw, Ho, Wo): what every tap sees, `fill` in the padding."""
    (ph, pw), out_shape = padding, _output_shape(x.shape, kernel, stride, padding, dilation)
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=fill)
    windows = np.empty((*x.shape[:2], *kernel, *out_shape), x.dtype)
    for i, j in np.ndindex(*kernel):
        rows, cols = _tap_slices((i, j), out_shape, stride, dilation)
        windows[:, :, i, j] = padded[:, :, rows, cols]
    return windows


def _fold(windows, x_shape, stride, padding, dilation):
    """The adjoint of `_windows`: add what every tap holds back onto an image of `x_shape`."""
    n, c, h, w = x_shape
    (ph, pw), kernel, out_shape = padding, windows.shape[2:4], windows.shape[4:]
    padded = np.zeros((n, c, h + 2 * ph, w + 2 * pw), windows.dtype)
    for i, j in np.ndindex(*kernel):
        rows, cols = _tap_slices((i, j), out_shape, stride, dilation)
        padded[:, :, rows, cols] += windows[:, :, i, j]
    return np.ascontiguousarray(padded[:, :, ph : ph + h, pw : pw + w])


# ---------------------------------------------------------------------------------------- 1 bit


def pack_bits(x, groups=1):
    """Signs of x, 64 channels to a word.

    x (N, C, H, W) of any float dtype -> uint64 (N, groups, H, W, ceil(C / groups / 64)).
    Bit k of word j is 1 iff channel 64 j + k of the group is > 0, so that 0, -0.0 and NaN count
    as -1. Unused bits are 0.
    """
    n, c, h, w = x.shape
    bits = (x > 0).reshape(n, groups, c // groups, h, w)
    words = np.zeros((n, groups, h, w, -(-(c // groups) // WORD)), np.uint64)
    for k in range(c // groups):
        words[..., k // WORD] |= bits[:, :, k].astype(np.uint64) << np.uint64(k % WORD)
    return words


def unpack_bits(words, channels_per_group, dtype):
    """The inverse of `pack_bits` up to magnitude.

    uint64 (N, groups, H, W, words) -> +1 and -1 of `dtype`, (N, groups * channels_per_group, H, W).
    """
    n, groups, h, w, count = words.shape
    bits = words[..., None] >> np.arange(WORD, dtype=np.uint64) & np.uint64(1)
    bits = bits.reshape(n, groups, h, w, count * WORD)[..., :channels_per_group]
    signs = np.where(bits == 1, 1, -1).astype(dtype)
    return np.ascontiguousarray(signs.transpose(0, 1, 4, 2, 3)).reshape(
        n, groups * channels_per_group, h, w
    )


def xnor_matmul(a, b, bits):
    """Products of +1/-1 vectors that are packed in words: y = a bᵀ as integers.

    a (M, K), b (N, K) uint64, of which the first `bits` bits count (the others must be equal in a and
    b, as zeros are) -> int32 (M, N): bits - 2 popcount(a xor b).
    """
    differing = np.bitwise_count(a[:, None, :] ^ b[None, :, :])
    return (bits - 2 * differing.sum(axis=2, dtype=np.int64)).astype(np.int32)


def xnor_conv2d(x, w, beta, stride, padding, dilation, groups):
    """The 1-bit convolution: sign(x) * sign(w), times beta if given (Eq. 4.22).

    x (N, Cin, H, W), w (Cout, Cin / groups, Kh, Kw) of any real dtype, beta (Cout,) or None
    -> (N, Cout, Ho, Wo). Without beta: int32, exact. With it: beta's dtype, each integer converted and
    multiplied. A padded tap adds 0. sign is +1 above 0, otherwise -1.
    """
    x_sign = np.where(x > 0, 1, -1).astype(np.int32)
    w_sign = np.where(w > 0, 1, -1).astype(np.int32)
    y = conv2d(x_sign, w_sign, None, stride, padding, dilation, groups)
    # β multiplies the finished integer: inside the sum, ±β would cancel to ±eps instead of 0.
    return y if beta is None else y.astype(beta.dtype) * beta[:, None, None]


# ---------------------------------------------------------------------------------- convolution


def conv2d(x, w, bias, stride, padding, dilation, groups):
    """Convolution with zero padding: x (N, Cin, H, W), w (Cout, Cin / groups, Kh, Kw) -> (N, Cout, Ho, Wo).

    bias (Cout,) or None; x, w and bias have one dtype.
    """
    (n, c_in), c_out = x.shape[:2], w.shape[0]
    windows = _windows(x, w.shape[2:], stride, padding, dilation)
    windows = windows.reshape(n, groups, c_in // groups, *windows.shape[2:])
    w = w.reshape(groups, c_out // groups, *w.shape[1:])
    y = np.ascontiguousarray(np.einsum("ngcijhw,gocij->ngohw", windows, w))
    y = y.reshape(n, c_out, *y.shape[3:])
    return y if bias is None else y + bias[:, None, None]


# ------------------------------------------------------------------------- depthwise convolution


def depthwise_conv2d(x, w, stride, padding, dilation):
    """Depthwise convolution: x (N, C, H, W), w (C m, 1, Kh, Kw) -> y (N, C m, Ho, Wo).

    Output channel o reads input channel o // m; m is the channel multiplier.
    """
    n, c = x.shape[:2]
    windows = _windows(x, w.shape[2:], stride, padding, dilation)
    y = np.einsum("ncijhw,cmij->ncmhw", windows, w.reshape(c, -1, *w.shape[2:]))
    return np.ascontiguousarray(y).reshape(n, w.shape[0], *y.shape[3:])


def depthwise_conv2d_dx(dy, w, x_shape, stride, padding, dilation):
    """Gradient for x: dy (N, C m, Ho, Wo), w (C m, 1, Kh, Kw) -> dx of `x_shape` (N, C, H, W)."""
    n, c = x_shape[:2]
    windows = np.einsum(
        "ncmhw,cmij->ncijhw",
        dy.reshape(n, c, w.shape[0] // c, *dy.shape[2:]),
        w.reshape(c, -1, *w.shape[2:]),
    )
    return _fold(windows, x_shape, stride, padding, dilation)


def depthwise_conv2d_dw(dy, x, w_shape, stride, padding, dilation):
    """Gradient for w: dy (N, C m, Ho, Wo), x (N, C, H, W) -> dw of `w_shape` (C m, 1, Kh, Kw)."""
    n, c = x.shape[:2]
    windows = _windows(x, w_shape[2:], stride, padding, dilation)
    dw = np.einsum("ncmhw,ncijhw->cmij", dy.reshape(n, c, w_shape[0] // c, *dy.shape[2:]), windows)
    return np.ascontiguousarray(dw).reshape(w_shape)


# --------------------------------------------------------------------------------------- pooling


def max_pool2d(x, kernel, stride, padding, dilation):
    """Largest value of every window: x (N, C, H, W) -> (y, index), both (N, C, Ho, Wo).

    index is int32: the flat position h W + w of the first maximum in row-major order. Padding
    never wins; a window with nothing but padding gives -inf and index -1. NaN counts as larger
    than everything (of several NaN the last is indexed, as in PyTorch).
    """
    h, w = x.shape[2:]
    values = _windows(x, kernel, stride, padding, dilation)
    grid = np.arange(h * w, dtype=np.int32).reshape(1, 1, h, w)
    positions = _windows(grid, kernel, stride, padding, dilation, fill=-1)
    y = np.full((*x.shape[:2], *values.shape[4:]), -np.inf, x.dtype)
    index = np.full(y.shape, -1, np.int32)
    for i, j in np.ndindex(*kernel):
        value, position = values[:, :, i, j], positions[:, :, i, j]
        better = (value > y) | np.isnan(value) | (index < 0)
        take = better & (position >= 0)
        y = np.where(take, value, y)
        index = np.where(take, position, index)
    return y, index


def max_pool2d_dx(dy, index, x_shape):
    """Gradient of `max_pool2d`: each dy (N, C, Ho, Wo) goes to the pixel that won, index >= 0."""
    dx = np.zeros(x_shape, dy.dtype)
    for n, c in np.ndindex(*x_shape[:2]):
        won = index[n, c] >= 0
        np.add.at(dx[n, c].reshape(-1), index[n, c][won], dy[n, c][won])
    return dx


def _window_counts(shape, kernel, stride, padding, count_include_pad, dtype):
    """Divisor of every average: (Ho, Wo), pixels per window, with the padding or without."""
    inside = np.ones((1, 1, *shape[2:]), dtype)
    counts = _windows(inside, kernel, stride, padding, (1, 1), fill=float(count_include_pad))
    return np.maximum(counts.sum(axis=(2, 3))[0, 0], 1)


def avg_pool2d(x, kernel, stride, padding, count_include_pad):
    """Mean of every window: x (N, C, H, W) -> y (N, C, Ho, Wo).

    `count_include_pad` (bool) says whether padded zeros count in the divisor.
    """
    counts = _window_counts(x.shape, kernel, stride, padding, count_include_pad, x.dtype)
    return _windows(x, kernel, stride, padding, (1, 1)).sum(axis=(2, 3)) / counts


def avg_pool2d_dx(dy, x_shape, kernel, stride, padding, count_include_pad):
    """Gradient of `avg_pool2d`: dy (N, C, Ho, Wo) -> dx of `x_shape` (N, C, H, W)."""
    counts = _window_counts(x_shape, kernel, stride, padding, count_include_pad, dy.dtype)
    share = (dy / counts)[:, :, None, None]
    windows = np.broadcast_to(share, (*dy.shape[:2], *kernel, *dy.shape[2:]))
    return _fold(windows, x_shape, stride, padding, (1, 1))


# ----------------------------------------------------------------------------- batch normalisation


def _per_channel(values):
    return values[None, :, None, None]


def batch_norm(x, gamma, beta, eps):
    """Batch normalisation in training: y = gamma (x - mean) / sqrt(var + eps) + beta.

    x (N, C, H, W); gamma, beta (C,) or None for ones and zeros -> (y, mean, var). mean and the
    biased var (C,) have x's dtype and are accumulated in float64 in two passes; 0 without data.
    """
    count = max(x.size // x.shape[1], 1)
    mean = x.sum(axis=(0, 2, 3), dtype=np.float64) / count
    centred = x - _per_channel(mean)
    var = (centred**2).sum(axis=(0, 2, 3)) / count
    y = centred * _per_channel(1 / np.sqrt(var + eps))
    if gamma is not None:
        y = y * _per_channel(gamma)
    if beta is not None:
        y = y + _per_channel(beta)
    return y.astype(x.dtype, order="C"), mean.astype(x.dtype), var.astype(x.dtype)


def batch_norm_dx(dy, x, gamma, mean, var, eps):
    """Gradients of `batch_norm` -> (dx (N, C, H, W), dgamma (C,), dbeta (C,)).

    With x_hat the normalised x and averages over N, H, W:
    dx = gamma / sqrt(var + eps) (dy - avg(dy) - x_hat avg(dy x_hat)).
    """
    count = max(x.size // x.shape[1], 1)
    inv_std = 1 / np.sqrt(var.astype(np.float64) + eps)
    x_hat = (x - _per_channel(mean.astype(np.float64))) * _per_channel(inv_std)
    dbeta = dy.sum(axis=(0, 2, 3), dtype=np.float64)
    dgamma = (dy * x_hat).sum(axis=(0, 2, 3))
    scale = inv_std if gamma is None else gamma * inv_std
    dx = _per_channel(scale) * (
        dy - _per_channel(dbeta / count) - x_hat * _per_channel(dgamma / count)
    )
    return dx.astype(x.dtype, order="C"), dgamma.astype(x.dtype), dbeta.astype(x.dtype)


# ------------------------------------------------------------------------- images side by side


def lanes_of(dtype):
    """How many images stand side by side in lanes: 16 of float32, 8 of float64."""
    return VECTOR // np.dtype(dtype).itemsize


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

    base: (blocks, C, H, W, L) or None for zero; xs: M such arrays; means (M, C); factors (M, blocks,
    C, L) and offset (blocks, C, L), zero in lanes without an image -> (blocks, C, H, W, L).
    """
    y = np.zeros(xs[0].shape, xs[0].dtype) if base is None else base.copy()
    y += offset[:, :, None, None]
    for x, mean, factor in zip(xs, means, factors):
        y += (x - _by_channel(mean)) * factor[:, :, None, None]
    return y


def lane_sums(dy, xs, means):
    """Sums over pixels, each lane on its own: Σ dy, and Σ dy (x_m - means_m) for every x_m.

    dy and M arrays x_m (blocks, C, H, W, L), means (M, C) -> (1 + M, blocks, C, L). All that the
    backward of a weighted sum of batch norms needs to know of the whole batch.
    """
    products = [dy * (x - _by_channel(mean)) for x, mean in zip(xs, means)]
    return np.stack([product.sum(axis=(2, 3)) for product in (dy, *products)])


def norm_gradient(dy, x, mean, a, e, f):
    """dx = a dy - e - f (x - mean): the backward of a batch norm, its sums over the batch known.

    dy, x (blocks, C, H, W, L), mean (C,), a, e, f (blocks, C, L), see `norm_slopes`.
    """
    a, e, f = (s[:, :, None, None] for s in (a, e, f))
    return np.ascontiguousarray(a * dy - e - f * (x - _by_channel(mean)))


def norm_slopes(sum_dy, sum_dot, factor, inverse, count, batch):
    """The a, e, f (blocks, C, L) of `norm_gradient`, for the gradient factor · dy of a batch norm.

    sum_dy, sum_dot (blocks, C, L): two of `lane_sums`, of dy and of dy (x - mean). factor (blocks, L),
    one for each sample; inverse (C,): 1 / √(v + ε). count: the values of a channel in the batch, or 0
    where mean and variance are constants (evaluation). Zero in lanes without an image.
    """
    blocks, channels, lanes = sum_dy.shape
    real = (np.arange(blocks * lanes) < batch).reshape(blocks, 1, lanes)
    by = inverse.astype(np.float64)[:, None]
    factor = np.where(real, factor[:, None], 0).astype(np.float64)
    offset = slope = np.zeros((channels, 1))
    if count:
        offset = by * (factor * sum_dy).sum(axis=(0, 2))[:, None] / count
        slope = by**3 * (factor * np.where(real, sum_dot, 0)).sum(axis=(0, 2))[:, None] / count
    parts = (np.broadcast_to(part * real, sum_dy.shape) for part in (factor * by, offset, slope))
    return tuple(part.astype(sum_dy.dtype, order="C") for part in parts)


def scale_lanes(dy, factor):
    """dy (blocks, C, H, W, L) times a factor (blocks, C, L) for each lane."""
    return dy * factor[:, :, None, None]


def moments(x):
    """Lane sums of x (blocks, C, H, W, L): Σ x, and Σ (x - mean of the lane)², both (blocks, C, L)."""
    mean = x.mean(axis=(2, 3), keepdims=True)
    return x.sum(axis=(2, 3)), ((x - mean) ** 2).sum(axis=(2, 3))


def batch_statistics(sums, squares, batch, pixels, scale, eps, running_mean, running_var, momentum):
    """(mean, 1 / √(var + eps)), both (C,), of a batch of images of `pixels` pixels.

    sums, squares (blocks, C, L): as of `moments`. scale (C,), or empty for 1: what z was multiplied by
    afterwards. The running arrays move towards mean and unbiased variance, in place. Accumulated in
    float64 (Chan, Golub & LeVeque 1979): where z are integers with an integer mean, z · scale - mean ·
    scale is exactly 0.
    """
    count, real = batch * pixels, sums.dtype.type
    sums, squares = (from_lanes(s[:, :, None, None], batch)[..., 0, 0] for s in (sums, squares))
    centre = sums.sum(axis=0, dtype=np.float64) / count
    spread = squares.sum(axis=0) + pixels * ((sums / pixels - centre) ** 2).sum(axis=0)
    by = scale if scale.size else real(1)
    mean, var = centre.astype(sums.dtype) * by, spread / count * by * by
    if momentum > 0:
        running_mean += real(momentum) * (mean - running_mean)
        unbiased = (var * count / (count - 1)).astype(sums.dtype)
        running_var += real(momentum) * (unbiased - running_var)
    return mean, (1 / np.sqrt(var + eps)).astype(sums.dtype)


def pool_lanes(x, largest, kernel, stride, padding):
    """Pooling of x (blocks, C, H, W, L) -> (blocks, C, Ho, Wo, L).

    largest: whether the largest pixel of each window, not the mean of those inside the image. kernel,
    stride and padding are one number for both axes; every window sees a pixel. NaN is larger than all.
    """
    images, window = from_lanes(x, len(x) * x.shape[-1]), [(n, n) for n in (kernel, stride, padding)]
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


class Unit(NamedTuple):
    """The weights of one unit of `separable`, all flat.

    Attributes:
        depthwise: (C T,), real, or signs; T = 1 and ones for a pointwise convolution alone.
        inner: (C,), β of a 1-bit depthwise convolution; empty if no sign follows it.
        pointwise: (Cout C,), real, or signs.
        scale: (Cout,), β of a 1-bit pointwise convolution; empty for ones.
        binary: whether the input's activation is sign, not max(., 0).
    """

    depthwise: np.ndarray
    inner: np.ndarray
    pointwise: np.ndarray
    scale: np.ndarray
    binary: bool


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
    kernel, stride, padding, dilation, out_size = window
    if out_size is None:
        both = (stride, stride), padding, (dilation, dilation)
        out_size = tuple(map(output_size, size, kernel, *both))
    for number, tap in enumerate(np.ndindex(*kernel)):
        seen = [np.arange(n) * stride - p + t * dilation for n, p, t in zip(out_size, padding, tap)]
        yield number, [np.where((at >= 0) & (at < n), at, -1) for at, n in zip(seen, size)]


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
    normed = (from_lanes(x, len(x) * x.shape[-1]) - mean) * scale + shift
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

    norm: (mean, scale, shift), each (C,), for (x - mean) · scale + shift. unit: a Unit. window: (kernel,
    stride, padding, dilation, out_size); kernel, padding and out_size are (height, width), stride and
    dilation one number; a padding of -1 begins at the second pixel; an out_size of None follows from the
    rest. sums and squares (blocks, Cout, L): the `moments` of z before the last β.
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


def separable_gradients(dy, z, after, x, norm, unit, window, slope, learns, dx=None):
    """Backward of `separable` and of a batch norm after it.

    dy, z (blocks, Cout, Ho, Wo, L): the gradient after the norm, and what the unit gave. after:
    (mean (Cout,), a, e, f (blocks, Cout, L)) of `norm_gradient`. x, norm, unit, window: as they went
    forward. slope: "relu", or a surrogate of sign, "clip", "identity" or "polynomial". learns:
    whether gradients of the weights are wanted. dx: where to add the gradient, or None for a new array.

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
        dw[:, t] = (seen[:, :, rows[:, None], columns] * ddense).sum(axis=(0, 2, 3))
    dnormed = to_lanes(np.ascontiguousarray(framed[:, :, :-1, :-1] * _slope(normed, slope)))
    if dx is not None:
        dx += dnormed
        dnormed = dx
    if not learns:
        return dnormed, None, None
    return dnormed, dw, np.einsum("noij,ncij->oc", dz, signal)
