"""DCP-NAS: the search loop (algorithm 10, figures 4.11 and 4.12).

repeat for R rounds:
    1. Parent phase: train (w, α) on L_NAS, with decoupled optimisation; record t
    2. inherit: α̂ ← α and ŵ ← w
    3. Child phase: train (ŵ, β, α̂) on -G + λ D + μ L_R, with decoupled optimisation
    4. inherit back: α ← α̂
return the discretised α̂
"""

import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bnas import buffers
from bnas.candidates import REAL, Precision
from bnas.data import batches
from bnas.evaluation import BATCH, accuracy
from bnas.genotypes import discretise
from bnas.loop import epoch_rng, join_states, part_of
from bnas.search.phases import ChildPhase, ParentPhase
from bnas.search.tangent import tangent_direction
from bnas.supernet import Supernet


class Epoch(NamedTuple):
    """Where an epoch stands in the loop; `index` counts within its phase of `length` epochs."""

    round: int
    phase: str
    index: int
    length: int


def algorithm(config):
    """The epochs of the whole search, in order."""
    lengths = {"parent": config.parent_epochs, "child": config.child_epochs}
    return [
        Epoch(round, phase, index, length)
        for round in range(config.rounds)
        for phase, length in lengths.items()
        for index in range(length)
    ]


class Search:
    """A DCP-NAS search: a job for `bnas.loop.run`, one epoch at a time.

    Args:
        config: SearchConfig.
        dataset: bnas.data.Dataset; the weights learn on its train split, α on its validation split.

    Attributes:
        parent, child: the real and the 1-bit Supernet.
        t: the Parent's tangent direction when its last phase ended (Eq. 4.29), array (2, E, M).
        epochs, steps: how many epochs the search has, and steps an epoch.
    """

    def __init__(self, config, dataset):
        self.config, self.dataset = config, dataset
        self.schedule = algorithm(config)
        self.epochs = len(self.schedule)
        self.steps = max(len(dataset.train) // config.batch_size, 1)
        self.augment = None
        if config.augment:  # as in DARTS: cutout is for the found network alone
            self.augment = replace(dataset.augmentation, cutout=0)
        rng = np.random.default_rng(config.seed)
        binary = Precision(True, config.surrogate, config.beta)
        self.parent, self.child = (
            Supernet(
                dataset.image_shape[0], dataset.classes, config.channels, config.layers,
                config.nodes, precision, rng,
            )
            for precision in (REAL, binary)
        )  # fmt: skip
        self.t = np.zeros_like(self.parent.alpha.data)
        self.phase = None

    def run_epoch(self, number, progress):
        """Epoch `number` and what the algorithm does around it; returns its history record."""
        epoch, start = self.schedule[number], time.perf_counter()
        if epoch.index == 0:
            if epoch.phase == "child":
                self.inherit()
            elif epoch.round > 0:
                self.inherit_back()
            self.phase = self._new_phase(epoch)
        label = f"round {epoch.round + 1} {epoch.phase} epoch {epoch.index + 1} of {epoch.length}"
        rng = epoch_rng(self.config.seed, number)
        figures = self.phase.run_epoch(
            epoch.index, self.dataset, self.augment, rng, label, progress
        )
        buffers.release()  # what follows comes in batches of other sizes
        if epoch.phase == "parent" and epoch.index == epoch.length - 1:
            self.t = tangent_direction(self.parent, batches(self.dataset.validation, BATCH))
        supernet = self.phase.supernet
        validation_accuracy = accuracy(supernet, self.dataset.validation)
        buffers.release()
        return {
            "round": epoch.round,
            "phase": epoch.phase,
            "distance": None,  # what only the Child has
            "angle": None,
            **figures,
            "validation_accuracy": validation_accuracy,
            "alpha": supernet.alpha.data.tolist(),
            "seconds": time.perf_counter() - start,
        }

    def inherit(self):
        """α̂ ← α and ŵ ← w."""
        self.child.inherit_weights(self.parent)
        self.child.alpha.data = self.parent.alpha.data.copy()

    def inherit_back(self):
        """α ← α̂, when the next Parent phase begins: until then the Parent stays as it was trained."""
        self.parent.alpha.data = self.child.alpha.data.copy()

    def genotype(self):
        """The discretised α̂."""
        return discretise(self.child.alpha.data)

    def state(self):
        """{name: array}: all that is needed to go on after the present epoch."""
        parts = join_states(
            parent=self.parent.state_dict(),
            child=self.child.state_dict(),
            phase=self.phase.state_dict(),
        )
        return {"t": self.t, **parts}

    def load_state(self, arrays, epochs_done):
        """Take over the `state` after `epochs_done` epochs of the same search."""
        self.t = arrays["t"]
        self.phase = self._new_phase(self.schedule[epochs_done - 1])
        for name in ("parent", "child", "phase"):
            getattr(self, name).load_state_dict(part_of(arrays, name))

    def _new_phase(self, epoch):
        if epoch.phase == "parent":
            return ParentPhase(self.parent, self.config, epoch.length)
        return ChildPhase(self.child, self.config, epoch.length, self.parent, self.t)
