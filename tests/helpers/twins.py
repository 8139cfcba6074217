"""Kernels against their NumPy twins: what they are given, and how results are compared."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from bnas import kernels, reference

from .arrays import rng

some = settings(max_examples=40, deadline=None)
dtypes = st.sampled_from([np.float32, np.float64])
disguises = st.sampled_from(["plain", "transposed", "strided", "read-only"])


@st.composite
def windows(draw, widest=9):
    """(size, (kernel, stride, padding, dilation)), all pairs, with at least one output."""
    axes = []
    for longest in (9, widest):
        kernel, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 3))
        padding = draw(st.integers(0, 5))
        smallest = max(1, dilation * (kernel - 1) + 1 - 2 * padding)
        size = draw(st.integers(smallest, max(smallest, longest)))
        axes.append((size, kernel, draw(st.integers(1, 3)), padding, dilation))
    size, *window = zip(*axes)
    return size, window


def awkward(seed, *shape, dtype=np.float64):
    """Few different values, so that there are ties, with both zeros, NaN and infinities."""
    values = [-2, -1, -1, -0.0, 0.0, 1, 1, 2, np.nan, np.inf, -np.inf]
    return rng(seed).choice(values, shape).astype(dtype)


def disguise(x, how):
    """An array equal to x (N, C, H, W) in another layout."""
    if how == "transposed":
        return np.ascontiguousarray(x.transpose(3, 1, 0, 2)).transpose(2, 1, 3, 0)
    if how == "strided":
        return np.repeat(np.repeat(x, 2, axis=3), 2, axis=0)[::2, :, :, ::2]
    x = x.copy()
    x.flags.writeable = how != "read-only"
    return x


def assert_twins(name, *args, tolerance=0.0, modules=(kernels, reference)):
    """Kernel and twin agree in value, shape, dtype; outputs are fresh and in C order.

    modules: that of the kernels, and that of their twins.
    """
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    ours, theirs = (getattr(module, name)(*args) for module in modules)
    for arg, copy in zip(args, before):
        np.testing.assert_array_equal(arg, copy)
    if not isinstance(ours, tuple):
        ours, theirs = (ours,), (theirs,)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
        for array in (mine, other):
            assert array.flags.c_contiguous and array.flags.writeable
            assert not any(isinstance(a, np.ndarray) and np.shares_memory(a, array) for a in args)
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance)
    return ours[0] if len(ours) == 1 else ours


def tolerance(dtype):
    return 2e-5 if dtype == np.float32 else 1e-12
