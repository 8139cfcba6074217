"""Random search: the baseline that a search has to beat (Li and Talwalkar, UAI 2019)."""

from bnas.search.individuals import IndividualsSearch
from bnas.space.baselines import random_genotype


class RandomSearch(IndividualsSearch):
    """Architectures drawn uniformly, each trained as a 1-bit network; the best on validation is kept.

    With config.individuals 1 nothing is chosen, and the result is the average random architecture.
    """

    def propose(self, number, rng):
        """A genotype drawn uniformly."""
        config = self.config
        return random_genotype(config.nodes, rng, config.operation_names, config.tied_cells)
