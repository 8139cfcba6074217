"""Functions of one operand: every element on its own."""

from numbers import Real

import numpy as np

from bnas.autodiff import FLOATS, Function
from bnas.functional.arguments import as_tensor
from bnas.gradcheck import Case

KINK_MARGIN = 1e-2


def step_away(x, kinks, margin=KINK_MARGIN):
    """`x` with every entry nearer than `margin` to one of `kinks` moved out to that distance."""
    x = np.array(x)
    for kink in np.atleast_1d(kinks):
        near = np.abs(x - kink) < margin
        x[near] = (np.where(x >= kink, kink + margin, kink - margin))[near]
    return x


def chosen(mask, x):
    """x where the bool array `mask` holds, else 0: what mask · x is if x is finite, and also if it is not."""
    # Keep the bits of x or clear them: np.where takes 15 times as long where a mask has no order.
    bits = np.dtype(f"i{x.itemsize}")
    return np.asarray(x.view(bits) & -mask.astype(bits)).view(x.dtype)


def masked_product(factor, x):
    """factor · x, and 0 wherever `factor` is 0: there it is a mask, and 0 · ∞ would be NaN."""
    with np.errstate(invalid="ignore"):
        return chosen(factor != 0, np.asarray(factor * x))


class Neg(Function):
    """y = -x. Backward: dx = -dy. gradient: exact."""

    @staticmethod
    def forward(ctx, x):
        return -x

    @staticmethod
    def backward(ctx, dy):
        return (-dy,)


class Pow(Function):
    """y = x^p for a number p. Backward: dx = dy p x^(p-1). Kinks: 0, for p < 1. gradient: exact."""

    @staticmethod
    def forward(ctx, x, exponent):
        ctx.x, ctx.exponent = x, exponent
        return x**exponent

    @staticmethod
    def backward(ctx, dy):
        if ctx.exponent == 0:
            return (np.zeros_like(dy),)
        return (dy * ctx.exponent * ctx.x ** (ctx.exponent - 1),)

    @staticmethod
    def off_kinks(x, exponent):
        return (step_away(x, 0),)


class Abs(Function):
    """y = |x|. Backward: dx = dy sign x, 0 where x = 0. Kinks: 0. gradient: exact."""

    @staticmethod
    def forward(ctx, x):
        ctx.x = x
        return np.abs(x)

    @staticmethod
    def backward(ctx, dy):
        return (masked_product(np.sign(ctx.x), dy),)

    @staticmethod
    def off_kinks(x):
        return (step_away(x, 0),)


class Sqrt(Function):
    """y = √x. Backward: dx = dy / 2y. Kinks: 0, where dx is infinite, as in PyTorch. gradient: exact."""

    @staticmethod
    def forward(ctx, x):
        ctx.y = np.sqrt(x)
        return ctx.y

    @staticmethod
    def backward(ctx, dy):
        return (dy / (2 * ctx.y),)

    @staticmethod
    def off_kinks(x):
        return (step_away(x, 0),)


class Exp(Function):
    """y = exp x. Backward: dx = dy y. gradient: exact."""

    @staticmethod
    def forward(ctx, x):
        ctx.y = np.exp(x)
        return ctx.y

    @staticmethod
    def backward(ctx, dy):
        return (dy * ctx.y,)


class Log(Function):
    """y = ln x. Backward: dx = dy / x. gradient: exact."""

    @staticmethod
    def forward(ctx, x):
        ctx.x = x
        return np.log(x)

    @staticmethod
    def backward(ctx, dy):
        return (dy / ctx.x,)


class Sin(Function):
    """y = sin x. Backward: dx = dy cos x. gradient: exact."""

    @staticmethod
    def forward(ctx, x):
        ctx.x = x
        return np.sin(x)

    @staticmethod
    def backward(ctx, dy):
        return (dy * np.cos(ctx.x),)


class Cos(Function):
    """y = cos x. Backward: dx = -dy sin x. gradient: exact."""

    @staticmethod
    def forward(ctx, x):
        ctx.x = x
        return np.cos(x)

    @staticmethod
    def backward(ctx, dy):
        return (-dy * np.sin(ctx.x),)


class Clip(Function):
    """y = min(max(x, low), high). Backward: dx = dy where low <= x <= high. Kinks: low, high.

    gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, low, high):
        ctx.inside = (x >= low) & (x <= high)
        return np.clip(x, low, high)

    @staticmethod
    def backward(ctx, dy):
        return (chosen(ctx.inside, dy),)

    @staticmethod
    def off_kinks(x, low, high):
        return (step_away(x, [bound for bound in (low, high) if np.isfinite(bound)]),)


class Clone(Function):
    """y = x, in an array of its own. Backward: dx = dy. gradient: exact."""

    @staticmethod
    def forward(ctx, x):
        return x.copy()

    @staticmethod
    def backward(ctx, dy):
        return (dy,)


class AsType(Function):
    """y = x, rounded to `dtype`. Backward: dx = dy, rounded to the dtype of x.

    That is the derivative of y = x: rounding itself has steps. gradient: surrogate.
    """

    @staticmethod
    def forward(ctx, x, dtype):
        return x.astype(dtype)

    @staticmethod
    def backward(ctx, dy):
        return (dy.astype(ctx.dtype),)

    @staticmethod
    def surrogate(x, dtype):
        return lambda x: x


def neg(x):
    """-x, element by element."""
    return Neg.apply(as_tensor(x, "neg"))


def pow(x, exponent):
    """x to the power of a number `exponent`, element by element."""
    if not isinstance(exponent, Real):
        raise TypeError(f"pow: the exponent must be a number, got {type(exponent).__name__}")
    return Pow.apply(as_tensor(x, "pow"), exponent=float(exponent))


def abs(x):
    """|x|, element by element; the gradient at 0 is 0."""
    return Abs.apply(as_tensor(x, "abs"))


def sqrt(x):
    """√x, element by element: NaN where x < 0; the gradient at 0 is infinite (NaN for dy = 0)."""
    return Sqrt.apply(as_tensor(x, "sqrt"))


def exp(x):
    """e to the power x, element by element."""
    return Exp.apply(as_tensor(x, "exp"))


def log(x):
    """Natural logarithm, element by element."""
    return Log.apply(as_tensor(x, "log"))


def sin(x):
    """Sine of x in radians, element by element."""
    return Sin.apply(as_tensor(x, "sin"))


def cos(x):
    """Cosine of x in radians, element by element."""
    return Cos.apply(as_tensor(x, "cos"))


def clip(x, min=None, max=None):
    """x limited to [min, max]; None leaves that side open."""
    low = -np.inf if min is None else float(min)
    high = np.inf if max is None else float(max)
    if not low <= high:
        raise ValueError(f"clip: min {min} is greater than max {max}")
    return Clip.apply(as_tensor(x, "clip"), low=low, high=high)


def clone(x):
    """The same values in an array of its own; the gradient flows back to `x`."""
    return Clone.apply(as_tensor(x, "clone"))


def astype(x, dtype):
    """`x` as float32 or float64, or `x` itself if it is that already; the gradient is converted back.

    Raises:
        TypeError: another dtype.
    """
    x = as_tensor(x, "astype")
    if dtype is None or np.dtype(dtype) not in FLOATS:
        raise TypeError(f"astype: a Tensor holds float32 or float64, got {dtype}")
    return x if x.dtype == dtype else AsType.apply(x, dtype=np.dtype(dtype))


def unary_cases(draw):
    """Cases of an operation that every element takes part in by itself, whatever its value."""
    return [
        Case("plain", (draw.normal(3, 4),)),
        Case("one element", (draw.normal(1),)),
        Case("non-contiguous", (draw.transposed(4, 3),)),
    ]


def gradient_cases(draw):
    """{name: [Case, ...]} of the operations of this file, see `bnas.gradcheck`."""
    x, positive = draw.normal, draw.positive
    unary = unary_cases(draw)
    above_zero = [Case(case.name, (np.abs(case.inputs[0]) + 0.5,)) for case in unary]
    return {
        "Neg": unary,
        "Abs": unary,
        "Exp": unary,
        "Sin": unary,
        "Cos": unary,
        "Clone": unary,
        "Log": above_zero,
        "Sqrt": above_zero,
        "Pow": [
            Case("cube", (x(3, 4),), {"exponent": 3.0}),
            Case("square root", (positive(3, 4),), {"exponent": 0.5}),
            Case("reciprocal, non-contiguous", (positive(4, 3).T,), {"exponent": -1.0}),
        ],
        "Clip": [
            Case("both bounds", (x(5, 5),), {"low": -0.5, "high": 0.7}),
            Case("lower bound only", (x(5, 5),), {"low": 0.0, "high": np.inf}),
        ],
        "AsType": [
            Case("to float32", (x(3, 4),), {"dtype": np.float32}),
            Case("to its own", (x(3, 4),), {"dtype": np.float64}),
        ],
    }
