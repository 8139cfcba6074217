"""The trainings of the table: what each of its entries is, and how one is made.

An entry is one training of one architecture: a dict of settings of `bnas.config.TrainConfig`. All are trained
alike, with the validation images held out.
"""

import time
from functools import cache

from bnas.config import TrainConfig
from bnas.data import load_dataset
from bnas.evaluation import accuracy
from bnas.runs.jobs import Silent
from bnas.space.text import format_genotype
from bnas.tabular.space import OPERATIONS, architectures
from bnas.train import Training

SEEDS = {"binary": (0, 1, 2), "real": (0,)}  # of the trainings in each precision
# Chosen by pilots of 20 and 24 architectures: see docs/table.md.
SETTINGS = {
    "digits": {"channels": 8, "layers": 3, "epochs": 8, "batch_size": 32, "lr": 0.02},
    "fashion": {"channels": 8, "layers": 3, "epochs": 3, "batch_size": 64, "lr": 0.04},
}


def entries(dataset, operations=OPERATIONS, settings=None):
    """{name: settings} of all entries of a data set, those of seed 0 first.

    operations: of the space; settings: of every training, those in SETTINGS unless given.
    """
    settings = SETTINGS[dataset] if settings is None else settings
    runs = [(precision, seed) for precision, seeds in SEEDS.items() for seed in seeds]
    return {
        f"{dataset}-{number:03}-{precision}-{seed}": {
            "dataset": dataset,
            "genotype": format_genotype(genotype),
            "precision": precision,
            "seed": seed,
            "hold_out": True,
            **settings,
        }
        for precision, seed in sorted(runs, key=lambda run: run[1])
        for number, genotype in enumerate(architectures(operations))
    }


def train_entry(settings):
    """Train one entry.

    Returns {"loss": training losses, "validation" and "test": images right, "seconds"}: the first three lists
    with a value for every epoch. seconds are those of the training with its validation, not of the test.
    """
    dataset = dataset_named(settings["dataset"])
    training = Training(TrainConfig(**settings), dataset)
    losses, validation, test, seconds = [], [], [], 0.0
    for epoch in range(training.epochs):
        start = time.perf_counter()
        record = training.run_epoch(epoch, Silent())
        seconds += time.perf_counter() - start
        losses.append(record["loss"])
        validation.append(_right(record["validation_accuracy"], dataset.validation))
        test.append(_right(accuracy(training.network, dataset.test), dataset.test))
    return {"loss": losses, "validation": validation, "test": test, "seconds": seconds}


def _right(share, split):
    """How many images of a split a share of them are."""
    return round(share * len(split))


dataset_named = cache(load_dataset)
