"""The tests that you can run yourself: `bnas grade . starter.py --public`."""

import itertools

import numpy as np

from bnas.grading import Failure, Task, close, test
from bnas.grading.suite import shown

TASKS = [
    Task("edges", "Task 1, edges", points=10),
    Task("genotype", "Task 2, genotype", points=50),
    Task("normalised_entropy", "Task 3, normalised_entropy", points=20),
    Task("count", "Task 4, count", points=20),
]


def plain(value):
    """Arrays, lists and tuples as tuples, numbers of NumPy as those of Python; what is neither stays."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


def same_pairs(got, expected, causes):
    """Raise Failure unless the pairs are the same in the same order. causes: {likely cause: pairs}."""
    got, expected = plain(got), tuple(expected)
    if got == expected:
        return
    if not isinstance(got, tuple):
        raise Failure(f"got {shown(got)}, expected a list of {len(expected)} pairs")
    lines = []
    if len(got) != len(expected):
        lines.append(f"got {len(got)} pairs, expected {len(expected)}")
    for k, (one, right) in enumerate(zip(got, expected)):
        if one != right:
            lines.append(f"pair {k}: got {shown(one)}, expected {shown(right)}")
            break
    if len(expected) <= 10:
        lines += [f"got      {shown(list(got))}", f"expected {shown(list(expected))}"]
    lines += [f"likely cause: {text}" for text, pairs in causes.items() if got == plain(pairs)][:1]
    raise Failure("\n".join(lines))


@test("edges")
def one_node_and_two(student, rng):
    """A cell with one node, then one with two."""
    same_pairs(
        student.edges(1),
        [(0, 2), (1, 2)],
        {
            "the first node is state 2; 0 and 1 are the inputs": [(0, 0), (1, 0)],
            "(i, j), from state i to node j": [(2, 0), (2, 1)],
            "an edge of a state to itself": [(0, 2), (1, 2), (2, 2)],
        },
    )
    same_pairs(
        student.edges(2),
        [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)],
        {"edges in the order of where they start": [(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]},
    )


@test("genotype")
def one_node(student, rng):
    """One node with two edges, three operations, `none` first and weak."""
    alpha = np.array([[0.0, 2.0, 1.0], [0.0, 1.0, 3.0]])
    same_pairs(
        student.genotype(alpha, ["none", "skip", "conv"]),
        [("skip", 0), ("conv", 1)],
        {
            "the index counts the operations without none": [("none", 0), ("skip", 1)],
            "the pairs of a node are ordered by weight; the lower state comes first": [
                ("conv", 1),
                ("skip", 0),
            ],
        },
    )


@test("genotype")
def none_is_strongest(student, rng):
    """One node; `none` is the strongest on both edges, and stands last."""
    alpha = np.array([[0.0, 2.0, 5.0], [3.0, 1.0, 4.0]])
    same_pairs(
        student.genotype(alpha, ["skip", "conv", "none"]),
        [("conv", 0), ("skip", 1)],
        {"none wins an edge; a genotype never keeps it": [("none", 0), ("none", 1)]},
    )


@test("genotype")
def weight_and_logit(student, rng):
    """Two nodes. On the edge 0 → 3 `none` weighs most, on 1 → 3 two operations share the weight."""
    alpha = np.zeros((5, 3))
    alpha[:2] = [0.0, 0.0, 1.0]
    alpha[2:] = [[6.0, 3.0, 0.0], [0.0, 5.0, 4.9], [0.0, 0.0, 2.0]]
    node2 = [("conv", 0), ("conv", 1)]
    same_pairs(
        student.genotype(alpha, ["none", "skip", "conv"]),
        [*node2, ("skip", 1), ("conv", 2)],
        {
            "edges are compared by their logits, not by their weights": [
                *node2,
                ("skip", 0),
                ("skip", 1),
            ],
            "none is left out before the softmax; it takes part in it": [
                *node2,
                ("skip", 0),
                ("conv", 2),
            ],
            "the edges into node 3 begin with number 2, not with 0": [*node2, *node2],
            "the softmax goes over the candidates of an edge, the last axis": [
                *node2,
                ("skip", 0),
                ("conv", 1),
            ],
            "the number of the edge in place of the state that it comes from": [
                *node2,
                ("skip", 3),
                ("conv", 4),
            ],
        },
    )


@test("genotype")
def all_equal(student, rng):
    """Two nodes, all logits 0: the first of equals wins, and the shapes are those of two nodes."""
    same_pairs(
        student.genotype(np.zeros((5, 4)), ["none", "skip", "conv", "pool"]),
        [("skip", 0), ("skip", 1), ("skip", 0), ("skip", 1)],
        {
            "of equal edges the last ones are taken": [
                ("skip", 0),
                ("skip", 1),
                ("skip", 1),
                ("skip", 2),
            ],
            "a node keeps two different edges, not two operations of one edge": [
                ("skip", 0),
                ("conv", 0),
                ("skip", 0),
                ("conv", 0),
            ],
            "of equal operations the last one is taken": [
                ("pool", 0),
                ("pool", 1),
                ("pool", 0),
                ("pool", 1),
            ],
        },
    )


@test("genotype")
def large_logits_by_hand(student, rng):
    """One node, logits of 2000 and 1000: no exponential overflows."""
    alpha = np.array([[0.0, 1000.0, 2000.0], [0.0, 2000.0, 1000.0]])
    cause = (
        "an exponential overflows; subtract the largest logit of the edge, and compare logarithms"
    )
    same_pairs(
        student.genotype(alpha, ["none", "skip", "conv"]),
        [("conv", 0), ("skip", 1)],
        {cause: [("skip", 0), ("skip", 1)]},
    )


@test("normalised_entropy")
def known_ones(student, rng):
    """Four candidates: all equal, two equal and two far behind, one ahead by 1000."""
    alpha = np.array(
        [[7.0, 7.0, 7.0, 7.0], [0.0, -1000.0, 0.0, -1000.0], [-1000.0, 0.0, -1000.0, -1000.0]]
    )
    got = student.normalised_entropy(alpha)
    if isinstance(got, np.ndarray) and got.dtype.kind == "f" and np.isnan(got).any():
        raise Failure(
            f"got {shown(got)}, expected [1., 0.5, 0.]\nlikely cause: 0 · ln 0 is NaN; a weight of 0 adds 0"
        )
    close(
        got,
        np.array([1.0, 0.5, 0.0]),
        causes={
            "the entropy in nats; divide it by ln M": np.log(4) * np.array([1.0, 0.5, 0.0]),
            "the entropy in bits; divide it by that of equal weights": np.array([2.0, 1.0, 0.0]),
            "the sign: -s ln s is positive": np.array([-1.0, -0.5, 0.0]),
        },
    )


def same_number(got, expected, causes):
    """Raise Failure unless an int is exactly as expected."""
    got = plain(got)
    if isinstance(got, bool) or not isinstance(got, int):
        raise Failure(f"got {shown(got)}, expected {expected}: an int, exact, not a float")
    if got != expected:
        told = [f"likely cause: {text}" for text, value in causes.items() if got == value][:1]
        raise Failure("\n".join([f"got {got}, expected {expected}", *told]))


@test("count")
def enumerated(student, rng):
    """All genotypes of a small cell written down one by one."""
    for nodes, operations in itertools.product((1, 2), (["skip"], ["none", "a", "b"], ["a", "b"])):
        K = len([name for name in operations if name != "none"])
        single = [
            sum(1 for i in range(j) for k in range(i) for _ in range(K) for _ in range(K))
            for j in range(2, nodes + 2)
        ]
        all_kinds = len(list(itertools.product(*map(range, single))))
        same_number(
            student.count(nodes, list(operations)),
            all_kinds,
            {
                "none is counted": all_kinds * (len(operations) / K) ** (2 * nodes),
                "an operation is taken off although none is not there": (
                    all_kinds * ((len(operations) - 1) / K) ** (2 * nodes)
                ),
                "the order of the two edges says nothing": all_kinds * 2**nodes,
                "two edges, so two operations are chosen": all_kinds / K**nodes,
            },
        )
