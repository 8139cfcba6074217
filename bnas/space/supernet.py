"""The supernet: every edge of every cell computes all candidates at once, weighted by softmax(α).

Parent and Child are the same class with another Precision, so all names and shapes agree.
"""

from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

import bnas.functional as F
from bnas import nn
from bnas.autodiff import Tensor
from bnas.config import PRIMITIVES
from bnas.space.genotype import edges
from bnas.space.operations import make_operation, search_space
from bnas.space.skeleton import Cell, Skeleton

INITIAL_ALPHA = 1e-3  # standard deviation of the initial logits, as in DARTS


class MixedCell(Cell):
    """A cell of mixed operations (Eqs. 4.27, 4.28): node j = Σ_{i<j} Σ_m s_m o_m(state i).

    Attributes:
        edges: for each edge (i, j), in the order of axis E of α, its M candidate operations.
    """

    def __init__(
        self,
        channels_before,
        channels,
        reduction,
        reduced_before,
        nodes,
        precision,
        rng,
        operations=PRIMITIVES,
    ):
        super().__init__(channels_before, channels, reduction, reduced_before, False, rng)
        self.nodes = nodes
        self.out_channels = nodes * channels
        candidates = []
        for i, _ in edges(nodes):
            settings = channels, self.stride(i), precision, False, rng
            candidates.append(
                nn.Sequential(*(make_operation(name, *settings) for name in operations))
            )
        self.edges = nn.Sequential(*candidates)

    def forward(self, older, newer, weights, active=None):
        """Output (B, nodes·C, H, W) for weights (E, M), or (B, E, M) with weights for each sample.

        older, newer: the outputs of the last cell but one, and of the last. active: for each edge, the
        numbers of the candidates that are computed; None: all.
        """
        states = [self.input0(older), self.input1(newer)]
        incoming = {}
        for e, ((i, j), candidates) in enumerate(zip(edges(self.nodes), self.edges)):
            row = weights[..., e, :]
            if active is not None:
                candidates, row = [candidates[m] for m in active[e]], row[..., active[e]]
            if len(candidates):
                mixed = F.mixed_sum(row, [candidate(states[i]) for candidate in candidates])
                incoming[j] = incoming[j] + mixed if j in incoming else mixed
            if i == j - 1:
                states.append(incoming[j])
        return F.concat(states[2:], axis=1)


class Restriction(NamedTuple):
    """Which candidates of a supernet take part.

    Attributes:
        mask: bool, of the shape of α.
        numbers: for each row of α and each edge, those of the candidates that do, a list.
    """

    mask: np.ndarray
    numbers: tuple


class Supernet(Skeleton):
    """Stem, cells of mixed operations, classifier, and the architecture's logits `alpha`.

    Args:
        in_channels, classes: of the data.
        channels: of the first cell's states; every reduction doubles them.
        layers: number of cells; those at one and two thirds are reductions.
        nodes: intermediate nodes of a cell.
        precision: bnas.space.REAL for the Parent, BINARY (or another) for the Child.
        rng: numpy.random.Generator for the initial weights and α.
        operations: names of bnas.space.OPERATIONS, the candidates of every edge.
        tied: whether both kinds of cell have the same logits.

    Attributes:
        alpha: Parameter (2, E, M), logits of the normal (0) and the reduction cell (1); (1, E, M) if tied.
        operations: the names along axis M of α.
        temperature: T of softmax(α / T); below 1 it sharpens. Not part of the state.
        restriction: the Restriction in force, or None; see `restrict`. Not part of the state.
    """

    def __init__(
        self,
        in_channels,
        classes,
        channels,
        layers,
        nodes,
        precision,
        rng,
        operations=PRIMITIVES,
        tied=False,
    ):
        self.operations = search_space(operations)
        self.temperature, self.restriction = 1.0, None

        def make_cell(channels_before, channels, reduction, reduced_before):
            return MixedCell(
                channels_before,
                channels,
                reduction,
                reduced_before,
                nodes,
                precision,
                rng,
                self.operations,
            )

        super().__init__(in_channels, classes, channels, layers, make_cell, rng)
        shape = (1 if tied else 2, len(edges(nodes)), len(self.operations))
        self.alpha = nn.Parameter((INITIAL_ALPHA * rng.standard_normal(shape)).astype(np.float32))

    def forward(self, x, alpha=None):
        """Logits (B, N) of images (B, C, H, W).

        `alpha` stands in for the supernet's own: a Tensor of its shape, or (B, ...), a copy for each sample,
        whose gradient is then each sample's own share (Eqs. 4.36-4.41).
        """
        weights = self.mixing_weights(self.alpha if alpha is None else alpha)
        older = newer = self.stem(x if isinstance(x, Tensor) else Tensor(x))
        for cell in self.cells:
            own = weights[..., self.row(cell), :, :]
            older, newer = newer, cell(older, newer, own, *self.active(cell))
        return self.classify(newer)

    def row(self, cell):
        """The row of α that a cell goes by: that of its kind, or the only one."""
        return min(int(cell.reduction), len(self.alpha) - 1)

    def mixing_weights(self, alpha):
        """softmax(α / T) over the candidates that take part, a Tensor of the shape of `alpha`."""
        if self.temperature != 1:
            alpha = alpha / self.temperature
        if self.restriction is not None:
            mask = self.restriction.mask
            alpha = F.where(mask | ~mask.any(axis=-1, keepdims=True), alpha, -np.inf)
        return F.softmax(alpha, axis=-1)

    @property
    def mixing(self):
        """(α as an array, T, the mask of the candidates that take part or None): what bnas.space.alpha takes."""
        mask = None if self.restriction is None else self.restriction.mask
        return self.alpha.data, self.temperature, mask

    def active(self, cell):
        """The numbers of the candidates of a cell that take part, as its last argument; () for all."""
        return () if self.restriction is None else (self.restriction.numbers[self.row(cell)],)

    def active_modules(self):
        """The modules that take part: all but those of the candidates that are left out."""
        if self.restriction is None:
            return self.modules()
        idle = set()
        for cell in self.cells:
            mask = self.restriction.mask[self.row(cell)]
            for e, m in np.argwhere(~mask):
                idle.update(cell.edges[e][m].modules())
        return [module for module in self.modules() if module not in idle]

    def restrict(self, mask):
        """From now on only the candidates of `mask`, bool of the shape of α, take part; None: all.

        The others are not computed and weigh 0, the softmax being over those that take part. An edge
        without any contributes nothing; every node needs one edge that does, or ValueError is raised.
        """
        if mask is None:
            self.restriction = None
            return
        mask = np.array(mask, dtype=bool)
        if mask.shape != self.alpha.shape:
            raise ValueError(f"restrict: mask has shape {mask.shape}, expected {self.alpha.shape}")
        pairs = edges(self.cells[0].nodes)
        for kind, edge_mask in enumerate(mask.any(axis=-1)):
            fed = {j for (_, j), some in zip(pairs, edge_mask) if some}
            missing = {j for _, j in pairs} - fed
            if missing:
                raise ValueError(
                    f"restrict: no candidate leads into node {min(missing)} of cell kind {kind}; keep one "
                    "on one of its edges"
                )
        numbers = tuple([np.flatnonzero(row).tolist() for row in rows] for rows in mask)
        self.restriction = Restriction(mask, numbers)

    @contextmanager
    def restricted(self, mask):
        """Inside this context only the candidates of `mask` take part; see `restrict`."""
        before = self.restriction
        self.restrict(mask)
        try:
            yield
        finally:
            self.restriction = before

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
