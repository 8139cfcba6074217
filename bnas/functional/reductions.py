"""Reductions over axes."""

import math
from numbers import Integral, Real

import numpy as np

from bnas.autodiff import Function, Tensor
from bnas.functional.arguments import as_tensor, axes, numpy_names, single_axis
from bnas.functional.elementwise import chosen, masked_product
from bnas.functional.shape import getitem, spread_apart
from bnas.gradcheck import Case
from bnas.kernels.sums import accurate_sum


class Sum(Function):
    """y = Σ x over `axis`. Backward: dy repeated along the summed axes. gradient: exact."""

    @staticmethod
    def forward(ctx, x, axis, keepdims):
        ctx.shape, ctx.axis = x.shape, axis
        return accurate_sum(x, axis, keepdims)

    @staticmethod
    def backward(ctx, dy):
        return (_spread(dy, ctx.shape, ctx.axis),)


class Mean(Function):
    """y = Σ x / n over `axis`. Backward: dy / n repeated along those axes. gradient: exact."""

    @staticmethod
    def forward(ctx, x, axis, keepdims):
        ctx.shape, ctx.axis = x.shape, axis
        return x.mean(axis=axis, keepdims=keepdims, dtype=np.float64).astype(x.dtype, copy=False)

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
        return (chosen(ctx.chosen, shares / ties),)

    @staticmethod
    def off_kinks(x, axis, keepdims):
        return (spread_apart(x),)


class Var(Function):
    """y = Σ (x - m)² / (n - c) over `axis`, m the mean, c the correction.

    Backward: dx = dy 2 (x - m) / (n - c), dy repeated along those axes. gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, axis, keepdims, correction):
        ctx.axis = axis
        ctx.centred, ctx.count, variance = _variance(x, axis, correction)
        y = variance.astype(x.dtype)
        return y if keepdims else y.squeeze(axis=axis)

    @staticmethod
    def backward(ctx, dy):
        return (_spread(2 * dy / ctx.count, ctx.centred.shape, ctx.axis) * ctx.centred,)


class Std(Function):
    """y = √v with v = Σ (x - m)² / (n - c) over `axis`, m the mean, c the correction.

    Backward: dx = dy (x - m) / ((n - c) y), dy repeated along those axes; 0 where y = 0, as in PyTorch.
    Kinks: y = 0, all values being equal. gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, axis, keepdims, correction):
        ctx.axis = axis
        ctx.centred, ctx.count, variance = _variance(x, axis, correction)
        y = ctx.y = np.sqrt(variance).astype(x.dtype)
        return y if keepdims else y.squeeze(axis=axis)

    @staticmethod
    def backward(ctx, dy):
        flat = ctx.y == 0
        slope = ctx.centred / (ctx.count * np.where(flat, 1, ctx.y))  # centred is 0 there
        return (masked_product(slope, _spread(dy, ctx.centred.shape, ctx.axis)),)

    @staticmethod
    def off_kinks(x, **params):
        return (spread_apart(x),)


def _variance(x, axis, correction):
    """(x - m, n - c, the variance in float64 with its axes kept), see Var."""
    count = x.dtype.type(math.prod(x.shape[a] for a in axis) - correction)
    # From the first value, not from 0: the mean of equal values is then exact, and their variance 0.
    first = x[tuple(slice(1) if a in axis else slice(None) for a in range(x.ndim))]
    centred = np.subtract(x, first, dtype=np.float64)
    centred -= centred.mean(axis=axis, keepdims=True)
    variance = np.square(centred).sum(axis=axis, keepdims=True) / count
    return centred.astype(x.dtype, copy=False), count, variance


def _spread(dy, shape, axis):
    """`dy`, the gradient of a reduction over `axis`, seen with the shape of the reduction's input."""
    kept = tuple(1 if a in axis else n for a, n in enumerate(shape))
    return np.broadcast_to(dy.reshape(kept), shape)


@numpy_names
def sum(x, axis=None, keepdims=False):
    """Sum over `axis` (an int, a tuple of ints, or None for all)."""
    x = as_tensor(x, "sum")
    return Sum.apply(x, axis=axes(axis, x.ndim, "sum"), keepdims=keepdims)


@numpy_names
def mean(x, axis=None, keepdims=False):
    """Mean over `axis` (an int, a tuple of ints, or None for all); refuses to average nothing."""
    x = as_tensor(x, "mean")
    return Mean.apply(x, axis=_nonempty_axes(x, axis, "mean"), keepdims=keepdims)


_NO_PAIR = (
    "max along an axis gives the values alone, not PyTorch's pair: values = x.max(axis), indices = "
    "x.argmax(axis); for single values take the array, x.max(axis).numpy()"
)


class _Maxima(Tensor):
    """The largest values along an axis, which PyTorch gives as a pair (values, indices)."""

    __slots__ = ()

    def __iter__(self):
        raise TypeError(_NO_PAIR)

    def __getitem__(self, index):
        if isinstance(index, Integral):
            raise TypeError(_NO_PAIR)
        return getitem(self, index)


@numpy_names
def max(x, axis=None, keepdims=False):
    """Largest value over `axis` (an int, a tuple of ints, or None for all); ties share the gradient.

    PyTorch also gives the indices, see `argmax`; so that `values, indices = x.max(1)` and `x.max(1)[1]` cannot go
    wrong unseen, the values along an axis are neither iterated nor indexed by a number.
    """
    x = as_tensor(x, "max")
    y = Max.apply(x, axis=_nonempty_axes(x, axis, "max"), keepdims=keepdims)
    if axis is None:
        return y
    values = _Maxima(y)
    values.requires_grad, values.node = y.requires_grad, y.node
    return values


@numpy_names
def var(x, axis=None, *, keepdims=False, correction=1):
    """Variance over `axis` (an int, a tuple of ints, or None for all): Σ (x - m)² / (n - correction).

    correction: 1 (Bessel's) makes the estimate unbiased, 0 gives the mean square deviation.

    Raises:
        ValueError: fewer values than correction + 1 are to be reduced; an axis is out of range.
    """
    x = as_tensor(x, "var")
    return Var.apply(x, **_variance_arguments(x, axis, keepdims, correction, "var"))


@numpy_names
def std(x, axis=None, *, keepdims=False, correction=1):
    """Standard deviation over `axis`: the square root of `var`, whose arguments and errors it has.

    The gradient where all values are equal is 0.
    """
    x = as_tensor(x, "std")
    return Std.apply(x, **_variance_arguments(x, axis, keepdims, correction, "std"))


def _variance_arguments(x, axis, keepdims, correction, operation):
    if not isinstance(correction, Real) or not correction >= 0:
        raise ValueError(f"{operation}: correction must be a number from 0 up, got {correction!r}")
    over = axes(axis, x.ndim, operation)
    count = math.prod(x.shape[a] for a in over)
    if not count > correction:
        raise ValueError(
            f"{operation}: {count} values along axis {axis} of shape {x.shape} are too few for "
            f"correction={correction}; reduce more values, or give a smaller correction"
        )
    return {"axis": over, "keepdims": keepdims, "correction": correction}


@numpy_names
def argmax(x, axis=None, keepdims=False):
    """Where the largest value is, along `axis` (an int) or, if None, in the flat array; the first of several.

    Returns an integer array, through which no gradient flows.
    """
    x = as_tensor(x, "argmax")
    if axis is not None:
        axis = single_axis(axis, x.ndim, "argmax")
    _nonempty_axes(x, axis, "argmax")
    return x.data.argmax(axis=axis, keepdims=keepdims)


def _nonempty_axes(x, axis, operation):
    result = axes(axis, x.ndim, operation)
    if any(x.shape[a] == 0 for a in result):
        raise ValueError(f"{operation}: nothing to reduce along axis {axis} of shape {x.shape}")
    return result


def gradient_cases(draw):
    """{name: [Case, ...]} of the operations of this file, see `bnas.gradcheck`."""
    x, transposed = draw.normal, draw.transposed

    def over(*axis, keepdims=False):
        return {"axis": axis, "keepdims": keepdims}

    several = [
        Case("all axes", (x(3, 4),), over(0, 1)),
        Case("middle axis kept", (x(2, 3, 4),), over(1, keepdims=True)),
        Case("two axes", (x(2, 3, 4),), over(0, 2)),
        Case("non-contiguous", (transposed(3, 4),), over(0)),
    ]
    reductions = [*several, Case("batch of one", (x(1, 3),), over(0))]
    variances = [
        *(case._replace(params={**case.params, "correction": 1}) for case in several),
        Case("biased, batch of one", (x(1, 3),), {**over(1), "correction": 0}),
        Case("large mean", (x(3, 4) + 1000,), {**over(0), "correction": 1}),
    ]
    return {
        "Sum": reductions,
        "Mean": reductions,
        "Max": reductions,
        "Var": variances,
        "Std": variances,
    }
