"""Loops over numbers; five cotangents; the pieces put together for the verdict; a NumPy bool returned."""

import itertools

import numpy as np


def derivative(f, x):
    steps = [6e-6 * abs(float(v)) if v else 6e-6 for v in x]
    ahead = f(np.array([float(v) + h for v, h in zip(x, steps)]))
    behind = f(np.array([float(v) - h for v, h in zip(x, steps)]))
    return np.array([(a - b) / (2 * h) for a, b, h in zip(ahead, behind, steps)])


def differences(forward, inputs, dy, step):
    inputs = [x.astype(np.float64) for x in inputs]
    for x in inputs:
        gradient = np.empty(x.shape)
        for index in itertools.product(*map(range, x.shape)):
            kept = x[index]
            h = step(kept)
            x[index] = kept + h
            ahead = np.vdot(dy, forward(inputs))
            x[index] = kept - h
            behind = np.vdot(dy, forward(inputs))
            x[index] = kept
            gradient[index] = (ahead - behind) / (2 * h)
        yield gradient


def vector_jacobian(forward, inputs, dy):
    return tuple(differences(forward, inputs, dy, lambda v: 1e-5))


def worst_error(analytic, numeric):
    if len(analytic) != len(numeric) or any(a is None for a in analytic):
        return np.inf
    worst = np.float64(0)
    for a, n in zip(analytic, numeric):
        if a.shape != n.shape:
            return np.inf
        for x, y in zip(a.flat, n.flat):
            if not (abs(x) < np.inf and abs(y) < np.inf):
                return np.inf
        off = max(abs(x - y) for x, y in zip(a.flat, n.flat))
        if off:
            worst = max(worst, off / max(abs(a).max(), abs(n).max()))
    return worst


def check(forward, backward, inputs, seed):
    rng = np.random.default_rng([seed, 1])
    worst = 0.0
    for _ in range(2):
        dy = rng.choice([-1.0, 1.0], forward(inputs).shape) * rng.uniform(
            0.5, 1.5, forward(inputs).shape
        )
        numeric = differences(forward, inputs, dy, lambda v: 6e-6 * abs(v) if v else 6e-6)
        worst = max(worst, worst_error(backward(inputs, dy), list(numeric)))
    return np.bool_(worst < 3e-6)
