"""Genotypes that nobody searched for, to compare a found one with.

In a small search space nearly everything learns. A search has found something only where its genotype beats
these, trained in the same way (Yang et al., NAS evaluation is frustratingly hard, ICLR 2020; Li and
Talwalkar, Random search and reproducibility for NAS, UAI 2019).
"""

from bnas.config import PRIMITIVES
from bnas.space.genotype import Genotype
from bnas.space.operations import distinct_names


def random_genotype(nodes, rng, operations=PRIMITIVES, tied=False):
    """A genotype of `nodes` nodes, drawn evenly: two distinct predecessors a node, an operation for each.

    Args:
        nodes: intermediate nodes of each cell, 1 or more.
        rng: numpy.random.Generator.
        operations: names to draw from; `none` is left out.
        tied: whether the reduction cell is the normal cell once more.

    Raises InputError for repeated names or none other than `none`.
    """
    kept = [name for name in distinct_names(operations) if name != "none"]

    def cell():
        return tuple(
            (kept[rng.integers(len(kept))], int(predecessor))
            for node in range(2, nodes + 2)
            for predecessor in sorted(rng.choice(node, 2, replace=False))
        )

    genotype = _genotype(nodes, cell)
    return genotype._replace(reduce=genotype.normal) if tied else genotype


def skip_genotype(nodes):
    """The genotype of `nodes` nodes that adds up its cell's two inputs and never computes: skips alone."""
    return _genotype(nodes, lambda: (("skip_connect", 0), ("skip_connect", 1)) * nodes)


def _genotype(nodes, cell):
    concat = tuple(range(2, nodes + 2))
    return Genotype(cell(), concat, cell(), concat)
