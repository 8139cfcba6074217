"""Differences of fourth order, and other formulas for the derivatives."""

import numpy as np


def sign(x):
    return 2 * (x > 0).astype(x.dtype) - 1


def sign_backward(dy, x, surrogate, temperature):
    kind = x.dtype.type
    inside = ((x >= -1) & (x <= 1)).astype(kind)
    if surrogate == "identity":
        return dy.copy()
    if surrogate == "clip":
        return dy * inside
    if surrogate == "polynomial":
        return dy * kind(2) * np.maximum(kind(1) - np.abs(x), kind(0))
    if surrogate == "tanh":
        t = np.tanh(kind(temperature) * x)
        return dy * kind(temperature) * (kind(1) - t) * (kind(1) + t)
    raise ValueError(surrogate)


def slopes(s, x, h):
    x = np.asarray(x, np.float64)
    near, far = s(x + h) - s(x - h), s(x + 2 * h) - s(x - 2 * h)
    return (8 * near - far) / (12 * h)


def estimate(loss_slope, s, w):
    b = sign(w)
    return np.asarray(loss_slope(b) * slopes(s, w, 1e-4), w.dtype)


def is_derivative(backward, s, x, kinks):
    dy = np.cos(1 + np.arange(x.size)).reshape(x.shape) + 2 * (-1.0) ** np.arange(x.size).reshape(
        x.shape
    )
    left = np.ones(x.shape, bool)
    for kink in kinks:
        left &= np.abs(x - kink) > 1e-3
    right, got = slopes(s, x, 2e-4)[left] * dy[left], backward(dy, x)[left]
    if not left.any() or not np.any(np.abs(right) > 1e-6):
        return False
    return np.allclose(got, right, rtol=0, atol=1e-4 * np.abs(right).max())


def step(w, db, rate):
    inside = (w >= -1) & (w <= 1)
    out = np.minimum(np.maximum(w, w.dtype.type(-1)), w.dtype.type(1))
    out[inside] = np.clip(w[inside] - w.dtype.type(rate) * db[inside], -1, 1)
    return out
