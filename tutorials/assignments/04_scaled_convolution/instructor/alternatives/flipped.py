"""Gradients as convolutions too: for x with the kernel turned round, for w with dy as the kernel.

Bits instead of signs in the forward: n - 2 · (differing bits), with n the taps that lie inside.
"""

import numpy as np


def correlate(a, b):
    """(N, C, H, W), (O, C, Kh, Kw) -> (N, O, Ho, Wo), no padding."""
    windows = np.lib.stride_tricks.sliding_window_view(a, b.shape[2:], axis=(2, 3))
    return np.einsum("nchwkl,ockl->nohw", windows, b, optimize=True)


def pad(a, height, width):
    return np.pad(a, ((0, 0), (0, 0), (height, height), (width, width)))


def sign(v):
    return np.copysign(np.ones_like(v), np.where(v > 0, v, -1))


def integers(x, w, padding):
    inside = pad(np.ones((1, *x.shape[1:])), padding, padding)
    ones, bits = pad((x > 0) * 1.0, padding, padding), (w > 0) * 1.0
    taps = correlate(inside, np.ones(w.shape))
    differ = correlate(ones, 1 - bits) + correlate(inside - ones, bits)
    return np.rint(taps - 2 * differ)


def forward(x, w, beta, padding):
    return integers(x, w, padding).astype(x.dtype) * beta.reshape(-1, 1, 1)


def input_gradient(dy, x, w, beta, padding):
    Kh, Kw = w.shape[2:]
    turned = sign(w)[:, :, ::-1, ::-1].swapaxes(0, 1) * beta[:, None, None]
    full = correlate(pad(dy, Kh - 1, Kw - 1), turned)
    H, W = x.shape[2:]
    return np.where(np.abs(x) > 1, 0, full[:, :, padding : padding + H, padding : padding + W])


def weight_gradient(dy, x, w, beta, padding):
    a = pad(sign(x), padding, padding).swapaxes(0, 1)
    dsign = correlate(a, dy.swapaxes(0, 1)).swapaxes(0, 1)
    return np.einsum("ockl,o->ockl", np.where(np.abs(w) > 1, 0, dsign), beta)


def scale_gradient(dy, x, w, padding):
    channels = dy.swapaxes(0, 1).reshape(dy.shape[1], -1)
    s = integers(x, w, padding).swapaxes(0, 1).reshape(channels.shape)
    return np.array([row @ other for row, other in zip(channels, s)], dtype=dy.dtype)


def best_scale(w):
    return np.linalg.norm(w.reshape(len(w), -1), ord=1, axis=1) / w[0].size


def reconstruction(w, beta):
    flat, n = np.abs(w).reshape(len(w), -1).astype(np.float64), w[0].size
    value = (flat**2).sum() + (n * beta.astype(np.float64) ** 2 - 2 * beta * flat.sum(axis=1)).sum()
    dw = 2 * w - 2 * sign(w) * beta.reshape(-1, 1, 1, 1)
    return value, dw, (2 * n * beta - 2 * flat.sum(axis=1)).astype(w.dtype)
