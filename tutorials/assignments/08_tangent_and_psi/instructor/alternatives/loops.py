"""Sample by sample and edge by edge, in Python's own numbers where they do."""

import math

import numpy as np


def probabilities(row):
    top = max(row)
    e = [math.exp(z - top) for z in row]
    return [part / sum(e) for part in e]


def tangent(logits, labels, J):
    total = np.zeros(J.shape[2:])
    for row, label, derivatives in zip(logits, labels, J):
        for n, p in enumerate(probabilities(row.tolist())):
            total += ((n == label) - p) * derivatives[n]
    return total / len(labels)


def child_shares(logits, targets, J):
    shares = []
    for row, target, derivatives in zip(logits, targets, J):
        q = np.array(probabilities(row.tolist()))
        # d/dz of sum_n p_n log q_n, term by term
        slope = sum(p * (np.eye(len(q))[n] - q) for n, p in enumerate(target))
        shares.append(np.tensordot(slope, derivatives, 1) / len(logits))
    return np.array(shares)


def fisher_product(shares, v):
    total = np.zeros(v.shape)
    for share in shares:
        g = len(shares) * share.astype(np.float64)
        total = total + g * float(np.vdot(g, v))
    return total / len(shares)


def objective_gradient(g, t, lam, fisher):
    D = sum(float(x) ** 2 for x in (g - t).flat)
    slope_of_D = 2 * (g - t)
    return [D, -(g + lam * fisher(slope_of_D))]


def psi_step(psi, gradient, before, mask, eta, psi_lr):
    stepped = np.empty(psi.shape)
    for c, e in np.ndindex(psi.shape):
        slope = sum(
            eta * gradient[c, e, m] * before[c, e, m]
            for m in range(gradient.shape[2])
            if mask[c, e, m]
        )
        stepped[c, e] = abs(psi[c, e] - psi_lr * slope)
    return stepped


def backtrack(alpha_next, before, psi, eta, norms, tau):
    moved, mask = alpha_next.copy(), np.zeros(norms.shape, bool)
    for c, e, m in np.ndindex(norms.shape):
        if sum(other <= norms[c, e, m] for other in norms[c, e]) > tau:
            mask[c, e, m] = True
            moved[c, e, m] += eta * psi[c, e] * before[c, e, m]
    return moved, mask
