"""A workspace pool: large arrays of one training step reuse the memory of the step before.

The operating system gives fresh memory page by page and filled with zeros, which takes longer than many
kernels need to write their results. So large arrays lie in blocks from a pool. When the last array that
views a block is gone, the block goes back to the pool and is given out again. The pool keeps what it has
until `release`.
"""

from collections import defaultdict

import numpy as np

SMALL = 2**15  # bytes below which the C library's own pool is as good; blocks are multiples of it
ALIGNMENT = 64  # bytes: no vector straddles two cache lines

_free = defaultdict(list)  # {size in bytes: pairs (unused memory, index of its first aligned byte)}
_made = defaultdict(int)  # {size in bytes: how many blocks there are, used or not}


class _Block(np.ndarray):
    """A block of memory in use: every array on it keeps it alive, and its end gives the memory back.

    NumPy lets a view refer to the array that owns the memory. A block lies on a bytearray, which is no array,
    so views refer to the block itself.
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
    """Give all unused blocks back to the operating system, for when the next arrays have other sizes."""
    for size, blocks in _free.items():
        _made[size] -= len(blocks)
        blocks.clear()


def held():
    """(number of blocks, their bytes) that the pool has, unused or in use."""
    return sum(_made.values()), sum(size * count for size, count in _made.items())
