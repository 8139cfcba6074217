"""Loops over entries where that is possible, with Python's floats."""

import math

import numpy as np


def entry_by_entry(f, *arrays):
    out = np.empty(arrays[0].shape, arrays[0].dtype)
    for at in np.ndindex(out.shape):
        out[at] = f(*(float(array[at]) for array in arrays))
    return out


def sign(x):
    return entry_by_entry(lambda v: 1 if v > 0 else -1, x)


def sign_backward(dy, x, surrogate, temperature):
    def tanh(v):
        e = math.exp(-2 * abs(temperature * v))
        return temperature * 4 * e / (1 + e) ** 2  # 1 - tanh² = 1 / cosh²

    slope = {
        "clip": lambda v: 1 if -1 <= v <= 1 else 0,
        "identity": lambda v: 1,
        "polynomial": lambda v: 0 if abs(v) > 1 else 2 + 2 * v if v < 0 else 2 - 2 * v,
        "tanh": tanh,
    }
    if surrogate not in slope:
        raise ValueError(surrogate)
    return entry_by_entry(lambda v, d: d * slope[surrogate](v), x, dy)


def estimate(loss_slope, s, w):
    upstream = loss_slope(sign(w))

    def slope(v):
        ends = [float(s(np.array(v + h))) for h in (1e-5, -1e-5)]
        return (ends[0] - ends[1]) / 2e-5

    return entry_by_entry(lambda v, d: d * slope(v), w, upstream)


def is_derivative(backward, s, x, kinks):
    dy = np.where(np.arange(x.size) % 3, 0.7, -1.9).reshape(x.shape) + x / 5
    got = backward(dy, x)
    errors, largest = [], 0.0
    for at in np.ndindex(x.shape):
        if all(abs(x[at] - kink) > 1e-3 for kink in kinks):
            h = 1e-4
            ahead, behind = (float(s(x[at] + d)) for d in (h, -h))
            slope = dy[at] * (ahead - behind) / (2 * h)
            errors.append(abs(slope - got[at]))
            largest = max(largest, abs(slope))
    return largest > 1e-9 and all(error < 1e-3 * largest for error in errors)


def step(w, db, rate):
    def moved(v, d):
        if abs(v) <= 1:
            v = v - rate * d
        return min(max(v, -1), 1)

    return entry_by_entry(moved, w, db)
