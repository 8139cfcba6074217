"""Arithmetic and activations: every element on its own."""

from numbers import Real

import numpy as np

from bnas.autodiff import Function, Tensor
from bnas.functional.arguments import as_tensor

KINK_MARGIN = 1e-2


def step_away(x, kinks, margin=KINK_MARGIN):
    """`x` with every entry nearer than `margin` to one of `kinks` moved out to that distance."""
    x = np.array(x)
    for kink in np.atleast_1d(kinks):
        near = np.abs(x - kink) < margin
        x[near] = (np.where(x >= kink, kink + margin, kink - margin))[near]
    return x


class Add(Function):
    """y = a + b. Backward: da = dy, db = dy. Shapes: broadcast. gradient: exact."""

    broadcasts = True

    @staticmethod
    def forward(ctx, a, b):
        return a + b

    @staticmethod
    def backward(ctx, dy):
        return dy, dy


class Sub(Function):
    """y = a - b. Backward: da = dy, db = -dy. Shapes: broadcast. gradient: exact."""

    broadcasts = True

    @staticmethod
    def forward(ctx, a, b):
        return a - b

    @staticmethod
    def backward(ctx, dy):
        return dy, -dy


class Mul(Function):
    """y = a b. Backward: da = dy b, db = dy a. Shapes: broadcast. gradient: exact."""

    broadcasts = True

    @staticmethod
    def forward(ctx, a, b):
        ctx.a, ctx.b = a, b
        return a * b

    @staticmethod
    def backward(ctx, dy):
        need_a, need_b = ctx.needs
        return dy * ctx.b if need_a else None, dy * ctx.a if need_b else None


class Div(Function):
    """y = a / b. Backward: da = dy / b, db = -dy a / b². Shapes: broadcast. gradient: exact."""

    broadcasts = True

    @staticmethod
    def forward(ctx, a, b):
        ctx.a, ctx.b = a, b
        return a / b

    @staticmethod
    def backward(ctx, dy):
        need_a, need_b = ctx.needs
        da = dy / ctx.b
        return da if need_a else None, -da * ctx.a / ctx.b if need_b else None


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


class Tanh(Function):
    """y = tanh x. Backward: dx = dy (1 - y²). gradient: exact."""

    @staticmethod
    def forward(ctx, x):
        ctx.y = np.tanh(x)
        return ctx.y

    @staticmethod
    def backward(ctx, dy):
        return (dy * (1 - ctx.y**2),)


class ReLU(Function):
    """y = max(x, 0). Backward: dx = dy where x > 0, else 0. Kinks: 0. gradient: exact."""

    @staticmethod
    def forward(ctx, x):
        ctx.y = np.maximum(x, 0)
        return ctx.y

    @staticmethod
    def backward(ctx, dy):
        return (dy * (ctx.y > 0),)

    @staticmethod
    def off_kinks(x):
        return (step_away(x, 0),)


class PReLU(Function):
    """y = x where x > 0, else a_c x (He et al. 2015), c the channel: axis 1 of x.

    Backward: dx = dy where x > 0, else a_c dy; da_c = Σ dy x over the entries with x <= 0.
    Shapes: x (N, C, ...), a (C,) or (1,). Kinks: 0. gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, a):
        shape = [1] * x.ndim
        if a.size > 1:
            shape[1] = a.size
        ctx.x, ctx.slope, ctx.size = x, a.reshape(shape), a.size
        return np.where(x > 0, x, ctx.slope * x)

    @staticmethod
    def backward(ctx, dy):
        positive = ctx.x > 0
        dx = np.where(positive, dy, ctx.slope * dy)
        share = np.where(positive, 0, dy * ctx.x)
        if ctx.size == 1:
            return dx, share.sum().reshape(1)
        return dx, share.sum(axis=(0, *range(2, share.ndim)))

    @staticmethod
    def off_kinks(x, a):
        return step_away(x, 0), a


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
        return (dy * ctx.inside,)

    @staticmethod
    def off_kinks(x, low, high):
        return (step_away(x, [bound for bound in (low, high) if np.isfinite(bound)]),)


def _binary(function, operation):
    def apply(a, b):
        a = as_tensor(a, operation, like=b if isinstance(b, Tensor) else None)
        return function.apply(a, as_tensor(b, operation, like=a))

    apply.__name__ = apply.__qualname__ = operation
    apply.__doc__ = function.__doc__
    return apply


add = _binary(Add, "add")
sub = _binary(Sub, "sub")
mul = _binary(Mul, "mul")
div = _binary(Div, "div")


def neg(x):
    """-x, element by element."""
    return Neg.apply(as_tensor(x, "neg"))


def pow(x, exponent):
    """x to the power of a number `exponent`, element by element."""
    if not isinstance(exponent, Real):
        raise TypeError(f"pow: the exponent must be a number, got {type(exponent).__name__}")
    return Pow.apply(as_tensor(x, "pow"), exponent=float(exponent))


def exp(x):
    """e to the power x, element by element."""
    return Exp.apply(as_tensor(x, "exp"))


def log(x):
    """Natural logarithm, element by element."""
    return Log.apply(as_tensor(x, "log"))


def tanh(x):
    """Hyperbolic tangent, element by element."""
    return Tanh.apply(as_tensor(x, "tanh"))


def relu(x):
    """max(x, 0), element by element; the gradient at 0 is 0."""
    return ReLU.apply(as_tensor(x, "relu"))


def prelu(x, weight):
    """x where positive, else weight · x. Shapes: x (N, C, ...), weight (C,) or (1,)."""
    x = as_tensor(x, "prelu")
    weight = as_tensor(weight, "prelu")
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.shape not in ((1,), (channels,)):
        raise ValueError(
            f"prelu: weight must have shape (1,) or ({channels},) for x {x.shape}, got {weight.shape}"
        )
    return PReLU.apply(x, weight)


def clip(x, min=None, max=None):
    """x limited to [min, max]; None leaves that side open."""
    low = -np.inf if min is None else float(min)
    high = np.inf if max is None else float(max)
    if not low <= high:
        raise ValueError(f"clip: min {min} is greater than max {max}")
    return Clip.apply(as_tensor(x, "clip"), low=low, high=high)
