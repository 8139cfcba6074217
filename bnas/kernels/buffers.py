"""A workspace pool: large arrays of one training step reuse the memory of the step before.

The operating system gives fresh memory page by page and filled with zeros, which takes longer than many
kernels need to write their results. So large arrays lie in blocks from a pool. When the last array that
views a block is gone, the block goes back to the pool and is given out again.

A step that repeats itself finds all its blocks in the pool. Where sizes change, blocks of sizes that are no
longer asked for go, so that the pool never holds more than KEPT times what was in use at any one time since
the last `release`.

Where the system allows it, blocks of HUGE bytes and more lie on huge pages: kernels that read and write whole
planes otherwise spend up to a fifth of their time waiting for the addresses of pages of 4 KiB.

Any number of threads may use the pool. It has no lock, which a forked process might find taken: whatever two
threads can do at once is one operation of a dict, and those Python makes whole.
"""

import mmap
import weakref
from contextlib import suppress
from functools import partial
from itertools import count

import numpy as np

SMALL = 2**15  # bytes below which the C library's own pool is as good; blocks are multiples of it
ALIGNMENT = 64  # bytes: no vector straddles two cache lines
HUGE = 2**21  # bytes of a huge page, on x86 and most others
KEPT = 4  # the steps of a search keep 1.2 (fused) to 2.4 (plain) times what they use at once

_clock = count()
_sizes = {}  # {bytes: _Size}
_peak = 0  # the most bytes that were in use when a block was made, since the last release


class _Memory:
    """The memory of one block: an object that owns it, and the index of the block's first byte in there."""

    __slots__ = ("bytes", "start")

    def __init__(self, size):
        self.bytes, alignment = _on_huge_pages(size), HUGE
        if self.bytes is None:
            self.bytes, alignment = bytearray(size + ALIGNMENT), ALIGNMENT
        self.start = -np.frombuffer(self.bytes, np.uint8).ctypes.data % alignment


def _on_huge_pages(size):
    """`size` bytes of memory and some to align them, or None where there is nothing to gain or no such memory.

    What is left over after the last whole huge page lies on small ones, or it would take a huge one too. What is
    mapped beyond the aligned bytes is never touched, and takes no memory.
    """
    if size >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):
            memory = mmap.mmap(-1, size + HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            start = -np.frombuffer(memory, np.uint8).ctypes.data % HUGE
            memory.madvise(mmap.MADV_HUGEPAGE, start, size // HUGE * HUGE)
            return memory


class _Size:
    """All memory for blocks of one size, a block being an array of bytes.

    NumPy lets a view refer to the array that owns the memory. A block lies on what is no array,
    so views refer to the block itself and keep it alive. When it ends, the callback of a weak reference puts
    its memory into `unused`. That is a method of dict: in a `__del__`, which is a function of Python's, Ctrl-C
    might arrive, and Python forgets what is raised there.
    """

    def __init__(self, size):
        self.size = size
        self.all = {}  # {_Memory: the weak reference to its latest block}
        self.unused = {}  # the same for blocks that have ended
        self.asked = 0  # when a block was last asked for

    def block(self):
        """A block that nobody uses, on new memory if there is none."""
        self.asked = next(_clock)
        try:
            memory, _ = self.unused.popitem()
        except KeyError:
            _make_room(self.size)
            memory = _Memory(self.size)
        block = np.ndarray(self.size, np.uint8, memory.bytes, memory.start)
        self.all[memory] = weakref.ref(block, partial(self.unused.setdefault, memory))
        return block

    def give_back(self):
        """Give the memory of an unused block back to the operating system; False if there is none."""
        try:
            memory, _ = self.unused.popitem()
        except KeyError:
            return False
        self.all.pop(memory, None)
        return True


def empty(shape, dtype):
    """np.empty, from the pool if the array is large."""
    size = np.dtype(dtype).itemsize
    for length in shape:
        size *= length
    if size < SMALL:
        return np.empty(shape, dtype)
    size = int(size)  # of NumPy's kind where a length is
    # Rounded up to four binary digits, so that there are few sizes of blocks.
    unit = SMALL if size < 16 * SMALL else 1 << size.bit_length() - 4
    size = -(-size // unit) * unit
    blocks = _sizes.get(size) or _sizes.setdefault(size, _Size(size))
    return np.ndarray(shape, dtype, blocks.block())


def zeros(shape, dtype):
    """np.zeros, from the pool if the array is large."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def _make_room(size):
    """Before a block of `size` bytes is made: let unused ones go, first those whose size was not asked for."""
    global _peak
    sizes = list(_sizes.values())
    held = size + sum(blocks.size * len(blocks.all) for blocks in sizes)
    _peak = max(_peak, held - sum(blocks.size * len(blocks.unused) for blocks in sizes))
    for blocks in sorted(sizes, key=lambda blocks: blocks.asked):
        while held > KEPT * _peak and blocks.give_back():
            held -= blocks.size


def release():
    """Give all unused blocks back to the operating system, for when the next arrays have other sizes."""
    global _peak
    _peak = 0
    for blocks in list(_sizes.values()):
        while blocks.give_back():
            pass


def held():
    """(number of blocks, their bytes) that the pool has, unused or in use."""
    counts = {blocks.size: len(blocks.all) for blocks in list(_sizes.values())}
    return sum(counts.values()), sum(size * count for size, count in counts.items())
