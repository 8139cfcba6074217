"""Random numbers, the same ones for the same seed."""

import numpy as np
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)


def rng(seed=0):
    return np.random.default_rng(seed)


def normal(seed, *shape, dtype=np.float64):
    return rng(seed).standard_normal(shape).astype(dtype)


def images(*shape, seed=1, dtype=np.float32):
    """Images (N, C, H, W) as a network takes them."""
    return normal(seed, *shape, dtype=dtype)
