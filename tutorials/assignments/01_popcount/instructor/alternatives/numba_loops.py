"""Loops, compiled by Numba; another algorithm for packing."""

import numba
import numpy as np


def pack(x):
    rows, n = x.shape
    words = np.zeros((rows, (n + 63) // 64), np.uint64)
    for k in range(n):
        words[:, k // 64] |= (x[:, k] > 0).astype(np.uint64) << np.uint64(k % 64)
    return words


def unpack(words, n):
    signs = np.empty((len(words), n), np.int64)
    for row, word in enumerate(words):
        number = sum(int(part) << 64 * i for i, part in enumerate(word))
        signs[row] = [1 if number >> k & 1 else -1 for k in range(n)]
    return signs


@numba.njit
def count(x):
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@numba.njit
def compiled(a, b, n, last):
    out = np.empty((len(a), len(b)), np.int64)
    for r in range(len(a)):
        for s in range(len(b)):
            different = np.int64(0)
            for w in range(a.shape[1] - 1):
                different += np.int64(count(a[r, w] ^ b[s, w]))
            different += np.int64(count((a[r, -1] ^ b[s, -1]) & last))
            out[r, s] = n - 2 * different
    return out


def dot(a, b, n):
    used = n - 64 * (a.shape[1] - 1)
    return compiled(a, b, n, np.uint64((1 << used) - 1))
