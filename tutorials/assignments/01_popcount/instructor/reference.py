"""Assignment 1: a dot product by popcount. Complete the functions; see README.md."""

import numpy as np

BITS = 64


def pack(x):
    """The signs of rows of numbers as bits.

    x: array (R, n) of floats, n >= 1. Returns uint64 (R, ceil(n / 64)): bit k % 64 of word k // 64 is 1 where
    x[:, k] > 0; bits beyond the end are 0.
    """
    ### BEGIN SOLUTION
    rows, n = x.shape
    words = -(-n // BITS)
    bits = np.zeros((rows, words * BITS), np.uint8)
    bits[:, :n] = x > 0
    return np.packbits(bits, axis=1, bitorder="little").view("<u8").astype(np.uint64)
    ### END SOLUTION


def unpack(words, n):
    """The signs that rows of words hold.

    words: uint64 (R, W); n: how many signs each row has, at most 64 W. Returns int8 (R, n) of -1 and +1.
    """
    ### BEGIN SOLUTION
    shifts = np.arange(BITS, dtype=np.uint64)
    bits = (words[:, :, None] >> shifts) & np.uint64(1)
    bits = bits.reshape(len(words), -1)[:, :n].astype(np.int8)
    return 2 * bits - 1
    ### END SOLUTION


def dot(a, b, n):
    """The dot products of every row of a with every row of b.

    a: uint64 (R, W); b: uint64 (S, W); n: how many signs each row has; all W words are needed for them. The
    bits beyond n may hold anything. Returns int64 (R, S).
    """
    ### BEGIN SOLUTION
    mask = np.full(a.shape[1], ~np.uint64(0))
    if n % BITS:
        mask[-1] = np.uint64((1 << n % BITS) - 1)
    b = b & mask
    a = a & mask
    different = np.empty((len(a), len(b)), np.int64)
    for row, out in zip(a, different):
        out[:] = np.bitwise_count(row ^ b).sum(axis=1, dtype=np.int64)
    return n - 2 * different
    ### END SOLUTION
