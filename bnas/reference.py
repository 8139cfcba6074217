"""The array floor in plain NumPy: the oracle of every kernel.

Each public name of `bnas.kernels` stands here once more with the same signature, written to be
read and not to be fast. Two helpers carry most of it: `_windows` lays out what each tap of a
sliding window sees, `_fold` is its adjoint and adds everything back. Arrays are NCHW; `stride`,
`padding`, `dilation` and `kernel` are pairs (height, width).
"""

from typing import NamedTuple

import numpy as np

WORD = 64  # bits in a packed word


def _output_size(size, kernel, stride, padding, dilation):
    """Number of window positions along one axis (all five are ints)."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _output_shape(shape, kernel, stride, padding, dilation):
    """Output (height, width) of a window of `kernel` sliding over an NCHW `shape`."""
    return tuple(map(_output_size, shape[2:], kernel, stride, padding, dilation))


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


class Signs(NamedTuple):
    """The signs of weights: int32 (Cout, Cin / groups, Kh, Kw), groups, and beta (Cout,), mean|w|."""

    signs: np.ndarray
    groups: int
    beta: np.ndarray


def pack_weights(w, groups):
    """The signs of floats w (Cout, Cin / groups, Kh, Kw), for `packed_xnor_conv2d`; `beta` is their mean|w|."""
    beta = np.abs(w).reshape(len(w), -1).mean(axis=1)
    return Signs(np.where(w > 0, 1, -1).astype(np.int32), groups, beta)


def xnor_conv2d(x, w, beta, stride, padding, dilation, groups):
    """The 1-bit convolution: sign(x) * sign(w), times beta if given (Eq. 4.22).

    x (N, Cin, H, W), w (Cout, Cin / groups, Kh, Kw) of any real dtype, beta (Cout,) or None
    -> (N, Cout, Ho, Wo). Without beta: int32, exact. With it: beta's dtype, each integer converted and
    multiplied. A padded tap adds 0. sign is +1 above 0, otherwise -1.
    """
    return packed_xnor_conv2d(x, pack_weights(w, groups), beta, stride, padding, dilation)


def packed_xnor_conv2d(x, weights, beta, stride, padding, dilation):
    """`xnor_conv2d` with what `pack_weights` has made of the weights."""
    x_sign = np.where(x > 0, 1, -1).astype(np.int32)
    y = conv2d(x_sign, weights.signs, None, stride, padding, dilation, weights.groups)
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
    by_channel = dy.reshape(n, c, w_shape[0] // c, *dy.shape[2:])
    dw = np.einsum("ncmhw,ncijhw->cmij", by_channel, windows, dtype=np.float64)
    return dw.astype(dy.dtype, order="C").reshape(w_shape)


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
    return np.maximum(counts.sum(axis=(2, 3), dtype=np.float64)[0, 0], 1)


def avg_pool2d(x, kernel, stride, padding, count_include_pad):
    """Mean of every window: x (N, C, H, W) -> y (N, C, Ho, Wo).

    `count_include_pad` (bool) says whether padded zeros count in the divisor.
    """
    counts = _window_counts(x.shape, kernel, stride, padding, count_include_pad, x.dtype)
    windows = _windows(x, kernel, stride, padding, (1, 1))
    return (windows.sum(axis=(2, 3), dtype=np.float64) / counts).astype(x.dtype)


def avg_pool2d_dx(dy, x_shape, kernel, stride, padding, count_include_pad):
    """Gradient of `avg_pool2d`: dy (N, C, Ho, Wo) -> dx of `x_shape` (N, C, H, W)."""
    counts = _window_counts(x_shape, kernel, stride, padding, count_include_pad, np.float64)
    share = (dy / counts)[:, :, None, None]
    windows = np.broadcast_to(share, (*dy.shape[:2], *kernel, *dy.shape[2:]))
    return _fold(windows, x_shape, stride, padding, (1, 1)).astype(dy.dtype)


# ----------------------------------------------------------------------------- batch normalisation


def _per_channel(values):
    return values[None, :, None, None]


def batch_norm(x, gamma, beta, eps):
    """Batch normalisation in training: y = gamma (x - mean) / sqrt(var + eps) + beta.

    x (N, C, H, W); gamma, beta (C,) or None for ones and zeros -> (y, mean, var). mean and the
    biased var (C,) are float64, accumulated in two passes; 0 without data. What
    differs from the mean by no more than rounding (2⁻²³ of the root mean square of the channel, in float64
    2⁻³⁶) counts as the mean, and a mean as small as that as 0.
    """
    count = max(x.size // x.shape[1], 1)
    mean = x.sum(axis=(0, 2, 3), dtype=np.float64) / count
    centred = x - _per_channel(mean)
    var = (centred**2).sum(axis=(0, 2, 3)) / count
    rounding = 2.0 ** (-23 if x.dtype == np.float32 else -36) * np.sqrt(mean**2 + var)
    mean = np.where(np.abs(mean) > rounding, mean, 0)
    centred = np.where(np.abs(centred) > _per_channel(rounding), centred, 0)
    y = centred * _per_channel(1 / np.sqrt(var + eps))
    if gamma is not None:
        y = y * _per_channel(gamma)
    if beta is not None:
        y = y + _per_channel(beta)
    return y.astype(x.dtype, order="C"), mean, var


def batch_norm_dx(dy, x, gamma, mean, var, eps):
    """Gradients of `batch_norm` -> (dx (N, C, H, W), dgamma (C,), dbeta (C,)); mean and var as it gave them.

    With x_hat the normalised x and averages over N, H, W:
    dx = gamma / sqrt(var + eps) (dy - avg(dy) - x_hat avg(dy x_hat)).
    """
    count = max(x.size // x.shape[1], 1)
    inv_std = 1 / np.sqrt(var + eps)
    x_hat = (x - _per_channel(mean)) * _per_channel(inv_std)
    dbeta = dy.sum(axis=(0, 2, 3), dtype=np.float64)
    dgamma = (dy * x_hat).sum(axis=(0, 2, 3))
    scale = inv_std if gamma is None else gamma * inv_std
    dx = _per_channel(scale) * (
        dy - _per_channel(dbeta / count) - x_hat * _per_channel(dgamma / count)
    )
    return dx.astype(x.dtype, order="C"), dgamma.astype(x.dtype), dbeta.astype(x.dtype)
