"""The pool of buffers: memory that is used again, and does not grow with the steps of a search."""

from collections import defaultdict

import numpy as np
import pytest

from bnas.config import SearchConfig
from bnas.data import Dataset, Split
from bnas.kernels import buffers
from bnas.kernels.buffers import empty, held, zeros
from bnas.search.dcp import Search

SIZE = 7 * buffers.SMALL  # bytes
STEPS = 500  # of a search, about 10 s
VIEWS = {
    "slice": lambda a: a[100:200],
    "step": lambda a: a[::-3],
    "another dtype": lambda a: a.view(np.float32)[5:],
    "another shape": lambda a: a.reshape(7, -1).T[:4],
    "a view of a view": lambda a: a[50:].view(np.uint16)[10:][::2],
}


@pytest.fixture(autouse=True)
def new_pool(monkeypatch):
    """An empty pool for each test."""
    monkeypatch.setattr(buffers, "_free", defaultdict(list))
    monkeypatch.setattr(buffers, "_made", defaultdict(int))


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("make", [empty, zeros])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, "int16"])
@pytest.mark.parametrize("shape", [(buffers.SMALL,), (3, 5, 7001), (1, buffers.SMALL + 1, 1, 16)])
def test_large_arrays_are_aligned_and_their_own(make, dtype, shape):
    arrays = [make(shape, dtype) for _ in range(3)]
    for value, array in enumerate(arrays):
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
        assert array.flags.c_contiguous and array.flags.writeable
        assert address(array) % buffers.ALIGNMENT == 0
        array.fill(value)
    assert [np.unique(array).tolist() for array in arrays] == [[0], [1], [2]]


@pytest.mark.parametrize("make", [empty, zeros])
def test_small_arrays_bypass_the_pool(make):
    before = held()
    kept = [make((buffers.SMALL - 1,), np.uint8), make((), np.float64), make((0, 9), np.float32)]
    assert held() == before and kept[0].size == buffers.SMALL - 1


def test_memory_that_was_let_go_is_used_again():
    first = empty((SIZE,), np.uint8)
    first.fill(255)
    before, place = held(), address(first)
    del first
    again = zeros((SIZE // 8 - 3,), np.float64)  # a little less is cut from as large a piece
    assert address(again) == place and not again.any()
    other = empty((SIZE,), np.uint8)
    assert not np.shares_memory(other, again)
    assert held() == (before[0] + 1, before[1] + SIZE)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_keeps_its_memory(view):
    array = zeros((SIZE,), np.uint8)
    place, part = address(array), view(array)
    del array
    others = [empty((SIZE,), np.uint8) for _ in range(3)]
    for other in others:
        other.fill(1)
    assert not part.any()
    del part
    assert address(empty((SIZE,), np.uint8)) == place


# --------------------------------------------------------------------------------- a whole search


def tiny_phase(network):
    """(phase, a batch): a search so small that a step takes milliseconds."""
    rng = np.random.default_rng(0)
    parts = [
        Split(rng.standard_normal((4, 1, 4, 4)).astype(np.float32), rng.integers(0, 3, 4))
        for _ in range(3)
    ]
    config = SearchConfig(channels=2, layers=1, nodes=1, batch_size=4, augment=False)
    search = Search(config, Dataset("random", 3, *parts))
    phase = search.train_parent(1) if network == "Parent" else search.train_child(1)
    phase.supernet.train()
    return phase, (parts[0].images, parts[0].labels)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["Parent", "Child"])
def test_the_pool_does_not_grow_with_the_steps(network, monkeypatch):
    monkeypatch.setattr(buffers, "SMALL", 64)  # else arrays this small bypass it
    phase, batch = tiny_phase(network)

    def steps(count):
        for _ in range(count):
            phase.alpha_step(*batch)
            phase.weight_step(*batch)
        return held()

    early = steps(3)
    assert early[0] > 20  # so the pool is in use
    assert steps(STEPS) == early


def test_release_gives_back_what_nobody_uses():
    kept, (pieces, _) = empty((SIZE,), np.uint8), held()
    del kept
    used = empty((SIZE,), np.uint8)
    buffers.release()
    assert held()[0] <= pieces and used.size == SIZE
    used[...] = 7
    other = empty((SIZE,), np.uint8)
    other[...] = 1
    assert (used == 7).all()
    del used, other
    buffers.release()
    assert not any(buffers._free.values())
