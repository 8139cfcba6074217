"""CP-NAS (Zhuo et al., IJCAI 2020; section 4.3 of the book).

Operations are scored by the accuracies of Parent and Child, and the worst are dropped until one an edge is left.
"""

import numpy as np

from bnas.errors import InputError, argument
from bnas.search.dcp import Search
from bnas.search.paths import restricted_accuracy
from bnas.search.phases import ChildPhase, SupervisedPhase
from bnas.space.alpha import for_both_kinds
from bnas.space.genotype import genotype_of_strengths


def score(parent_accuracy, child_accuracy, beta_p):
    """z = β_P (A_P - A_C) + A_C, the performance of a sampled operation (Eq. 4.15)."""
    return beta_p * (parent_accuracy - child_accuracy) + child_accuracy


def sample_paths(active, rng):
    """Paths that use every active operation once: on each edge without replacement (algorithm 9, lines 3-6).

    active: bool (2, E, M), equally many on every edge. Returns as many masks like it, of one operation an edge.
    """
    orders = [rng.permutation(np.flatnonzero(row)) for row in active.reshape(-1, active.shape[-1])]
    paths = []
    for chosen in zip(*orders, strict=True):
        mask = np.zeros((len(orders), active.shape[-1]), bool)
        mask[np.arange(len(orders)), chosen] = True
        paths.append(mask.reshape(active.shape))
    return paths


def drop_worst(active, scores):
    """`active` without the operation of the least score on every edge; of equals, the first goes.

    The book divides by a sum over the edge (Eq. 4.16: softmax of the mean z), which changes no order.
    Shapes (2, E, M).
    """
    worst = np.where(active, scores, np.inf).argmin(axis=-1)
    return active & (np.arange(active.shape[-1]) != worst[..., None])


class CPSearch(Search):
    """A CP-NAS search: Parent and Child as in DCP-NAS without tangent propagation and backtracking.

    After every epoch of the Child operations are scored and the worst of each edge dropped, again and again,
    so that after the last epoch one is left. Algorithm 9 trains a sampled path for an epoch before it is scored;
    here all paths share the weights of the supernets.

    Raises InputError for a space of one operation.

    Attributes:
        active: the operations that are left, bool of the shape of α.
        parent_active: those of the Parent, which stays as it was trained while it teaches, likewise.
        scores: the last mean z of every operation, float64 likewise.
    """

    def __init__(self, config, dataset):
        if len(config.operation_names) == 1:
            raise InputError(
                argument("operations"),
                f" names {config.operations} alone, and CP-NAS drops until one is left; give two or more",
            )
        super().__init__(config, dataset)
        self.active = self.parent_active = np.ones(self.child.alpha.shape, bool)
        self.scores = np.zeros(self.child.alpha.shape)

    def train_parent(self, epochs):
        """The phase that trains (w, α) on L_NAS."""
        return SupervisedPhase(self.parent, self.config, epochs)

    def train_child(self, epochs):
        """The phase that trains (ŵ, β, α̂) on -G + μ L_R, the supervision by the Parent (Eq. 4.26)."""
        return ChildPhase(self.child, self.config, epochs, self.parent)

    def record_tangent(self):
        """None: nothing is drawn towards it."""

    def inherit_back(self):
        """α ← α̂ when the next Parent phase begins; what was dropped meanwhile is dropped from the Parent now."""
        super().inherit_back()
        self.parent_active = self.active
        self.parent.restrict(self.parent_active)

    def conclude(self, number, rng):
        """After an epoch of the Child, drop as many as bring it evenly to one operation an edge at the end."""
        if self.phase.supernet is self.child:
            children = [e.step.name == "child" for e in self.schedule]
            left = sum(children[number + 1 :]) / sum(children)
            self.reduce(1 + int((self.active.shape[-1] - 1) * left), rng)

    def search_epoch(self, number, rng, progress):
        figures = super().search_epoch(number, rng, progress)
        return {**figures, "active": for_both_kinds(self.active).tolist()}

    def reduce(self, count, rng):
        """Score and drop until `count` operations an edge are left (algorithm 9)."""
        while self.active[0, 0].sum() > count:
            self.scores = self.score_operations(rng)
            self.active = drop_worst(self.active, self.scores)
            self.child.restrict(self.active)

    def score_operations(self, rng):
        """The mean z of every active operation over all samplings; of the others, as they were."""
        config, validation = self.config, self.dataset.validation
        totals = np.zeros(self.scores.shape)
        for _ in range(config.samplings):
            for path in sample_paths(self.active, rng):
                accuracies = (
                    restricted_accuracy(supernet, path, validation, self.cost)
                    for supernet in (self.parent, self.child)
                )
                totals += path * score(*accuracies, config.beta_p)
        return np.where(self.active, totals / config.samplings, self.scores)

    def networks(self):
        """None: after the last drop no supernet has learned, and its running statistics are of more candidates."""
        return {}

    def genotype(self):
        """What is left, and of each node's edges the two whose operations scored best; None at first.

        CP-NAS keeps all edges; a genotype has two a node. Where `none` is left, its edge comes last.
        """
        if self.active.all():
            return None
        above = np.ptp(self.scores) + 1  # what is left ranks above all that was dropped
        return genotype_of_strengths(self.scores + above * self.active, self.config.operation_names)

    def arrays(self):
        """{name: array} of what belongs to no part: scores, what is active, and what every search has."""
        masks = {"active": self.active, "parent_active": self.parent_active}
        return {**super().arrays(), **masks, "scores": self.scores}

    def load_arrays(self, arrays):
        """Take over what `arrays` gave."""
        super().load_arrays(arrays)
        self.active, self.scores = arrays["active"], arrays["scores"]
        self.parent_active = arrays["parent_active"]
        self.parent.restrict(self.parent_active)
        self.child.restrict(self.active)
