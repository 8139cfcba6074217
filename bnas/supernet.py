"""The supernet: every edge of every cell computes all candidates at once, weighted by softmax(α).

Parent and Child are the same class with another Precision, so all names and shapes agree.
"""

import numpy as np

import bnas.functional as F
from bnas import nn
from bnas.autodiff import Tensor
from bnas.candidates import make_candidate, norm_of
from bnas.genotypes import PRIMITIVES, edges
from bnas.skeleton import Cell, Skeleton

INITIAL_ALPHA = 1e-3  # standard deviation of the initial logits, as in DARTS


class MixedCell(Cell):
    """A cell of mixed operations (Eqs. 4.27, 4.28): node j = Σ_{i<j} Σ_m s_m o_m(state i)."""

    def __init__(self, channels_before, channels, reduction, reduced_before, nodes, precision, rng):
        super().__init__(channels_before, channels, reduction, reduced_before, False, rng)
        self.nodes = nodes
        self.out_channels = nodes * channels
        self.edges = nn.Sequential(
            *(
                nn.Sequential(
                    *(
                        make_candidate(name, channels, self.stride(i), precision, False, rng)
                        for name in PRIMITIVES
                    )
                )
                for i, _ in edges(nodes)
            )
        )

    def forward(self, older, newer, weights):
        """Output (B, nodes·C, H, W) for weights (E, M), or (B, E, M) with weights for each sample.

        Candidate by candidate: what `in_lanes` computes faster, written to be read.
        """
        states = [self.input0(older), self.input1(newer)]
        incoming = {}
        for e, ((i, j), candidates) in enumerate(zip(edges(self.nodes), self.edges)):
            # "none" stands first and adds nothing: its weight is left out of the sum.
            outputs = [candidate(states[i]) for candidate in list(candidates)[1:]]
            mixed = F.mixed_sum(weights[..., e, 1:], outputs)
            incoming[j] = incoming[j] + mixed if j in incoming else mixed
            if i == j - 1:
                states.append(incoming[j])
        return F.concat(states[2:], axis=1)

    def in_lanes(self, older, newer, weights, call):
        """`forward` for Tensors in lanes, an edge at a time; call: F.Call of the candidates."""
        states = self.inputs_in_lanes(older, newer, call)
        pools, incoming = {}, None
        for e, ((i, j), candidates) in enumerate(zip(edges(self.nodes), self.edges)):
            x = states[i]
            if i not in pools:  # all edges from a state share its poolings
                pools[i] = F.pools_in_lanes(x, self.stride(i))
            edge, own = edge_of(candidates, x.shape[2:4])
            incoming = F.mixed_edge(weights[..., e, 1:], incoming, x, pools[i], own, call, edge)
            if i == j - 1:
                states.append(incoming)
                incoming = None
        return F.concat(states[2:], axis=1)


def edge_of(candidates, size):
    """The candidates of an edge from images of `size` for `F.mixed_edge`: (F.Edge, Parameters)."""
    _, skip, dilated3, dilated5, largest, average, separable3, separable5 = candidates
    chains = [part.stages(size) for part in (skip, dilated3, dilated5, separable3, separable5)]
    stages = [stages for stages, _ in chains]
    norms = norm_of(largest.bn), norm_of(average.bn)
    edge = F.Edge(stages[0], tuple(stages[1:3]), tuple(stages[3:]), norms)
    return edge, [weight for _, weights in chains for weight in weights]


class Supernet(Skeleton):
    """Stem, cells of mixed operations, classifier, and the architecture's logits `alpha`.

    Args:
        in_channels, classes: of the data.
        channels: of the first cell's states; every reduction doubles them.
        layers: number of cells; those at one and two thirds are reductions.
        nodes: intermediate nodes of a cell.
        precision: bnas.candidates.REAL for the Parent, BINARY (or another) for the Child.
        rng: numpy.random.Generator for the initial weights and α.

    Attributes:
        alpha: Parameter (2, E, M), logits of the normal (0) and the reduction cell (1).
        lanes: whether to compute in lanes (see `bnas.kernels.lanes`), not candidate by candidate; the
            results agree but for rounding.
    """

    def __init__(self, in_channels, classes, channels, layers, nodes, precision, rng):
        def make_cell(channels_before, channels, reduction, reduced_before):
            return MixedCell(
                channels_before, channels, reduction, reduced_before, nodes, precision, rng
            )

        super().__init__(in_channels, classes, channels, layers, make_cell, rng)
        self.precision, self.lanes = precision, precision.runs_in_lanes
        shape = (2, len(edges(nodes)), len(PRIMITIVES))
        self.alpha = nn.Parameter((INITIAL_ALPHA * rng.standard_normal(shape)).astype(np.float32))

    def forward(self, x, alpha=None):
        """Logits (B, N) of images (B, C, H, W).

        `alpha` stands in for the supernet's own: a Tensor (2, E, M), or (B, 2, E, M), a copy for each
        sample, whose gradient is then each sample's own share (Eqs. 4.36-4.41).
        """
        weights = F.softmax(self.alpha if alpha is None else alpha, axis=-1)
        by_kind = weights[..., 0, :, :], weights[..., 1, :, :]
        x = x if isinstance(x, Tensor) else Tensor(x)
        if not self.lanes:
            return self.run(x, lambda cell, *inputs: cell(*inputs, by_kind[cell.reduction]))
        return self.run_in_lanes(
            x,
            lambda cell, older, newer, call: cell.in_lanes(
                older, newer, by_kind[cell.reduction], call
            ),
            self.precision,
        )

    def weight_parameters(self):
        """All Parameters but α: the w (ŵ, β) of the equations."""
        return [p for p in self.parameters() if p is not self.alpha]

    def inherit_weights(self, other):
        """Take over the weights of a supernet of another precision (ŵ ← w); α stays.

        A learned β, which the Parent does not have, restarts from the closed form.
        """
        own, given = self.state_dict(), other.state_dict()
        own.update(
            (name, array) for name, array in given.items() if name in own and name != "alpha"
        )
        self.load_state_dict(own)
        self.reset_betas()
