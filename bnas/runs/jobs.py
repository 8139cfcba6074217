"""Long jobs, epoch by epoch, that survive being killed.

A job (a search, a training) runs one epoch at a time and can hand over its whole state. All randomness
of an epoch comes from (seed, epoch), so the state and the number of the epoch are all it takes to go on
and to end in the same bits.
"""

from contextlib import contextmanager

import numpy as np

from bnas.errors import DivergedError, InputError, argument
from bnas.nn import ShapeMismatch
from bnas.optim import require_finite
from bnas.space.genotype import shorten

_RESTORE = "restore it from a copy, or start a new run"


def epoch_rng(seed, epoch):
    """The random numbers of one epoch, the same whether or not the run was interrupted before it."""
    # From 1: (seed, 0) gives the same numbers as seed alone, which the initial weights come from.
    return np.random.default_rng((seed, epoch + 1))


@contextmanager
def locate(where):
    """Say in a DivergedError where it happened and what to do."""
    try:
        yield
    except DivergedError as error:
        raise DivergedError(
            f"{error} in {where}. The last complete epoch is kept; "
            "try a smaller learning rate, in a new run folder"
        ) from error


@contextmanager
def fitting(path):
    """Say what to do if the state of the run in `path` fits no network built for the data set given."""
    try:
        yield
    except InputError:
        raise
    except ShapeMismatch as error:
        raise InputError(
            f"{path} comes from a data set of other channels or classes ({error}); "
            "give the one that it was made from with ",
            argument("data_dir"),
            ". If that is it, checkpoint.npz is not from this run: put back the file that was there",
        ) from error
    except ValueError as error:
        raise InputError(
            f"{path / 'checkpoint.npz'} does not hold the state of this run ({error}); {_RESTORE}"
        ) from error


def saved_state(folder, epochs):
    """(arrays, how many epochs are done) of the checkpoint of a RunFolder; ({}, 0) before the first.

    Raises InputError unless the arrays are finite and 1 to `epochs` epochs are done.
    """
    if not folder.has_checkpoint:
        return {}, 0
    arrays, meta = folder.load()
    done, path = meta.get("epochs_done"), folder.path / "checkpoint.npz"
    if type(done) is not int or not 1 <= done <= epochs:
        raise InputError(
            f"{path} has {shorten(done)} epochs done, expected 1 to {epochs}; {_RESTORE}"
        )
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():  # no run saves such
            raise InputError(f"{path} holds NaN or infinity in {name}; {_RESTORE}")
    return arrays, done


class RunningMeans:
    """Means of named figures over the steps of an epoch."""

    def __init__(self):
        self.sums, self.counts = {}, {}

    def add(self, figures):
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def __getitem__(self, name):
        return self.sums[name] / self.counts[name]

    def result(self):
        return {name: self[name] for name in self.sums}


class Silent:
    """A progress report that goes nowhere; the command line has one with a bar.

    step(label, loss, accuracy) is called after every step: `label` names the epoch, the others are the
    running means over it. note(text) is called with what is worth a line in the log.
    """

    def step(self, label, loss, accuracy):
        pass

    def note(self, text):
        pass


def run(job, folder, progress):
    """Run what is left of `job`, saving after every epoch.

    Args:
        job: has `epochs` (how many), run_epoch(number, progress) -> history record, state() -> arrays,
            and load_state(arrays, epochs_done). It may have `stopped`: whether it has ended before its last epoch.
        folder: bnas.runs.RunFolder, open for writing; the job goes on from its checkpoint, if any.
        progress: Silent() or alike.
    """
    arrays, done = saved_state(folder, job.epochs)
    if done:
        with fitting(folder.path):
            job.load_state(arrays, done)
    recorded = len(folder.history())
    if recorded < done:  # what comes after them would leave a hole
        raise InputError(
            f"{folder.path / 'history.jsonl'} has {recorded} of the {done} epochs that the checkpoint "
            f"has; {_RESTORE}"
        )
    if not done and recorded > 1:  # a kill before the first checkpoint leaves one at most
        raise InputError(
            f"{folder.path / 'checkpoint.npz'} is missing, though {recorded} epochs were done; {_RESTORE}"
        )
    folder.truncate_history(done)
    for number in range(done, job.epochs):
        if getattr(job, "stopped", False):
            return
        record, state = _epoch(job, number, progress)
        # History first: a record without its checkpoint is dropped on resuming, never the reverse.
        folder.append_history(record)
        folder.save(state, {"epochs_done": number + 1})


def run_in_memory(job):
    """Run a whole `job` without a folder, to the same bits; returns its history, a list of records."""
    history = []
    for number in range(job.epochs):
        if getattr(job, "stopped", False):
            break
        history.append(_epoch(job, number, Silent())[0])
    return history


def _epoch(job, number, progress):
    """Run one epoch of a job; returns (its history record, the state after it), all finite."""
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is looked for below
        record = {"epoch": number + 1, **job.run_epoch(number, progress)}
    state = job.state()
    with locate(f"epoch {number + 1} of {job.epochs}"):
        for name, value in {**record, **state}.items():
            require_finite(value, name)
    return record, state
