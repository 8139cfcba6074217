"""Where the parts of a graph go whose edges all point right (after Sugiyama et al., 1981)."""

import numpy as np
from scipy.optimize import isotonic_regression


def heights(column, height, chains):
    """y of every part of a graph in columns: near its neighbours' mean, and in its column clear of the others.

    column: of each part, an integer array; height: of each part, gaps included; chains: lists of parts that
    follow each other, one to the next column.

    The relaxation depends on where it starts, so the best of several starts is taken (fewest
    crossings, then shortest edges) and relaxed to the end.
    """
    links = np.array([link for chain in chains for link in zip(chain, chain[1:])])
    adjacent = np.zeros((len(column), len(column)))
    np.add.at(adjacent, (links[:, 0], links[:, 1]), 1.0)
    adjacent += adjacent.T
    to_mean = adjacent / np.maximum(adjacent.sum(axis=1, keepdims=True), 1.0)
    columns = [np.flatnonzero(column == c) for c in range(column.max() + 1)]

    def settle(y, sweeps):
        for sweep in range(sweeps):
            for members in columns if sweep % 2 == 0 else columns[::-1]:
                wish = to_mean[members] @ y
                order = np.argsort(wish, kind="stable")
                members, wish = members[order], wish[order]
                # Least squares under minimum gaps: an isotonic regression once they are deducted.
                gaps = (height[members][1:] + height[members][:-1]) / 2
                offset = np.concatenate([[0.0], np.cumsum(gaps)])
                y[members] = isotonic_regression(wish - offset).x + offset
        return y

    def cost(y):
        start, end = y[links].T
        above = np.sign(np.subtract.outer(start, start)) * np.sign(np.subtract.outer(end, end))
        between = column[links[:, 0]]
        crossings = np.sum((above < 0) & (between[:, None] == between)) // 2
        return crossings, np.sum((start - end) ** 2)

    rng = np.random.default_rng(0)  # always the same picture of the same graph
    starts = (rng.permutation(len(column)).astype(float) for _ in range(30))
    return settle(min((settle(start, 40) for start in starts), key=cost), 200)
