"""Genotypes: the architecture of a cell as plain data, in the format of DARTS.

A genotype says, for every intermediate node of the normal and of the reduction cell, which two
earlier states it reads and through which operations. This module checks genotypes and turns the architecture
logits alpha of a search into one; `text` reads and writes them, `published` holds those of the literature.
"""

import difflib
import math
import operator
from typing import NamedTuple

import numpy as np

from bnas.config import PRIMITIVES
from bnas.errors import InputError
from bnas.space.operations import OPERATIONS, distinct_names


class Genotype(NamedTuple):
    """The two cells of a network.

    `normal` and `reduce` hold two pairs (operation, predecessor) per intermediate node, node
    after node. States 0 and 1 are the outputs of the last but one and of the last cell, state
    j + 2 is the j-th intermediate node. `normal_concat` and `reduce_concat` list the states whose
    channels are concatenated into the cell's output.
    """

    normal: tuple[tuple[str, int], ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[tuple[str, int], ...]
    reduce_concat: tuple[int, ...]


def edges(nodes):
    """The edges (i, j), from state i to state j, in the order of axis E of alpha.

    `nodes` is the number of intermediate nodes; node 2 comes first with i = 0, 1, then node 3
    with i = 0, 1, 2, and so on: 14 edges for 4 nodes.
    """
    return tuple((i, j) for j in range(2, nodes + 2) for i in range(j))


def number_of_nodes(edge_count):
    """The number of intermediate nodes n of a cell with `edge_count` = n (n + 3) / 2 edges.

    Raises ValueError if no cell has that many edges.
    """
    nodes = (math.isqrt(9 + 8 * max(edge_count, 0)) - 3) // 2
    if nodes < 1 or nodes * (nodes + 3) // 2 != edge_count:
        raise ValueError(
            f"no cell has {edge_count} edges: 1, 2, 3, 4, 5, ... nodes have 2, 5, 9, 14, 20, ..."
        )
    return nodes


def discretise(alpha, operations=PRIMITIVES):
    """The genotype that the architecture logits `alpha` stand for.

    Every node keeps the two incoming edges whose strongest operation other than `none` weighs
    most after the softmax of its edge, and on each of them that operation (Liu et al., DARTS,
    section 2.4). Of equals, the edge or operation with the lower index wins. The pairs of a node
    are ordered by predecessor, and the output concatenates all intermediate nodes.

    alpha: (2, E, M), any real dtype; cell 0 is normal, cell 1 the reduction cell; (1, E, M) if they are one.
    operations: the M names of the search space in the order of alpha's last axis; `none` may stand anywhere or be
    absent. Raises ValueError for another shape, NaN or infinity, InputError for repeated names or
    none other than `none`.
    """
    operations = distinct_names(operations)
    alpha = np.asarray(alpha, dtype=np.float64)
    if alpha.ndim != 3 or alpha.shape[0] not in (1, 2) or alpha.shape[2] != len(operations):
        raise ValueError(f"alpha has shape {alpha.shape}, expected (2, E, {len(operations)})")
    if not np.isfinite(alpha).all():
        raise ValueError("alpha holds NaN or infinity: the search that made it has diverged")
    number_of_nodes(alpha.shape[1])
    # Logarithms, because small weights would underflow to equal zeros; sorted before the sum, so
    # that edges with the same logits in another order get the same weight to the last bit.
    shifted = alpha - alpha.max(axis=-1, keepdims=True)
    totals = np.exp(np.sort(shifted, axis=-1)).sum(axis=-1, keepdims=True)
    return genotype_of_strengths(shifted - np.log(totals), operations)


def genotype_of_strengths(strengths, operations=PRIMITIVES):
    """The genotype of each edge's strongest operation other than `none`, on each node's two strongest edges.

    Of equals, the edge or operation with the lower index wins. strengths: (2, E, M) or (1, E, M), finite.
    """
    nodes = number_of_nodes(strengths.shape[1])
    cells = [_strongest_pairs(cell, nodes, operations) for cell in strengths]
    concat = tuple(range(2, nodes + 2))
    return Genotype(cells[0], concat, cells[-1], concat)


def _strongest_pairs(strengths, nodes, operations):
    """Two pairs (operation, predecessor) per node for the strengths (E, M) of one cell."""
    kept = np.array([m for m, operation in enumerate(operations) if operation != "none"])
    best = kept[strengths[:, kept].argmax(axis=1)]
    strongest = np.take_along_axis(strengths, best[:, None], axis=1)[:, 0]

    pairs = []
    first = 0  # of the edges into this node
    for j in range(2, nodes + 2):
        ranked = np.argsort(-strongest[first : first + j], kind="stable")
        pairs += [(operations[best[first + i]], int(i)) for i in sorted(ranked[:2])]
        first += j
    return tuple(pairs)


def validate_genotype(genotype, own=()):
    """`genotype` with its lists and ranges made tuples, or an InputError that says what is wrong.

    Wrong are: anything but four fields, an unknown operation or `none`, an odd number of pairs,
    a predecessor that does not come before its node, a concatenated state that is not an
    intermediate node or is listed twice, and empty cells.

    own: names that count as operations although nobody has registered them, as in a figure of a run.
    """
    if not isinstance(genotype, (tuple, list)) or len(genotype) != len(Genotype._fields):
        raise InputError(
            f"expected Genotype({', '.join(Genotype._fields)}), got {shorten(genotype)}"
        )
    genotype = Genotype(*genotype)
    normal = _validate_pairs("normal", genotype.normal, own)
    reduce = _validate_pairs("reduce", genotype.reduce, own)
    return Genotype(
        normal,
        _validate_concat("normal_concat", genotype.normal_concat, len(normal) // 2),
        reduce,
        _validate_concat("reduce_concat", genotype.reduce_concat, len(reduce) // 2),
    )


def _validate_pairs(field, pairs, own):
    if not isinstance(pairs, (tuple, list)):
        raise InputError(
            f"{field} must be a list of (operation, predecessor) pairs, got {shorten(pairs)}"
        )
    if len(pairs) == 0 or len(pairs) % 2:
        raise InputError(
            f"{field} has {len(pairs)} pairs: every node needs two, so expected 2, 4, 6, ..."
        )
    valid = []
    for k, pair in enumerate(pairs):
        where = f"{field}[{k}]"
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InputError(
                f"{where} must be a pair (operation, predecessor), got {shorten(pair)}"
            )
        operation, predecessor = pair[0], _integer(f"the predecessor of {where}", pair[1])
        _check_operation(where, operation, own)
        if not 0 <= predecessor <= k // 2 + 1:
            raise InputError(
                f"{where} reads state {shorten(predecessor)}, but node {k // 2 + 2} "
                f"can only read the states 0 to {k // 2 + 1} before it"
            )
        valid.append((operation, predecessor))
    return tuple(valid)


def _check_operation(where, operation, own):
    if not isinstance(operation, str):
        raise InputError(
            f"the operation of {where} must be a name in quotes, got {shorten(operation)}"
        )
    if operation == "none":
        raise InputError(f"{where} is 'none': a genotype keeps only edges that carry something")
    if operation not in OPERATIONS and operation not in own:
        known = [name for name in OPERATIONS if name != "none"]
        nearest = difflib.get_close_matches(operation[:40], known, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise InputError(
            f"{where} has the unknown operation {shorten(operation)}{hint}; "
            f"known are {', '.join(known)}; one of your own is registered first, with "
            "bnas.register_operation"
        )


def _validate_concat(field, states, nodes):
    if not isinstance(states, (tuple, list, range)):
        raise InputError(
            f"{field} must be a list of states or range(first, last + 1), got {shorten(states)}"
        )
    valid = []
    for state in states:  # stops at the first bad one, so that no huge range is ever stored
        state = _integer(f"an entry of {field}", state)
        if not 2 <= state <= nodes + 1:
            raise InputError(
                f"{field} lists state {shorten(state)}, but the intermediate nodes "
                f"are the states 2 to {nodes + 1}"
            )
        if state in valid:
            raise InputError(f"{field} lists state {state} twice")
        valid.append(state)
    if not valid:
        raise InputError(f"{field} is empty: the cell would have no output")
    return tuple(valid)


def _integer(what, value):
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise InputError(f"{what} must be an integer, got {shorten(value)}") from None


def shorten(value):
    """`repr(value)` cut to a length that fits into an error message."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of too many digits, or too deep a nesting
        return f"<{type(value).__name__} too large to print>"
    return text if len(text) <= 60 else text[:57] + "..."
