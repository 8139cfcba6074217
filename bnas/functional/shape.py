"""Operations that move elements without changing them."""

import math
from numbers import Integral

import numpy as np

from bnas.autodiff import Function
from bnas.functional.arguments import as_tensor, axes, require_memory, single_axis
from bnas.gradcheck import Case


class Reshape(Function):
    """The same elements in another shape. Backward: dy in the old shape. gradient: exact."""

    @staticmethod
    def forward(ctx, x, shape):
        ctx.shape = x.shape
        return x.reshape(shape)

    @staticmethod
    def backward(ctx, dy):
        return (dy.reshape(ctx.shape),)


class Transpose(Function):
    """Axes in the order `order`. Backward: the inverse permutation. gradient: exact."""

    @staticmethod
    def forward(ctx, x, order):
        ctx.axes = order
        return x.transpose(order)

    @staticmethod
    def backward(ctx, dy):
        return (dy.transpose(np.argsort(ctx.axes)),)


class Concat(Function):
    """Inputs one after another along `axis`. Backward: dy cut at the same places. gradient: exact."""

    @staticmethod
    def forward(ctx, *arrays, axis):
        ctx.axis = axis
        ctx.cuts = np.cumsum([array.shape[axis] for array in arrays])[:-1]
        return np.concatenate(arrays, axis=axis)

    @staticmethod
    def backward(ctx, dy):
        return tuple(np.split(dy, ctx.cuts, axis=ctx.axis))


class Stack(Function):
    """Inputs of one shape side by side, along a new `axis`. Backward: the parts of dy. gradient: exact."""

    @staticmethod
    def forward(ctx, *arrays, axis):
        ctx.axis = axis
        return np.stack(arrays, axis=axis)

    @staticmethod
    def backward(ctx, dy):
        return tuple(np.moveaxis(dy, ctx.axis, 0))


class Slice(Function):
    """y = x[index], any NumPy index. Backward: dy added at `index` to zeros. gradient: exact."""

    @staticmethod
    def forward(ctx, x, index):
        ctx.shape, ctx.index = x.shape, index
        return np.asarray(x[index])

    @staticmethod
    def backward(ctx, dy):
        dx = np.zeros(ctx.shape, dy.dtype)
        index = ctx.index if isinstance(ctx.index, tuple) else (ctx.index,)
        if any(isinstance(part, (np.ndarray, list)) for part in index):
            np.add.at(dx, ctx.index, dy)  # an element may be picked several times
        else:
            dx[ctx.index] = dy
        return (dx,)


class Pad(Function):
    """x with `before` and `after` entries of `value` around each axis. Backward: the middle of dy.

    gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, widths, value):
        ctx.middle = tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape))
        return np.pad(x, widths, constant_values=value)

    @staticmethod
    def backward(ctx, dy):
        return (dy[ctx.middle],)


def spread_apart(x):
    """Values in the order of `x`, all distinct and far enough apart for finite differences."""
    ranks = np.empty(x.size)
    ranks[np.argsort(x, axis=None, kind="stable")] = np.arange(x.size)
    return ((ranks - x.size / 2) * 0.1).reshape(x.shape).astype(x.dtype)


def reshape(x, shape):
    """`x` with another shape of as many elements; one entry may be -1."""
    return Reshape.apply(as_tensor(x, "reshape"), shape=shape)


def transpose(x, order=None):
    """`x` with its axes in the order `order`; reversed if None, as in NumPy."""
    x = as_tensor(x, "transpose")
    return _reordered(x, range(x.ndim)[::-1] if order is None else order, "transpose")


def permute(x, order):
    """`x` with its axes in the order `order`, a tuple that names each once."""
    return _reordered(as_tensor(x, "permute"), order, "permute")


def _reordered(x, order, operation):
    order = axes(tuple(order), x.ndim, operation)
    if len(order) != x.ndim:
        raise ValueError(f"{operation}: {order} does not name each of the {x.ndim} axes once")
    return Transpose.apply(x, order=order)


def squeeze(x, axis=None):
    """`x` without its axes of length 1, or without those of `axis` (an int or a tuple of ints).

    Raises:
        ValueError: an axis of `axis` has another length (PyTorch would leave it).
    """
    x = as_tensor(x, "squeeze")
    gone = axes(axis, x.ndim, "squeeze")
    if axis is None:
        gone = [a for a in gone if x.shape[a] == 1]
    elif any(x.shape[a] != 1 for a in gone):
        raise ValueError(f"squeeze: axis {axis!r} of shape {x.shape} is not of length 1")
    return reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in gone))


def unsqueeze(x, axis):
    """`x` with a new axis of length 1 that becomes axis `axis` of the result."""
    x = as_tensor(x, "unsqueeze")
    axis = single_axis(axis, x.ndim + 1, "unsqueeze")
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def flatten(x, start_axis=0, end_axis=-1):
    """`x` with the axes from `start_axis` to `end_axis`, this one included, joined to one."""
    x = as_tensor(x, "flatten")
    if x.ndim == 0:
        return reshape(x, (1,))
    start, end = (single_axis(axis, x.ndim, "flatten") for axis in (start_axis, end_axis))
    if start > end:
        raise ValueError(f"flatten: start_axis {start_axis} comes after end_axis {end_axis}")
    length = math.prod(x.shape[start : end + 1])
    return reshape(x, (*x.shape[:start], length, *x.shape[end + 1 :]))


def concat(tensors, axis=0):
    """Join `tensors` along `axis`; their other axes agree."""
    tensors = [as_tensor(tensor, "concat") for tensor in tensors]
    if not tensors:
        raise ValueError("concat: no tensors given; expected at least one")
    return Concat.apply(*tensors, axis=single_axis(axis, tensors[0].ndim, "concat"))


cat = concat  # PyTorch's name


def stack(tensors, axis=0):
    """Put `tensors` of one shape side by side along a new axis, axis `axis` of the result."""
    tensors = [as_tensor(tensor, "stack") for tensor in tensors]
    if not tensors:
        raise ValueError("stack: no tensors given; expected at least one")
    return Stack.apply(*tensors, axis=single_axis(axis, tensors[0].ndim + 1, "stack"))


def pad(x, pad, *, value=0.0):
    """Pad with `value`; `pad` is (before, after) of the last axis, then of the one before, as in torch."""
    x = as_tensor(x, "pad")
    whole = all(isinstance(width, Integral) and width >= 0 for width in pad)
    if len(pad) % 2 or len(pad) > 2 * x.ndim or not whole:
        raise ValueError(
            f"pad: expected pairs (before, after) of non-negative ints, last axis first, for at most "
            f"{x.ndim} axes; got {tuple(pad)}"
        )
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]
    require_memory([n + sum(added) for n, added in zip(x.shape, widths)], x.dtype, "pad")
    return Pad.apply(x, widths=tuple(widths), value=value)


def getitem(x, index):
    """x[index] for ints, slices, None, Ellipsis, integer and boolean arrays, as in NumPy."""
    return Slice.apply(as_tensor(x, "getitem"), index=index)


def gradient_cases(draw):
    """{name: [Case, ...]} of the operations of this file, see `bnas.gradcheck`."""
    x, transposed = draw.normal, draw.transposed
    return {
        "Reshape": [
            Case("to a matrix", (x(2, 3, 4),), {"shape": (6, 4)}),
            Case("non-contiguous", (transposed(4, 3),), {"shape": (2, 6)}),
        ],
        "Transpose": [
            Case("a cycle", (x(2, 3, 4),), {"order": (1, 2, 0)}),
            Case("a swap", (x(2, 3, 4),), {"order": (0, 2, 1)}),
        ],
        "Concat": [
            Case("channels", (x(2, 1, 2), x(2, 3, 2), x(2, 2, 2)), {"axis": 1}),
            Case("non-contiguous", (transposed(2, 3), x(2, 3)), {"axis": 0}),
        ],
        "Stack": [
            Case("a new axis in the middle", (x(2, 3), x(2, 3), x(2, 3)), {"axis": 1}),
            Case("the last axis, non-contiguous", (transposed(2, 3), x(2, 3)), {"axis": 2}),
            Case("scalars", (x(), x()), {"axis": 0}),
        ],
        "Slice": [
            Case("steps", (x(4, 5),), {"index": (slice(1, None, 2), slice(None, None, 2))}),
            Case("an int and an ellipsis", (x(3, 4, 2),), {"index": (1, ..., 0)}),
            Case("an index twice", (x(4, 2),), {"index": np.array([0, 2, 2])}),
            Case("a mask", (x(5),), {"index": np.array([True, False, True, True, False])}),
        ],
        "Pad": [
            Case("batch of one", (x(1, 2, 2),), {"widths": ((0, 0), (1, 0), (2, 1)), "value": 0.0}),
            Case("uneven", (x(2, 3, 3),), {"widths": ((0, 0), (1, 2), (0, 1)), "value": 0.5}),
        ],
    }
