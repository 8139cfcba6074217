"""Memory that is used again: a step of the search allocates what the step before it let go of.

The system hands out fresh memory page by page and zeroed, which takes longer than many a kernel needs to
fill it. So large arrays lie in blocks that come from a pool and go back to it with their last view. The
pool keeps what came back until `release`.
"""

from collections import defaultdict

import numpy as np

SMALL = 2**15  # bytes below which the C library's own pool is as good; blocks are multiples of it
ALIGNMENT = 64  # bytes: no vector straddles two cache lines

_free = defaultdict(list)  # {bytes: pairs (memory that nobody uses, its first aligned byte)}
_made = defaultdict(int)  # {bytes: how many pieces of memory there are}


class _Block(np.ndarray):
    """A piece of memory while it is in use: all views refer to it, and it ends with the last of them.

    They refer to this block and not to what it is a view of, because a bytearray is no ndarray.
    """

    def __del__(self):
        if isinstance(self.base, bytearray):  # else it is a view itself
            _free[self.size].append((self.base, self.start))


def empty(shape, dtype):
    """np.empty, from the pool if the array is large."""
    size = np.dtype(dtype).itemsize
    for length in shape:
        size *= length
    if size < SMALL:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, _block(-(-size // SMALL) * SMALL))


def zeros(shape, dtype):
    """np.zeros, from the pool if the array is large."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def _block(size):
    """A _Block of `size` bytes."""
    try:
        memory, start = _free[size].pop()
    except IndexError:
        memory = bytearray(size + ALIGNMENT)
        start = -np.frombuffer(memory, np.uint8).ctypes.data % ALIGNMENT
        _made[size] += 1
    block = _Block(size, np.uint8, memory, start)
    block.start = start
    return block


def release():
    """Give the memory that nobody uses back to the system: for when the next arrays have other sizes."""
    for size, pieces in _free.items():
        _made[size] -= len(pieces)
        pieces.clear()


def held():
    """(pieces, bytes) of memory that the pool has made, free or in use."""
    return sum(_made.values()), sum(size * count for size, count in _made.items())
