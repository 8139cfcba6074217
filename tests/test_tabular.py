"""The table of every architecture: its space, its queries, and the strategies that are simulated on it."""

from itertools import permutations

import pytest

from bnas.errors import InputError
from bnas.space import PRIMITIVES
from bnas.tabular import OPERATIONS, all_genotypes, architectures, canonical


def labelled_graph(genotype, names):
    """The edges (from, to, operation) of a genotype's cell, its nodes 2 and 3 called names[0] and names[1]."""
    name = dict(zip((0, 1, 2, 3), (0, 1, *names)))
    return tuple(
        sorted(
            (name[source], name[k // 2 + 2], op) for k, (op, source) in enumerate(genotype.normal)
        )
    )


def isomorphism_class(genotype):
    """All graphs that come of a genotype's cell by naming its nodes in any order."""
    return frozenset(labelled_graph(genotype, names) for names in permutations((2, 3)))


@pytest.mark.parametrize(
    "operations, genotypes, unique",
    [
        (OPERATIONS[:3], 243, 207),
        (OPERATIONS, 768, 648),
        ((*OPERATIONS, "avg_pool_3x3"), 1875, 1575),
        (PRIMITIVES[1:], 7203, 6027),
    ],
)
def test_the_architectures_are_one_of_each_isomorphism_class(operations, genotypes, unique):
    found = all_genotypes(operations)
    assert len(set(found)) == len(found) == genotypes
    classes = {}
    for genotype in found:
        classes.setdefault(isomorphism_class(genotype), []).append(genotype)
    assert len(classes) == unique
    assert {canonical(genotype, operations) for genotype in found} == {
        members[0] for members in classes.values()
    }
    for members in classes.values():
        assert {canonical(genotype, operations) for genotype in members} == {members[0]}
    assert architectures(operations) == tuple(
        genotype for genotype in found if canonical(genotype, operations) == genotype
    )


def test_the_canonical_genotype_does_not_depend_on_the_order_of_pairs_and_nodes():
    genotype = all_genotypes()[500]
    a, b, c, d = genotype.normal
    lists = genotype._replace(normal=[list(b), list(a), list(d), list(c)], normal_concat=(3, 2))
    assert canonical(lists) == canonical(genotype)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"reduce": all_genotypes()[0].reduce}, "its two cells differ"),
        ({"normal": (("skip_connect", 0), ("skip_connect", 1)), "normal_concat": (2,)}, "1 nodes"),
        ({"normal_concat": (2,)}, r"normal_concat is \[2\]"),
        (
            {"normal": (("avg_pool_3x3", 0), *all_genotypes()[700].normal[1:])},
            "operation 'avg_pool_3x3'",
        ),
        (
            {"normal": (("skip_connect", 1), *all_genotypes()[700].normal[1:])},
            "node 2 of normal reads state 1 twice",
        ),
    ],
)
def test_a_genotype_outside_of_the_space_is_told_what_the_space_is(change, said):
    with pytest.raises(InputError, match=f"{said}; the space of the table has one cell"):
        canonical(all_genotypes()[700]._replace(**change))
