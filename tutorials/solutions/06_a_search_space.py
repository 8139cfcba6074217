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
# # Answers to the exercises of tutorial 6

# %%
import numpy as np

import bnas.functional as F
from bnas import nn
from bnas.space import Operation

# %% [markdown]
# **Exercise 1.** A graph is a set of edges (from, to, operation). Of all that come of it by renaming its nodes,
# the first in the order of Python stands for the graph.


# %% tags=["exercise-1"]
def count_unique(cells):
    from itertools import permutations

    def canonical(pairs):
        nodes = len(pairs) // 2
        renamings = [(0, 1, *order) for order in permutations(range(2, nodes + 2))]
        return min(
            tuple(sorted((new[i], new[2 + k // 2], op) for k, (op, i) in enumerate(pairs)))
            for new in renamings
        )

    return len({canonical(pairs) for pairs in cells})


# %% [markdown]
# Wrong: only two neighbouring nodes are swapped, once.


# %% tags=["wrong-1a"]
def count_unique(cells):
    def first_form(pairs):
        nodes = [pairs[k : k + 2] for k in range(0, len(pairs), 2)]
        if all(state < 2 for node in nodes for _, state in node):
            nodes = sorted(nodes)
        return tuple(nodes)

    return len({first_form(pairs) for pairs in cells})


# %% [markdown]
# Wrong: a node is described by what it computes. Of two equal nodes that others read, it does not tell which is
# read; this matters from four nodes on.


# %% tags=["wrong-1b"]
def count_unique(cells):
    def computed(pairs):
        states = ["0", "1"]
        for (a, i), (b, j) in zip(pairs[::2], pairs[1::2]):
            states.append(str(sorted([(a, states[i]), (b, states[j])])))
        return tuple(sorted(states[2:]))

    return len({computed(pairs) for pairs in cells})


# %% [markdown]
# **Exercise 2.** The derivation of the tutorial, over the candidates that take part, and $1/T$ from the chain
# rule.


# %% tags=["exercise-2"]
def masked_gradient(alpha, outputs, dy, T, mask):
    logits = np.where(mask, alpha / T, -np.inf)
    s = np.exp(logits - logits.max())
    s = s / s.sum()
    y = np.tensordot(s, outputs, axes=1)
    return s / T * ((outputs - y) * dy).reshape(len(s), -1).sum(axis=1)


# %% [markdown]
# Wrong: $1/T$ is forgotten.


# %% tags=["wrong-2a"]
def masked_gradient(alpha, outputs, dy, T, mask):
    s = np.where(mask, np.exp(alpha / T), 0)
    s = s / s.sum()
    y = np.tensordot(s, outputs, axes=1)
    return s * ((outputs - y) * dy).reshape(len(s), -1).sum(axis=1)


# %% [markdown]
# Wrong: the softmax goes over all candidates, and the mask comes too late.


# %% tags=["wrong-2b"]
def masked_gradient(alpha, outputs, dy, T, mask):
    s = np.exp(alpha / T)
    s = s / s.sum() * mask
    y = np.tensordot(s, outputs, axes=1)
    return s / T * ((outputs - y) * dy).reshape(len(s), -1).sum(axis=1)


# %% [markdown]
# **Exercise 3.** Everything that is needed comes in by the arguments; the 3×3 window needs a padding of 1.


# %% tags=["exercise-3"]
def build(channels, stride, precision, affine, rng):
    class PointThenDepth(Operation):
        def __init__(self):
            self.pointwise = precision.conv(channels, channels, 1, rng=rng)
            self.depthwise = precision.conv(
                channels, channels, 3, stride=stride, padding=1, groups=channels, rng=rng
            )
            self.bn = nn.BatchNorm2d(channels, affine=affine)

        def forward(self, x):
            return self.bn(self.depthwise(self.pointwise(precision.activation(x))))

    return PointThenDepth()


# %% [markdown]
# Wrong: the convolutions are real whatever the precision.


# %% tags=["wrong-3a"]
def build(channels, stride, precision, affine, rng):
    class PointThenDepth(Operation):
        def __init__(self):
            self.pointwise = nn.Conv2d(channels, channels, 1, bias=False, rng=rng)
            self.depthwise = nn.Conv2d(
                channels, channels, 3, stride, 1, groups=channels, bias=False, rng=rng
            )
            self.bn = nn.BatchNorm2d(channels, affine=affine)

        def forward(self, x):
            return self.bn(self.depthwise(self.pointwise(F.relu(x))))

    return PointThenDepth()


# %% [markdown]
# Wrong: the order of the two convolutions is the other one, that of the separable convolution.


# %% tags=["wrong-3b"]
def build(channels, stride, precision, affine, rng):
    class DepthThenPoint(Operation):
        def __init__(self):
            self.depthwise = precision.conv(
                channels, channels, 3, stride=stride, padding=1, groups=channels, rng=rng
            )
            self.pointwise = precision.conv(channels, channels, 1, rng=rng)
            self.bn = nn.BatchNorm2d(channels, affine=affine)

        def forward(self, x):
            return self.bn(self.pointwise(self.depthwise(precision.activation(x))))

    return DepthThenPoint()
