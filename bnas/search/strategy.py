"""What every search is: a job that goes epoch by epoch and ends in a genotype.

Here is the interface of a strategy, and what all of them share: the clock, the count of what they spend, the
columns of the history. A strategy of one's own is a subclass of `Strategy` in a file of one's own; `bnas search
--strategy MODULE:CLASS` runs it with the same run folder, resume, history and figures as ours.
"""

import time
from dataclasses import replace

import numpy as np

from bnas import backend, fused
from bnas.errors import InputError
from bnas.kernels import buffers
from bnas.runs.jobs import epoch_rng
from bnas.runs.memory import peak_memory
from bnas.space.supernet import Supernet
from bnas.space.text import format_genotype


class Cost:
    """What a search spends, counted by whoever spends it.

    Attributes:
        gradient_steps: backward passes through a network, each over a batch.
        images_seen: images passed forward through a network: to learn, as a teacher, or to evaluate.
    """

    def __init__(self):
        self.gradient_steps = self.images_seen = 0

    def learn(self, images, passes=1):
        """Count `passes` forward and backward passes over so many images."""
        self.gradient_steps += passes
        self.images_seen += passes * images

    def evaluate(self, images):
        """Count a forward pass over so many images."""
        self.images_seen += images


class Strategy:
    """A search. A job for `bnas.runs.jobs.run`, which saves after every epoch and resumes.

    A subclass defines, besides the attribute `epochs`:

    * search_epoch(number, rng, progress) -> dict: does epoch `number`, from 0; returns figures for the history.
      `rng` is the numpy.random.Generator of this epoch: with no other source of chance a resumed search ends in
      the same bits. `progress.step(label, loss, accuracy)` is to be called after every gradient step.
    * genotype() -> the Genotype that the search would answer with now, or None as long as it has no answer.
    * state() -> {name: array}: all that is needed to go on after the present epoch.
    * load_state(arrays, epochs_done): takes over what `state` gave; ValueError if it does not fit.

    It may define networks() too. Figures are named as the columns of the history: "phase", one of PHASES
    ("search" unless told), "round", "loss", "train_accuracy", "validation_accuracy" (0 to 1), "alpha"
    (2, E, M) as nested lists, and others of one's own: numbers, texts, arrays, or nested lists of numbers or of
    truth values, of one kind and shape in all epochs.

    Args:
        config: SearchConfig.
        dataset: bnas.data.Dataset. What learns or is chosen may see its train and validation splits, never
            its test split.

    Attributes:
        epochs: how many epochs the search has, at most.
        steps: gradient steps of an epoch, for the report of progress.
        augment: bnas.data.Augmentation of the training images, or None.
        cost: Cost of the present epoch; see there what is to be counted.
        stopped: True once the search has ended before its last epoch; a strategy that sets it has it in its state,
            or a resumed search would go on.
    """

    def __init__(self, config, dataset):
        self.config, self.dataset = config, dataset
        self.steps = max(len(dataset.train) // config.batch_size, 1)
        self.augment = None
        if config.augment:  # as in DARTS: cutout is for the found network alone
            self.augment = replace(dataset.augmentation, cutout=0)
        self.cost, self.stopped = Cost(), False

    def networks(self):
        """{label: Module} of what has learned and can be evaluated on test images, at the end."""
        return {}

    def run_epoch(self, number, progress):
        """Epoch `number` and its history record."""
        start = time.perf_counter()
        self.cost = Cost()
        with backend.using(self.config.kernels):
            figures = self.search_epoch(number, epoch_rng(self.config.seed, number), progress)
        buffers.release()
        genotype = self.genotype()
        ours = {
            "genotype": None if genotype is None else format_genotype(genotype),
            "seconds": time.perf_counter() - start,
            "gradient_steps": self.cost.gradient_steps,
            "images_seen": self.cost.images_seen,
            "peak_memory": peak_memory(),
        }
        self.require_figures(figures, {"epoch", *ours})
        for name, value in figures.items():
            if isinstance(value, (np.generic, np.ndarray)):  # which JSON does not know
                figures[name] = value.tolist()
        return {"round": 0, "phase": "search", **dict.fromkeys(COLUMNS), **figures, **ours}

    def require_figures(self, figures, taken):
        """Raise InputError, after the first epoch and not after the last, for what no history can hold."""
        what = f"search_epoch of {self.config.strategy} gave"
        if taken & figures.keys():
            name = min(taken & figures.keys())
            raise InputError(
                f"{what} a figure {name!r}, which is recorded anyway; call it otherwise"
            )
        if figures.get("phase", "search") not in PHASES:
            raise InputError(
                f"{what} the phase {figures['phase']!r}; the figures know {', '.join(PHASES)}"
            )


PHASES = ("parent", "child", "supernet", "individual", "search")  # that bnas.plots can draw
# Of a history record, where a strategy has such a thing; None where not.
COLUMNS = (
    "loss",
    "train_accuracy",
    "validation_accuracy",
    "distance",
    "angle",
    "alpha",
    "temperature",
    "entropy",
    "max_alpha",
)


def new_supernet(config, dataset, precision, rng):
    """The Supernet of a SearchConfig for a bnas.data.Dataset, compiled if config.engine is "fused"."""
    supernet = Supernet(
        dataset.image_shape[0],
        dataset.classes,
        config.channels,
        config.layers,
        config.nodes,
        precision,
        rng,
        config.operation_names,
        config.tied_cells,
    )
    return fused.compile(supernet) if config.engine == "fused" else supernet
