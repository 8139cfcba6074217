"""Matrices written out, sample by sample: the Jacobian of the softmax, and F itself."""

import numpy as np


def weights(alpha, active, temperature):
    s = np.zeros_like(alpha)
    for row, logits, mask in zip(s, alpha, active):
        z = [float(a) / temperature for a in logits[mask]]
        e = [np.exp(value - max(z)) for value in z]
        row[mask] = [part / sum(e) for part in e]
    return s


def mix(s, outputs, active):
    y = np.zeros_like(outputs[0])
    for m in np.flatnonzero(active):
        y += s[m] * outputs[m]
    return y


def output_gradients(dy, s):
    return np.stack([weight * dy for weight in s])


def shares(dy, outputs, active):
    result = np.zeros((len(dy), len(outputs)), dy.dtype)
    for b in range(len(dy)):
        for m in range(len(outputs)):
            if active[m]:
                result[b, m] = np.vdot(dy[b], outputs[m, b])
    return result


def logit_shares(ds, s, temperature):
    result = np.empty_like(ds)
    for e, row in enumerate(s):
        jacobian = (np.diag(row) - np.outer(row, row)) / temperature
        for b in range(len(ds)):
            result[b, e] = jacobian @ ds[b, e]
    return result


def fisher_product(shares, v):
    rows = shares.reshape(len(shares), -1).astype(np.float64)
    F = len(rows) * rows.T @ rows
    return (F @ v.ravel()).reshape(v.shape).astype(v.dtype)
