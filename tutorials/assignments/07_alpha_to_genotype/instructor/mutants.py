"""Wrong answers that a student may give: the tests have to find each, and to say what is wrong with it.

old, new: what is replaced in the reference. fails: the tasks that must not earn all their points; all others must.
told: a part of what the student is told.
"""

_BEST = (
    "    best = logs[:, kept].argmax(axis=1)\n    weight = logs[:, kept].max(axis=1)\n"
    "    pairs, first = [], 0\n"
)
_LOGS = "    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))\n"
_ORDER = 'np.argsort(-weight[first : first + node], kind="stable")'
_PAIR = "pairs.append((operations[kept[best[first + i]]], i))"

MUTANTS = [
    {
        "name": "edges in the order of their start",
        "old": "[(i, j) for j in range(2, nodes + 2) for i in range(j)]",
        "new": "[(i, j) for i in range(nodes + 1) for j in range(max(2, i + 1), nodes + 2)]",
        "fails": ["edges"],
        "told": "edges in the order of where they start",
    },
    {
        "name": "the nodes are counted from 0",
        "old": "[(i, j) for j in range(2, nodes + 2) for i in range(j)]",
        "new": "[(i, j) for j in range(nodes) for i in range(j + 2)]",
        "fails": ["edges"],
        "told": "the first node is state 2; 0 and 1 are the inputs",
    },
    {
        "name": "an edge from a node to itself",
        "old": "[(i, j) for j in range(2, nodes + 2) for i in range(j)]",
        "new": "[(i, j) for j in range(2, nodes + 2) for i in range(j + 1)]",
        "fails": ["edges"],
        "told": "an edge of a state to itself",
    },
    {
        "name": "edges from end to start",
        "old": "[(i, j) for j in range(2, nodes + 2) for i in range(j)]",
        "new": "[(j, i) for j in range(2, nodes + 2) for i in range(j)]",
        "fails": ["edges"],
        "told": "(i, j), from state i to node j",
    },
    {
        "name": "none may win",
        "old": 'kept = [m for m, name in enumerate(operations) if name != "none"]',
        "new": "kept = list(range(len(operations)))",
        "fails": ["genotype"],
        "told": "none wins an edge; a genotype never keeps it",
    },
    {
        "name": "none always stands first",
        "old": 'kept = [m for m, name in enumerate(operations) if name != "none"]',
        "new": "kept = list(range(1, len(operations)))",
        "fails": ["genotype"],
        "told": "the first operation is taken for none",
    },
    {
        "name": "none is struck out before the softmax",
        "old": _LOGS,
        "new": "    logs = shifted - np.log(np.exp(shifted[:, kept]).sum(axis=1, keepdims=True))\n",
        "fails": ["genotype"],
        "told": "none is left out before the softmax; it takes part in it",
    },
    {
        "name": "compares logits",
        "old": _LOGS,
        "new": "    logs = alpha\n",
        "fails": ["genotype"],
        "told": "edges are compared by their logits, not by their weights",
    },
    {
        "name": "the softmax over the edges",
        "old": "    shifted = alpha - alpha.max(axis=1, keepdims=True)\n",
        "new": "    shifted = alpha - np.log(np.exp(alpha - alpha.max(axis=0)).sum(axis=0)) - alpha.max(axis=0)\n"
        "    return _pairs(shifted, operations, kept)\n\n\ndef _pairs(shifted, operations, kept):\n"
        "    alpha = shifted\n",
        "fails": ["genotype"],
        "told": "the softmax goes over the edges, not over the operations",
    },
    {
        "name": "weights that are 0",
        "old": _LOGS,
        "new": "    logs = np.exp(shifted)\n    logs /= logs.sum(axis=1, keepdims=True)\n",
        "fails": ["genotype"],
        "told": "weights of 0 in float64 are taken for equal",
    },
    {
        "name": "computes in the format of alpha",
        "old": "    alpha = alpha.astype(np.float64)\n    kept",
        "new": "    kept",
        "fails": ["genotype"],
        "told": "computed in float32, in which weights near 1 are equal",
    },
    {
        "name": "exponentials that overflow",
        "old": "    shifted = alpha - alpha.max(axis=1, keepdims=True)\n",
        "new": "    shifted = alpha\n",
        "fails": ["genotype"],
        "told": "an exponential overflows; subtract the largest logit of the edge",
    },
    {
        "name": "the heavier edge first",
        "old": "sorted(order[:2].tolist())",
        "new": "order[:2].tolist()",
        "fails": ["genotype"],
        "told": "the pairs of a node are ordered by weight; the lower state comes first",
    },
    {
        "name": "the later of equal edges",
        "old": _ORDER,
        "new": 'np.argsort(weight[first : first + node], kind="stable")[::-1]',
        "fails": ["genotype"],
        "told": "of equal edges the last ones are taken",
    },
    {
        "name": "the later of equal operations",
        "old": _BEST,
        "new": _BEST.replace(
            "logs[:, kept].argmax(axis=1)", "len(kept) - 1 - logs[:, kept[::-1]].argmax(axis=1)"
        ),
        "fails": ["genotype"],
        "told": "of equal operations the last one is taken",
    },
    {
        "name": "the index without none",
        "old": _PAIR,
        "new": "pairs.append((operations[best[first + i]], i))",
        "fails": ["genotype"],
        "told": "the index counts the operations without none",
    },
    {
        "name": "the number of the edge",
        "old": _PAIR,
        "new": "pairs.append((operations[kept[best[first + i]]], first + i))",
        "fails": ["genotype"],
        "told": "the number of the edge in place of the state that it comes from",
    },
    {
        "name": "always four nodes",
        "old": "for node in range(2, number_of_nodes(len(alpha)) + 2)",
        "new": "for node in range(2, 6)",
        "fails": ["genotype"],
        "told": "nodes are missing; their number follows from that of the edges",
    },
    {
        "name": "the two lightest edges",
        "old": _ORDER,
        "new": 'np.argsort(weight[first : first + node], kind="stable")',
        "fails": ["genotype"],
        "told": "the two lightest edges are kept",
    },
    {
        "name": "two operations of one edge",
        "old": _BEST,
        "new": "    pairs, first = [], 0\n"
        "    for node in range(2, number_of_nodes(len(alpha)) + 2):\n"
        "        own = logs[first : first + node, kept]\n"
        '        order = np.argsort(-own.ravel(), kind="stable")[:2]\n'
        "        pairs += [(operations[kept[k % len(kept)]], int(k) // len(kept)) for k in sorted(order)]\n"
        "        first += node\n"
        "    return pairs\n    best = weight = 0\n",
        "fails": ["genotype"],
        "told": "a node keeps two different edges, not two operations of one edge",
    },
    {
        "name": "strikes none out in place",
        "old": "    alpha = alpha.astype(np.float64)\n    kept",
        "new": '    if "none" in operations:\n'
        '        alpha[:, operations.index("none")] -= 0.5\n        alpha = alpha + 0.0\n'
        '        alpha[:, operations.index("none")] += 0.5\n'
        "    alpha = alpha.astype(np.float64)\n    kept",
        "fails": ["genotype"],
        "told": "genotype changed its first argument; work on a copy",
    },
    {
        "name": "entropy in nats",
        "old": "-terms.sum(axis=-1) / np.log(alpha.shape[-1])",
        "new": "-terms.sum(axis=-1)",
        "fails": ["normalised_entropy"],
        "told": "the entropy in nats; divide it by ln M",
    },
    {
        "name": "entropy in bits",
        "old": "-terms.sum(axis=-1) / np.log(alpha.shape[-1])",
        "new": "-terms.sum(axis=-1) / np.log(2)",
        "fails": ["normalised_entropy"],
        "told": "the entropy in bits; divide it by that of equal weights",
    },
    {
        "name": "entropy for eight operations",
        "old": "-terms.sum(axis=-1) / np.log(alpha.shape[-1])",
        "new": "-terms.sum(axis=-1) / np.log(8)",
        "fails": ["normalised_entropy"],
        "told": "times what it should be",
    },
    {
        "name": "the mean entropy",
        "old": "-terms.sum(axis=-1) / np.log(alpha.shape[-1])",
        "new": "-terms.sum(axis=-1).mean() / np.log(alpha.shape[-1])",
        "fails": ["normalised_entropy"],
        "told": "got the shape (), expected (3,)",
    },
    {
        "name": "zero times infinity",
        "old": "np.log(np.where(weights > 0, weights, 1.0))",
        "new": "np.log(weights)",
        "fails": ["normalised_entropy"],
        "told": "0 · ln 0 is NaN; a weight of 0 adds 0",
    },
    {
        "name": "a little added in the logarithm",
        "old": "np.log(np.where(weights > 0, weights, 1.0))",
        "new": "np.log(weights + 1e-8)",
        "fails": ["normalised_entropy"],
        "told": "float32 on the way, or an approximation",
    },
    {
        "name": "entropy in float32",
        "old": "    alpha = alpha.astype(np.float64)\n    if",
        "new": "    alpha = alpha.astype(np.float32)\n    if",
        "fails": ["normalised_entropy"],
        "told": "float32 on the way, or an approximation",
    },
    {
        "name": "one candidate",
        "old": "    if alpha.shape[-1] == 1:\n        return np.zeros(alpha.shape[:-1])\n",
        "new": "",
        "fails": ["normalised_entropy"],
        "told": "ln 1 is 0, and 0 divided by 0 is NaN",
    },
    {
        "name": "counts none",
        "old": '[name for name in operations if name != "none"]',
        "new": "operations",
        "fails": ["count"],
        "told": "none is counted",
    },
    {
        "name": "none is always there",
        "old": 'len([name for name in operations if name != "none"])',
        "new": "len(operations) - 1",
        "fails": ["count"],
        "told": "an operation is taken off although none is not there",
    },
    {
        "name": "ordered edges",
        "old": "math.comb(node, 2)",
        "new": "math.perm(node, 2)",
        "fails": ["count"],
        "told": "the order of the two edges says nothing",
    },
    {
        "name": "one operation a node",
        "old": "choices**2",
        "new": "choices",
        "fails": ["count"],
        "told": "two edges, so two operations are chosen",
    },
    {
        "name": "counts in int64",
        "old": "    total = 1\n",
        "new": "    total = np.int64(1)\n    choices = np.int64(choices)\n",
        "fails": ["count"],
        "told": "an int64 overflows; count with Python's own ints",
    },
    {
        "name": "every node's edges begin with the first row",
        "old": "        first += node\n",
        "new": "",
        "fails": ["genotype"],
        "told": "the edges into node 3 begin with number 2, not with 0",
    },
    {
        "name": "an entropy whose exponentials overflow",
        "old": "np.exp(alpha - alpha.max(axis=-1, keepdims=True))",
        "new": "np.exp(alpha)",
        "fails": ["normalised_entropy"],
        "told": "an exponential that overflows",
    },
    {
        "name": "a float count",
        "old": "choices**2",
        "new": "float(choices) ** 2",
        "fails": ["count"],
        "told": "an int, exact, not a float",
    },
    {
        "name": "the softmax over the edges alone",
        "old": _LOGS,
        "new": "    logs = alpha - np.log(np.exp(alpha).sum(axis=0))\n",
        "fails": ["genotype"],
        "told": "the softmax goes over the candidates of an edge, the last axis",
    },
]
