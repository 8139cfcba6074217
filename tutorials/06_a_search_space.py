# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6. A search space
#
# Before anything can be searched, somebody has to say what there is to choose from. This tutorial builds such a
# *search space*: small graphs of operations, all of them at once in one network, and the way back from that
# network to a single graph.
#
# **You will be able to**
#
# * read an architecture as a graph, and count a search space, with and without graphs that are the same but for
#   the names of their nodes;
# * write a mixed operation, whose weights make the choice between operations differentiable, with its gradient;
# * turn architecture logits $\alpha$ into an architecture, see when that answer means little, and add an
#   operation of your own.
#
# **It assumes** tutorials 1 to 5.

# %%
from itertools import combinations, product

import numpy as np
from exercises import check, difference

import bnas
import bnas.functional as F
from bnas import nn
from bnas.plots import Figure, cell_figure
from bnas.space import BINARY, REAL, Operation, Supernet, discretise, edges

BLUE, ORANGE, BLACK = "#0072B2", "#D55E00", "#000000"

# %% [markdown]
# ## A cell is a graph
#
# Good networks repeat themselves. So one does not search for a whole network but for a *cell*, a small graph of
# operations, and stacks copies of it. A *normal* cell keeps the size of the image, a *reduction* cell halves it. A
# cell has two inputs, the outputs of the last cell but one and of the last, called $c_{k-2}$ and $c_{k-1}$. They
# are the states 0 and 1. Every further state is a *node*, a sum over edges from earlier states (Eq. 4.27 of the
# book that tutorial 4 names):
#
# $$a^{(j)} = \sum_{i<j} o^{(i,j)}\big(a^{(i)}\big),$$
#
# where $o^{(i,j)}$ is the operation on the edge from state $i$ to node $j$. In a finished architecture each node
# keeps two of its incoming edges. The output of the cell is all its nodes, one behind the other on the channels.
#
# Written down as data this is a *genotype*: for each node two pairs (operation, state that is read). Here is one
# with two nodes, used for both kinds of cell:

# %%
pairs = (
    ("sep_conv_3x3", 0),  # node 2
    ("skip_connect", 1),
    ("max_pool_3x3", 1),  # node 3
    ("dil_conv_3x3", 2),
)
both = (2, 3)  # the states that make the output
genotype = bnas.Genotype(normal=pairs, normal_concat=both, reduce=pairs, reduce_concat=both)
cell_figure(genotype)

# %% [markdown]
# Read it from left to right: two operations lead into each node, and the grey lines collect the nodes into the
# output $c_k$. The names are those of the field. `sep_conv_3x3` is a convolution of 3×3 in each channel followed
# by one of 1×1 across channels, twice; `dil_conv_3x3` the same once, with a window that leaves out every second
# pixel; the pools look at 3×3 pixels; `skip_connect` does nothing.
#
# To run such a graph takes five lines. Our operations act on one image of 8×8 pixels; the convolution has a
# fixed kernel.


# %%
def windows(x, fill):
    """The 3×3 neighbours of every pixel, (H, W, 3, 3); outside the image there is `fill`."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(x, 1, constant_values=fill), (3, 3))


kernel = np.array([[-1, -1, -1], [0, 0, 0], [1, 1, 1]]) / 3  # finds horizontal edges
toys = {
    "skip": lambda x: x,
    "max": lambda x: windows(x, -np.inf).max(axis=(2, 3)),
    "avg": lambda x: np.nanmean(windows(x, np.nan), axis=(2, 3)),
    "conv": lambda x: (windows(x, 0.0) * kernel).sum(axis=(2, 3)),
}


def cell(pairs, older, newer):
    """The output of a cell: all its nodes, (nodes, H, W)."""
    states = [older, newer]
    for (a, i), (b, j) in zip(pairs[::2], pairs[1::2]):
        states.append(toys[a](states[i]) + toys[b](states[j]))
    return np.stack(states[2:])


# %%
digits = bnas.data.load_dataset("digits")
older, newer = np.float64(digits.train.images[:2, 0])
example = (("conv", 0), ("skip", 1), ("max", 1), ("avg", 2))
print("output", cell(example, older, newer).shape)
library = {
    "max": lambda x: F.max_pool2d(x[None, None], 3, 1, 1),
    "avg": lambda x: F.avg_pool2d(x[None, None], 3, 1, 1, count_include_pad=False),
    "conv": lambda x: F.conv2d(x[None, None], kernel[None, None], padding=1),
}
for name, theirs in library.items():
    same = np.allclose(toys[name](older), theirs(older).numpy()[0, 0], rtol=1e-12, atol=1e-12)
    print(f"{name:4} is that of bnas: {same}")

# %% [markdown]
# ## Counting
#
# How many cells are there? Take two nodes and $K$ operations. Node 2 can only read the states 0 and 1, so it has
# no choice of edges; each of them gets one of $K$ operations. Node 3 chooses two of three states. That makes
#
# $$\binom22 K^2 \cdot \binom32 K^2 = 3 K^4 .$$


# %%
def all_cells(nodes, operations):
    """Every cell: for each node two different predecessors, and an operation for each."""
    choices = [
        [
            ((a, i), (b, j))
            for i, j in combinations(range(node), 2)
            for a, b in product(operations, repeat=2)
        ]
        for node in range(2, nodes + 2)
    ]
    return [sum(chosen, ()) for chosen in product(*choices)]


cells = all_cells(2, toys)
print(f"{len(cells)} cells, and 3 K^4 = {3 * 4**4}")
print("the last one:", cells[-1])

# %% [markdown]
# But some of them are the same cell twice. If node 3 reads the two inputs, as node 2 does, nothing tells which
# of the two is to be called 2 and which 3. Swap them, and you have another genotype for the same graph: an
# *isomorphic* one. Its output has the same nodes in another order.


# %%
def twin(pairs):
    """The same cell with nodes 2 and 3 swapped, or None if node 3 reads node 2."""
    (a, i), (b, j), *rest = pairs
    return (*rest, (a, i), (b, j)) if all(state < 2 for _, state in rest) else None


first = (("conv", 0), ("skip", 1), ("max", 0), ("avg", 1))
one, other = cell(first, older, newer), cell(twin(first), older, newer)
print("equal as they are:", np.array_equal(one, other))
print("equal with the two images swapped:", np.array_equal(one, other[::-1]))

# %% [markdown]
# Whatever reads such an output, the convolution of 1×1 at the entrance of the next cells or the classifier, has
# weights for each of its channels, and can swap them along with the images. So the two networks are able to learn
# the same functions. To count each graph once, we keep of every cell and its twin the one that comes first in the
# alphabet:

# %%
print("operations    raw   3K^4   unique   formula")
for K in (3, 4, 5, 7):
    cells = all_cells(2, "abcdefg"[:K])
    unique = {min(pairs, twin(pairs) or pairs) for pairs in cells}
    formula = 2 * K**4 + K**2 * (K**2 + 1) // 2
    print(f"{K:10} {len(cells):6} {3 * K**4:6} {len(unique):8} {formula:9}")

# %% [markdown]
# The formula: in $2K^4$ cells node 3 reads node 2, and the names are settled. In the other $K^4$ each node is
# one of $K^2$ pairs of operations on the inputs, and only the *unordered* choice of two such nodes counts. There
# are $K^2 (K^2 - 1)/2$ with different nodes and $K^2$ with equal ones, together $K^2(K^2+1)/2$.
#
# A count is worth nothing unless it says what was identified with what. Here:
#
# * the order of the two edges into a node does not count, as a sum has none. The raw count had this already;
# * the names of the nodes do not count. This is what makes 207 of 243, and 648 of 768;
# * the two inputs do count as different, for they come from different cells;
# * both kinds of cell have the same genotype here. If they are chosen apart, all numbers are squared.
#
# In the full space there are four nodes, and seven operations that a genotype can keep:

# %%
per_cell = np.prod([node * (node - 1) // 2 * 7**2 for node in range(2, 6)])
print(f"one cell: {per_cell:,}")
print(f"two cells, chosen apart: {float(per_cell) ** 2:.2g}")
print(f"years, at one second each: {float(per_cell) ** 2 / 3.15e7:.1g}")

# %% [markdown]
# So the small space can be looked through to the end, and the full one cannot. Note also that evenly drawn
# genotypes are not evenly drawn graphs: a cell that has a twin, not equal to itself, comes up twice as often as
# one that has none. This is how `bnas` draws, and how the literature does.
#
# ## The mixed operation
#
# A choice has no derivative. The idea of differentiable search is to compute *all* $M$ candidates of an edge,
# and to add them up with weights that can be learned (Eq. 4.28):
#
# $$y = \sum_{m=1}^M s_m\, o_m(x), \qquad s_m = \frac{e^{\alpha_m}}{\sum_k e^{\alpha_k}} .$$
#
# $\alpha$ is a vector of $M$ *architecture logits* for each edge, and the softmax makes positive weights of it
# that sum to 1. What is the gradient for $\alpha$? Write $g = \partial L/\partial y$, and $\langle g, o\rangle$
# for the sum over all entries of $g \cdot o$. Then $\partial L/\partial s_m = \langle g, o_m\rangle$. The
# softmax has $\partial s_k/\partial\alpha_m = s_k(\delta_{km} - s_m)$, so
#
# $$\frac{\partial L}{\partial\alpha_m} = \sum_k \langle g, o_k\rangle\, s_k (\delta_{km} - s_m)
#   = s_m \langle g, o_m\rangle - s_m \Big\langle g, \sum_k s_k o_k\Big\rangle = s_m \langle g,\ o_m - y\rangle .$$
#
# An operation gains weight if the loss would fall were the output more like *its* output, and less like the
# present mixture.


# %%
def softmax(alpha):
    e = np.exp(alpha - alpha.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def mixed(alpha, outputs):
    """Σ s_m o_m for alpha (M,) and outputs (M, ...)."""
    return np.tensordot(softmax(alpha), outputs, axes=1)


def alpha_gradient(alpha, outputs, dy):
    """s_m <dy, o_m - y>, (M,)."""
    off = outputs - mixed(alpha, outputs)
    return softmax(alpha) * (off * dy).reshape(len(alpha), -1).sum(axis=1)


# %%
rng = np.random.default_rng(0)
outputs = np.stack([operation(older) for operation in toys.values()])
alpha, dy = rng.standard_normal(4), rng.standard_normal((8, 8))
ours = alpha_gradient(alpha, outputs, dy)
step = 1e-6 * np.eye(4)
numeric = [
    ((mixed(alpha + h, outputs) - mixed(alpha - h, outputs)) * dy).sum() / 2e-6 for h in step
]

leaf = bnas.Tensor(alpha, requires_grad=True)
F.mixed_sum(F.softmax(leaf, axis=0), list(outputs[:, None])).backward(dy[None])
print("formula    ", ours)
print("differences", np.array(numeric))
print("bnas       ", leaf.grad)
print(f"sum of the entries {ours.sum():.0e}")

# %% [markdown]
# Three ways, one gradient. Its entries sum to 0: on an edge weight is only redistributed. And each has the factor
# $s_m$, so an operation with hardly any weight gets hardly any gradient, and finds it hard to come back. Now let
# us look at the mixtures, with $\alpha = (0, 0, 0, a)$ for growing $a$:

# %% tags=["picture"]
figure = Figure(figsize=(6.9, 3.9), layout="constrained")
top, bottom = figure.subplots(2, 4)
for ax, (name, operation) in zip(top, toys.items()):
    ax.imshow(operation(older), cmap="Greys")
    ax.set_title(name, fontsize=10)
for ax, a in zip(bottom, (0, 1, 3, 8)):
    alpha = np.array([0, 0, 0, a])
    ax.imshow(mixed(alpha, outputs), cmap="Greys")
    ax.set_title(
        "s = " + ", ".join(f"{s:.2f}".removeprefix("0") for s in softmax(alpha)), fontsize=8
    )
for ax in (*top, *bottom):
    ax.set(xticks=[], yticks=[])
top[0].set_ylabel("candidates")
bottom[0].set_ylabel("mixtures")
figure

# %% [markdown]
# Above are the four candidates, below the mixtures, each in greys of its own: on the left all count alike, on the
# right the convolution has won, and the mixed operation is as good as a single one. A search moves from left to
# right, and by itself it need not arrive there.
#
# ### The library's
#
# A network in which every edge is a mixed operation is a *supernet*. That of `bnas` has a *stem*, which is one
# real convolution, a few cells with all their edges, and a classifier. It has one $\alpha$ of shape (2, E, M), for
# E edges and M candidates: row 0 serves all normal cells, row 1 all reduction cells. Here is a small one for
# images of 1 channel in 10 classes, of three cells, the latter two of which are reductions. With two nodes there
# are five edges, counted in this order:

# %%
names = ("none", "skip_connect", "max_pool_3x3", "sep_conv_3x3", "dil_conv_3x3")
supernet = Supernet(1, 10, channels=4, layers=3, nodes=2, precision=REAL, rng=rng, operations=names)
print("edges", edges(2), " alpha", supernet.alpha.shape)
print(f"{nn.parameter_count(supernet):,} weights in the supernet")

# %% [markdown]
# `none` is the absent edge: it returns zeros. Let us compute the first cell with our own `mixed`, from nothing but
# its candidates. It reads the 12 channels of the stem; `input0` and `input1`, convolutions of 1×1, make four of
# them for each of its states:

# %%
x = bnas.Tensor(rng.standard_normal((2, 12, 8, 8)).astype(np.float32))
logits = rng.standard_normal((5, 5)).astype(np.float32)
first_cell = supernet.cells[0]
with bnas.no_grad():
    states = [first_cell.input0(x), first_cell.input1(x)]
    for j in (2, 3):
        node = 0
        for e, (i, target) in enumerate(edges(2)):
            if target == j:
                candidates = first_cell.edges[e]
                outputs = np.stack([candidate(states[i]).data for candidate in candidates])
                node = node + mixed(logits[e], outputs)
        states.append(bnas.Tensor(node))
    theirs = first_cell(x, x, F.softmax(bnas.Tensor(logits), axis=-1)).data
ours = np.concatenate([state.data for state in states[2:]], axis=1)
print(f"shape {ours.shape}, largest difference {abs(ours - theirs).max():.0e}")

# %% [markdown]
# The difference is rounding in float32. All candidates are computed at every step, which is why a supernet is
# several times as slow as any network that comes of it.
#
# ## From α to a genotype
#
# A search ends with an $\alpha$; we want an architecture. The rule of DARTS, which the book takes over: on every
# edge, the strongest operation other than `none` stands for the edge, with its softmax weight. Of the edges into
# a node the two with the largest weights stay.


# %%
def genotype_cell(alpha, nodes, operations):
    """The pairs of one cell, for alpha (E, M)."""
    weights = softmax(alpha)
    weights[:, [name == "none" for name in operations]] = -1  # never chosen
    best, strength = weights.argmax(axis=1), weights.max(axis=1)
    pairs = []
    for node in range(2, nodes + 2):
        into = [e for e, (_, j) in enumerate(edges(nodes)) if j == node]
        kept = sorted(sorted(into, key=lambda e: -strength[e])[:2])
        pairs += [(operations[best[e]], edges(nodes)[e][0]) for e in kept]
    return tuple(pairs)


spaces = [(2, names), (4, bnas.space.PRIMITIVES), (3, ("skip_connect", "conv_7x1_1x7"))]
for nodes, chosen in spaces:
    alphas, equal = rng.standard_normal((200, 2, len(edges(nodes)), len(chosen))), 0
    for alpha in alphas:
        ours = [genotype_cell(kind, nodes, chosen) for kind in alpha]
        theirs = discretise(alpha, chosen)
        equal += ours == [theirs.normal, theirs.reduce]
    print(f"{nodes} nodes, {len(chosen)} operations: {equal} of {len(alphas)} equal to bnas")

# %%
alpha = np.random.default_rng(3).standard_normal((2, 5, 5))
weights, found = softmax(alpha[0]), discretise(alpha, names)
figure = Figure(figsize=(6.4, 3.3), layout="constrained")
ax = figure.subplots()
image = ax.imshow(weights, cmap="Greys", vmin=0, vmax=0.8, aspect="auto")
for e, (i, j) in enumerate(edges(2)):
    for name, predecessor in found.normal[2 * (j - 2) : 2 * (j - 1)]:
        if predecessor == i:
            ax.plot(names.index(name), e, "o", mfc="none", mec=ORANGE, markersize=31, mew=2.5)
for (e, m), weight in np.ndenumerate(weights):
    ax.text(
        m, e, f"{weight:.2f}", ha="center", va="center", color="white" if weight > 0.45 else BLACK
    )
ax.set_xticks(range(5), names, fontsize=8)
ax.set_yticks(range(5), [f"{i} → {j}" for i, j in edges(2)])
ax.set_ylabel("edge")
figure.colorbar(image, label="softmax(α)")
figure

# %% [markdown]
# The rings are what the genotype keeps. Follow the rule: node 2 has only the edges 0 → 2 and 1 → 2, so both stay.
# Of the three edges into node 3 the one whose best operation weighs least, 0 → 3, is dropped. The column `none`
# never has a ring, however dark it is; but what it weighs is missing from the others. The graph:

# %%
cell_figure(found, names)

# %% [markdown]
# Above is the normal cell, whose four operations are the four rings; below the reduction cell, from the other
# half of $\alpha$. There both nodes read the inputs, so this cell has a twin.
#
# ## A published cell
#
# The genotypes of the literature come with `bnas`. This is one that DARTS found on CIFAR-10, by the more exact of
# its two gradients, the second-order one:

# %%
cell_figure(bnas.genotypes.DARTS_V2)

# %% [markdown]
# Four nodes, and twelve of the sixteen edges come directly from the inputs; in the reduction cell not a single
# convolution was chosen. The graph is wide and shallow, which is typical of what such searches find (Shu et al.).
# Older cells do not always lie in our space:

# %%
print("NASNet, node 5:", bnas.genotypes.NASNet.normal[6:8])
print("NASNet, operations:", sorted({name for name, _ in bnas.genotypes.NASNet.reduce}))

# %% [markdown]
# The node adds the same average pool of the same state twice. By our rule a node reads two *different* states. And
# `sep_conv_7x7` is none of the eight candidates, `none` and the seven that were counted above
# (`bnas.space.PRIMITIVES`). Such cells can be built, trained and drawn, but no $\alpha$ leads to them.
#
# ## An operation of your own
#
# Which candidates there are is up to you. An operation is a Module that takes (N, C, H, W) to the same shape, or,
# on the edges from the inputs of a reduction cell, to half the size with `stride` 2. It is built for a
# `precision`, because the same search space has to serve a real network and a 1-bit one: `precision.conv` makes
# the convolution for either, and `precision.activation` is ReLU before a real one, and nothing before a 1-bit
# one, which takes the sign by itself. Here is an ordinary 3×3 convolution across all channels:


# %%
class FullConv(Operation):
    def __init__(self, channels, stride, precision, affine, rng):
        self.precision = precision
        self.conv = precision.conv(channels, channels, 3, stride=stride, padding=1, rng=rng)
        self.bn = nn.BatchNorm2d(channels, affine=affine)

    def forward(self, x):
        return self.bn(self.conv(self.precision.activation(x)))


if "full_conv_3x3" not in bnas.space.OPERATIONS:  # a name can be registered once
    bnas.register_operation("full_conv_3x3", FullConv)

# %% [markdown]
# Batch norm is last, so that the outputs of a candidate are of about the same size whatever its weights; else it
# could win for its size alone. `affine` says whether batch norm has its own scale, which is off during a search
# for the same reason. Before it is used, it is checked: the shapes for both strides, and the gradient.

# %%
for precision, kind in ((REAL, "real"), (BINARY, "1-bit")):
    for stride in (1, 2):
        operation = FullConv(4, stride, precision, False, np.random.default_rng(1))
        y = operation(rng.standard_normal((2, 4, 7, 7)).astype(np.float32))
        print(f"{kind}, stride {stride}: (2, 4, 7, 7) -> {y.shape}")
operation = FullConv(3, 2, REAL, True, np.random.default_rng(1))
worst = bnas.check_gradients(operation, rng.standard_normal((2, 3, 5, 5)))
print(f"gradients right, the worst relative error is {worst.error:.0e}")

# %% [markdown]
# (The 1-bit form does not pass such a check, as tutorial 3 has told.) From now on the name is known: to supernets,
# genotypes and figures.

# %%
mine = ("none", "skip_connect", "full_conv_3x3")
small = Supernet(1, 10, 4, 3, 2, BINARY, np.random.default_rng(2), mine)
print("logits", small(digits.train.images[:5]).shape, " alpha", small.alpha.shape)
print(discretise(small.alpha.data, mine).normal)

# %% [markdown]
# ## What goes wrong
#
# **Mistake 1: an undecided α is taken for an answer.** A supernet begins with logits around 0, of a standard
# deviation of 0.001. Discretise that, then add as little as $10^{-4}$ to the logits:

# %%
base = 1e-3 * np.random.default_rng(4).standard_normal((2, 5, 5))
for k in range(3):
    nudged = base + 1e-4 * np.random.default_rng(k).standard_normal(base.shape)
    same = discretise(nudged, names) == discretise(base, names)
    print(f"largest change {abs(nudged - base).max():.5f}: the same genotype: {same}")
print(f"weights of the first edge: {softmax(base)[0, 0].round(4)}")

# %%
sizes, shares = np.logspace(-4, 1, 11), []
for size in sizes:
    changed = []
    for k in range(200):
        base = size * np.random.default_rng(k).standard_normal((2, 5, 5))
        nudged = base + 1e-3 * np.random.default_rng(1000 + k).standard_normal(base.shape)
        changed.append(discretise(nudged, names) != discretise(base, names))
    shares.append(100 * np.mean(changed))

figure = Figure(figsize=(6.2, 3.0), layout="constrained")
ax = figure.subplots()
ax.semilogx(sizes, shares, "o-", color=BLUE)
ax.axvline(1e-3, color="#999999", linewidth=1)
ax.text(1.15e-3, 5, "size of the change", color="#666666", fontsize=9)
ax.set(xlabel="standard deviation of α", ylabel="genotypes changed, %", ylim=(0, 105))
figure

# %% [markdown]
# Each point: 200 random $\alpha$ of that size, changed by noise of 0.001, a tenth of a single step of the
# optimiser at its usual rate of 0.01. To the left of the grey line nearly every genotype changes; only where the
# logits are a hundred times as large as the noise is the genotype a property of $\alpha$. The rule always
# answers, and never says how sure it is. The symptom in a search is a genotype that differs from epoch to epoch.
# The measure for it is the entropy of the weights, $-\sum_m s_m \ln s_m$, which is $\ln M$ as long as nothing is
# decided.
#
# **Mistake 2: `none` wins, and nobody notices.** Let a search say clearly that two of the three edges into node 3
# are not wanted:

# %%
alpha = np.zeros((2, 5, 5))
alpha[:, [2, 3], names.index("none")] = 5
alpha[:, 2, names.index("sep_conv_3x3")] = 0.1
print("none weighs", softmax(alpha)[0, :, 0].round(3), "on the five edges")
print("node 3 keeps", discretise(alpha, names).normal[2:])

# %% [markdown]
# On the edge 0 → 3 the absent edge has 97 % of the weight, and the genotype has a convolution there. Two edges a
# node is the rule, and `none` is no answer that a genotype can give. The supernet had computed nearly nothing on
# that edge; the network computes a full convolution. What the search had measured is then no longer the network
# that is kept. The symptom is a large weight of `none`, and a network much unlike its supernet. It may look like a
# remedy to strike out `none` first, and then to take the softmax:

# %%
alpha = np.random.default_rng(7).standard_normal((300, 2, 5, 5)) * 2
with_none = [discretise(a, names) for a in alpha]
without = [discretise(a[..., 1:], names[1:]) for a in alpha]
differ = np.mean([a != b for a, b in zip(with_none, without)])
print(f"other genotypes if none is left out of the softmax: {differ:.0%}")

# %% [markdown]
# But then an edge that is hardly wanted counts as much as one that is, as long as the rest of its weight is in one
# place. Both are rules. They are not the same, and results under one do not hold under the other.
#
# **Mistake 3: α is read along the wrong axis.** Five edges, five operations: nobody complains about a transposed
# array. Let the convolution win everywhere.

# %%
alpha = np.zeros((2, 5, 5))
alpha[..., names.index("sep_conv_3x3")] = 2 + 0.1 * np.arange(5)
print("right     ", discretise(alpha, names).normal)
print("transposed", discretise(alpha.transpose(0, 2, 1), names).normal)
print("other order of names", discretise(alpha, names[::-1]).normal)
try:
    discretise(np.zeros((2, 8, 5)).transpose(0, 2, 1), names)
except ValueError as error:
    print("five edges, eight operations:", error)

# %% [markdown]
# All three are valid genotypes, and two of them are nonsense. A shape protects only where the numbers differ. What
# helps: take the softmax along the last axis and see that it sums to 1 *there*; keep the names of the operations
# beside the array, as `Supernet.operations` and every run folder of `bnas` do; and try the code on an $\alpha$
# whose answer you know, as we did here.
#
# ## Exercises
#
# **Exercise 1.** Count cells of *any* number of nodes, each graph once. The argument `cells` is a list such as
# `all_cells` makes. Return the number of different graphs, when only the names of the nodes do not count. (With
# three nodes a relabelling is any permutation of the nodes 2, 3 and 4. Inputs are never renamed. Remember that the
# order of the two edges into a node says nothing. Two nodes that compute the same are still two nodes.)


# %% tags=["exercise-1"]
def count_unique(cells): ...


# %% tags=["check-1"]
def examine_1(answer):
    expected = {(1, 3): 9, (2, 2): 42, (2, 3): 207, (2, 4): 648, (3, 1): 13, (3, 2): 712}
    expected[4, 1] = 79
    for (nodes, K), count in expected.items():
        got = answer(all_cells(nodes, "abcd"[:K]))
        if got != count:
            return f"{got} graphs of {nodes} nodes and {K} operations, expected {count}"
    three = all_cells(3, "ab")
    some = [three[k] for k in np.random.default_rng(8).permutation(len(three))[:400]]
    if answer(some) != 339:
        return f"{answer(some)} graphs among 400 cells of three nodes drawn at random, expected 339"


check(1, count_unique, examine_1)

# %% [markdown]
# **Exercise 2.** Write the gradient for $\alpha$ of a mixed operation with two additions that searches use. The
# softmax has a *temperature*: $s = \operatorname{softmax}(\alpha / T)$. And only the candidates of a `mask` take
# part, a bool array (M,): the softmax goes over them alone, the others weigh 0 and have a gradient of 0.


# %% tags=["exercise-2"]
def masked_gradient(alpha, outputs, dy, T, mask):
    """∂L/∂alpha (M,) for alpha (M,), outputs (M, ...), dy of the shape of an output."""
    ...


# %% tags=["check-2"]
def examine_2(answer):
    rng = np.random.default_rng(9)
    for M, shape in ((2, (3,)), (5, (4, 3)), (8, (2, 3, 4))):
        for T in (1.0, 0.3, 4.0):
            alpha, dy = rng.standard_normal(M), rng.standard_normal(shape)
            outputs, mask = rng.standard_normal((M, *shape)), np.arange(M) < max(2, M - 2)
            mask = rng.permutation(mask)

            def value(a):
                return (mixed(a[mask] / T, outputs[mask]) * dy).sum()

            step = 1e-5 * np.eye(M)
            truth = np.array([(value(alpha + h) - value(alpha - h)) / 2e-5 for h in step])
            got = answer(alpha.copy(), outputs.copy(), dy.copy(), T, mask.copy())
            fault = difference(got, truth, 1e-6)
            if fault:
                return f"T = {T}, mask = {mask.astype(int)}, by finite differences: {fault}"


check(2, masked_gradient, examine_2)

# %% [markdown]
# **Exercise 3.** Build an operation: the activation, once, as in `FullConv`; then a convolution of 1×1 across
# channels; then a 3×3 convolution in each channel apart (`groups=channels`) that has the stride; then batch norm.
# It is to serve real and 1-bit networks. Return an `Operation`; a class may be defined inside the function. (The
# first cell below belongs to the check.)


# %%
def fault_of(operation, stride, precision, affine):
    convs = [m for m in operation.modules() if isinstance(m, nn.Convolution)]
    if sorted(c.weight.shape for c in convs) != [(6, 1, 3, 3), (6, 6, 1, 1)]:
        return f"kernels {[c.weight.shape for c in convs]}, expected (6, 6, 1, 1) and (6, 1, 3, 3)"
    wide, deep = sorted(convs, key=lambda c: c.weight.shape[2])
    if any(isinstance(c, nn.XnorConv2d) != precision.binary for c in convs):
        return "a convolution is of the other precision"
    if (wide.window.stride, deep.window.stride) != ((1, 1), (stride, stride)):
        return f"strides {wide.window.stride} and {deep.window.stride}"
    if len(list(operation.parameters())) != (4 if affine else 2):
        count = len(list(operation.parameters()))
        return f"{count} parameters, expected {4 if affine else 2}: no biases, and is `affine` passed on?"
    x = bnas.Tensor(np.random.default_rng(10).standard_normal((3, 6, 7, 7)).astype(np.float32))
    y = deep(wide(precision.activation(x))).data
    y = y - y.mean(axis=(0, 2, 3), keepdims=True)
    y /= np.sqrt((y**2).mean(axis=(0, 2, 3), keepdims=True) + 1e-5)
    fault = difference(operation(x).data, y, 1e-3)
    return fault and f"another output than of activation, 1×1, 3×3, batch norm: {fault}"


# %% tags=["exercise-3"]
def build(channels, stride, precision, affine, rng): ...


# %% tags=["check-3"]
def examine_3(answer):
    for precision, affine, stride in product((REAL, BINARY), (False, True), (1, 2)):
        of = f"{'1-bit' if precision.binary else 'real'}, stride {stride}, affine {affine}"
        made = [answer(6, stride, precision, affine, np.random.default_rng(1)) for _ in range(2)]
        if not isinstance(made[0], Operation):
            return f"expected an Operation, got {type(made[0]).__name__}"
        fault = fault_of(made[0], stride, precision, affine)
        if fault:
            return f"{of}: {fault}"
        if any((a.data != b.data).any() for a, b in zip(*(m.parameters() for m in made))):
            return "two with the same rng differ; are all weights drawn from it?"


check(3, build, examine_3)

# %% [markdown]
# ## Where to read on
#
# * `bnas/space/`: `genotype.py` (`edges`, `discretise`), `supernet.py` (`MixedCell.forward` is Eqs. 4.27 and
#   4.28), `operations.py` (all candidates, `register_operation`), `published.py`, `baselines.py`
#   (`random_genotype`).
# * `bnas/functional/mixed.py`: `MixedSum`, with gradients for each sample of a batch, which tutorial 9 needs.
# * In a terminal, `bnas plot --genotype NAME -o FILE.png` draws a cell, and `bnas search RUN --operations ...`
#   searches in a space of your own.
# * Next: tutorial 7, where $\alpha$ and the weights learn in turns.
# * Liu, Simonyan, Yang, *DARTS* (2019, arXiv 1806.09055), section 2; Shu, Wang, Cai (2020, 1909.09569) on wide and
#   shallow cells; Zoph et al. (2018, 1707.07012), where cells come from; Xie et al., *SNAS* (2019, 1812.09926),
#   and Cai et al., *ProxylessNAS* (2019, 1812.00332), who draw one candidate at a time; Wang et al. (2021,
#   2108.04392) on what a large $\alpha$ does not mean.
