"""Memory that is used again: a step of the search allocates what the step before it let go of.

The system hands out fresh memory page by page and zeroed, which takes longer than many a kernel needs to
fill it. So large arrays are views of blocks that stay in a pool. A block is free when nothing but the
pool refers to it: NumPy's views keep the array alive whose memory they see, and Python counts.
"""

from collections import defaultdict
from itertools import chain
from math import prod
from sys import getrefcount

import numpy as np

SMALL = 2**15  # bytes below which the C library's own pool is as good; blocks are multiples of it
ALIGNMENT = 64  # bytes: no vector straddles two cache lines

_pool = defaultdict(list)  # {bytes: pairs (block, its first aligned byte)}
_next = defaultdict(int)  # {bytes: where to look first}


def empty(shape, dtype):
    """np.empty, from the pool if the array is large."""
    dtype = np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    if size < SMALL:
        return np.empty(shape, dtype)
    block, start = _free_block(-(-size // SMALL) * SMALL)
    return block[start : start + size].view(dtype).reshape(shape)


def zeros(shape, dtype):
    """np.zeros, from the pool if the array is large."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def _free_block(size):
    """A block of the pool for `size` bytes that nobody uses, a new one if there is none."""
    blocks, first = _pool[size], _next[size]
    for i in chain(range(first, len(blocks)), range(min(first, len(blocks)))):
        block, start = blocks[i]
        if getrefcount(block) == 3:  # in the pool, here, and in the call of getrefcount
            _next[size] = i + 1
            return block, start
    block = np.empty(size + ALIGNMENT, np.uint8)
    blocks.append((block, -block.ctypes.data % ALIGNMENT))
    return blocks[-1]


def held():
    """(blocks, bytes) in the pool, free or in use."""
    return sum(map(len, _pool.values())), sum(size * len(own) for size, own in _pool.items())


def release():
    """Give the memory of free blocks back to the system."""
    for size, blocks in _pool.items():
        _pool[size] = [pair for pair in blocks if getrefcount(pair[0]) > 2]
