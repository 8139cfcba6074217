"""Masked arrays of all edges at once; names as an array of NumPy; the weights by logaddexp."""

import numpy as np


def edges(nodes):
    j, i = np.nonzero(np.arange(nodes + 2) < np.arange(nodes + 2)[:, None])
    return np.stack([i, j], axis=1)[1:]


def genotype(alpha, operations):
    names = np.array(operations)
    logs = np.asarray(alpha, float)
    logs = logs - np.logaddexp.reduce(logs, axis=1)[:, None]
    logs[:, names == "none"] = -np.inf
    best, weight = logs.argmax(axis=1), logs.max(axis=1)
    into = edges(len(alpha))[: len(alpha)]
    pairs = []
    for node in np.unique(into[:, 1]):
        mine = np.flatnonzero(into[:, 1] == node)
        first = mine[weight[mine].argmax()]
        rest = mine[mine != first]
        second = rest[weight[rest].argmax()]
        for edge in sorted((first, second)):
            pairs.append((names[best[edge]], into[edge, 0]))
    return pairs


def normalised_entropy(alpha):
    logs = np.array(alpha, float)
    logs -= np.logaddexp.reduce(logs, axis=-1, keepdims=True)
    entropy = -(np.exp(logs) * logs).sum(axis=-1)
    return entropy / np.log(max(alpha.shape[-1], 2))


def count(nodes, operations):
    K = sum(name != "none" for name in operations)
    if nodes == 0:
        return 1
    return (nodes + 1) * nodes // 2 * K * K * count(nodes - 1, operations)
