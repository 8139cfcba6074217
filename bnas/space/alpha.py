"""What the architecture logits α of a search say, and masks: which candidates of a supernet take part.

All arrays have the shape of α: (2, E, M), M candidates on each of the E edges of the normal and of the
reduction cell, or (1, E, M) where the two are one; what is computed edge by edge takes other axes before them too.
"""

import numpy as np

from bnas.config import PRIMITIVES
from bnas.space.genotype import Genotype, edges, number_of_nodes

# An operation of this weight has won its edge for now: the factor s (1 - s) of every gradient for its logit is
# below a hundredth, those of its rivals are no larger, and their weights get a hundredth of a gradient or less.
DECIDED = 0.99


def mixing_weights(alpha, temperature=1.0, mask=None):
    """softmax(α / T) over the candidates of each edge, float64; over those of `mask` alone, the others 0.

    An edge without any candidate weighs 0 throughout.
    """
    mask = np.ones(np.shape(alpha), bool) if mask is None else np.asarray(mask, bool)
    logits = np.where(mask, np.asarray(alpha, np.float64) / temperature, -np.inf)
    largest = np.where(mask.any(axis=-1), logits.max(axis=-1), 0)
    weights = np.exp(logits - largest[..., None])
    return weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1)


def for_both_kinds(rows):
    """`rows`, one for each row of α, as (2, ...): where both kinds of cell share a row, it stands twice."""
    return np.broadcast_to(rows, (2, *np.shape(rows)[1:]))


def edge_entropies(weights):
    """Entropy of each edge's weights in nats, (..., E, M) -> (..., E): ln M if uniform, 0 if decided."""
    return -(weights * np.log(np.where(weights > 0, weights, 1))).sum(axis=-1)


def decided_edges(alpha, temperature=1.0, mask=None):
    """{(cell, edge, candidate)} of the candidates that weigh DECIDED or more, with others beside them."""
    mask = np.ones(np.shape(alpha), bool) if mask is None else np.asarray(mask, bool)
    won = mixing_weights(alpha, temperature, mask) >= DECIDED
    won &= mask.sum(axis=-1, keepdims=True) > 1
    return {tuple(map(int, entry)) for entry in np.argwhere(won)}


def genotype_mask(genotype, operations=PRIMITIVES):
    """The mask of a genotype's operations on its edges, bool (2, E, M).

    Raises ValueError for two operations on one edge, which a supernet would average, not add, for an operation
    that is none of `operations`, and for cells of different numbers of nodes.
    """
    operations, cells = list(operations), (genotype.normal, genotype.reduce)
    if len(genotype.normal) != len(genotype.reduce):
        raise ValueError("genotype_mask: the two cells have different numbers of nodes")
    unknown = {name for cell in cells for name, _ in cell} - set(operations)
    if unknown:
        raise ValueError(f"genotype_mask: {min(unknown)!r} is none of the operations {operations}")
    pairs = edges(len(genotype.normal) // 2)
    mask = np.zeros((2, len(pairs), len(operations)), bool)
    for kind, cell in enumerate(cells):
        for k, (name, predecessor) in enumerate(cell):
            e = pairs.index((predecessor, k // 2 + 2))
            if mask[kind, e].any():
                raise ValueError(f"genotype_mask: two operations on the edge {pairs[e]}")
            mask[kind, e, operations.index(name)] = True
    return mask


def mask_genotype(mask, operations=PRIMITIVES):
    """The genotype of a mask with one operation, not `none`, on two edges of every node, and none elsewhere.

    Raises ValueError for any other mask.
    """
    mask = np.asarray(mask, bool)
    nodes = number_of_nodes(mask.shape[1])
    pairs, cells = edges(nodes), []
    for rows in mask:
        kept = [(*pairs[e], operations[m]) for e, m in np.argwhere(rows)]
        if [j for _, j, _ in kept] != [j for j in range(2, nodes + 2) for _ in range(2)] or (
            rows.sum(axis=-1) > 1
        ).any():
            raise ValueError("mask_genotype: every node needs two edges of one candidate each")
        if any(name == "none" for *_, name in kept):
            raise ValueError(
                "mask_genotype: a genotype keeps only edges that carry something, no 'none'"
            )
        cells.append(tuple((name, i) for i, _, name in kept))
    concat = tuple(range(2, nodes + 2))
    return Genotype(cells[0], concat, cells[-1], concat)
