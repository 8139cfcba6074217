"""The pool of buffers: memory that is used again, and does not grow with the steps of a search."""

import sys
import threading

import numpy as np
import pytest
from helpers.interrupts import interrupted_at_every_line
from hypothesis import given, settings
from hypothesis import strategies as st

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
    monkeypatch.setattr(buffers, "_sizes", {})
    monkeypatch.setattr(buffers, "_peak", 0)


def take(*sizes):
    """One step: arrays of so many bytes, all in use at a time."""
    return [empty((size,), np.uint8) for size in sizes]


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


def _refuse(*arguments):
    raise OSError("no memory to map")


@pytest.mark.parametrize("size", [buffers.HUGE - 1, buffers.HUGE, 3 * buffers.HUGE + 5])
@pytest.mark.parametrize("mapped", [True, False])
def test_an_array_of_huge_pages_begins_with_one_where_there_are_any(mapped, size, monkeypatch):
    if not mapped:
        monkeypatch.setattr(buffers.mmap, "mmap", _refuse)
    one, other = take(size, size)
    one.fill(1)
    other.fill(2)
    assert (one == 1).all() and (other == 2).all()
    huge = size >= buffers.HUGE and buffers._on_huge_pages(size) is not None
    assert address(one) % (buffers.HUGE if huge else buffers.ALIGNMENT) == 0
    assert mapped or not huge


def test_what_does_not_fit_into_memory_is_a_memory_error():
    with pytest.raises(MemoryError):
        empty((2**60,), np.uint8)


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


# ----------------------------------------------------------------------------------- what is kept


sizes_of_a_step = st.lists(st.integers(buffers.SMALL, 60 * buffers.SMALL), min_size=1, max_size=6)


@settings(deadline=None, max_examples=100)
@given(st.lists(sizes_of_a_step, min_size=1, max_size=20))
def test_what_is_kept_is_bounded_by_what_one_step_needs(steps):
    buffers.release()
    for sizes in steps:
        arrays = take(*sizes)
        del arrays
    rounding = 1.125
    most = max(max(sum(sizes), len(sizes) * buffers.SMALL) for sizes in steps)
    assert held()[1] <= buffers.KEPT * rounding * most + buffers.SMALL * 6
    buffers.release()
    assert held() == (0, 0)


def test_sizes_that_grow_leave_no_more_than_the_largest_step_needs():
    for size in range(buffers.SMALL, 150 * buffers.SMALL, buffers.SMALL):
        take(size, size)
    assert held()[1] <= 1.125 * buffers.KEPT * 2 * 150 * buffers.SMALL


def test_a_repeated_step_takes_nothing_new_whatever_came_before():
    """Each part of it lets go of its arrays before the next, so that little is in use at a time."""
    for size in range(buffers.SMALL, 100 * buffers.SMALL, buffers.SMALL):
        take(size)
    parts = [(100, 90), (80, 80), (70, 3), (100, 60)]

    def step():
        return {address(a) for sizes in parts for a in take(*(n * buffers.SMALL for n in sizes))}

    step()
    first, before = step(), held()
    for _ in range(5):
        assert step() == first and held() == before


def test_an_array_that_ends_runs_no_python():
    """Ctrl-C might arrive in it, and what a finaliser raises is printed and forgotten."""
    array, called = empty((SIZE,), np.uint8), []
    sys.setprofile(lambda frame, event, _: called.append(frame.f_code) if event == "call" else None)
    try:
        del array
    finally:
        sys.setprofile(None)
    assert not called


def test_after_an_interrupt_no_two_arrays_share_memory():
    kept = take(SIZE, 2 * SIZE)
    for _ in interrupted_at_every_line(lambda: take(SIZE, SIZE, 2 * SIZE), buffers):
        arrays = kept + take(SIZE, SIZE, 2 * SIZE)
        for i, array in enumerate(arrays):
            array.fill(i)
        assert [np.unique(array).tolist() for array in arrays] == [[i] for i in range(5)]


def test_threads_take_and_release_at_the_same_time(monkeypatch):
    monkeypatch.setattr(
        buffers, "SMALL", 64
    )  # else blocks of thousands of sizes would fill the memory
    errors = []

    def note_errors(action):
        try:
            action()
        except BaseException as error:
            errors.append(error)

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(300):
            arrays = take(*(buffers.SMALL * rng.integers(1, 5000, 4)))
            for number, array in enumerate(arrays):
                array[:: buffers.SMALL] = 4 * seed + number
            for number, array in enumerate(arrays):
                assert (array[:: buffers.SMALL] == 4 * seed + number).all()

    workers = [
        threading.Thread(target=note_errors, args=(lambda seed=seed: work(seed),))
        for seed in range(3)
    ]
    for thread in workers:
        thread.start()
    while any(thread.is_alive() for thread in workers):
        note_errors(buffers.release)
        note_errors(held)
    assert not errors
    buffers.release()
    assert held() == (0, 0)


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
    assert held() == (0, 0)
