"""The verdict by random directions, two evaluations each; gradients by way of the whole Jacobian."""

import numpy as np

EPS = np.finfo(float).eps


def derivative(f, x):
    x = np.array(x, dtype=float)
    h = np.abs(x) * EPS ** (1 / 3)
    h[h == 0] = EPS ** (1 / 3)
    above, below = x + h, x - h
    return (f(above) - f(below)) / (above - below)


def vector_jacobian(forward, inputs, dy):
    wide = [np.asarray(x, float) for x in inputs]
    out = []
    for i, x in enumerate(wide):
        columns = []
        for k in range(x.size):
            d = np.zeros(x.size)
            d[k] = 1e-5
            d = d.reshape(x.shape)
            ahead = forward([*wide[:i], x + d, *wide[i + 1 :]])
            behind = forward([*wide[:i], x - d, *wide[i + 1 :]])
            columns.append(np.ravel(ahead - behind) / 2e-5)
        jacobian = np.stack(columns, axis=1)
        out.append((jacobian.T @ np.ravel(dy)).reshape(x.shape))
    return out


def worst_error(analytic, numeric):
    errors = [0.0]
    if len(analytic) != len(numeric):
        return float("inf")
    for a, n in zip(analytic, numeric):
        if a is None or np.shape(a) != np.shape(n):
            errors.append(float("inf"))
            continue
        both = np.concatenate([np.ravel(a), np.ravel(n)])
        if not np.all(np.isfinite(both)):
            errors.append(float("inf"))
        elif np.any(both):
            errors.append(np.max(np.abs(np.ravel(a) - np.ravel(n))) / np.max(np.abs(both)))
    return max(errors)


def check(forward, backward, inputs, seed):
    rng = np.random.default_rng(seed)
    shape = np.shape(forward(inputs))
    for _ in range(3):
        c = rng.standard_normal(shape)
        gradients = backward(inputs, c)
        if [np.shape(g) for g in gradients if g is not None] != [x.shape for x in inputs]:
            return False
        for i, (x, g) in enumerate(zip(inputs, gradients)):
            if not np.all(np.isfinite(g)):
                return False
            size = np.where(x == 0, 1, abs(x))
            d = size * rng.standard_normal(x.shape)
            h = 4e-6
            ahead = forward([*inputs[:i], x + h * d, *inputs[i + 1 :]])
            behind = forward([*inputs[:i], x - h * d, *inputs[i + 1 :]])
            numeric = np.sum(c * (ahead - behind)) / (2 * h)
            analytic = np.sum(g * d)
            scale = max(np.sum(abs(g * d)), abs(numeric))
            if abs(analytic - numeric) > 1e-6 * scale:
                return False
    return True
