"""The space of the table: cells of two intermediate nodes, one cell for both kinds.

Node 2 reads the cell's two inputs; node 3 reads two of the inputs and node 2; each edge carries one of M
operations. That makes 3 M⁴ genotypes. Where node 3 reads the two inputs as well, nodes 2 and 3 can change
places: the cell's output has its channels in another order, which the layers behind it cannot tell, so the two
genotypes are one architecture. Up to that there are 3 M⁴ - (M⁴ - M²) / 2 architectures: 648 of 768 for M = 4.
"""

from itertools import combinations, product

from bnas.errors import InputError
from bnas.space.genotype import Genotype, shorten, validate_genotype

NODES = 2
OPERATIONS = ("skip_connect", "max_pool_3x3", "sep_conv_3x3", "dil_conv_3x3")

_CONCAT = (2, 3)
_READS = tuple(combinations(range(3), 2))  # what node 3 may read: (0, 1), (0, 2), (1, 2)


def all_genotypes(operations=OPERATIONS):
    """All 3 M⁴ genotypes over M `operations`, as a tuple in a fixed order.

    They are counted up with the operations of node 2 (of its edge from input 0, then from input 1) moving
    slowest, then what node 3 reads, then its operations. The pairs of a node are ordered by predecessor.
    """
    return tuple(
        _genotype(((first, 0), (second, 1), (third, reads[0]), (fourth, reads[1])))
        for first, second in product(operations, repeat=2)
        for reads in _READS
        for third, fourth in product(operations, repeat=2)
    )


def architectures(operations=OPERATIONS):
    """The canonical genotypes over `operations`, in the order of `all_genotypes`: one for each architecture."""
    return tuple(g for g in all_genotypes(operations) if canonical(g, operations) == g)


def canonical(genotype, operations=OPERATIONS):
    """The genotype that stands for all that are isomorphic to `genotype`: the first in `all_genotypes`.

    Raises:
        InputError: the genotype is none of the space.
    """
    genotype = validate_genotype(genotype)
    normal = _canonical_cell("normal", genotype.normal, genotype.normal_concat, operations)
    if normal != _canonical_cell("reduce", genotype.reduce, genotype.reduce_concat, operations):
        raise InputError(f"its two cells differ; {describe(operations)}")
    return _genotype(normal)


def neighbouring_genotypes(genotype, operations=OPERATIONS):
    """The canonical genotypes, a set, that one change of an operation or of a predecessor leads to.

    The change may be made in any genotype that is isomorphic to `genotype`, which makes the relation symmetric:
    what node 3 can change to depends on which of the two nodes it is. No change leads back to the genotype itself.
    """
    start = canonical(genotype, operations)
    a, b, c, d = start.normal
    same = [start.normal] if d[1] == 2 else [start.normal, (c, d, a, b)]
    return {
        canonical(_genotype(cell), operations) for one in same for cell in _changed(one, operations)
    }


def _changed(cell, operations):
    """The cells with one pair of `cell` changed in its operation or its predecessor."""
    for k, (name, predecessor) in enumerate(cell):
        other = cell[k ^ 1][1]  # of the node's other pair
        changes = [(op, predecessor) for op in operations if op != name]
        changes += [(name, i) for i in range(k // 2 + 2) if i not in (predecessor, other)]
        for change in changes:
            yield (*cell[:k], change, *cell[k + 1 :])


def describe(operations=OPERATIONS):
    """What the space holds, for messages."""
    return (
        "the space of the table has one cell for both kinds, of two nodes that are both concatenated, each "
        f"of which reads two different states through {', '.join(operations[:-1])} or {operations[-1]}"
    )


def _genotype(cell):
    return Genotype(cell, _CONCAT, cell, _CONCAT)


def _canonical_cell(field, cell, concat, operations):
    """The pairs of one cell, sorted, nodes 2 and 3 in the order of the space; InputError if it is none of it."""
    if len(cell) != 2 * NODES:
        raise InputError(f"{field} has {len(cell) // 2} nodes; {describe(operations)}")
    if sorted(concat) != list(_CONCAT):
        raise InputError(f"{field}_concat is {list(concat)}; {describe(operations)}")
    for name, _ in cell:
        if name not in operations:
            raise InputError(f"{field} has the operation {shorten(name)}; {describe(operations)}")
    nodes = [sorted(cell[k : k + 2], key=lambda pair: pair[1]) for k in (0, 2)]
    for node, pairs in enumerate(nodes, 2):
        if pairs[0][1] == pairs[1][1]:
            raise InputError(
                f"node {node} of {field} reads state {pairs[0][1]} twice; {describe(operations)}"
            )
    if nodes[1][1][1] == 1:  # node 3 reads the two inputs, as node 2 does
        nodes.sort(key=lambda pairs: [operations.index(name) for name, _ in pairs])
    return (*nodes[0], *nodes[1])
