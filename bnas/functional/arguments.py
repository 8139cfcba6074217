"""What all operations do with their arguments: turn them into Tensors, pairs and axes, or refuse them.

Every error names the operation, what it got, and what it takes.
"""

import math
from functools import wraps
from numbers import Integral, Real

import numpy as np

from bnas.autodiff import FLOATS, Tensor, several
from bnas.kernels.windows import MEMORY, Window, fitted


def as_tensor(value, operation, like=None):
    """`value` as a Tensor; a plain number takes the dtype of the Tensor `like`."""
    if isinstance(value, Tensor):
        return value
    if like is not None and isinstance(value, Real) and not isinstance(value, np.ndarray):
        return Tensor(np.asarray(value, dtype=like.dtype))
    if isinstance(value, np.ndarray) and value.dtype in FLOATS:
        return Tensor(value)
    got = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    raise TypeError(
        f"{operation}: expected a Tensor or an array of float32 or float64, got {got}; "
        "convert first, for instance with array.astype(np.float32)"
    )


def as_tensors(values, operation):
    """`values`, any iterable but a Tensor, as a list of at least one Tensor."""
    tensors = [as_tensor(value, operation) for value in several(values, operation)]
    if not tensors:
        raise ValueError(f"{operation}: no tensors given; expected at least one")
    return tensors


def as_images(value, operation):
    """`value` as a Tensor of rank 4: (batch, channels, height, width)."""
    tensor = as_tensor(value, operation)
    if tensor.ndim != 4:
        raise ValueError(
            f"{operation}: expected 4 axes (batch, channels, height, width), got shape {tensor.shape}"
        )
    return tensor


_NAMES_OF_TORCH = {
    "dim": "axis",
    "keepdim": "keepdims",
    "unbiased": "correction",
    "start_dim": "start_axis",
    "end_dim": "end_axis",
}


def numpy_names(function):
    """Make `function` answer dim= and other names of PyTorch's with those that it has, which are NumPy's."""

    @wraps(function)
    def call(*args, **kwargs):
        for name in kwargs:
            if name in _NAMES_OF_TORCH:
                raise TypeError(
                    f"{function.__name__}: {name}= is called {_NAMES_OF_TORCH[name]}= here, as in NumPy"
                )
        return function(*args, **kwargs)

    return call


def pair(value, name, operation, least):
    """An int, or a pair of ints, as a pair (height, width); each at least `least`."""
    if type(value) is int and value >= least:  # by far the most common, and on the hot path
        return value, value
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or not all(isinstance(v, Integral) and v >= least for v in values):
        raise ValueError(
            f"{operation}: {name} must be an int or a pair of ints, at least {least}; got {value!r}"
        )
    return tuple(int(v) for v in values)


def axes(axis, ndim, operation):
    """An int, a tuple of ints or None (all axes) as a tuple of distinct non-negative axes."""
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    if not all(isinstance(a, Integral) for a in given):
        raise ValueError(f"{operation}: axis {axis!r} is no int, tuple of ints or None")
    if not all(-ndim <= a < ndim for a in given):
        raise ValueError(f"{operation}: axis {axis!r} is out of range for {ndim} axes")
    result = tuple(int(a) % ndim for a in given)
    if len(set(result)) != len(result):
        raise ValueError(f"{operation}: axis {axis!r} names an axis twice")
    return result


def single_axis(axis, ndim, operation):
    """An int as a non-negative axis."""
    if not isinstance(axis, Integral):
        raise ValueError(f"{operation}: axis must be a single int, got {axis!r}")
    return axes(axis, ndim, operation)[0]


def require_memory(shape, dtype, operation):
    """Raise ValueError if this machine's memory does not hold an array of `shape`."""
    if math.prod(shape) * np.dtype(dtype).itemsize > MEMORY:
        raise ValueError(
            f"{operation}: an array of shape {tuple(shape)} does not fit into memory; make it smaller"
        )


def fitting_window(x, kernel, stride, padding, dilation, operation):
    """The Window of these arguments, ints or pairs, for the Tensor x of images; see `fitted`."""
    window = Window(
        tuple(kernel),
        pair(stride, "stride", operation, 1),
        pair(padding, "padding", operation, 0),
        pair(dilation, "dilation", operation, 1),
    )
    return fitted(window, x.shape, operation, x.dtype.itemsize)


def require_sizes(layer, least, **sizes):
    """Raise ValueError unless all `sizes` are ints of at least `least`."""
    for name, size in sizes.items():
        if not isinstance(size, Integral) or size < least:
            raise ValueError(f"{layer}: {name} must be an int, at least {least}; got {size!r}")
