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
    raise NotImplementedError("this part is yours")


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
    raise NotImplementedError("this part is yours")


def normalised_entropy(alpha):
    """How undecided each edge is: the entropy of its softmax weights, divided by that of equal weights.

    alpha: array (..., M) of finite floats of any size, float64 or float32, with any number of axes before the
    last. Returns float64 (...): -Σ s ln s / ln M, from 1, all weights equal, to 0, one of them 1; 0 for M = 1. A
    weight of 0 adds 0.
    """
    raise NotImplementedError("this part is yours")


def count(nodes, operations):
    """How many genotypes of one cell there are.

    nodes: int, at least 1. operations: list of different names, "none" among them or not. Each node chooses two of
    the states before it, and for each of the two an operation other than none; the order of the two says nothing.
    Returns an int, exact, however large.
    """
    raise NotImplementedError("this part is yours")
