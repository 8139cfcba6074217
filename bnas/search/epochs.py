"""How a search runs epoch by epoch, so that it can be interrupted between any two of them.

A strategy says in `algorithm` what it does, as a list of steps; here the steps become epochs, and an epoch
knows what has to happen before and after it.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from bnas import backend
from bnas.evaluation import accuracy
from bnas.kernels import buffers
from bnas.nn import join_states, part_of, require_alike, without
from bnas.runs.jobs import epoch_rng


class Step(NamedTuple):
    """A step of an algorithm.

    Attributes:
        name: of the phase, in the history.
        do: without epochs, a function without arguments that does it; else a function that makes the
            phase from their number.
        epochs: how many the phase takes; 0 for what happens at once.
        then: what to do when its last epoch has ended, or None.
    """

    name: str
    do: Callable
    epochs: int = 0
    then: Callable | None = None


class Epoch(NamedTuple):
    """Where an epoch stands.

    Attributes:
        step: the Step whose phase it belongs to.
        round: how many phases of that name have come before.
        index: within its phase, of `step.epochs`.
        before: functions to call when it begins: the steps without epochs just before its phase.
    """

    step: Step
    round: int
    index: int
    before: tuple

    def __str__(self):
        return f"round {self.round + 1}, {self.step.name}"


def schedule(steps):
    """The epochs of an algorithm, in order. Steps after the last epoch are never done."""
    epochs, before, rounds = [], (), {}
    for step in steps:
        if not step.epochs:
            before += (step.do,)
            continue
        rounds[step.name] = rounds.get(step.name, -1) + 1
        for index in range(step.epochs):
            epochs.append(Epoch(step, rounds[step.name], index, before))
            before = ()
    return epochs


class PhasedSearch:
    """What every search shares: its epochs, their records, its state. A job for `bnas.runs.jobs.run`.

    Subclasses define algorithm() -> Steps, STATE, the names of the attributes whose state dicts make up the
    state, and arrays() and load_arrays(arrays) for the rest of it.

    Attributes:
        schedule: a list of Epoch.
        phase: the phase in force.
        epochs, steps: how many epochs the search has, and steps an epoch.
    """

    def __init__(self, config, dataset):
        self.config, self.dataset = config, dataset
        self.schedule = schedule(self.algorithm())
        self.epochs = len(self.schedule)
        self.steps = max(len(dataset.train) // config.batch_size, 1)
        self.augment = None
        if config.augment:  # as in DARTS: cutout is for the found network alone
            self.augment = replace(dataset.augmentation, cutout=0)
        self.phase = None

    def run_epoch(self, number, progress):
        """Epoch `number` and what the algorithm does around it; returns its history record."""
        with backend.using(self.config.kernels):
            return self._run_epoch(self.schedule[number], number, progress)

    def _run_epoch(self, epoch, number, progress):
        start = time.perf_counter()
        for action in epoch.before:
            action()
        if epoch.index == 0:
            self.phase = epoch.step.do(epoch.step.epochs)
        rng = epoch_rng(self.config.seed, number)
        label = f"epoch {number + 1} of {self.epochs} ({epoch})"
        figures = self.phase.run_epoch(
            epoch.index, self.dataset, self.augment, rng, label, progress
        )
        buffers.release()  # what follows comes in batches of other sizes
        if epoch.step.then is not None and epoch.index == epoch.step.epochs - 1:
            epoch.step.then()
        supernet = self.phase.supernet
        validation_accuracy = accuracy(supernet, self.dataset.validation)
        buffers.release()
        return {
            "round": epoch.round,
            "phase": epoch.step.name,
            "distance": None,  # what only the Child has
            "angle": None,
            **figures,
            "validation_accuracy": validation_accuracy,
            "alpha": supernet.alpha.data.tolist(),
            "seconds": time.perf_counter() - start,
        }

    def state(self):
        """{name: array}: all that is needed to go on after the present epoch."""
        parts = {name: getattr(self, name).state_dict() for name in self.STATE}
        return {**self.arrays(), **join_states(**parts)}

    def load_state(self, arrays, epochs_done):
        """Take over the `state` after `epochs_done` epochs of the same search; ValueError if it is another's."""
        rest = without(arrays, self.STATE)
        require_alike(rest, self.arrays())
        self.load_arrays(rest)
        step = self.schedule[epochs_done - 1].step
        self.phase = step.do(step.epochs)
        for name in self.STATE:
            getattr(self, name).load_state_dict(part_of(arrays, name))
