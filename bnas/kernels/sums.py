"""Sums over many numbers, as exact as the numbers themselves."""

import numpy as np


def accurate_sum(x, axis=None, keepdims=False):
    """x.sum(axis, keepdims=keepdims) of floats, accumulated in float64, of the dtype of x.

    NumPy adds pairwise along the last axis alone and one by one along the others, so that float32 ones
    would never come to more than 2²⁴.
    """
    return x.sum(axis=axis, keepdims=keepdims, dtype=np.float64).astype(x.dtype, copy=False)
