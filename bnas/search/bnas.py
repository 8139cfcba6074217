"""Direct binary search: the 1-bit supernet on cross-entropy alone (Eqs. 4.24, 4.25), without any Parent."""

import numpy as np

from bnas.search.epochs import PhasedSearch, Step
from bnas.search.phases import SupervisedPhase
from bnas.search.strategy import new_supernet
from bnas.space.operations import Precision


class DirectSearch(PhasedSearch):
    """One supernet, whose weights learn on the train split and whose α on the validation split, in alternation.

    Args:
        config: SearchConfig.
        dataset: bnas.data.Dataset.

    Attributes:
        supernet: the 1-bit Supernet, compiled if config.engine is "fused".
    """

    STATE = ("supernet", "phase")
    LABEL = "1-bit supernet"

    def __init__(self, config, dataset):
        rng = np.random.default_rng(config.seed)
        self.supernet = new_supernet(config, dataset, self.precision(config), rng)
        super().__init__(config, dataset)

    def precision(self, config):
        """The Precision of the supernet: 1-bit."""
        return Precision(True, config.surrogate, config.beta)

    @property
    def deciding(self):
        """The one supernet there is."""
        return self.supernet

    def algorithm(self):
        """A single phase."""
        yield Step("supernet", self.train, self.config.total_epochs)

    def train(self, epochs):
        """The phase that trains (w, α) on L_NAS."""
        return SupervisedPhase(self.supernet, self.config, epochs)

    def networks(self):
        """The supernet, by label."""
        return {self.LABEL: self.supernet}
