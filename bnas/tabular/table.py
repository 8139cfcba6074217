"""The table: what every architecture of the space has learnt, as trained with several seeds."""

import operator
from itertools import product
from typing import NamedTuple

import numpy as np

from bnas.config import PRECISIONS
from bnas.errors import InputError
from bnas.space.genotype import shorten
from bnas.space.operations import WEIGHTLESS
from bnas.tabular import files
from bnas.tabular.simulate import simulate
from bnas.tabular.space import canonical, neighbouring_genotypes


class Entry(NamedTuple):
    """What a training gave, an entry of the table; means where it is asked for all seeds.

    Attributes:
        training_loss: mean loss of the training images in the last epoch.
        validation_accuracy, test_accuracy: shares of the images, 0 to 1.
        seconds: that the training took up to there.
    """

    training_loss: float
    validation_accuracy: float
    test_accuracy: float
    seconds: float


class Costs(NamedTuple):
    """What a network costs, whatever it has learnt.

    Attributes:
        parameters: their number; bits: their size, of the 1-bit network.
        binary_macs, real_macs: multiply-adds of the 1-bit network for an image, of 1 bit and others.
        packed_bytes: size of the packed file.
        packed_latency: time of the packed network for 32 images, as a ratio to that of architecture 0.
    """

    parameters: int
    bits: int
    binary_macs: int
    real_macs: int
    packed_bytes: int
    packed_latency: float


def load(folder=None):
    """The Table in a folder; without one, that which comes with bnas.

    Raises InputError for files that are missing or damaged.
    """
    return Table(*files.read(folder))


class Table:
    """Every architecture of the space, with what its trainings gave.

    An architecture is given as its number or as a Genotype; any that is isomorphic will do. Everything raises an
    InputError for an architecture, a data set, an epoch or a seed that is not there.

    Attributes:
        genotypes: of all architectures, in order.
        operations: that their edges choose from.
        datasets: {name: {array name: array}}, as bnas/tabular/files.py tells; read-only if loaded.
        provenance: how it was made: settings of the trainings, versions, machine.
    """

    def __init__(self, genotypes, operations, datasets, provenance):
        self.genotypes, self.operations = tuple(genotypes), tuple(operations)
        self.datasets, self.provenance = datasets, provenance
        self._numbers = {genotype: i for i, genotype in enumerate(self.genotypes)}
        self._neighbours = {}

    def __len__(self):
        return len(self.genotypes)

    def __repr__(self):
        return f"Table({len(self)} architectures, {', '.join(self.datasets)})"

    def arch(self, number):
        """The Genotype of an architecture, by its number, 0 to len(table) - 1."""
        return self.genotypes[self.index(number)]

    def index(self, architecture):
        """The number of an architecture, from a Genotype or the like, or the number itself, checked."""
        if isinstance(architecture, (tuple, list)):
            try:
                return self._numbers[architecture]
            except (KeyError, TypeError):  # another of its class, or with lists in it
                return self._numbers[canonical(architecture, self.operations)]
        number = _whole("an architecture", architecture, "a Genotype or its number")
        if not 0 <= number < len(self):
            raise InputError(
                f"there is no architecture {number}; the table has 0 to {len(self) - 1}"
            )
        return number

    def seeds(self, dataset, precision="binary"):
        """How many trainings of each architecture there are, one for each seed: 0, 1, ..."""
        return self.right(dataset, "test", precision).shape[1]

    def epochs(self, dataset, precision="binary"):
        """How many epochs they have."""
        return self.right(dataset, "test", precision).shape[2]

    def check_epoch(self, epoch, dataset, precision="binary"):
        """An epoch, from 1 to the last, as an int; the last if it is None."""
        epochs = self.epochs(dataset, precision)
        if epoch is None:
            return epochs
        epoch = _whole("epoch", epoch, f"1 to {epochs}")
        if not 1 <= epoch <= epochs:
            raise InputError(f"epoch is {epoch}, expected 1 to {epochs}")
        return epoch

    def right(self, dataset, split, precision="binary"):
        """How many images are right after each epoch, uint16 (architectures, seeds, epochs).

        split: "validation" or "test".
        """
        if split not in ("validation", "test"):
            raise InputError(f"expected validation or test, got {shorten(split)}")
        return self._arrays(dataset, precision)[f"{precision}_{split}"]

    def accuracies(self, dataset, split, precision="binary", epoch=None):
        """The shares of the images that are right, 0 to 1, float64 (architectures, seeds).

        epoch: after how many epochs, from 1; after all if None.
        """
        right = self.right(dataset, split, precision)
        epoch = self.check_epoch(epoch, dataset, precision)
        return right[:, :, epoch - 1] / float(self.datasets[dataset][f"{split}_images"])

    def query(self, architecture, dataset, epoch=None, seed=None, precision="binary"):
        """The Entry of training an architecture.

        The learning rate falls over all epochs, so what is there after a few is less than a training of so few
        would reach.

        Args:
            architecture: Genotype or number.
            dataset: name, such as "digits".
            epoch: after how many epochs, from 1; after all if None.
            seed: of the training, from 0; the means over all if None.
            precision: "binary", or "real" for the real twin.
        """
        i, arrays = self.index(architecture), self._arrays(dataset, precision)
        loss = arrays[f"{precision}_loss"]
        seeds, epochs = loss.shape[1:]
        epoch = self.check_epoch(epoch, dataset, precision)
        which = slice(None) if seed is None else _seed(seed, seeds)
        return Entry(
            float(loss[i, which, epoch - 1].mean(dtype=np.float64)),
            *(
                float(arrays[f"{precision}_{split}"][i, which, epoch - 1].mean())
                / float(arrays[f"{split}_images"])
                for split in ("validation", "test")
            ),
            float(arrays[f"{precision}_seconds"][i, which].mean(dtype=np.float64)) * epoch / epochs,
        )

    def costs(self, architecture, dataset):
        """The Costs of an architecture."""
        arrays, i = self._arrays(dataset, "binary"), self.index(architecture)
        return Costs(*(arrays[name][i].item() for name in files.COSTS))

    def best(self, dataset, by="test", epoch=None, seed=None, precision="binary"):
        """The Genotype with the highest accuracy: the mean over the seeds, or of one seed; the first of equals.

        by: "test" or "validation".
        """
        accuracies = self.accuracies(dataset, by, precision, epoch)
        if seed is None:
            return self.genotypes[accuracies.mean(axis=1).argmax()]
        return self.genotypes[accuracies[:, _seed(seed, accuracies.shape[1])].argmax()]

    def simulate(
        self, strategy, budget_seconds, dataset="digits", seed=0, precision="binary", **settings
    ):
        """Let a strategy search this table; returns a Trajectory: see `bnas.tabular.simulate`."""
        return simulate(self, strategy, budget_seconds, dataset, seed, precision, **settings)

    def random(self, rng):
        """A Genotype drawn evenly from the architectures with a numpy.random.Generator."""
        return self.genotypes[rng.integers(len(self))]

    def neighbours(self, architecture):
        """The Genotypes, in order, with one operation or one predecessor of a node changed.

        Each is there once, as its canonical genotype, and the architecture itself is not. A neighbour's
        neighbours hold the architecture.
        """
        return tuple(self.genotypes[i] for i in self.neighbour_numbers(architecture))

    def neighbour_numbers(self, architecture):
        """The numbers of an architecture's neighbours, ascending."""
        number = self.index(architecture)
        if number not in self._neighbours:
            around = neighbouring_genotypes(self.genotypes[number], self.operations)
            self._neighbours[number] = tuple(sorted(self._numbers[one] for one in around))
        return self._neighbours[number]

    def total_seconds(self, dataset=None, precision=None):
        """What all trainings took together: of a data set or all, of a precision or both."""
        datasets = self.datasets if dataset is None else (dataset,)
        precisions = PRECISIONS if precision is None else (precision,)
        return sum(
            float(self._arrays(name, which)[f"{which}_seconds"].sum(dtype=np.float64))
            for name, which in product(datasets, precisions)
        )

    def counts(self, kind="convolutions"):
        """How many of the four operations of each architecture are of a kind, int64 (architectures,).

        kind: the name of an operation, or "convolutions" for all those with weights.
        """
        if kind != "convolutions" and kind not in self.operations:
            names = ", ".join(self.operations)
            raise InputError(
                f"there is no operation {shorten(kind)}; expected convolutions, {names}"
            )
        kinds = set(self.operations) - set(WEIGHTLESS) if kind == "convolutions" else {kind}
        return np.array([sum(name in kinds for name, _ in g.normal) for g in self.genotypes])

    def _arrays(self, dataset, precision):
        if dataset not in self.datasets:
            raise InputError(
                f"the table has no data set {shorten(dataset)}; it has {', '.join(self.datasets)}"
            )
        if precision not in PRECISIONS:
            raise InputError(f"expected the precision binary or real, got {shorten(precision)}")
        return self.datasets[dataset]


def _seed(seed, seeds):
    seed = _whole("seed", seed, f"0 to {seeds - 1}")
    if not 0 <= seed < seeds:
        raise InputError(f"seed is {seed}, expected 0 to {seeds - 1}")
    return seed


def _whole(what, value, expected):
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise InputError(f"{what} is {shorten(value)}, expected {expected}") from None
