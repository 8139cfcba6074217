"""Reductions, and operations that move elements without changing them."""

from numbers import Integral

import numpy as np

from bnas.autodiff import Function
from bnas.functional.arguments import as_tensor, axes, single_axis


class Sum(Function):
    """y = Σ x over `axis`. Backward: dy repeated along the summed axes. gradient: exact."""

    @staticmethod
    def forward(ctx, x, axis, keepdims):
        ctx.shape, ctx.axis = x.shape, axis
        return x.sum(axis=axis, keepdims=keepdims)

    @staticmethod
    def backward(ctx, dy):
        return (_spread(dy, ctx.shape, ctx.axis),)


class Mean(Function):
    """y = Σ x / n over `axis`. Backward: dy / n repeated along those axes. gradient: exact."""

    @staticmethod
    def forward(ctx, x, axis, keepdims):
        ctx.shape, ctx.axis = x.shape, axis
        return x.mean(axis=axis, keepdims=keepdims)

    @staticmethod
    def backward(ctx, dy):
        count = int(np.prod([ctx.shape[a] for a in ctx.axis]))
        return (_spread(dy / dy.dtype.type(count), ctx.shape, ctx.axis),)


class Max(Function):
    """y = max x over `axis`. Backward: dy to the maximum, in equal parts where several tie.

    Kinks: ties. gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, axis, keepdims):
        largest = x.max(axis=axis, keepdims=True)
        ctx.chosen, ctx.axis = x == largest, axis
        return largest if keepdims else largest.squeeze(axis=axis)

    @staticmethod
    def backward(ctx, dy):
        shares = _spread(dy, ctx.chosen.shape, ctx.axis)
        ties = ctx.chosen.sum(axis=ctx.axis, keepdims=True).astype(dy.dtype)
        return (np.where(ctx.chosen, shares / ties, 0).astype(dy.dtype),)

    @staticmethod
    def off_kinks(x, axis, keepdims):
        return (spread_apart(x),)


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
        ctx.order = order
        return x.transpose(order)

    @staticmethod
    def backward(ctx, dy):
        return (dy.transpose(np.argsort(ctx.order)),)


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


def _spread(dy, shape, axis):
    """`dy`, the gradient of a reduction over `axis`, seen with the shape of the reduction's input."""
    kept = tuple(1 if a in axis else n for a, n in enumerate(shape))
    return np.broadcast_to(dy.reshape(kept), shape)


def spread_apart(x):
    """Values in the order of `x`, all distinct and far enough apart for finite differences."""
    ranks = np.empty(x.size)
    ranks[np.argsort(x, axis=None, kind="stable")] = np.arange(x.size)
    return ((ranks - x.size / 2) * 0.1).reshape(x.shape).astype(x.dtype)


def sum(x, axis=None, keepdims=False):
    """Sum over `axis` (an int, a tuple of ints, or None for all)."""
    x = as_tensor(x, "sum")
    return Sum.apply(x, axis=axes(axis, x.ndim, "sum"), keepdims=keepdims)


def mean(x, axis=None, keepdims=False):
    """Mean over `axis` (an int, a tuple of ints, or None for all); refuses to average nothing."""
    x = as_tensor(x, "mean")
    return Mean.apply(x, axis=_nonempty_axes(x, axis, "mean"), keepdims=keepdims)


def max(x, axis=None, keepdims=False):
    """Largest value over `axis` (an int, a tuple of ints, or None for all); ties share the gradient."""
    x = as_tensor(x, "max")
    return Max.apply(x, axis=_nonempty_axes(x, axis, "max"), keepdims=keepdims)


def _nonempty_axes(x, axis, operation):
    result = axes(axis, x.ndim, operation)
    if any(x.shape[a] == 0 for a in result):
        raise ValueError(f"{operation}: nothing to reduce along axis {axis} of shape {x.shape}")
    return result


def reshape(x, shape):
    """`x` with another shape of as many elements; one entry may be -1."""
    return Reshape.apply(as_tensor(x, "reshape"), shape=shape)


def transpose(x, order=None):
    """`x` with its axes in the order `order`; reversed if None, as in NumPy."""
    x = as_tensor(x, "transpose")
    order = axes(order, x.ndim, "transpose") if order is not None else tuple(range(x.ndim))[::-1]
    if len(order) != x.ndim:
        raise ValueError(f"transpose: {order} does not name each of the {x.ndim} axes once")
    return Transpose.apply(x, order=order)


def concat(tensors, axis=0):
    """Join `tensors` along `axis`; their other axes agree."""
    tensors = [as_tensor(tensor, "concat") for tensor in tensors]
    if not tensors:
        raise ValueError("concat: no tensors given; expected at least one")
    return Concat.apply(*tensors, axis=single_axis(axis, tensors[0].ndim, "concat"))


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
    return Pad.apply(x, widths=tuple(widths), value=value)


def getitem(x, index):
    """x[index] for ints, slices, None, Ellipsis, integer and boolean arrays, as in NumPy."""
    return Slice.apply(as_tensor(x, "getitem"), index=index)
