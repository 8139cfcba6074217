"""Plain Python: no arrays but the one that comes in, and logarithms by math.fsum."""

import itertools
import math

import numpy as np


def edges(nodes):
    out = []
    for j in range(nodes):
        for i in range(j + 2):
            out.append([i, j + 2])
    return tuple(map(tuple, out))


def genotype(alpha, operations):
    found, rows = [], [[float(v) for v in row] for row in alpha]
    at, node = 0, 2
    while at < len(rows):
        candidates = []
        for i, row in enumerate(rows[at : at + node]):
            top = max(row)
            total = math.log(math.fsum(math.exp(v - top) for v in row))
            value, m = max(
                (v - top - total, -m)
                for m, (v, name) in enumerate(zip(row, operations))
                if name != "none"
            )
            candidates.append((-value, i, operations[-m]))
        two = sorted(candidates)[:2]
        found += [[name, i] for _, i, name in sorted(two, key=lambda part: part[1])]
        at, node = at + node, node + 1
    return found


def normalised_entropy(alpha):
    def of(row):
        top = max(row)
        total = math.fsum(math.exp(v - top) for v in row)
        log = [v - top - math.log(total) for v in row]
        if len(row) == 1:
            return 0.0
        return -math.fsum(math.exp(v) * v for v in log) / math.log(len(row))

    out = np.empty(alpha.shape[:-1])
    for index in itertools.product(*map(range, out.shape)):
        out[index] = of([float(v) for v in alpha[index]])
    return out


def count(nodes, operations):
    names = set(operations) - {"none"}
    choices = [sum(1 for _ in itertools.combinations(range(j), 2)) for j in range(2, nodes + 2)]
    return math.prod(choices) * len(names) ** (2 * nodes)
