"""Assignment 1: a dot product by popcount. Complete the functions; see README.md."""

import numpy as np

BITS = 64


def pack(x):
    """The signs of rows of numbers as bits.

    x: array (R, n) of floats, n >= 1. Returns uint64 (R, ceil(n / 64)): bit k % 64 of word k // 64 is 1 where
    x[:, k] > 0; bits beyond the end are 0.
    """
    raise NotImplementedError("this part is yours")


def unpack(words, n):
    """The signs that rows of words hold.

    words: uint64 (R, W); n: how many signs each row has, at most 64 W. Returns int8 (R, n) of -1 and +1.
    """
    raise NotImplementedError("this part is yours")


def dot(a, b, n):
    """The dot products of every row of a with every row of b.

    a: uint64 (R, W); b: uint64 (S, W); n: how many signs each row has; all W words are needed for them. The
    bits beyond n may hold anything. Returns int64 (R, S).
    """
    raise NotImplementedError("this part is yours")
