"""DCP-NAS: the search loop (algorithm 10, figures 4.11 and 4.12)."""

import numpy as np

from bnas import fused
from bnas.data import batches
from bnas.evaluation import BATCH
from bnas.search.epochs import PhasedSearch, Step
from bnas.search.phases import ChildPhase, ParentPhase
from bnas.search.tangent import tangent_direction
from bnas.space.genotype import discretise
from bnas.space.operations import REAL, Precision
from bnas.space.supernet import Supernet


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
            Supernet(
                dataset.image_shape[0],
                dataset.classes,
                config.channels,
                config.layers,
                config.nodes,
                precision,
                rng,
                config.operation_names,
            )
            for precision in (REAL, Precision(True, config.surrogate, config.beta))
        )
        if config.engine == "fused":
            self.parent, self.child = fused.compile(self.parent), fused.compile(self.child)
        self.t = np.zeros_like(self.parent.alpha.data)
        super().__init__(config, dataset)

    def algorithm(self):
        """Algorithm 10. A step that takes epochs makes the phase that trains; the others happen at once."""
        for _ in range(self.config.rounds):
            yield Step("parent", self.train_parent, self.config.parent_epochs, self.record_tangent)
            yield Step("inherit", self.inherit)
            yield Step("child", self.train_child, self.config.child_epochs)
            yield Step("inherit back", self.inherit_back)

    def train_parent(self, epochs):
        """Line 1: the phase that trains (w, α) on L_NAS, with decoupled optimisation."""
        return ParentPhase(self.parent, self.config, epochs)

    def record_tangent(self):
        """The end of line 1: record t, over the whole validation split."""
        self.t = tangent_direction(self.parent, batches(self.dataset.validation, BATCH))

    def inherit(self):
        """Line 2: α̂ ← α and ŵ ← w."""
        self.child.inherit_weights(self.parent)
        self.child.alpha.data = self.parent.alpha.data.copy()

    def train_child(self, epochs):
        """Line 3: the phase that trains (ŵ, β, α̂) on -G + λ D + μ L_R, with decoupled optimisation."""
        return ChildPhase(self.child, self.config, epochs, self.parent, self.t)

    def inherit_back(self):
        """Line 4: α ← α̂, when the next Parent phase begins: until then the Parent is as it was trained."""
        self.parent.alpha.data = self.child.alpha.data.copy()

    def genotype(self):
        """What algorithm 10 returns: the discretised α̂."""
        return discretise(self.child.alpha.data, self.config.operation_names)

    def arrays(self):
        """{name: array} of what belongs to no part: t."""
        return {"t": self.t}

    def load_arrays(self, arrays):
        """Take over what `arrays` gave."""
        self.t = arrays["t"]
