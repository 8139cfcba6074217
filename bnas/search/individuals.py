"""Searches that train every architecture by itself: what random search and evolution share."""

import numpy as np

from bnas.config import TrainConfig
from bnas.nn import join_states, part_of, require_alike, without
from bnas.search.strategy import Strategy
from bnas.space.alpha import genotype_mask, mask_genotype
from bnas.space.genotype import edges
from bnas.space.text import format_genotype
from bnas.train import Training

SHARED = (  # settings that an individual's training takes over from the search
    "dataset",
    "data_dir",
    "limit",
    "seed",
    "channels",
    "layers",
    "batch_size",
    "surrogate",
    "beta",
    "augment",
    "engine",
    "kernels",
)


class IndividualsSearch(Strategy):
    """Individuals, 1-bit networks of one genotype each, are trained in turn; the best on validation wins.

    All are trained alike, for config.individual_epochs epochs, from the same seed and on the same batches, with
    the validation images held out. Subclasses define propose(number, rng) -> the Genotype of an individual.

    Attributes:
        masks: the genotypes so far as masks, bool (individuals, 2, E, M).
        accuracies: their validation accuracies, float64 (individuals,); -1 before they are known.
        training: the Training of the individual at present.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.epochs = config.individuals * config.individual_epochs
        shape = 2, len(edges(config.nodes)), len(config.operation_names)
        self.masks = np.zeros((config.individuals, *shape), bool)
        self.accuracies = np.full(config.individuals, -1.0)
        self.training = None

    def search_epoch(self, number, rng, progress):
        """An epoch of the training of an individual."""
        individual, epoch = divmod(number, self.config.individual_epochs)
        if epoch == 0:
            genotype = self.propose(individual, rng)
            self.masks[individual] = genotype_mask(genotype, self.config.operation_names)
            self.training = self.train(individual)
        training = self.training
        name = f"individual {individual + 1} of {self.config.individuals}"
        record = training.run_epoch(epoch, Named(progress, name))
        self.cost.learn(training.batch_size, passes=training.steps)
        self.cost.evaluate(len(self.dataset.validation))
        if epoch == self.config.individual_epochs - 1:
            self.accuracies[individual] = record["validation_accuracy"]
        figures = {key: record[key] for key in ("loss", "train_accuracy", "validation_accuracy")}
        return {"round": individual, "phase": "individual", **figures}

    def individual(self, number):
        """The Genotype of an individual that was proposed before."""
        return mask_genotype(self.masks[number], self.config.operation_names)

    def train(self, number):
        """The Training of an individual."""
        config = self.config
        shared = {name: getattr(config, name) for name in SHARED}
        genotype = format_genotype(self.individual(number))
        settings = TrainConfig(
            genotype=genotype, epochs=config.individual_epochs, hold_out=True, **shared
        )
        return Training(settings, self.dataset)

    def genotype(self):
        """The genotype of the best accuracy on the validation images, of equals the first; None at first."""
        best = int(self.accuracies.argmax())
        return None if self.accuracies[best] < 0 else self.individual(best)

    def arrays(self):
        """{name: array} of all individuals."""
        return {"masks": self.masks, "accuracies": self.accuracies}

    def state(self):
        """{name: array}: all that is needed to go on after the present epoch."""
        return {**self.arrays(), **join_states(training=self.training.state())}

    def load_state(self, arrays, epochs_done):
        """Take over the `state` after `epochs_done` epochs of the same search; ValueError if it is another's."""
        own = without(arrays, ["training"])
        require_alike(own, self.arrays())
        self.masks, self.accuracies = own["masks"], own["accuracies"]
        individual, epoch = divmod(epochs_done - 1, self.config.individual_epochs)
        self.training = self.train(individual)
        self.training.load_state(part_of(arrays, "training"), epoch + 1)


class Named:
    """A report of progress that puts a name before every label."""

    def __init__(self, progress, name):
        self.progress, self.name = progress, name

    def step(self, label, loss, accuracy):
        self.progress.step(f"{self.name}, {label}", loss, accuracy)
