"""DCP-NAS: the search loop (algorithm 10, figures 4.11 and 4.12)."""

import numpy as np

from bnas.data import batches
from bnas.evaluation import BATCH
from bnas.nn import require_alike, without
from bnas.search.epochs import PhasedSearch, Step
from bnas.search.phases import ChildPhase, SupervisedPhase
from bnas.search.strategy import new_supernet
from bnas.search.tangent import tangent_direction
from bnas.space.operations import REAL, Precision


class ParentPhase(SupervisedPhase):
    """The Parent on the labels; it keeps the tangent directions of its batches where t is to be made of them.

    Attributes:
        tangents: their sum or, where the last alone counts, that; an array like α, float64.
        count: how many the sum has, array ().
    """

    def __init__(self, supernet, config, epochs, eta):
        super().__init__(supernet, config, epochs, eta)
        self.tangents = np.zeros(supernet.alpha.shape)
        self.count = np.array(0)

    def alpha_gradient(self, images, labels):
        gradient, figures = super().alpha_gradient(images, labels)
        batches = self.config.tangent_batches
        if batches == "last":
            self.tangents, self.count = -gradient.astype(np.float64), np.array(1)
        elif batches == "mean":
            self.tangents, self.count = self.tangents - gradient, self.count + 1
        return gradient, figures

    def tangent(self):
        """t, the mean of the directions that were kept, of the dtype of α; zero where α never moved."""
        return (self.tangents / max(int(self.count), 1)).astype(self.supernet.alpha.dtype)

    def state_dict(self):
        return {**super().state_dict(), **self._own()}

    def _own(self):
        if self.config.tangent_batches == "validation":
            return {}
        return {"tangents": self.tangents, "count": self.count}

    def load_state_dict(self, arrays):
        """Take over what `state_dict` gave; ValueError if it does not fit."""
        own = {name: arrays[name] for name in self._own() if name in arrays}
        require_alike(own, self._own())
        super().load_state_dict(without(arrays, own))
        self.tangents, self.count = own.get("tangents", self.tangents), own.get("count", self.count)


class Search(PhasedSearch):
    """A DCP-NAS search: a job for `bnas.runs.jobs.run`, one epoch at a time.

    Args:
        config: SearchConfig.
        dataset: bnas.data.Dataset; the weights learn on its train split, α on its validation split.

    Attributes:
        parent, child: the real and the 1-bit Supernet, compiled if config.engine is "fused".
        t: the Parent's tangent direction when its last phase ended (Eq. 4.29), an array of the shape of α.
    """

    STATE = ("parent", "child", "phase")

    def __init__(self, config, dataset):
        rng = np.random.default_rng(config.seed)
        self.parent, self.child = (
            new_supernet(config, dataset, precision, rng)
            for precision in (REAL, Precision(True, config.surrogate, config.beta))
        )
        self.t = np.zeros_like(self.parent.alpha.data)
        super().__init__(config, dataset)

    @property
    def deciding(self):
        """What algorithm 10 discretises is α̂, of the Child."""
        return self.child

    def algorithm(self):
        """Algorithm 10. A step that takes epochs makes the phase that trains; the others happen at once."""
        for _ in range(self.config.rounds):
            yield Step("parent", self.train_parent, self.config.parent_epochs, self.record_tangent)
            yield Step("inherit", self.inherit)
            yield Step("child", self.train_child, self.config.child_epochs)
            yield Step("inherit back", self.inherit_back)

    def train_parent(self, epochs):
        """Line 1: the phase that trains (w, α) on L_NAS, with decoupled optimisation."""
        return ParentPhase(self.parent, self.config, epochs, self.config.eta)

    def record_tangent(self):
        """The end of line 1: record t."""
        if self.config.tangent_batches != "validation":
            self.t = self.phase.tangent()
            return
        parts = list(batches(self.dataset.validation, BATCH))
        self.t = tangent_direction(self.parent, parts)
        for images, _ in parts:
            self.cost.learn(len(images))

    def inherit(self):
        """Line 2: α̂ ← α and ŵ ← w."""
        self.child.inherit_weights(self.parent)
        self.child.alpha.data = self.parent.alpha.data.copy()

    def train_child(self, epochs):
        """Line 3: the phase that trains (ŵ, β, α̂) on -G + λ D + μ L_R, with decoupled optimisation."""
        config = self.config
        return ChildPhase(self.child, config, epochs, self.parent, self.t, config.lam, config.eta)

    def inherit_back(self):
        """Line 4: α ← α̂, when the next Parent phase begins: until then the Parent is as it was trained."""
        self.parent.alpha.data = self.child.alpha.data.copy()

    def networks(self):
        """The two supernets, by label."""
        return {"Parent (supernet)": self.parent, "Child (supernet)": self.child}

    def arrays(self):
        """{name: array} of what belongs to no part: t, and what every search has."""
        return {"t": self.t, **super().arrays()}

    def load_arrays(self, arrays):
        """Take over what `arrays` gave."""
        super().load_arrays(arrays)
        self.t = arrays["t"]
