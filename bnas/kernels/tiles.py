"""The inner loop of every 1-bit product: how many bits differ between 4 rows of weights and 32 pixels.

Each lane of a vector belongs to one pixel, and a word of weights is broadcast to all lanes. So sums never run
across a vector, and the number of words may be anything. For every word, four vectors of pixels and four
weights are loaded and combined in 16 ways; all counts stay in registers until the end.

There are two ways to count. The plain one takes three instructions for a word: xor, popcount, add. Carry-save
counting (as in a carry-save adder) sends the bits of two words through a full adder first and counts its
carries: five instructions for two words, but half as many popcounts. Which is faster depends on the
processor. Both give the same counts, and `naive_counts` says what they count.
"""

import numpy as np
from llvmlite.binding import get_host_cpu_name
from numba.core import config

from bnas.kernels.jit import jit
from bnas.kernels.panels import PANEL, ROWS
from bnas.kernels.vectors import broadcast, carry, load, narrow, popcount, store

# AMD's Zen 5 does two popcounts and four other operations a cycle, but three-input ones at half that
# pace: plain counting reaches 0.65 of its popcount peak, carry-save 0.48. Elsewhere popcount is
# scarcer (one a cycle, or a dozen instructions where there is no vector popcount at all).
CARRY_SAVE = (config.CPU_NAME or get_host_cpu_name()) != "znver5"


def naive_counts(panel, weights):
    """What a tile counts: panel (K, 32), weights (K, 4), uint64 -> (4, 32), differing bits."""
    return np.bitwise_count(weights.T[:, :, None] ^ panel).sum(axis=1, dtype=np.int64)


@jit(forceinline=True)
def _four(array, at):
    """32 neighbours as four vectors."""
    return load(array, at), load(array, at + 8), load(array, at + 16), load(array, at + 24)


@jit(forceinline=True)
def _store_four(counts, at, x):
    store(counts, at, narrow(x[0], x[1]))
    store(counts, at + 16, narrow(x[2], x[3]))


@jit(forceinline=True)
def _count(counts, x, word):
    """counts + popcount(x ^ word), four vectors each."""
    w = broadcast(word)
    return (
        counts[0] + popcount(x[0] ^ w),
        counts[1] + popcount(x[1] ^ w),
        counts[2] + popcount(x[2] ^ w),
        counts[3] + popcount(x[3] ^ w),
    )


@jit(forceinline=True)
def _plain(panel, start, weights, at, length, counts):
    zero = broadcast(np.uint64(0))
    nothing = (zero, zero, zero, zero)
    row0, row1, row2, row3 = nothing, nothing, nothing, nothing
    for k in range(length):
        x = _four(panel, start + PANEL * k)
        w = at + ROWS * k
        row0 = _count(row0, x, weights[w])
        row1 = _count(row1, x, weights[w + 1])
        row2 = _count(row2, x, weights[w + 2])
        row3 = _count(row3, x, weights[w + 3])
    _store_four(counts, 0, row0)
    _store_four(counts, PANEL, row1)
    _store_four(counts, 2 * PANEL, row2)
    _store_four(counts, 3 * PANEL, row3)


@jit(forceinline=True)
def _count_two(counts, ones, x, y, word_x, word_y):
    """Counts of two words at once: the bits that differ go through a full adder with `ones`.

    Returns (counts, ones): what was counted so far is 2 counts + popcount(ones).
    """
    w, v = broadcast(word_x), broadcast(word_y)
    u0, u1, u2, u3 = ones[0] ^ x[0] ^ w, ones[1] ^ x[1] ^ w, ones[2] ^ x[2] ^ w, ones[3] ^ x[3] ^ w
    s0, s1, s2, s3 = u0 ^ y[0] ^ v, u1 ^ y[1] ^ v, u2 ^ y[2] ^ v, u3 ^ y[3] ^ v
    counts = (
        counts[0] + popcount(carry(ones[0], u0, s0)),
        counts[1] + popcount(carry(ones[1], u1, s1)),
        counts[2] + popcount(carry(ones[2], u2, s2)),
        counts[3] + popcount(carry(ones[3], u3, s3)),
    )
    return counts, (s0, s1, s2, s3)


@jit(forceinline=True)
def _total(counts, ones):
    return (
        counts[0] + counts[0] + popcount(ones[0]),
        counts[1] + counts[1] + popcount(ones[1]),
        counts[2] + counts[2] + popcount(ones[2]),
        counts[3] + counts[3] + popcount(ones[3]),
    )


@jit(forceinline=True)
def _carry_save(panel, start, weights, at, length, counts):
    """As `_plain`, two rows at a time: each needs registers for its counts and for its ones."""
    zero = broadcast(np.uint64(0))
    nothing = (zero, zero, zero, zero)
    for pair in range(0, ROWS, 2):
        row0, row1, ones0, ones1 = nothing, nothing, nothing, nothing
        for k in range(0, length - 1, 2):
            x, y = _four(panel, start + PANEL * k), _four(panel, start + PANEL * (k + 1))
            w = at + ROWS * k + pair
            row0, ones0 = _count_two(row0, ones0, x, y, weights[w], weights[w + ROWS])
            row1, ones1 = _count_two(row1, ones1, x, y, weights[w + 1], weights[w + ROWS + 1])
        row0, row1 = _total(row0, ones0), _total(row1, ones1)
        if length % 2:
            x, w = _four(panel, start + PANEL * (length - 1)), at + ROWS * (length - 1) + pair
            row0, row1 = _count(row0, x, weights[w]), _count(row1, x, weights[w + 1])
        _store_four(counts, PANEL * pair, row0)
        _store_four(counts, PANEL * (pair + 1), row1)


# panel (K 32,) from index `start` on, weights (K 4,) from index `at` on, flat uint64
# -> counts (4 32,), int32: the bits that differ
count_tile = _carry_save if CARRY_SAVE else _plain
