"""Assignment 7: from α to a genotype. Complete the functions; see README.md.

A cell has the states 0 and 1, its inputs, and the nodes 2, 3, ..., nodes + 1. Every node has an edge from each
earlier state.
"""

import math

import numpy as np


def number_of_nodes(edges):
    """How many nodes a cell with this many edges has: E = n (n + 3) / 2."""
    return (math.isqrt(9 + 8 * edges) - 3) // 2


def edges(nodes):
    """All edges of a cell, in the order of the first axis of α.

    nodes: int, at least 1. Returns a list of tuples (i, j) of ints: the edge from state i to node j. The edges
    into node 2 come first, then those into node 3, and so on; those into one node in the order of i.
    """
    ### BEGIN SOLUTION
    return [(i, j) for j in range(2, nodes + 2) for i in range(j)]
    ### END SOLUTION


def genotype(alpha, operations):
    """The genotype of one cell that architecture logits stand for.

    alpha: array (E, M) of finite floats, float64 or float32. operations: the M names in the order of the last
    axis; "none" may stand anywhere, or be absent; at least one other is there.

    An edge stands with its strongest operation other than none, and weighs what that has in the softmax over all M
    candidates of the edge (Eq. 4.28). Every node keeps its two heaviest edges. Of equals the first wins: the
    operation with the lower index, the edge with the lower number.
    Returns a list of 2 n tuples (name, i), a str and an int: for node 2 its two operations with the states that
    they read, the lower state first; then for node 3, and so on.
    """
    ### BEGIN SOLUTION
    alpha = alpha.astype(np.float64)
    kept = [m for m, name in enumerate(operations) if name != "none"]
    shifted = alpha - alpha.max(axis=1, keepdims=True)
    # Logarithms of the weights: a weight of exp(-800) would be 0 in float64, like every smaller one.
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    best = logs[:, kept].argmax(axis=1)
    weight = logs[:, kept].max(axis=1)
    pairs, first = [], 0
    for node in range(2, number_of_nodes(len(alpha)) + 2):
        order = np.argsort(-weight[first : first + node], kind="stable")
        for i in sorted(order[:2].tolist()):
            pairs.append((operations[kept[best[first + i]]], i))
        first += node
    return pairs
    ### END SOLUTION


def normalised_entropy(alpha):
    """How undecided each edge is: the entropy of its softmax weights, divided by that of equal weights.

    alpha: array (..., M) of finite floats of any size, float64 or float32, with any number of axes before the
    last. Returns float64 (...): -Σ s ln s / ln M, from 1, all weights equal, to 0, one of them 1; 0 for M = 1. A
    weight of 0 adds 0.
    """
    ### BEGIN SOLUTION
    alpha = alpha.astype(np.float64)
    if alpha.shape[-1] == 1:
        return np.zeros(alpha.shape[:-1])
    weights = np.exp(alpha - alpha.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    terms = weights * np.log(np.where(weights > 0, weights, 1.0))
    return -terms.sum(axis=-1) / np.log(alpha.shape[-1])
    ### END SOLUTION


def count(nodes, operations):
    """How many genotypes of one cell there are.

    nodes: int, at least 1. operations: list of different names, "none" among them or not. Each node chooses two of
    the states before it, and for each of the two an operation other than none; the order of the two says nothing.
    Returns an int, exact, however large.
    """
    ### BEGIN SOLUTION
    choices = len([name for name in operations if name != "none"])
    total = 1
    for node in range(2, nodes + 2):
        total *= math.comb(node, 2) * choices**2
    return total
    ### END SOLUTION
