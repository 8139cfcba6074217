"""Tests with random inputs against the reference."""

import numpy as np
import public_tests
from public_tests import plain, same_number

from bnas.grading import Failure, close, test
from bnas.grading.suite import shown

NAMES = [
    "skip_connect",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "max_pool_3x3",
    "avg_pool_3x3",
    "sep_conv_3x3",
] + ["sep_conv_5x5", "conv_1x1", "conv_3x3", "conv_5x5", "conv_7x7", "sep_conv_7x7"]


def same_pairs(got, expected, causes):
    """As that of the public tests; it is also told where nodes are missing."""
    pairs = plain(got)
    first = expected[: len(pairs)] if isinstance(pairs, tuple) else expected
    missing = {"nodes are missing; their number follows from that of the edges": first}
    public_tests.same_pairs(got, expected, causes | missing)


def edge_count(nodes):
    return nodes * (nodes + 3) // 2


@test("edges")
def many_nodes(student, rng, reference):
    """One node to nine."""
    for nodes in range(1, 10):
        right = reference.edges(nodes)
        same_pairs(
            student.edges(nodes),
            right,
            {
                "edges in the order of where they start": sorted(right),
                "the first node is state 2; 0 and 1 are the inputs": [(i, j - 2) for i, j in right],
                "(i, j), from state i to node j": [(j, i) for i, j in right],
                "an edge of a state to itself": [
                    (i, j) for j in range(2, nodes + 2) for i in range(j + 1)
                ],
            },
        )


def faults(alpha, operations):
    """{likely cause: the pairs that a genotype with that mistake has}."""
    alpha = np.float64(alpha)
    is_none = np.array([name == "none" for name in operations])

    def softmax(a, axis=1):
        with np.errstate(over="ignore"):
            e = np.exp(a - a.max(axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)

    def without_none(a):
        return np.where(is_none, -np.inf, a)

    def pairs(
        strengths,
        names=operations,
        by_weight=False,
        numbers=False,
        last=False,
        sign=-1,
        offset=True,
    ):
        out, first, j = [], 0, 2
        while first < len(strengths):
            row = first if offset else 0
            weight = sign * strengths[row : row + j].max(axis=1)
            order = sorted(range(j), key=lambda i: (weight[i], -i if last else i))[:2]
            for i in order if by_weight else sorted(order):
                best = strengths[row + i].argmax()
                out.append((names[best], first + i if numbers else i))
            first, j = first + j, j + 1
        return out

    def two_of_one_edge(strengths):
        out, first, j = [], 0, 2
        while first < len(strengths):
            own = strengths[first : first + j]
            order = np.argsort(-own.ravel(), kind="stable")[:2]
            out += [
                (operations[k % own.shape[1]], k // own.shape[1]) for k in sorted(order.tolist())
            ]
            first, j = first + j, j + 1
        return out

    totals = np.log(np.exp(alpha - alpha.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True))
    right = without_none(alpha - alpha.max(axis=1, keepdims=True) - totals)
    narrow = np.float32(alpha)
    shifted = narrow - narrow.max(axis=1, keepdims=True)
    narrow = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    turned = right[:, ::-1]
    known = {
        "none wins an edge; a genotype never keeps it": pairs(softmax(alpha)),
        "none is left out before the softmax; it takes part in it": pairs(
            softmax(without_none(alpha))
        ),
        "edges are compared by their logits, not by their weights": pairs(without_none(alpha)),
        "weights of 0 in float64 are taken for equal; subtract the largest logit, and compare logarithms": pairs(
            without_none(softmax(alpha))
        ),
        "computed in float32, in which weights near 1 are equal": pairs(without_none(narrow)),
        "a node keeps two different edges, not two operations of one edge": two_of_one_edge(right),
        "the two lightest edges are kept": pairs(right, sign=1),
        "the pairs of a node are ordered by weight; the lower state comes first": pairs(
            right, by_weight=True
        ),
        "the number of the edge in place of the state that it comes from": pairs(
            right, numbers=True
        ),
        "the edges into node 3 begin with number 2, not with 0": pairs(right, offset=False),
        "of equal edges the later one is taken": pairs(right, last=True),
        "of equal operations the later one is taken": pairs(turned, operations[::-1]),
    }
    if not is_none[0] and len(operations) > 1:
        first = np.arange(len(operations)) == 0
        logs = alpha - alpha.max(axis=1, keepdims=True) - totals
        known["the first operation is taken for none"] = pairs(np.where(first, -np.inf, logs))
    if is_none.any():
        kept = right[:, ~is_none]
        known["the index counts the operations without none"] = pairs(kept, operations)
    known["the softmax goes over the edges, not over the operations"] = pairs(
        without_none(softmax(alpha, axis=0))
    )
    if alpha.shape[0] == alpha.shape[1]:
        a = alpha.T
        known["α is read along the wrong axis: (E, M) are edges and operations"] = pairs(
            without_none(softmax(a))
        )
    return known


def names_of(rng, M, none=None):
    """M names in a random order; with none at a random place, or without (at random if None)."""
    none = M > 1 and rng.random() < 0.7 if none is None else none
    names = [str(name) for name in rng.permutation(NAMES)[: M - none]]
    if none:
        names.insert(int(rng.integers(M)), "none")
    return names


def run(student, reference, alpha, operations):
    same_pairs(
        student.genotype(alpha, operations),
        reference.genotype(alpha, operations),
        faults(alpha, operations),
    )


@test("genotype")
def single_nodes(student, rng, reference):
    """One node, two edges; two operations to nine."""
    for M in range(2, 10):
        run(student, reference, rng.standard_normal((2, M)), names_of(rng, M))


@test("genotype")
def counts_of_nodes(student, rng, reference):
    """Two nodes to seven, odd and even, eight operations."""
    for nodes in range(2, 8):
        alpha = 2 * rng.standard_normal((edge_count(nodes), 8))
        run(student, reference, alpha, names_of(rng, 8, True))


@test("genotype")
def counts_of_operations(student, rng, reference):
    """One operation to twelve, with `none` at any place and without it."""
    for M in range(1, 13):
        for none in (False, True):
            if M > none:
                alpha = rng.standard_normal((9, M)) * (M > 1)
                run(student, reference, alpha, names_of(rng, M, none))


@test("genotype")
def square(student, rng, reference):
    """As many edges as operations, for two nodes and for three."""
    for nodes in (2, 3):
        for _ in range(4):
            E = edge_count(nodes)
            run(student, reference, 2 * rng.standard_normal((E, E)), names_of(rng, E, True))


@test("genotype")
def none_counts(student, rng, reference):
    """`none` is strong on some edges: it never stays, and it lowers the weight of the others."""
    for nodes in (1, 2, 3, 4, 5):
        for _ in range(3):
            E = edge_count(nodes)
            alpha, operations = rng.standard_normal((E, 6)), names_of(rng, 6, True)
            alpha[:, operations.index("none")] += rng.choice([0.0, 5.0], E)
            run(student, reference, alpha, operations)


@test("genotype")
def one_strong_edge(student, rng, reference):
    """One edge holds the two heaviest operations of its node: two different edges stay all the same."""
    for nodes in (2, 3, 4):
        E = edge_count(nodes)
        alpha, operations = 0.1 * rng.standard_normal((E, 6)), names_of(rng, 6, True)
        for node in range(2, nodes + 2):
            first = edge_count(node - 2) if node > 2 else 0
            strong = first + int(rng.integers(node))
            kept = [m for m, name in enumerate(operations) if name != "none"]
            alpha[strong, rng.permutation(kept)[:2]] += 4
        run(student, reference, alpha, operations)


@test("genotype")
def ties(student, rng, reference):
    """Equal operations on an edge, equal edges into a node."""
    for nodes in (1, 2, 3, 4):
        for _ in range(4):
            operations = names_of(rng, 6, True)
            # Three kinds of edges; those of one kind are equal entry by entry.
            kinds = np.zeros((3, 6))
            for number, kind in enumerate(kinds):
                kind[rng.permutation(6)[: 2 + number]] = 2.0
            alpha = kinds[rng.integers(3, size=edge_count(nodes))]
            run(student, reference, alpha, operations)
    run(student, reference, np.zeros((14, 8)), names_of(rng, 8, True))


@test("genotype")
def large_logits(student, rng, reference):
    """Logits in the thousands: weights of 0 in float64 are not equal, and no exponential overflows."""
    for nodes in (2, 3, 4):
        E, operations = edge_count(nodes), names_of(rng, 5, True)
        alpha = 300 * rng.standard_normal((E, 5))
        alpha[:, operations.index("none")] = 3000
        run(student, reference, alpha, operations)
        alpha = rng.standard_normal((E, 5)) + 2000 * rng.standard_normal((E, 1))
        run(student, reference, alpha, names_of(rng, 5, False))


@test("genotype")
def narrow(student, rng, reference):
    """α of float32, undecided and all but decided."""
    for nodes in (2, 3, 4):
        E, operations = edge_count(nodes), names_of(rng, 5, True)
        run(student, reference, np.float32(rng.standard_normal((E, 5))), operations)
        alpha = rng.uniform(-1, 1, (E, 5))
        winners = [m for m, name in enumerate(operations) if name != "none"]
        alpha[np.arange(E), rng.choice(winners, E)] = rng.uniform(19, 25, E)
        run(student, reference, np.float32(alpha), operations)


def entropy_causes(alpha, reference):
    def softmax(a, axis):
        e = np.exp(a - a.max(axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)

    M = alpha.shape[-1]
    right = reference.normalised_entropy(alpha)
    causes = {
        "the entropy in nats; divide it by ln M": right * np.log(M),
        "the entropy in bits; divide it by that of equal weights": right * np.log2(M),
        "the sign: -s ln s is positive": -right,
        "the mean over the edges; each edge has its own": right.mean(),
    }
    if alpha.ndim > 1:
        s = softmax(np.float64(alpha), -2)
        s = -(s * np.log(np.where(s > 0, s, 1))).sum(axis=-1) / np.log(max(M, 2))
        causes["the softmax goes over the edges, not over the operations"] = s
    return causes


@test("normalised_entropy")
def shapes(student, rng, reference):
    """One edge, a cell, two cells; two candidates to nine, as float64 and float32."""
    for dtype in (np.float64, np.float32):
        for shape in ((2,), (5,), (2, 3), (5, 5), (14, 8), (2, 9, 9), (3, 2, 5, 4)):
            alpha = (2 * rng.standard_normal(shape)).astype(dtype)
            got = student.normalised_entropy(alpha)
            close(got, reference.normalised_entropy(alpha), entropy_causes(alpha, reference))


@test("normalised_entropy")
def of_any_size(student, rng, reference):
    """Logits in the thousands, some of them equal: weights of 0, no overflow."""
    for shape in ((1, 3), (4, 3), (2, 5, 8)):
        alpha = 1000.0 * rng.integers(-2, 3, shape)
        alpha[..., 0, :] = 5000.0
        got = student.normalised_entropy(alpha)
        if isinstance(got, np.ndarray) and got.dtype.kind == "f" and np.isnan(got).any():
            raise Failure(
                f"got NaN in {np.count_nonzero(np.isnan(got))} of {got.size} entries\n"
                "likely cause: 0 · ln 0, or an exponential that overflows; subtract the largest logit first, "
                "and let a weight of 0 add 0"
            )
        close(got, reference.normalised_entropy(alpha), entropy_causes(alpha, reference))


@test("normalised_entropy")
def single_candidate(student, rng, reference):
    """One candidate alone, about which nothing is undecided; then two."""
    for shape in ((1,), (4, 1), (2, 3, 1), (2,), (2, 3, 2)):
        alpha = rng.standard_normal(shape)
        text = "ln 1 is 0, and 0 divided by 0 is NaN"
        got = student.normalised_entropy(alpha)
        if isinstance(got, np.ndarray) and got.dtype.kind == "f" and np.isnan(got).all():
            raise Failure(f"got {shown(got)}, expected numbers\nlikely cause: {text}")
        close(got, reference.normalised_entropy(alpha))


def count_causes(right, nodes, operations):
    K, M = sum(name != "none" for name in operations), len(operations)
    return {
        "none is counted": right // K ** (2 * nodes) * M ** (2 * nodes),
        "an operation is taken off although none is not there": (
            right // K ** (2 * nodes) * (M - 1) ** (2 * nodes)
        ),
        "the order of the two edges says nothing": right * 2**nodes,
        "two edges, so two operations are chosen": right // K**nodes,
        "an int64 overflows; count with Python's own ints": (
            (right + (1 << 63)) % (1 << 64) - (1 << 63)
        ),
    }


@test("count")
def spaces(student, rng, reference):
    """One node to six, one operation to nine, with and without `none`."""
    for nodes in range(1, 7):
        for M in range(1, 10):
            operations = names_of(rng, M)
            right = reference.count(nodes, operations)
            same_number(
                student.count(nodes, operations), right, count_causes(right, nodes, operations)
            )


@test("count")
def large_spaces(student, rng, reference):
    """Counts beyond 64 bits."""
    for nodes, M in ((8, 12), (15, 5), (40, 12)):
        operations = names_of(rng, M)
        right = reference.count(nodes, operations)
        same_number(student.count(nodes, operations), right, count_causes(right, nodes, operations))
