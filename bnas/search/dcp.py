"""DCP-NAS: the search loop (algorithm 10, figures 4.11 and 4.12)."""

import numpy as np

from bnas.data import batches
from bnas.evaluation import BATCH
from bnas.search.epochs import PhasedSearch, Step
from bnas.search.phases import ChildPhase, SupervisedPhase
from bnas.search.strategy import new_supernet
from bnas.search.tangent import tangent_direction
from bnas.space.operations import REAL, Precision


class Search(PhasedSearch):
    """A DCP-NAS search: a job for `bnas.runs.jobs.run`, one epoch at a time.

    Args:
        config: SearchConfig.
        dataset: bnas.data.Dataset; the weights learn on its train split, α on its validation split.

    Attributes:
        parent, child: the real and the 1-bit Supernet, compiled if config.engine is "fused".
        t: the Parent's tangent direction when its last phase ended (Eq. 4.29), array (2, E, M).
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
        return SupervisedPhase(self.parent, self.config, epochs, self.config.eta)

    def record_tangent(self):
        """The end of line 1: record t, over the whole validation split."""
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
