"""Jobs run in memory, whole or stopped on the way, and the comparison of how they end."""

import pytest

from bnas.data import load_dataset
from bnas.runs import RunFolder
from bnas.runs.jobs import Silent, run

DIGITS = load_dataset("digits", limit=96)  # 96 images to train, 32 to validate


class Steps(Silent):
    """A progress report that calls `action(label)` at the first step of every new epoch."""

    def __init__(self, action):
        self.action, self.seen = action, set()

    def step(self, label, loss, accuracy):
        if label not in self.seen:
            self.seen.add(label)
            self.action(label)


class Stopped(BaseException):
    """Stands for a kill, which no `except Exception` survives either."""


class StopAt(Silent):
    """A progress report that ends the run after so many steps."""

    def __init__(self, steps):
        self.left = steps

    def step(self, label, loss, accuracy):
        self.left -= 1
        if self.left == 0:
            raise Stopped


def finish(job, path, progress=Silent()):
    """Run a job in a new folder; returns its history without times and memory, and its last checkpoint."""
    with RunFolder.create(path, {}) as folder:
        run(job, folder, progress)
    return outcome(path)


def finish_with_interruptions(make_job, path, epochs):
    """The same, but interrupted at the start of every single epoch and resumed by a new job."""

    def interrupt(label):
        raise KeyboardInterrupt

    RunFolder.create(path, {}).close()
    progress = Steps(interrupt)
    for _ in range(epochs):
        with RunFolder.open(path, write=True) as folder, pytest.raises(KeyboardInterrupt):
            run(make_job(), folder, progress)
    with RunFolder.open(path, write=True) as folder:
        run(make_job(), folder, progress)
    return outcome(path)


def outcome(path):
    """(history without times and memory, (arrays, meta) of the last checkpoint)."""
    folder = RunFolder.open(path)
    varying = ("seconds", "peak_memory")
    history = [{k: v for k, v in r.items() if k not in varying} for r in folder.history()]
    return history, folder.load()


def assert_same_outcome(first, second):
    (history, (arrays, meta)), (other_history, (other_arrays, other_meta)) = first, second
    assert history == other_history and meta == other_meta
    assert_same_bits(arrays, other_arrays)


def assert_same_bits(arrays, others):
    """Two {name: array} hold the same names in the same order, and the same bits."""
    assert list(arrays) == list(others)
    differing = [name for name in arrays if _bits(arrays[name]) != _bits(others[name])]
    assert not differing, f"{len(differing)} arrays differ, among them {differing[:5]}"


def assert_unchanged(module, before):
    """`before` is its state as it was."""
    assert_same_bits(module.state_dict(), before)


def _bits(array):
    return array.dtype.str, array.shape, array.tobytes()
