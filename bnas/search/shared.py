"""Random search with shared weights (Li and Talwalkar, Random search and reproducibility for NAS, UAI 2019)."""

import numpy as np

from bnas.search.bnas import DirectSearch
from bnas.search.paths import restricted_accuracy
from bnas.search.phases import SupervisedPhase
from bnas.space.alpha import genotype_mask, mask_genotype
from bnas.space.baselines import random_genotype

SHOWN = 8  # random paths whose mean accuracy stands in the history


class SharedSearch(DirectSearch):
    """One 1-bit supernet learns on random paths; then the best of config.samples random genotypes is taken.

    There is no α: every step of the weights is one of a genotype drawn uniformly, alone. The genotypes at the end
    are compared on the validation images with the weights that they share, batch norms going by the images.

    Attributes:
        best: the mask of the best genotype, bool of the shape of α; all False until the last epoch has ended.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.best = np.zeros(self.supernet.alpha.shape, bool)

    def train(self, epochs):
        """The phase that trains w on random paths."""
        return PathPhase(self.supernet, self.config, epochs)

    def conclude(self, number, rng):
        """After the last epoch, draw genotypes and keep the best."""
        if number == self.epochs - 1:
            drawn = [random_path(self.supernet, rng) for _ in range(self.config.samples)]
            self.best = max(drawn, key=self.path_accuracy)

    def search_epoch(self, number, rng, progress):
        figures = super().search_epoch(number, rng, progress)
        return {**figures, **dict.fromkeys(("alpha", "temperature", "entropy", "max_alpha"))}

    def path_accuracy(self, path):
        """Accuracy of a path, a mask, on the validation images."""
        return restricted_accuracy(self.supernet, path, self.dataset.validation, self.cost)

    def validation_accuracy(self, supernet, rng):
        """The mean over some random paths."""
        paths = [random_path(supernet, rng) for _ in range(SHOWN)]
        return float(np.mean([self.path_accuracy(path) for path in paths]))

    def networks(self):
        """None: what has learned is no network, but the paths through it."""
        return {}

    def genotype(self):
        """The best of the drawn genotypes; None until the last epoch has ended."""
        return mask_genotype(self.best, self.config.operation_names) if self.best.any() else None

    def arrays(self):
        """{name: array} of what belongs to no part."""
        return {**super().arrays(), "best": self.best}

    def load_arrays(self, arrays):
        """Take over what `arrays` gave."""
        super().load_arrays(arrays)
        self.best = arrays["best"]


class PathPhase(SupervisedPhase):
    """A supernet whose weights learn on the labels, in each step those of one random path; α rests."""

    def run_epoch(self, epoch, dataset, augment, rng, label, progress):
        self.rng = rng
        return super().run_epoch(epoch, dataset, augment, rng, label, progress)

    def alpha_step(self, images, labels):
        return {}

    def weight_step(self, images, labels):
        with self.supernet.restricted(random_path(self.supernet, self.rng)):
            return super().weight_step(images, labels)


def random_path(supernet, rng):
    """The mask of a genotype drawn uniformly, bool of the shape of α."""
    kinds, nodes = len(supernet.alpha), supernet.cells[0].nodes
    genotype = random_genotype(nodes, rng, supernet.operations, tied=kinds == 1)
    return genotype_mask(genotype, supernet.operations)[:kinds]
