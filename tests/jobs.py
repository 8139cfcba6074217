"""Jobs run in memory, whole or interrupted in every epoch, and the comparison of how they end."""

import numpy as np
import pytest

from bnas.data import load_dataset
from bnas.runs.jobs import Silent, run
from bnas.runs import RunFolder

DIGITS = load_dataset("digits", limit=96)  # 96 images to train, 32 to validate


class Steps(Silent):
    """A progress report that calls `action(label)` at the first step of every new epoch."""

    def __init__(self, action):
        self.action, self.seen = action, set()

    def step(self, label, loss, accuracy):
        if label not in self.seen:
            self.seen.add(label)
            self.action(label)


def interrupt(label):
    raise KeyboardInterrupt


def finish(job, path, progress=Silent()):
    """Run a job in a new folder; returns its history without times, and its last checkpoint."""
    with RunFolder.create(path, {}) as folder:
        run(job, folder, progress)
    return outcome(path)


def outcome(path):
    folder = RunFolder.open(path)
    history = [{k: v for k, v in r.items() if k != "seconds"} for r in folder.history()]
    return history, folder.load()


def assert_same_outcome(first, second):
    (history, (arrays, meta)), (other_history, (other_arrays, other_meta)) = first, second
    assert history == other_history and meta == other_meta
    assert arrays.keys() == other_arrays.keys()
    for name, array in arrays.items():
        assert array.dtype == other_arrays[name].dtype, name
        np.testing.assert_array_equal(array, other_arrays[name], err_msg=name)


def finish_with_interruptions(make_job, path, epochs):
    """The same, but killed in the middle of every single epoch and resumed by a new job."""
    RunFolder.create(path, {}).close()
    progress = Steps(interrupt)
    for _ in range(epochs):
        with RunFolder.open(path, write=True) as folder, pytest.raises(KeyboardInterrupt):
            run(make_job(), folder, progress)
    with RunFolder.open(path, write=True) as folder:
        run(make_job(), folder, progress)
    return outcome(path)


def assert_unchanged(module, before):
    now = module.state_dict()
    for name, array in before.items():
        np.testing.assert_array_equal(now[name], array, err_msg=name)
