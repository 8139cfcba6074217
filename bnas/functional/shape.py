"""Operations that move elements without changing them."""

import math
from numbers import Integral

import numpy as np

from bnas.autodiff import Function, Tensor
from bnas.functional.arguments import (
    as_tensor,
    as_tensors,
    axes,
    numpy_names,
    require_memory,
    single_axis,
)
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
        if all(_picks_once(part) for part in ctx.index):
            dx = np.zeros(ctx.shape, dy.dtype)
            dx[ctx.index] = dy
        else:
            dx = np.zeros(ctx.shape)  # float64: an element may be picked millions of times
            np.add.at(dx, ctx.index, dy)
        return (dx.astype(dy.dtype, copy=False),)


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


def transpose(x, *order):
    """`x` with two axes swapped, or all in another order.

    order: two ints, the axes to swap, as in PyTorch; a tuple that names each axis once, the new order, as in
    NumPy; nothing (or None) to reverse the axes, as in NumPy.

    Raises:
        ValueError: an axis is out of range, named twice or missing.
    """
    x = as_tensor(x, "transpose")
    if order in ((), (None,)):
        return _reordered(x, range(x.ndim)[::-1], "transpose")
    if len(order) == 2:
        first, second = (single_axis(axis, x.ndim, "transpose") for axis in order)
        swapped = list(range(x.ndim))
        swapped[first], swapped[second] = second, first
        return _reordered(x, swapped, "transpose")
    if len(order) == 1 and not isinstance(order[0], Integral):
        (order,) = order
    return _reordered(x, order, "transpose")


def permute(x, order):
    """`x` with its axes in the order `order`, a tuple that names each once."""
    return _reordered(as_tensor(x, "permute"), order, "permute")


def _reordered(x, order, operation):
    order = axes(tuple(order), x.ndim, operation)
    if len(order) != x.ndim:
        raise ValueError(f"{operation}: {order} does not name each of the {x.ndim} axes once")
    return Transpose.apply(x, order=order)


@numpy_names
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


@numpy_names
def unsqueeze(x, axis):
    """`x` with a new axis of length 1 that becomes axis `axis` of the result."""
    x = as_tensor(x, "unsqueeze")
    axis = single_axis(axis, x.ndim + 1, "unsqueeze")
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


@numpy_names
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


@numpy_names
def concat(tensors, axis=0):
    """Join `tensors` along `axis`; their other axes agree."""
    tensors = as_tensors(tensors, "concat")
    return Concat.apply(*tensors, axis=single_axis(axis, tensors[0].ndim, "concat"))


cat = concat  # PyTorch's name


@numpy_names
def stack(tensors, axis=0):
    """Put `tensors` of one shape side by side along a new axis, axis `axis` of the result."""
    tensors = as_tensors(tensors, "stack")
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
    """x[index] for ints, slices, None, Ellipsis, integer and boolean arrays, as in NumPy.

    Raises:
        IndexError: an index is out of range.
        TypeError: an index is a Tensor, whose values are no integers.
    """
    parts = index if isinstance(index, tuple) else (index,)
    return Slice.apply(as_tensor(x, "getitem"), index=tuple(map(_index_part, parts)))


def _picks_once(part):
    """Whether this part of an index picks no element twice."""
    return part is None or part is ... or isinstance(part, (Integral, slice))


def _index_part(part):
    """A part of an index: itself if it is plain, otherwise an array, which nobody else can change."""
    if _picks_once(part):
        return part
    if isinstance(part, Tensor):
        raise TypeError(
            "an index holds integers or bools, a Tensor floats; "
            "index with an array, such as x.numpy().astype(int) or x > 0"
        )
    array = np.array(part)
    return array if array.size else array.astype(bool if array.dtype == bool else int)


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
            Case("an index twice", (x(4, 2),), {"index": (np.array([0, 2, 2]),)}),
            Case("a mask", (x(5),), {"index": (np.array([True, False, True, True, False]),)}),
        ],
        "Pad": [
            Case("batch of one", (x(1, 2, 2),), {"widths": ((0, 0), (1, 0), (2, 1)), "value": 0.0}),
            Case("uneven", (x(2, 3, 3),), {"widths": ((0, 0), (1, 2), (0, 1)), "value": 0.5}),
        ],
    }
